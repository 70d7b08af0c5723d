"""Conversions that can be resumed or divided: the video is encoded in segments, which are joined at the end."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import av
from av.container import OutputContainer
from av.packet import Packet

from vidstyle.core.damage import Damage, at_least
from vidstyle.core.errors import UsageError
from vidstyle.core.files import replaced
from vidstyle.core.frames import Frame, VideoInfo
from vidstyle.core.options import ConvertOptions, EncodeOptions
from vidstyle.media.av_errors import AV_ERRORS
from vidstyle.media.container import open_media, writing
from vidstyle.sinks.encoder_table import VideoEncoder
from vidstyle.sinks.encoding import FrameEncoder, encoder_for
from vidstyle.sinks.publish import check_free
from vidstyle.sinks.segment_folder import SegmentFolder, State
from vidstyle.sinks.video import VideoFile, check_container

if TYPE_CHECKING:
    from vidstyle.sinks import OtherStreams, RunState

SEGMENT_SECONDS = 10
_FRAMES = (20, 600)
"""Minimum and maximum number of frames of a segment, whatever frame rate a file claims."""

_CONTAINERS = {"h264": "nut", "hevc": "nut"}
"""The container of a segment by codec, Matroska for all others. NUT stores these two as they were encoded (Annex B), which fits
the headers of the joined stream."""


class SegmentedFile:
    """An output whose segments are finished one by one, in any order, and kept beside it until `publish` joins them."""

    def __init__(
        self,
        path: Path,
        info: VideoInfo,
        options: ConvertOptions,
        fingerprint: Mapping[str, Any],
        others: OtherStreams,
        stamp: str | None = None,
    ) -> None:
        check_container(path)
        self.encoder = encoder_for(path, info, options.encode)
        if self.encoder.codec == "gif":
            raise UsageError("expected a video that can be joined from segments, GIF cannot")
        check_free(path, options.overwrite)
        self.path, self._info, self._options, self._others, self._stamp = path, info, options, others, stamp
        self.folder = SegmentFolder(path, fingerprint, stamp)
        self._output: VideoFile | None = None

    def add(self, number: int, segment: EncodedSegment, damage: Damage) -> None:
        """Keep a segment that was encoded by a worker, with the damage that was found in its frames."""
        with writing(self.path):
            path = self.segment_path(number)
            with replaced(path) as temporary:
                temporary.write_bytes(segment.data)
            self.keep(number, segment.packets, {}, damage)

    def segment_path(self, number: int) -> Path:
        """The file of a segment that is being made."""
        return self.folder.path / f"{number:06}.{segment_suffix(self.encoder)}"

    def keep(self, number: int, packets: list[tuple[int, int]], state: State, damage: Damage) -> None:
        """Keep a segment whose file is finished, unless the input is not the file any more that its frames should come from."""
        self._others.check_files()
        self.folder.add(number, self.segment_path(number), packets, state, damage)

    def publish(self, count: int) -> None:
        """Join the first `count` segments into the output and publish it."""
        stream_copier, options = self._others.open(), self._options
        try:
            self._output = VideoFile(self.path, self._info, options.encode, stream_copier, options.overwrite, self._stamp)
        except BaseException:
            stream_copier.close()
            raise
        for packet in self._joined([self.folder.segments[number] for number in range(count)]):
            self._output.mux([packet])
        self._output.publish()
        self.folder.remove()

    def _joined(self, segments: list[dict[str, Any]]) -> Iterator[Packet[Any]]:
        """The packets of all segments with their exact timestamps, and decoding times that rise over all of them."""
        assert self._output is not None
        base = self._output.encoder.time_base
        times = [pts for segment in segments for pts, _ in segment["packets"]]
        decoding_times = iter(_decoding_times(times, max(1, round(1 / (self._info.frame_rate or 25) / base))))
        for segment in segments:
            with open_media(str(self.folder.segment_path(segment))) as container:
                packets = (packet for packet in container.demux(video=0) if packet.size)
                for packet, (pts, duration) in zip(packets, segment["packets"], strict=True):
                    packet.time_base = base
                    packet.pts, packet.dts, packet.duration = pts, next(decoding_times), duration
                    yield packet

    def warnings(self) -> list[str]:
        """What the output lacks of the input; known after `publish`."""
        return self._output.warnings() if self._output is not None else []

    def damage(self) -> list[str]:
        """What was lost of the input's other streams because they are damaged; known after `publish`."""
        return self._output.damage() if self._output is not None else []

    def close(self) -> None:
        """Release everything; the finished segments stay."""
        if self._output is not None:
            self._output.close()
        self.folder.close()


