"""Verifies an output by reading it back, before it is published."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from vidstyle.core.errors import OutputError
from vidstyle.core.files import reason
from vidstyle.media.av_errors import DAMAGE_ERRORS
from vidstyle.media.container import open_media

_TOLERANCE_SECONDS = 0.0101
"""Covers the rounding of timestamps to 1/100 s in GIF and 1/1000 s in Matroska."""


@dataclass(frozen=True)
class Expected:
    """What an output must contain."""

    PER_SECOND: ClassVar[int] = 1_000_000

    video: int
    """The rank (see `ranks`) of the stylized stream."""
    times: array[int]
    """The timestamps of its frames in microseconds, in any order."""
    packets: dict[int, int] = field(default_factory=dict)
    """The number of packets of each other stream, by rank."""
    loose: set[int] = field(default_factory=set)
    """Ranks of the streams to which the muxer may have added packets."""


def verify(path: Path, target: Path, expected: Expected) -> None:
    """Read `path`, which is to become `target`: every packet must be there, every frame must have its timestamp, and the first
    and last group of pictures must be decodable. Raises `OutputError`."""
    try:
        counts, times = _read(path, expected.video)
    except DAMAGE_ERRORS as error:
        raise OutputError(f"the output could not be read back, nothing was published: {target} ({reason(error)})") from error
    if len(times) != len(expected.times):
        raise OutputError(
            f"expected {len(expected.times)} frames in the output, read back {len(times)}; nothing was published: {target}"
        )
    pairs = zip(sorted(expected.times), sorted(times), strict=True)
    if any(abs(a - b) > _TOLERANCE_SECONDS * Expected.PER_SECOND for a, b in pairs):
        raise OutputError(f"the output's timestamps came back wrong, nothing was published: {target}")
    for index, count in expected.packets.items():
        if counts[index] < count or (counts[index] > count and index not in expected.loose):
            raise OutputError(
                f"expected {count} packets in stream {index} of the output, read back {counts[index]}; "
                f"nothing was published: {target}"
            )


def ranks(streams: Iterable[Stream]) -> dict[int, int]:
    """The rank of each stream by its index: 0, 1, ... for tracks, -1, -2, ... for cover art. Indices differ between writing and
    reading: MP4 puts cover art after all tracks, and in between the tracks that it adds for chapters and time codes."""
    known = list(streams)
    covers = [s for s in known if s.disposition & Disposition.attached_pic]
    tracks = [s for s in known if s not in covers]
    return {s.index: n for n, s in enumerate(tracks)} | {s.index: -1 - n for n, s in enumerate(covers)}


def _read(path: Path, index: int) -> tuple[Counter[int], array[int]]:
    """The number of packets of each stream by rank, and the video's timestamps in microseconds."""
    counts: Counter[int] = Counter()
    times = array("q")
    with open_media(str(path)) as container:
        rank = ranks(container.streams)
        index = next(i for i, r in rank.items() if r == index)
        video = container.streams[index]
        assert isinstance(video, VideoStream)
        video.thread_type = "AUTO"  # type: ignore[assignment]  # a name is accepted too
        group: list[Packet[Any]] = []
        first = True
        for packet in container.demux():
            if not packet.size:
                continue
            counts[rank[packet.stream.index]] += 1
            if packet.stream.index != index:
                continue
            if packet.is_keyframe and group:
                if first:
                    _decode(video, group)
                first, group = False, []
            group.append(packet)
            pts = packet.pts if packet.pts is not None else packet.dts or 0
            times.append(round(pts * packet.time_base * Expected.PER_SECOND))
        if group:
            _decode(video, group)
    return counts, times


def _decode(video: VideoStream, group: list[Packet[Any]]) -> None:
    """Decode a group of pictures; raises PyAV's errors or ValueError if it is damaged."""
    video.codec_context.flush_buffers()
    # One frame at a time: a group of large frames would take gigabytes.
    corrupt = [frame.is_corrupt for packet in [*group, None] for frame in video.decode(packet)]
    if not corrupt or any(corrupt):
        raise ValueError("its frames cannot be decoded")
