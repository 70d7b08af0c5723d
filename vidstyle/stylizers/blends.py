"""Mixes stylized images pixel by pixel: the results of several networks, or those of one network with the originals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

from vidstyle.core.frames import Pixels
from vidstyle.core.protocols import Engine, Stylizer
from vidstyle.stylizers.wrapper import StylizerWrapper


def mixed(first: Pixels, second: Pixels, weight: float) -> Pixels:
    """Images between `first` and `second`, both uint8 (N, H, W, 3); `weight` is the second's."""
    flat = [np.ascontiguousarray(p).reshape(-1, p.shape[-2], 3) for p in (first, second)]
    return np.asarray(cv2.addWeighted(flat[0], 1 - weight, flat[1], weight, 0), np.uint8).reshape(first.shape)


class BlendedStylizer(Stylizer):
    """Runs several stylizers and mixes their results by `weights`, which add up to 1."""

    def __init__(self, stylizers: Sequence[Stylizer], weights: Sequence[float]) -> None:
        self._stylizers, self._weights = list(stylizers), list(weights)
        self.concurrency = min(stylizer.concurrency for stylizer in stylizers)

    @property
    def pixel_bytes(self) -> int:
        return max(stylizer.pixel_bytes for stylizer in self._stylizers)

    @property
    def engine(self) -> Engine:
        return self._stylizers[0].engine

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        stylized, total = self._stylizers[0].stylize(images), self._weights[0]
        for stylizer, weight in zip(self._stylizers[1:], self._weights[1:], strict=True):
            total += weight
            stylized = mixed(stylized, stylizer.stylize(images), weight / total)
        return stylized

    def for_shot(self, images: Iterable[Pixels]) -> Stylizer:
        samples = list(images)
        return self._of([stylizer.for_shot(samples) for stylizer in self._stylizers])

    def statistics(self) -> Mapping[str, np.ndarray]:
        return merged_statistics(self._stylizers)

    def with_statistics(self, statistics: Mapping[str, np.ndarray]) -> Stylizer:
        return self._of([s.with_statistics(statistics_of(statistics, i)) for i, s in enumerate(self._stylizers)])

    def adapted(self, image: Pixels, weight: float) -> Stylizer:
        return self._of([stylizer.adapted(image, weight) for stylizer in self._stylizers])

    def _of(self, stylizers: Sequence[Stylizer]) -> Stylizer:
        if all(new is old for new, old in zip(stylizers, self._stylizers, strict=True)):
            return self
        return BlendedStylizer(stylizers, self._weights)

    def describe(self) -> str:
        return f"{self._stylizers[0].describe()}, {len(self._stylizers)} networks"


class StrengthStylizer(StylizerWrapper):
    """Mixes stylized images with the originals; `strength` (0..1) is the weight of the stylized ones."""

    def __init__(self, inner: Stylizer, strength: float) -> None:
        super().__init__(inner)
        self._strength = strength

    def _around(self, inner: Stylizer) -> Stylizer:
        return StrengthStylizer(inner, self._strength)

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        if not self._strength:
            return np.stack(images)
        return mixed(np.stack(images), self._inner.stylize(images), self._strength)

    def for_shot(self, images: Iterable[Pixels]) -> Stylizer:
        return super().for_shot(images) if self._strength else self


def merged_statistics(stylizers: Sequence[Stylizer]) -> dict[str, np.ndarray]:
    """The statistics of several stylizers in one mapping; `statistics_of` gets them back."""
    return {f"{i}/{name}": values for i, stylizer in enumerate(stylizers) for name, values in stylizer.statistics().items()}


def statistics_of(merged: Mapping[str, np.ndarray], index: int) -> dict[str, np.ndarray]:
    """The statistics of one of the stylizers of `merged_statistics`."""
    prefix = f"{index}/"
    return {name.removeprefix(prefix): values for name, values in merged.items() if name.startswith(prefix)}
