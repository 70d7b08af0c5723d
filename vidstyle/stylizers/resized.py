"""Inference at another size than the video's: strokes of another size, or a slow machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

from vidstyle.core.errors import UsageError
from vidstyle.core.frames import Pixels
from vidstyle.core.protocols import Stylizer
from vidstyle.stylizers.guided_upsampling import scaled, upsample_guided

MOST_PIXELS = 1 << 26
"""Larger images would take a hundred bytes of memory a pixel."""


class Resized:
    """Scales images to `height` (None: as they are) over `stroke_scale`, has them stylized, scales back: strokes grow by as
    much as the net's image shrinks. A smaller painting gets the original's edges back."""

    def __init__(self, stylizer: Stylizer, height: int | None, stroke_scale: float = 1.0) -> None:
        self._stylizer, self._height, self._stroke_scale, self.concurrency = stylizer, height, stroke_scale, stylizer.concurrency

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        scaled_images = [self._scaled(p) for p in images]
        stylized = self._stylizer.stylize(scaled_images)
        triples = zip(stylized, scaled_images, images, strict=True)
        return np.stack([self._scaled_back(np.ascontiguousarray(p), small, full) for p, small, full in triples])

    def _scaled(self, image: Pixels) -> Pixels:
        h, w = image.shape[:2]
        height = max(16, round((self._height or h) / self._stroke_scale))
        if height > h and height * height * w / h > MOST_PIXELS:
            raise UsageError(
                f"expected a larger stroke scale or a smaller height, {w}x{h} would be stylized {height} pixels high"
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
        return self._around(self._stylizer.for_shot(self._scaled(p) for p in images))

    def statistics(self) -> Mapping[str, np.ndarray]:
        return self._stylizer.statistics()

    def with_statistics(self, statistics: Mapping[str, np.ndarray]) -> Stylizer:
        return self._around(self._stylizer.with_statistics(statistics))

    def adapted(self, image: Pixels, share: float) -> Stylizer:
        return self._around(self._stylizer.adapted(self._scaled(image), share))

    def at(self, seconds: float) -> Stylizer:
        return self

    def _around(self, stylizer: Stylizer) -> Resized:
        return Resized(stylizer, self._height, self._stroke_scale)

    def describe(self) -> str:
        height = f", at height {self._height}" if self._height is not None else ""
        strokes = f", strokes of {self._stroke_scale:g} times the size" if self._stroke_scale != 1 else ""
        return self._stylizer.describe() + height + strokes
