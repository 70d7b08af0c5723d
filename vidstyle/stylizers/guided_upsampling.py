"""Enlarges stylized images with the edges of the original."""

from __future__ import annotations

import cv2
import numpy as np

from vidstyle.core.frames import Pixels

RADIUS = 2
"""Radius, in pixels of the small image, of the windows that local slopes are fitted over."""
EPSILON = 60.0
"""Variance of grey levels (0..255) below which the original has no edges."""
MAX_SLOPE = 1.5


def upsample_guided(stylized: Pixels, small: Pixels, full: Pixels) -> Pixels:
    """`stylized`, the result for `small`, enlarged to the size of `full`, of which `small` is a copy. All RGB uint8 (H, W, 3).

    q = up(p) + up(a) (I - up(down(I))), a = cov(I, p) / (var(I) + epsilon) over small windows: the more closely the stylized
    image p follows the original I, the more of the detail lost in downscaling is added back. The slopes a are those of the
    guided filter (He, Sun and Tang 2013, eq. 5; at small size as in He and Sun 2015), whose own q = a I + b would smooth
    strokes away.
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
    # Few copies at full size: an image may have a hundred megapixels.
    edges = cv2.resize(slope, (w, h), interpolation=cv2.INTER_LINEAR)
    cv2.multiply(detail, edges, edges, dtype=cv2.CV_32F)
    for channel in range(3):
        cv2.insertChannel(cv2.add(cv2.extractChannel(up, channel), edges, dtype=cv2.CV_8U), up, channel)
    return np.asarray(up, np.uint8)
