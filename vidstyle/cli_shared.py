"""What several commands share: times, the trim options, and logging beside a progress bar."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import click

from vidstyle.errors import UsageError
from vidstyle.options import Trim

if TYPE_CHECKING:
    from vidstyle.convert import Result


class _Seconds(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5
    """Seconds, or [H:]M:S."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            parts = [float(p) for p in str(value).split(":")]
            if len(parts) > 3 or any(p < 0 for p in parts):
                raise ValueError
        except ValueError:
            self.fail(f"expected seconds or H:M:S, got {value}", param, ctx)
        seconds = 0.0
        for part in parts:
            seconds = seconds * 60 + part
        return seconds


SECONDS = _Seconds()


def trim_of(given: Mapping[str, Any]) -> Trim:
    """The part that --start, --end, --duration and --sample ask for; raises `UsageError` where they do not go together."""
    start, end = given["start"] or 0.0, given["end"]
    lengths = [x for x in (given["duration"], given["sample"]) if x is not None]
    if len(lengths) + (end is not None) > 1:
        raise UsageError("expected one of --end, --duration and --sample, got several")
    if lengths:
        end = start + lengths[0]
    if end is not None and end <= start:
        raise UsageError(f"expected an end after the start, got {start:g} to {end:g} s")
    return Trim(start, end)


def report_line(result: Result) -> str:
    """What --report prints."""
    figures = result.report.items()
    known = ", ".join(f"{name} {value:.2e}" for name, value in figures if not math.isnan(value))
    return f"{result.output}: {known or 'too few frames to measure a warping error'}"


class Sayer(Protocol):
    """Puts a line where lines go."""

    def say(self, text: str) -> None: ...


class LogHandler(logging.Handler):
    """Log records go where progress goes, so that they do not cut through the bar."""

    def __init__(self, reporter: Sayer) -> None:
        super().__init__()
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.say(f"{record.levelname.lower()}: {record.getMessage()}")
