"""Paintings as styles: found by file or name, read with their transparency, mixed, at the size that the strokes ask for."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vidstyle.core.errors import InputError, UsageError
from vidstyle.core.files import check_regular_file
from vidstyle.core.frames import Pixels
from vidstyle.styles.catalog import find_exemplar

MIN_SIDE = 32
"""Smaller paintings have no strokes to learn from."""
MOST_WEIGHT = 1e6
JPEG = b"\xff\xd8"
MOST_PIXELS = 1 << 26
"""Larger paintings are read at a half, a quarter or an eighth of their size: more detail is never asked for."""


@dataclass(frozen=True)
class Painting:
    """RGB uint8 (H, W, 3); `opacity` uint8 (H, W) if some of it is transparent; `weight` among several."""

    pixels: Pixels
    opacity: Pixels | None = None
    weight: float = 1.0

    def digest(self) -> str:
        """A fingerprint of what a style takes from it."""
        opacity = b"" if self.opacity is None else self.opacity.tobytes()
        shape = repr((self.pixels.shape, self.weight)).encode()
        return hashlib.sha256(shape + self.pixels.tobytes() + opacity).hexdigest()


def find_paintings(style: str) -> list[Painting]:
    """The paintings of `PAINTING|NAME[:WEIGHT],...`, weights normalised to sum to 1.

    Raises `StyleError` for an unknown name, `InputError` for a file that is no image or too small, `UsageError` for a weight
    that is none.
    """
    parts = [(style, 1.0)] if os.path.lexists(style) else [_split(part) for part in style.split(",")]
    total = sum(weight for _, weight in parts)
    return [read_painting(_find(name), weight / total) for name, weight in parts]


def label(style: str) -> str:
    """A short name of `style` for files: `starry.jpg:0.6,mosaic:0.4` -> `starry-mosaic`."""
    names = [style] if os.path.lexists(style) else [_split(part)[0] for part in style.split(",")]
    return "-".join(Path(name).stem for name in names)


def _split(part: str) -> tuple[str, float]:
    name, separator, weight = part.rpartition(":")
    if not separator or os.path.lexists(part):
        return part, 1.0
    try:
        value = float(weight)
    except ValueError:
        return part, 1.0  # a colon in a name
    if not 0 < value <= MOST_WEIGHT:
        raise UsageError(f"expected a weight above 0 and at most {MOST_WEIGHT:g} after {name}, got {weight}")
    return name, value


def _find(name: str) -> Path:
    path = Path(name)
    if os.sep in name or path.suffix or os.path.lexists(name):
        if not os.path.lexists(name):
            raise InputError(f"expected a painting, found no file: {name}")
        return path
    return find_exemplar(name)


def read_painting(path: Path, weight: float = 1.0) -> Painting:
    """Read an image file of any depth, grey, colour or CMYK, with or without transparency. Raises `InputError`.

    One of more than `MOST_PIXELS` is read smaller. What is transparent of it counts for nothing in style statistics.
    """
    check_regular_file(path)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is said once, by us
    data = np.fromfile(path, np.uint8)
    try:
        how, alpha = _flags(data), _alpha(data)
        image = cv2.imdecode(data, how if alpha is None else how | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:  # too large for OpenCV's limit, say
        raise InputError(f"expected a painting, could not read {path} ({error.err})") from error
    if image is None:
        raise InputError(f"expected a painting, could not read {path}")
    h, w = image.shape[:2]
    if min(h, w) < MIN_SIDE:
        raise InputError(f"expected a painting of at least {MIN_SIDE} pixels a side, got {w}x{h}: {path}")
    if alpha is not None:
        alpha = np.asarray(cv2.resize(alpha, (w, h), interpolation=cv2.INTER_AREA), np.uint8)
        if np.count_nonzero(alpha > 127) < MIN_SIDE**2:
            raise InputError(f"expected a painting, found hardly anything but transparency: {path}")
    return Painting(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), alpha, weight)


def _flags(data: np.ndarray) -> int:
    """How OpenCV is to read the colours: so that there are at most `MOST_PIXELS`, as far as it can."""
    eighth = cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    pixels = 0 if eighth is None else 64 * eighth.size
    sizes = (cv2.IMREAD_COLOR, cv2.IMREAD_REDUCED_COLOR_2, cv2.IMREAD_REDUCED_COLOR_4)
    return next((how for n, how in enumerate(sizes) if pixels <= MOST_PIXELS * 4**n), cv2.IMREAD_REDUCED_COLOR_8)


def _alpha(data: np.ndarray) -> Pixels | None:
    """The alpha channel, not turned as EXIF data may ask; None where all is opaque."""
    if data[:2].tobytes() == JPEG:  # has none, and may be large
        return None
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim < 3 or image.shape[2] != 4:
        return None
    alpha = (image[..., 3] // 256 if image.dtype == np.uint16 else image[..., 3]).astype(np.uint8)
    return None if alpha.min() == 255 else np.asarray(alpha, np.uint8)
