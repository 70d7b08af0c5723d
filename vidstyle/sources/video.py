"""Frames of a video file, decoded with PyAV: with exact timestamps, and in spite of damage, which is counted."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from vidstyle.core.damage import Damage, at_least, descriptions
from vidstyle.core.errors import InputChangedError, InputError, VidstyleError
from vidstyle.core.file_identity import check_unchanged
from vidstyle.core.files import is_url
from vidstyle.core.frames import Frame, Pixels, VideoInfo
from vidstyle.core.options import Trim
from vidstyle.media.av_errors import DAMAGE_ERRORS
from vidstyle.media.color import is_hdr
from vidstyle.media.container import local_files, main_video, open_media, reading, remote_file
from vidstyle.media.stream_clock import StreamClock, may_jump, read_packets
from vidstyle.sources.decoding import DecodedFrame, StreamDecoder
from vidstyle.sources.deinterlace import Deinterlacer
from vidstyle.sources.structure import TRUNCATED_SECONDS, has_broken_index, missing_bytes
from vidstyle.sources.timestamps import TimestampRepair
from vidstyle.sources.to_rgb import FrameConverter
from vidstyle.sources.video_info import describe_video, duration_from_header, start_seconds, time_base_of

MAX_PIXELS = 16384 * 8640
"""Larger frames are rejected before they are decoded: a small file may claim any size."""

REWIND_SECONDS = 0.1
"""Timestamps of a file and of its frames differ by less than this."""

JOIN_PACKETS = 3
"""This many packets before a join are marked as incomplete, though nothing of either recording is missing."""

SEEK_BACK = (0.0, 2.0, 10.0, 60.0)
"""If seeking lands after the wanted frame, it is retried this many seconds earlier, then from the start of the file."""


@dataclass(frozen=True)
class FrameWindow:
    """A range of frames, from the one at `first` up to but not including the one at `end`, in ticks of the source's timestamps;
    None: from the beginning, to the end."""

    first: int | None = None
    end: int | None = None


class VideoSource:
    """The main video of a file or URL.

    `info` comes from the first frame, which is decoded when the source is opened. Timestamps are those of the file, except in
    joined transport streams (see `vidstyle.media.stream_clock`); where `trim.start` cuts something off they are moved by
    `shift_seconds`, so that the output begins at zero. `may_seek`: whether to seek to `trim.start` even in files without an
    index, where clock jumps before that point are then not noticed. `window` selects a range of that without moving
    timestamps; `info` is then that of the whole video. `gpu`: the number of the GPU that decodes, if it can. `check_size` is
    called with the size of the frames before one is decoded, and may raise.
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
        check_size: Callable[[int, int], None] = lambda width, height: None,
    ) -> None:
        self._input, self._trim, self._allow_network, self._gpu = input, trim, allow_network, gpu
        self._identity = local_files(input)
        self._container = open_media(input, allow_network)
        try:
            self._may_seek = may_seek or not may_jump(self._container)
            with reading(input):  # the file may have just been removed
                self._missing_bytes = 0 if is_url(input) else missing_bytes(remote_file(input) or Path(input))
            check_unchanged(self._identity)
            self._stream = self._select_stream()
            check_size(self._stream.width, self._stream.height)
            self._time_base = time_base_of(self._stream)
            self._start = start_seconds(self._container)
            ticks = int(trim.start / self._time_base)
            self._shift = ticks + round(self._start / self._time_base) if ticks else 0
            self.shift_seconds = self._shift * self._time_base
            self._window = FrameWindow(*(None if x is None else x + self._shift for x in (window.first, window.end)))
            self._decoder = StreamDecoder(self._stream, MAX_PIXELS, self._gpu)
            self._clock = StreamClock(self._container)
            self._deinterlacer = Deinterlacer()
            self._timestamps = TimestampRepair(self._time_base, self._stream.average_rate)
            self._end_seconds = 0.0
            self._earlier_damage: Damage = {}
            self._corrupt_packets = 0
            self._reached_end = False
            self._decoded = self._deinterlacer.frames(self._selected())
            with reading(input):
                self._first = next(self._decoded, None)
            if self._first is None:
                raise InputError(f"expected a video, found no frame that can be decoded{self._from_where()}: {input}")
            self.info = info or describe_video(self._container, self._stream, self._first, trim, self.shift_seconds)
            self._converter = FrameConverter(self.info.width, self.info.height, self.info.alpha)
        except BaseException:
            self.close()
            raise

    def on_gpu(self, gpu: str) -> VideoSource:
        """The same video decoded on a GPU, if that gives exactly the same first image; else this one. The other one is
        closed. `info` is that of this one, because the GPU's decoder provides less information."""
        try:
            other = VideoSource(self._input, self._trim, self._allow_network, info=self.info, gpu=gpu)
        except VidstyleError:
            return self
        if other._decoder.is_on_gpu and np.array_equal(other._first_image(), self._first_image()):
            self.close()
            return other
        other.close()
        return self

    def _first_image(self) -> Pixels:
        assert self._first is not None
        return FrameConverter(self.info.width, self.info.height, self.info.alpha).convert(self._first.frame)[0]

    def _select_stream(self) -> VideoStream:
        """The main video. Of the other streams nothing is read where they are not needed to find jumps of the clock, so that
        damage to one of them does not end the video."""
        video = self._video_stream()
        if not may_jump(self._container):
            for stream in self._container.streams:
                if stream.index != video.index:
                    stream.discard = Discard.all
        return video

    def _video_stream(self) -> VideoStream:
        stream = main_video(self._container)
        if stream is None:
            found = sorted({_kind(s) for s in self._container.streams})
            raise InputError(f"expected a video stream, got only {' and '.join(found) or 'an empty file'}: {self._input}")
        if stream.width * stream.height > MAX_PIXELS:
            raise InputError(f"expected frames of at most {MAX_PIXELS} pixels, got {stream.width}x{stream.height}: {self._input}")
        return stream

    def _from_where(self) -> str:
        return f" from {self._trim.start:g} s on" if self._trim.start else ""

    def keyframes(self) -> tuple[list[int], int]:
        """The timestamps of the first frame and of all later keyframes, and that of the last frame, read from the packets without
        decoding; no keyframes if the format does not allow seeking to them. Call this before `frames`."""
        assert self._first is not None
        if may_jump(self._container) or self._first.pts is None:
            return [], 0
        by_decoding_time = self._container.format.name == "avi"
        end = None if self._trim.end is None else self._start + self._trim.end
        found, last = {self._first.pts}, self._first.pts
        with open_media(self._input, self._allow_network) as again, reading(self._input):
            check_unchanged(self._identity)
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
        decoded, self._first = self._first, None
        while decoded is not None:
            with reading(self._input):
                coming = next(self._decoded, None)
            pts = self._timestamps.timestamp(decoded, coming)
            if pts is not None:
                pixels, alpha = self._converter.convert(decoded.frame)
                yield Frame(pixels, pts - self._shift, self._time_base, decoded.duration, alpha)
            decoded = coming

    def following(self, first: Frame, seconds: float) -> Generator[Pixels, None, None]:
        """Read from the file opened a second time; only `first` if it is not found there. Raises `InputChangedError`."""
        begin = max(0.0, float(first.pts * first.time_base + self.shift_seconds) - self._start - REWIND_SECONDS)
        end = begin + REWIND_SECONDS + seconds
        trim = Trim(begin, end if self._trim.end is None else min(end, self._trim.end))
        found = False
        if not self._clock.joins:  # else the timestamps are not those of the file, which seeking needs
            try:
                with closing(self._reopened(trim)) as again:
                    for frame in again.frames():
                        found = found or np.array_equal(frame.pixels, first.pixels)
                        if found:
                            yield frame.pixels
            except InputChangedError:
                raise
            except VidstyleError:  # damage there is found, and reported, when the frames are read
                check_unchanged(self._identity)
        if not found:
            yield first.pixels

    def _reopened(self, trim: Trim) -> VideoSource:
        again = VideoSource(self._input, trim, self._allow_network, True, gpu=self._gpu)
        with contextlib.ExitStack() as stack:
            stack.callback(again.close)
            check_unchanged(self._identity)
            stack.pop_all()
        return again

    def _selected(self) -> Iterator[DecodedFrame]:
        """The decoded frames between the trim points, within the window."""
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
            after_window = window.end is not None and item.pts >= window.end
            if after_window or (end is not None and seconds >= self._start + end - 1e-6):
                self._reached_end = True
                return
            yield item

    def _decode_from(self, begin: float, ticks: int | None = None) -> Iterator[DecodedFrame]:
        """Frames from one at or before `begin` seconds on, or `ticks` if given, which is exact; see `SEEK_BACK`."""
        for back in SEEK_BACK if self._may_seek else ():
            target = begin - back
            if target <= self._start:
                break
            try:
                if ticks is not None and not back:  # microseconds could round down to before the keyframe there
                    self._container.seek(ticks, stream=self._stream)
                else:
                    self._container.seek(int(target * av.time_base))
            except DAMAGE_ERRORS:
                break
            self._clock = StreamClock(self._container)
            self._decoder.reset()
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
        check_unchanged(self._identity)
        self._stream = self._select_stream()
        self._decoder = StreamDecoder(self._stream, MAX_PIXELS, self._gpu)
        self._clock = StreamClock(self._container)

    def _decode(self) -> Iterator[DecodedFrame]:
        """Frames from the current position of the file on."""
        self._corrupt_packets = 0
        suspects = deque([False] * JOIN_PACKETS, JOIN_PACKETS)
        for packet, joined in read_packets(self._container, self._clock):
            if packet.stream.index != self._stream.index:
                continue
            if joined:
                suspects.extend([False] * JOIN_PACKETS)
            self._corrupt_packets += suspects[0]
            suspects.append(packet.is_corrupt and not joined)
            yield from self._decoder.frames(packet)  # type: ignore[arg-type]  # a packet of the video stream
        self._corrupt_packets += sum(suspects)
        yield from self._decoder.frames(None)

    @property
    def is_plain(self) -> bool:
        """Whether every frame so far was undamaged, as large as the first, had a valid timestamp, and does not depend on frames
        before its keyframe: then any part of the video gives the same frames alone as within the whole."""
        decoder = self._decoder
        has_damage = decoder.failed or decoder.corrupt or decoder.held or self._corrupt_packets
        was_changed = self._converter.resized or self._converter.flattened or not self._timestamps.is_unused
        return not (has_damage or was_changed or self._deinterlacer.used or self._clock.joins)

    def warnings(self) -> list[str]:
        found = []
        if self.info.color is not None and is_hdr(self.info.color):
            found.append("the input is HDR; it was converted to standard range for stylizing")
        if self._deinterlacer.used:
            found.append("the input is interlaced; it was deinterlaced")
        if self._clock.joins:
            found.append(f"the input's clock jumps {self._clock.joins} times: it was joined from several recordings")
        if self._timestamps.untimed:
            found.append(f"{self._timestamps.untimed} frames had no timestamp and were given one")
        if self._timestamps.moved:
            found.append(f"{self._timestamps.moved} frames had the timestamp of the frame before and were moved after it")
        if self._converter.resized:
            size = f"{self.info.width}x{self.info.height}"
            found.append(f"{self._converter.resized} frames had another size and were fitted into {size}")
        if self._converter.flattened:
            found.append(f"{self._converter.flattened} frames had transparent parts, which were put on black")
        return found

    def damage(self) -> list[str]:
        return descriptions(self.damage_so_far()) + ([] if self._reached_end else self._cut_off())

    def damage_so_far(self) -> Damage:
        decoder, times = self._decoder, self._timestamps
        others = max(decoder.failed - decoder.held, self._corrupt_packets - decoder.held - decoder.corrupt, 0)
        found = {
            "{} damaged frames were replaced by the one before": decoder.held,
            "{} frames are damaged and were stylized as far as they could be repaired": decoder.corrupt,
            "{} damaged packets were left out or repaired": others,
            "{} frames had a wrong timestamp and were put between their neighbours": times.mistimed,
            "{} frames came out of order and were left out": times.dropped,
        }
        return at_least(found, self._earlier_damage)

    def restore_damage(self, earlier: Damage) -> None:
        self._earlier_damage = earlier

    def _cut_off(self) -> list[str]:
        total = duration_from_header(self._container, self._stream, self._start)
        missing = self._start + total - self._end_seconds if total is not None else 0.0
        if total is not None and missing > max(TRUNCATED_SECONDS, 0.02 * total):
            return [f"the input seems cut off: {missing:.1f} s of {total:.1f} s are missing at the end"]
        if self._missing_bytes:
            return ["the input is cut off: the file is shorter than its own structure says"]
        if not is_url(self._input) and has_broken_index(self._container):
            return ["the input is damaged: its index does not list all of it"]
        return []

    def close(self) -> None:
        self._container.close()


def _kind(stream: Stream) -> str:
    if stream.type != "video":
        return str(stream.type)
    return "cover art" if stream.disposition & Disposition.attached_pic else "a video of unknown size"
