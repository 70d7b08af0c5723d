"""Dense optical flow (DIS, Kroeger et al. 2016), warping along it, and detection of unreliable flow."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from vidstyle.core.frames import Pixels

Quality = Literal["fast", "medium"]
_PRESETS = {"fast": cv2.DISOPTICAL_FLOW_PRESET_FAST, "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM}
CHANGE_SCALE = 50.0
FLOW_HEIGHT = 360
"""The maximum height at which the flow for stylized images is computed: strokes hide finer motion."""
MIN_SIDE = 16
"""The flow of smaller images is zero: DIS matches patches of 8 pixels over a pyramid."""


class Flow:
    """Flow between images of one size. Not thread-safe: DIS keeps buffers."""

    def __init__(self, quality: Quality = "medium") -> None:
        self._dis = cv2.DISOpticalFlow.create(_PRESETS[quality])

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Displacements (H, W, 2) float32 in pixels, x before y: the point p in `first` is at p + flow(p) in `second`.

        `first` and `second` are grey, uint8 (H, W). Images with a side below `MIN_SIDE` get zeros.
        """
        if min(first.shape) < MIN_SIDE:
            return np.zeros((*first.shape, 2), np.float32)
        # DIS takes a flow array, even of zeros, as the initial estimate, which changes the result.
        return np.asarray(self._dis.calc(first, second, None))  # type: ignore[call-overload]


def grey(pixels: Pixels) -> np.ndarray:
    """RGB uint8 (H, W, 3) -> grey uint8 (H, W)."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY))


def warp(image: np.ndarray, flow: np.ndarray, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """`image` (H, W) or (H, W, C) at p + flow(p); the border is replicated. Same dtype."""
    return np.asarray(cv2.remap(image, *targets(flow), interpolation, borderMode=cv2.BORDER_REPLICATE))


def targets(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The coordinates that `flow` (H, W, 2) points to: x and y, float32 (H, W) each."""
    h, w = flow.shape[:2]
    return flow[..., 0] + np.arange(w, dtype=np.float32), flow[..., 1] + np.arange(h, dtype=np.float32)[:, None]


def is_consistent(flow: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Forward-backward consistency: bool (H, W), where following `flow` and then `back`, the opposite flow, returns to the start.

    Ruder, Dosovitskiy and Brox 2016, eq. 5, with its thresholds.
    """
    returned = warp(back, flow)
    gap = _squared(flow + returned)
    return np.asarray(gap <= 0.01 * (_squared(flow) + _squared(returned)) + 0.5)


def occluded(flow: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Occlusions of `flow` (H, W, 2): bool (H, W), where it is inconsistent or at a motion boundary.

    Ruder et al. 2016, eqs. 5 and 6.
    """
    if min(flow.shape[:2]) < MIN_SIDE:
        return np.zeros(flow.shape[:2], bool)
    du, dv = (np.gradient(flow[..., i]) for i in range(2))
    steep = sum(g**2 for g in (*du, *dv)) > 0.01 * _squared(flow) + 0.002
    return np.asarray(~is_consistent(flow, back) | steep)


def points_inside(flow: np.ndarray) -> np.ndarray:
    """Where `flow` (H, W, 2) points inside the image: bool (H, W)."""
    h, w = flow.shape[:2]
    x, y = targets(flow)
    return np.asarray((x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1))


def similarity(now: np.ndarray, then: np.ndarray, back: np.ndarray) -> np.ndarray:
    """How similar `now` is to `then` warped along `back`: exp(-50 d^2), float32 (H, W).

    `now` and `then` are uint8 RGB (H, W, 3); a difference of 0.1 of the full range gives 0.6, one of 0.2 gives 0.14.
    """
    change = ((now.astype(np.float32) - warp(then, back)) / 255) ** 2
    return np.asarray(np.exp(-CHANGE_SCALE * change.mean(-1)), np.float32)


def downscaled(pixels: Pixels, height: int) -> Pixels:
    """`pixels` (H, W, 3) scaled down to `height`, if they are larger."""
    h, w = pixels.shape[:2]
    scale = min(1.0, height / h)
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA), np.uint8)


def upscaled_flow(flow: np.ndarray, height: int, width: int) -> np.ndarray:
    """`flow` (h, w, 2) of a smaller image, scaled to one of `height` and `width`."""
    h, w = flow.shape[:2]
    scale = np.array([width / w, height / h], np.float32)
    return np.asarray(cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * scale)


def _squared(vectors: np.ndarray) -> np.ndarray:
    return np.asarray((vectors**2).sum(-1))
