"""Resizing of images."""

from __future__ import annotations

import cv2
import numpy as np

from vidstyle.core.frames import Pixels


def resized(image: Pixels, width: int, height: int) -> Pixels:
    """`image` (H, W, C) at this size; the aspect ratio is not kept."""
    interpolation = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)


def scaled(image: Pixels, height: int) -> Pixels:
    """`image`, RGB uint8 (H, W, 3), scaled to `height`, with its aspect ratio kept; the same object if it has that height."""
    h, w = image.shape[:2]
    if height == h:
        return image
    interpolation = cv2.INTER_AREA if height < h else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (max(16, round(w * height / h)), height), interpolation=interpolation), np.uint8)


def letterboxed(image: np.ndarray, width: int, height: int, enlarging: int = cv2.INTER_CUBIC) -> np.ndarray:
    """`image`, uint8 (H, W, 3 or 4), at this size, with black opaque bars that keep its aspect ratio.

    `enlarging`: OpenCV's interpolation for images that are enlarged.
    """
    h, w = image.shape[:2]
    scale = min(width / w, height / h)
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    inner = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else enlarging)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    bars = (top, height - size[1] - top, left, width - size[0] - left)
    return np.asarray(cv2.copyMakeBorder(inner, *bars, cv2.BORDER_CONSTANT, value=(0, 0, 0, 255)[: image.shape[2]]), np.uint8)
