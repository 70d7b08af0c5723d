"""Dense optical flow (DIS, Kroeger et al. 2016), warping by it, and where it cannot be trusted."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from vidstyle.frames import Pixels

Quality = Literal["fast", "medium"]
_PRESETS = {"fast": cv2.DISOPTICAL_FLOW_PRESET_FAST, "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM}
MIN_SIDE = 16
"""Smaller pictures have no flow: DIS matches patches of 8 pixels over a pyramid."""


class Flow:
    """Flow between pictures of one size. Not for several threads at once: DIS keeps buffers."""

    def __init__(self, quality: Quality = "medium") -> None:
        self._dis = cv2.DISOpticalFlow.create(_PRESETS[quality])

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Displacements (H, W, 2) float32 in pixels, x before y: what is at p in `first` is at p + flow(p) in `second`.

        `first` and `second` are grey, uint8 (H, W). Pictures with a side below `MIN_SIDE` do not move.
        """
        if min(first.shape) < MIN_SIDE:
            return np.zeros((*first.shape, 2), np.float32)
        # A flow array, even of zeros, would be taken as a first guess and change the result.
        return np.asarray(self._dis.calc(first, second, None))  # type: ignore[call-overload]


def grey(pixels: Pixels) -> np.ndarray:
    """uint8 (H, W) of RGB (H, W, 3)."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY))


def warp(image: np.ndarray, flow: np.ndarray, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """`image` (H, W) or (H, W, C) at p + flow(p); beyond the border the border's colour. Same dtype."""
    return np.asarray(cv2.remap(image, *targets(flow), interpolation, borderMode=cv2.BORDER_REPLICATE))


def targets(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where `flow` (H, W, 2) leads: x and y, float32 (H, W) each."""
    h, w = flow.shape[:2]
    return flow[..., 0] + np.arange(w, dtype=np.float32), flow[..., 1] + np.arange(h, dtype=np.float32)[:, None]


def occluded(flow: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Where `flow` (H, W, 2) leads nowhere: bool (H, W).

    `back` is the flow of the opposite direction. The way there and back must close, and motion boundaries are not trusted
    (Ruder, Dosovitskiy and Brox 2016, eqs. 5 and 6, thresholds from there).
    """
    if min(flow.shape[:2]) < MIN_SIDE:
        return np.zeros(flow.shape[:2], bool)
    returned = warp(back, flow)
    gap = _squared(flow + returned)
    lost = gap > 0.01 * (_squared(flow) + _squared(returned)) + 0.5
    du, dv = (np.gradient(flow[..., i]) for i in range(2))
    steep = sum(g**2 for g in (*du, *dv)) > 0.01 * _squared(flow) + 0.002
    return np.asarray(lost | steep)


def _squared(vectors: np.ndarray) -> np.ndarray:
    return np.asarray((vectors**2).sum(-1))
