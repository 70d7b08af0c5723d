"""Shot detection in a complete video, with PySceneDetect's adaptive detector, which looks ahead."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import cv2
import numpy as np
from scenedetect.common import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

from vidstyle.core.frames import Pixels

WIDTH = 256
"""Width in pixels at which frames are analysed; cuts are as visible there."""
MIN_SHOT_LENGTH = 5
"""In frames."""


def find_shots(frames: Iterable[Pixels]) -> tuple[int, list[int]]:
    """The number of `frames` (H, W, 3), and the numbers, from 0, of those at which a shot begins."""
    detector = AdaptiveDetector(min_scene_len=MIN_SHOT_LENGTH)
    rate, cuts, count = Fraction(25), list[int](), 0
    for frame in frames:
        new_cuts = detector.process_frame(FrameTimecode(count, rate), _small(frame))
        cuts += [cut.frame_num for cut in new_cuts if cut.frame_num is not None]
        count += 1
    if count:
        cuts += [cut.frame_num for cut in detector.post_process(FrameTimecode(count, rate)) if cut.frame_num is not None]
    return count, sorted({0, *cuts}) if count else []


def _small(frame: Pixels) -> np.ndarray:
    h, w = frame.shape[:2]
    width = min(w, WIDTH)
    size = (width, max(1, round(h * width / w)))
    small = cv2.resize(np.ascontiguousarray(frame), size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
