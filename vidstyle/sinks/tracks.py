"""The packets of one stream of the input as packets of the output: copied, or decoded and encoded again."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from vidstyle.media.av_errors import DAMAGE_ERRORS
from vidstyle.sinks.streams import audio_encoder

INTERLEAVED_SECONDS = 10
"""The streams of a file are at most this far apart, as FFmpeg's muxers ensure."""


class Track(Protocol):
    """Turns packets of one stream of the input into packets of the output."""

    def packets(self, packet: Packet[Any]) -> list[Packet[Any]]: ...

    def flush(self) -> list[Packet[Any]]: ...


@dataclass
class CopiedTrack:
    """Packets as they are, except that timestamps that are missing or go back, which muxers reject, are repaired."""

    output: Stream
    ends: int | None = None
    """Where the stream ends according to the container, in ticks: the last packet's own duration may be longer."""
    never_before_zero: bool = False
    strictly_rising: bool = True
    next_dts: int | None = None

    def packets(self, packet: Packet[Any]) -> list[Packet[Any]]:
        reordered = packet.stream.type == "video"
        if packet.pts is None:
            packet.pts = packet.dts if packet.dts is not None else self.next_dts or 0
        if packet.dts is None and not reordered:
            packet.dts = packet.pts
        if packet.dts is not None:
            if self.next_dts is not None and packet.dts < self.next_dts:
                packet.dts = self.next_dts
                packet.pts = max(packet.pts, packet.dts)
            self.next_dts = packet.dts + self.strictly_rising
        if self.never_before_zero and packet.pts < 0:
            # The decoder's pre-roll, which is not played. A muxer without negative timestamps would move everything else.
            if packet.pts + (packet.duration or 0) <= 0:
                return []
            packet.pts = packet.dts = 0
        if self.ends is not None and packet.duration and packet.pts < self.ends < packet.pts + packet.duration:
            packet.duration = self.ends - packet.pts
        packet.stream = self.output
        return [packet]

    def flush(self) -> list[Packet[Any]]:
        return []


class TranscodedTrack:
    """Audio that is decoded and encoded again, for a container that cannot hold it as it is."""

    def __init__(self, source: AudioStream, output: AudioStream) -> None:
        self._decoder, self._output = source.codec_context, output

    def packets(self, packet: Packet[Any] | None) -> list[Packet[Any]]:
        try:
            frames = self._decoder.decode(packet)
        except DAMAGE_ERRORS:  # a gap: the next frames have their own timestamps
            return []
        return [p for frame in frames for p in self._output.encode(frame)]

    def flush(self) -> list[Packet[Any]]:
        return [*self.packets(None), *self._output.encode(None)]


@dataclass
class Section:
    """The section of the input that is kept, in seconds of its clock, and how far its timestamps are moved back."""

    begin: Fraction | None
    end: Fraction | None
    shift: Fraction
    done: set[int] = field(default_factory=set)
    """Streams that have reached the end of the section."""
    over: bool = False
    """Whether all streams have, including those without further packets."""

    def contains(self, packet: Packet[Any]) -> bool:
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is None:
            return self.begin is None
        seconds = ticks * packet.time_base
        if self.end is not None and seconds >= self.end:
            self.done.add(packet.stream.index)
            self.over = self.over or seconds >= self.end + INTERLEAVED_SECONDS
            return False
        return self.begin is None or seconds >= self.begin

    def move(self, packet: Packet[Any]) -> None:
        ticks = round(self.shift / packet.time_base)
        if ticks:
            packet.pts = None if packet.pts is None else packet.pts - ticks
            packet.dts = None if packet.dts is None else packet.dts - ticks


def add_transcoded_audio(output: OutputContainer, source: AudioStream) -> AudioStream:
    encoder = audio_encoder(output.format.name)
    rate = 48000 if encoder == "libopus" else source.codec_context.sample_rate
    return output.add_stream(encoder, rate=rate, layout=source.codec_context.layout)  # type: ignore[return-value, arg-type]
