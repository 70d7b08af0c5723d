"""Paintings mixed pixel by pixel: of several nets, or of one and the original."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

from vidstyle.core.frames import Pixels
from vidstyle.core.protocols import Stylizer


def mixed(first: Pixels, second: Pixels, share: float) -> Pixels:
    """Images between `first` and `second`, both uint8 (N, H, W, 3); `share` is the second's."""
    flat = [np.ascontiguousarray(p).reshape(-1, p.shape[-2], 3) for p in (first, second)]
    return np.asarray(cv2.addWeighted(flat[0], 1 - share, flat[1], share, 0), np.uint8).reshape(first.shape)


class Blended:
    """Several stylizers, whose paintings are mixed by `shares`, which add up to 1. It takes the time of all of them."""

    def __init__(self, stylizers: Sequence[Stylizer], shares: Sequence[float]) -> None:
        self._stylizers, self._shares = list(stylizers), list(shares)
        self.concurrency = min(stylizer.concurrency for stylizer in stylizers)

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        stylized, total = self._stylizers[0].stylize(images), self._shares[0]
        for stylizer, share in zip(self._stylizers[1:], self._shares[1:], strict=True):
            total += share
            stylized = mixed(stylized, stylizer.stylize(images), share / total)
        return stylized

    def for_shot(self, images: Iterable[Pixels]) -> Stylizer:
        seen = list(images)
        return self._of([stylizer.for_shot(seen) for stylizer in self._stylizers])

    def statistics(self) -> Mapping[str, np.ndarray]:
        return joined([stylizer.statistics() for stylizer in self._stylizers])

    def with_statistics(self, statistics: Mapping[str, np.ndarray]) -> Stylizer:
        return self._of([s.with_statistics(part_of(statistics, i)) for i, s in enumerate(self._stylizers)])

    def adapted(self, image: Pixels, share: float) -> Stylizer:
        return self._of([stylizer.adapted(image, share) for stylizer in self._stylizers])

    def at(self, seconds: float) -> Stylizer:
        return self

    def _of(self, stylizers: Sequence[Stylizer]) -> Stylizer:
        return Blended(stylizers, self._shares)

    def describe(self) -> str:
        return f"{self._stylizers[0].describe()}, {len(self._stylizers)} nets"


class Faint:
    """A stylizer whose paintings let the original through: `share` (0..1) is the painting's."""

    def __init__(self, stylizer: Stylizer, share: float) -> None:
        self._stylizer, self._share, self.concurrency = stylizer, share, stylizer.concurrency

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        if not self._share:
            return np.stack(images)
        return mixed(np.stack(images), self._stylizer.stylize(images), self._share)

    def for_shot(self, images: Iterable[Pixels]) -> Stylizer:
        return Faint(self._stylizer.for_shot(images), self._share) if self._share else self

    def statistics(self) -> Mapping[str, np.ndarray]:
        return self._stylizer.statistics()

    def with_statistics(self, statistics: Mapping[str, np.ndarray]) -> Stylizer:
        return Faint(self._stylizer.with_statistics(statistics), self._share)

    def adapted(self, image: Pixels, share: float) -> Stylizer:
        return Faint(self._stylizer.adapted(image, share), self._share)

    def at(self, seconds: float) -> Stylizer:
        return self

    def describe(self) -> str:
        return self._stylizer.describe()


def joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The statistics of several stylizers as those of one; `part_of` takes them apart."""
    return {f"{i}/{name}": values for i, part in enumerate(parts) for name, values in part.items()}


def part_of(statistics: Mapping[str, np.ndarray], index: int) -> dict[str, np.ndarray]:
    """The statistics of one of several stylizers, from `joined`."""
    prefix = f"{index}/"
    return {name.removeprefix(prefix): values for name, values in statistics.items() if name.startswith(prefix)}
