"""`vidstyle train`, `paint` and `keyframes`, the offline work: parse -> options -> one library call -> exit code."""

from __future__ import annotations

import logging
import math
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from vidstyle.cli.shared import SECONDS, Finite, encoding_options, report_line, reported, trim_of
from vidstyle.cli.signals import Interruptible, Signals, exit_code
from vidstyle.core.errors import EXIT_DAMAGE, EXIT_DONE, UsageError
from vidstyle.core.options import ConvertOptions, EncodeOptions, KeyframeOptions, PaintOptions, TrainOptions


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
@click.option(
    "--consistency-ramp", type=click.FloatRange(0, 1), default=TrainOptions.consistency_ramp, show_default=True
)
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


def _painting_options(command: Callable[..., int]) -> Callable[..., int]:
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


@click.command()
@click.argument("image")
@click.option("--style", required=True, metavar="PAINTING|NAME[:WEIGHT],...", help="A painting's file or a style's name.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="[default: IMAGE.STYLE beside it]")
@_painting_options
def paint(image: str, style: str, output: Path | None, progress: str, quiet: bool, **given: Any) -> int:
    """Paint one image the slow, beautiful way (Gatys et al. 2015), in the style of any painting."""
    from vidstyle.studio.optimize.paint import paint_file

    options = PaintOptions(**_of(PaintOptions, given))
    return _reported(progress, quiet, lambda reporter: paint_file(
        image, style, output, options, given["mask"], given["overwrite"], reporter))  # fmt: skip


@click.command()
@click.argument("video")
@click.option("--style", required=True, metavar="PAINTING|NAME[:WEIGHT],...", help="A painting's file or a style's name.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="[default: VIDEO.STYLE beside it]")
@click.option("--work", type=click.Path(path_type=Path), default=None,
              help="Folder of the stylized keyframes, to look at and to retouch. [default: OUTPUT.keyframes]")  # fmt: skip
@click.option("--every", type=click.IntRange(1), default=None, metavar="FRAMES", help="[default: where the motion asks for it]")
@click.option("--keyframes", default=None, metavar="0,48,...", help="The keyframes' numbers.")
@click.option("--propagation", type=click.Choice(["warp", "net"]), default=KeyframeOptions.propagation, show_default=True,
              help="Between keyframes: a net fine-tuned on them alone, or they are warped over its paintings.")  # fmt: skip
@click.option("--net-steps", type=click.IntRange(1), default=KeyframeOptions.net_steps, show_default=True)
@click.option("--start", "begin", type=SECONDS, default=None, help="Begin here (seconds or H:M:S).")
@click.option("--end", type=SECONDS, default=None, help="End here.")
@click.option("--duration", type=SECONDS, default=None, help="Take this much.")
@click.option("--sample", type=SECONDS, default=None, metavar="TIME", help="Only the first seconds, for trying out.")
@encoding_options
@click.option("--stabilize", type=click.Choice(["off", "light", "strong"]), default=ConvertOptions.stabilize, show_default=True)
@click.option("--report", is_flag=True, help="Print the warping error: how much the output flickers.")
@_painting_options
@click.pass_obj
def keyframes(
    signals: Signals, /, video: str, style: str, output: Path | None, work: Path | None, progress: str, quiet: bool, **given: Any
) -> int:
    """Paint keyframes of a video as `paint` does, and carry them over all of it.

    Interrupted, it goes on when it is run again. So it does, with --overwrite, after a keyframe in the working folder was
    retouched.
    """
    from vidstyle.studio.keyframes.render import paint_video

    convert = ConvertOptions(
        encode=EncodeOptions(**_of(EncodeOptions, given)),
        trim=trim_of({**given, "start": given["begin"]}),
        audio=not given["no_audio"],
        subtitles=not given["no_subtitles"],
        **{k: given[k] for k in ("stabilize", "report", "overwrite")},
    )
    chosen = KeyframeOptions(
        every=given["every"],
        keyframes=_numbers(given["keyframes"]),
        propagation=given["propagation"],
        net_steps=given["net_steps"],
        device=given["device"],
    )
    options = PaintOptions(**_of(PaintOptions, given))

    def work_on(reporter: Any) -> Any:
        interruptible = Interruptible(reporter, signals)
        return paint_video(video, style, output, options, chosen, convert, work, given["mask"], interruptible, signals.held)

    return _reported(progress, quiet, work_on)


def _reported(progress: str, quiet: bool, work: Callable[[Any], Any]) -> int:
    """The exit code of `work`, which is given a reporter and returns a `Result`."""

    def coded(reporter: Any) -> int:
        result = work(reporter)
        if result.report:
            click.echo(report_line(result))
        return EXIT_DAMAGE if result.damage else EXIT_DONE

    return reported(progress, quiet, logging.ERROR if quiet else logging.WARNING, coded)


def _of(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    return {f.name: given[f.name] for f in fields(kind) if f.name in given}  # type: ignore[arg-type]


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(f"expected numbers of frames such as 0,48,96, got {text}") from None
