"""Textured images, and what a moving camera sees of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from vidstyle.core.frames import Pixels


def texture(height: int, width: int, seed: int = 0, softness: float = 4) -> Pixels:
    """Soft random blobs of all colours, some `softness` pixels in size, in the middle range."""
    rough = np.random.default_rng(seed).standard_normal((height, width, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(rough, (0, 0), softness, borderType=cv2.BORDER_REFLECT)
    return np.asarray(np.clip(128 + 40 * soft / soft.std(), 30, 225), np.uint8)


def window(canvas: Pixels, x: int, y: int, height: int = 120, width: int = 160) -> Pixels:
    """What a camera sees of `canvas`, its upper left corner at (32 + x, 32 + y): the scene moves the other way."""
    return canvas[32 + y : 32 + y + height, 32 + x : 32 + x + width]


def inner(image: np.ndarray, margin: int = 16) -> np.ndarray:
    return image[margin:-margin, margin:-margin]


CANVAS = texture(200, 240)
STILL = [window(CANVAS, 0, 0)] * 4


def with_noise(images: Sequence[Pixels], sigma: float) -> list[Pixels]:
    rng = np.random.default_rng(8)
    return [np.clip(p + rng.normal(0, sigma, p.shape) + 0.5, 0, 255).astype(np.uint8) for p in images]


def negative(image: Pixels) -> Pixels:
    """The image with inverted colours."""
    return 255 - image


def distance(one: Pixels, other: Pixels) -> float:
    """Mean absolute difference of two images, in levels of 255."""
    return float(np.abs(one.astype(int) - other).mean())


def save_image(path: Path, image: Pixels) -> Path:
    """Write an RGB image to `path`, in a folder that is created if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return path
