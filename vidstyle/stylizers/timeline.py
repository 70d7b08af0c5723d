"""Styles that change over time: one stylizer after another, with a cross-fade at each change."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from vidstyle.core.frames import Pixels
from vidstyle.core.protocols import Engine, Stylizer
from vidstyle.stylizers.blends import BlendedStylizer, merged_statistics, statistics_of

TOLERANCE_SECONDS = 1e-3
"""A frame that comes up to this long before a change counts as after it, because containers round timestamps."""


class TimelineStylizer(Stylizer):
    """`stylizers[i]` stylizes from `seconds[i]` on; the first of these is 0. A change begins at that time and takes `fade`
    seconds, or less if the next change comes earlier."""

    def __init__(self, stylizers: Sequence[Stylizer], seconds: Sequence[float], fade: float) -> None:
        self._stylizers, self._seconds, self._fade = list(stylizers), list(seconds), fade
        self.concurrency = min(stylizer.concurrency for stylizer in stylizers)
        self._images: list[Pixels] = []
        self._unmeasured: set[int] = set()

    @property
    def pixel_bytes(self) -> int:
        return max(stylizer.pixel_bytes for stylizer in self._stylizers)

    @property
    def engine(self) -> Engine:
        return self._stylizers[0].engine

    def at(self, seconds: float) -> Stylizer:
        """The stylizer of a frame shown `seconds` into the input. Not thread-safe after `for_shot`."""
        current = max(0, bisect_right(self._seconds, seconds + TOLERANCE_SECONDS) - 1)
        weight = self._weight(current, seconds)
        if current == len(self._stylizers) - 1 and weight == 1:
            self._images = self._images if current in self._unmeasured else []  # no other style will need them
        if weight == 1:
            return self._measured(current)
        return BlendedStylizer([self._measured(current - 1), self._measured(current)], [1 - weight, weight])

    def _weight(self, current: int, seconds: float) -> float:
        """The weight of the style `current` at that time, over the style before it."""
        if current == 0:
            return 1.0
        end = self._seconds[current + 1] if current + 1 < len(self._seconds) else float("inf")
        fade = min(self._fade, end - self._seconds[current])
        return min(1.0, max(0.0, seconds - self._seconds[current]) / fade) if fade > 0 else 1.0

    def _measured(self, index: int) -> Stylizer:
        """A stylizer with the shot's statistics, measured when it is first needed: most shots have one style only."""
        if index in self._unmeasured:
            self._stylizers[index] = self._stylizers[index].for_shot(self._images)
            self._unmeasured.remove(index)
        return self._stylizers[index]

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        return self.at(0.0).stylize(images)

    def for_shot(self, images: Iterable[Pixels]) -> Stylizer:
        shot = TimelineStylizer(self._stylizers, self._seconds, self._fade)
        shot._images, shot._unmeasured = list(images), set(range(len(self._stylizers)))
        return shot

    def statistics(self) -> Mapping[str, np.ndarray]:
        return merged_statistics([self._measured(i) for i in range(len(self._stylizers))])

    def with_statistics(self, statistics: Mapping[str, np.ndarray]) -> Stylizer:
        stylizers = [s.with_statistics(statistics_of(statistics, i)) for i, s in enumerate(self._stylizers)]
        return TimelineStylizer(stylizers, self._seconds, self._fade)

    def adapted(self, image: Pixels, weight: float) -> Stylizer:
        return TimelineStylizer([s.adapted(image, weight) for s in self._stylizers], self._seconds, self._fade)

    def describe(self) -> str:
        return f"{self._stylizers[0].describe()}, {len(self._stylizers)} styles in turn"
