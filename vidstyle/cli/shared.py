"""What several commands share: times, the options of trimming and encoding, reporting, and what an error becomes."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol

import click

from vidstyle.cli.signals import exit_code
from vidstyle.core.errors import EXIT_FAILED, UsageError, VidstyleError
from vidstyle.core.options import EncodeOptions, Trim
from vidstyle.styles.spec import parse_seconds

if TYPE_CHECKING:
    from vidstyle.cli.reporters import QuietReporter
    from vidstyle.conversion.convert import Result


class _Seconds(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5
    """Seconds, or [H:]M:S."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return parse_seconds(str(value))
        except ValueError:
            self.fail(f"expected seconds or H:M:S, got {value}", param, ctx)


SECONDS = _Seconds()


class Finite(click.FloatRange):
    """A range without nan, which compares as within any."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"expected a number, got {value}", param, ctx)
        return number


def trim_from(given: Mapping[str, Any]) -> Trim:
    """The part that --start, --end, --duration and --sample ask for; raises `UsageError` where they do not go together."""
    start, end = given["start"] or 0.0, given["end"]
    lengths = [x for x in (given["duration"], given["sample"]) if x is not None]
    if len(lengths) + (end is not None) > 1:
        raise UsageError("expected one of --end, --duration and --sample, got several")
    if lengths:
        end = start + lengths[0]
    return Trim(start, end)


def encoding_options(command: Callable[..., int]) -> Callable[..., int]:
    """The options of what is encoded and what is carried over."""
    for option in reversed((
        click.option("--codec", default=EncodeOptions.codec,
                     help="h264, hevc, av1, vp9, prores, ffv1 or gif. [default: what fits]"),
        click.option("--quality", type=click.IntRange(0, 100), default=EncodeOptions.quality,
                     help="Of the video; 100 is best and largest."),
        click.option("--crf", type=int, default=EncodeOptions.crf, help="The encoder's own scale of quality, instead."),
        click.option("--preset", default=EncodeOptions.preset,
                     help="The encoder's speed. [default: the codec's, veryfast for h264]"),
        click.option("--pix-fmt", default=EncodeOptions.pix_fmt, help="Pixel format of the output. [default: what fits]"),
        click.option("--hardware", is_flag=True, help="Encode on the GPU."),
        click.option("--keep-hdr", is_flag=True, help="HDR stays HDR, with its bit depth."),
        click.option("--no-audio", is_flag=True, help="Leave the audio out."),
        click.option("--no-subtitles", is_flag=True, help="Leave subtitles out."),
    )):  # fmt: skip
        command = option(command)
    return command


def options_from(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the command line whose names are those of fields of the dataclass `kind`."""
    return {f.name: values[f.name] for f in fields(kind) if f.name in values}  # type: ignore[arg-type]


def report_line(result: Result) -> str:
    """What --report prints."""
    figures = result.report.items()
    known = ", ".join(f"{name} {value:.2e}" for name, value in figures if not math.isnan(value))
    return f"{result.output}: {known or 'too few frames to measure a warping error'}"


class LineWriter(Protocol):
    """Puts a line where lines go."""

    def write_line(self, text: str) -> None: ...


class LogHandler(logging.Handler):
    """Log records go where progress goes, so that they do not cut through the bar."""

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
    """The exit code of `work`, which is given a reporter; every error is one sentence in it."""
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
        if progress == "json":  # whose last line is the event that tells the code
            return code
        raise
    finally:
        reporter.close(code)
