"""`python -m vidstyle` and the console script; the only place that exits the process."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line and exit with its code."""
    signals = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    for number in signals:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _exit_at_once)
    from vidstyle.cli import run_command_line
    from vidstyle.cli.streams import guard_standard_streams

    guard_standard_streams()
    code = run_command_line(sys.argv[1:])
    for number in signals:
        signal.signal(number, signal.SIG_IGN)  # the work is done, and nothing may interrupt the end of the interpreter
    sys.exit(code)


def _exit_at_once(number: int, frame: FrameType | None) -> None:
    """The handler for as long as vidstyle is being imported, when there is nothing to clean up."""
    os._exit(130 if number == signal.SIGINT else 143)


if __name__ == "__main__":
    main()
