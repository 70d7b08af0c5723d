"""Workers that are processes of this machine."""

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

from vidstyle.batch.cluster.engine import Frames, Lost, Task, answer
from vidstyle.batch.cluster.worker import Model, SharedFile, Worker
from vidstyle.core.errors import InputError
from vidstyle.core.files import writing

_PATIENCE_SECONDS = 1.0

_CLEANING_SECONDS = 5.0
"""So long a worker may take to clean up when it is ended in the middle of its work."""


class Processes:
    """See `vidstyle.batch.cluster.engine.Engine`."""

    def __init__(self, models: Mapping[str, Model], workers: int, cores: int) -> None:
        self.workers, self._models, self._cores = workers, models, cores
        # Threads and open libraries do not survive a fork.
        self._context = multiprocessing.get_context("spawn")
        self._number = 0
        self._busy: dict[int, _Process] = {}
        self._free: list[_Process] = []
        self._stillborn: list[int] = []
        self._gpus = itertools.cycle(_gpus())
        with writing(Path(tempfile.gettempdir())):
            # For all of them: one that is killed cleans up nothing.
            self._folder = tempfile.TemporaryDirectory(prefix="vidstyle-", ignore_cleanup_errors=True)
        try:
            self._free += [self._process() for _ in range(workers)]
        except BaseException:
            self.close()
            raise

    def _process(self) -> _Process:
        return _Process(self._context, self._models, self._cores, next(self._gpus), self._folder.name)

    def start(self, task: Task) -> int | None:
        if not self._free:
            return None
        process = self._free.pop()
        self._number += 1
        try:
            process.send(task)
            self._busy[self._number] = process
        except OSError:  # it died while it had nothing to do
            self._free.append(self._replaced(process))
            self._stillborn.append(self._number)
        return self._number

    def answers(self) -> list[tuple[int, Any]]:
        found: list[tuple[int, Any]] = [(number, Lost()) for number in self._stillborn]
        self._stillborn = []
        patience = 0.0 if found else _PATIENCE_SECONDS
        ready = wait([p.pipe for p in self._busy.values()], patience) if self._busy else []
        for number, process in list(self._busy.items()):
            if process.pipe in ready:
                try:
                    said = process.pipe.recv()
                except (EOFError, OSError):
                    said = Lost()
                if not isinstance(said, Frames):
                    del self._busy[number]
                    self._free.append(self._replaced(process) if isinstance(said, Lost) else process)
                found.append((number, said))
        return found

    def _replaced(self, process: _Process) -> _Process:
        process.close()
        return self._process()

    def share(self, path: str) -> SharedFile:
        # All workers are of this machine: what they do not find was there when the work began.
        raise InputError(f"the file is gone, or another one is in its place: {path}")

    @property
    def pids(self) -> list[int]:
        """The processes."""
        return [p.process.pid or 0 for p in [*self._busy.values(), *self._free]]

    def close(self) -> None:
        busy = list(self._busy.values())
        for process in busy:
            process.process.terminate()
        end = time.monotonic() + _CLEANING_SECONDS
        for process in busy:
            process.process.join(max(0.0, end - time.monotonic()))
        for process in [*busy, *self._free]:
            process.close()
        self._busy, self._free = {}, []
        self._folder.cleanup()


class _Process:
    """One worker and the line to it."""

    def __init__(self, context: Any, models: Mapping[str, Model], cores: int, gpu: str | None, folder: str) -> None:
        self.pipe: Connection[Any, Any]
        self.pipe, theirs = context.Pipe()
        self._models: Mapping[str, Model] | None = models
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, cores, gpu, folder), name="vidstyle-worker", daemon=True
        )
        with _deaf():
            self.process.start()
        theirs.close()  # so that its death is the end of the line

    def send(self, task: Task) -> None:
        """Give it work; raises `OSError` where it is dead."""
        if self._models is not None:  # not at the start, where whoever gives them would wait for a dead process for ever
            self.pipe.send(self._models)
            self._models = None
        self.pipe.send(task)

    def close(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """A process that is started inside does not hear Ctrl-C, which a terminal sends to all, before it can ignore it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # by starting that one Python would open our ears again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _gpus() -> list[str | None]:
    """NVIDIA's GPUs as CUDA counts them, for workers to share; None where there is one at most, or the user has chosen."""
    found = list(Path("/proc/driver/nvidia/gpus").glob("*"))
    if len(found) < 2 or "CUDA_VISIBLE_DEVICES" in os.environ:
        return [None]
    return [str(index) for index in range(len(found))]


def _serve(pipe: Connection[Any, Any], cores: int, gpu: str | None, folder: str) -> None:
    """A worker's life: it ends with the run, whose signals it leaves to it. `folder` is for what it writes for itself."""
    tempfile.tempdir = folder
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_die_with_parent, args=(folder,), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        worker = Worker(pipe.recv(), cores)
        while True:
            pipe.send(answer(worker, pipe.recv(), lambda count: pipe.send(Frames(count))))


def _leave(number: int, frame: FrameType | None) -> None:
    """Nothing half done may stay beside an output."""
    raise SystemExit(1)


def _die_with_parent(folder: str) -> None:
    """A killed run must not leave workers behind that go on painting for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)
