"""Motion between two images of the same scene, and stylized images warped along it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vidstyle.core.frames import Pixels
from vidstyle.temporal.flow import (
    FLOW_HEIGHT,
    MIN_SIDE,
    Flow,
    downscaled,
    grey,
    is_consistent,
    points_inside,
    similarity,
    upscaled_flow,
    warp,
)

CONFIDENCE_BLUR = 2.0
"""Sigma of the blur of the confidence, in pixels at the flow's size; it avoids seams."""


class FlowImage:
    """An image at the size at which flow is computed, in colour and in grey."""

    def __init__(self, pixels: Pixels) -> None:
        self.small = downscaled(pixels, FLOW_HEIGHT)
        self.grey = grey(self.small)


@dataclass(frozen=True)
class Track:
    """Where each pixel of an image was in another one. The flow may be smaller than the images."""

    flow: np.ndarray
    """float32 (h, w, 2) in pixels, x before y."""
    confidence: np.ndarray
    """float32 (h, w) in [0, 1]."""

    @property
    def coverage(self) -> float:
        """The fraction of the image that is found in the other one."""
        return float(self.confidence.mean())

    def warp(self, stylized: Pixels) -> tuple[np.ndarray, np.ndarray]:
        """The other image, stylized (H, W, 3), warped onto this one, float32; and the confidence (H, W)."""
        h, w = stylized.shape[:2]
        # Cubic keeps strokes sharp.
        warped = warp(stylized.astype(np.float32), upscaled_flow(self.flow, h, w), cv2.INTER_CUBIC)
        return warped, np.asarray(cv2.resize(self.confidence, (w, h), interpolation=cv2.INTER_LINEAR))


class Tracker:
    """Finds one image in another. The flow is computed directly between the two, however distant they are: chaining it over
    the frames between them is less accurate (measured on four DAVIS sequences at distances of 4 to 32 frames)."""

    def __init__(self) -> None:
        self._flow = Flow("medium")

    def track(self, now: FlowImage, then: FlowImage) -> Track:
        """Where `now` was in `then`; confident where the flow is consistent and inside the image, and both look the same."""
        back = self._flow(now.grey, then.grey)
        if min(now.grey.shape) < MIN_SIDE:
            return Track(back, similarity(now.small, then.small, back))
        confidence = (
            similarity(now.small, then.small, back) * points_inside(back) * is_consistent(back, self._flow(then.grey, now.grey))
        )
        return Track(back, np.asarray(cv2.GaussianBlur(confidence.astype(np.float32), (0, 0), CONFIDENCE_BLUR)))
