"""One picture painted by Gatys' algorithm: file in, file out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from vidstyle.convert import Result, check_not_itself
from vidstyle.errors import InputError, MissingExtraError, UsageError
from vidstyle.frames import Frame, Pixels
from vidstyle.jobs import Job, default_name
from vidstyle.options import PaintOptions
from vidstyle.outcomes import Outcome, Reporter
from vidstyle.sinks import check_free, open_image_sink
from vidstyle.sources import is_image
from vidstyle.sources.images import read_image

MASK_SHAPE = 0.01
"""A mask's shape may differ from the picture's by this share: rounding in a copy of another size."""


def paint_file(
    spec: str,
    style: str,
    output: Path | None,
    options: PaintOptions,
    mask: Path | None,
    overwrite: bool,
    reporter: Reporter,
) -> Result:
    """Paint the picture `spec` in `style` (see `studio.paintings.find_paintings`) into `output`, whole or not at all.

    Without `output`, `photo.jpg` becomes `photo.STYLE.jpg` beside it. Raises the kinds of `vidstyle.errors`.
    """
    began = time.monotonic()
    with needing_studio("painting"):
        from vidstyle.studio.painter import Painter
        from vidstyle.studio.paintings import find_paintings, label
    if not is_image(spec):
        raise UsageError(f"expected a picture, got {spec}; for a video: vidstyle keyframes")
    output = output or Path(spec).with_name(default_name(spec, label(style)))
    check_not_itself(spec, output)
    check_free(output, overwrite)
    picture = read_image(Path(spec))
    where = None if mask is None else read_mask(mask, picture)
    painter = Painter(find_paintings(style), options)
    step = None
    with closing(open_image_sink(output, overwrite)) as sink:  # before painting: it may refuse
        for step in painter.paint(picture, where):
            taken = time.monotonic() - began
            reporter.stage(f"painting {output.name}", step.step, step.steps, taken / step.step * (step.steps - step.step))
        assert step is not None
        sink.write(Frame(painter.finished(picture, step, where), 0, Fraction(1)))
        sink.publish()
    result = Result(output, 1, time.monotonic() - began)
    reporter.done(Outcome(Job(spec, output), result))
    return result


def read_mask(path: Path, picture: Pixels) -> np.ndarray:
    """A mask for `picture`, float32 (H, W) in [0, 1], white is 1; scaled if it has the same shape, else an `InputError`."""
    mask = cv2.cvtColor(read_image(path), cv2.COLOR_RGB2GRAY)
    (h, w), (mask_h, mask_w) = picture.shape[:2], mask.shape
    if abs(mask_w / mask_h / (w / h) - 1) > MASK_SHAPE:
        raise InputError(f"expected a mask of the picture's shape, {w}x{h}, got {mask_w}x{mask_h}: {path}")
    if not mask.any():
        raise InputError(f"expected a mask with something white in it to paint, found only black: {path}")
    how = cv2.INTER_AREA if mask_h > h else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(mask, (w, h), interpolation=how), np.float32) / 255


@contextmanager
def needing_studio(what: str) -> Iterator[None]:
    """Imports inside need the extra `torch`; raises `MissingExtraError` without it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors", "scenedetect"):
            raise
        raise MissingExtraError(what, "torch") from error
