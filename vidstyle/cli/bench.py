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
from vidstyle.cli.shared import Finite
from vidstyle.cli.signals import Signals
from vidstyle.core.errors import EXIT_DONE, UsageError
from vidstyle.core.options import StyleOptions

_SIZES = " and ".join(f"{width}x{height}" for width, height in BenchOptions.sizes)


class _Size(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5
    """Width and height."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Size:
        try:
            return parse_size(str(value))
        except UsageError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("clip", required=False)
@click.option("--style", default=StyleOptions.style, show_default=True, help="A name or a model file.")
@click.option("--size", "sizes", type=_Size(), multiple=True,
              help=f"Of the clip; several times for more. [default: CLIP's own, or {_SIZES}]")  # fmt: skip
@click.option("--seconds", type=Finite(0.1, 60), default=BenchOptions.seconds, show_default=True,
              help="Length of the clip, at most.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), default=BenchOptions.rounds, show_default=True,
              help="Measure so often; medians count.")  # fmt: skip
@click.option("--device", default=StyleOptions.device, show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--backend", type=click.Choice(["auto", "onnx", "torch"]), default=StyleOptions.backend, show_default=True)
@click.option("--batch-size", type=click.IntRange(1, 64), default=BenchOptions.batch_size, show_default=True,
              help="Frames per run of the net.")  # fmt: skip
@click.option("--json", "json_file", metavar="FILE", default=None, help="Write all figures there as JSON; - prints them.")
@click.option("--overwrite", is_flag=True, help="Replace a JSON file that exists.")
@click.pass_obj
def bench(
    signals: Signals,
    /,
    clip: str | None,
    sizes: tuple[Size, ...],
    json_file: str | None,
    overwrite: bool,
    style: str,
    device: str,
    backend: Any,
    **given: Any,
) -> int:
    """Measure how fast conversions are here.

    Decoding, net and encoding, each alone and all together, start-up, memory and energy, on clips made of the images that
    come with vidstyle, or on CLIP: as it is, or scaled to each --size.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    options = BenchOptions(
        StyleOptions(style=style, device=device, backend=backend), tuple(dict.fromkeys(sizes)) or BenchOptions.sizes, **given
    )
    with signals.held():  # an interrupted import would be reported as a broken installation
        from vidstyle.bench.measure import measure
        from vidstyle.bench.table import table
        from vidstyle.core.files import replaced, writing
        from vidstyle.sinks import check_free
    target = Path(json_file) if json_file not in (None, "-") else None
    if target is not None:
        check_free(target, overwrite)
    command = shlex.join(["vidstyle", *sys.argv[1:]])
    found = {"command": command, **measure(options, clip, scale=bool(sizes))}
    text = json.dumps(found, indent=2) + "\n"
    if json_file == "-":
        click.echo(text, nl=False)
        return EXIT_DONE
    for line in table(found):
        click.echo(line)
    if target is not None:
        check_free(target, overwrite)  # it may have come meanwhile
        with writing(target), replaced(target) as temporary:
            temporary.write_bytes(text.encode())
    return EXIT_DONE
