"""One style after another: which one stylizes depends on the time, and at a change both do for a moment."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from vidstyle.core.frames import Pixels
from vidstyle.core.protocols import Stylizer
from vidstyle.stylizers.blends import Blended, joined, part_of

SAME_MOMENT = 1e-3
"""A frame that comes so many seconds before a change belongs to it: files round their times."""


class Timed:
    """`stylizers[i]` stylizes from `seconds[i]` on, of which the first is 0; each change begins then and takes `fade` seconds, or
    what there is to the next one."""

    def __init__(self, stylizers: Sequence[Stylizer], seconds: Sequence[float], fade: float) -> None:
        self._stylizers, self._seconds, self._fade = list(stylizers), list(seconds), fade
        self.concurrency = min(stylizer.concurrency for stylizer in stylizers)
        self._images: list[Pixels] = []
        self._unmeasured: set[int] = set()

    def at(self, seconds: float) -> Stylizer:
        """What stylizes a frame that is shown `seconds` into the input. Of a stylizer that was made for a shot not to be called by
        several threads."""
        now = max(0, bisect_right(self._seconds, seconds + SAME_MOMENT) - 1)
        share = self._share(now, seconds)
        if now == len(self._stylizers) - 1 and share == 1:
            self._images = self._images if now in self._unmeasured else []  # no other style will want them
        if share == 1:
            return self._measured(now)
        return Blended([self._measured(now - 1), self._measured(now)], [1 - share, share])

    def _share(self, now: int, seconds: float) -> float:
        """How much of the style `now` has come by then."""
        if now == 0:
            return 1.0
        end = self._seconds[now + 1] if now + 1 < len(self._seconds) else float("inf")
        fade = min(self._fade, end - self._seconds[now])
        return min(1.0, max(0.0, seconds - self._seconds[now]) / fade) if fade > 0 else 1.0

    def _measured(self, index: int) -> Stylizer:
        """A style with the shot's statistics, which are measured when it is wanted first: most shots have one style only."""
        if index in self._unmeasured:
            self._stylizers[index] = self._stylizers[index].for_shot(self._images)
            self._unmeasured.remove(index)
        return self._stylizers[index]

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        return self.at(0.0).stylize(images)

    def for_shot(self, images: Iterable[Pixels]) -> Stylizer:
        shot = Timed(self._stylizers, self._seconds, self._fade)
        shot._images, shot._unmeasured = list(images), set(range(len(self._stylizers)))
        return shot

    def statistics(self) -> Mapping[str, np.ndarray]:
        return joined([self._measured(i).statistics() for i in range(len(self._stylizers))])

    def with_statistics(self, statistics: Mapping[str, np.ndarray]) -> Stylizer:
        stylizers = [s.with_statistics(part_of(statistics, i)) for i, s in enumerate(self._stylizers)]
        return Timed(stylizers, self._seconds, self._fade)

    def adapted(self, image: Pixels, share: float) -> Stylizer:
        return Timed([s.adapted(image, share) for s in self._stylizers], self._seconds, self._fade)

    def describe(self) -> str:
        return f"{self._stylizers[0].describe()}, {len(self._stylizers)} styles in turn"
