"""What is made of a painting before it is shown: strength, own colours, the original beside it."""

from __future__ import annotations

import cv2
import numpy as np

from vidstyle.controls import Controls
from vidstyle.frames import Pixels


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


def with_colors_of(original: Pixels, painted: Pixels) -> Pixels:
    """The lightness of `painted` with the colours of `original` (Gatys et al. 2016, "Preserving Color", section 4)."""
    mixed = cv2.cvtColor(original, cv2.COLOR_RGB2YCrCb)
    mixed[..., 0] = cv2.cvtColor(painted, cv2.COLOR_RGB2YCrCb)[..., 0]
    return np.asarray(cv2.cvtColor(mixed, cv2.COLOR_YCrCb2RGB), np.uint8)
