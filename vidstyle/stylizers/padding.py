"""Mirrored borders around images, up to a size that a network accepts."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vidstyle.core.frames import Pixels


def pad_to_multiple(images: Sequence[Pixels], margin: int, multiple: int) -> Pixels:
    """Stack (H, W, 3) images with `margin` mirrored pixels on all sides, and more at the right and bottom up to `multiple`."""
    h, w = images[0].shape[:2]
    right, bottom = margin + (-(w + 2 * margin)) % multiple, margin + (-(h + 2 * margin)) % multiple
    batch = np.empty((len(images), margin + h + bottom, margin + w + right, 3), np.uint8)
    for padded, image in zip(batch, images, strict=True):
        cv2.copyMakeBorder(image, margin, bottom, margin, right, cv2.BORDER_REFLECT_101, dst=padded)
    return batch
