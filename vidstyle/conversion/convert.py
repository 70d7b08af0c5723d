"""One input into one output: opens source and sink, runs the pipeline, publishes."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vidstyle.conversion import provenance
from vidstyle.conversion.pipeline import PipelineOptions, run
from vidstyle.core.compositing import OwnColors
from vidstyle.core.errors import InputError, OutputExistsError, UsageError
from vidstyle.core.files import is_url
from vidstyle.core.frames import Frame, Pixels, VideoInfo
from vidstyle.core.options import ConvertOptions
from vidstyle.core.protocols import PostProcessor, Sink, Source, Stylizer
from vidstyle.sinks import check_free, stream_copier_of, open_image_sink, open_resumable_sink, open_video_sink
from vidstyle.sources import is_image, open_source
from vidstyle.sources.mask import MaskedSource
from vidstyle.temporal.metrics import WarpingError
from vidstyle.temporal.shots import spread_over_shot
from vidstyle.temporal.stabilize import Stabilizer

log = logging.getLogger(__name__)

LONG_SECONDS = 30.0
"""Videos of so much or more are worth the segments that an interrupted run goes on from."""

SHOT_SECONDS = 4.0
SHOT_FRAMES = 8
"""A shot's statistics are taken from so many images of its first seconds..."""
LARGE_PIXELS = 4 << 20
"""...and from half as many where they have more pixels than this: twice as many are held in memory at first."""


@dataclass(frozen=True)
class Result:
    """A finished conversion. `warnings` are worth knowing, `damage` is what the input lacked; a sentence each. `report` holds
    figures of the output, if they were asked for; nan where there is nothing to measure, as in a still image."""

    output: Path
    frames: int
    seconds: float
    warnings: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    report: dict[str, float] = field(default_factory=dict)


class Conversion:
    """One input on its way into one output, in three steps that different threads may take: made (input and output are opened),
    `run` (frames are stylized) and `publish`. To be closed, however far it came.

    Raises the kinds of `vidstyle.core.errors`, as all steps do. `post_processors` come before those that `options` ask for.
    `fingerprint` is what the output will tell of its making (`vidstyle.conversion.provenance`).
    """

    def __init__(
        self,
        input: str,
        output: Path,
        stylizer: Stylizer,
        options: ConvertOptions = ConvertOptions(),
        post_processors: Sequence[PostProcessor] = (),
        fingerprint: str | None = None,
    ) -> None:
        began = time.monotonic()
        self._input, self._output, self._stylizer, self._options = input, output, stylizer, options
        check_not_itself(input, output)
        if options.mask is not None:
            check_not_itself(options.mask, output, "mask")
        check_resumable(input, options)
        if not options.overwrite:
            check_free(output, overwrite=False)
        self._stamp = provenance.stamp(fingerprint) if fingerprint is not None else None
        self._post_processors = [*post_processors, *post_processors_of(options)]
        self._stabilizer = next((f for f in self._post_processors if isinstance(f, Stabilizer)), None)
        self._metric = WarpingError() if options.report else None
        self._count = self._done = 0
        self._resumable = False
        with ExitStack() as stack:
            source = open_source(input, options.trim, options.allow_network, _gpu_of(options.style.device))
            self._source = stack.enter_context(closing(with_mask(source, options)))
            self._sink = stack.enter_context(closing(self._open_sink()))
            self._opened = stack.pop_all()
        self._seconds = time.monotonic() - began

    @property
    def info(self) -> VideoInfo:
        """The input's facts."""
        return self._source.info

    def _open_sink(self) -> Sink:
        input, output, options, info = self._input, self._output, self._options, self.info
        if is_image(input):
            return open_image_sink(output, options.overwrite, self._stamp)
        stream_copier = stream_copier_of(input, self._source.shift_seconds, options)
        self._resumable = self._resumes()
        if not self._resumable:
            return open_video_sink(output, info, options.encode, stream_copier, options.overwrite, self._stamp)
        fingerprint = {**resume_key(input, options), "runs_on": self._stylizer.describe()}
        remember = self._stabilizer.state if self._stabilizer is not None else None
        sink = open_resumable_sink(output, info, options, fingerprint, stream_copier, remember, self._stamp)
        self._done = sink.done
        if self._stabilizer is not None:
            self._stabilizer.restore(sink.memory)
        return sink

    def _resumes(self) -> bool:
        options = self._options
        if options.resume != "long":
            return options.resume
        impossible = options.report or is_url(self._input) or self._output.suffix.lower() == ".gif"
        return not impossible and (self.info.duration_seconds or 0) >= LONG_SECONDS

    def run(self, on_frame: Callable[[int], None] = lambda count: None) -> None:
        """Paint all frames; `on_frame` gets the running count."""
        began = time.monotonic()
        if self._done:
            on_frame(self._done)

        pipeline = PipelineOptions(
            batch_size=self._options.batch_size,
            post_processors=self._post_processors,
            metric=self._metric,
            sample_shot=shot_sampler(self._source),
            frames_done=self._done,
            lockstep=self._resumable and self._stabilizer is not None,
        )
        try:
            self._count = run(self._source, self._stylizer, self._sink, pipeline, on_frame)
        except KeyboardInterrupt:
            if self._resumable:
                log.warning("the finished part of %s is kept; the same command goes on from there", self._output)
            raise
        if self._count == 0:
            raise InputError(f"expected frames to paint, got none: {self._input}")
        self._seconds += time.monotonic() - began

    def publish(self) -> Result:
        """Finish, verify and name the output."""
        began = time.monotonic()
        self._sink.publish()
        metric = self._metric
        report = {"warping error": metric.stylized, "warping error of the input": metric.source} if metric else {}
        warnings = self._source.warnings() + self._sink.warnings()
        damage = self._source.damage() + self._sink.damage()
        self._seconds += time.monotonic() - began
        return Result(self._output, self._count, self._seconds, warnings, damage, report)

    def close(self) -> None:
        """Let go of everything; what was not published is removed, but for what `--resume` goes on from."""
        self._opened.close()


