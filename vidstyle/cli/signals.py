"""Ctrl-C and SIGTERM: the frame in flight is finished, everything is cleaned up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM, brought to the main thread the way Ctrl-C is, so that everything is cleaned up."""


EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def exit_code(stop: BaseException) -> int:
    """What a shell expects of a program that this ended."""
    return EXIT_TERMINATED if isinstance(stop, Terminated) else EXIT_INTERRUPTED


class Signals:
    """Ctrl-C and SIGTERM. While frames are worked on the first one waits for the frame in flight; a second does not."""

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
        """From now on a first signal waits for `check`."""
        self._held = True

    def check(self) -> None:
        """Raise for a signal that waits."""
        if self._pending:
            raise self._pending

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, a first signal waits for `check`; at the end one that still waits is raised, unless an error is already."""
        before, self._held = self._held, True
        try:
            yield
        finally:
            self._held = before
        if not before:
            self.check()