class ResumableSink:
    """Encodes frames into segments of about ten seconds each; `publish` joins them. See `vidstyle.core.protocols.Sink`.

    The first `done` frames are there already from an interrupted run, and `state` is that of the post-processor after them;
    `write` takes the frames that follow. `earlier_damage` is what that run found by then, also in frames further on.
    """

    def __init__(self, file: SegmentedFile, info: VideoInfo, encode: EncodeOptions, run: RunState) -> None:
        self._file, self._info, self._encode, self._run = file, info, encode, run
        low, high = _FRAMES
        self._length = min(max(round(SEGMENT_SECONDS * (info.frame_rate or 25)), low), high)
        self._segment: SegmentWriter | None = None
        self._segment_path = Path()
        self._warnings: list[str] = []
        self.state: State = {}
        self._resume()

    def _resume(self) -> None:
        folder = self._file.folder
        self._number = next(number for number in range(len(folder.segments) + 1) if number not in folder.segments)
        if self._run.get_state is not None and self._number:
            state = folder.state(self._number - 1)
            self._number = self._number if state is not None else 0
            self.state = state or {}
        with writing(self._file.path):
            folder.keep_first(self._number)
        self.done = sum(len(segment["packets"]) for segment in folder.segments.values())
        self.earlier_damage: Damage = reduce(at_least, folder.damage(), {})

    def write(self, frame: Frame) -> None:
        with writing(self._file.path):
            if self._segment is None:
                self._segment_path, encoder = self._file.segment_path(self._number), self._file.encoder
                self._segment = SegmentWriter(self._segment_path, segment_suffix(encoder), encoder, self._info, self._encode)
            self._segment.write(frame)
            if self._segment.frames == self._length:
                self._finish()

    def _finish(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            packets = segment.finish()
            self._warnings = segment.encoder.warnings()
            state = self._run.get_state() if self._run.get_state is not None else {}
            self._file.keep(self._number, packets, state, self._run.get_damage())
            self._number += 1

    def warnings(self) -> list[str]:
        return self._file.warnings() or self._warnings

    def damage(self) -> list[str]:
        return self._file.damage()

    def publish(self) -> None:
        with writing(self._file.path):
            self._finish()
        self._file.publish(self._number)

    def close(self) -> None:
        if self._segment is not None:
            self._segment.discard()
            self._segment_path.unlink(missing_ok=True)
        self._file.close()


@dataclass(frozen=True)
class EncodedSegment:
    """A finished segment from a worker: the bytes of its file, and the timestamp and duration of each of its packets."""

    data: bytes
    packets: list[tuple[int, int]]


class SegmentSink:
    """Encodes frames into one segment in memory, which `encoded` returns; the first `skip` frames are left out. See
    `vidstyle.core.protocols.Sink`; `publish` does nothing, because a `SegmentedFile` takes the segment."""

    def __init__(self, output: Path, encoder: VideoEncoder, info: VideoInfo, encode: EncodeOptions, skip: int = 0) -> None:
        self._output, self._skip, self._data = output, skip, io.BytesIO()
        self._writer = SegmentWriter(self._data, segment_suffix(encoder), encoder, info, encode)

    def write(self, frame: Frame) -> None:
        if self._skip:
            self._skip -= 1
            return
        with writing(self._output):
            self._writer.write(frame)

    def warnings(self) -> list[str]:
        return self._writer.encoder.warnings()

    def damage(self) -> list[str]:
        return []

    def publish(self) -> None:
        pass

    def encoded(self) -> EncodedSegment:
        """The whole segment; nothing can be written afterwards."""
        with writing(self._output):
            packets = self._writer.finish()
            return EncodedSegment(self._data.getvalue(), packets)

    def close(self) -> None:
        self._writer.discard()


def segment_suffix(encoder: VideoEncoder) -> str:
    """The suffix of a segment's file, without the dot."""
    return _CONTAINERS.get(encoder.codec, "mkv")


class SegmentWriter:
    """Encodes frames into a file, and keeps their exact timestamps, which its container would round."""

    def __init__(self, file: Path | BinaryIO, suffix: str, encoder: VideoEncoder, info: VideoInfo, encode: EncodeOptions) -> None:
        self.frames = 0
        self._packets: list[tuple[int, int]] = []
        name: Any = str(file) if isinstance(file, Path) else file
        self._container: OutputContainer | None = av.open(name, "w", format={"mkv": "matroska", "nut": "nut"}[suffix])
        self.encoder = FrameEncoder(self._container, encoder, info, encode)

    def write(self, frame: Frame) -> None:
        self._mux(self.encoder.encode(frame))
        self.frames += 1

    def _mux(self, packets: list[Packet[Any]]) -> None:
        assert self._container is not None
        for packet in packets:
            self._packets.append((int(packet.pts or 0), int(packet.duration or 0)))
            self._container.mux_one(packet)

    def finish(self) -> list[tuple[int, int]]:
        """Close the file; returns the timestamp and duration of each packet."""
        self._mux(self.encoder.flush())
        container, self._container = self._container, None
        assert container is not None
        container.close()
        return self._packets

    def discard(self) -> None:
        if self._container is not None:
            container, self._container = self._container, None
            with contextlib.suppress(*AV_ERRORS):
                container.close()


def _decoding_times(times: list[int], step: int) -> list[int]:
    """Rising decoding times, none later than the timestamp, for frames with the timestamps `times`, in decoding order."""
    shown = sorted(times)
    rank = {pts: i for i, pts in enumerate(shown)}
    delay = max((i - rank[pts] for i, pts in enumerate(times)), default=0)
    return [shown[i - delay] if i >= delay else shown[0] - (delay - i) * step for i in range(len(times))]
