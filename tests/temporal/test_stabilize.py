"""The stabilizer reduces flicker, keeps strokes sharp, and carries nothing over where the scene changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
import pytest

from tests.support.textures import CANVAS, STILL, inner, texture, window, with_noise
from vidstyle.core.frames import Pixels
from vidstyle.temporal.flow import FLOW_HEIGHT
from vidstyle.temporal.stabilize import Stabilizer

Strength = Literal["light", "strong"]
each_strength = pytest.mark.parametrize("strength", ["light", "strong"])


def stabilized(strength: Strength, source: Sequence[Pixels], stylized: Sequence[Pixels]) -> list[Pixels]:
    """The frames of one shot."""
    stabilizer = Stabilizer(strength)
    return [stabilizer.process(*pair, n == 0) for n, pair in enumerate(zip(source, stylized, strict=True))]


def flicker(images: Sequence[Pixels]) -> float:
    """Mean difference of neighbouring frames, once the first have settled."""
    return float(np.abs(np.diff(np.stack(images[6:]).astype(int), axis=0)).mean())


def distance(one: Pixels, other: Pixels) -> float:
    return float(np.abs(inner(one).astype(int) - inner(other)).mean())


def detail(image: Pixels) -> float:
    return float(cv2.Laplacian(inner(image), cv2.CV_32F).std())


def test_flicker_of_a_still_scene_is_reduced() -> None:
    scene = STILL[:1] * 16
    stylized = with_noise([texture(120, 160, seed=2)] * 16, sigma=12)
    light, strong = (flicker(stabilized(strength, scene, stylized)) for strength in ("light", "strong"))
    assert light < 0.5 * flicker(stylized)
    assert strong < 0.2 * flicker(stylized)


@each_strength
def test_strokes_that_move_with_the_scene_stay_sharp(strength: Strength) -> None:
    strokes = texture(200, 240, seed=3, softness=2.5)
    source, stylized = ([window(c, 2 * n, -n) for n in range(16)] for c in (CANVAS, strokes))
    last = stabilized(strength, source, stylized)[-1]
    assert detail(last) > 0.95 * detail(stylized[-1])
    assert distance(last, stylized[-1]) < 0.6 * distance(np.roll(stylized[-1], 1, axis=1), stylized[-1]), "not a pixel behind"


@each_strength
def test_the_first_frame_of_a_shot_is_unchanged(strength: Strength) -> None:
    stabilizer = Stabilizer(strength)
    old, new = texture(120, 160, seed=4), texture(120, 160, seed=5)
    assert (stabilizer.process(STILL[0], old, True) == old).all()
    assert (stabilizer.process(STILL[0], new, False) != new).any()
    assert (stabilizer.process(STILL[0], new, True) == new).all()


@each_strength
def test_nothing_is_carried_over_where_the_scene_has_changed(strength: Strength) -> None:
    """Half of the image changes, without a cut."""
    before = texture(120, 160) // 3
    after = before.copy()
    after[:, :80] = 255 - texture(120, 80, seed=6) // 3
    old, new = np.full_like(before, 20), np.full_like(before, 220)
    _, shown = stabilized(strength, [before, after], [old, new])
    assert np.abs(shown[:, :70].astype(int) - 220).max() <= 2
    assert shown[10:-10, 100:-10].mean() < 130, "the past is kept where nothing changed"


@each_strength
@pytest.mark.parametrize(
    ("height", "width"),
    [(37, 53), (FLOW_HEIGHT + 41, 611), (2 * FLOW_HEIGHT, 64), (16, 16), (5, 7),
     (1, 1), (1, 60), (1000, 2)],
)  # fmt: skip
def test_any_size_works(strength: Strength, height: int, width: int) -> None:
    source, still = texture(height, width), texture(height, width, seed=7)
    for shown in stabilized(strength, [source] * 3, [still] * 3):
        assert shown.shape == (height, width, 3)
        assert shown.dtype == np.uint8
        assert np.abs(shown.astype(int) - still).max() <= 1, "a still image is unchanged"
