"""The warping error: none for what moves with the scene, and the right amount for what does not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from tests.support.textures import CANVAS, STILL, window, with_noise
from vidstyle.core.frames import Pixels
from vidstyle.temporal.metrics import WarpingError

MOVING = [window(CANVAS, 3 * n, -2 * n) for n in range(4)]


def flat(level: int) -> Pixels:
    return np.full_like(STILL[0], level)


def measured(source: Sequence[Pixels], stylized: Sequence[Pixels], distance: int = 1) -> WarpingError:
    metric = WarpingError(distance)
    for before, after in zip(source, stylized, strict=True):
        metric.add(before, after)
    return metric


def test_a_still_video_has_no_error() -> None:
    metric = measured(STILL, STILL)
    assert metric.pairs == 3
    assert metric.source == pytest.approx(0, abs=1e-7)
    assert metric.stylized == pytest.approx(0, abs=1e-7)


def test_a_result_that_moves_with_the_scene_has_hardly_any_error() -> None:
    metric = measured(MOVING, [255 - p for p in MOVING])
    assert 0 < metric.source < 2e-4
    assert 0 < metric.stylized < 2e-4
    assert measured(MOVING, STILL).stylized > 30 * metric.stylized, "a result that does not move with it has a large error"


@pytest.mark.parametrize("scene", [STILL, MOVING], ids=["still", "moving"])
def test_noise_counts_twice_its_variance(scene: list[Pixels]) -> None:
    metric = measured(scene, with_noise(scene, sigma=10))
    assert metric.stylized == pytest.approx(2 * (10 / 255) ** 2, rel=0.1)
    assert metric.source < 2e-4


def test_flicker_counts_its_square() -> None:
    assert measured(STILL[:2], [flat(100), flat(151)]).stylized == pytest.approx(0.2**2)


def test_the_error_is_nan_without_a_pair() -> None:
    for count in (0, 1):
        metric = measured(STILL[:count], STILL[:count])
        assert metric.pairs == 0
        assert math.isnan(metric.source)
        assert math.isnan(metric.stylized)


def test_no_pair_spans_a_cut() -> None:
    metric = WarpingError()
    for level, begins_shot in ((10, True), (10, False), (200, True), (200, False)):
        stylized = flat(level)
        assert metric.process(STILL[0], stylized, begins_shot) is stylized, "it changes nothing"
    assert metric.pairs == 2
    assert metric.stylized == pytest.approx(0, abs=1e-7)


def test_frames_farther_apart_are_compared_if_asked_for() -> None:
    brighter = [flat(100 + 2 * n) for n in range(12)]
    for distance in (1, 8):
        metric = measured(STILL * 3, brighter, distance)
        assert metric.pairs == 12 - distance
        assert metric.stylized == pytest.approx((2 * distance / 255) ** 2)
