"""What `vidstyle paint` and `vidstyle keyframes` share: the options of image optimization, and the run with a reporter."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from vidstyle.cli.completion import complete_styles
from vidstyle.cli.options import MEMORY, Finite
from vidstyle.cli.shared import print_report, run_with_reporter
from vidstyle.cli.signals import Signals
from vidstyle.core.errors import EXIT_DAMAGE, EXIT_DONE
from vidstyle.core.options import PAINT_STROKE_SCALE_RANGE, PaintOptions

STYLE_OPTION = click.option("--style", required=True, metavar="IMAGE|NAME[:WEIGHT],...", shell_complete=complete_styles,
                            help="Image file in the style to use, or name of a style whose style image to use.")  # fmt: skip

OPTIMIZATION = "Optimization"

OPTIMIZATION_STYLE_OPTIONS = (
    STYLE_OPTION,
    click.option("--content-weight", type=Finite(0), default=PaintOptions.content_weight, show_default="the recipe's",
                 help="Weight of the content; higher values keep more of the image."),
    click.option("--stroke-scale", type=Finite(*PAINT_STROKE_SCALE_RANGE), default=PaintOptions.stroke_scale, show_default=True,
                 help="Scale the size of the strokes."),
    click.option("--preserve-color", is_flag=True, help="Keep the colours of the original."),
    click.option("--mask", type=click.Path(path_type=Path), default=None, help="Only stylize the white areas of this image."),
)  # fmt: skip

OPTIMIZATION_OPTIONS = (
    click.option("--recipe", type=click.Choice(["best", "gatys"]), default=PaintOptions.recipe, show_default=True,
                 help="Optimization recipe; gatys is the method of the paper of 2015."),
    click.option("--encoder", default=PaintOptions.encoder, show_default=True,
                 help="Perceptual encoder: compact (included), vgg19 (torchvision's, which downloads 548 MB once; finer, and ten "
                      "times slower) or a file of weights."),
    click.option("--steps", type=click.IntRange(1), metavar="N", default=PaintOptions.steps, show_default="the recipe's",
                 help="Maximum number of steps at full size."),
    click.option("--optimizer", type=click.Choice(["adam", "lbfgs"]), default=PaintOptions.optimizer, show_default=True,
                 help="Optimizer of the recipe gatys."),
    click.option("--from", "start", type=click.Choice(["content", "noise"]), default=PaintOptions.start, show_default=True,
                 help="Image to start from."),
)  # fmt: skip

MEMORY_OPTION = click.option("--memory", type=MEMORY, default=PaintOptions.memory,
                             show_default=f"{PaintOptions.memory:g}G",
                             help="Memory limit, such as 4G; larger images are optimized in tiles.")  # fmt: skip


def run_optimization(signals: Signals, progress: str, quiet: bool, work: Callable[[Any], Any]) -> int:
    """Call `work` with a reporter, print its report, and return the exit code; `work` returns a `Result`."""

    def coded(reporter: Any) -> int:
        result = work(reporter)
        print_report([result])
        return EXIT_DAMAGE if result.damage else EXIT_DONE

    return run_with_reporter(signals, progress, quiet, logging.ERROR if quiet else logging.WARNING, coded)
