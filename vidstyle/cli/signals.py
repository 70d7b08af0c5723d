"""Ctrl-C, SIGTERM and SIGHUP (the terminal is closed): the current frame is finished, and everything is cleaned up.

No handler raises. An exception at an arbitrary place, perhaps while something is being cleaned up or imported, would leave files
behind or end in a crash.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

from vidstyle.cli.output import print_message
from vidstyle.core.cancellation import cancel_all


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, raised by `Signals.check` as Ctrl-C is."""


EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def exit_code(stop: BaseException | type[BaseException]) -> int:
    """The exit code of a program that was interrupted, as shells expect it."""
    kind = stop if isinstance(stop, type) else type(stop)
    return EXIT_TERMINATED if issubclass(kind, Terminated) else EXIT_INTERRUPTED


def _print_interrupted(code: int) -> None:
    print_message("interrupted")


class Signals:
    """Handlers of SIGINT, SIGTERM and SIGHUP, which counts as SIGTERM unless it is ignored, as `nohup` does.

    Until `hold` is called there is nothing to clean up, and a signal ends the process at once, after a call of `on_exit` with the
    exit code. From then on the first signal waits for `check`, the second also cancels what delays that, such as a run of the
    network, and further ones change nothing.
    """

    def __init__(self) -> None:
        self.on_exit: Callable[[int], None] = _print_interrupted
        self._held = False
        self._pending: type[KeyboardInterrupt] | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)
        hangup = getattr(signal, "SIGHUP", None)  # not on Windows
        if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
            signal.signal(hangup, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._pending is not None:
            cancel_all(self._pending)
        else:
            self._pending = KeyboardInterrupt if number == signal.SIGINT else Terminated
        if not self._held:
            code = exit_code(self._pending)
            try:
                self.on_exit(code)
            finally:
                os._exit(code)

    def hold(self) -> None:
        """Make a signal wait for `check` from now on."""
        self._held = True

    def check(self) -> None:
        """Raise `KeyboardInterrupt` or `Terminated` if there was a signal."""
        if self._pending is not None:
            raise self._pending
