"""Where frames go: `open_sink` picks the fitting writer."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from vidstyle.frames import VideoInfo
from vidstyle.options import EncodeOptions, Trim
from vidstyle.sinks.publish import check_free
from vidstyle.stages import Sink

__all__ = ["check_free", "open_image_sink", "open_video_sink"]


def open_image_sink(path: Path, overwrite: bool = False) -> Sink:
    """A sink for one picture; raises `OutputExistsError`, `OutputError` or `DiskError`."""
    from vidstyle.sinks.images import ImageSink

    return ImageSink(path, overwrite)


def open_video_sink(
    path: Path,
    info: VideoInfo,
    encode: EncodeOptions = EncodeOptions(),
    companion: str | None = None,
    trim: Trim = Trim(),
    shift_seconds: Fraction = Fraction(0),
    audio: bool = True,
    overwrite: bool = False,
    allow_network: bool = False,
) -> Sink:
    """A sink for a video as `info` describes it.

    Audio tracks, chapters and metadata come from the media `companion` (the input), packet for packet, the part that `trim`
    tells, moved back by `shift_seconds`. Raises `OutputExistsError`, `OutputError` or `DiskError`.
    """
    from vidstyle.sinks.copying import Companion
    from vidstyle.sinks.video import VideoSink

    tracks = Companion(companion, trim, shift_seconds, audio, allow_network) if companion is not None else None
    try:
        return VideoSink(path, info, encode, tracks, overwrite)
    except BaseException:
        if tracks is not None:
            tracks.close()
        raise
