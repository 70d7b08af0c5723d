"""What is made of a painting before it is shown: strength, own colours, the original beside it."""

from __future__ import annotations

import cv2
import numpy as np

from vidstyle.core.compositing import with_colors_of
from vidstyle.core.frames import Pixels
from vidstyle.live.state import Controls


def compose(original: Pixels, stylized: Pixels, controls: Controls) -> Pixels:
    """The image to show; all RGB uint8 (H, W, 3)."""
    if controls.keep_colors:
        stylized = with_colors_of(original, stylized)
    if controls.strength < 1:
        stylized = np.asarray(cv2.addWeighted(stylized, controls.strength, original, 1 - controls.strength, 0), np.uint8)
    if controls.split is not None:
        stylized = stylized.copy()
        left = round(controls.split * stylized.shape[1])
        stylized[:, :left] = original[:, :left]
    return stylized
