"""Inference at another size than the video's: large strokes, or a slow machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

from vidstyle.frames import Pixels
from vidstyle.stages import Stylizer
from vidstyle.stylizers.guided import scaled, upsample_guided


class Resized:
    """Scales pictures to `height`, has them painted, scales back; a smaller painting gets the original's edges back."""

    def __init__(self, stylizer: Stylizer, height: int) -> None:
        self._stylizer, self._height, self.lanes = stylizer, height, stylizer.lanes

    def stylize(self, pictures: Sequence[Pixels]) -> Pixels:
        scaled_pictures = [scaled(p, self._height) for p in pictures]
        painted = self._stylizer.stylize(scaled_pictures)
        triples = zip(painted, scaled_pictures, pictures, strict=True)
        return np.stack([self._scaled_back(np.ascontiguousarray(p), small, full) for p, small, full in triples])

    def _scaled_back(self, painted: Pixels, small: Pixels, full: Pixels) -> Pixels:
        h, w = full.shape[:2]
        if self._height < h:
            return upsample_guided(painted, small, full)
        return np.asarray(cv2.resize(painted, (w, h), interpolation=cv2.INTER_AREA), np.uint8)

    def for_shot(self, pictures: Iterable[Pixels]) -> Stylizer:
        return Resized(self._stylizer.for_shot(scaled(p, self._height) for p in pictures), self._height)

    def statistics(self) -> Mapping[str, np.ndarray]:
        return self._stylizer.statistics()

    def with_statistics(self, statistics: Mapping[str, np.ndarray]) -> Stylizer:
        return Resized(self._stylizer.with_statistics(statistics), self._height)

    def adapted(self, picture: Pixels, share: float) -> Stylizer:
        return Resized(self._stylizer.adapted(scaled(picture, self._height), share), self._height)

    def describe(self) -> str:
        return f"{self._stylizer.describe()}, at height {self._height}"
