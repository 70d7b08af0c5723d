"""Blending of the stylized image with the original: strength, colours of the original, split view."""

from __future__ import annotations

import cv2
import numpy as np

from vidstyle.core.compositing import with_colors_of
from vidstyle.core.frames import Pixels
from vidstyle.live.state import LiveState


def compose(original: Pixels, stylized: Pixels, state: LiveState) -> Pixels:
    """The image to show; all images are RGB uint8 (H, W, 3)."""
    if state.keep_colors:
        stylized = with_colors_of(original, stylized)
    if state.strength < 1:
        stylized = np.asarray(cv2.addWeighted(stylized, state.strength, original, 1 - state.strength, 0), np.uint8)
    if state.split is not None:
        stylized = stylized.copy()
        left = round(state.split * stylized.shape[1])
        stylized[:, :left] = original[:, :left]
    return stylized
