"""The format and size of an encoded image, from its header alone: a file of a few kilobytes may claim any size."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG segments that hold the size; the three others in this range hold tables."""
_JPEG_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_JPEG_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}

_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_AVIF_BYTES = 1 << 16
"""The boxes with the size of an AVIF are within this many bytes."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What an encoded image claims to be; `width` and `height` are those before the EXIF orientation is applied."""

    format: str
    width: int
    height: int
    progressive: bool = False
    """Decoded in many passes, which needs memory and time for each."""

    @property
    def pixels(self) -> int:
        return self.width * self.height


def parse_header(data: bytes | memoryview) -> ImageHeader | None:
    """The header of an encoded image: JPEG, PNG, WebP, TIFF, BMP, GIF or AVIF; None for anything else, or damage."""
    start = bytes(data[:16])
    try:
        if start.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if start.startswith(b"\x89PNG\r\n\x1a\n"):
            return ImageHeader("PNG", *struct.unpack_from(">II", data, 16))
        if start.startswith((b"GIF87a", b"GIF89a")):
            return ImageHeader("GIF", *struct.unpack_from("<HH", data, 6))
        if start.startswith(b"BM"):
            return _bmp(data)
        if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
            return _webp(data, start[12:16])
        if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _tiff(data)
        if start[4:8] == b"ftyp":
            return _avif(bytes(data[:_AVIF_BYTES]))
    except (struct.error, IndexError):  # the data end within the header
        pass
    return None


def _jpeg(data: bytes | memoryview) -> ImageHeader | None:
    at = 2
    while True:
        while data[at] != 0xFF:  # decoders skip what is between segments
            at += 1
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return ImageHeader("JPEG", width, height, marker in _JPEG_PROGRESSIVE)
        if marker in (0xD9, 0xDA):  # the end, or pixels without a size
            return None
        if marker not in _JPEG_WITHOUT_LENGTH:
            at += struct.unpack_from(">H", data, at)[0]


def _bmp(data: bytes | memoryview) -> ImageHeader:
    is_old = struct.unpack_from("<I", data, 14)[0] == 12
    width, height = struct.unpack_from("<HH" if is_old else "<ii", data, 18)
    return ImageHeader("BMP", abs(width), abs(height))  # a negative height means rows from top to bottom


def _webp(data: bytes | memoryview, kind: bytes) -> ImageHeader | None:
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return ImageHeader("WebP", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return ImageHeader("WebP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X" and len(data) >= 30:
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return ImageHeader("WebP", width, height)
    return None


def _tiff(data: bytes | memoryview) -> ImageHeader | None:
    order = "<" if data[0] == ord("I") else ">"
    is_big = 43 in (data[2], data[3])
    at = struct.unpack_from(order + ("Q" if is_big else "I"), data, 8 if is_big else 4)[0]
    count = struct.unpack_from(order + ("Q" if is_big else "H"), data, at)[0]
    entry, at = (20, at + 8) if is_big else (12, at + 2)
    size = {}
    for tag_at in range(at, at + entry * min(count, 4096), entry):
        tag, kind = struct.unpack_from(order + "HH", data, tag_at)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT):
            value = {3: "H", 4: "I", 16: "Q"}.get(kind, "I")
            size[tag] = struct.unpack_from(order + value, data, tag_at + (12 if is_big else 8))[0]
    return ImageHeader("TIFF", size[_TIFF_WIDTH], size[_TIFF_HEIGHT]) if len(size) == 2 else None


def _avif(data: bytes) -> ImageHeader | None:
    sizes, at = [], data.find(b"ispe")
    while at >= 0:
        sizes.append(struct.unpack_from(">II", data, at + 8))  # of the image, its tiles and its thumbnail
        at = data.find(b"ispe", at + 4)
    return ImageHeader("AVIF", *max(sizes, key=lambda size: size[0] * size[1])) if sizes else None
