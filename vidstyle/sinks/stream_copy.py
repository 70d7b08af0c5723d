"""Copies everything but the stylized video: the packets of all other streams, chapters, metadata and attachments."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from vidstyle.core.options import Trim
from vidstyle.media.av_errors import DAMAGED_PACKET_ERRORS
from vidstyle.media.container import open_media
from vidstyle.media.stream_clock import StreamClock, may_jump, read_packets
from vidstyle.sinks.streams import StreamPlan, add_copy, codec_of, left_out, plan_streams
from vidstyle.sinks.tracks import CopiedTrack, Section, Track, TranscodedTrack, add_transcoded_audio

STAMP_TAG = "VIDSTYLE"
"""The tag that describes what a file was made from, in containers that allow any tag; see `vidstyle.conversion.provenance`."""

# The muxer writes these itself, or they would be wrong for the new file.
_NOT_COPIED = {
    "encoder", "encoding_tool", STAMP_TAG.lower(), "major_brand", "minor_version", "compatible_brands", "duration", "alpha_mode",
}  # fmt: skip
_NOT_COPIED_PREFIXES = ("_statistics", "bps", "number_of_", "duration")

_MATROSKA = ("matroska", "webm")


class StreamCopier:
    """The input, opened a second time to copy everything but its main video.

    Its packets are only read as far as the video has been written, so that memory use does not grow with the video.
    `check_input` raises if the input is not the file any more that the video came from; it is called before the first packet is
    written, and after the last.
    """

    def __init__(
        self,
        input: str,
        trim: Trim = Trim(),
        shift_seconds: Fraction = Fraction(0),
        audio: bool = True,
        subtitles: bool = True,
        allow_network: bool = False,
        check_input: Callable[[], None] = lambda: None,
    ) -> None:
        self._container = open_media(input, allow_network)
        self._input, self._allow_network, self._trim, self._check_input = input, allow_network, trim, check_input
        self._audio, self._subtitles = audio, subtitles
        start = Fraction(self._container.start_time or 0, av.time_base)
        self._section = Section(
            start + Fraction(trim.start) if trim.start else None,
            None if trim.end is None else start + Fraction(trim.end),
            shift_seconds,
        )
        self._plans: list[StreamPlan] = []
        self._tracks: dict[int, Track] = {}
        self._outputs: dict[int, Stream] = {}
        self._packets: Iterator[Packet[Any]] = iter(())
        self._pending: list[Packet[Any]] = []
        self.written: Counter[int] = Counter()
        """The number of packets written, by the index of the output's stream."""
        self.refused = 0
        """The number of damaged packets, which the muxer rejected."""

    @property
    def metadata(self) -> dict[str, str]:
        """The input's metadata that also applies to the output."""
        return kept_metadata(self._container.metadata)

    @property
    def beginnings(self) -> list[Fraction]:
        """The time at which each stream begins in the output, in seconds, as precisely as it is known in advance."""
        ticks = [(s.start_time or 0, s.time_base) for s in self._container.streams if s.time_base]
        if self._section.begin is not None:  # a stream may then begin at any of its ticks
            return [time_base for _, time_base in ticks]
        return [start * time_base for start, time_base in ticks]

    @property
    def has_cover(self) -> bool:
        """Whether the input has cover art."""
        return any(s.disposition & Disposition.attached_pic for s in self._container.streams)

    def attach(self, output: OutputContainer, add_video: Callable[[], VideoStream]) -> VideoStream:
        """Add all streams to `output` in the input's order, the stylized one by `add_video`; also chapters and metadata.

        Returns the stylized stream. Call this before writing the first packet.
        """
        muxer = output.format.name
        self._plans = plan_streams(self._container, muxer, self._audio, self._subtitles)
        output.metadata.update(self.metadata)
        stylized: VideoStream | None = None
        for plan in self._plans:
            if plan.action == "stylize":
                stylized = add_video()
                stylized.metadata.update(kept_metadata(plan.stream.metadata))
                stylized.disposition = plan.stream.disposition
            else:
                self._add(plan, output)
        stylized = stylized or add_video()
        self._copy_chapters(output)
        self._check_input()
        self._packets = self._read()
        return stylized

    def _add(self, plan: StreamPlan, output: OutputContainer) -> None:
        stream = plan.stream
        if plan.action == "attach":
            name, mimetype, data = self._attachment(stream)
            attached = output.add_attachment(name, mimetype, data)
            attached.metadata.update(kept_metadata(stream.metadata) | {"filename": name, "mimetype": mimetype})
            return
        copy: Stream
        into_matroska, from_matroska = output.format.name in _MATROSKA, self._container.format.name.startswith("matroska")
        if plan.action == "copy":
            copy = add_copy(output, stream)
            self._tracks[stream.index] = CopiedTrack(
                copy,
                self._end_of(stream),
                # Matroska can store the pre-roll of Opus; audio that comes from Matroska has it already.
                never_before_zero=into_matroska and not from_matroska and codec_of(stream) != "opus",
                strictly_rising=not into_matroska,
            )
        elif plan.action == "transcode":
            assert isinstance(stream, AudioStream)
            copy = add_transcoded_audio(output, stream)
            self._tracks[stream.index] = TranscodedTrack(stream, copy)
        else:
            return
        copy.metadata.update(kept_metadata(stream.metadata))
        copy.disposition = stream.disposition
        self._outputs[stream.index] = copy

    def _end_of(self, stream: Stream) -> int | None:
        if stream.type != "audio" or not stream.duration or not self._container.format.name.startswith("mov"):
            return None
        return (stream.start_time or 0) + stream.duration - round(self._section.shift / (stream.time_base or 1))

    def _attachment(self, stream: Stream) -> tuple[str, str, bytes]:
        """Name, MIME type and bytes of an attached file or of cover art, whose only packet is the image."""
        name, mimetype = stream.metadata.get("filename", ""), stream.metadata.get("mimetype", "")
        if stream.type == "attachment":
            return name or f"attachment{stream.index}", mimetype or "application/octet-stream", stream.data  # type: ignore[attr-defined]
        kind = {"mjpeg": "jpeg"}.get(stream.codec_context.name, stream.codec_context.name)
        with open_media(self._input, self._allow_network) as again:
            data = next((bytes(p) for p in again.demux(again.streams[stream.index]) if p.size), b"")
        return name or f"cover.{kind.replace('jpeg', 'jpg')}", mimetype or f"image/{kind}", data

    def _copy_chapters(self, output: OutputContainer) -> None:
        chapters = []
        start = Fraction(self._container.start_time or 0, av.time_base)
        for chapter in self._container.chapters():
            base = Fraction(chapter["time_base"] or 1)
            begin, end = chapter["start"] * base, chapter["end"] * base
            if self._trim.end is not None:
                end = min(end, start + Fraction(self._trim.end))
            if self._trim.start:
                begin = max(begin, start + Fraction(self._trim.start))
            if begin < end:
                moved = {"start": round((begin - self._section.shift) / base), "end": round((end - self._section.shift) / base)}
                chapters.append({**chapter, **moved})
        if chapters:
            output.set_chapters(chapters)  # type: ignore[arg-type]  # dicts as they came

    def warnings(self) -> list[str]:
        """The streams that were converted or left out, one sentence each."""
        return left_out(self._plans)

    def damage(self) -> list[str]:
        """What was left out because it is damaged, one sentence each."""
        return [f"{self.refused} damaged packets of other streams were left out"] if self.refused else []

    def _read(self) -> Iterator[Packet[Any]]:
        """All packets for the output's other streams, in the order of the input."""
        clock = StreamClock(self._container)
        if self._section.begin is not None and self._tracks and not may_jump(self._container):
            self._container.seek(int(self._section.begin * av.time_base))
        for packet, _ in read_packets(self._container, clock) if self._tracks else ():
            is_inside, track = self._section.contains(packet), self._tracks.get(packet.stream.index)
            if self._section.over or (self._section.done and self._section.done >= self._tracks.keys()):
                break
            if track is None or not is_inside:
                continue
            self._section.move(packet)
            yield from track.packets(packet)
        for track in self._tracks.values():
            yield from track.flush()

    def mux_until(self, output: OutputContainer, seconds: float = math.inf) -> None:
        """Write the packets up to `seconds` of the output's clock."""
        while True:
            packet = self._pending.pop() if self._pending else next(self._packets, None)
            if packet is None:
                if seconds == math.inf:
                    self._check_input()
                return
            ticks = packet.dts if packet.dts is not None else packet.pts
            if ticks is not None and float(ticks * packet.time_base) > seconds:
                self._pending.append(packet)
                return
            index = packet.stream.index
            try:
                output.mux_one(packet)
            except DAMAGED_PACKET_ERRORS:
                self.refused += 1
            else:
                self.written[index] += 1

    @property
    def subtitle_indices(self) -> set[int]:
        """The indices of the output's subtitle streams; muxers may add packets to them that mark the end of a text."""
        return {copy.index for copy in self._outputs.values() if copy.type == "subtitle"}

    def close(self) -> None:
        self._container.close()


def kept_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """The entries of an input's metadata that also apply to the output."""
    return {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _NOT_COPIED and not key.lower().startswith(_NOT_COPIED_PREFIXES)
    }
