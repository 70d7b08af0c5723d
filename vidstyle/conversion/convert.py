"""Converts one input into one output: opens source and sink, runs the pipeline, publishes the output."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vidstyle.conversion import provenance
from vidstyle.conversion.memory import MemoryBudget
from vidstyle.conversion.pipeline import PipelineOptions, run
from vidstyle.core.compositing import ColorPreserver
from vidstyle.core.errors import InputError, UsageError
from vidstyle.core.file_identity import FileIdentity, check_unchanged
from vidstyle.core.files import is_url
from vidstyle.core.frames import Frame, Pixels, VideoInfo
from vidstyle.core.options import ConvertOptions
from vidstyle.core.protocols import Engine, PostProcessor, Sink, Source, Stylizer
from vidstyle.media.container import local_files
from vidstyle.sinks import (
    OtherStreams,
    RunState,
    check_free,
    check_not_read,
    open_image_sink,
    open_resumable_sink,
    open_video_sink,
)
from vidstyle.sources import is_image, open_source
from vidstyle.sources.mask import MaskedSource
from vidstyle.styles.spec import styles_in
from vidstyle.temporal.metrics import WarpingError
from vidstyle.temporal.shots import spread_over_shot
from vidstyle.temporal.stabilize import Stabilizer

log = logging.getLogger(__name__)

LONG_SECONDS = 30.0
"""With `resume="long"`, videos of at least this duration are written in segments, so that an interrupted run can be resumed."""

SHOT_SECONDS = 4.0
SHOT_FRAMES = 8
"""The statistics of a shot are measured on this many images from its first `SHOT_SECONDS`..."""
LARGE_PIXELS = 4 << 20
"""...or on half as many if they have more pixels than this, because twice as many are held in memory."""


@dataclass(frozen=True)
class Result:
    """A finished conversion. `warnings` are remarks for users, `damage` is what was lost because the input is damaged; one
    sentence each. `report` holds measurements of the output if requested; nan if there is nothing to measure, as in an image."""

    output: Path
    frames: int
    seconds: float
    warnings: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    report: dict[str, float] = field(default_factory=dict)


class Conversion:
    """The conversion of one input into one output, in three steps that may run in different threads: the constructor opens input
    and output, `run` stylizes the frames, `publish` finishes the output. Must be closed, whatever happened.

    All steps raise the errors of `vidstyle.core.errors`. `post_processors` are applied before those that `options` ask for.
    `fingerprint` is stored in the output (see `vidstyle.conversion.provenance`). `files`: see `input_files`, if they were opened
    before; there is no output unless they are the same at the end.
    """

    def __init__(
        self,
        input: str,
        output: Path,
        stylizer: Stylizer,
        options: ConvertOptions = ConvertOptions(),
        post_processors: Sequence[PostProcessor] = (),
        fingerprint: str | None = None,
        files: Sequence[FileIdentity] | None = None,
    ) -> None:
        began = time.monotonic()
        self._input, self._output, self._stylizer, self._options = input, output, stylizer, options
        check_not_read(output, files_read(input, options))
        check_resumable(input, options)
        self._files = input_files(input, options) if files is None else files
        if not options.overwrite:
            check_free(output, overwrite=False)
        self._stamp = provenance.stamp(fingerprint) if fingerprint is not None else None
        self._post_processors = [*post_processors, *post_processors_of(options)]
        self._stabilizer = next((f for f in self._post_processors if isinstance(f, Stabilizer)), None)
        self._metric = WarpingError() if options.report else None
        self._count = self._done = 0
        self._resumable = False
        with ExitStack() as stack:
            budget = MemoryBudget(input, options)
            source = open_source(input, options.trim, options.allow_network, _gpu_of(options.style.device), budget.check_size)
            self._source = stack.enter_context(closing(with_mask(source, options)))
            self._plan = budget.plan(self.info.width, self.info.height, stylizer)
            self._stylizer = self._plan.fitted(stylizer)
            self._sink = stack.enter_context(closing(self._open_sink()))
            check_unchanged(self._files)
            self._opened = stack.pop_all()
        self._seconds = time.monotonic() - began

    @property
    def info(self) -> VideoInfo:
        """The properties of the input's video."""
        return self._source.info

    def _open_sink(self) -> Sink:
        input, output, options, info = self._input, self._output, self._options, self.info
        if is_image(input):
            return open_image_sink(output, options.overwrite, self._stamp)
        others = OtherStreams(input, self._source.shift_seconds, options, self._files)
        self._resumable = self._resumes()
        if not self._resumable:
            return open_video_sink(output, info, options.encode, others, options.overwrite, self._stamp)
        key = resume_key(input, self._plan.applied(options), self._stylizer.engine)
        state = RunState(self._stabilizer.state if self._stabilizer is not None else None, self._source.damage_so_far)
        sink = open_resumable_sink(output, info, options, key, others, state, self._stamp)
        self._done = sink.done
        self._source.restore_damage(sink.earlier_damage)
        if self._stabilizer is not None:
            self._stabilizer.restore(sink.state)
        return sink

    def _resumes(self) -> bool:
        options = self._options
        if options.resume != "long":
            return options.resume
        impossible = options.report or is_url(self._input) or self._output.suffix.lower() == ".gif"
        return not impossible and (self.info.duration_seconds or 0) >= LONG_SECONDS

    def run(self, on_frame: Callable[[int], None] = lambda count: None) -> None:
        """Stylize all frames; `on_frame` gets the running count."""
        began = time.monotonic()
        if self._done:
            on_frame(self._done)

        pipeline = PipelineOptions(
            batch_size=self._options.batch_size,
            post_processors=self._post_processors,
            metric=self._metric,
            sample_shot=shot_sampler(self._source),
            frames_done=self._done,
            lean=self._plan.lean,
            lockstep=self._resumable and self._stabilizer is not None,
        )
        try:
            self._count = run(self._source, self._stylizer, self._sink, pipeline, on_frame)
        except KeyboardInterrupt:
            if self._resumable:
                log.warning("the finished part of %s is kept; run the same command again to resume", self._output)
            raise
        if self._count == 0:
            raise InputError(f"expected at least one frame, got none: {self._input}")
        self._seconds += time.monotonic() - began

    def publish(self) -> Result:
        """Finish and verify the output, and give it its name. Raises `InputChangedError` if an input is not what it was."""
        began = time.monotonic()
        check_unchanged(self._files)
        self._sink.publish()
        metric = self._metric
        report = {"warping error": metric.stylized, "warping error of the input": metric.source} if metric else {}
        warnings = self._source.warnings() + self._sink.warnings()
        damage = self._source.damage() + self._sink.damage()
        self._seconds += time.monotonic() - began
        return Result(self._output, self._count, self._seconds, warnings, damage, report)

    def close(self) -> None:
        """Release everything; an output that was not published is removed, except for the segments that `--resume` needs."""
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
    """The GPU for decoding: the requested one. With `auto` the CPU decodes, which has little else to do."""
    return device.partition(":")[2] or "0" if device.startswith("cuda") else None


