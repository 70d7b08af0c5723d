"""Frames of a video file, decoded with PyAV: exact timestamps, damage counted and survived."""

from __future__ import annotations

import contextlib
import struct
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidstyle.core.errors import InputError, VidstyleError
from vidstyle.core.files import is_url
from vidstyle.core.frames import Frame, Pixels, VideoInfo
from vidstyle.core.options import Trim
from vidstyle.media.av_errors import DAMAGE_ERRORS
from vidstyle.media.color import is_hdr, tags_of
from vidstyle.media.container import main_video, open_media, reading, remote_file
from vidstyle.media.hdr import peak_nits
from vidstyle.media.stream_clock import StreamClock, may_jump, read_packets
from vidstyle.sources.decoding import DecodedFrame, StreamDecoder
from vidstyle.sources.deinterlace import Deinterlacer
from vidstyle.sources.structure import missing_bytes
from vidstyle.sources.to_rgb import FrameConverter, is_transparent

MAX_PIXELS = 16384 * 8640
"""Larger frames are refused before they are decoded: a small file may claim any size."""

REWIND_SECONDS = 0.1
"""Timestamps of a file and of its frames differ by less than this."""

TRUNCATED_SECONDS = 0.5
"""A file that ends this much before the time its header promises is taken as cut off."""

JOIN_PACKETS = 3
"""Shortly before a join packets count as incomplete, though nothing of either recording is missing."""

SEEK_BACK = (0.0, 2.0, 10.0, 60.0)
"""Where seeking lands behind the frame that is looked for, it is tried again so many seconds earlier, then from the start."""


@dataclass(frozen=True)
class FrameWindow:
    """The frames of a video from the one at `first` to before the one at `end`, in ticks of the source's own timestamps; None:
    from its beginning, to its end."""

    first: int | None = None
    end: int | None = None


