"""The one place where text is printed. Names, metadata and messages of libraries may contain what controls a terminal; here it is
escaped. JSON stays as it is, because it escapes the same characters itself."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TextIO

from vidstyle.core.errors import UnexpectedError, VidstyleError
from vidstyle.core.text import printable

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

UNWRAPPED_WIDTH = 10_000


def escape_unencodable() -> None:
    """Make stdout and stderr escape characters that their encoding lacks, such as umlauts in the locale `C`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_line(text: str) -> None:
    """Print one line on stdout."""
    _write(sys.stdout, printable(text))


def print_message(text: str) -> None:
    """Print one line on stderr."""
    _write(sys.stderr, printable(text))


def error_lines(error: VidstyleError) -> list[str]:
    """An error as lines for stderr: one sentence, and the traceback of an unexpected error if VIDSTYLE_DEBUG is set."""
    shown = error.traceback.splitlines() if isinstance(error, UnexpectedError) and "VIDSTYLE_DEBUG" in os.environ else []
    return [*shown, f"error: {error}"]


def print_error(error: VidstyleError) -> None:
    """Print `error_lines` on stderr."""
    for line in error_lines(error):
        print_message(line)


def print_json(facts: Mapping[str, object]) -> None:
    """Print a JSON object on stdout."""
    _write(sys.stdout, json.dumps(facts, indent=2))


def print_event(facts: Mapping[str, object]) -> None:
    """Print a JSON object as one line on stderr."""
    _write(sys.stderr, json.dumps(facts))


def _write(stream: TextIO | None, text: str) -> None:
    """A single write, so that lines of several threads do not mix. There is no stream if it was closed before the start."""
    if stream is not None:
        stream.write(f"{text}\n")
        stream.flush()


def cell(text: str, style: str = "") -> Text:
    """Text for a cell of a table, which has no markup: `[red]` is a part of a name like any other."""
    from rich.text import Text

    return Text(printable(text), style)


def print_table(table: Table) -> None:
    """Print a table of `cell`s on stdout: in colour and wrapped on a terminal, elsewhere one line per row."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console().print(table)
        return
    console = Console(file=io.StringIO(), width=UNWRAPPED_WIDTH)
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        print_line(line.rstrip())


class LogHandler(logging.Handler):
    """Prints log records with `write`. `named`: begin each line with its level."""

    def __init__(self, write: Callable[[str], None] = print_message, named: bool = True) -> None:
        super().__init__()
        self._write, self._named = write, named

    def emit(self, record: logging.LogRecord) -> None:
        level = f"{record.levelname.lower()}: " if self._named else ""
        self._write(level + record.getMessage())


def log_with(handler: LogHandler, level: int) -> None:
    """Print all log records of at least `level` with `handler`, and no others."""
    logging.basicConfig(level=level, handlers=[handler], force=True)
