"""The state of one job in a run with several workers: which tasks wait for a worker, and how far the job is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace

from vidstyle.batch.claims import ClaimedJob
from vidstyle.batch.cluster.job_tasks import JobTasks
from vidstyle.batch.cluster.worker import SharedFile
from vidstyle.batch.cluster.worker_pool import Task, TaskFailed, WorkerPool
from vidstyle.conversion.convert import Result
from vidstyle.conversion.job import Reporter
from vidstyle.core.errors import DeviceError, VidstyleError
from vidstyle.core.frames import VideoInfo
from vidstyle.media.container import reading

MAX_TRIES = 3
"""How many workers get a task, each after the death of the one before; the task itself may be what kills them."""


@dataclass
class Attempt:
    """A task for a worker: its index in the tasks of its step, and how often a worker died with it."""

    task: Task
    index: int
    step: int
    deaths: int = 0


class JobState:
    """One job: the tasks of its current step that wait for a worker, its progress, and its result. To be closed."""

    def __init__(self, claimed: ClaimedJob, chunk_seconds: float, reporter: Reporter) -> None:
        self.job, self._reporter = claimed.job, reporter
        self._tasks = JobTasks(claimed, chunk_seconds, self._report_start, self._set_frames_done)
        self._step = 0
        self._started = False
        self._frames_done = 0
        self._frames_in_progress: dict[int, int] = {}
        self._shared_file: SharedFile | None = None
        self.waiting: deque[Attempt] = deque()
        self.published: Future[Result] | None = None

    @property
    def publish(self) -> Callable[[], Result] | None:
        """Finishes the job without a worker; None while there are tasks."""
        return self._tasks.publish

    def is_current(self, attempt: Attempt) -> bool:
        """Whether the result is still of use: the job may have failed to be divided in the meantime."""
        return attempt.step == self._tasks.step

    def begin(self) -> None:
        """Begin the first step."""
        self._tasks.begin()
        self._update_waiting()

    def take_result(self, attempt: Attempt, result: object) -> None:
        """A task is done; the last one of a step begins the next step."""
        self._tasks.take_result(attempt.index, result)
        self._update_waiting()

    def fail(self, error: VidstyleError) -> None:
        """A task failed; raises `error` unless the job can be done in another way."""
        self._tasks.fail(error)
        self._update_waiting()

    def _update_waiting(self) -> None:
        step = self._tasks.step
        if step != self._step:
            self._step = step
            self.waiting = deque(Attempt(task, index, step) for index, task in enumerate(self._tasks.tasks))

    def retry_with_file(self, attempt: Attempt, pool: WorkerPool) -> None:
        """The task's worker does not have the input: try again and send the file with the task."""
        job = attempt.task.job
        if self._shared_file is None:
            if job.file is not None:
                job.file.check()
            with reading(self.job.input):
                self._shared_file = pool.share_file(self.job.input)
        attempt.task = replace(attempt.task, job=replace(job, shared_file=self._shared_file))
        self.waiting.appendleft(attempt)

    def retry(self, attempt: Attempt) -> TaskFailed | None:
        """The task's worker died: try again, or return the failure if that happened too often."""
        attempt.deaths += 1
        if attempt.deaths == MAX_TRIES:
            return TaskFailed(DeviceError(f"{MAX_TRIES} workers died one after the other while processing {self.job.input}"))
        self.waiting.appendleft(attempt)
        return None

    def report_progress(self, number: int, frames: int) -> None:
        """Note how many frames task `number` has finished; 0 when it has ended."""
        if not frames:
            self._frames_in_progress.pop(number, None)
        elif self._started:
            self._frames_in_progress[number] = frames
            self._report_frames()

    def _report_start(self, info: VideoInfo) -> None:
        self._started = True
        self._reporter.start(self.job, info)

    def _set_frames_done(self, frames: int) -> None:
        self._frames_done = frames
        self._report_frames()

    def _report_frames(self) -> None:
        self._reporter.frame(self.job, self._frames_done + sum(self._frames_in_progress.values()))

    def close(self) -> None:
        """Release the output."""
        self._tasks.close()
