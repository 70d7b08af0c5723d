"""What is made of a painting before it is shown: strength, own colours, the original beside it."""

from __future__ import annotations

import cv2
import numpy as np

from vidstyle.core.compositing import with_colors_of
from vidstyle.core.frames import Pixels
from vidstyle.live.state import Controls


def compose(original: Pixels, painted: Pixels, controls: Controls) -> Pixels:
    """The picture to show; all RGB uint8 (H, W, 3)."""
    if controls.keep_colors:
        painted = with_colors_of(original, painted)
    if controls.strength < 1:
        painted = np.asarray(cv2.addWeighted(painted, controls.strength, original, 1 - controls.strength, 0), np.uint8)
    if controls.split is not None:
        painted = painted.copy()
        left = round(controls.split * painted.shape[1])
        painted[:, :left] = original[:, :left]
    return painted
