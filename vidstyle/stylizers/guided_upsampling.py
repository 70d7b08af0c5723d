"""Images made smaller, and their paintings brought to full size with the edges of the original."""

from __future__ import annotations

import cv2
import numpy as np

from vidstyle.core.frames import Pixels

RADIUS = 2
"""Pixels of the small image on each side that a local slope is fitted over."""
EPSILON = 60.0
"""Variance of grey levels (0..255) below which the original has no edge to speak of."""
MAX_SLOPE = 1.5


def scaled(image: Pixels, height: int) -> Pixels:
    """`image`, RGB uint8 (H, W, 3), at this height, its proportions kept; itself if it has it."""
    h, w = image.shape[:2]
    if height == h:
        return image
    interpolation = cv2.INTER_AREA if height < h else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (max(16, round(w * height / h)), height), interpolation=interpolation), np.uint8)


def upsample_guided(stylized: Pixels, small: Pixels, full: Pixels) -> Pixels:
    """`stylized`, the painting of `small`, at the size of `full`; `small` is `full` scaled down. All RGB uint8 (H, W, 3).

    q = up(p) + up(a) (I - up(down(I))), a = cov(I, p) / (var(I) + epsilon) over small windows: how strongly the painting
    follows the original decides how much of the detail that the small image lost is put back. The slopes are those of the
    guided filter (He, Sun and Tang 2013, eq. 5; at small size as in He and Sun 2015), but strokes stay, which the filter's
    own q = a I + b would smooth away.
    """
    h, w = full.shape[:2]
    grey_small = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    detail = cv2.subtract(
        cv2.cvtColor(full, cv2.COLOR_RGB2GRAY), cv2.resize(grey_small, (w, h), interpolation=cv2.INTER_LINEAR), dtype=cv2.CV_16S
    )
    up = cv2.resize(stylized, (w, h), interpolation=cv2.INTER_CUBIC)
    guide, p = grey_small.astype(np.float32), cv2.cvtColor(stylized, cv2.COLOR_RGB2GRAY).astype(np.float32)
    size = (2 * RADIUS + 1, 2 * RADIUS + 1)
    mean_i, mean_p = cv2.blur(guide, size), cv2.blur(p, size)
    covariance = cv2.blur(guide * p, size) - mean_i * mean_p
    variance = cv2.blur(guide * guide, size) - mean_i * mean_i
    slope = np.clip(covariance / (variance + EPSILON), -MAX_SLOPE, MAX_SLOPE)
    edges = cv2.multiply(detail.astype(np.float32), cv2.resize(slope, (w, h), interpolation=cv2.INTER_LINEAR))
    return np.asarray(cv2.add(up, cv2.merge([edges] * 3), dtype=cv2.CV_8U), np.uint8)
