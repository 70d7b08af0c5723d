"""Runs jobs on several workers: processes of this machine, or a Ray cluster [extra: ray].

A whole file is one task; long videos are divided into chunks (`chunks.py`) that workers stylize independently (`worker.py`) and
that are joined here without encoding again. Only encoded data is sent.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from vidstyle.batch.claims import ClaimedJob, claim_job
from vidstyle.batch.cluster.job_state import Attempt, JobState
from vidstyle.batch.cluster.worker import FileNotOnWorkerError, Model
from vidstyle.batch.cluster.worker_pool import Progress, TaskFailed, WithLog, WorkerDied, WorkerPool
from vidstyle.batch.runner import WAIT_SECONDS, estimating_sizes
from vidstyle.conversion.job import Job, JobResult, Reporter
from vidstyle.core.concurrency import background_executor
from vidstyle.core.errors import VidstyleError, expected
from vidstyle.core.hardware import usable_cores
from vidstyle.core.options import ClusterOptions, ConvertOptions
from vidstyle.styles.catalog import find_style
from vidstyle.styles.spec import styles_in

log = logging.getLogger(__name__)


def open_worker_pool(styles: Sequence[str], options: ConvertOptions, cluster: ClusterOptions) -> WorkerPool:
    """The workers that `cluster` asks for; to be closed.

    Raises `StyleError` for a missing style, `DeviceError` for a cluster that cannot be reached, `MissingExtraError`.
    """
    names = dict.fromkeys(name for style in styles for name in styles_in(style))
    models = {name: Model(path.name, path.read_bytes()) for name, path in ((n, find_style(n)) for n in names)}
    if cluster.address is not None:
        from vidstyle.batch.cluster.ray_pool import RayPool

        return RayPool(models, cluster.address, cluster.workers, gpu=options.style.device != "cpu")
    from vidstyle.batch.cluster.process_pool import ProcessPool

    workers = cluster.workers or 1
    return ProcessPool(models, workers, max(1, usable_cores() // workers))


def run_jobs(
    jobs: Sequence[Job],
    pool: WorkerPool,
    options: ConvertOptions,
    reporter: Reporter,
    chunk_seconds: float,
    check: Callable[[], None] = lambda: None,
) -> list[JobResult]:
    """As `runner.run_jobs`, on the workers of `pool`; videos much longer than `chunk_seconds` are divided.

    `check` is called about once a second, and may raise to end the run.
    """
    reporter.expect(jobs)
    with ExitStack() as stack:
        stack.enter_context(estimating_sizes(jobs, reporter))
        scheduler = Scheduler(pool, options, reporter, chunk_seconds)
        stack.callback(scheduler.close)
        try:
            scheduler.run(jobs, check)
        except KeyboardInterrupt:
            log.warning("the finished chunks are kept; run the same command again to resume")
            raise
    return [scheduler.job_results[job] for job in jobs]


class Scheduler:
    """Gives tasks to idle workers, handles their results, and publishes outputs in the background. To be closed."""

    def __init__(self, pool: WorkerPool, options: ConvertOptions, reporter: Reporter, chunk_seconds: float) -> None:
        self._pool, self._options, self._reporter = pool, options, reporter
        self._chunk_seconds = chunk_seconds
        self._background = background_executor()
        self._active: list[JobState] = []
        self._running: dict[int, tuple[JobState, Attempt]] = {}
        self._logged = set[str]()
        self.job_results: dict[Job, JobResult] = {}

    def run(self, jobs: Sequence[Job], check: Callable[[], None]) -> None:
        """Do all jobs; those that another run has claimed are tried again later."""
        new, claimed_elsewhere = deque(jobs), list[Job]()
        last_try = time.monotonic()
        while new or claimed_elsewhere or self._active:
            check()
            if claimed_elsewhere and time.monotonic() - last_try >= WAIT_SECONDS:
                new.extend(claimed_elsewhere)
                claimed_elsewhere, last_try = [], time.monotonic()
            while new and self._needs_tasks():
                check()
                job = new.popleft()
                if not self._begin_job(job):
                    claimed_elsewhere.append(job)
            self._start_tasks()
            if self._running:
                for number, result in self._pool.results():
                    self._handle_result(number, result)
            elif self._active or claimed_elsewhere:
                if not self._active:
                    self._reporter.stage("waiting for another run", len(jobs) - len(claimed_elsewhere), len(jobs), None)
                time.sleep(WAIT_SECONDS / 10)
            self._finish_published()

    def _needs_tasks(self) -> bool:
        """Whether another job has to be begun so that no worker is idle."""
        return sum(len(state.waiting) for state in self._active) + len(self._running) <= self._pool.workers

    def _begin_job(self, job: Job) -> bool:
        """Begin a job, or settle it; False if another run has claimed it."""
        claimed = claim_job(job, self._options, shared=True)
        if isinstance(claimed, JobResult):
            self._settle(claimed)
        if not isinstance(claimed, ClaimedJob):
            return claimed is not None
        try:
            state = JobState(claimed, self._chunk_seconds, self._reporter)
        except Exception as error:  # such as an input that has just been removed
            claimed.close()
            self._settle(JobResult(job, error=expected(error)))
            return True
        self._active.append(state)
        self._advance(state, state.begin)
        return True

    def _start_tasks(self) -> None:
        for state in self._active:  # in order, because the first outputs are wanted first
            while state.waiting:
                number = self._pool.start(state.waiting[0].task)
                if number is None:
                    return
                self._running[number] = state, state.waiting.popleft()

    def _handle_result(self, number: int, result: Any) -> None:
        state, attempt = self._running[number]
        if isinstance(result, Progress):
            state.report_progress(number, result.frames)
            return
        del self._running[number]
        state.report_progress(number, 0)
        if isinstance(result, WithLog):
            self._log_once(result.records)
            result = result.result
        if state not in self._active or not state.is_current(attempt):
            return
        if isinstance(result, WorkerDied):
            failure = state.retry(attempt)
            if failure is None:
                return
            result = failure
        if isinstance(result, TaskFailed):
            self._handle_failure(state, attempt, result.error)
        else:
            self._advance(state, lambda: state.take_result(attempt, result))

    def _handle_failure(self, state: JobState, attempt: Attempt, error: VidstyleError) -> None:
        if isinstance(error, FileNotOnWorkerError) and attempt.task.job.shared_file is None:
            self._advance(state, lambda: state.retry_with_file(attempt, self._pool))
        else:
            self._advance(state, lambda: state.fail(error))

    def _log_once(self, records: Sequence[tuple[int, str]]) -> None:
        """Log each text of the workers once, because all of them log the same about a model."""
        for level, text in records:
            if text not in self._logged:
                self._logged.add(text)
                log.log(level, "%s", text)

    def _advance(self, state: JobState, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            self._finish_job(state, JobResult(state.job, error=expected(error)))
            return
        if state.publish is not None and state.published is None:
            state.published = self._background.submit(state.publish)

    def _finish_published(self) -> None:
        for state in [s for s in self._active if s.published is not None and s.published.done()]:
            assert state.published is not None
            try:
                job_result = JobResult(state.job, state.published.result())
            except Exception as error:
                job_result = JobResult(state.job, error=expected(error))
            self._finish_job(state, job_result)

    def _finish_job(self, state: JobState, job_result: JobResult) -> None:
        self._active.remove(state)
        state.close()
        self._settle(job_result)

    def _settle(self, job_result: JobResult) -> None:
        self.job_results[job_result.job] = job_result
        self._reporter.done(job_result)

    def close(self) -> None:
        """Wait for outputs that are being published, and release all others."""
        self._background.shutdown()
        for state in self._active:
            state.close()