def convert(
    input: str,
    output: Path,
    stylizer: Stylizer,
    options: ConvertOptions = ConvertOptions(),
    on_frame: Callable[[int], None] = lambda count: None,
    fingerprint: str | None = None,
) -> Result:
    """Stylize the video or image `input` with `stylizer` and write it to `output`, which appears whole or not at all.

    `on_frame` gets the running count; the rest is as for `Conversion`.
    """
    with closing(Conversion(input, output, stylizer, options, fingerprint=fingerprint)) as conversion:
        conversion.run(on_frame)
        return conversion.publish()


def _gpu_of(device: str) -> str | None:
    """The GPU that decodes: the one that was asked for. With `auto` the processor does, which has little else to do."""
    return device.partition(":")[2] or "0" if device.startswith("cuda") else None


def with_mask(source: Source, options: ConvertOptions) -> Source:
    """`source` with the mask that `options` name; closes it where that fails."""
    if options.mask is None:
        return source
    try:
        return MaskedSource(source, options.mask, options.trim)
    except BaseException:
        source.close()
        raise


def post_processors_of(options: ConvertOptions) -> list[PostProcessor]:
    """Those that `options` ask for, but for the meter of a report."""
    stabilizers = [] if options.stabilize == "off" else [Stabilizer(options.stabilize)]
    return [*stabilizers, *([OwnColors()] if options.preserve_color else [])]


def shot_sampler(source: Source) -> Callable[[Frame], Iterator[Pixels]]:
    """Gives, for the first frame of a shot that `source` gave, the images that the shot's statistics are taken from."""
    count = SHOT_FRAMES if source.info.width * source.info.height <= LARGE_PIXELS else SHOT_FRAMES // 2

    def images(first: Frame) -> Iterator[Pixels]:
        # Lazily: most stylizers of other tools do not ask.
        with closing(source.following(first, SHOT_SECONDS)) as following:
            yield from spread_over_shot(following, count)

    return images


def check_resumable(input: str, options: ConvertOptions) -> None:
    """Raise `UsageError` where `options.resume` asks for what cannot be taken up again."""
    if options.resume is True and (options.report or is_url(input)):
        what = "a file, which stays the same," if is_url(input) else "no --report, which needs all frames in one run,"
        raise UsageError(f"expected {what} for --resume")


def resume_key(input: str, options: ConvertOptions) -> dict[str, Any]:
    """All that the images of an output depend on, so that what an interrupted run made is used for the same work only."""
    import vidstyle

    choices = asdict(replace(options, overwrite=False, skip_existing=False, resume=True, mask=None))
    status = Path(input).stat()
    fingerprint = {
        "input": {"path": str(Path(input).resolve()), "bytes": status.st_size, "modified_ns": status.st_mtime_ns},
        "model": provenance.model_of(options.style.style),
        "mask": None if options.mask is None else provenance.sampled(Path(options.mask)),
        "options": choices,
        "version": vidstyle.__version__,
    }
    return dict(json.loads(json.dumps(fingerprint)))  # it is compared with what was read from a file, which knows no tuples


def check_not_itself(input: str, output: Path, what: str = "input") -> None:
    """Raise `OutputExistsError` if `output` is the input, or `what` else is read: writing it would destroy it."""
    if not is_url(input) and output.exists() and Path(input).exists() and os.path.samefile(input, output):
        raise OutputExistsError(f"the output is the {what} itself: {output}; choose another name with -o")
