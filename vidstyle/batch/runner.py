"""Runs jobs one after the other, with one loaded stylizer for each style."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from threading import Event

from vidstyle.batch.claims import ClaimedJob, claim_job
from vidstyle.conversion.convert import Conversion
from vidstyle.conversion.job import Job, JobResult, Reporter
from vidstyle.core.concurrency import background_executor, prefetch
from vidstyle.core.errors import expected
from vidstyle.core.options import ConvertOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.sources import estimate_size

WAIT_SECONDS = 1.0
"""How often to check whether another run has finished the jobs that it has claimed."""


def run_jobs(
    jobs: Sequence[Job],
    stylizers: Mapping[str, Stylizer],
    options: ConvertOptions,
    reporter: Reporter,
    shared: bool = False,
    check: Callable[[], None] = lambda: None,
) -> list[JobResult]:
    """Convert one job after the other, each with the stylizer of its style; if one fails, the others go on.

    While one input is stylized, the next is opened and the previous output verified. `shared`: other runs may be working on the
    same jobs, as is always assumed of several jobs. Each output is made by one run; at the end the others wait for it.

    `check` is called before each job and after each frame, and may raise to end the run. A job whose frames are all stylized is
    still published then.
    """
    shared = shared or len(jobs) > 1
    if shared:
        options = replace(options, resume=options.resume or "long")
    job_results: dict[Job, JobResult] = {}

    def settle(job_result: JobResult) -> None:
        job_results[job_result.job] = job_result
        reporter.done(job_result)

    reporter.expect(jobs)
    with estimating_sizes(jobs, reporter):
        waiting = list(jobs)
        while waiting:
            elsewhere = _Pass(stylizers, options, reporter, shared, check).run(waiting, settle)
            if elsewhere == waiting:
                reporter.stage("waiting for another run", len(job_results), len(jobs), None)
                time.sleep(WAIT_SECONDS)
            waiting = elsewhere
    return [job_results[job] for job in jobs]


@contextmanager
def estimating_sizes(jobs: Sequence[Job], reporter: Reporter) -> Iterator[None]:
    """Meanwhile read the headers of the inputs in a background thread and report how many frames the jobs have."""
    stop = Event()

    def estimate() -> None:
        for job in jobs:
            size = estimate_size(job.input)
            if stop.is_set():
                return
            if size is not None:
                reporter.estimate(job, *size)

    with background_executor() as executor:
        if len(jobs) > 1:
            executor.submit(estimate)
        try:
            yield
        finally:
            stop.set()


class _OpenJob:
    """A claimed job whose input and output are open."""

    def __init__(self, claimed: ClaimedJob, stylizer: Stylizer) -> None:
        self.job, self._claimed = claimed.job, claimed
        job, options = claimed.job, claimed.options
        self._conversion = Conversion(
            job.input, job.output, stylizer, options, fingerprint=claimed.fingerprint, files=claimed.files
        )

    def run(self, reporter: Reporter, between: Callable[[], None]) -> JobResult | None:
        """Stylize all frames and call `between` after each; returns a result only if that failed. What the reporter and `between`
        raise ends the run."""
        callers: list[Exception] = []

        def on_frame(count: int) -> None:
            try:
                reporter.frame(self.job, count)
                between()
            except Exception as error:
                callers.append(error)
                raise

        reporter.start(self.job, self._conversion.info)
        try:
            self._conversion.run(on_frame)
            return None
        except Exception as error:
            if error in callers:
                raise
            return JobResult(self.job, error=expected(error))

    def publish(self) -> JobResult:
        """Verify the output, give it its name and close the job."""
        try:
            return JobResult(self.job, self._conversion.publish())
        except Exception as error:
            return JobResult(self.job, error=expected(error))
        finally:
            self.close()

    def close(self) -> None:
        self._conversion.close()
        self._claimed.close()


class _Pass:
    """One pass over the jobs, which leaves out those that other runs have claimed."""

    def __init__(
        self,
        stylizers: Mapping[str, Stylizer],
        options: ConvertOptions,
        reporter: Reporter,
        shared: bool,
        check: Callable[[], None],
    ) -> None:
        self._stylizers, self._options, self._reporter, self._shared = stylizers, options, reporter, shared
        self._check = check
        self._open: set[_OpenJob] = set()
        self._publishing: tuple[_OpenJob, Future[JobResult]] | None = None

    def run(self, jobs: Sequence[Job], settle: Callable[[JobResult], None]) -> list[Job]:
        """Convert the jobs, with a call of `settle` for each result; returns those that other runs have claimed."""
        elsewhere = []
        with ExitStack() as stack:
            stack.callback(self._close_all)
            publisher = stack.enter_context(background_executor())
            self._settle = settle
            for item in stack.enter_context(closing(prefetch(self._opened_jobs(jobs), 1))):
                self._check()
                if isinstance(item, Job):
                    elsewhere.append(item)
                    continue
                job_result = item if isinstance(item, JobResult) else item.run(self._reporter, self._between_frames)
                self._settle_published(wait=True)
                if isinstance(item, _OpenJob) and job_result is None:
                    self._publishing = item, publisher.submit(item.publish)
                elif job_result is not None:
                    if isinstance(item, _OpenJob):
                        self._close(item)
                    settle(job_result)
            self._settle_published(wait=True)
        return elsewhere

    def _opened_jobs(self, jobs: Sequence[Job]) -> Iterator[_OpenJob | JobResult | Job]:
        for job in jobs:
            claimed = claim_job(job, self._options, self._shared)
            if not isinstance(claimed, ClaimedJob):
                yield claimed or job
                continue
            try:
                open_job = _OpenJob(claimed, self._stylizers[job.style])
            except BaseException as error:
                claimed.close()
                if not isinstance(error, Exception):
                    raise
                yield JobResult(job, error=expected(error))
                continue
            self._open.add(open_job)
            yield open_job

    def _between_frames(self) -> None:
        self._settle_published()
        self._check()

    def _settle_published(self, wait: bool = False) -> None:
        """Settle the job that is being published in the background, if it is done by now or `wait` is set."""
        if self._publishing is not None and (wait or self._publishing[1].done()):
            (open_job, future), self._publishing = self._publishing, None
            job_result = future.result()
            self._close(open_job)
            self._settle(job_result)

    def _close(self, open_job: _OpenJob) -> None:
        open_job.close()
        self._open.discard(open_job)

    def _close_all(self) -> None:
        for open_job in list(self._open):
            self._close(open_job)
