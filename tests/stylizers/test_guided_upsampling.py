"""Small stylized images enlarged with the edges of the original."""

from __future__ import annotations

import cv2
import numpy as np

from vidstyle.core.frames import Pixels
from vidstyle.stylizers.guided_upsampling import upsample_guided


def scene(width: int, height: int) -> Pixels:
    """Fine stripes on one half, nothing on the other."""
    image = np.full((height, width, 3), 100, np.uint8)
    image[:, : width // 2 : 4] = 200
    return image


def smaller(image: Pixels, factor: int) -> Pixels:
    return np.asarray(cv2.resize(image, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA), np.uint8)


def error(image: Pixels, truth: Pixels) -> float:
    return float(np.abs(image.astype(float) - truth).mean())


def test_edges_of_the_original_are_restored() -> None:
    rng = np.random.default_rng(0)
    light = cv2.GaussianBlur(rng.integers(0, 256, (240, 320), np.uint8), (0, 0), 1.2)
    full = np.asarray(cv2.merge([light] * 3), np.uint8)
    small = smaller(full, 2)
    brighter = np.asarray(cv2.convertScaleAbs(small, alpha=0.7, beta=60), np.uint8)
    truth = np.asarray(cv2.convertScaleAbs(full, alpha=0.7, beta=60), np.uint8)
    cubic = np.asarray(cv2.resize(brighter, (320, 240), interpolation=cv2.INTER_CUBIC), np.uint8)
    assert error(upsample_guided(brighter, small, full), truth) < 0.75 * error(cubic, truth)


def test_a_flat_stylized_image_stays_flat() -> None:
    full = scene(320, 240)
    small = smaller(full, 4)
    flat = np.full_like(small, 77)
    assert np.unique(upsample_guided(flat, small, full)).tolist() == [77]


def test_strokes_are_kept_where_the_original_is_plain() -> None:
    full = scene(320, 240)
    small = smaller(full, 2)
    strokes = small.copy()
    strokes[::8, 90:] = (250, 20, 20)
    cubic = np.asarray(cv2.resize(strokes, (320, 240), interpolation=cv2.INTER_CUBIC), np.uint8)
    assert error(upsample_guided(strokes, small, full)[:, 190:], cubic[:, 190:]) < 0.5
