"""Ctrl-C and SIGTERM: the current frame is finished, and everything is cleaned up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised in the main thread as Ctrl-C is, so that everything is cleaned up."""


EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def exit_code(stop: BaseException) -> int:
    """The exit code of a program that was interrupted, as shells expect it."""
    return EXIT_TERMINATED if isinstance(stop, Terminated) else EXIT_INTERRUPTED


class Signals:
    """Handlers of SIGINT and SIGTERM. While held, a first signal waits until `check` is called; a second one does not."""

    def __init__(self) -> None:
        self._held = False
        self._pending: type[KeyboardInterrupt] | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        kind = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if not self._held or self._pending:
            raise kind
        self._pending = kind

    def hold(self) -> None:
        """Make a first signal wait for `check` from now on."""
        self._held = True

    def check(self) -> None:
        """Raise the signal that is waiting, if any."""
        if self._pending:
            raise self._pending

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make a first signal wait for `check` in a block. At its end a waiting signal is raised, unless an error is already."""
        before, self._held = self._held, True
        try:
            yield
        finally:
            self._held = before
        if not before:
            self.check()
