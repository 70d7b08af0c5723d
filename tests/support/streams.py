"""Writes files with many streams, and reads all streams and metadata of a file."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import cv2
from av.stream import Disposition

from tests.support.helpers import moving_bar, time_of

if TYPE_CHECKING:
    from av.container.core import Chapter

SRT = "1\n00:00:00,100 --> 00:00:00,400\nHello\n\n2\n00:00:00,600 --> 00:00:00,900\n<i>World</i>\n\n"
FONT = ("font.ttf", "application/x-truetype-font", b"\0\1\0\0 not really a font")
COVER = ("cover.jpg", "image/jpeg", cv2.imencode(".jpg", moving_bar(0, 32, 32))[1].tobytes())
CHAPTERS: list[Any] = [
    {"id": n + 1, "start": 500 * n, "end": 500 * (n + 1), "time_base": Fraction(1, 1000), "metadata": {"title": title}}
    for n, title in enumerate(["One", "Two"])
]
NO_TEXT = b"\0\0"
"""The empty packets between subtitles in MP4; the muxer adds more of them with no duration."""
PLAIN = {"g": "6", "bf": "0"}
"""No frame is decoded before one with an earlier timestamp, so that Matroska stores all timestamps."""

Facts = dict[str, Any]
Part = tuple[Path, Mapping[int, tuple[int, dict[str, str]]]]
"""A file, and for its streams the disposition and metadata to set."""


def mux(
    path: Path,
    parts: Sequence[Part],
    *,
    metadata: dict[str, str] | None = None,
    chapters: Sequence[Any] = (),
    attachments: Sequence[tuple[str, str, bytes]] = (),
    texts: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """All streams of `parts`, whose packets stay as they are, in one file; `texts`: with the subtitles that MP4 has."""
    with ExitStack() as stack:
        output = stack.enter_context(av.open(str(path), "w", container_options=options or {}))
        output.metadata.update(metadata or {})
        packets = []
        for source, streams in parts:
            container = stack.enter_context(av.open(str(source)))
            copies = {s.index: output.add_stream_from_template(s) for s in container.streams if s.type != "attachment"}
            for index, copy in copies.items():
                disposition, tags = streams.get(index, (container.streams[index].disposition, {}))
                copy.disposition = Disposition(disposition)
                copy.metadata.update({**container.streams[index].metadata, **tags})
            for packet in container.demux(*(container.streams[index] for index in copies)):
                if packet.size:
                    packet.stream = copies[packet.stream.index]
                    packet.pts = packet.pts or 0  # a cover's is not known
                    packet.dts = packet.pts
                    packets.append(packet)
        if texts:
            packets += _texts(output)
        for attachment in attachments:
            output.add_attachment(*attachment)
        if chapters:
            output.set_chapters(list(chapters))
        for packet in sorted(packets, key=lambda p: (p.dts or 0) * p.time_base):
            output.mux(packet)
    return path


def _texts(output: Any) -> list[Any]:
    stream = output.add_mux_stream("mov_text")
    stream.metadata["language"], stream.time_base = "deu", Fraction(1, 1000)
    packets = []
    for at, text in ((100, b"Hello"), (600, b"World")):
        packet = av.Packet(struct.pack(">H", len(text)) + text)
        packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration = stream, Fraction(1, 1000), at, at, 300
        packets.append(packet)
    return packets


def tags_of(metadata: dict[str, str]) -> dict[str, str]:
    """The metadata without tags of the muxer and of vidstyle."""
    own = ("VIDSTYLE", "DURATION", "ENCODER", "encoder", "major_brand", "minor_version", "compatible_brands", "vendor_id")
    return {key: value for key, value in metadata.items() if key not in own}


def streams_of(path: Path) -> list[Facts]:
    """All streams with their packets, except those of the main video."""
    with av.open(str(path)) as container:
        found = []
        for stream in container.streams:
            context = None if stream.type in ("data", "attachment") else stream.codec_context
            facts: Facts = {"type": stream.type, "codec": context.name if context is not None else stream.name}
            found.append(facts | {"tags": tags_of(stream.metadata), "disposition": int(stream.disposition), "packets": []})
            if stream.type == "attachment":
                attached: Any = stream
                found[-1]["packets"] = [attached.data]
        for packet in container.demux(*(s for s in container.streams if s.type != "attachment")):
            if packet.size and packet.stream.index and bytes(packet) != NO_TEXT:
                seconds = None if packet.pts is None else packet.pts * packet.time_base
                found[packet.stream.index]["packets"].append((bytes(packet), seconds))
    return found


def begin_and_end(chapter: Chapter) -> tuple[Fraction, Fraction]:
    """When a chapter begins and ends, in seconds."""
    time_base = chapter["time_base"]
    assert time_base is not None
    return chapter["start"] * time_base, chapter["end"] * time_base


def chapters_of(path: Path) -> list[tuple[Fraction, Fraction, str]]:
    with av.open(str(path)) as container:
        return [(*begin_and_end(c), c["metadata"]["title"]) for c in container.chapters()]


def metadata_of(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        return tags_of(container.metadata)


def texts_of(path: Path) -> list[tuple[bytes, Fraction, Fraction]]:
    """Text, time and duration of each packet of the first subtitles."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(container.streams.subtitles[0]) if p.size and bytes(p) != NO_TEXT]
        return [(bytes(p), time_of(p), (p.duration or 0) * p.time_base) for p in packets]
