"""Sizes that a net can take: mirrored borders, cut off again afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vidstyle.core.frames import Pixels


def pad_to_multiple(pictures: Sequence[Pixels], margin: int, multiple: int) -> Pixels:
    """Stack (H, W, 3) pictures with `margin` mirrored pixels around, and more at the right and bottom up to `multiple`."""
    h, w = pictures[0].shape[:2]
    right, bottom = margin + (-(w + 2 * margin)) % multiple, margin + (-(h + 2 * margin)) % multiple
    batch = np.empty((len(pictures), margin + h + bottom, margin + w + right, 3), np.uint8)
    for padded, picture in zip(batch, pictures, strict=True):
        cv2.copyMakeBorder(picture, margin, bottom, margin, right, cv2.BORDER_REFLECT_101, dst=padded)
    return batch
