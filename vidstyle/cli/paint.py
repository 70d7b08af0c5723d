"""`vidstyle paint`: stylize one image by optimization."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vidstyle.cli.optimize_options import optimization_options, run_optimization
from vidstyle.cli.shared import options_from
from vidstyle.core.options import PaintOptions


@click.command()
@click.argument("image")
@click.option("--style", required=True, metavar="PAINTING|NAME[:WEIGHT],...", help="A painting's file or a style's name.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="[default: IMAGE.STYLE beside it]")
@optimization_options
def paint(image: str, style: str, output: Path | None, progress: str, quiet: bool, **given: Any) -> int:
    """Paint one image the slow, beautiful way (Gatys et al. 2015), in the style of any painting."""
    from vidstyle.studio.optimize.paint import optimize_image_file

    options = PaintOptions(**options_from(PaintOptions, given))
    return run_optimization(progress, quiet, lambda reporter: optimize_image_file(
        image, style, output, options, given["mask"], given["overwrite"], reporter))  # fmt: skip
