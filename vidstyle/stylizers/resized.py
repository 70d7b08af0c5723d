"""Inference at a size other than the video's: for strokes of another size, or for slow machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from vidstyle.core.errors import UsageError
from vidstyle.core.frames import Pixels
from vidstyle.core.protocols import Stylizer
from vidstyle.core.resizing import scaled
from vidstyle.stylizers.guided_upsampling import upsample_guided
from vidstyle.stylizers.wrapper import StylizerWrapper

MAX_PIXELS = 1 << 26
"""Images are not enlarged beyond this: a network takes some hundred bytes of memory per pixel."""


class ResizedStylizer(StylizerWrapper):
    """Scales images to `height` (None: their own) divided by `stroke_scale`, stylizes them, and scales them back.

    Strokes grow by as much as the network's input shrinks. Results that are enlarged get their edges from the original.
    """

    def __init__(self, inner: Stylizer, height: int | None, stroke_scale: float = 1.0) -> None:
        super().__init__(inner)
        self._height, self._stroke_scale = height, stroke_scale

    def _around(self, inner: Stylizer) -> Stylizer:
        return ResizedStylizer(inner, self._height, self._stroke_scale)

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        scaled_images = [self._scaled(image) for image in images]
        stylized = self._inner.stylize(scaled_images)
        triples = zip(stylized, scaled_images, images, strict=True)
        return np.stack([self._scaled_back(np.ascontiguousarray(p), small, full) for p, small, full in triples])

    def _scaled(self, image: Pixels) -> Pixels:
        h, w = image.shape[:2]
        height = max(16, round((self._height or h) / self._stroke_scale))
        if height > h and height * height * w / h > MAX_PIXELS:
            raise UsageError(
                f"{w}x{h} would be stylized at a height of {height} pixels; use a larger stroke scale or a smaller height"
            )
        return scaled(image, height)

    def _scaled_back(self, stylized: Pixels, small: Pixels, full: Pixels) -> Pixels:
        h, w = full.shape[:2]
        if small.shape == full.shape:
            return stylized
        if small.shape[0] < h:
            return upsample_guided(stylized, small, full)
        return np.asarray(cv2.resize(stylized, (w, h), interpolation=cv2.INTER_AREA), np.uint8)

    def for_shot(self, images: Iterable[Pixels]) -> Stylizer:
        return super().for_shot(self._scaled(image) for image in images)

    def adapted(self, image: Pixels, weight: float) -> Stylizer:
        return super().adapted(self._scaled(image), weight)

    def describe(self) -> str:
        height = f", at height {self._height}" if self._height is not None else ""
        strokes = f", strokes of {self._stroke_scale:g} times the size" if self._stroke_scale != 1 else ""
        return super().describe() + height + strokes
