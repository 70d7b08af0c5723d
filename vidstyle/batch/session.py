"""A run over many inputs, from planning to the last result, by this process or by several workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from vidstyle.batch.claims import settled_result
from vidstyle.batch.planner import Planner, read_list
from vidstyle.batch.runner import run_jobs
from vidstyle.batch.watch import watch_folders
from vidstyle.conversion.convert import with_mask
from vidstyle.conversion.interrupts import Interrupts, NoInterrupts
from vidstyle.conversion.job import Job, JobResult, Reporter
from vidstyle.conversion.memory import MemoryBudget
from vidstyle.core.errors import UsageError, VidstyleError, expected
from vidstyle.core.frames import VideoInfo
from vidstyle.core.options import BatchOptions, ConvertOptions
from vidstyle.sinks import check_encoding, check_free, check_not_read, stream_map
from vidstyle.sources import is_image, open_source
from vidstyle.styles.catalog import find_style
from vidstyle.styles.spec import styles_in
from vidstyle.stylizers import load_stylizer

Converter = Callable[[Sequence[Job]], list[JobResult]]


class SessionReporter(Reporter, Protocol):
    """A `Reporter` that also takes notes."""

    def note(self, text: str) -> None:
        """A line for users about the whole run, such as the device that a style runs on."""


class SilentReporter:
    """Reports nothing."""

    def note(self, text: str) -> None:
        """See `SessionReporter`."""

    def stage(self, what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        """See `Reporter`."""

    def expect(self, jobs: Sequence[Job]) -> None:
        """See `Reporter`."""

    def estimate(self, job: Job, frames: int, pixels: int) -> None:
        """See `Reporter`."""

    def start(self, job: Job, info: VideoInfo) -> None:
        """See `Reporter`."""

    def frame(self, job: Job, count: int) -> None:
        """See `Reporter`."""

    def done(self, job_result: JobResult) -> None:
        """See `Reporter`."""


@dataclass(frozen=True)
class JobDescription:
    """What `Session.run` would do for a job: a `summary` and a line for each stream, or the `error` that it would end with."""

    job: Job
    summary: str = ""
    streams: tuple[str, ...] = ()
    error: VidstyleError | None = None


class Session:
    """Converts `inputs`, each a file, a folder or a URL, once in each of `styles` (names, model files, blends or timelines).

    An error of one input costs that input only: it is in its `JobResult`. Outputs that an earlier run finished are skipped.
    `interrupts` is checked between frames. Worker processes import the caller's main module, so a script that asks for them needs
    `if __name__ == "__main__":`.

    Raises `InputError` for missing inputs and lists, `UsageError` for no inputs at all or an output path that does not fit them.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        styles: Sequence[str],
        options: ConvertOptions = ConvertOptions(),
        batch: BatchOptions = BatchOptions(),
        reporter: SessionReporter = SilentReporter(),
        interrupts: Interrupts = NoInterrupts(),
    ) -> None:
        self._styles, self._options, self._batch = list(dict.fromkeys(styles)), options, batch
        self._reporter, self._interrupts = reporter, interrupts
        self._planner = Planner(_with_lists(inputs, batch.lists), self._styles, batch.output, batch.selection)
        self._shared = bool(self._planner.folders or batch.lists)
        """Whether other runs may work on the same jobs."""

    @property
    def unreadable(self) -> Collection[str]:
        """The folders found so far that could not be read, so that results of their files are missing."""
        return self._planner.unreadable

    def run(self) -> list[JobResult]:
        """Convert all inputs; the results are in the order of the inputs, and of the styles for each.

        Raises `InputError` for a folder without inputs, `UsageError` or `OutputExistsError` where an output is also an input or
        another output, or where the encoding options do not fit, `StyleError`, `DeviceError` and `MissingExtraError`.
        """
        jobs = self._plan()
        self._check_encoding(jobs)
        self._interrupts.hold()
        with self._converter() as convert:
            return convert(jobs) if jobs else []

    def watch(self) -> None:
        """Convert the files among the inputs, then those in the folders and whatever arrives there, until interrupted.

        Raises what `run` raises, and `UsageError` if there is no folder to watch.
        """
        planner = self._planner
        if not planner.folders:
            raise UsageError("expected a folder for --watch among the inputs, got none")
        jobs = planner.plan_for(planner.direct_inputs)
        self._check_encoding(jobs)
        self._interrupts.hold()
        with self._converter() as convert:
            if jobs:
                convert(jobs)
            self._reporter.note(f"watching {', '.join(planner.folders)}; Ctrl-C ends it")
            recursive = self._batch.selection.recursive
            for arrived in watch_folders(planner.folders, planner.files_in_folders, recursive, check=self._interrupts.check):
                convert(planner.plan_for(arrived))

    def describe(self) -> Iterator[JobDescription]:
        """What `run` would do, job by job; opens the inputs and writes nothing. Raises at once what `run` raises for all jobs."""
        jobs = self._plan()
        for style in dict.fromkeys(name for job in jobs for name in styles_in(job.style)):
            find_style(style)
        return (self._describe(job) for job in jobs)

    def _plan(self) -> list[Job]:
        jobs = self._planner.plan()
        for job in jobs:
            check_not_read(job.output, [("list of inputs", name) for name in self._batch.lists])
        return jobs

    def _describe(self, job: Job) -> JobDescription:
        options = self._options
        try:
            settled = settled_result(job, options)
            if settled is not None:
                summary = f"{job.output}: {settled.skipped}, would be skipped" if settled.skipped else ""
                return JobDescription(job, summary, error=settled.error)
            if os.path.exists(job.output.parent):
                check_free(job.output, options.overwrite)
            check_size = MemoryBudget(job.input, options).check_size
            source = open_source(job.input, options.trim, options.allow_network, check_size=check_size)
            with closing(with_mask(source, options)) as source:
                info = source.info
            streams = () if is_image(job.input) else tuple(stream_map(job.input, job.output, info, options))
        except Exception as error:
            return JobDescription(job, error=expected(error))
        return JobDescription(job, _summary(job, info), streams)

    def _check_encoding(self, jobs: Sequence[Job]) -> None:
        # One output of each kind: there may be thousands.
        for output in {job.output.suffix: job.output for job in jobs if not is_image(job.input)}.values():
            check_encoding(output, self._options.encode)

    @contextmanager
    def _converter(self) -> Iterator[Converter]:
        """What converts jobs: this process, or the workers that the options ask for."""
        if self._batch.cluster.workers is None and self._batch.cluster.address is None:
            yield self._in_this_process()
        else:
            with self._by_workers() as convert:
                yield convert

    def _in_this_process(self) -> Converter:
        stylizers = {}
        for style in self._styles:
            stylizers[style] = load_stylizer(replace(self._options.style, style=style), check=self._interrupts.check)
            self._interrupts.check()
        for style, stylizer in stylizers.items():
            self._reporter.note(f"style {style}: {stylizer.describe()}")

        def convert(jobs: Sequence[Job]) -> list[JobResult]:
            return run_jobs(jobs, stylizers, self._options, self._reporter, self._shared, self._interrupts.check)

        return convert

    @contextmanager
    def _by_workers(self) -> Iterator[Converter]:
        cluster = self._batch.cluster
        from vidstyle.batch.cluster import scheduler

        with closing(scheduler.open_worker_pool(self._styles, self._options, cluster)) as pool:
            place = f"the Ray cluster {cluster.address}" if cluster.address else "this machine"
            self._reporter.note(f"{pool.workers} {'worker' if pool.workers == 1 else 'workers'} on {place}")

            def convert(jobs: Sequence[Job]) -> list[JobResult]:
                return scheduler.run_jobs(
                    jobs, pool, self._options, self._reporter, cluster.chunk_seconds, self._interrupts.check
                )

            yield convert


def _with_lists(inputs: Sequence[str], lists: Sequence[str]) -> list[str]:
    """The inputs, and those in the lists."""
    together = [*inputs, *(line for name in lists for line in read_list(name))]
    if lists and not together:
        raise UsageError(f"expected inputs in {' and '.join(lists)}, one per line, found none")
    return together


def _summary(job: Job, info: VideoInfo) -> str:
    frames = f"{info.frame_count_estimate or 'unknown'} frames"
    rate = f" at {float(info.frame_rate):.2f} fps" if info.frame_rate else ""
    return f"{job.input} -> {job.output}: {info.width}x{info.height}, {frames}{rate}, style {job.style}"
