"""Large images in small files."""

from __future__ import annotations

import struct
import zlib
from functools import cache


@cache
def png(width: int, height: int, channels: int = 3) -> bytes:
    """A PNG of one colour, which compresses by a factor of a thousand; `height` is a multiple of ten."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack("!I", len(data)) + name + data + struct.pack("!I", zlib.crc32(name + data))

    # Ten rows are packed once; after a full flush their bytes can be repeated.
    rows = (b"\0" + b"\x80" * (width * channels)) * 10
    packer = zlib.compressobj(6, wbits=-zlib.MAX_WBITS)
    packed = (packer.compress(rows) + packer.flush(zlib.Z_FULL_FLUSH)) * (height // 10)
    checksum = 1
    for _ in range(height // 10):
        checksum = zlib.adler32(rows, checksum)
    data = b"\x78\x9c" + packed + zlib.compressobj(wbits=-zlib.MAX_WBITS).flush() + struct.pack("!I", checksum)
    header = struct.pack("!IIBBBBB", width, height, 8, {1: 0, 3: 2}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
