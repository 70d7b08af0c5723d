"""What is copied beside the painted video: audio packets as they are, chapters, metadata, languages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from vidstyle.errors import OutputError
from vidstyle.media import main_video, open_media
from vidstyle.options import Trim

# The muxer writes these itself, or they would tell untruths of the new file.
_OWN_METADATA = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration", "creation_time"}
_OWN_PREFIXES = ("_statistics", "bps", "number_of_", "duration")


class Companion:
    """The input, opened a second time, for all that is not the main video.

    Its packets are read just as far as the video has come, so that nothing piles up in memory however long the film is.
    """

    def __init__(self, spec: str, trim: Trim, shift_seconds: Fraction, audio: bool, allow_network: bool) -> None:
        self._container = open_media(spec, allow_network)
        self._spec, self._trim, self._shift = spec, trim, shift_seconds
        self._start = Fraction(self._container.start_time or 0, av.time_base)
        self._audio = self._container.streams.audio if audio else ()
        self._outputs: dict[int, Stream] = {}
        self._packets: Iterator[Packet[Stream]] = iter(())
        self._pending: Packet[Stream] | None = None
        self.copied_packets: Counter[int] = Counter()

    def attach(self, output: OutputContainer, path: Path) -> None:
        """Add this input's audio streams, chapters and metadata to `output`, before its first packet."""
        output.metadata.update(_kept(self._container.metadata))
        for stream in self._audio:
            codec = stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"
            try:
                copy = output.add_stream_from_template(stream)
            except (av.error.FFmpegError, ValueError) as error:
                other = "" if output.format.name == "matroska" else "try an output that ends in .mkv (-o), or "
                raise OutputError(
                    f"a {path.suffix} file cannot hold the input's {codec} audio; {other}leave it out with --no-audio"
                ) from error
            copy.metadata.update(_kept(stream.metadata))
            copy.disposition = stream.disposition
            self._outputs[stream.index] = copy
        self._copy_chapters(output)
        if self._audio:
            if self._trim.start:
                self._container.seek(int((self._start + Fraction(self._trim.start)) * av.time_base))
            self._packets = iter(self._container.demux(*self._audio))

    def _copy_chapters(self, output: OutputContainer) -> None:
        if self._trim != Trim():  # their times would be wrong
            return
        chapters = self._container.chapters()
        if chapters:
            output.set_chapters(chapters)

    def left_out(self) -> list[str]:
        """One sentence on the streams that are not carried over, if there are any."""
        video = main_video(self._container)
        kinds = Counter(s.type for s in self._container.streams if s.index not in self._outputs and s is not video)
        kinds.pop("audio", None)
        names = [f"{n} {kind} stream{'s' if n > 1 else ''}" for kind, n in sorted(kinds.items())]
        return [f"not carried over: {', '.join(names)}"] if names else []

    def until(self, seconds: float) -> Iterator[Packet[Stream]]:
        """The packets, ready to be muxed, that begin before `seconds` of the output's clock."""
        while (packet := self._next()) is not None:
            if float(packet.dts * packet.time_base) > seconds:  # type: ignore[operator]  # _next gives timed packets only
                self._pending = packet
                return
            self.copied_packets[packet.stream.index] += 1
            yield packet

    def _next(self) -> Packet[Stream] | None:
        if self._pending is not None:
            packet, self._pending = self._pending, None
            return packet
        begin = self._start + Fraction(self._trim.start)
        end = None if self._trim.end is None else self._start + Fraction(self._trim.end)
        try:
            for packet in self._packets:
                if packet.size == 0 or packet.dts is None or packet.pts is None:
                    continue
                seconds = packet.pts * packet.time_base
                if (self._trim.start and seconds < begin) or (end is not None and seconds >= end):
                    continue
                ticks = round(self._shift / packet.time_base)
                packet.pts -= ticks
                packet.dts -= ticks
                packet.stream = self._outputs[packet.stream.index]
                return packet
        except (av.error.FFmpegError, OSError, ValueError, IndexError):
            pass  # a cut-off file: the source tells of the damage
        return None

    def close(self) -> None:
        self._container.close()


def _kept(metadata: dict[str, str]) -> dict[str, str]:
    return {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _OWN_METADATA and not key.lower().startswith(_OWN_PREFIXES)
    }
