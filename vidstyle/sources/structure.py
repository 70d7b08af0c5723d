"""Whether a file is as long as its own structure says: an incomplete copy often plays without any error."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from av.container import InputContainer

TRUNCATED_SECONDS = 0.5
"""A stream that ends this much before its header's duration is reported as cut off."""

_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
_TS_PACKETS = (188, 192, 204)
_PAGE = b"OggS"
_BOXES = set(b"ftyp moov mdat free skip wide uuid moof mfra meta sidx styp ssix pnot udta emsg prft pdin PICT".split())


def missing_bytes(path: Path | BinaryIO) -> int:
    """How many bytes a file lacks at least, judged by its own structure; 0 where that does not say.

    It reads the boxes of MP4 and MOV (ISO/IEC 14496-12, 4.2), the segment of Matroska and WebM (RFC 9559), the chunks of RIFF
    (AVI), the packets of transport streams, the last tag of FLV, the last page of Ogg (RFC 3533, 6) and the trailer of GIF.
    """
    with path.open("rb") if isinstance(path, Path) else path as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(16)
        if head[4:8] in _BOXES:
            return _boxes_end(file, size) - size
        if int.from_bytes(head[:4], "big") == _EBML:
            return max(0, _segment_end(file) - size)
        if head[:4] == b"RIFF":
            return max(0, _riff_end(file, size) - size)
        if head[:6] in (b"GIF87a", b"GIF89a"):
            return int(not _gif_ends(file))
        if head[:4] == _PAGE:
            return _ogg_missing(_tail(file, size, 1 << 16))
        if head[:3] == b"FLV":
            return _flv_missing(file, size)
        if head[:1] == b"\x47" or head[4:5] == b"\x47":
            return _transport_missing(file, size)
    return 0


def has_broken_index(container: InputContainer) -> bool:
    """Whether the index of an MP4 or MOV lists a sample beyond the end of the file in any stream, or ends long before its audio.

    FFmpeg's demuxer reports such a sample like the end of the file, and ignores the rest of an index that it cannot read.
    """
    if not container.format.name.startswith("mov"):
        return False
    size = container.size
    for stream in container.streams:
        last = 0
        for entry in stream.index_entries:
            if entry.pos + entry.size > size:
                return True
            last = max(last, entry.timestamp)
        if stream.type == "audio" and stream.duration and stream.time_base and len(stream.index_entries) < stream.frames:
            missing = (stream.start_time or 0) + stream.duration - last
            if missing * stream.time_base > max(TRUNCATED_SECONDS, float(stream.duration * stream.time_base) / 50):
                return True
    return False


def _boxes_end(file: BinaryIO, size: int) -> int:
    """Where the last box that begins in the file ends; `size` if that is within the file."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1 and len(header) == 16:
            length = int.from_bytes(header[8:], "big")
        # A length of 0 means up to the end of the file; data that is no box follows the last one, as some cameras write it.
        if length < 8 or header[4:8] not in _BOXES:
            return size
        position += length
    return max(position, size)


def _segment_end(file: BinaryIO) -> int:
    """Where the segment ends; 0 if its size is unknown, as in live recordings."""
    position = 0
    while True:
        file.seek(position)
        identity, id_length = _vint(file, keep_marker=True)
        length, length_length = _vint(file, keep_marker=False)
        if identity is None or length is None:
            return 0
        unknown = length == (1 << 7 * length_length) - 1
        position += id_length + length_length + (0 if unknown else length)
        if identity == _SEGMENT:
            return 0 if unknown else position


def _vint(file: BinaryIO, keep_marker: bool) -> tuple[int | None, int]:
    first = file.read(1)
    if not first or not first[0]:
        return None, 0
    length = 9 - first[0].bit_length()
    rest = file.read(length - 1)
    if len(rest) < length - 1:
        return None, 0
    value = int.from_bytes(first + rest, "big")
    return (value if keep_marker else value & ((1 << 7 * length) - 1)), length


def _riff_end(file: BinaryIO, size: int) -> int:
    """Where the last RIFF chunk ends (OpenDML files have several)."""
    position = length = 0
    while position + 8 <= size:
        file.seek(position)
        header = file.read(8)
        length = int.from_bytes(header[4:], "little")
        if header[:4] != b"RIFF" or not length:  # 0: written to a pipe
            break
        position += 8 + length + length % 2
    return size if position - size == 1 and length % 2 else position  # the last padding byte is often missing


def _transport_missing(file: BinaryIO, size: int) -> int:
    """The bytes that the last packet lacks."""
    for length in _TS_PACKETS:
        offset = 4 if length == 192 else 0
        file.seek(0)
        data = file.read(5 * length)
        if len(data) == 5 * length and all(data[i * length + offset] == 0x47 for i in range(5)):
            return -size % length
    return 0


def _flv_missing(file: BinaryIO, size: int) -> int:
    """1 unless the file ends with the size of its last tag, and that tag is there (FLV specification 10.1, E.3)."""
    ends = int.from_bytes(_tail(file, size, 4), "big")
    if not 11 <= ends <= size - 17:
        return 1
    file.seek(size - 4 - ends)
    return int(int.from_bytes(file.read(4)[1:], "big") + 11 != ends)


def _gif_ends(file: BinaryIO) -> bool:
    """Whether the blocks (GIF89a, 12 to 27) are complete up to the trailer; True for unknown blocks."""
    file.seek(10)
    position = 13 + _color_table(file.read(1))
    while True:
        file.seek(position)
        kind = file.read(1)
        if kind == b",":
            head = file.read(9)
            position += 11 + _color_table(head[8:])
        elif kind == b"!":
            position += 2
        else:
            return kind != b""
        file.seek(position)
        while length := file.read(1):
            position += 1 + length[0]
            if not length[0]:
                break
            file.seek(position)
        else:
            return False


def _color_table(packed: bytes) -> int:
    return 3 << (packed[0] & 7) + 1 if packed and packed[0] & 0x80 else 0


def _ogg_missing(tail: bytes) -> int:
    """1 unless the last page is complete."""
    start = tail.rfind(_PAGE)
    if start < 0 or len(tail) < start + 27:
        return 1
    segments = tail[start + 26]
    end = start + 27 + segments + sum(tail[start + 27 : start + 27 + segments])
    return int(end > len(tail))


def _tail(file: BinaryIO, size: int, count: int) -> bytes:
    file.seek(max(0, size - count), os.SEEK_SET)
    return file.read(count)