class VideoSource:
    """The main video of a file or URL.

    `info` comes from the first frame, which is decoded when the source is opened. Timestamps are the file's own, but for
    joined transport streams (see `vidstyle.media.stream_clock`); where `trim.start` cuts something off they are moved by
    `shift_seconds`, so that the output begins at zero. `may_seek`: whether frames before `trim.start` may be jumped over in
    files without an index, whose times before that point then stay unknown. `window` takes a part of that, without moving
    timestamps; `info` then are the facts of the whole. `gpu`: the number of the GPU that decodes, where it can.
    """

    def __init__(
        self,
        input: str,
        trim: Trim = Trim(),
        allow_network: bool = False,
        may_seek: bool = False,
        window: FrameWindow = FrameWindow(),
        info: VideoInfo | None = None,
        gpu: str | None = None,
    ) -> None:
        self._input, self._trim, self._allow_network, self._gpu = input, trim, allow_network, gpu
        self._container = open_media(input, allow_network)
        try:
            self._may_seek = may_seek or not may_jump(self._container)
            self._missing_bytes = 0 if is_url(input) else missing_bytes(remote_file(input) or Path(input))
            self._stream = self._video_stream()
            self._time_base = self._stream.time_base or Fraction(1, 1000)
            self._start = (self._container.start_time or 0) / av.time_base
            ticks = int(trim.start / self._time_base)
            self._shift = ticks + round(self._start / self._time_base) if ticks else 0
            self.shift_seconds = self._shift * self._time_base
            self._window = FrameWindow(*(None if x is None else x + self._shift for x in (window.first, window.end)))
            self._decoding = StreamDecoder(self._stream, MAX_PIXELS, self._gpu)
            self._timeline = StreamClock(self._container)
            self._deinterlacer = Deinterlacer()
            self._dropped = self._bumped = self._untimed = self._mistimed = 0
            self._end_seconds = 0.0
            self._corrupt_packets = 0
            self._reached_end = False
            self._decoded = self._deinterlacer.frames(self._wanted())
            with reading(input):
                self._first = next(self._decoded, None)
            if self._first is None:
                raise InputError(f"expected a video, found no frame that can be decoded{self._where()}: {input}")
            self.info = info or self._describe(self._first.frame)
            self._images = FrameConverter(self.info.width, self.info.height, self.info.alpha)
        except BaseException:
            self.close()
            raise

    def on_gpu(self, gpu: str) -> VideoSource:
        """The same video decoded on a GPU, where that gives the very same first image; else this one. The other one
        is closed. The facts are those of this one, since the container tells the GPU's decoder less."""
        try:
            other = VideoSource(self._input, self._trim, self._allow_network, info=self.info, gpu=gpu)
        except VidstyleError:
            return self
        if other._decoding.is_on_gpu and np.array_equal(other._first_image(), self._first_image()):
            self.close()
            return other
        other.close()
        return self

    def _first_image(self) -> Pixels:
        assert self._first is not None
        return FrameConverter(self.info.width, self.info.height, self.info.alpha).image(self._first.frame)[0]

    def _video_stream(self) -> VideoStream:
        stream = main_video(self._container)
        if stream is None:
            found = sorted({_kind(s) for s in self._container.streams})
            raise InputError(f"expected a video stream, got only {' and '.join(found) or 'an empty file'}: {self._input}")
        if stream.width * stream.height > MAX_PIXELS:
            raise InputError(f"expected frames of at most {MAX_PIXELS} pixels, got {stream.width}x{stream.height}: {self._input}")
        return stream

    def _where(self) -> str:
        return f" from {self._trim.start:g} s on" if self._trim.start else ""

    def _describe(self, frame: VideoFrame) -> VideoInfo:
        stream = self._stream
        rate = stream.average_rate or stream.guessed_rate
        if self._first is not None and self._first.pts is None and frame.duration:  # then the container knows no rate either
            rate = 1 / (frame.duration * self._time_base)
        total = self._own_seconds()
        begin = self._trim.start
        end = min(x for x in (self._trim.end, total, float("inf")) if x is not None)
        duration = max(0.0, end - begin) if end < float("inf") else None
        count = round(duration * rate) if duration is not None and rate else None
        if stream.frames and self._trim == Trim():
            count = stream.frames
        color = None if frame.format.is_rgb or frame.format.name == "pal8" else tags_of(frame, stream.codec_context)
        return VideoInfo(
            width=frame.width,
            height=frame.height,
            time_base=self._time_base,
            frame_rate=rate or None,
            frame_count_estimate=count,
            duration_seconds=duration,
            sample_aspect_ratio=stream.sample_aspect_ratio or None,
            display_matrix=_display_matrix(frame),
            color=color,
            peak_nits=peak_nits(frame) if color is not None and is_hdr(color) else None,
            alpha=frame.format.name.startswith("yuva") or is_transparent(frame),
            start_time=Fraction(self._start) - self.shift_seconds,
        )

    def _own_seconds(self) -> float | None:
        """How long the video is, from the beginning of the file, by its header; None where it tells nothing."""
        stream = self._stream
        if stream.duration:
            begins = (stream.start_time or 0) * self._time_base - Fraction(self._start) if stream.start_time else Fraction(0)
            return float(stream.duration * self._time_base + begins)
        if self._container.format.name.startswith("matroska"):  # both tell when it ends, not how long it is
            ends = _matroska_seconds(stream) or _seconds(self._container)
            return None if ends is None else max(0.0, ends - self._start)
        return _seconds(self._container)

    def keyframes(self) -> tuple[list[int], int]:
        """When its first frame is shown and the keyframes behind it are, and the last frame, by its packets alone; none of them
        where the format does not let them be found again. To be called before `frames`."""
        assert self._first is not None
        if may_jump(self._container) or self._first.pts is None:
            return [], 0
        by_decoding_time = self._container.format.name == "avi"
        end = None if self._trim.end is None else self._start + self._trim.end
        found, last = {self._first.pts}, self._first.pts
        with open_media(self._input, self._allow_network) as again, reading(self._input):
            for packet in again.demux(again.streams[self._stream.index]):
                pts = packet.dts if by_decoding_time else packet.pts
                if pts is None or not packet.size or packet.is_discard or pts <= self._first.pts:
                    continue
                if end is not None and pts * self._time_base >= end:
                    if packet.is_keyframe:
                        break
                    continue
                last = max(last, pts)
                if packet.is_keyframe:
                    found.add(pts)
        return sorted(pts - self._shift for pts in found), last - self._shift

    def frames(self) -> Iterator[Frame]:
        decoded, last = self._first, None
        self._first = None
        while decoded is not None:
            with reading(self._input):
                coming = next(self._decoded, None)
            pts = self._timestamp(decoded, coming, last)
            if pts is not None:
                pixels, alpha = self._images.image(decoded.frame)
                yield Frame(pixels, pts - self._shift, self._time_base, decoded.duration, alpha)
                last = pts
            decoded = coming

    def following(self, first: Frame, seconds: float) -> Generator[Pixels, None, None]:
        """From a second opening of the file; `first` alone where that does not find it again."""
        begin = max(0.0, float(first.pts * first.time_base + self.shift_seconds) - self._start - REWIND_SECONDS)
        end = begin + REWIND_SECONDS + seconds
        trim = Trim(begin, end if self._trim.end is None else min(end, self._trim.end))
        found = False
        if not self._timeline.joins:  # else the times are not the file's own, and seeking means those
            with contextlib.suppress(VidstyleError), closing(self._reopened(trim)) as again:
                for frame in again.frames():
                    found = found or np.array_equal(frame.pixels, first.pixels)
                    if found:
                        yield frame.pixels
        if not found:
            yield first.pixels

    def _reopened(self, trim: Trim) -> VideoSource:
        return VideoSource(self._input, trim, self._allow_network, True, gpu=self._gpu)

    def _timestamp(self, decoded: DecodedFrame, coming: DecodedFrame | None, last: int | None) -> int | None:
        """The frame's pts; made up where it has none, None (leave the frame out) where it comes well before the last."""
        rate = self._stream.average_rate or Fraction(25)
        step = max(1, decoded.duration or round(1 / rate / self._time_base))
        if decoded.pts is None:
            self._untimed += 1
            return 0 if last is None else last + step
        before = last if last is not None else -(2**62)
        if coming is not None and coming.pts is not None and before + 1 < coming.pts < decoded.pts - 2 * step:
            self._mistimed += 1  # alone: those before and behind it agree
            return min(before + step, coming.pts - 1) if last is not None else coming.pts - step
        if last is None or decoded.pts > last:
            return decoded.pts
        if last - decoded.pts <= 2 * step:  # two recordings overlap a little where they were joined
            self._bumped += 1
            return last + max(1, round(Fraction(1, 1000) / self._time_base))
        self._dropped += 1
        return None

    def _wanted(self) -> Iterator[DecodedFrame]:
        """Decoded frames between the trim points, within the window."""
        begin, end, window = self._start + self._trim.start, self._trim.end, self._window
        if window.first is not None:
            decoded = self._decode_from(max(begin, float(window.first * self._time_base)), window.first)
        else:
            decoded = self._decode_from(begin) if self._trim.start else self._decode()
        for item in decoded:
            if item.pts is None:
                yield item
                continue
            seconds = float(item.pts * self._time_base)
            self._end_seconds = max(self._end_seconds, seconds + float(item.duration * self._time_base))
            if seconds < begin - 1e-6 or (window.first is not None and item.pts < window.first):
                continue
            behind_window = window.end is not None and item.pts >= window.end
            if behind_window or (end is not None and seconds >= self._start + end - 1e-6):
                self._reached_end = True
                return
            yield item

    def _decode_from(self, begin: float, ticks: int | None = None) -> Iterator[DecodedFrame]:
        """Frames from one at or before `begin` (exactly: `ticks`) on: where seeking lands behind it, from further back."""
        for back in SEEK_BACK if self._may_seek else ():
            target = begin - back
            if target <= self._start:
                break
            try:
                if ticks is not None and not back:  # microseconds could fall short of the keyframe that begins there
                    self._container.seek(ticks, stream=self._stream)
                else:
                    self._container.seek(int(target * av.time_base))
            except DAMAGE_ERRORS:
                break
            self._timeline = StreamClock(self._container)
            self._decoding.sought()
            decoded = self._decode()
            first = next(decoded, None)
            if first is not None and (first.pts is None or first.pts * self._time_base <= begin + 1e-6):
                yield first
                yield from decoded
                return
        if self._may_seek:
            self._reopen()
        yield from self._decode()

    def _reopen(self) -> None:
        self._container.close()
        self._container = open_media(self._input, self._allow_network)
        self._stream = self._video_stream()
        self._decoding = StreamDecoder(self._stream, MAX_PIXELS, self._gpu)
        self._timeline = StreamClock(self._container)

    def _decode(self) -> Iterator[DecodedFrame]:
        """Frames from where the file stands."""
        self._corrupt_packets = 0
        suspects = deque([False] * JOIN_PACKETS, JOIN_PACKETS)
        for packet, joined in read_packets(self._container, self._timeline):
            if packet.stream.index != self._stream.index:
                continue
            if joined:
                suspects.extend([False] * JOIN_PACKETS)
            self._corrupt_packets += suspects[0]
            suspects.append(packet.is_corrupt and not joined)
            yield from self._decoding.frames(packet)  # type: ignore[arg-type]  # a packet of the video stream
        self._corrupt_packets += sum(suspects)
        yield from self._decoding.frames(None)

    @property
    def is_plain(self) -> bool:
        """Whether every frame so far came whole, as large as the first, with its own time, and independent of those before its
        keyframe: then any part of the video reads the same alone as within the whole."""
        decoding = self._decoding
        amiss = decoding.failed or decoding.corrupt or decoding.held or self._corrupt_packets
        amiss = amiss or self._untimed or self._bumped or self._mistimed or self._dropped
        amiss = amiss or self._images.resized or self._images.flattened  # which are counted over the whole
        return not (amiss or self._deinterlacer.used or self._timeline.joins)

    def warnings(self) -> list[str]:
        found = []
        if self.info.color is not None and is_hdr(self.info.color):
            found.append("the input is HDR; it was brought to standard range for painting")
        if self._deinterlacer.used:
            found.append("the input is interlaced; it was deinterlaced")
        if self._timeline.joins:
            found.append(f"the input's clock jumps {self._timeline.joins} times: it was joined from several recordings")
        if self._untimed:
            found.append(f"{self._untimed} frames had no timestamp and were given one")
        if self._bumped:
            found.append(f"{self._bumped} frames had the time of the one before and were moved behind it")
        if self._images.resized:
            size = f"{self.info.width}x{self.info.height}"
            found.append(f"{self._images.resized} frames had another size and were fitted into {size}")
        if self._images.flattened:
            found.append(f"{self._images.flattened} frames had transparent parts, which were put on black")
        return found

    def damage(self) -> list[str]:
        decoding = self._decoding
        found = []
        if decoding.held:
            found.append(f"{decoding.held} damaged frames were replaced by the one before")
        if decoding.corrupt:
            found.append(f"{decoding.corrupt} frames are damaged and were stylized as far as they could be mended")
        others = max(decoding.failed - decoding.held, self._corrupt_packets - decoding.held - decoding.corrupt)
        if others > 0:
            found.append(f"{others} damaged packets were left out or mended")
        if self._mistimed:
            found.append(f"{self._mistimed} frames had a wrong time and were put between their neighbours")
        if self._dropped:
            found.append(f"{self._dropped} frames came out of order and were left out")
        if not self._reached_end:
            found += self._cut_off()
        return found

    def _cut_off(self) -> list[str]:
        own = self._own_seconds()
        missing = self._start + own - self._end_seconds if own is not None else 0.0
        if own is not None and missing > max(TRUNCATED_SECONDS, 0.02 * own):
            return [f"the input seems cut off: {missing:.1f} s of {own:.1f} s are missing at the end"]
        if self._missing_bytes:
            return ["the input is cut off: the file is shorter than it says itself"]
        return []

    def close(self) -> None:
        self._container.close()


def _kind(stream: Stream) -> str:
    if stream.type != "video":
        return str(stream.type)
    return "cover art" if stream.disposition & Disposition.attached_pic else "a video of unknown size"


def _seconds(container: InputContainer) -> float | None:
    return container.duration / av.time_base if container.duration else None


def _matroska_seconds(stream: VideoStream) -> float | None:
    tag = stream.metadata.get("DURATION", "").split(":")
    with contextlib.suppress(ValueError):
        if len(tag) == 3:
            return int(tag[0]) * 3600 + int(tag[1]) * 60 + float(tag[2])
    return None


def _display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    data = frame.side_data.get("DISPLAYMATRIX")
    return struct.unpack("9i", bytes(cast(Any, data))) if data is not None else None
