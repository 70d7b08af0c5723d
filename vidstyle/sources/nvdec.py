"""Decoding on an NVIDIA GPU (NVDEC). Frames are like those of the software decoder: planar, in main memory.

Only 8-bit 4:2:0 video is decoded there. A GPU decoder may fail at any packet of a video that it does not support, so it is
tried, not asked for its capabilities.
"""

from __future__ import annotations

import logging
from typing import Any

import av
from av.codec.hwaccel import HWAccel
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vidstyle.media.av_errors import HARDWARE_ERRORS

log = logging.getLogger(__name__)

CODECS = {"h264", "hevc", "vp9", "av1"}
FORMATS = {"yuv420p", "yuvj420p"}


class GpuDecoder:
    """Decodes on one GPU; `decode` returns None once that fails, and the packets have to be decoded by another decoder."""

    def __init__(self, decoder: VideoCodecContext) -> None:
        self._decoder = decoder
        self._reformatter = VideoReformatter()

    def decode(self, packet: Packet[VideoStream] | None) -> list[VideoFrame] | None:
        """The frames that `packet` completes; with None the remaining ones at the end."""
        try:
            return [self._planar(frame) for frame in self._decoder.decode(packet)]
        except HARDWARE_ERRORS as error:
            log.debug("the GPU cannot decode this (%s); the CPU does", error)
            return None

    def flush(self) -> None:
        """Forget the frames so far, after seeking."""
        self._decoder.flush_buffers()

    def _planar(self, frame: VideoFrame) -> VideoFrame:
        # The same values in another layout, so that they are converted to RGB exactly like those of a software decoder.
        return self._reformatter.reformat(frame, format="yuv420p", threads=1)


def gpu_decoder(stream: VideoStream, max_pixels: int, gpu: str) -> GpuDecoder | None:
    """A decoder for `stream` on the GPU with that number; None if it cannot be decoded there."""
    context = stream.codec_context
    codec = context.codec.canonical_name  # the name of FFmpeg's own decoder, the only one that supports hardware acceleration
    if codec not in CODECS or context.pix_fmt not in FORMATS:
        return None
    try:
        decoder: Any = av.CodecContext.create(codec, "r", hwaccel=HWAccel("cuda", gpu, allow_software_fallback=False))
        if not decoder.is_hwaccel:
            return None
        decoder.extradata = context.extradata
        decoder.options = {"max_pixels": str(max_pixels)}
    except HARDWARE_ERRORS as error:
        log.debug("the GPU decodes nothing here: %s", error)
        return None
    return GpuDecoder(decoder)
