"""Converts frames from the stored to the display orientation: phones store the rotation of a video in its metadata."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TypeVar

import numpy as np

from vidstyle.core.frames import Frame, VideoInfo

Image = TypeVar("Image", bound=np.ndarray)


def is_right_angled(matrix: tuple[int, ...]) -> bool:
    """Whether a display matrix (see `VideoInfo`) rotates by a multiple of 90 degrees, mirrors, or both, and does nothing else."""
    (a, b), (c, d) = matrix[0:2], matrix[3:5]
    return (b == c == 0 and 0 not in (a, d)) or (a == d == 0 and 0 not in (b, c))


def to_display_orientation(frame: Frame, matrix: tuple[int, ...] | None) -> Frame:
    """`frame` with the display matrix `matrix` applied; unchanged if that is not right-angled."""
    if matrix is None or not is_right_angled(matrix):
        return frame
    return replace(
        frame,
        pixels=apply_display_matrix(frame.pixels, matrix),
        alpha=None if frame.alpha is None else apply_display_matrix(frame.alpha, matrix),
    )


def display_info(info: VideoInfo) -> VideoInfo:
    """`info` for frames that `to_display_orientation` has converted."""
    matrix = info.display_matrix
    if matrix is None or not is_right_angled(matrix):
        return info
    info = replace(info, display_matrix=None)
    if matrix[0]:
        return info
    aspect = info.sample_aspect_ratio
    return replace(info, width=info.height, height=info.width, sample_aspect_ratio=Fraction(1) / aspect if aspect else None)


def to_stored_orientation(image: Image, matrix: tuple[int, ...] | None) -> Image:
    """`image`, in display orientation, converted to the orientation in which a video with this display matrix stores it."""
    if matrix is None or not is_right_angled(matrix):
        return image
    a, b, u, c, d, *rest = matrix
    return apply_display_matrix(image, (a, c, u, b, d, *rest))


def apply_display_matrix(image: Image, matrix: tuple[int, ...]) -> Image:
    """`image` rotated and mirrored by a right-angled matrix, which moves (x, y) to (a x + c y, b x + d y) (ISO/IEC 14496-12,
    6.2.2)."""
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    if a:
        result = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    else:
        result = image.swapaxes(0, 1)[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1]  # swap x and y
    return np.ascontiguousarray(result)  # type: ignore[return-value]  # the same dtype
