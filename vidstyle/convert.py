"""One input into one output: opens source and sink, runs the pipeline, publishes."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vidstyle.errors import InputError, OutputExistsError, UsageError
from vidstyle.files import is_url
from vidstyle.frames import Frame, Pixels, VideoInfo
from vidstyle.options import ConvertOptions
from vidstyle.pipeline import run
from vidstyle.sinks import check_free, companion_of, open_image_sink, open_resumable_sink, open_video_sink
from vidstyle.sources import is_image, open_source
from vidstyle.stages import Finisher, Sink, Stylizer
from vidstyle.stylizers.catalog import find_style, sha256
from vidstyle.temporal.metrics import WarpingError
from vidstyle.temporal.shots import spread_over_shot
from vidstyle.temporal.stabilize import Stabilizer

log = logging.getLogger(__name__)

SHOT_SECONDS = 4.0
SHOT_PICTURES = 8
"""A shot's statistics are taken from so many pictures of its first seconds."""


@dataclass(frozen=True)
class Result:
    """A finished conversion. `warnings` are worth knowing, `damage` is what the input lacked; a sentence each. `report` holds
    figures of the output, if they were asked for; nan where there is nothing to measure, as in a still picture."""

    output: Path
    frames: int
    seconds: float
    warnings: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    report: dict[str, float] = field(default_factory=dict)


def convert(
    spec: str,
    output: Path,
    stylizer: Stylizer,
    options: ConvertOptions = ConvertOptions(),
    on_start: Callable[[VideoInfo], None] = lambda info: None,
    on_frame: Callable[[int], None] = lambda count: None,
    finishers: Sequence[Finisher] = (),
) -> Result:
    """Paint the video or picture `spec` with `stylizer` into `output`, which appears whole or not at all.

    `on_start` gets the input's facts, `on_frame` the running count. `finishers` come before those that `options` ask for.
    Raises the kinds of `vidstyle.errors`.
    """
    began = time.monotonic()
    check_not_itself(spec, output)
    if options.resume and (options.report or is_url(spec)):
        what = "a file, which stays the same," if is_url(spec) else "no --report, which needs all frames in one run,"
        raise UsageError(f"expected {what} for --resume")
    if not options.overwrite:
        check_free(output, overwrite=False)
    with ExitStack() as stack:
        source = stack.enter_context(closing(open_source(spec, options.trim, options.allow_network)))
        on_start(source.info)
        chain = list(finishers)
        stabilizer = None
        if options.stabilize != "off":
            stabilizer = Stabilizer(options.stabilize)
            chain.append(stabilizer)
        meter = WarpingError() if options.report else None
        if meter is not None:
            chain.append(meter)
        done = 0
        companion = companion_of(spec, getattr(source, "shift_seconds", Fraction(0)), options)
        sink: Sink
        if is_image(spec):
            sink = open_image_sink(output, options.overwrite)
        elif options.resume:
            fingerprint = _fingerprint(spec, stylizer, options)
            remember = stabilizer.memory if stabilizer is not None else None
            sink = resumable = open_resumable_sink(output, source.info, options, fingerprint, companion, remember)
            done = resumable.done
            if stabilizer is not None:
                stabilizer.recall(resumable.memory)
        else:
            sink = open_video_sink(output, source.info, options.encode, companion, options.overwrite)
        stack.enter_context(closing(sink))
        if done:
            on_frame(done)

        def shot_pictures(first: Frame) -> Iterator[Pixels]:
            """Lazily: most stylizers of other tools do not ask."""
            with closing(source.following(first, SHOT_SECONDS)) as pictures:
                yield from spread_over_shot(pictures, SHOT_PICTURES)

        in_step = options.resume and stabilizer is not None
        try:
            count = run(source, stylizer, sink, options.batch_size, on_frame, shot_pictures, chain, done, in_step)
        except KeyboardInterrupt:
            if options.resume:
                log.warning("the finished part of %s is kept; the same command goes on from there", output)
            raise
        if count == 0:
            raise InputError(f"expected frames to paint, got none: {spec}")
        sink.publish()
        report = {"warping error": meter.painted, "warping error of the input": meter.source} if meter else {}
        warnings = source.warnings() + sink.warnings()
        return Result(output, count, time.monotonic() - began, warnings, source.damage() + sink.damage(), report)


def _fingerprint(spec: str, stylizer: Stylizer, options: ConvertOptions) -> dict[str, Any]:
    """All that the pictures of an output depend on, so that what an interrupted run made is used for the same work only."""
    import vidstyle

    choices = asdict(replace(options, overwrite=False, skip_existing=False, resume=True))
    status = Path(spec).stat()
    return {
        "input": {"path": str(Path(spec).resolve()), "bytes": status.st_size, "modified_ns": status.st_mtime_ns},
        "model": sha256(find_style(options.style.style)),
        "runs_on": stylizer.describe(),
        "options": json.loads(json.dumps(choices)),
        "version": vidstyle.__version__,
    }


def check_not_itself(spec: str, output: Path) -> None:
    """Raise `OutputExistsError` if `output` is the input: writing it would destroy it."""
    if not is_url(spec) and output.exists() and Path(spec).exists() and os.path.samefile(spec, output):
        raise OutputExistsError(f"the output is the input itself: {output}; choose another name with -o")
