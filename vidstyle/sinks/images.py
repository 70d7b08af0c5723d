"""Writes still images."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np

from vidstyle.core.errors import OutputError
from vidstyle.core.files import writing
from vidstyle.core.frames import Frame
from vidstyle.sinks.publish import UnpublishedFile

_TRANSPARENT_SUFFIXES = {".png", ".webp", ".tif", ".tiff"}

STAMPED_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".avif"}
"""Formats for which OpenCV can write EXIF."""

JPEG_QUALITY = 95


class ImageSink:
    """Writes one frame in the format of the file name's suffix; `stamp` goes into the EXIF tag Software if there is one."""

    def __init__(self, path: Path, overwrite: bool = False, stamp: str | None = None) -> None:
        if not cv2.haveImageWriter(f"x{path.suffix}"):  # `imencode` crashes for a name that is no UTF-8
            raise OutputError(f"expected an image's suffix such as .jpg or .png for the output, got {path.name}")
        self._exif = _exif(stamp) if stamp is not None and path.suffix.lower() in STAMPED_SUFFIXES else None
        self._file = UnpublishedFile(path, overwrite)

    def write(self, frame: Frame) -> None:
        image = cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR)
        suffix = self._file.target.suffix
        if frame.alpha is not None:
            if suffix.lower() not in _TRANSPARENT_SUFFIXES:
                raise OutputError(f"the image has transparent parts, which {suffix} cannot hold: -o NAME.png")
            image = np.dstack([image, frame.alpha])
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix.lower() in (".jpg", ".jpeg") else []
        if self._exif is None:
            done, data = cv2.imencode(suffix, image, quality)
        else:
            done, data = cv2.imencodeWithMetadata(suffix, image, [cv2.IMAGE_METADATA_EXIF], [self._exif], quality)
        if not done:
            raise OutputError(f"could not encode {self._file.target}")
        with writing(self._file.target):
            self._file.path.write_bytes(data.tobytes())

    def publish(self) -> None:
        if self._file.path.stat().st_size == 0:
            raise OutputError(f"expected one image to write, got none: {self._file.target}")
        self._file.publish()

    def warnings(self) -> list[str]:
        return []

    def damage(self) -> list[str]:
        return []

    def close(self) -> None:
        self._file.discard()


def _exif(software: str) -> np.ndarray:
    """EXIF with the tag Software only: a TIFF header, a directory with one entry, and the text that it points to."""
    text = software.encode("ascii") + b"\0"
    header, end = struct.pack("<2sHI", b"II", 42, 8), struct.pack("<I", 0)
    entry = struct.pack("<HHHII", 1, 0x0131, 2, len(text), 26)
    return np.frombuffer(header + entry + end + text, np.uint8)
