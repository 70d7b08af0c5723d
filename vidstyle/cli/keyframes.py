"""`vidstyle keyframes`: stylize keyframes of a video by optimization and propagate them."""

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
    ENCODING_OPTIONS,
    INPUT_OUTPUT,
    OTHER,
    PERFORMANCE,
    PROGRESS_OPTION,
    QUIET_OPTION,
    REPORT_OPTION,
    STYLE,
    TIME_RANGE,
    TRIM_OPTIONS,
    VIDEO,
    Command,
    options_from,
    panel,
    trim_from,
)
from vidstyle.cli.signals import Signals
from vidstyle.core.errors import UsageError
from vidstyle.core.options import ConvertOptions, EncodeOptions, KeyframeOptions, PaintOptions


@click.command(
    cls=Command,
    examples=[
        "vidstyle keyframes in.mp4 --style waves.jpg",
        "vidstyle keyframes in.mp4 --style waves.jpg --keyframes 0,48,96 --sample 5",
    ],
)
@click.argument("video", shell_complete=complete_files)
@panel(
    INPUT_OUTPUT,
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), show_default="VIDEO.STYLE beside the input", help="Output file."
    ),
    click.option(
        "--work",
        type=click.Path(path_type=Path),
        default=None,
        show_default="OUTPUT.keyframes",
        help="Working folder with the stylized keyframes, which you can retouch.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace an output that exists."),
)
@panel(STYLE, *OPTIMIZATION_STYLE_OPTIONS)
@panel(
    "Keyframes",
    click.option(
        "--every",
        type=click.IntRange(1),
        default=KeyframeOptions.every,
        metavar="FRAMES",
        show_default="as the motion requires",
        help="Interval between keyframes.",
    ),
    click.option("--keyframes", default=None, metavar="0,48,...", help="Frame numbers of the keyframes, from 0."),
    click.option(
        "--propagation",
        type=click.Choice(["warp", "net"]),
        default=KeyframeOptions.propagation,
        show_default=True,
        help="How to stylize the frames between keyframes: net uses a network that is fine-tuned on the keyframes, and "
        "warp also warps the keyframes over its output.",
    ),
    click.option(
        "--net-steps",
        type=click.IntRange(1),
        metavar="N",
        default=KeyframeOptions.net_steps,
        show_default=True,
        help="Number of fine-tuning steps of that network.",
    ),
    click.option(
        "--stabilize",
        type=click.Choice(["off", "light", "strong"]),
        default=ConvertOptions.stabilize,
        show_default=True,
        help="Reduce flicker by warping strokes along with the motion. This is slower.",
    ),
)
@panel(OPTIMIZATION, *OPTIMIZATION_OPTIONS)
@panel(VIDEO, *ENCODING_OPTIONS)
@panel(TIME_RANGE, *TRIM_OPTIONS)
@panel(PERFORMANCE, DEVICE_OPTION, MEMORY_OPTION)
@panel(OTHER, REPORT_OPTION, PROGRESS_OPTION, QUIET_OPTION)
@click.pass_obj
def keyframes(signals: Signals, /, video: str, style: str, progress: str, quiet: bool, **values: Any) -> int:
    """Stylize keyframes of a video as `vidstyle paint` does, and propagate them over all frames.

    Run the same command again to continue after an interruption. After you retouched a keyframe in the working folder, run it
    again with --overwrite.
    """
    from vidstyle.studio.keyframes.render import KeyframePaths, stylize_with_keyframes

    convert = ConvertOptions(
        encode=EncodeOptions(**options_from(EncodeOptions, values)),
        trim=trim_from(values),
        audio=not values["no_audio"],
        subtitles=not values["no_subtitles"],
        **{k: values[k] for k in ("stabilize", "report", "overwrite")},
    )
    keyframe_options = KeyframeOptions(
        every=values["every"],
        keyframes=_numbers(values["keyframes"]),
        propagation=values["propagation"],
        net_steps=values["net_steps"],
        device=values["device"],
    )
    options = PaintOptions(**options_from(PaintOptions, values))
    paths = KeyframePaths(video, values["output"], values["work"], values["mask"])

    def stylize(reporter: Any) -> Any:
        return stylize_with_keyframes(paths, style, options, keyframe_options, convert, reporter, signals)

    return run_optimization(signals, progress, quiet, stylize)


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(f"expected numbers of frames such as 0,48,96, got {text}") from None
