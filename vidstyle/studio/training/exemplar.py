"""Exemplars: images that stand for a style in `vidstyle paint` and `vidstyle keyframes`, where the style image does not ship.

Each is a texture with the statistics of the style image and none of its content, optimized from noise as images are
stylized (Gatys et al. 2015, "Texture Synthesis Using Convolutional Neural Networks").
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from vidstyle.core.files import replaced
from vidstyle.core.frames import Pixels
from vidstyle.core.options import PaintOptions
from vidstyle.studio.optimize.image_optimizer import ImageOptimizer
from vidstyle.studio.style_images import StyleImage

log = logging.getLogger(__name__)

SIZE, QUALITY = 512, 90
STEPS = 100
"""Maximum number of steps at full size."""


def synthesize_exemplar(
    style_images: Sequence[StyleImage],
    encoder: str = "compact",
    steps: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> Pixels:
    """An image uint8 (SIZE, SIZE, 3) with the statistics of `style_images`; `check` is called at every step and may raise."""
    options = PaintOptions(encoder=encoder, start="noise", content_weight=0.0, steps=steps or STEPS)
    optimizer = ImageOptimizer([replace(s, weight=1 / len(style_images)) for s in style_images], options)
    blank, step = np.full((SIZE, SIZE, 3), 128, np.uint8), None
    for step in optimizer.optimize(blank):
        check()
        if step.step % 100 == 0:
            log.info("exemplar: step %d of at most %d, loss %.4f", step.step, step.steps, step.losses["loss"])
    assert step is not None
    return optimizer.result(blank, step)


def save_exemplar(image: Pixels, path: Path) -> None:
    """Write the JPEG `path`, whole or not at all; raises `OSError`."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done
    with replaced(path) as temporary:
        temporary.write_bytes(data.tobytes())
