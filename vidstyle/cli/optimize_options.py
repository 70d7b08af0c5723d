"""What `vidstyle paint` and `vidstyle keyframes` share: the options of the optimization of images, and reporting."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from vidstyle.cli.shared import Finite, report_line, run_with_reporter
from vidstyle.core.errors import EXIT_DAMAGE, EXIT_DONE
from vidstyle.core.options import PaintOptions


def optimization_options(command: Callable[..., int]) -> Callable[..., int]:
    """The options of how pixels are optimised, which `paint` and `keyframes` share."""
    for option in reversed((
        click.option("--recipe", type=click.Choice(["best", "gatys"]), default=PaintOptions.recipe, show_default=True,
                     help="gatys: as in the paper of 2015."),
        click.option("--encoder", default=PaintOptions.encoder, show_default=True,
                     help="compact (ships), vgg19 (torchvision's, downloads 548 MB once; finer and ten times slower) or a file."),
        click.option("--content-weight", type=Finite(0, min_open=True), default=None,
                     help="More keeps more of the image. [default: the recipe's]"),
        click.option("--stroke-scale", type=Finite(0.1, 10), default=PaintOptions.stroke_scale, show_default=True,
                     help="Size of the strokes."),
        click.option("--steps", type=click.IntRange(1), default=None,
                     help="At most so many at full size. [default: the recipe's]"),
        click.option("--optimizer", type=click.Choice(["adam", "lbfgs"]), default=PaintOptions.optimizer, show_default=True,
                     help="Of the recipe gatys."),
        click.option("--from", "start", type=click.Choice(["content", "noise"]), default=PaintOptions.start, show_default=True,
                     help="What painting begins on."),
        click.option("--preserve-color", is_flag=True, help="Keep the original's colours."),
        click.option("--mask", type=click.Path(path_type=Path), default=None, help="An image: white is stylized, black left."),
        click.option("--memory", type=Finite(0.1), default=PaintOptions.memory, show_default=True, metavar="GIB",
                     help="Stay within this much: larger images are stylized in tiles."),
        click.option("--device", default=PaintOptions.device, show_default=True, help="auto, cpu, cuda or cuda:N."),
        click.option("--overwrite", is_flag=True, help="Replace an output that exists."),
        click.option("--progress", type=click.Choice(["auto", "json", "none"]), default="auto", show_default=True),
        click.option("-q", "--quiet", is_flag=True, help="Errors only."),
    )):  # fmt: skip
        command = option(command)
    return command


def run_optimization(progress: str, quiet: bool, work: Callable[[Any], Any]) -> int:
    """The exit code of `work`, which is given a reporter and returns a `Result`."""

    def coded(reporter: Any) -> int:
        result = work(reporter)
        if result.report:
            click.echo(report_line(result))
        return EXIT_DAMAGE if result.damage else EXIT_DONE

    return run_with_reporter(progress, quiet, logging.ERROR if quiet else logging.WARNING, coded)
