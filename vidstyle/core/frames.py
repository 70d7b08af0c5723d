"""What travels through the pipeline: a frame with its own clock, and what is known of the video it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""RGB, shape (H, W, 3), or (N, H, W, 3) for a batch."""

Opacity = NDArray[np.uint8]
"""Shape (H, W), 255 where a pixel hides what lies behind."""

Mask = NDArray[np.float32]
"""Shape (H, W), 1 where an image is stylized, 0 where it stays as it is."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One image and when it is shown: `pts * time_base` seconds. `duration` is in ticks too, 0 if not known."""

    pixels: Pixels
    pts: int
    time_base: Fraction
    duration: int = 0
    alpha: Opacity | None = None
    """Opacity of each pixel, where the video has transparent parts."""
    mask: Mask | None = None
    """Where it is stylized; None: everywhere."""


@dataclass(frozen=True, slots=True)
class ColorTags:
    """How YUV relates to RGB and RGB to light; the numbers are those of ITU-T H.273, range is 1 limited or 2 full."""

    matrix: int
    range: int
    primaries: int
    transfer: int


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a source says of its video. Everything except the size may be wrong in the file it was read from."""

    width: int
    height: int
    time_base: Fraction = Fraction(1, 1)
    frame_rate: Fraction | None = None
    frame_count_estimate: int | None = None
    duration_seconds: float | None = None
    sample_aspect_ratio: Fraction | None = None
    display_matrix: tuple[int, ...] | None = None
    """3x3, row by row, as containers store it (16.16 fixed point, last column 2.30): rotation and mirroring at display."""
    color: ColorTags | None = None
    """As stored, which may be HDR; the pixels of frames are always 8 bit and standard range. None: RGB."""
    peak_nits: float | None = None
    """Brightest light of an HDR video, in cd/m2, where it is told."""
    alpha: bool = False
    """Whether frames carry an opacity."""
    start_time: Fraction = Fraction(0)
    """When the input begins, in seconds of its frames' clock; before the first frame where the beginning was left out."""
