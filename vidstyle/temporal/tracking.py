"""An image found again in another one of the same scene, and its painting moved along."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vidstyle.core.frames import Pixels
from vidstyle.temporal.flow import FLOW_HEIGHT, MIN_SIDE, Flow, closes, enlarged, grey, inside, shrunk, unchanged, warp

SOFT = 2.0
"""Trust is blurred by so many pixels (sigma, at the flow's size): no seams."""


class Sight:
    """An image as flow sees it: small, and grey beside."""

    def __init__(self, pixels: Pixels) -> None:
        self.small = shrunk(pixels, FLOW_HEIGHT)
        self.grey = grey(self.small)


@dataclass(frozen=True)
class Track:
    """Where each pixel of an image was in another one: `flow` float32 (h, w, 2) in pixels, x before y, and how far that is
    to be believed: `trust` float32 (h, w) in [0, 1]. At the flow's size, which may be smaller than the images'."""

    flow: np.ndarray
    trust: np.ndarray

    @property
    def coverage(self) -> float:
        """The part of the image that is found again."""
        return float(self.trust.mean())

    def carry(self, stylized: Pixels) -> tuple[np.ndarray, np.ndarray]:
        """The other image's painting (H, W, 3), moved to where its scene is now, float32, and the trust in it (H, W)."""
        h, w = stylized.shape[:2]
        # Cubic: strokes stay sharp.
        moved = warp(stylized.astype(np.float32), enlarged(self.flow, h, w), cv2.INTER_CUBIC)
        return moved, np.asarray(cv2.resize(self.trust, (w, h), interpolation=cv2.INTER_LINEAR))


class Tracker:
    """Finds images again. Straight from one to the other, however far apart: over the chain of frames between them flow
    loses more (measured on four DAVIS sequences at 4 to 32 frames)."""

    def __init__(self) -> None:
        self._flow = Flow("medium")

    def track(self, now: Sight, then: Sight) -> Track:
        """Where `now` was in `then`; trusted where the flow closes, stays inside and the image looks the same."""
        back = self._flow(now.grey, then.grey)
        if min(now.grey.shape) < MIN_SIDE:
            return Track(back, unchanged(now.small, then.small, back))
        trust = unchanged(now.small, then.small, back) * inside(back) * closes(back, self._flow(then.grey, now.grey))
        return Track(back, np.asarray(cv2.GaussianBlur(trust.astype(np.float32), (0, 0), SOFT)))
