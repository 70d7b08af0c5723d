"""What several workers are, wherever they run: tasks go to whoever is free, answers come as they are ready."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from vidstyle.batch.cluster.worker import Film, SharedFile, Worker
from vidstyle.core.errors import VidstyleError

TELL_SECONDS = 0.5
"""How often a worker tells how far it is."""

_WITH_FRAMES = ("paint", "whole")


@dataclass(frozen=True)
class Task:
    """A method of `Worker` by its name, and what to call it with."""

    method: str
    video: Film
    arguments: tuple[Any, ...] = ()
    """What comes after the video."""


@dataclass(frozen=True)
class Failed:
    """A task that raised one of vidstyle's errors."""

    error: VidstyleError


@dataclass(frozen=True)
class Lost:
    """A task whose worker died."""


@dataclass(frozen=True)
class Crashed:
    """A task that raised something else: a mistake of the program, told as Python tells it."""

    trace: str


@dataclass(frozen=True)
class Noted:
    """An answer, with what was logged on the way to it: levels and texts."""

    answer: Any
    notes: list[tuple[int, str]]


@dataclass(frozen=True)
class Frames:
    """Not an answer yet: how many frames the worker has done."""

    count: int


class Engine(Protocol):
    """Workers, each doing one task at a time. One that dies is replaced."""

    workers: int

    def start(self, task: Task) -> int | None:
        """Give `task` to a worker that is free; its number, by which answers tell it, or None where all are busy."""

    def answers(self) -> list[tuple[int, Any]]:
        """What has come since, with the numbers of the tasks: results, `Failed`, `Crashed`, any of them `Noted`, `Lost`, and
        `Frames` in between. Waits a little if there is nothing."""

    def share(self, path: str) -> SharedFile:
        """The bytes of a file of this machine, for workers of others."""

    def close(self) -> None:
        """End all workers, in the middle of their work if need be."""


def answer(worker: Worker, task: Task, tell: Callable[[int], None]) -> Any:
    """Do `task`; whatever goes wrong is an answer too. `tell` is called now and then with the number of frames done."""
    notes = _Notes(logging.WARNING)
    logging.getLogger().addHandler(notes)  # the run alone has a place for words
    try:
        said = _answer(worker, task, tell)
    finally:
        logging.getLogger().removeHandler(notes)
    return Noted(said, notes.notes) if notes.notes else said


class _Notes(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.notes: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.notes.append((record.levelno, record.getMessage()))


def _answer(worker: Worker, task: Task, tell: Callable[[int], None]) -> Any:
    told = time.monotonic()

    def on_frame(count: int) -> None:
        nonlocal told
        if time.monotonic() - told >= TELL_SECONDS:
            told = time.monotonic()
            tell(count)

    try:
        more = {"on_frame": on_frame} if task.method in _WITH_FRAMES else {}
        with worker.at_hand(task.video):
            return getattr(worker, task.method)(task.video, *task.arguments, **more)
    except VidstyleError as error:
        return Failed(error)
    except Exception:
        return Crashed(traceback.format_exc())
