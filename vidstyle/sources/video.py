"""Frames of a video file, decoded with PyAV: exact timestamps, damage counted and survived."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Generator, Iterator
from contextlib import closing
from fractions import Fraction
from typing import Any, cast

import av.error
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vidstyle.color import is_hdr, swscale_matrix, tags_of
from vidstyle.errors import InputError, VidstyleError
from vidstyle.frames import Frame, Pixels, VideoInfo
from vidstyle.media import main_video, open_media, reading
from vidstyle.options import Trim

MAX_PIXELS = 16384 * 8640
"""Larger frames are refused before they are decoded: a small file may claim any size."""

REWIND_SECONDS = 0.1
"""Timestamps of a file and of its frames differ by less than this."""

TRUNCATED_SECONDS = 0.5
"""A file that ends this much before the time its header promises is taken as cut off."""


class VideoSource:
    """The main video of a file or URL.

    `info` comes from the first frame, which is decoded when the source is opened. Timestamps are the file's own; where
    `trim.start` cuts something off they are moved by `shift_seconds`, so that the output begins at zero.
    """

    def __init__(self, spec: str, trim: Trim = Trim(), allow_network: bool = False) -> None:
        self._spec, self._trim, self._allow_network = spec, trim, allow_network
        self._container = open_media(spec, allow_network)
        try:
            self._stream = self._video_stream()
            self._time_base = self._stream.time_base or Fraction(1, 1000)
            self._start = (self._container.start_time or 0) / av.time_base
            ticks = int(trim.start / self._time_base)
            self._shift = ticks + round(self._start / self._time_base) if ticks else 0
            self.shift_seconds = self._shift * self._time_base
            self._reformatter = VideoReformatter()
            self._damaged = self._untimed = self._resized = 0
            self._end_seconds = 0.0
            self._decoded = self._decode()
            with reading(spec):
                self._first = next(self._decoded, None)
            if self._first is None:
                raise InputError(f"expected a video, found no frame that can be decoded{self._where()}: {spec}")
            self.info = self._describe(self._first)
        except BaseException:
            self.close()
            raise

    def _video_stream(self) -> VideoStream:
        stream = main_video(self._container)
        if stream is None:
            found = sorted({"cover art" if s.type == "video" else str(s.type) for s in self._container.streams})
            raise InputError(f"expected a video stream, got only {' and '.join(found) or 'an empty file'}: {self._spec}")
        if stream.width * stream.height > MAX_PIXELS:
            raise InputError(f"expected frames of at most {MAX_PIXELS} pixels, got {stream.width}x{stream.height}: {self._spec}")
        stream.thread_type = "AUTO"  # type: ignore[assignment]  # frame threads: 4-5x on one file
        return stream

    def _where(self) -> str:
        return f" from {self._trim.start:g} s on" if self._trim.start else ""

    def _describe(self, frame: VideoFrame) -> VideoInfo:
        stream = self._stream
        rate = stream.average_rate or stream.guessed_rate
        total = self._own_seconds() or self._all_seconds()
        begin = self._trim.start
        end = min(x for x in (self._trim.end, total, float("inf")) if x is not None)
        duration = max(0.0, end - begin) if end < float("inf") else None
        count = round(duration * rate) if duration is not None and rate else None
        if stream.frames and self._trim == Trim():
            count = stream.frames
        return VideoInfo(
            width=frame.width,
            height=frame.height,
            time_base=self._time_base,
            frame_rate=rate or None,
            frame_count_estimate=count,
            duration_seconds=duration,
            sample_aspect_ratio=stream.sample_aspect_ratio or None,
            display_matrix=_display_matrix(frame),
            color=None if frame.format.is_rgb else tags_of(frame),
        )

    def _own_seconds(self) -> float | None:
        """How long the video is, by the file's header; None where only the length of all streams together is told."""
        if self._stream.duration:
            return float(self._stream.duration * self._time_base)
        tag = self._stream.metadata.get("DURATION", "").split(":")  # Matroska
        if len(tag) == 3:
            with contextlib.suppress(ValueError):
                return int(tag[0]) * 3600 + int(tag[1]) * 60 + float(tag[2])
        return self._all_seconds() if len(self._container.streams) == 1 else None

    def _all_seconds(self) -> float | None:
        return self._container.duration / av.time_base if self._container.duration else None

    def frames(self) -> Iterator[Frame]:
        frame, last = self._first, None
        self._first = None
        while frame is not None:
            pts = self._timestamp(frame, last)
            if pts is not None:
                yield Frame(self._pixels(frame), pts - self._shift, self._time_base, frame.duration or 0)
                last = pts
            with reading(self._spec):
                frame = next(self._decoded, None)

    def following(self, first: Frame, seconds: float) -> Generator[Pixels, None, None]:
        """From a second opening of the file; `first` alone where that does not find it again."""
        begin = max(0.0, float(first.pts * first.time_base + self.shift_seconds) - self._start - REWIND_SECONDS)
        end = begin + REWIND_SECONDS + seconds
        trim = Trim(begin, end if self._trim.end is None else min(end, self._trim.end))
        found = False
        with contextlib.suppress(VidstyleError), closing(VideoSource(self._spec, trim, self._allow_network)) as again:
            for frame in again.frames():
                found = found or np.array_equal(frame.pixels, first.pixels)
                if found:
                    yield frame.pixels
        if not found:
            yield first.pixels

    def _timestamp(self, frame: VideoFrame, last: int | None) -> int | None:
        """The frame's pts; made up where it has none, None (leave the frame out) where it does not come after the last."""
        if frame.pts is None:
            self._untimed += 1
            rate = self._stream.average_rate or Fraction(25)
            return 0 if last is None else last + max(1, round(1 / rate / self._time_base))
        if last is not None and frame.pts <= last:
            self._damaged += 1
            return None
        return frame.pts

    def _pixels(self, frame: VideoFrame) -> Pixels:
        color = tags_of(frame)
        self._resized += (frame.width, frame.height) != (self.info.width, self.info.height)
        rgb = self._reformatter.reformat(
            frame,
            self.info.width,
            self.info.height,
            "rgb24",
            src_colorspace=swscale_matrix(color),
            src_color_range=color.range,
            dst_color_range=2,
            threads=1,
        )
        return np.asarray(rgb.to_ndarray(), np.uint8)

    def _decode(self) -> Iterator[VideoFrame]:
        """Decoded frames between the trim points. Packets are decoded one by one: damage costs its frames, not the rest."""
        begin, end = self._start + self._trim.start, self._trim.end
        if self._trim.start:
            self._container.seek(int(begin * av.time_base))
        for packet in self._packets():
            for frame in self._decode_packet(packet):
                seconds = float(frame.pts * self._time_base) if frame.pts is not None else None
                if seconds is not None:
                    self._end_seconds = max(self._end_seconds, seconds + float((frame.duration or 0) * self._time_base))
                    if seconds < begin - 1e-6:
                        continue
                    if end is not None and seconds >= self._start + end - 1e-6:
                        return
                yield frame

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        try:
            yield from self._container.demux(self._stream)
        except (av.error.FFmpegError, OSError, ValueError, IndexError):
            self._damaged += 1  # nothing can be read past this point

    def _decode_packet(self, packet: Packet[VideoStream]) -> list[VideoFrame]:
        if packet.is_corrupt:
            self._damaged += 1
        try:
            return packet.decode()
        except (av.error.FFmpegError, OSError, ValueError, IndexError):
            self._damaged += 1
            return []

    def warnings(self) -> list[str]:
        found = []
        if self.info.color is not None and is_hdr(self.info.color):
            found.append("the input is HDR; it was read as standard range, colours will look flat")
        if self._untimed:
            found.append(f"{self._untimed} frames had no timestamp and were given one")
        if self._resized:
            found.append(f"{self._resized} frames changed size and were scaled to {self.info.width}x{self.info.height}")
        return found

    def damage(self) -> list[str]:
        found = []
        if self._damaged:
            found.append(f"{self._damaged} damaged packets or frames were left out")
        own = self._own_seconds()
        if own is not None and self._trim.end is None:
            missing = self._start + own - self._end_seconds
            if missing > max(TRUNCATED_SECONDS, 0.02 * own):
                found.append(f"the input seems cut off: {missing:.1f} s of {own:.1f} s are missing at the end")
        return found

    def close(self) -> None:
        self._container.close()


def _display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    data = frame.side_data.get("DISPLAYMATRIX")
    return struct.unpack("9i", bytes(cast(Any, data))) if data is not None else None
