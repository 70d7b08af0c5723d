"""`vidstyle paint`: stylize one image by optimization."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vidstyle.cli.completion import complete_files
from vidstyle.cli.optimize_options import (
    MEMORY_OPTION,
    OPTIMIZATION,
    OPTIMIZATION_OPTIONS,
    OPTIMIZATION_STYLE_OPTIONS,
    run_optimization,
)
from vidstyle.cli.options import (
    DEVICE_OPTION,
    INPUT_OUTPUT,
    OTHER,
    PERFORMANCE,
    PROGRESS_OPTION,
    QUIET_OPTION,
    STYLE,
    Command,
    options_from,
    panel,
)
from vidstyle.cli.signals import Signals
from vidstyle.core.options import PaintOptions


@click.command(
    cls=Command,
    examples=["vidstyle paint photo.jpg --style waves.jpg", "vidstyle paint photo.jpg --style mosaic:2,scream:1 -o out.png"],
)
@click.argument("image", shell_complete=complete_files)
@panel(
    INPUT_OUTPUT,
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), show_default="IMAGE.STYLE beside the input", help="Output file."
    ),
    click.option("--overwrite", is_flag=True, help="Replace an output that exists."),
)
@panel(STYLE, *OPTIMIZATION_STYLE_OPTIONS)
@panel(OPTIMIZATION, *OPTIMIZATION_OPTIONS)
@panel(PERFORMANCE, DEVICE_OPTION, MEMORY_OPTION)
@panel(OTHER, PROGRESS_OPTION, QUIET_OPTION)
@click.pass_obj
def paint(signals: Signals, /, image: str, style: str, output: Path | None, progress: str, quiet: bool, **values: Any) -> int:
    """Stylize one image by optimization (Gatys et al. 2015), in the style of any image.

    This is slow, and gives the best quality.
    """
    from vidstyle.studio.optimize.paint import optimize_image_file

    options = PaintOptions(**options_from(PaintOptions, values))
    return run_optimization(signals, progress, quiet, lambda reporter: optimize_image_file(
        image, style, output, options, values["mask"], values["overwrite"], reporter, signals))  # fmt: skip
