"""`vidstyle train`: train a new style from a painting."""

from __future__ import annotations

import logging
import math
import re
import shlex
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from vidstyle.cli.shared import Finite
from vidstyle.cli.signals import Signals, exit_code
from vidstyle.core.errors import EXIT_DONE, UsageError
from vidstyle.core.options import TrainOptions


@click.command()
@click.argument("paintings", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PAINTING [PAINTING ...]")
@click.option("--name", required=True, help="The new style's name.")
@click.option(
    "--photos",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder of photographs and videos; several times for more.",
)
@click.option(
    "--encoder",
    default="compact",
    show_default=True,
    help="compact (ships), vgg19 (torchvision's, downloads 548 MB once) or a file of weights.",
)
@click.option(
    "--from",
    "start",
    default=None,
    metavar="STYLE|none",
    help="Go on from this style's weights, or begin from random ones. [default: udnie; none for full]",
)
@click.option("--into", type=click.Path(path_type=Path), default=None, help="Folder for the style. [default: your own styles]")
@click.option(
    "--work", type=click.Path(path_type=Path), default=None, help="Folder for checkpoints and previews. [default: NAME.training]"
)
@click.option("--title", default="", help="The painting's title, for the catalogue.")
@click.option("--painter", default="unknown", show_default=True)
@click.option("--year", default="unknown", show_default=True, help="When it was stylized.")
@click.option("--licence", default="unknown", show_default=True)
@click.option("--architecture", type=click.Choice(["compact", "full"]), default=TrainOptions.architecture, show_default=True)
@click.option("--minutes", type=Finite(0, min_open=True), default=None, help="Train so long that all of it takes about this.")
@click.option("--steps", type=click.IntRange(1), default=None, help=f"Or for so many steps. [default: {TrainOptions.steps}]")
@click.option(
    "--identity-steps",
    type=click.IntRange(0),
    default=TrainOptions.identity_steps,
    show_default=True,
    help="Before these, from random weights.",
)
@click.option("--batch", type=click.IntRange(1), default=TrainOptions.batch, show_default=True)
@click.option("--crop", type=click.IntRange(64), default=TrainOptions.crop, show_default=True, help="Pixels; a multiple of 8.")
@click.option(
    "--style-size",
    type=click.IntRange(64),
    default=TrainOptions.style_size,
    show_default=True,
    help="Short side of the painting.",
)
@click.option("--style-layers", default=None, metavar="LAYER:WEIGHT,...", help="Such as relu1_1:1,relu3_1/2:2; /2: of half size.")
@click.option("--content-layers", default=None, metavar="LAYER,...", help="Such as relu3_1,relu4_1/2.")
@click.option("--content-weight", type=float, default=TrainOptions.content_weight, show_default=True)
@click.option("--tone-weight", type=float, default=TrainOptions.tone_weight, show_default=True)
@click.option("--tv-weight", type=float, default=TrainOptions.tv_weight, show_default=True)
@click.option("--consistency-weight", type=float, default=TrainOptions.consistency_weight, show_default=True)
@click.option("--consistency-ramp", type=click.FloatRange(0, 1), default=TrainOptions.consistency_ramp, show_default=True)
@click.option("--learning-rate", type=float, default=TrainOptions.learning_rate, show_default=True)
@click.option("--seed", type=int, default=TrainOptions.seed, show_default=True)
@click.option("--no-exemplar", is_flag=True, help="Leave out the image that `vidstyle paint` needs.")
@click.option("--overwrite", is_flag=True, help="Replace a style of this name.")
@click.pass_obj
def train(signals: Signals, /, no_exemplar: bool, **given: Any) -> int:
    """Train a new style from a painting; run it again to go on after an interruption."""
    from vidstyle.studio.training.train import train_style

    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    if given["minutes"] is not None and given["steps"] is not None:
        raise UsageError("expected --minutes or --steps, got both")
    options = {f.name: given.pop(f.name) for f in fields(TrainOptions) if f.name in given}
    options["steps"] = options["steps"] or TrainOptions.steps
    style_layers, content_layers = options.pop("style_layers"), options.pop("content_layers")
    if style_layers is not None:
        options["style_layers"] = tuple(
            (_layer(name), _weight(w)) for name, _, w in (p.partition(":") for p in _parts(style_layers))
        )
    if content_layers is not None:
        options["content_layers"] = tuple(_layer(name) for name in _parts(content_layers))
    try:
        with signals.held():
            style = train_style(
                options=TrainOptions(**options), command=_command(), exemplar=not no_exemplar, check=signals.check, **given
            )
    except KeyboardInterrupt as stop:
        click.echo("interrupted; the same command goes on from here", err=True)
        return exit_code(stop)
    click.echo(f"{style}: use it with --style {given['name']}")
    return EXIT_DONE


def _parts(layers: str) -> list[str]:
    return [part.strip() for part in layers.split(",")]


def _layer(name: str) -> str:
    if not re.fullmatch(r"relu[1-5]_[1-4](/([2-9]|[1-9][0-9]))?", name):
        raise UsageError(f"expected a layer such as relu3_1 or relu3_1/2, got '{name}'")
    return name


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise UsageError(f"expected layers with weights above 0, such as relu3_1:1, got the weight '{text}'")
    return weight


def _command() -> str:
    """This command as it was given, for the model's metadata. Folders are named by their last part; where the style and its
    training went is nobody's business."""
    words, given = ["vidstyle"], iter(sys.argv[1:])
    for word in given:
        if word in ("--into", "--work"):
            next(given, None)
        elif not word.startswith(("--into=", "--work=")):
            words.append(Path(word).name if Path(word).exists() else word)
    return shlex.join(words)
