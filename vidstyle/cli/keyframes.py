"""`vidstyle keyframes`: stylize keyframes of a video by optimization and propagate them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vidstyle.cli.optimize_options import optimization_options, run_optimization
from vidstyle.cli.shared import SECONDS, encoding_options, options_from, trim_from
from vidstyle.cli.signals import InterruptibleReporter, Signals
from vidstyle.core.errors import UsageError
from vidstyle.core.options import ConvertOptions, EncodeOptions, KeyframeOptions, PaintOptions


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
@optimization_options
@click.pass_obj
def keyframes(
    signals: Signals, /, video: str, style: str, output: Path | None, work: Path | None, progress: str, quiet: bool, **given: Any
) -> int:
    """Paint keyframes of a video as `paint` does, and carry them over all of it.

    Interrupted, it goes on when it is run again. So it does, with --overwrite, after a keyframe in the working folder was
    retouched.
    """
    from vidstyle.studio.keyframes.render import stylize_with_keyframes

    convert = ConvertOptions(
        encode=EncodeOptions(**options_from(EncodeOptions, given)),
        trim=trim_from({**given, "start": given["begin"]}),
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
    options = PaintOptions(**options_from(PaintOptions, given))

    def work_on(reporter: Any) -> Any:
        interruptible = InterruptibleReporter(reporter, signals)
        return stylize_with_keyframes(
            video, style, output, options, chosen, convert, work, given["mask"], interruptible, signals.held
        )

    return run_optimization(progress, quiet, work_on)


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(f"expected numbers of frames such as 0,48,96, got {text}") from None
