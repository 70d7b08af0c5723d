"""Decoding on an NVIDIA card (NVDEC), with frames as the software decoder gives them: planar, in the machine's memory.

Only plain 8-bit 4:2:0 video is decoded there. What a GPU's decoder cannot do it may say at any packet, so it is asked for a
frame, not for what it can.
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
    """Decodes on one GPU; `decode` gives None once that fails, and what it was given is to be decoded elsewhere."""

    def __init__(self, decoder: VideoCodecContext) -> None:
        self._decoder = decoder
        self._reformatter = VideoReformatter()

    def decode(self, packet: Packet[VideoStream] | None) -> list[VideoFrame] | None:
        """The frames that `packet` completes, with None those left at the end."""
        try:
            return [self._planar(frame) for frame in self._decoder.decode(packet)]
        except HARDWARE_ERRORS as error:
            log.debug("the GPU does not decode this (%s); the processor does", error)
            return None

    def flush(self) -> None:
        """Forget what came before."""
        self._decoder.flush_buffers()

    def _planar(self, frame: VideoFrame) -> VideoFrame:
        # The same numbers in another order, from which RGB is made as from a software decoder's.
        return self._reformatter.reformat(frame, format="yuv420p", threads=1)


def gpu_decoder(stream: VideoStream, max_pixels: int, gpu: str) -> GpuDecoder | None:
    """A decoder for `stream` on the GPU of that number; None where there is none."""
    context = stream.codec_context
    codec = context.codec.canonical_name  # FFmpeg's own decoder has this name, and that alone reaches the GPU's
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
