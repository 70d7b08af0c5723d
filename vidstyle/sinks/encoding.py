"""Encodes stylized frames into packets, with the size, colour, transparency and clock of the input."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vidstyle.core.errors import InputError, OutputError, UsageError
from vidstyle.core.frames import ColorTags, Frame, VideoInfo
from vidstyle.core.options import EncodeOptions
from vidstyle.media.color import is_hdr, output_tags, swscale_matrix
from vidstyle.media.hdr import ToneMap
from vidstyle.media.orientation import apply_display_matrix, is_right_angled
from vidstyle.sinks.encoder_table import VideoEncoder
from vidstyle.sinks.encoders import choose_encoder, encoder_options, pixel_format, subsampling
from vidstyle.sinks.gif import GifPalette

KEYFRAME_SECONDS = 4
"""The longest distance between keyframes: players seek to them, and `verify` decodes from one to the next."""

MIN_TICKS = 10_000
"""The fewest ticks per second; MP4's muxer has the same bound."""

GIF_TICK = Fraction(1, 100)


def encoder_for(path: Path, info: VideoInfo, encode: EncodeOptions) -> VideoEncoder:
    """The encoder for the output `path` of a video as `info` describes it.

    Raises the errors of `choose_encoder`, but `InputError` if the only obstacle is the video's transparency.
    """
    suffix = path.suffix.lower()
    if info.alpha:
        choose_encoder(encode, suffix)
    try:
        return choose_encoder(encode, suffix, info.alpha)
    except UsageError as error:
        raise (InputError(str(error)) if info.alpha else error) from None


