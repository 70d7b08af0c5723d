"""Jobs -> outcomes: one file, several, or all of a folder, one after the other with one net."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from threading import Event

from vidstyle.batch.claims import Admitted, admit
from vidstyle.conversion.convert import Conversion
from vidstyle.conversion.job import Job, JobResult, Reporter
from vidstyle.core.concurrency import background, prefetch
from vidstyle.core.errors import VidstyleError
from vidstyle.core.options import ConvertOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.sources import glance

WAIT_SECONDS = 1.0
"""After so long it is looked again whether another run has finished what only it is at."""


def run_jobs(
    jobs: Sequence[Job],
    stylizers: Mapping[str, Stylizer],
    options: ConvertOptions,
    reporter: Reporter,
    shared: bool = False,
) -> list[JobResult]:
    """Convert one job after the other, each with the stylizer of its style; a failure costs its own file only.

    While one input is stylized the next is opened and the last output verified. `shared`, as several jobs always are: other
    runs may be at them too; each output is made by one of them, and the others wait for what is not theirs at the end.
    """
    shared = shared or len(jobs) > 1
    if shared:
        options = replace(options, resume=options.resume or "long")
    job_results: dict[Job, JobResult] = {}

    def settle(job_result: JobResult) -> None:
        job_results[job_result.job] = job_result
        reporter.done(job_result)

    reporter.expect(jobs)
    with foreseeing(jobs, reporter):
        waiting = list(jobs)
        while waiting:
            busy = _Round(stylizers, options, reporter, shared).work_off(waiting, settle)
            if busy == waiting:
                reporter.stage("waiting for another run", len(job_results), len(jobs), None)
                time.sleep(WAIT_SECONDS)
            waiting = busy
    return [job_results[job] for job in jobs]


@contextmanager
def foreseeing(jobs: Sequence[Job], reporter: Reporter) -> Iterator[None]:
    """Tell the reporter, aside, how much work the jobs are by their headers."""
    stop = Event()

    def tell() -> None:
        for job in jobs:
            known = glance(job.input)
            if stop.is_set():
                return
            if known is not None:
                reporter.foresee(job, *known)

    with background() as aside:
        if len(jobs) > 1:
            aside.submit(tell)
        try:
            yield
        finally:
            stop.set()


class _Work:
    """A job that is opened for painting."""

    def __init__(self, admitted: Admitted, stylizer: Stylizer) -> None:
        self.job, self._admitted = admitted.job, admitted
        job, options = admitted.job, admitted.options
        self._conversion = Conversion(job.input, job.output, stylizer, options, fingerprint=admitted.fingerprint)

    def run(self, reporter: Reporter, between: Callable[[], None]) -> JobResult | None:
        """Paint all frames, `between` which something else is done; the outcome if that failed."""

        def on_frame(count: int) -> None:
            reporter.frame(self.job, count)
            between()

        try:
            reporter.start(self.job, self._conversion.info)
            self._conversion.run(on_frame)
            return None
        except VidstyleError as error:
            return JobResult(self.job, error=error)

    def publish(self) -> JobResult:
        """Give the output its name; closes."""
        try:
            return JobResult(self.job, self._conversion.publish())
        except VidstyleError as error:
            return JobResult(self.job, error=error)
        finally:
            self.close()

    def close(self) -> None:
        self._conversion.close()
        self._admitted.close()


class _Round:
    """Does every job once, but for those that other runs are at."""

    def __init__(self, stylizers: Mapping[str, Stylizer], options: ConvertOptions, reporter: Reporter, shared: bool) -> None:
        self._stylizers, self._options, self._reporter, self._shared = stylizers, options, reporter, shared
        self._open: set[_Work] = set()
        self._published: tuple[_Work, Future[JobResult]] | None = None

    def work_off(self, jobs: Sequence[Job], settle: Callable[[JobResult], None]) -> list[Job]:
        """Do the jobs; returns those that other runs are at."""
        busy = []
        with ExitStack() as stack:
            stack.callback(self._close_all)
            publisher = stack.enter_context(background())
            self._settle = settle
            for item in stack.enter_context(closing(prefetch(self._opened(jobs), 1))):
                if isinstance(item, Job):
                    busy.append(item)
                    continue
                job_result = item if isinstance(item, JobResult) else item.run(self._reporter, self._settle_published)
                self._settle_published(wait=True)
                if isinstance(item, _Work) and job_result is None:
                    self._published = item, publisher.submit(item.publish)
                elif job_result is not None:
                    if isinstance(item, _Work):
                        self._closed(item)
                    settle(job_result)
            self._settle_published(wait=True)
        return busy

    def _opened(self, jobs: Sequence[Job]) -> Iterator[_Work | JobResult | Job]:
        for job in jobs:
            admitted = admit(job, self._options, self._shared)
            if not isinstance(admitted, Admitted):
                yield admitted or job
                continue
            try:
                work = _Work(admitted, self._stylizers[job.style])
            except BaseException as error:
                admitted.close()
                if not isinstance(error, VidstyleError):
                    raise
                yield JobResult(job, error=error)
                continue
            self._open.add(work)
            yield work

    def _settle_published(self, wait: bool = False) -> None:
        """Tell what became of the output published aside, if that is known by now."""
        if self._published is not None and (wait or self._published[1].done()):
            (work, future), self._published = self._published, None
            job_result = future.result()
            self._closed(work)
            self._settle(job_result)

    def _closed(self, work: _Work) -> None:
        work.close()
        self._open.discard(work)

    def _close_all(self) -> None:
        for work in list(self._open):
            self._closed(work)
