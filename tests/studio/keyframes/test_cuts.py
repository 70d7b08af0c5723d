"""Shot detection for keyframes."""

from __future__ import annotations

from tests.support.textures import negative, texture, window
from vidstyle.studio.keyframes.cuts import find_shots

CANVAS = texture(200, 240, seed=1, softness=6)
PAN = [window(CANVAS, 2 * n, 0) for n in range(13)]
"""A camera that pans by two pixels per frame."""


def test_hard_cut_is_detected_and_frames_are_counted() -> None:
    frames = [*PAN[:12], *[negative(texture(120, 160, seed=8)) // 2] * 12]
    assert find_shots(frames) == (24, [0, 12])


def test_pan_is_one_shot() -> None:
    assert find_shots(iter(PAN)) == (13, [0])


def test_shots_of_very_short_clips() -> None:
    assert find_shots([]) == (0, [])
    assert find_shots(PAN[:1]) == (1, [0])
    assert find_shots([texture(1, 1)] * 3) == (3, [0])
