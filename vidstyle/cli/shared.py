"""What several commands share: running with a reporter, logging through it, and turning errors into exit codes."""

from __future__ import annotations

import io
import logging
import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import click

from vidstyle.cli.signals import exit_code
from vidstyle.core.errors import EXIT_FAILED, VidstyleError

if TYPE_CHECKING:
    from rich.table import Table

    from vidstyle.cli.reporters import QuietReporter
    from vidstyle.conversion.convert import Result

UNWRAPPED_WIDTH = 10_000


def report_line(result: Result) -> str:
    """The line that --report prints."""
    metrics = result.report.items()
    known = ", ".join(f"{name} {value:.2e}" for name, value in metrics if not math.isnan(value))
    return f"{result.output}: {known or 'too few frames to measure a warping error'}"


def print_table(table: Table) -> None:
    """Print a table on stdout: in colour and wrapped on a terminal, elsewhere one line per row."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console().print(table)
        return
    console = Console(file=io.StringIO(), width=UNWRAPPED_WIDTH)
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


class LineWriter(Protocol):
    """Something that prints lines."""

    def write_line(self, text: str) -> None: ...


class LogHandler(logging.Handler):
    """Prints log records through a reporter, so that they do not disturb its progress bar."""

    def __init__(self, reporter: LineWriter) -> None:
        super().__init__()
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.write_line(f"{record.levelname.lower()}: {record.getMessage()}")


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


def run_with_reporter(progress: str, quiet: bool, level: int, work: Callable[[Any], int]) -> int:
    """Call `work` with a reporter and return its exit code; every error is printed as one sentence."""
    reporter = _reporter(progress, quiet)
    logging.basicConfig(level=level, handlers=[LogHandler(reporter)], force=True)
    code = EXIT_FAILED
    try:
        code = work(reporter)
        return code
    except VidstyleError as error:
        code = error.exit_code
        reporter.write_line(f"error: {error}")
        return code
    except KeyboardInterrupt as stop:
        code = exit_code(stop)
        if progress == "json":  # the last event has the exit code
            return code
        raise
    finally:
        reporter.close(code)
