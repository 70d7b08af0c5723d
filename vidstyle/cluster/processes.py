"""Workers that are processes of this machine."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from vidstyle.cluster.engine import Frames, Lost, Task, answer
from vidstyle.cluster.worker import Model, SharedFile, Worker

_PATIENCE_SECONDS = 1.0


class Processes:
    """See `vidstyle.cluster.engine.Engine`."""

    def __init__(self, models: Mapping[str, Model], workers: int, cores: int) -> None:
        self.workers, self._models, self._cores = workers, models, cores
        # Threads and open libraries do not survive a fork.
        self._context = multiprocessing.get_context("spawn")
        self._number = 0
        self._busy: dict[int, _Process] = {}
        self._free: list[_Process] = []
        self._gpus = itertools.cycle(_gpus())
        try:
            self._free += [self._process() for _ in range(workers)]
        except BaseException:
            self.close()
            raise

    def _process(self) -> _Process:
        return _Process(self._context, self._models, self._cores, next(self._gpus))

    def start(self, task: Task) -> int | None:
        while self._free:
            process = self._free.pop()
            try:
                process.pipe.send(task)
            except OSError:  # it died while it had nothing to do
                process.close()
                self._free.append(self._process())
                continue
            self._number += 1
            self._busy[self._number] = process
            return self._number
        return None

    def answers(self) -> list[tuple[int, Any]]:
        ready = wait([p.pipe for p in self._busy.values()], _PATIENCE_SECONDS) if self._busy else []
        found: list[tuple[int, Any]] = []
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
        raise AssertionError(f"all workers are of the machine that {path} is on")

    @property
    def pids(self) -> list[int]:
        """The processes."""
        return [p.process.pid or 0 for p in [*self._busy.values(), *self._free]]

    def close(self) -> None:
        for process in [*self._busy.values(), *self._free]:
            process.close()
        self._busy, self._free = {}, []


class _Process:
    """One worker and the line to it."""

    def __init__(self, context: Any, models: Mapping[str, Model], cores: int, gpu: str | None) -> None:
        self.pipe: Connection[Any, Any]
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, models, cores, gpu), name="vidstyle-worker", daemon=True
        )
        self.process.start()
        theirs.close()  # so that its death is the end of the line

    def close(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.join()


def _gpus() -> list[str | None]:
    """NVIDIA's GPUs as CUDA counts them, for workers to share; None where there is one at most, or the user has chosen."""
    found = list(Path("/proc/driver/nvidia/gpus").glob("*"))
    if len(found) < 2 or "CUDA_VISIBLE_DEVICES" in os.environ:
        return [None]
    return [str(index) for index in range(len(found))]


def _serve(pipe: Connection[Any, Any], models: Mapping[str, Model], cores: int, gpu: str | None) -> None:
    """A worker's life: it ends with the run, whose signals it leaves to it."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    worker = Worker(models, cores)
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(answer(worker, pipe.recv(), lambda count: pipe.send(Frames(count))))


def _die_with_parent() -> None:
    """A killed run must not leave workers behind that go on painting for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
