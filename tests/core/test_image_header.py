"""The size of an image from its header, compared with that of the decoded image."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from vidstyle.core.image_header import ImageHeader, parse_header

IMAGE = np.random.default_rng(0).integers(0, 256, (37, 61, 3), np.uint8)
KINDS: dict[str, tuple[str, str, list[int]]] = {
    "JPEG": ("JPEG", ".jpg", []),
    "progressive JPEG": ("JPEG", ".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    "PNG": ("PNG", ".png", []),
    "BMP": ("BMP", ".bmp", []),
    "TIFF": ("TIFF", ".tif", []),
    "WebP": ("WebP", ".webp", [cv2.IMWRITE_WEBP_QUALITY, 80]),
    "lossless WebP": ("WebP", ".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
    "GIF": ("GIF", ".gif", []),
    "AVIF": ("AVIF", ".avif", []),
}


def encoded(suffix: str, parameters: list[int]) -> bytes:
    try:
        written, data = cv2.imencode(suffix, IMAGE, parameters)
    except cv2.error:
        written = False
    if not written:
        pytest.skip(f"OpenCV was built without {suffix}")
    return data.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_size_is_that_of_the_image(kind: str) -> None:
    name, suffix, parameters = KINDS[kind]
    assert parse_header(encoded(suffix, parameters)) == ImageHeader(name, 61, 37, progressive=kind == "progressive JPEG")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_header_is_none_or_a_size(kind: str) -> None:
    _, suffix, parameters = KINDS[kind]
    data = encoded(suffix, parameters)
    for end in range(min(len(data), 600)):
        parse_header(data[:end])
    choose = np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(data)
        for at in choose.integers(0, min(len(data), 600), 4):
            damaged[at] = choose.integers(0, 256)
        header = parse_header(bytes(damaged))
        assert header is None or (header.width >= 0 and header.height >= 0)


def test_size_in_big_tiffs_and_in_both_byte_orders() -> None:
    for order, mark in (("<", b"II"), (">", b"MM")):
        entries = [struct.pack(order + "HHII", tag, 4, 1, size) for tag, size in ((256, 70_000), (257, 3))]
        small = mark + struct.pack(order + "HIH", 42, 8, 2) + b"".join(entries)
        assert parse_header(small) == ImageHeader("TIFF", 70_000, 3)
        entries = [struct.pack(order + "HHQQ", tag, 16, 1, size) for tag, size in ((256, 70_000), (257, 3))]
        big = mark + struct.pack(order + "HHHQQ", 43, 8, 0, 16, 2) + b"".join(entries)
        assert parse_header(big) == ImageHeader("TIFF", 70_000, 3)


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8" + b"\0" * 100, b"\xff\xd8\xff\xda", b"BM", b"GIF89a", b"P6 1 1 255"])
def test_other_data_have_no_header(data: bytes) -> None:
    assert parse_header(data) is None
