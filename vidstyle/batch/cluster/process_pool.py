"""A worker pool of processes of this machine."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

from vidstyle.batch.cluster.worker import Model, SharedFile, Worker
from vidstyle.batch.cluster.worker_pool import WITH_PROGRESS, Progress, Task, WorkerDied, run_task
from vidstyle.core.errors import InputError
from vidstyle.core.temporary_folder import TemporaryFolder

_WAIT_SECONDS = 1.0

_CLEAN_UP_SECONDS = 20.0
"""How long a worker may take to finish its frame and to clean up when it is stopped in the middle of a task."""


class ProcessPool:
    """See `vidstyle.batch.cluster.worker_pool.WorkerPool`."""

    def __init__(self, models: Mapping[str, Model], workers: int, cores: int) -> None:
        self.workers, self._models, self._cores = workers, models, cores
        # Threads and open libraries do not survive a fork.
        self._context = multiprocessing.get_context("spawn")
        self._number = 0
        self._busy: dict[int, _Process] = {}
        self._idle: list[_Process] = []
        self._failed_at_start: list[int] = []
        self._gpus = itertools.cycle(_gpus())
        self._folder = TemporaryFolder()  # one for all workers, because a killed worker removes nothing itself
        try:
            self._idle += [self._process() for _ in range(workers)]
        except BaseException:
            self.close()
            raise

    def _process(self) -> _Process:
        return _Process(self._context, self._models, self._cores, next(self._gpus), str(self._folder.path))

    def start(self, task: Task) -> int | None:
        if not self._idle:
            return None
        process = self._idle.pop()
        self._number += 1
        try:
            process.send(task)
            self._busy[self._number] = process
        except OSError:  # the worker died while it was idle
            self._idle.append(self._replacement(process))
            self._failed_at_start.append(self._number)
        return self._number

    def results(self) -> list[tuple[int, Any]]:
        results: list[tuple[int, Any]] = [(number, WorkerDied()) for number in self._failed_at_start]
        self._failed_at_start = []
        timeout = 0.0 if results else _WAIT_SECONDS
        ready = wait([p.pipe for p in self._busy.values()], timeout) if self._busy else []
        for number, process in list(self._busy.items()):
            if process.pipe in ready:
                try:
                    result = process.pipe.recv()
                except (EOFError, OSError):
                    result = WorkerDied()
                if not isinstance(result, Progress):
                    del self._busy[number]
                    self._idle.append(self._replacement(process) if isinstance(result, WorkerDied) else process)
                results.append((number, result))
        return results

    def _replacement(self, process: _Process) -> _Process:
        process.close()
        return self._process()

    def share_file(self, path: str) -> SharedFile:
        # All workers run on this machine: a file that they do not find was there when the run began.
        raise InputError(f"the file is gone, or another one is in its place: {path}")

    @property
    def pids(self) -> list[int]:
        """The process IDs of all workers."""
        return [p.process.pid or 0 for p in [*self._busy.values(), *self._idle]]

    def close(self) -> None:
        busy = list(self._busy.values())
        for process in busy:
            process.process.terminate()
        end = time.monotonic() + _CLEAN_UP_SECONDS
        for process in busy:
            process.process.join(max(0.0, end - time.monotonic()))
        for process in [*busy, *self._idle]:
            process.close()
        self._busy, self._idle = {}, []
        self._folder.close()


class _Process:
    """One worker and the pipe to it."""

    def __init__(self, context: Any, models: Mapping[str, Model], cores: int, gpu: str | None, folder: str) -> None:
        self.pipe: Connection[Any, Any]
        self.pipe, worker_end = context.Pipe()
        self._models: Mapping[str, Model] | None = models
        self.process: BaseProcess = context.Process(
            target=_serve, args=(worker_end, cores, gpu, folder), name="vidstyle-worker", daemon=True
        )
        with _sigint_blocked():
            self.process.start()
        worker_end.close()  # so that reading reports the end of the file when the worker dies

    def send(self, task: Task) -> None:
        """Give it a task; raises `OSError` if the worker is dead."""
        if self._models is not None:  # not in `__init__`: sending to a process that died while starting would block forever
            self.pipe.send(self._models)
            self._models = None
        self.pipe.send(task)

    def close(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
    """A process started inside does not receive Ctrl-C, which a terminal sends to the whole group, before it ignores it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # Python unblocks the signal when it starts the tracker, so start it before
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _gpus() -> list[str | None]:
    """The indices of NVIDIA's GPUs in CUDA, to distribute the workers over; [None] for at most one, or if the user has chosen."""
    found = list(Path("/proc/driver/nvidia/gpus").glob("*"))
    if len(found) < 2 or "CUDA_VISIBLE_DEVICES" in os.environ:
        return [None]
    return [str(index) for index in range(len(found))]


def _serve(pipe: Connection[Any, Any], cores: int, gpu: str | None, folder: str) -> None:
    """The main function of a worker, which ends with the run and leaves the terminal's signals to it. `folder`: for temporary
    files."""
    tempfile.tempdir = folder
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):  # there is no SIGHUP on Windows
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    stop = _Stop()
    signal.signal(signal.SIGTERM, stop.receive)
    threading.Thread(target=_die_with_parent, args=(folder,), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        worker = Worker(pipe.recv(), cores)

        def report(count: int) -> None:
            stop.check()
            pipe.send(Progress(count))

        while True:
            task = pipe.recv()
            stop.held = task.method in WITH_PROGRESS
            result = run_task(worker, task, report)
            stop.held = False
            pipe.send(result)
            stop.check()


class _Stop:
    """The handler of SIGTERM. It ends the process at once unless it is `held`, because the task writes files; then `check` does,
    by an exception, so that unfinished files are removed."""

    def __init__(self) -> None:
        self.held = self._requested = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
        if not self.held:
            os._exit(1)

    def check(self) -> None:
        if self._requested:
            raise SystemExit(1)


def _die_with_parent(folder: str) -> None:
    """Exit when the run is killed; otherwise its workers would go on."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)
