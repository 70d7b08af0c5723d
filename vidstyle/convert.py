"""One input into one output: opens source and sink, runs the pipeline, publishes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from vidstyle.errors import InputError, OutputExistsError
from vidstyle.files import is_url
from vidstyle.frames import Frame, Pixels, VideoInfo
from vidstyle.options import ConvertOptions
from vidstyle.pipeline import run
from vidstyle.sinks import check_free, open_image_sink, open_video_sink
from vidstyle.sources import is_image, open_source
from vidstyle.stages import Finisher, Stylizer
from vidstyle.temporal.metrics import WarpingError
from vidstyle.temporal.shots import spread_over_shot
from vidstyle.temporal.stabilize import Stabilizer

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
    if not options.overwrite:
        check_free(output, overwrite=False)
    with ExitStack() as stack:
        source = stack.enter_context(closing(open_source(spec, options.trim, options.allow_network)))
        on_start(source.info)
        if is_image(spec):
            sink = open_image_sink(output, options.overwrite)
        else:
            sink = open_video_sink(
                output,
                source.info,
                options.encode,
                companion=spec,
                trim=options.trim,
                shift_seconds=getattr(source, "shift_seconds", Fraction(0)),
                audio=options.audio,
                overwrite=options.overwrite,
                allow_network=options.allow_network,
            )
        stack.enter_context(closing(sink))
        meter = WarpingError() if options.report else None
        chain = list(finishers)
        if options.stabilize != "off":
            chain.append(Stabilizer(options.stabilize))
        if meter is not None:
            chain.append(meter)

        def shot_pictures(first: Frame) -> Iterator[Pixels]:
            """Lazily: most stylizers of other tools do not ask."""
            with closing(source.following(first, SHOT_SECONDS)) as pictures:
                yield from spread_over_shot(pictures, SHOT_PICTURES)

        count = run(source, stylizer, sink, options.batch_size, on_frame, shot_pictures, chain)
        if count == 0:
            raise InputError(f"expected frames to paint, got none: {spec}")
        sink.publish()
        report = {"warping error": meter.painted, "warping error of the input": meter.source} if meter else {}
        warnings = source.warnings() + sink.warnings()
        return Result(output, count, time.monotonic() - began, warnings, source.damage(), report)


def check_not_itself(spec: str, output: Path) -> None:
    """Raise `OutputExistsError` if `output` is the input: writing it would destroy it."""
    if not is_url(spec) and output.exists() and Path(spec).exists() and os.path.samefile(spec, output):
        raise OutputExistsError(f"the output is the input itself: {output}; choose another name with -o")
