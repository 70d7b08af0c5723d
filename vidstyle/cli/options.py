"""Options that several commands share, their types, panels and aliases; commands whose help shows examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich_click import RichCommand, RichContext, RichGroup, RichHelpFormatter

from vidstyle.core.errors import UsageError
from vidstyle.core.options import DEFAULT_QUALITY, QUALITY_RANGE, EncodeOptions, StyleOptions, Trim
from vidstyle.styles.spec import parse_seconds

if TYPE_CHECKING:
    from click.parser import _OptionParser

INPUT_OUTPUT = "Input and output"
STYLE = "Style"
VIDEO = "Video"
TIME_RANGE = "Time range"
PERFORMANCE = "Performance"
FOLDERS = "Folders"
CLUSTER = "Cluster"
OTHER = "Other"

HELP_CONFIG = {
    "theme": "default-slim",
    "max_width": 100,
    "options_panel_title": OTHER,
    "show_arguments": False,
    "default_string": r"\[default: {}]",
}

F = TypeVar("F", bound=Callable[..., Any])


class Option(click.Option):
    """An option with `aliases`: former names that still work and are not shown. Of several names the last one counts."""

    def __init__(self, *args: Any, aliases: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.aliases = aliases

    def add_to_parser(self, parser: _OptionParser, ctx: click.Context) -> None:
        """Add the option and its aliases to the parser."""
        shown = self.opts
        self.opts = [*shown, *self.aliases]
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.opts = shown


class Command(RichCommand):
    """A command whose help shows `examples` below the usage line."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_help(self, ctx: RichContext, formatter: RichHelpFormatter) -> None:  # type: ignore[override]
        """Write usage, examples, description and options."""
        self.format_usage(ctx, formatter)
        if self.examples:
            from rich.padding import Padding
            from rich.text import Text

            lines = "".join(f"\n  {example}" for example in self.examples)
            formatter.write(Padding(Text.assemble(("Examples:", formatter.config.style_usage), lines), (0, 0, 1, 0)))
        self.format_help_text(ctx, formatter)
        self.format_options(ctx, formatter)
        self.format_epilog(ctx, formatter)


class Group(Command, RichGroup):  # type: ignore[misc]
    """A group of commands, with `examples` too."""


def panel(title: str, *options: Callable[[F], F]) -> Callable[[F], F]:
    """A decorator that adds `options` to a command and shows them in the help panel `title`."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
            command.__click_params__[-1].panel = title  # type: ignore[attr-defined]
        return command

    return decorate


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

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"expected a number, got {value}", param, ctx)
        return number


class _Memory(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5
    """An amount of memory in GiB, or with one of the units K, M, G and T."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip().upper().removesuffix("B").removesuffix("I")
        unit = {"K": 2**-20, "M": 2**-10, "G": 1, "T": 2**10}.get(text[-1:], 0)
        try:
            size = float(text[:-1]) * unit if unit else float(text)
        except ValueError:
            size = math.nan
        if not 0 < size < math.inf:
            self.fail(f"expected an amount of memory such as 4G or 500M, got {value}", param, ctx)
        return size


MEMORY = _Memory()

TRIM_OPTIONS = (
    click.option("--start", "trim_start", type=SECONDS, default=None, help="Start at this time, as seconds or H:M:S."),
    click.option("--end", type=SECONDS, default=None, help="Stop at this time."),
    click.option("--duration", type=SECONDS, default=None, help="Stop after this much of the input."),
    click.option("--sample", type=SECONDS, default=None, help="Only process the first seconds, to try out options."),
)

ENCODING_OPTIONS = (
    click.option("--codec", default=EncodeOptions.codec, show_default="what suits the output's container",
                 help="Video codec: h264, hevc, av1, vp9, prores, ffv1 or gif."),
    click.option("--quality", type=click.IntRange(*QUALITY_RANGE), default=EncodeOptions.quality, metavar="N",
                 help=f"Video quality; 100 gives the best quality and the largest files. [default: {DEFAULT_QUALITY}]"),
    click.option("--crf", type=int, default=EncodeOptions.crf,
                 help="Set the quality on the encoder's own scale instead of --quality."),
    click.option("--preset", default=EncodeOptions.preset, show_default="veryfast for h264, else the encoder's own",
                 help="Speed preset of the encoder."),
    click.option("--pix-fmt", default=EncodeOptions.pix_fmt, metavar="FORMAT", show_default="what suits the input",
                 help="Pixel format of the output, such as yuv420p."),
    click.option("--hardware", is_flag=True, help="Encode on the GPU."),
    click.option("--keep-hdr", is_flag=True, help="Keep HDR and its bit depth instead of converting to SDR."),
    click.option("--no-audio", is_flag=True, help="Do not copy audio streams."),
    click.option("--no-subtitles", is_flag=True, help="Do not copy subtitle streams."),
)  # fmt: skip

DEVICE_OPTION = click.option("--device", default=StyleOptions.device, show_default=True,
                             help="Device that runs the network: auto, cpu, cuda or cuda:N.")  # fmt: skip
BACKEND_OPTION = click.option("--backend", type=click.Choice(["auto", "onnx", "torch"]), default=StyleOptions.backend,
                              show_default=True, help="Library that runs the network.")  # fmt: skip
PROGRESS_OPTION = click.option("--progress", type=click.Choice(["auto", "json", "none"]), default="auto", show_default=True,
                               help="How to report progress on stderr; json writes one object per line.")  # fmt: skip
QUIET_OPTION = click.option("-q", "--quiet", is_flag=True, help="Only print errors.")
NETWORK_OPTION = click.option("--allow-network", is_flag=True, help="Allow URLs as input.")
REPORT_OPTION = click.option(
    "--report", is_flag=True, help="Print the warping error, which measures how much the output flickers."
)


def trim_from(values: Mapping[str, Any]) -> Trim:
    """The time range of --start, --end, --duration and --sample; raises `UsageError` where they contradict each other."""
    start, end = values["trim_start"] or 0.0, values["end"]
    lengths = [x for x in (values["duration"], values["sample"]) if x is not None]
    if len(lengths) + (end is not None) > 1:
        raise UsageError("expected one of --end, --duration and --sample, got several")
    return Trim(start, start + lengths[0] if lengths else end)


def options_from(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the command line whose names are those of fields of the dataclass `kind`."""
    return {f.name: values[f.name] for f in fields(kind) if f.name in values}  # type: ignore[arg-type]
