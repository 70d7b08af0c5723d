"""What several commands share: running with a reporter, and turning errors into exit codes."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from vidstyle.cli.output import LogHandler, error_lines, log_with, print_line
from vidstyle.cli.signals import Signals, exit_code
from vidstyle.cli.streams import ReaderGoneError
from vidstyle.core.errors import EXIT_FAILED, expected

if TYPE_CHECKING:
    from vidstyle.cli.reporters import QuietReporter
    from vidstyle.conversion.convert import Result


def print_report(results: Iterable[Result]) -> None:
    """Print what --report asks for, a line per output. The outputs are finished: that nobody reads it costs nothing."""
    with contextlib.suppress(ReaderGoneError):
        for result in results:
            metrics = result.report.items()
            known = ", ".join(f"{name} {value:.2e}" for name, value in metrics if not math.isnan(value))
            if metrics:
                print_line(f"{result.output}: {known or 'too few frames to measure a warping error'}")


def _reporter(kind: str, quiet: bool) -> QuietReporter:
    """The reporter for `--progress` and `--quiet`."""
    from vidstyle.cli.reporters import JsonReporter, LineReporter, QuietReporter

    if kind == "json":
        return JsonReporter()
    if quiet or kind == "none":
        return QuietReporter(quiet=quiet)
    if not sys.stderr.isatty():
        return LineReporter()
    from vidstyle.cli.progress_bar import BarReporter

    return BarReporter()


def run_with_reporter(signals: Signals, progress: str, quiet: bool, level: int, work: Callable[[Any], int]) -> int:
    """Call `work` with a reporter and return its exit code; every error is printed as one sentence."""
    reporter = _reporter(progress, quiet)
    if progress == "json":
        signals.on_exit = reporter.close
    log_with(LogHandler(reporter.write_line), level)
    code = EXIT_FAILED
    try:
        code = work(reporter)
        return code
    except ReaderGoneError:
        raise
    except Exception as error:
        problem = expected(error)
        code = problem.exit_code
        for line in error_lines(problem):
            reporter.write_line(line)
        return code
    except KeyboardInterrupt as stop:
        code = exit_code(stop)
        if progress == "json":  # the last event has the exit code
            return code
        raise
    finally:
        reporter.close(code)
