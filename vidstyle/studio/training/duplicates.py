"""Detection of near-duplicate images, such as bursts and frames of one scene, by a difference hash.

The hash (dHash, Krawetz 2013, "Kind of Like That") has one bit for each of 8 x 8 positions of a tiny grey copy: whether the
image gets brighter there from left to right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from vidstyle.core.hardware import usable_cores

MAX_DIFFERENT_BITS = 6
"""Two images are near-duplicates if at most this many of their 64 bits differ."""


def difference_hash(path: Path) -> int | None:
    """A hash of 64 bits; None for a file that cannot be decoded."""
    try:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    except (cv2.error, OSError):  # too large for OpenCV's limit, empty, or unreadable
        return None
    if image is None:
        return None
    tiny = cv2.resize(image, (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(tiny[:, 1:] > tiny[:, :-1]).tobytes(), "big")


def hashes(paths: Sequence[Path], check: Callable[[], None] = lambda: None) -> list[int | None]:
    """`difference_hash` of each file; `check` is called between files and may raise."""
    values = []
    with ThreadPoolExecutor(usable_cores()) as pool:
        try:
            for value in pool.map(difference_hash, paths):
                check()
                values.append(value)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return values


def first_of_each(values: Iterable[int]) -> list[int]:
    """The positions of the hashes that are no near-duplicates of an earlier one that was kept."""
    kept: list[int] = []
    seen = np.zeros(0, np.uint64)
    for position, value in enumerate(values):
        if len(kept) == len(seen):
            seen = np.concatenate((seen, np.zeros(len(seen) + 1024, np.uint64)))
        differing = np.bitwise_count(seen[: len(kept)] ^ np.uint64(value))
        if not (differing <= MAX_DIFFERENT_BITS).any():
            seen[len(kept)] = value
            kept.append(position)
    return kept
