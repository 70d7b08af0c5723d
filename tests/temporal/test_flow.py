"""Optical flow finds motion, warping undoes it, and hidden pixels are occluded."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.textures import CANVAS, inner, texture, window
from vidstyle.temporal.flow import Flow, Quality, grey, occluded, warp

each_shift = pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-6, 4), (0, 12)], ids=str)


@each_shift
@pytest.mark.parametrize("quality", ["fast", "medium"])
def test_the_flow_of_a_shifted_image_is_the_shift(quality: Quality, shift: tuple[int, int]) -> None:
    first, second = grey(window(CANVAS, 0, 0)), grey(window(CANVAS, *shift))
    flow = Flow(quality)(first, second)
    assert flow.shape == (120, 160, 2)
    assert flow.dtype == np.float32
    assert np.abs(inner(flow) + shift).mean() < 0.1


@each_shift
def test_warping_by_the_flow_undoes_the_motion(shift: tuple[int, int]) -> None:
    first, second = window(CANVAS, 0, 0), window(CANVAS, *shift)
    back = warp(second, Flow()(grey(first), grey(second)))
    assert back.shape == first.shape
    assert back.dtype == np.uint8
    assert np.abs(inner(back).astype(int) - inner(first)).mean() < 1
    assert shift == (0, 0) or np.abs(inner(second).astype(int) - inner(first)).mean() > 10


def test_hidden_pixels_are_occluded_and_moving_ones_are_not() -> None:
    def scene(time: int) -> np.ndarray:
        """A background that moves 3 pixels to the right, a square in front of it 12 to the left."""
        image = window(CANVAS, -3 * time, 0).copy()
        left = 80 - 12 * time
        image[40:80, left : left + 40] = texture(40, 40, seed=1)
        return grey(image)

    flow = Flow()
    there, back = flow(scene(0), scene(1)), flow(scene(1), scene(0))
    gone = occluded(there, back)
    assert gone.shape == (120, 160)
    assert gone[42:78, 67:79].mean() > 0.8, "the square has moved in front of it"
    assert gone[20:100, 140:150].mean() == gone[20:100, 10:40].mean() == 0, "background far from the square"
    assert gone[50:70, 95:110].mean() < 0.1, "the square itself"


def test_nothing_is_occluded_where_nothing_moves() -> None:
    still = np.zeros((20, 30, 2), np.float32)
    assert not occluded(still, still).any()


@pytest.mark.parametrize(
    "size",
    [(1, 1), (1, 40), (40, 1),
     (2, 2), (5, 300), (15, 15), (16, 16), (16, 900), (900, 16)],
    ids=str,
)  # fmt: skip
def test_tiny_and_narrow_images_do_not_fail(size: tuple[int, int]) -> None:
    flow, image = Flow(), grey(texture(*size))
    there, back = flow(image, image), flow(image, image)
    assert np.abs(there).max() < 0.01
    assert not occluded(there, back).any()
    assert (warp(image, there) == image).all()
