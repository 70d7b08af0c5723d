"""Less flicker: the last stylized frame, warped along the optical flow, is blended in where the scene has not changed.

After Ruder et al. 2016 and Lai et al. 2018; recursive, with one frame of state and no training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import cv2
import numpy as np

from vidstyle.core.frames import Pixels
from vidstyle.temporal.flow import FLOW_HEIGHT, Flow, downscaled, grey, occluded, points_inside, similarity, upscaled_flow, warp

_WEIGHTS = {"light": 0.6, "strong": 0.85}
_STATE = ("grey", "source", "stylized")


class Stabilizer:
    """O_t = m a W(O_{t-1}) + (1 - m a) S(I_t).

    a is the weight of the previous frame, W warps along the input's flow, m is the confidence in the warp:
    exp(-50 |I_t - W(I_{t-1})|^2), and zero at occlusions and where the flow points out of the frame. The state is reset at
    every cut.
    """

    def __init__(self, strength: Literal["light", "strong"]) -> None:
        self._weight = _WEIGHTS[strength]
        self._flow = Flow("fast")
        self._last: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def process(self, source: Pixels, stylized: Pixels, begins_shot: bool) -> Pixels:
        """See `vidstyle.core.protocols.PostProcessor`."""
        h, w = source.shape[:2]
        small = downscaled(source, FLOW_HEIGHT)
        now = grey(small)
        result = stylized.astype(np.float32)
        if not begins_shot and self._last is not None and self._last[2].shape == stylized.shape:
            then, small_then, stylized_then = self._last
            back = self._flow(now, then)
            confidence = similarity(small, small_then, back) * points_inside(back) * ~occluded(back, self._flow(then, now))
            weight = self._weight * cv2.resize(confidence.astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR)[..., None]
            # Cubic, because a stroke is warped from frame to frame and would blur.
            past = warp(stylized_then, upscaled_flow(back, h, w), cv2.INTER_CUBIC)
            result += weight * (past - result)
        self._last = now, small, result
        return np.asarray((result + 0.5).clip(0, 255), np.uint8)

    def state(self) -> Mapping[str, np.ndarray]:
        """See `vidstyle.core.protocols.StatefulPostProcessor`."""
        return {} if self._last is None else dict(zip(_STATE, self._last, strict=True))

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """See `vidstyle.core.protocols.StatefulPostProcessor`."""
        self._last = (state[_STATE[0]], state[_STATE[1]], state[_STATE[2]]) if state else None
