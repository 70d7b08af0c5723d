"""A frame with its own timestamp, and the properties of the video it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""RGB, shape (H, W, 3), or (N, H, W, 3) for a batch."""

Opacity = NDArray[np.uint8]
"""Shape (H, W), 0 where a pixel is transparent, 255 where it is opaque."""

Mask = NDArray[np.float32]
"""Shape (H, W), 1 where an image is stylized, 0 where it is not."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One image and its presentation time, `pts * time_base` seconds. `duration`, also in ticks, is 0 if unknown."""

    pixels: Pixels
    pts: int
    time_base: Fraction
    duration: int = 0
    alpha: Opacity | None = None
    """The opacity of each pixel, if the video has transparent parts."""
    mask: Mask | None = None
    """Where the frame is stylized; None: everywhere."""


@dataclass(frozen=True, slots=True)
class ColorTags:
    """The colour space as code points of ITU-T H.273; `range` is 1 (limited) or 2 (full)."""

    matrix: int
    range: int
    primaries: int
    transfer: int


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The properties of a source's video. Except for the size they may be wrong, because they come from the file's header."""

    width: int
    height: int
    time_base: Fraction = Fraction(1, 1)
    frame_rate: Fraction | None = None
    frame_count_estimate: int | None = None
    duration_seconds: float | None = None
    sample_aspect_ratio: Fraction | None = None
    display_matrix: tuple[int, ...] | None = None
    """Rotation and mirroring at display, 3x3, row by row, as containers store it (16.16 fixed point, last column 2.30)."""
    color: ColorTags | None = None
    """As stored, which may be HDR; the pixels of frames are always 8 bit SDR. None: RGB."""
    peak_nits: float | None = None
    """Peak luminance of an HDR video in cd/m2, if the file contains it."""
    alpha: bool = False
    """Whether frames have an alpha channel."""
    start_time: Fraction = Fraction(0)
    """When the input begins, on the clock of its frames; earlier than the first frame if the beginning was skipped."""
