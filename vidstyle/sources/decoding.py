"""From packets to frames: damage costs the damaged frames and nothing else."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidstyle.media.av_errors import DAMAGE_ERRORS
from vidstyle.sources.nvdec import gpu_decoder

SILENTLY_LOST = 2
"""Maximum number of frames in a row that are assumed to be lost if the decoder reported nothing."""

MAX_GROUP = 600
"""Maximum number of packets at the end of a file that are decoded a second time."""


@dataclass(frozen=True)
class DecodedFrame:
    """A frame and its timestamp in ticks of the stream, None where the file has none. `held`: it is a repetition of the frame
    before, in place of a damaged one."""

    frame: VideoFrame
    pts: int | None
    duration: int
    held: bool = False


class StreamDecoder:
    """Decodes a video stream into frames in display order.

    Where a damaged packet gave no frame, the frame before is repeated, so that the video stays as long as it was.
    `gpu`: the number of the GPU that decodes, as long as it can; None: decode on the CPU.
    """

    def __init__(self, stream: VideoStream, max_pixels: int, gpu: str | None = None) -> None:
        self.failed = self.corrupt = self.held = 0
        """Packets that could not be decoded, frames that the decoder marked as damaged, repeated frames."""
        self._decoder = _decoder_of(stream, max_pixels)
        self._is_own = self._decoder is not stream.codec_context
        self._on_gpu = None if gpu is None or self._is_own else gpu_decoder(stream, max_pixels, gpu)
        # AVI stores decoding times only: the presentation times of its packets are guesses.
        self._by_decoding_time = stream.container.format.name == "avi"
        self._waiting: list[int] = []  # pts of packets whose frame has not come yet
        self._damaged_until: int | None = None
        self._last: DecodedFrame | None = None
        self._stream = stream
        self._group: list[Packet[VideoStream]] = []
        self._group_before: list[Packet[VideoStream]] = []
        self._came: int | None = None  # pts of the last frame that the GPU gave

    @property
    def is_on_gpu(self) -> bool:
        """Whether a GPU decodes."""
        return self._on_gpu is not None

    def reset(self) -> None:
        """Forget the frames so far, after seeking."""
        if self._is_own:  # seeking flushes that of the stream
            self._decoder.flush_buffers()
        if self._on_gpu is not None:
            self._on_gpu.flush()
        self.failed = self.corrupt = self.held = 0
        self._waiting, self._damaged_until, self._last, self._came = [], None, None, None
        self._group, self._group_before = [], []

    def frames(self, packet: Packet[VideoStream] | None) -> Iterator[DecodedFrame]:
        """The frames that `packet` completes; with None the remaining ones at the end."""
        if packet is not None and packet.pts is not None and not packet.is_discard:
            heapq.heappush(self._waiting, packet.pts)
        if packet is not None:
            if packet.is_keyframe:
                self._group_before = self._group if self._on_gpu is not None else []
                self._group = []
            if len(self._group) <= MAX_GROUP:
                self._group.append(packet)
        frames = self._decoded(packet)
        if packet is not None and packet.is_corrupt:
            self._mark_damage(packet)
        for frame in frames:
            self.corrupt += frame.is_corrupt
            yield from self._in_order(frame)
        if packet is None:
            if self._waiting and self._last is not None and 0 < len(self._group) <= MAX_GROUP:
                yield from self._decode_end_again()
            yield from self._repeated_before(None)

    def _decoded(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        if self._on_gpu is None:
            return self._in_software(packet)
        if (on_gpu := self._on_gpu.decode(packet)) is not None:
            return on_gpu
        # Decode again from the last keyframe but one, because frames are delayed, and skip frames that were returned already.
        self._on_gpu = None
        self._came = self._last.pts if self._last is not None else None
        again = [*self._group_before, *self._group, *([None] if packet is None else [])]
        self._group_before = []
        return [frame for p in again for frame in self._in_software(p)]

    def _in_software(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        try:
            frames = self._decoder.decode(packet)
        except DAMAGE_ERRORS:
            self.failed += 1
            self._mark_damage(packet)
            return []
        return frames if self._came is None else [frame for frame in frames if (self._pts(frame) or 0) > self._came]

    def _pts(self, frame: VideoFrame) -> int | None:
        return frame.dts if self._by_decoding_time else frame.pts

    def _decode_end_again(self) -> Iterator[DecodedFrame]:
        """The last frames, decoded again in a single thread: several threads silently drop the rest if one of them fails."""
        again = av.CodecContext.create(self._decoder.codec.name, "r")
        assert isinstance(again, VideoCodecContext)
        again.options = self._decoder.options
        again.extradata = self._stream.codec_context.extradata
        again.thread_count = 1
        for packet in [*self._group, None]:
            try:
                frames = again.decode(packet)
            except DAMAGE_ERRORS:
                self.failed += 1
                self._mark_damage(self._group[-1])
                continue
            for frame in frames:
                pts = self._pts(frame)
                if pts is not None and self._last is not None and self._last.pts is not None and pts > self._last.pts:
                    self.corrupt += frame.is_corrupt
                    yield from self._in_order(frame)

    def _mark_damage(self, packet: Packet[VideoStream] | None) -> None:
        """The frame of `packet`, or of one shortly before (decoders work ahead), may be missing."""
        latest = max(self._waiting, default=None)
        if packet is not None and latest is not None:
            self._damaged_until = max(latest, self._damaged_until or latest)

    def _in_order(self, frame: VideoFrame) -> Iterator[DecodedFrame]:
        pts = self._pts(frame)
        if pts is not None:
            yield from self._repeated_before(pts)
        self._last = DecodedFrame(frame, pts, frame.duration or 0)
        yield self._last

    def _repeated_before(self, pts: int | None) -> Iterator[DecodedFrame]:
        """Repetitions in place of the frames that should have come before `pts`; None: of all that are missing."""
        # If many are missing they are only delayed, and it is this timestamp that is wrong.
        few = pts is None or sum(waiting < pts for waiting in self._waiting) <= SILENTLY_LOST
        while self._waiting and (pts is None or self._waiting[0] <= pts):
            lost = heapq.heappop(self._waiting)
            is_lost = (self._damaged_until is not None and lost <= self._damaged_until) or (few and self._leaves_gap(lost, pts))
            if is_lost and lost != pts and self._last is not None and (self._last.pts is None or lost > self._last.pts):
                self._last = DecodedFrame(self._last.frame, lost, self._last.duration, held=True)
                self.held += 1
                yield self._last

    def _leaves_gap(self, lost: int, pts: int | None) -> bool:
        """Whether there is a gap for a frame at `lost`, between the last one and the one at `pts`: not every decoder reports that
        a packet was damaged. The second field of a frame, and a frame that is never shown, leave no gap."""
        if self._last is None or self._last.pts is None or not self._last.duration:
            return False
        room = self._last.duration * 3 // 4
        return lost - self._last.pts >= room and (pts is None or pts - lost >= room)


def _decoder_of(stream: VideoStream, max_pixels: int) -> VideoCodecContext:
    """The stream's decoder, with a limit on the size of frames; for VP9 with transparency one that supports it."""
    if has_vp9_alpha(stream):
        decoder: Any = av.CodecContext.create("libvpx-vp9", "r")
    else:
        decoder = stream.codec_context
        decoder.thread_type = "AUTO"  # frame threads: 4-5x on one file
    decoder.options = {"max_pixels": str(max_pixels)}
    assert isinstance(decoder, VideoCodecContext)
    return decoder


def has_vp9_alpha(stream: Stream) -> bool:
    """Whether `stream` is VP9 with a second, hidden stream for its transparency (WebM container guidelines, AlphaMode)."""
    return stream.type == "video" and stream.codec_context.name == "vp9" and stream.metadata.get("alpha_mode") == "1"
