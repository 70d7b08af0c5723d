"""What must be equal in two outputs, whoever made them: read frame by frame, so that videos may be long."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2

_IMAGES = {".png", ".jpg", ".jpeg"}


@dataclass(frozen=True)
class OutputContent:
    """`frames`: the time of each and the hash of its decoded pixels. `others`: times and hashes of the packets of each copied
    stream. `tracks`: kind, language and disposition of all streams."""

    frames: list[tuple[Fraction, str]]
    others: list[list[tuple[Fraction | None, str]]]
    tracks: list[tuple[str, str | None, int]]


def content_of(path: Path) -> OutputContent:
    """The content of a video, or of an image, which is one frame."""
    if path.suffix.lower() in _IMAGES:
        image = cv2.imread(str(path))
        assert image is not None, f"{path} cannot be read"
        return OutputContent([(Fraction(0), hashlib.sha256(image.tobytes()).hexdigest())], [], [])
    with av.open(str(path)) as container:
        tracks: list[tuple[str, str | None, int]] = [
            (s.type, s.metadata.get("language"), int(s.disposition)) for s in container.streams
        ]
    return OutputContent(list(_frames(path)), _others(path), tracks)


def _frames(path: Path) -> Iterator[tuple[Fraction, str]]:
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            try:
                pixels = frame.to_ndarray()
            except (ValueError, AssertionError):  # a format, or an odd size, that cannot be converted as it is
                pixels = frame.to_ndarray(format="rgb24")
            assert frame.pts is not None
            assert frame.time_base is not None
            yield frame.pts * frame.time_base, hashlib.sha256(pixels.tobytes()).hexdigest()


def _others(path: Path) -> list[list[tuple[Fraction | None, str]]]:
    with av.open(str(path)) as container:
        video = container.streams.video[0].index
        packets: dict[int, list[tuple[Fraction | None, str]]] = {s.index: [] for s in container.streams if s.index != video}
        for packet in container.demux():
            if packet.size and packet.stream.index in packets:
                shown = None if packet.pts is None else packet.pts * packet.time_base
                packets[packet.stream.index].append((shown, hashlib.sha256(bytes(packet)).hexdigest()))
    return list(packets.values())


def frames_in(path: Path) -> int:
    """How many frames a video has, by its packets."""
    with av.open(str(path)) as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)


def file_hash(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differing(first: OutputContent, second: OutputContent) -> dict[str, int]:
    """How many frames, times of frames and copied packets differ."""
    frames = list(zip(first.frames, second.frames, strict=False))
    missing = abs(len(first.frames) - len(second.frames))
    packets = 0
    for one, other in zip(first.others, second.others, strict=False):
        packets += sum(a != b for a, b in zip(one, other, strict=False)) + abs(len(one) - len(other))
    return {
        "frames": sum(a[1] != b[1] for a, b in frames) + missing,
        "times": sum(a[0] != b[0] for a, b in frames) + missing,
        "packets": packets,
        "streams": int(first.tracks != second.tracks) + abs(len(first.others) - len(second.others)),
    }
