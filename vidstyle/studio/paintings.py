"""Paintings as styles: found by file or name, read with their transparency, mixed, at the size that the strokes ask for."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vidstyle.errors import InputError, UsageError
from vidstyle.files import check_regular_file
from vidstyle.frames import Pixels
from vidstyle.stylizers.catalog import find_exemplar

MIN_SIDE = 32
"""Smaller paintings have no strokes to learn from."""
MOST_WEIGHT = 1e6


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

    Raises `StyleError` for an unknown name, `InputError` for a file that is no picture or too small, `UsageError` for a weight
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
    """Read a picture file of any depth, grey or colour, with or without transparency. Raises `InputError`."""
    check_regular_file(path)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is said once, by us
    data = np.fromfile(path, np.uint8)
    try:
        layered = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)  # never turned as EXIF data may ask
        turned = (
            cv2.IMREAD_COLOR if layered is None or _alpha(layered) is None else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        )
        image = cv2.imdecode(data, turned)
    except cv2.error as error:  # too large for OpenCV's limit, say
        raise InputError(f"expected a painting, could not read {path} ({error.err})") from error
    if image is None or layered is None:
        raise InputError(f"expected a painting, could not read {path}")
    if min(image.shape[:2]) < MIN_SIDE:
        h, w = image.shape[:2]
        raise InputError(f"expected a painting of at least {MIN_SIDE} pixels a side, got {w}x{h}: {path}")
    return Painting(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), _opacity(layered, path), weight)


def _alpha(image: np.ndarray) -> Pixels | None:
    """The alpha channel, None where all is opaque."""
    if image.ndim < 3 or image.shape[2] != 4:
        return None
    alpha = (image[..., 3] >> 8).astype(np.uint8) if image.dtype == np.uint16 else image[..., 3].astype(np.uint8)
    return None if alpha.min() == 255 else np.asarray(alpha, np.uint8)


def _opacity(image: np.ndarray, path: Path) -> Pixels | None:
    """The alpha channel, if there is something to be seen of the painting."""
    alpha = _alpha(image)
    if alpha is not None and np.count_nonzero(alpha > 127) < MIN_SIDE**2:
        raise InputError(f"expected a painting, found hardly anything but transparency: {path}")
    return alpha
