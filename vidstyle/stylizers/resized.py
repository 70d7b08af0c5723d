"""Inference at another size than the video's: large strokes, or a slow machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from vidstyle.frames import Pixels
from vidstyle.stages import Stylizer


class Resized:
    """Scales pictures to `height`, has them painted, scales back."""

    def __init__(self, stylizer: Stylizer, height: int) -> None:
        self._stylizer, self._height, self.lanes = stylizer, height, stylizer.lanes

    def stylize(self, pictures: Sequence[Pixels]) -> Pixels:
        h, w = pictures[0].shape[:2]
        small = [self._scaled(p) for p in pictures]
        back = cv2.INTER_CUBIC if self._height < h else cv2.INTER_AREA
        painted = self._stylizer.stylize(small)
        return np.stack([cv2.resize(np.ascontiguousarray(p), (w, h), interpolation=back) for p in painted])

    def for_shot(self, pictures: Iterable[Pixels]) -> Stylizer:
        return Resized(self._stylizer.for_shot(self._scaled(p) for p in pictures), self._height)

    def adapted(self, picture: Pixels, share: float) -> Stylizer:
        return Resized(self._stylizer.adapted(self._scaled(picture), share), self._height)

    def _scaled(self, picture: Pixels) -> Pixels:
        h, w = picture.shape[:2]
        size = (max(16, round(w * self._height / h)), self._height)
        how = cv2.INTER_AREA if self._height < h else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)

    def describe(self) -> str:
        return f"{self._stylizer.describe()}, at height {self._height}"