class FrameEncoder:
    """Encodes frames with their own timestamps into a stream that it adds to `output`.

    Size, pixel aspect ratio, rotation and colour tags are those of `info`, except for an odd width or height that the pixel
    format does not support: then the last column or row is repeated once. GIF has no rotation, so there the image is rotated.
    Raises `UsageError` for HDR with transparency.
    """

    def __init__(self, output: OutputContainer, encoder: VideoEncoder, info: VideoInfo, encode: EncodeOptions) -> None:
        self._encoder, self._info = encoder, info
        self._pix_fmt = pixel_format(encoder, encode, info.alpha)
        self._is_gif = encoder.codec == "gif"
        self._turn = info.display_matrix if self._is_gif else None
        self._hdr = info.color if encode.keep_hdr and info.color is not None and is_hdr(info.color) else None
        self._tone_map = ToneMap(self._hdr, info.peak_nits) if self._hdr is not None else None
        if self._hdr is not None and info.alpha:
            raise UsageError("expected a video without transparency for --keep-hdr; leave it out")
        self._color = self._hdr or output_tags(info.color, info.width, info.height)
        self._pad = _padding(encoder, self._pix_fmt, info)
        self._reformatter, self._palette = VideoReformatter(), GifPalette() if self._is_gif else None
        self._last_pts: int | None = None
        self.dropped = 0
        """Frames left out because the output's clock is too coarse for them."""
        self.stream = self._add(output, encode)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as encoded."""
        return self.stream.width, self.stream.height

    def _add(self, output: OutputContainer, encode: EncodeOptions) -> VideoStream:
        info, color = self._info, self._color
        options = encoder_options(self._encoder, encode)
        stream = output.add_stream(self._encoder.name, rate=info.frame_rate or Fraction(25), options=options)
        assert isinstance(stream, VideoStream)
        size = (info.width, info.height) if not _is_quarter_turn(self._turn) else (info.height, info.width)
        stream.width, stream.height = size[0] + self._pad[0], size[1] + self._pad[1]
        stream.pix_fmt = "pal8" if self._is_gif else self._pix_fmt
        context = stream.codec_context
        context.time_base = stream.time_base = self.time_base = GIF_TICK if self._is_gif else _fine(info.time_base)
        if info.sample_aspect_ratio:
            context.sample_aspect_ratio = info.sample_aspect_ratio
        if self._is_gif:
            return stream
        context.gop_size = max(1, round(KEYFRAME_SECONDS * (info.frame_rate or 25)))
        context.colorspace, context.color_range = color.matrix, color.range
        context.color_primaries, context.color_trc = color.primaries, color.transfer
        if self._encoder.codec_tag and output.format.name in ("mp4", "mov"):
            stream.codec_tag = self._encoder.codec_tag
        if info.display_matrix:
            stream.set_display_matrix(info.display_matrix)
        return stream

    def encode(self, frame: Frame) -> list[Packet[Any]]:
        """The packets that `frame` completes; raises PyAV's errors."""
        converted = self._to_video_frame(frame)
        if self._is_gif:
            converted.pts = round(frame.pts * frame.time_base / GIF_TICK)
            converted.time_base = GIF_TICK
            if self._last_pts is not None and converted.pts <= self._last_pts:
                self.dropped += 1
                return []
            self._last_pts = converted.pts
        return list(self.stream.encode(converted))

    def flush(self) -> list[Packet[Any]]:
        """The remaining packets."""
        return list(self.stream.encode(None))

    def _to_video_frame(self, frame: Frame) -> VideoFrame:
        pixels = frame.pixels if frame.alpha is None else np.dstack([frame.pixels, frame.alpha])
        if self._turn:
            if not is_right_angled(self._turn):
                raise OutputError("expected a rotation by a multiple of 90 degrees for GIF; -o NAME.mp4 keeps any other")
            pixels = apply_display_matrix(pixels, self._turn)
        if any(self._pad):
            pixels = np.pad(pixels, ((0, self._pad[1]), (0, self._pad[0]), (0, 0)), mode="edge")
        converted = self._convert(_in_rows(pixels))
        converted.pts, converted.time_base, converted.duration = frame.pts, frame.time_base, frame.duration
        return converted

    def _convert(self, pixels: np.ndarray) -> VideoFrame:
        if self._tone_map is not None:
            return self._tone_map.to_hdr(pixels, self._pix_fmt)
        rgb = VideoFrame.from_numpy_buffer(pixels, "rgba" if pixels.shape[2] == 4 else "rgb24")
        if self._palette is not None:
            return self._palette.convert(rgb)
        color = self._color
        if self._pix_fmt.startswith(("gbr", "bgr", "rgb")):
            return self._reformatter.reformat(rgb, format=self._pix_fmt, threads=1)
        converted = self._reformatter.reformat(
            rgb,
            format=self._pix_fmt,
            src_color_range=2,
            dst_colorspace=swscale_matrix(color),
            dst_color_range=color.range,
            threads=1,
        )
        _tag(converted, color)
        return converted

    def warnings(self) -> list[str]:
        """How the encoded video differs from the frames, one sentence each."""
        found = []
        if any(self._pad):
            found.append(f"{self._pix_fmt} needs even sizes: the output is {self.size[0]}x{self.size[1]}")
        if self.dropped:
            found.append(f"GIF counts hundredths of a second: {self.dropped} frames closer than that were left out")
        return found


def _in_rows(pixels: np.ndarray) -> np.ndarray:
    """`pixels` (H, W, C), copied only if FFmpeg cannot read their memory layout; it can read a part of a larger image."""
    row, *within = pixels.strides
    return pixels if row >= pixels.shape[1] * pixels.shape[2] and within == [pixels.shape[2], 1] else np.ascontiguousarray(pixels)


def _fine(time_base: Fraction) -> Fraction:
    """`time_base` divided by a power of 2, so fine that no player mistakes it for the frame rate."""
    while time_base.denominator < MIN_TICKS:
        time_base /= 2
    return time_base


def _tag(frame: VideoFrame, color: ColorTags) -> None:
    frame.colorspace, frame.color_range = color.matrix, color.range
    frame.color_primaries, frame.color_trc = color.primaries, color.transfer


def _padding(encoder: VideoEncoder, pix_fmt: str, info: VideoInfo) -> tuple[int, int]:
    """Columns and rows to add for chroma subsampling; software VP9 and AV1 encoders accept any size."""
    if encoder.codec in ("vp9", "av1", "ffv1", "gif") and not encoder.hardware:
        return 0, 0
    columns, rows = subsampling(pix_fmt)
    return -info.width % columns, -info.height % rows


def _is_quarter_turn(matrix: tuple[int, ...] | None) -> bool:
    return matrix is not None and matrix[0] == 0 and matrix[4] == 0
