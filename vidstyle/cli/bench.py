"""`vidstyle bench`: how fast conversions are on this machine, and what limits them."""

from __future__ import annotations

import json
import logging
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from vidstyle.bench.options import BenchOptions, Size, parse_size
from vidstyle.cli.completion import complete_files, complete_styles
from vidstyle.cli.options import (
    BACKEND_OPTION,
    DEVICE_OPTION,
    INPUT_OUTPUT,
    PERFORMANCE,
    STYLE,
    Command,
    Finite,
    options_from,
    panel,
)
from vidstyle.cli.output import LogHandler, log_with, print_json, print_line
from vidstyle.cli.signals import Signals
from vidstyle.core.errors import EXIT_DONE, UsageError
from vidstyle.core.options import MAX_BATCH_SIZE, StyleOptions

_SIZES = " and ".join(f"{width}x{height}" for width, height in BenchOptions.sizes)


class _Size(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5
    """A size such as 640x360."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Size:
        try:
            return parse_size(str(value))
        except UsageError as error:
            self.fail(str(error), param, ctx)


@click.command(cls=Command, examples=["vidstyle bench", "vidstyle bench clip.mp4 --size 1280x720 --json bench.json"])
@click.argument("clip", required=False, shell_complete=complete_files)
@panel(
    INPUT_OUTPUT,
    click.option(
        "--size",
        "sizes",
        type=_Size(),
        multiple=True,
        show_default=f"the size of CLIP, or {_SIZES}",
        help="Size of the clip. Repeat it for more sizes.",
    ),
    click.option(
        "--seconds", type=Finite(0.1, 60), default=BenchOptions.seconds, show_default=True, help="Maximum length of the clip."
    ),
    click.option(
        "--rounds",
        type=click.IntRange(1),
        metavar="N",
        default=BenchOptions.rounds,
        show_default=True,
        help="Number of repetitions; the medians are reported.",
    ),
    click.option(
        "--json", "json_file", metavar="FILE", default=None, help="Write all results to this file as JSON; - prints them."
    ),
    click.option("--overwrite", is_flag=True, help="Replace a JSON file that exists."),
)
@panel(
    STYLE,
    click.option(
        "--style", default=StyleOptions.style, show_default=True, shell_complete=complete_styles, help="Style name or model file."
    ),
)
@panel(
    PERFORMANCE,
    DEVICE_OPTION,
    BACKEND_OPTION,
    click.option(
        "--batch-size",
        type=click.IntRange(1, MAX_BATCH_SIZE),
        metavar="N",
        default=BenchOptions.batch_size,
        show_default=True,
        help="Number of frames per run of the network.",
    ),
)
@click.pass_obj
def bench(
    signals: Signals, /, clip: str | None, sizes: tuple[Size, ...], json_file: str | None, overwrite: bool, **values: Any
) -> int:
    """Measure how fast conversions are on this machine.

    Measures decoding, the network and encoding, each alone and together, and start-up time, memory and energy. The clips are
    made from images that come with vidstyle, unless you pass CLIP, which is used as it is or scaled to each --size.
    """
    log_with(LogHandler(named=False), logging.INFO)
    style = StyleOptions(**options_from(StyleOptions, values))
    measured_sizes = tuple(dict.fromkeys(sizes)) or BenchOptions.sizes
    options = BenchOptions(style, measured_sizes, values["seconds"], values["rounds"], values["batch_size"])
    from vidstyle.bench.measure import measure
    from vidstyle.bench.table import lines
    from vidstyle.core.files import replaced, writing
    from vidstyle.sinks import check_free, check_not_read

    target = Path(json_file) if json_file not in (None, "-") else None
    if target is not None:
        check_not_read(target, [("input", clip), ("model", style.style)])
        check_free(target, overwrite)
    command = shlex.join(["vidstyle", *sys.argv[1:]])
    signals.hold()
    found = {"command": command, **measure(options, clip, bool(sizes), signals.check)}
    if json_file == "-":
        print_json(found)
        return EXIT_DONE
    for line in lines(found):
        print_line(line)
    if target is not None:
        check_free(target, overwrite)  # it may have been created in the meantime
        with writing(target), replaced(target) as temporary:
            temporary.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return EXIT_DONE
