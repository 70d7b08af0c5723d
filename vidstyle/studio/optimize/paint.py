"""Stylize one image by Gatys' algorithm: file in, file out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path

from vidstyle.conversion.convert import Result
from vidstyle.conversion.interrupts import Interrupts, NoInterrupts
from vidstyle.conversion.job import Job, JobResult, Reporter
from vidstyle.conversion.output_name import default_name
from vidstyle.core.errors import MissingExtraError, UsageError
from vidstyle.core.frames import Frame
from vidstyle.core.options import PaintOptions
from vidstyle.sinks import check_free, check_not_read, open_image_sink
from vidstyle.sources import is_image
from vidstyle.sources.images import read_image
from vidstyle.sources.mask import read_mask


def optimize_image_file(
    input: str,
    style: str,
    output: Path | None,
    options: PaintOptions,
    mask: Path | None,
    overwrite: bool,
    reporter: Reporter,
    interrupts: Interrupts = NoInterrupts(),
) -> Result:
    """Stylize the image `input` in `style` (see `style_images.find_style_images`); the output is written whole or not at all.

    Without `output`, `photo.jpg` becomes `photo.STYLE.jpg` beside it. Raises the errors of `vidstyle.core.errors`.
    """
    began = time.monotonic()
    with requires_torch("vidstyle paint"):
        from vidstyle.studio.optimize.image_optimizer import ImageOptimizer
        from vidstyle.studio.style_images import find_style_images, label, style_image_files
    if not is_image(input):
        raise UsageError(f"expected an image, got {input}; for a video: vidstyle keyframes")
    output = output or Path(input).with_name(default_name(input, label(style)))
    style_files = [("style image", path) for path in style_image_files(style)]
    check_not_read(output, [("input", input), ("mask", mask), *style_files])
    check_free(output, overwrite)
    image = read_image(Path(input))
    mask_pixels = None if mask is None else read_mask(mask, image)
    optimizer = ImageOptimizer(find_style_images(style), options)
    step = None
    interrupts.hold()
    with closing(open_image_sink(output, overwrite)) as sink:  # before the optimization, because it may raise
        for step in optimizer.optimize(image, mask_pixels):
            seconds = time.monotonic() - began
            reporter.stage(f"stylizing {output.name}", step.step, step.steps, seconds / step.step * (step.steps - step.step))
            interrupts.check()
        assert step is not None
        sink.write(Frame(optimizer.result(image, step, mask_pixels), 0, Fraction(1)))
        sink.publish()
    result = Result(output, 1, time.monotonic() - began)
    reporter.done(JobResult(Job(input, output), result))
    return result


@contextmanager
def requires_torch(feature: str) -> Iterator[None]:
    """Raises `MissingExtraError` for `feature` if imports inside need the extra `torch` and it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors", "scenedetect"):
            raise
        raise MissingExtraError(feature, "torch") from error
