"""Combines a stylized image with the original: by colour, or by a mask."""

from __future__ import annotations

import cv2
import numpy as np

from vidstyle.core.frames import Pixels


def with_colors_of(original: Pixels, stylized: Pixels) -> Pixels:
    """The luminance of `stylized` with the colours of `original` (Gatys et al. 2016, "Preserving Color", section 4)."""
    mixed = cv2.cvtColor(original, cv2.COLOR_RGB2YCrCb)
    mixed[..., 0] = cv2.cvtColor(stylized, cv2.COLOR_RGB2YCrCb)[..., 0]
    return np.asarray(cv2.cvtColor(mixed, cv2.COLOR_YCrCb2RGB), np.uint8)


def masked(original: Pixels, stylized: Pixels, mask: np.ndarray) -> Pixels:
    """`stylized` where `mask`, float32 (H, W), is 1, `original` where it is 0, blended in between."""
    both = np.ascontiguousarray(stylized), np.ascontiguousarray(original)
    return np.asarray(cv2.blendLinear(*both, mask, 1 - mask), np.uint8)


class ColorPreserver:
    """A `vidstyle.core.protocols.PostProcessor` that gives every frame its original colours."""

    def process(self, source: Pixels, stylized: Pixels, begins_shot: bool) -> Pixels:
        return with_colors_of(np.ascontiguousarray(source), np.ascontiguousarray(stylized))


class MaskPostProcessor:
    """A `vidstyle.core.protocols.PostProcessor` that applies one `mask`, (H, W) in [0, 1], to every frame."""

    def __init__(self, mask: np.ndarray) -> None:
        self._mask = mask

    def process(self, source: Pixels, stylized: Pixels, begins_shot: bool) -> Pixels:
        return masked(source, stylized, self._mask)
