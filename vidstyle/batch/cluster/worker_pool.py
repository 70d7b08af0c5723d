"""The protocol of worker pools, wherever the workers run: tasks go to idle workers, results come back as they are ready."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from vidstyle.batch.cluster.worker import SharedFile, Worker, WorkerJob
from vidstyle.core.errors import VidstyleError, expected

PROGRESS_SECONDS = 0.5
"""How often a worker reports its progress."""

WITH_PROGRESS = ("stylize_chunk", "convert_whole")
"""The tasks that stylize frames, report their progress, and write files."""


@dataclass(frozen=True)
class Task:
    """A method of `Worker` by its name, and its arguments."""

    method: str
    job: WorkerJob
    arguments: tuple[Any, ...] = ()
    """The arguments after the job."""


@dataclass(frozen=True)
class TaskFailed:
    """The task raised an error."""

    error: VidstyleError


@dataclass(frozen=True)
class WorkerDied:
    """The task's worker died."""


@dataclass(frozen=True)
class WithLog:
    """A result together with the levels and texts of what was logged on the way to it."""

    result: Any
    records: list[tuple[int, str]]


@dataclass(frozen=True)
class Progress:
    """Not a result yet: how many frames the worker has done."""

    frames: int


class WorkerPool(Protocol):
    """Workers that do one task at a time each. A worker that dies is replaced."""

    workers: int

    def start(self, task: Task) -> int | None:
        """Give `task` to an idle worker; returns the number that identifies its results, or None if all workers are busy."""

    def results(self) -> list[tuple[int, Any]]:
        """What has arrived since the last call, with the numbers of the tasks: results or `TaskFailed`, each
        possibly in a `WithLog`; `WorkerDied`; and `Progress` in between. Waits up to about a second if there is nothing."""

    def share_file(self, path: str) -> SharedFile:
        """The bytes of a file of this machine, for workers on other machines."""

    def close(self) -> None:
        """Stop all workers, even in the middle of a task."""


def run_task(worker: Worker, task: Task, report: Callable[[int], None]) -> Any:
    """Do `task` and return its result, whatever goes wrong. `report` is called now and then with the number of frames done."""
    handler = _Records(logging.WARNING)
    logging.getLogger().addHandler(handler)  # only the run itself writes to a terminal
    try:
        result = _run_task(worker, task, report)
    finally:
        logging.getLogger().removeHandler(handler)
    return WithLog(result, handler.records) if handler.records else result


class _Records(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.records: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append((record.levelno, record.getMessage()))


def _run_task(worker: Worker, task: Task, report: Callable[[int], None]) -> Any:
    reported = time.monotonic()

    def on_frame(count: int) -> None:
        nonlocal reported
        if time.monotonic() - reported >= PROGRESS_SECONDS:
            reported = time.monotonic()
            report(count)

    try:
        options = {"on_frame": on_frame} if task.method in WITH_PROGRESS else {}
        with worker.file_available(task.job):
            return getattr(worker, task.method)(task.job, *task.arguments, **options)
    except Exception as error:
        return TaskFailed(expected(error))