def with_mask(source: Source, options: ConvertOptions) -> Source:
    """`source` with the mask of `options`, if any; closes `source` if that fails."""
    if options.mask is None:
        return source
    try:
        return MaskedSource(source, options.mask, options.trim)
    except BaseException:
        source.close()
        raise


def post_processors_of(options: ConvertOptions) -> list[PostProcessor]:
    """The post-processors that `options` ask for, without the metric of a report."""
    stabilizers = [] if options.stabilize == "off" else [Stabilizer(options.stabilize)]
    return [*stabilizers, *([ColorPreserver()] if options.preserve_color else [])]


def shot_sampler(source: Source) -> Callable[[Frame], Iterator[Pixels]]:
    """A function from the first frame of a shot in `source` to the images on which the shot's statistics are measured."""
    count = SHOT_FRAMES if source.info.width * source.info.height <= LARGE_PIXELS else SHOT_FRAMES // 2

    def images(first: Frame) -> Iterator[Pixels]:
        # Lazily: stylizers without statistics do not use them.
        with closing(source.following(first, SHOT_SECONDS)) as following:
            yield from spread_over_shot(following, count)

    return images


def check_resumable(input: str, options: ConvertOptions) -> None:
    """Raise `UsageError` if `options.resume` is set for a conversion that cannot be resumed."""
    if options.resume is True and (options.report or is_url(input)):
        if is_url(input):
            raise UsageError(f"--resume works only with files, because the content of a URL may change (got {input})")
        raise UsageError("--resume cannot be combined with --report, which needs all frames in one run")


def resume_key(input: str, options: ConvertOptions, engine: Engine | None = None) -> dict[str, Any]:
    """Everything that the images of an output depend on; segments of an interrupted run are used only if it is the same.

    Of the `engine` only device and precision count: of several engines the fastest is chosen in the first run and remembered, so
    its name changes from one run to the next.
    """
    import vidstyle

    values = asdict(replace(options, overwrite=False, skip_existing=False, resume=True, mask=None, memory=None))
    status = Path(input).stat()
    key = {
        "input": {"path": str(Path(input).resolve()), "bytes": status.st_size, "modified_ns": status.st_mtime_ns},
        "model": provenance.model_digests(options.style.style),
        "mask": None if options.mask is None else provenance.sample_digest(Path(options.mask)),
        "options": values,
        "version": vidstyle.__version__,
    }
    if engine is not None:
        key["engine"] = {"device": engine.device.partition(":")[0], "precision": engine.precision}
    return dict(json.loads(json.dumps(key)))  # it is compared with JSON that was read from a file, which has no tuples


def files_read(input: str, options: ConvertOptions) -> list[tuple[str, str | None]]:
    """What a conversion reads, each with what it is called in messages: the argument of `sinks.check_not_read`."""
    return [("input", input), ("mask", options.mask), *(("model", name) for name in styles_in(options.style.style))]


def input_files(input: str, options: ConvertOptions) -> tuple[FileIdentity, ...]:
    """The files whose frames an output is made from, which must not change meanwhile. Raises `InputError`."""
    return local_files(input, options.mask)
