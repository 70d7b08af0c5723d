"""The warping error: nothing for what moves with the scene, and the right amount for what does not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from tests.temporal.test_flow import CANVAS, window
from vidstyle.core.frames import Pixels
from vidstyle.temporal.metrics import WarpingError

STILL = [window(CANVAS, 0, 0)] * 4
MOVING = [window(CANVAS, 3 * n, -2 * n) for n in range(4)]


def flat(level: int) -> Pixels:
    return np.full_like(STILL[0], level)


def measured(source: Sequence[Pixels], painted: Sequence[Pixels], distance: int = 1) -> WarpingError:
    meter = WarpingError(distance)
    for before, after in zip(source, painted, strict=True):
        meter.add(before, after)
    return meter


def with_noise(pictures: Sequence[Pixels], sigma: float) -> list[Pixels]:
    rng = np.random.default_rng(8)
    return [np.clip(p + rng.normal(0, sigma, p.shape) + 0.5, 0, 255).astype(np.uint8) for p in pictures]


def test_a_still_video_has_no_error() -> None:
    meter = measured(STILL, STILL)
    assert meter.pairs == 3
    assert meter.source == pytest.approx(0, abs=1e-7)
    assert meter.painted == pytest.approx(0, abs=1e-7)


def test_what_moves_with_the_scene_has_hardly_any_error() -> None:
    meter = measured(MOVING, [255 - p for p in MOVING])
    assert 0 < meter.source < 2e-4
    assert 0 < meter.painted < 2e-4
    assert measured(MOVING, STILL).painted > 30 * meter.painted, "a painting that does not move with it has much"


@pytest.mark.parametrize("scene", [STILL, MOVING], ids=["still", "moving"])
def test_noise_counts_twice_its_variance(scene: list[Pixels]) -> None:
    meter = measured(scene, with_noise(scene, sigma=10))
    assert meter.painted == pytest.approx(2 * (10 / 255) ** 2, rel=0.1)
    assert meter.source < 2e-4


def test_flicker_counts_its_square() -> None:
    assert measured(STILL[:2], [flat(100), flat(151)]).painted == pytest.approx(0.2**2)


def test_without_a_pair_it_is_no_number() -> None:
    for count in (0, 1):
        meter = measured(STILL[:count], STILL[:count])
        assert meter.pairs == 0
        assert math.isnan(meter.source)
        assert math.isnan(meter.painted)


def test_no_pair_spans_a_cut() -> None:
    meter = WarpingError()
    for level, begins_shot in ((10, True), (10, False), (200, True), (200, False)):
        painted = flat(level)
        assert meter.finish(STILL[0], painted, begins_shot) is painted, "it looks on only"
    assert meter.pairs == 2
    assert meter.painted == pytest.approx(0, abs=1e-7)


def test_frames_farther_apart_are_compared_if_asked_for() -> None:
    brighter = [flat(100 + 2 * n) for n in range(12)]
    for distance in (1, 8):
        meter = measured(STILL * 3, brighter, distance)
        assert meter.pairs == 12 - distance
        assert meter.painted == pytest.approx((2 * distance / 255) ** 2)
