"""Where keyframes are chosen, how images are tracked, and how stylized keyframes are propagated over a clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.support.textures import distance, inner, negative, texture, window
from vidstyle.core.frames import Pixels
from vidstyle.temporal.propagation import MAX_KEYFRAME_DISTANCE, MIN_KEYFRAME_DISTANCE, KeyframePicker, KeyframePropagator
from vidstyle.temporal.tracking import FlowImage, Tracker

CANVAS = texture(200, 240, seed=1, softness=6)
PAN = [window(CANVAS, 2 * n, 0) for n in range(13)]
"""A camera that pans by two pixels per frame."""
BLACK = np.zeros_like(PAN[0])


def random_frames(count: int, height: int = 64, width: int = 80) -> list[Pixels]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


# Choice of keyframes


def picked(frames: Sequence[Pixels], shots: Sequence[int] = (0,)) -> list[int]:
    picker = KeyframePicker()
    return [n for n, frame in enumerate(frames) if picker.is_keyframe(frame, n in shots)]


def test_still_clip_gets_keyframes_at_the_maximum_interval() -> None:
    assert picked([PAN[0]] * MAX_KEYFRAME_DISTANCE) == [0]
    assert picked([PAN[0]] * (2 * MAX_KEYFRAME_DISTANCE + 1)) == [0, MAX_KEYFRAME_DISTANCE, 2 * MAX_KEYFRAME_DISTANCE]


def test_every_shot_begins_with_a_keyframe() -> None:
    assert picked([PAN[0]] * 10 + [PAN[9]] * 10, shots=[0, 1, 10, 12]) == [0, 1, 10, 12]


def test_faster_motion_gets_more_keyframes() -> None:
    wide = texture(120, 320, seed=5, softness=6)
    counts = [len(picked([wide[:, speed * n : speed * n + 160] for n in range(33)])) for speed in (0, 1, 2, 4)]
    assert counts[0] == 1
    assert counts == sorted(set(counts))


def test_noise_gets_keyframes_at_the_minimum_interval() -> None:
    assert picked(random_frames(13)) == list(range(0, 13, MIN_KEYFRAME_DISTANCE))


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (15, 40)], ids=str)
def test_keyframes_of_tiny_images_are_picked(size: tuple[int, int]) -> None:
    assert picked([texture(*size)] * 10) == [0]
    assert picked([texture(*size) // 8, 255 - texture(*size) // 8] * 5) == [0, 5]


# Tracking


def coverage(now: Pixels, then: Pixels) -> float:
    return Tracker().track(FlowImage(now), FlowImage(then)).coverage


def test_image_is_tracked_in_itself_but_not_in_another_scene() -> None:
    assert coverage(PAN[0], PAN[0]) > 0.99
    assert coverage(PAN[0], texture(120, 160, seed=9)) < 0.3


def test_content_that_left_the_frame_is_not_tracked() -> None:
    assert 0.7 < coverage(PAN[12], PAN[0]) < 0.95 < coverage(PAN[1], PAN[0])


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (15, 40), (16, 16), (400, 30)], ids=str)
def test_images_of_any_size_are_tracked(size: tuple[int, int]) -> None:
    image, stylized = texture(*size), texture(*size, seed=3)
    track = Tracker().track(FlowImage(image), FlowImage(image))
    moved, trust = track.warp(stylized)
    assert track.coverage > 0.9
    assert trust.shape == size
    assert np.abs(moved - stylized).mean() < 1


def test_stylized_frame_is_warped_with_its_scene() -> None:
    strokes = texture(200, 240, seed=7, softness=2)
    then, now = window(strokes, 0, 0), window(strokes, 12, 0)
    moved, trust = Tracker().track(FlowImage(PAN[6]), FlowImage(PAN[0])).warp(then)
    assert np.abs(inner(moved - now)).mean() < 3
    assert inner(trust).mean() > 0.9
    assert trust[:, -4:].mean() < 0.3, "new content has no counterpart"


# Propagation


def propagated(frames: Sequence[Pixels], keyframes: Sequence[int], shots: Sequence[int] = (0,)) -> list[Pixels]:
    """Frames with negatives as stylized keyframes, and a stylizer whose output is black."""
    propagation = KeyframePropagator(keyframes, shots, lambda n: (frames[n], negative(frames[n])))
    return [propagation.process(frame, np.zeros_like(frame), n in shots) for n, frame in enumerate(frames)]


def test_keyframes_are_output_unchanged() -> None:
    shown = propagated(PAN, [0, 6, 12])
    for number in (0, 6, 12):
        assert (shown[number] == negative(PAN[number])).all()


def test_frames_between_keyframes_look_like_keyframes() -> None:
    for frame, shown in zip(PAN, propagated(PAN, [0, 6, 12]), strict=True):
        assert shown.shape == frame.shape
        assert shown.dtype == np.uint8
        assert distance(inner(shown), inner(negative(frame))) < 5


def test_new_content_after_the_last_keyframe_comes_from_the_stylizer() -> None:
    shown = propagated(PAN, [0])
    assert distance(inner(shown[4]), inner(negative(PAN[4]))) < 5
    assert shown[12][20:-20, -10:].mean() < 40, "the stylizer's black"
    assert shown[12][20:-20, 20:-40].mean() > 90


def test_nearer_keyframe_has_more_weight() -> None:
    still = [PAN[0]] * 9
    stylized = {0: np.full_like(PAN[0], 80), 8: np.full_like(PAN[0], 160)}
    propagation = KeyframePropagator([0, 8], [0], lambda n: (still[n], stylized[n]))
    shades = [float(propagation.process(frame, BLACK, n == 0).mean()) for n, frame in enumerate(still)]
    assert (shades[0], shades[-1]) == (80, 160)
    assert shades == sorted(set(shades)), "monotonic"
    assert [240 - shade for shade in shades[::-1]] == pytest.approx(shades, abs=1)


def test_mixing_keyframes_keeps_contrast() -> None:
    """The plain mean of two keyframes has 70 % of their contrast."""
    stylized = {n: texture(120, 160, seed=40 + n, softness=1) for n in (0, 8)}
    propagation = KeyframePropagator([0, 8], [0], lambda n: (PAN[0], stylized[n]))
    shown = [propagation.process(PAN[0], BLACK, n == 0) for n in range(9)]
    contrast = [float(inner(image).std()) for image in shown]
    assert min(contrast) > 0.85 * max(contrast)


def test_keyframes_are_not_propagated_across_a_cut() -> None:
    """Even if the image is the same on both sides."""
    frames = [PAN[0]] * 8
    shown = propagated(frames, [0, 6], shots=[0, 3])
    assert all((shown[n] == negative(PAN[0])).all() for n in (0, 6))
    assert all(distance(shown[n], negative(PAN[0])) < 2 for n in (1, 2, 7))
    assert all((shown[n] == 0).all() for n in (3, 4, 5))


def test_keyframe_after_a_cut_does_not_affect_frames_before_it() -> None:
    stylized = {0: np.full_like(PAN[0], 200), 4: np.full_like(PAN[0], 50)}
    propagation = KeyframePropagator([0, 4], [0, 4], lambda n: (PAN[0], stylized[n]))
    shades = [float(propagation.process(PAN[0], BLACK, n in (0, 4)).mean()) for n in range(8)]
    assert shades == pytest.approx([200] * 4 + [50] * 4, abs=1)


def test_frames_before_the_first_keyframe_come_from_the_stylizer() -> None:
    shown = propagated(PAN, [5, 9])
    assert all((shown[n] == 0).all() for n in range(5))
    assert (shown[5] == negative(PAN[5])).all()


def test_changed_content_comes_from_the_stylizer() -> None:
    frames = [PAN[0].copy() for _ in range(3)]
    frames[1][:, :80] = negative(frames[1][:, :80]) // 4
    shown = propagated(frames, [0, 2])[1]
    assert shown[:, :64].mean() < 40
    assert distance(shown[:, 96:], negative(PAN[0])[:, 96:]) < 3


@pytest.mark.parametrize("size", [(8, 8), (17, 33), (1, 1)], ids=str)
def test_keyframes_of_any_size_are_propagated(size: tuple[int, int]) -> None:
    for shown in propagated([texture(*size)] * 5, [0, 4]):
        assert shown.shape == (*size, 3)
        assert distance(shown, negative(texture(*size))) < 3
