"""The warping error (Lai et al. 2018, "Learning Blind Video Temporal Consistency"): how much a video flickers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from vidstyle.core.frames import Pixels
from vidstyle.temporal.flow import Flow, grey, occluded, warp


class WarpingError:
    """Mean over frame pairs of the mean of (W(O_t) - O_{t-1})^2 over colours in [0, 1] and pixels that are not occluded.

    The flow is that of the input, so that input and output are measured along the same motion. The error of the input, due to
    noise and imperfect flow, is the lower limit. `distance`: the distance of a pair in frames. `flow` None: DIS "medium".
    """

    def __init__(self, distance: int = 1, flow: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None) -> None:
        self._before: deque[tuple[np.ndarray, Pixels, Pixels]] = deque(maxlen=distance)
        self._flow = flow or Flow("medium")
        self._sums = np.zeros(2)
        self.pairs = 0

    def process(self, source: Pixels, stylized: Pixels, begins_shot: bool) -> Pixels:
        """See `vidstyle.core.protocols.PostProcessor`. Only measures. No pair spans a cut."""
        if begins_shot:
            self._before.clear()
        self.add(source, stylized)
        return stylized

    def add(self, source: Pixels, stylized: Pixels) -> None:
        """Measure the next frame, uint8 RGB (H, W, 3), before and after it was stylized."""
        now = (grey(source), source, stylized)
        if len(self._before) == self._before.maxlen:
            then = self._before[0]
            flow, back = self._flow(then[0], now[0]), self._flow(now[0], then[0])
            visible = ~occluded(flow, back)
            if visible.any():
                self._sums += [_error(then[i], now[i], flow, visible) for i in (1, 2)]
                self.pairs += 1
        self._before.append(now)

    @property
    def source(self) -> float:
        """The input's warping error; NaN without a pair."""
        return float(self._sums[0] / self.pairs) if self.pairs else float("nan")

    @property
    def stylized(self) -> float:
        """The output's warping error; NaN without a pair."""
        return float(self._sums[1] / self.pairs) if self.pairs else float("nan")


def _error(then: Pixels, now: Pixels, flow: np.ndarray, visible: np.ndarray) -> float:
    difference = warp(now.astype(np.float32), flow) - then
    return float((difference[visible] ** 2).mean() / 255**2)
