"""Steadier pictures: what was painted a frame ago, carried along by the flow, is blended in where the scene has not changed.

After Ruder et al. 2016 and Lai et al. 2018; recursive, one frame of memory, no training.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from vidstyle.frames import Pixels
from vidstyle.temporal.flow import Flow, grey, occluded, targets, warp

_SHARES = {"light": 0.6, "strong": 0.85}
FLOW_HEIGHT = 360
"""Flow is computed at this height at most: finer motion is not seen through brush strokes."""
CHANGE_SCALE = 50.0
"""Trust exp(-50 d^2): a change of 0.1 of the full range leaves 60 % of it, of 0.2 14 %."""


class Stabilizer:
    """O_t = m a W(O_{t-1}) + (1 - m a) S(I_t).

    a is the share of the past, W warps along the input's flow, m is the trust in it: exp(-50 |I_t - W(I_{t-1})|^2), zero
    where the flow does not close or the picture has left the frame. A new shot begins afresh.
    """

    def __init__(self, strength: Literal["light", "strong"]) -> None:
        self._share = _SHARES[strength]
        self._flow = Flow("fast")
        self._last: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def finish(self, source: Pixels, painted: Pixels, begins_shot: bool) -> Pixels:
        """See `vidstyle.stages.Finisher`."""
        h, w = source.shape[:2]
        scale = min(1.0, FLOW_HEIGHT / h)
        size = (max(1, round(w * scale)), max(1, round(h * scale)))
        small = np.asarray(cv2.resize(np.ascontiguousarray(source), size, interpolation=cv2.INTER_AREA), np.uint8)
        now = grey(small)
        result = painted.astype(np.float32)
        if not begins_shot and self._last is not None and self._last[2].shape == painted.shape:
            then, small_then, painted_then = self._last
            back = self._flow(now, then)
            x, y = targets(back)
            inside = (x >= 0) & (x <= size[0] - 1) & (y >= 0) & (y <= size[1] - 1)
            change = ((small.astype(np.float32) - warp(small_then, back)) / 255) ** 2
            trust = np.exp(-CHANGE_SCALE * change.mean(-1)) * inside * ~occluded(back, self._flow(then, now))
            share = self._share * cv2.resize(trust.astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR)[..., None]
            back = cv2.resize(back, (w, h), interpolation=cv2.INTER_LINEAR) * np.array([w / size[0], h / size[1]], np.float32)
            # Cubic, because the same stroke is carried on for many frames and would blur.
            past = warp(painted_then, back, cv2.INTER_CUBIC)
            result += share * (past - result)
        self._last = now, small, result
        return np.asarray((result + 0.5).clip(0, 255), np.uint8)
