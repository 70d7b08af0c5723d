"""`vidstyle train`: train a new style."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from vidstyle.cli.completion import complete_styles
from vidstyle.cli.options import INPUT_OUTPUT, Command, Finite, Option, options_from, panel
from vidstyle.cli.output import LogHandler, log_with, print_line, print_message
from vidstyle.cli.signals import Signals, exit_code
from vidstyle.core.errors import EXIT_DONE, UsageError
from vidstyle.core.options import MIN_TRAINING_SIZE, TrainOptions


@click.command(
    cls=Command,
    examples=[
        "vidstyle train waves.jpg --name waves --photos photos/",
        "vidstyle train waves.jpg --name waves --photos photos/ --minutes 60",
    ],
)
@click.argument("style_images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE [IMAGE ...]")
@panel(
    INPUT_OUTPUT,
    click.option("--name", required=True, help="Name of the new style."),
    click.option(
        "--photos",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Folder of photographs and videos to train on. Repeat it for more.",
    ),
    click.option(
        "--into",
        type=click.Path(path_type=Path),
        default=None,
        metavar="DIR",
        show_default="your own styles",
        help="Folder to add the style to.",
    ),
    click.option(
        "--work",
        type=click.Path(path_type=Path),
        default=None,
        metavar="DIR",
        show_default="NAME.training",
        help="Folder for checkpoints and previews.",
    ),
    click.option("--no-exemplar", is_flag=True, help="Do not add the style image, which `vidstyle paint --style NAME` needs."),
    click.option("--overwrite", is_flag=True, help="Replace a style of this name."),
)
@panel(
    "Catalogue",
    click.option("--title", default="", help="Title of the style image."),
    click.option(
        "--artist",
        "painter",
        cls=Option,
        aliases=["--painter"],
        default="unknown",
        show_default=True,
        help="Artist of the style image.",
    ),
    click.option("--year", default="unknown", show_default=True, help="Year of the style image."),
    click.option("--licence", default="unknown", show_default=True, help="Licence of the style image."),
)
@panel(
    "Training",
    click.option(
        "--architecture",
        type=click.Choice(["compact", "full"]),
        default=TrainOptions.architecture,
        show_default=True,
        help="Network architecture.",
    ),
    click.option(
        "--encoder",
        default="compact",
        show_default=True,
        help="Perceptual encoder: compact (included), vgg19 (torchvision's, which downloads 548 MB once) or a file of weights.",
    ),
    click.option(
        "--from",
        "start",
        default=None,
        metavar="STYLE|none",
        shell_complete=complete_styles,
        show_default="udnie; none for the architecture full",
        help="Start from the weights of this style, or from random weights.",
    ),
    click.option(
        "--minutes", type=Finite(0, min_open=True), default=None, help="Train for as many steps as fit into about this time."
    ),
    click.option(
        "--steps",
        type=click.IntRange(1),
        metavar="N",
        default=None,
        help=f"Train for this number of steps. [default: {TrainOptions.steps}]",
    ),
    click.option(
        "--identity-steps",
        type=click.IntRange(0),
        metavar="N",
        default=TrainOptions.identity_steps,
        show_default=True,
        help="Steps of reconstruction before these, when training starts from random weights.",
    ),
    click.option(
        "--batch", type=click.IntRange(1), metavar="N", default=TrainOptions.batch, show_default=True, help="Batch size."
    ),
    click.option(
        "--crop",
        type=click.IntRange(MIN_TRAINING_SIZE),
        metavar="N",
        default=TrainOptions.crop,
        show_default=True,
        help="Size of the training crops in pixels, a multiple of 8.",
    ),
    click.option(
        "--style-size",
        type=click.IntRange(MIN_TRAINING_SIZE),
        metavar="N",
        default=TrainOptions.style_size,
        show_default=True,
        help="Short side of the style image in pixels.",
    ),
    click.option(
        "--learning-rate",
        type=float,
        default=TrainOptions.learning_rate,
        show_default=True,
        help="Learning rate of the optimizer.",
    ),
    click.option("--seed", type=int, default=TrainOptions.seed, show_default=True, help="Seed of the random numbers."),
)
@panel(
    "Losses",
    click.option(
        "--style-layers",
        default=None,
        metavar="LAYER:WEIGHT,...",
        help="Layers of the style loss and their weights, such as relu1_1:1,relu3_1/2:2; /2 means at half size.",
    ),
    click.option(
        "--content-layers", default=None, metavar="LAYER,...", help="Layers of the content loss, such as relu3_1,relu4_1/2."
    ),
    click.option(
        "--content-weight", type=float, default=TrainOptions.content_weight, show_default=True, help="Weight of the content loss."
    ),
    click.option(
        "--tone-weight",
        type=float,
        default=TrainOptions.tone_weight,
        show_default=True,
        help="Weight of the tone loss, which compares colours averaged over areas.",
    ),
    click.option(
        "--tv-weight", type=float, default=TrainOptions.tv_weight, show_default=True, help="Weight of the total variation loss."
    ),
    click.option(
        "--consistency-weight",
        cls=Option,
        aliases=["--steadiness-weight"],
        type=float,
        default=TrainOptions.consistency_weight,
        show_default=True,
        help="Weight of the temporal consistency loss.",
    ),
    click.option(
        "--consistency-ramp",
        cls=Option,
        aliases=["--steadiness-ramp"],
        type=Finite(0, 1),
        default=TrainOptions.consistency_ramp,
        show_default=True,
        help="Fraction of the training over which the temporal consistency weight rises to its full value.",
    ),
)
@click.pass_obj
def train(signals: Signals, /, no_exemplar: bool, **values: Any) -> int:
    """Train a new style from one or more images of it.

    Run the same command again to continue after an interruption.
    """
    from vidstyle.studio.training.request import StyleFacts, TrainingPaths, TrainingSources
    from vidstyle.studio.training.train import train_style

    log_with(LogHandler(named=False), logging.INFO)
    if values["minutes"] is not None and values["steps"] is not None:
        raise UsageError("expected --minutes or --steps, got both")
    options = {f.name: values.pop(f.name) for f in fields(TrainOptions) if f.name in values}
    options["steps"] = options["steps"] or TrainOptions.steps
    style_layers, content_layers = options.pop("style_layers"), options.pop("content_layers")
    if style_layers is not None:
        options["style_layers"] = tuple(
            (_layer(name), _weight(w)) for name, _, w in (p.partition(":") for p in _parts(style_layers))
        )
    if content_layers is not None:
        options["content_layers"] = tuple(_layer(name) for name in _parts(content_layers))
    try:
        style = train_style(
            StyleFacts(**options_from(StyleFacts, values)),
            TrainingSources(values["style_images"], values["photos"], values["encoder"], values["start"]),
            TrainOptions(**options),
            TrainingPaths(**options_from(TrainingPaths, values)),
            _command(),
            not no_exemplar,
            signals,
        )
    except KeyboardInterrupt as stop:
        print_message("interrupted; run the same command to continue")
        return exit_code(stop)
    print_line(f"{style}: use it with --style {values['name']}")
    return EXIT_DONE


def _parts(layers: str) -> list[str]:
    return [part.strip() for part in layers.split(",")]


def _layer(name: str) -> str:
    if not re.fullmatch(r"relu[1-5]_[1-4](/([2-9]|[1-9][0-9]))?", name):
        raise UsageError(f"expected a layer such as relu3_1 or relu3_1/2, got '{name}'")
    return name


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"expected layers with weights, such as relu3_1:1, got the weight '{text}'") from None


def _command() -> str:
    """This command line, for the model's metadata. Paths are reduced to their names, and output folders are left out, so that
    the model does not reveal them."""
    words, arguments = ["vidstyle"], iter(sys.argv[1:])
    for word in arguments:
        if word in ("--into", "--work"):
            next(arguments, None)
        elif not word.startswith(("--into=", "--work=")):
            words.append(Path(word).name if os.path.exists(word) else word)
    return shlex.join(words)
