"""Shot detection, and sampling a few frames of a shot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np

from vidstyle.core.frames import Frame, Pixels

THUMBNAIL = (48, 27)
CUT_DIFFERENCE = 30.0
"""The mean difference of two frames' thumbnails (0..255) must be larger than this at a cut..."""
CUT_CONTRAST = 3.0
"""...and this many times the recent differences, because fast camera motion is not a series of cuts."""


class CutThreshold:
    """Decides from the differences of successive thumbnails where a new shot begins, similar to PySceneDetect's
    `AdaptiveDetector`."""

    def __init__(self) -> None:
        self._recent = 0.0

    def is_cut(self, difference: float) -> bool:
        """Whether there is a cut between the next two frames, which differ by `difference`."""
        cut = difference > max(CUT_DIFFERENCE, CUT_CONTRAST * self._recent)
        self._recent = (self._recent + difference) / 2
        return cut


class CutDetector:
    """Detects frame by frame whether a new shot begins."""

    def __init__(self) -> None:
        self._last: Pixels | None = None
        self._threshold = CutThreshold()

    def begins_shot(self, pixels: Pixels) -> bool:
        """Whether `pixels` (H, W, 3), the next frame, is the first of a shot; True for the very first."""
        last, self._last = self._last, thumbnail(pixels)
        return last is None or self._threshold.is_cut(difference(last, self._last))


def thumbnail(pixels: Pixels) -> Pixels:
    """`pixels` (H, W, 3) at the size at which cuts are detected."""
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), THUMBNAIL, interpolation=cv2.INTER_AREA), np.uint8)


def difference(first: Pixels, second: Pixels) -> float:
    """Mean absolute difference of two thumbnails, 0..255."""
    return float(np.abs(second.astype(np.float32) - first.astype(np.float32)).mean())


def shot_batches(
    frames: Iterable[Frame], size: int, begins_shot: Callable[[Frame], bool] | None = None
) -> Iterator[tuple[bool, list[Frame]]]:
    """Yields lists of at most `size` consecutive frames of one shot, each with a flag that is True for the first list of a shot.
    `begins_shot` returns whether a frame is the first of a shot; None: cuts are detected."""
    detector, begins, batch = CutDetector(), True, list[Frame]()
    for frame in frames:
        cut = begins_shot(frame) if begins_shot is not None else detector.begins_shot(frame.pixels)
        if batch and cut:
            yield begins, batch
            batch = []
        begins = begins or cut
        batch.append(frame)
        if len(batch) == size:
            yield begins, batch
            begins, batch = False, []
    if batch:
        yield begins, batch


def spread_over_shot(images: Iterable[Pixels], count: int) -> list[Pixels]:
    """`count` images (or all, if there are fewer) at about even distances, up to the first cut. Stores at most 2 `count`."""
    kept, stride, cuts = list[Pixels](), 1, CutDetector()
    for i, image in enumerate(images):
        if cuts.begins_shot(image) and i:
            break
        if i % stride == 0:
            kept.append(image)
            if len(kept) == 2 * count:
                kept, stride = kept[::2], 2 * stride
    return [kept[i * len(kept) // count] for i in range(count)] if len(kept) > count else kept
