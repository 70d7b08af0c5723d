"""Ctrl-C and SIGTERM: the frame in flight is finished, everything is cleaned up."""

from __future__ import annotations

import signal
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidstyle.folder import Job, Outcome, Reporter
    from vidstyle.frames import VideoInfo


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
        """From now on a first signal waits for `check` or `release`."""
        self._held = True

    def check(self) -> None:
        """Raise for a signal that waits."""
        if self._pending:
            raise self._pending

    def release(self) -> None:
        """Signals act at once again, one that waits does so now."""
        self._held = False
        self.check()


class Interruptible:
    """A reporter between whose frames signals are looked after."""

    def __init__(self, reporter: Reporter, signals: Signals) -> None:
        self._reporter, self._signals = reporter, signals

    def stage(self, what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        self._reporter.stage(what, done, total, seconds_left)

    def start(self, job: Job, info: VideoInfo) -> None:
        self._signals.hold()
        self._reporter.start(job, info)

    def frame(self, count: int) -> None:
        self._reporter.frame(count)
        self._signals.check()

    def done(self, outcome: Outcome) -> None:
        self._reporter.done(outcome)
        self._signals.release()
