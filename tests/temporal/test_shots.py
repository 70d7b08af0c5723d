"""Shot detection, batches, and samples of a shot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
import pytest

from tests.support.textures import texture
from vidstyle.core.frames import Frame, Pixels
from vidstyle.temporal.shots import CutDetector, shot_batches, spread_over_shot


def scene(seed: int, width: int = 160) -> Pixels:
    """Large shapes."""
    return texture(90, width, seed, softness=12)


def cuts(images: Iterable[Pixels]) -> list[int]:
    """The indices of the first frames of shots."""
    detector = CutDetector()
    return [n for n, image in enumerate(images) if detector.begins_shot(image)]


def flat(level: float) -> Pixels:
    return np.full((9, 16, 3), round(level), np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_a_cut_to_another_image_is_found(seed: int) -> None:
    here, there = scene(seed), scene(seed + 100)
    assert cuts([here, here, there, there, here]) == [0, 2, 4]


def test_a_cut_between_moving_shots_is_found() -> None:
    here, there = scene(1, 400), scene(2, 400)
    assert cuts([c[:, 2 * n : 2 * n + 160] for c in (here, there) for n in range(20)]) == [0, 20]


def test_the_first_frame_begins_a_shot() -> None:
    assert cuts([flat(0)]) == [0]


def test_a_pan_is_no_cut() -> None:
    wide = scene(3, 600)
    assert cuts(wide[:, 5 * n : 5 * n + 160] for n in range(80)) == [0]


def test_accelerating_camera_motion_is_no_cut() -> None:
    wide = scene(4, 2000)
    left = np.cumsum(np.minimum(2 * np.arange(40), 50))
    assert cuts(wide[:, x : x + 160] for x in left) == [0]


def test_a_slow_fade_is_no_cut() -> None:
    here, there = scene(5).astype(float), scene(6)
    assert cuts((here + (there - here) * n / 24).astype(np.uint8) for n in range(25)) == [0]
    assert cuts(flat(240 - 10 * n) for n in range(25)) == [0]


def test_a_change_of_light_is_no_cut() -> None:
    assert cuts(scene(7) + np.uint8(level) for level in (0, 8, 0, 16, 3)) == [0]


def frames(images: Iterable[Pixels]) -> Iterator[Frame]:
    for n, image in enumerate(images):
        yield Frame(image, n, Fraction(1, 24))


def test_only_the_last_batch_of_a_shot_may_be_smaller() -> None:
    images = [flat(0)] * 7 + [flat(200)] * 4 + [flat(100)]
    found = [(begins, [f.pts for f in batch]) for begins, batch in shot_batches(frames(images), 3)]
    assert found == [(True, [0, 1, 2]), (False, [3, 4, 5]), (False, [6]), (True, [7, 8, 9]), (False, [10]), (True, [11])]
    assert list(shot_batches(frames([]), 3)) == []


def test_a_full_batch_does_not_wait_for_the_next_frame() -> None:
    def broken() -> Iterator[Frame]:
        yield from frames([flat(0)] * 3)
        raise AssertionError("read on before the batch was yielded")

    _, batch = next(shot_batches(broken(), 3))
    assert len(batch) == 3


@pytest.mark.parametrize("length", [17, 64, 100, 250])
def test_samples_are_spread_over_the_shot(length: int) -> None:
    samples = [int(p[0, 0, 0]) for p in spread_over_shot((flat(n) for n in range(length)), 8)]
    assert len(samples) == 8
    assert samples[0] == 0
    steps = np.diff([*samples, length])
    assert steps.min() > 0
    assert steps.max() <= 3 * length / 8


@pytest.mark.parametrize("length", [1, 5, 8])
def test_all_images_of_a_short_shot_are_samples(length: int) -> None:
    assert [int(p[0, 0, 0]) for p in spread_over_shot((flat(n) for n in range(length)), 8)] == list(range(length))


def test_no_sample_is_taken_beyond_a_cut() -> None:
    def images() -> Iterator[Pixels]:
        yield from (flat(n) for n in range(20))
        yield flat(200)
        raise AssertionError("read on after the cut")

    samples = [int(p[0, 0, 0]) for p in spread_over_shot(images(), 8)]
    assert len(samples) == 8
    assert max(samples) < 20
