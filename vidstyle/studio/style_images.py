"""Style images: images, such as paintings, that serve as styles. Found by file or name, read with their transparency, mixed."""

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
from vidstyle.core.image_header import parse_header
from vidstyle.sources.video import MAX_PIXELS as MAX_FRAME_PIXELS
from vidstyle.styles.catalog import find_exemplar

MIN_SIDE = 32
"""Smallest side in pixels; smaller images contain no strokes."""
MAX_WEIGHT = 1e6
JPEG = b"\xff\xd8"
MAX_PIXELS = 1 << 26
"""Larger images are read at a half, a quarter or an eighth of their size: more detail is never needed."""


@dataclass(frozen=True)
class StyleImage:
    """RGB uint8 (H, W, 3); `opacity` uint8 (H, W), None if all of it is opaque; `weight` among several."""

    pixels: Pixels
    opacity: Pixels | None = None
    weight: float = 1.0

    def digest(self) -> str:
        """A fingerprint of everything that affects the style."""
        opacity = b"" if self.opacity is None else self.opacity.tobytes()
        shape = repr((self.pixels.shape, self.weight)).encode()
        return hashlib.sha256(shape + self.pixels.tobytes() + opacity).hexdigest()


def find_style_images(style: str) -> list[StyleImage]:
    """The style images of `FILE|NAME[:WEIGHT],...`, weights normalized to sum to 1.

    Raises `StyleError` for an unknown name, `InputError` for a file that is no image or too small, `UsageError` for an invalid
    weight.
    """
    found = _weighted(style)
    total = sum(weight for _, weight in found)
    return [read_style_image(path, weight / total) for path, weight in found]


def style_image_files(style: str) -> list[Path]:
    """The files of the style images of `style`; raises what `find_style_images` raises before it reads them."""
    return [path for path, _ in _weighted(style)]


def _weighted(style: str) -> list[tuple[Path, float]]:
    entries = [(style, 1.0)] if os.path.lexists(style) else [_split(entry) for entry in style.split(",")]
    return [(_find(name), weight) for name, weight in entries]


def label(style: str) -> str:
    """A short name of `style` for file names: `starry.jpg:0.6,mosaic:0.4` -> `starry-mosaic`."""
    names = [style] if os.path.lexists(style) else [_split(entry)[0] for entry in style.split(",")]
    return "-".join(Path(name).stem for name in names)


def _split(entry: str) -> tuple[str, float]:
    name, separator, weight = entry.rpartition(":")
    if not separator or os.path.lexists(entry):
        return entry, 1.0
    try:
        value = float(weight)
    except ValueError:
        return entry, 1.0  # a colon in a name
    if not 0 < value <= MAX_WEIGHT:
        raise UsageError(f"expected a weight above 0 and at most {MAX_WEIGHT:g} after {name}, got {weight}")
    return name, value


def _find(name: str) -> Path:
    path = Path(name)
    if os.sep in name or path.suffix or os.path.lexists(name):
        if not os.path.lexists(name):
            raise InputError(f"no such style image: {name}")
        return path
    return find_exemplar(name)


def read_style_image(path: Path, weight: float = 1.0) -> StyleImage:
    """Read an image file of any depth, grey, colour or CMYK, with or without transparency. Raises `InputError`.

    One of more than `MAX_PIXELS` is read at a reduced size. Transparent pixels do not count in style statistics.
    """
    check_regular_file(path)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # errors are reported once, by this function
    data = np.fromfile(path, np.uint8)
    header = parse_header(data.data)
    if header is not None and header.pixels > MAX_FRAME_PIXELS and data[:2].tobytes() != JPEG:  # only JPEG is decoded reduced
        size = f"{header.width}x{header.height}"
        raise InputError(f"expected a style image of at most {MAX_FRAME_PIXELS} pixels, got {size}: {path}")
    try:
        flags, alpha = _flags(data), _alpha(data)
        image = cv2.imdecode(data, flags if alpha is None else flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:  # for example, too large for OpenCV's limit
        raise InputError(f"could not read {path} as a style image ({error.err})") from error
    if image is None:
        raise InputError(f"could not read {path} as a style image")
    h, w = image.shape[:2]
    if min(h, w) < MIN_SIDE:
        raise InputError(f"expected a style image of at least {MIN_SIDE} pixels per side, got {w}x{h}: {path}")
    if alpha is not None:
        alpha = np.asarray(cv2.resize(alpha, (w, h), interpolation=cv2.INTER_AREA), np.uint8)
        if np.count_nonzero(alpha > 127) < MIN_SIDE**2:
            raise InputError(f"the style image is almost completely transparent: {path}")
    return StyleImage(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), alpha, weight)


def _flags(data: np.ndarray) -> int:
    """The flags with which OpenCV reads the colours at no more than `MAX_PIXELS`, if it can reduce the size that far."""
    eighth = cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    pixels = 0 if eighth is None else 64 * eighth.size
    sizes = (cv2.IMREAD_COLOR, cv2.IMREAD_REDUCED_COLOR_2, cv2.IMREAD_REDUCED_COLOR_4)
    return next((flags for n, flags in enumerate(sizes) if pixels <= MAX_PIXELS * 4**n), cv2.IMREAD_REDUCED_COLOR_8)


def _alpha(data: np.ndarray) -> Pixels | None:
    """The alpha channel without EXIF rotation; None if all of the image is opaque."""
    if data[:2].tobytes() == JPEG:  # has no alpha channel, and may be large
        return None
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim < 3 or image.shape[2] != 4:
        return None
    alpha = (image[..., 3] // 256 if image.dtype == np.uint16 else image[..., 3]).astype(np.uint8)
    return None if alpha.min() == 255 else np.asarray(alpha, np.uint8)
