"""Still images as sources of one frame."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from vidstyle.core.damage import Damage
from vidstyle.core.errors import InputError, MemoryLimitError, is_out_of_memory
from vidstyle.core.files import check_regular_file
from vidstyle.core.frames import Frame, Opacity, Pixels, VideoInfo
from vidstyle.core.hardware import memory_bytes
from vidstyle.core.image_header import parse_header
from vidstyle.core.options import MEMORY_FRACTION

_DECODING = 10
"""Bytes per pixel, at least, while an image is decoded and converted to RGB."""


def read_image(path: Path, check_size: Callable[[int, int], None] = lambda width, height: None) -> Pixels:
    """RGB uint8 (H, W, 3), with the EXIF orientation applied; raises `InputError` if `path` is no readable image, and
    `MemoryLimitError` if it is too large for this machine. `check_size` is called with its width and height before it is decoded,
    and may raise."""
    check_regular_file(path)
    memory, size = memory_bytes(), path.stat().st_size
    if memory is not None and size > memory:
        raise MemoryLimitError(f"not enough memory to read an image of {size >> 20} MB: {path}")
    data = np.fromfile(path, np.uint8)
    header = parse_header(data.data)
    if header is None or not header.pixels:
        raise InputError(f"could not read {path} as an image")
    check_size(header.width, header.height)
    if memory is not None and header.pixels * _DECODING > memory * MEMORY_FRACTION:
        raise MemoryLimitError(f"not enough memory to decode an image of {header.width}x{header.height}: {path}")
    try:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # errors are reported once, by us
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:  # for example larger than OpenCV's limit
        if is_out_of_memory(error):
            raise MemoryLimitError(f"not enough memory to decode an image of {header.width}x{header.height}: {path}") from error
        raise InputError(f"could not read {path} as an image ({error.err})") from error
    if image is None:
        raise InputError(f"could not read {path} as an image")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def read_alpha(path: Path) -> Opacity | None:
    """The opacity of the image `path`, uint8 (H, W); None if all of it is opaque."""
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4 or image.dtype not in (np.uint8, np.uint16):
        return None
    alpha = image[..., 3] if image.dtype == np.uint8 else image[..., 3] // 256
    return np.ascontiguousarray(alpha, np.uint8) if alpha.min() < 255 else None


class ImageSource:
    """One image, decoded when opened; `check_size`: see `read_image`."""

    shift_seconds = Fraction(0)

    def __init__(self, path: Path, check_size: Callable[[int, int], None] = lambda width, height: None) -> None:
        self._pixels, alpha = read_image(path, check_size), read_alpha(path)
        self._alpha = alpha if alpha is not None and alpha.shape == self._pixels.shape[:2] else None
        height, width = self._pixels.shape[:2]
        self.info = VideoInfo(width, height, frame_count_estimate=1)

    def frames(self) -> Iterator[Frame]:
        yield Frame(self._pixels, 0, Fraction(1), alpha=self._alpha)

    def following(self, first: Frame, seconds: float) -> Generator[Pixels, None, None]:
        yield first.pixels

    def warnings(self) -> list[str]:
        return []

    def damage(self) -> list[str]:
        return []

    def damage_so_far(self) -> Damage:
        return {}

    def restore_damage(self, earlier: Damage) -> None:
        pass

    def close(self) -> None:
        pass
