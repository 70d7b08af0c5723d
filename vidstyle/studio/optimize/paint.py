"""One image stylized by Gatys' algorithm: file in, file out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path

from vidstyle.conversion.convert import Result, check_not_itself
from vidstyle.conversion.job import Job, JobResult, Reporter
from vidstyle.conversion.output_name import default_name
from vidstyle.core.errors import MissingExtraError, UsageError
from vidstyle.core.frames import Frame
from vidstyle.core.options import PaintOptions
from vidstyle.sinks import check_free, open_image_sink
from vidstyle.sources import is_image
from vidstyle.sources.images import read_image
from vidstyle.sources.mask import read_mask


def paint_file(
    input: str,
    style: str,
    output: Path | None,
    options: PaintOptions,
    mask: Path | None,
    overwrite: bool,
    reporter: Reporter,
) -> Result:
    """Paint the image `input` in `style` (see `studio.paintings.find_paintings`) into `output`, whole or not at all.

    Without `output`, `photo.jpg` becomes `photo.STYLE.jpg` beside it. Raises the kinds of `vidstyle.core.errors`.
    """
    began = time.monotonic()
    with needing_studio("painting"):
        from vidstyle.studio.optimize.image_optimizer import Painter
        from vidstyle.studio.style_images import find_paintings, label
    if not is_image(input):
        raise UsageError(f"expected an image, got {input}; for a video: vidstyle keyframes")
    output = output or Path(input).with_name(default_name(input, label(style)))
    check_not_itself(input, output)
    check_free(output, overwrite)
    image = read_image(Path(input))
    where = None if mask is None else read_mask(mask, image)
    painter = Painter(find_paintings(style), options)
    step = None
    with closing(open_image_sink(output, overwrite)) as sink:  # before painting: it may refuse
        for step in painter.paint(image, where):
            taken = time.monotonic() - began
            reporter.stage(f"painting {output.name}", step.step, step.steps, taken / step.step * (step.steps - step.step))
        assert step is not None
        sink.write(Frame(painter.finished(image, step, where), 0, Fraction(1)))
        sink.publish()
    result = Result(output, 1, time.monotonic() - began)
    reporter.done(JobResult(Job(input, output), result))
    return result


@contextmanager
def needing_studio(what: str) -> Iterator[None]:
    """Imports inside need the extra `torch`; raises `MissingExtraError` without it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors", "scenedetect"):
            raise
        raise MissingExtraError(what, "torch") from error
