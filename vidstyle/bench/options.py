"""Options of measurements. Nothing here is slow to import, because the command line reads its defaults from it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from vidstyle.core.errors import UsageError
from vidstyle.core.options import ConvertOptions, StyleOptions

Size = tuple[int, int]
"""Width and height."""

SIDES = (32, 8192)
"""Smallest and largest width or height of a generated clip; it must be even for encoders."""


@dataclass(frozen=True)
class BenchOptions:
    """How to measure conversions."""

    style: StyleOptions = field(default_factory=StyleOptions)
    sizes: tuple[Size, ...] = ((640, 360), (1280, 720))
    seconds: float = 4.0
    """Length of the video; less if it does not fit into `clips.MAX_CLIP_BYTES`."""
    rounds: int = 3
    """Number of measurements of everything, in turns; results are medians."""
    batch_size: int = ConvertOptions.batch_size


def parse_size(text: str) -> Size:
    """`640x360` -> (640, 360); raises `UsageError`."""
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    size = (int(found[1]), int(found[2])) if found else (0, 0)
    minimum, maximum = SIDES
    if not all(minimum <= side <= maximum and side % 2 == 0 for side in size):
        raise UsageError(f"expected a size such as 640x360, even numbers from {minimum} to {maximum}, got {text}")
    return size
