"""Keyframes: which frames to paint by hand, so to speak, and how the others get their paintings from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import cv2
import numpy as np

from vidstyle.core.frames import Pixels
from vidstyle.temporal.tracking import Sight, Tracker

COVERAGE = 0.6
"""A new keyframe is due where less than this part of a frame is found again in the last one..."""
FEWEST, MOST = 4, 48
"""...but no sooner and no later than so many frames after it."""
BLUR_HEIGHT = 60
"""Strokes are gone in a copy of this height, blurred by two of its pixels."""
NOISE, MOST_GAIN = 4.0, 2.0
"""Details of less than this variance (of 255^2) are left alone, others amplified by this at most."""


class KeyframePicker:
    """Picks keyframes as a video goes by: one where a shot begins, and wherever too little of the last one is left."""

    def __init__(self) -> None:
        self._tracker = Tracker()
        self._key: Sight | None = None
        self._since = 0

    def is_keyframe(self, pixels: Pixels, begins_shot: bool) -> bool:
        """Whether `pixels` (H, W, 3), the next frame, is to be a keyframe; the very first one is."""
        self._since += 1
        sight = Sight(pixels)
        if self._key is not None and not begins_shot:
            if self._since < FEWEST:
                return False
            if self._since < MOST and self._tracker.track(sight, self._key).coverage >= COVERAGE:
                return False
        self._key, self._since = sight, 0
        return True


class Propagation:
    """O_t = c (w_a W_a(K_a) + w_b W_b(K_b)) / (w_a + w_b) + (1 - c) S(I_t): a `vidstyle.core.protocols.PostProcessor`.

    K_a and K_b are the stylized keyframes before and after frame t, W warps them along the flow from t straight to each; w is
    the trust in that, times one minus the distance in time, squared; c, the part that either covers, is the trust in at least
    one. What neither shows is left as the stylizer stylized it. A mixture of strokes is fainter than each of them: contrast is
    given back (`mixed`). No keyframe is used beyond its own shot.
    """

    def __init__(self, keyframes: Sequence[int], shots: Sequence[int], load: Callable[[int], tuple[Pixels, Pixels]]) -> None:
        """`keyframes` and `shots`: numbers of the frames that are stylized, and of those that begin a shot, ascending.

        `load` gives a keyframe as it was filmed and as it was stylized.
        """
        self._shots, self._load = set(shots), load
        self._next = dict(pairwise(keyframes))
        self._keyframes = set(keyframes)
        self._tracker = Tracker()
        self._index = -1
        self._before: tuple[int, Sight, Pixels] | None = None
        self._after: tuple[int, Sight, Pixels] | None = None

    def process(self, source: Pixels, stylized: Pixels, begins_shot: bool) -> Pixels:
        self._index += 1
        if self._index in self._shots:
            self._before = self._after = None
        if self._index in self._keyframes:
            self._reach(self._index)
            assert self._before is not None
            return self._before[2]
        if self._before is None:
            return stylized
        return self._blend(source, stylized)

    def _reach(self, index: int) -> None:
        self._before = self._after if self._after is not None and self._after[0] == index else self._read(index)
        after = self._next.get(index)
        same_shot = after is not None and not any(index < shot <= after for shot in self._shots)
        self._after = self._read(after) if after is not None and same_shot else None

    def _read(self, index: int) -> tuple[int, Sight, Pixels]:
        source, stylized = self._load(index)
        return index, Sight(source), stylized

    def _blend(self, source: Pixels, stylized: Pixels) -> Pixels:
        assert self._before is not None
        now = Sight(source)
        ends = [self._before] if self._after is None else [self._before, self._after]
        span = ends[-1][0] - ends[0][0]
        moved, trusts, shares = [], [], []
        for number, sight, image in ends:
            warped, trust = self._tracker.track(now, sight).carry(image)
            near = 1 - abs(self._index - number) / span if span else 1.0
            moved.append(warped)
            trusts.append(trust)
            shares.append((trust * near) ** 2 + 1e-6)
        uncovered = np.prod([1 - t for t in trusts], axis=0)
        total = np.sum(shares, axis=0)
        weights = [(1 - uncovered) * s / total for s in shares]
        return mixed([*moved, stylized.astype(np.float32)], [*weights, uncovered])


def mixed(images: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> Pixels:
    """The weighted mean of float32 `images` (H, W, 3), 0..255, with the contrast of their details kept; uint8.

    `weights` float32 (H, W) sum to 1. Where details differ they cancel each other; they are amplified to the variance that
    they have on the average around there (Heitz and Neyret 2018, "High-Performance By-Example Noise using a
    Histogram-Preserving Blending Operator", with local statistics).
    """
    planes = [w[..., None].astype(np.float32) for w in weights]
    mean = np.sum([p * w for p, w in zip(images, planes, strict=True)], axis=0)
    wanted = np.sum([w * _variance(p) for p, w in zip(images, planes, strict=True)], axis=0)
    gain = np.sqrt((wanted + NOISE) / (_variance(mean) + NOISE)).clip(1, MOST_GAIN)
    low = _surroundings(mean)
    return np.asarray((low + gain * (mean - low) + 0.5).clip(0, 255), np.uint8)


def _variance(image: np.ndarray) -> np.ndarray:
    """Of the details around each pixel, over colours too: (H, W, 1)."""
    squares = (image - _surroundings(image)) ** 2
    return _surroundings(np.asarray(squares.mean(-1, dtype=np.float32)))[..., None]


def _surroundings(image: np.ndarray) -> np.ndarray:
    """`image` (H, W) or (H, W, 3) blurred over about a stroke; computed on a small copy."""
    h, w = image.shape[:2]
    scale = min(1.0, BLUR_HEIGHT / h)
    size = max(1, round(w * scale)), max(1, round(h * scale))
    small = cv2.GaussianBlur(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (0, 0), 2.0)
    return np.asarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR))
