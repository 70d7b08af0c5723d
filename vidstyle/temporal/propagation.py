"""Keyframes: choosing the frames to optimize, and stylizing the frames between them by warping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import cv2
import numpy as np

from vidstyle.core.frames import Pixels
from vidstyle.temporal.tracking import FlowImage, Tracker

COVERAGE = 0.6
"""A new keyframe is needed if less than this fraction of a frame is found in the last one..."""
MIN_KEYFRAME_DISTANCE, MAX_KEYFRAME_DISTANCE = 4, 48
"""...but no sooner and no later than this many frames after it."""
BLUR_HEIGHT = 60
"""In a copy of this height, blurred by two of its pixels, no strokes are visible."""
NOISE_VARIANCE, MAX_GAIN = 4.0, 2.0
"""Details with less than this variance (of 255^2) are not amplified, others by at most this factor."""


class KeyframePicker:
    """Picks keyframes frame by frame: the first of each shot, and each in which too little of the last keyframe is visible."""

    def __init__(self) -> None:
        self._tracker = Tracker()
        self._key: FlowImage | None = None
        self._since = 0

    def is_keyframe(self, pixels: Pixels, begins_shot: bool) -> bool:
        """Whether `pixels` (H, W, 3), the next frame, should be a keyframe; the very first one is."""
        self._since += 1
        image = FlowImage(pixels)
        if self._key is not None and not begins_shot:
            if self._since < MIN_KEYFRAME_DISTANCE:
                return False
            if self._since < MAX_KEYFRAME_DISTANCE and self._tracker.track(image, self._key).coverage >= COVERAGE:
                return False
        self._key, self._since = image, 0
        return True


class KeyframePropagator:
    """O_t = c (w_a W_a(K_a) + w_b W_b(K_b)) / (w_a + w_b) + (1 - c) S(I_t): a `vidstyle.core.protocols.PostProcessor`.

    K_a and K_b are the stylized keyframes before and after frame t. W warps them along the flow from t directly to each. w is
    the confidence in that warp, times one minus the relative distance in time, squared; c is the confidence in at least one of
    the two. Areas that neither keyframe shows come from the stylizer, S. The mean of different strokes has less contrast than
    each of them, so contrast is restored (`mean_with_contrast`). Keyframes are used only within their shot.
    """

    def __init__(self, keyframes: Sequence[int], shots: Sequence[int], load: Callable[[int], tuple[Pixels, Pixels]]) -> None:
        """`keyframes` and `shots`: indices of the keyframes, and of the first frames of shots, ascending.

        `load` returns the original and the stylized image of a keyframe.
        """
        self._shots, self._load = set(shots), load
        self._next = dict(pairwise(keyframes))
        self._keyframes = set(keyframes)
        self._tracker = Tracker()
        self._index = -1
        self._before: tuple[int, FlowImage, Pixels] | None = None
        self._after: tuple[int, FlowImage, Pixels] | None = None

    def process(self, source: Pixels, stylized: Pixels, begins_shot: bool) -> Pixels:
        self._index += 1
        if self._index in self._shots:
            self._before = self._after = None
        if self._index in self._keyframes:
            self._advance_to(self._index)
            assert self._before is not None
            return self._before[2]
        if self._before is None:
            return stylized
        return self._blend(source, stylized)

    def _advance_to(self, index: int) -> None:
        self._before = self._after if self._after is not None and self._after[0] == index else self._read(index)
        after = self._next.get(index)
        same_shot = after is not None and not any(index < shot <= after for shot in self._shots)
        self._after = self._read(after) if after is not None and same_shot else None

    def _read(self, index: int) -> tuple[int, FlowImage, Pixels]:
        source, stylized = self._load(index)
        return index, FlowImage(source), stylized

    def _blend(self, source: Pixels, stylized: Pixels) -> Pixels:
        assert self._before is not None
        now = FlowImage(source)
        ends = [self._before] if self._after is None else [self._before, self._after]
        span = ends[-1][0] - ends[0][0]
        moved, confidences, relative = [], [], []
        for number, flow_image, image in ends:
            warped, confidence = self._tracker.track(now, flow_image).warp(image)
            near = 1 - abs(self._index - number) / span if span else 1.0
            moved.append(warped)
            confidences.append(confidence)
            relative.append((confidence * near) ** 2 + 1e-6)
        uncovered = np.prod([1 - c for c in confidences], axis=0)
        total = np.sum(relative, axis=0)
        weights = [(1 - uncovered) * r / total for r in relative]
        return mean_with_contrast([*moved, stylized.astype(np.float32)], [*weights, uncovered])


def mean_with_contrast(images: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> Pixels:
    """The weighted mean of float32 `images` (H, W, 3), 0..255, which keeps the contrast of their details; uint8.

    `weights` float32 (H, W) sum to 1. Details that differ cancel out; they are amplified to the weighted mean of their local
    variances (Heitz and Neyret 2018, "High-Performance By-Example Noise using a
    Histogram-Preserving Blending Operator", with local statistics).
    """
    planes = [w[..., None].astype(np.float32) for w in weights]
    mean = np.sum([p * w for p, w in zip(images, planes, strict=True)], axis=0)
    target = np.sum([w * _variance(p) for p, w in zip(images, planes, strict=True)], axis=0)
    gain = np.sqrt((target + NOISE_VARIANCE) / (_variance(mean) + NOISE_VARIANCE)).clip(1, MAX_GAIN)
    low = _blurred(mean)
    return np.asarray((low + gain * (mean - low) + 0.5).clip(0, 255), np.uint8)


def _variance(image: np.ndarray) -> np.ndarray:
    """The local variance of details, over colours too: (H, W, 1)."""
    squares = (image - _blurred(image)) ** 2
    return _blurred(np.asarray(squares.mean(-1, dtype=np.float32)))[..., None]


def _blurred(image: np.ndarray) -> np.ndarray:
    """`image` (H, W) or (H, W, 3) blurred by about the size of a stroke; computed on a small copy."""
    h, w = image.shape[:2]
    scale = min(1.0, BLUR_HEIGHT / h)
    size = max(1, round(w * scale)), max(1, round(h * scale))
    small = cv2.GaussianBlur(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (0, 0), 2.0)
    return np.asarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR))
