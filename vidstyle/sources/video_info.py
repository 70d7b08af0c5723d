"""The facts of a video, from its container's header and its first frame."""

from __future__ import annotations

import contextlib
import struct
from fractions import Fraction
from typing import Any, cast

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidstyle.core.frames import VideoInfo
from vidstyle.core.options import Trim
from vidstyle.media.color import is_hdr, tags_of
from vidstyle.media.hdr_metadata import peak_nits
from vidstyle.sources.decoding import DecodedFrame
from vidstyle.sources.to_rgb import is_transparent


def time_base_of(stream: VideoStream) -> Fraction:
    """Seconds per tick of `stream`; milliseconds where the file does not say."""
    return stream.time_base or Fraction(1, 1000)


def start_seconds(container: InputContainer) -> float:
    """When the file begins, in seconds of its own clock; 0 if unknown."""
    return (container.start_time or 0) / av.time_base


def describe_video(
    container: InputContainer, stream: VideoStream, first: DecodedFrame, trim: Trim, shift_seconds: Fraction
) -> VideoInfo:
    """The facts of the part `trim` of a video that begins with the frame `first`; `shift_seconds`: see `Source`."""
    frame, time_base = first.frame, time_base_of(stream)
    rate = stream.average_rate or stream.guessed_rate
    if first.pts is None and frame.duration:  # then the container knows no rate either
        rate = 1 / (frame.duration * time_base)
    start = start_seconds(container)
    end = min(x for x in (trim.end, duration_from_header(container, stream, start), float("inf")) if x is not None)
    duration = max(0.0, end - trim.start) if end < float("inf") else None
    count = round(duration * rate) if duration is not None and rate else None
    if stream.frames and trim == Trim():
        count = stream.frames
    color = None if frame.format.is_rgb or frame.format.name == "pal8" else tags_of(frame, stream.codec_context)
    return VideoInfo(
        width=frame.width,
        height=frame.height,
        time_base=time_base,
        frame_rate=rate or None,
        frame_count_estimate=count,
        duration_seconds=duration,
        sample_aspect_ratio=stream.sample_aspect_ratio or None,
        display_matrix=_display_matrix(frame),
        color=color,
        peak_nits=peak_nits(frame) if color is not None and is_hdr(color) else None,
        alpha=frame.format.name.startswith("yuva") or is_transparent(frame),
        start_time=Fraction(start) - shift_seconds,
    )


def duration_from_header(container: InputContainer, stream: VideoStream, start: float) -> float | None:
    """The seconds from `start`, where the file begins, to the end of the video; None where the header does not say. Of a
    fragmented MP4 it is complete only after all fragments have been read."""
    if stream.duration:
        time_base = time_base_of(stream)
        begins = (stream.start_time or 0) * time_base - Fraction(start) if stream.start_time else Fraction(0)
        return float(stream.duration * time_base + begins)
    if container.format.name.startswith("matroska"):  # its durations are end times
        ends = _matroska_seconds(stream) or _container_seconds(container)
        return None if ends is None else max(0.0, ends - start)
    return _container_seconds(container)


def _container_seconds(container: InputContainer) -> float | None:
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
