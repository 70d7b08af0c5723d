"""Where frames go: `open_sink` picks the fitting writer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidstyle.core.frames import VideoInfo
from vidstyle.core.options import ConvertOptions, EncodeOptions
from vidstyle.core.protocols import Sink
from vidstyle.sinks.publish import check_free

if TYPE_CHECKING:
    from vidstyle.sinks.segments import ResumableSink, SegmentedFile, SegmentSink
    from vidstyle.sinks.stream_copy import StreamCopier

__all__ = [
    "check_encoding",
    "check_free",
    "open_image_sink",
    "open_resumable_sink",
    "open_segment_sink",
    "open_segmented_file",
    "open_video_sink",
    "stream_copier_of",
    "stream_map",
]


def open_image_sink(path: Path, overwrite: bool = False, stamp: str | None = None) -> Sink:
    """A sink for one image; `stamp` tells what it was made from. Raises `OutputExistsError`, `OutputError` or `DiskError`."""
    from vidstyle.sinks.images import ImageSink

    return ImageSink(path, overwrite, stamp)


def open_video_sink(
    path: Path,
    info: VideoInfo,
    encode: EncodeOptions = EncodeOptions(),
    open_stream_copier: Callable[[], StreamCopier] | None = None,
    overwrite: bool = False,
    stamp: str | None = None,
) -> Sink:
    """A sink for a video as `info` describes it.

    All other streams, chapters and metadata come from the companion; `stamp` tells what it was made from.
    Raises `OutputExistsError`, `OutputError` or `DiskError`.
    """
    from vidstyle.sinks.video import VideoFile, VideoSink

    stream_copier = open_stream_copier() if open_stream_copier is not None else None
    try:
        return VideoSink(path, VideoFile(path, info, encode, stream_copier, overwrite, stamp))
    except BaseException:
        if stream_copier is not None:
            stream_copier.close()
        raise


def open_resumable_sink(
    path: Path,
    info: VideoInfo,
    options: ConvertOptions,
    fingerprint: Mapping[str, Any],
    open_stream_copier: Callable[[], StreamCopier],
    remember: Callable[[], Mapping[str, np.ndarray]] | None = None,
    stamp: str | None = None,
) -> ResumableSink:
    """A sink that keeps finished segments; see `sinks.segments`. Raises `UsageError` too, for what has no segments."""
    from vidstyle.sinks.segments import ResumableSink

    file = open_segmented_file(path, info, options, fingerprint, open_stream_copier, stamp)
    return ResumableSink(file, info, options.encode, remember)


def open_segmented_file(
    path: Path,
    info: VideoInfo,
    options: ConvertOptions,
    fingerprint: Mapping[str, Any],
    open_stream_copier: Callable[[], StreamCopier],
    stamp: str | None = None,
) -> SegmentedFile:
    """An output that is joined from segments which are encoded elsewhere. Raises as `open_resumable_sink`."""
    from vidstyle.sinks.segments import SegmentedFile

    return SegmentedFile(path, info, options.encode, fingerprint, open_stream_copier, options.overwrite, stamp)


def open_segment_sink(output: Path, info: VideoInfo, encode: EncodeOptions, skip: int = 0) -> SegmentSink:
    """A sink for one segment of the video `output`, of which the first `skip` frames are left out."""
    from vidstyle.sinks.encoding import encoder_for
    from vidstyle.sinks.segments import SegmentSink

    return SegmentSink(output, encoder_for(output, info, encode), info, encode, skip)


def stream_copier_of(input: str, shift_seconds: Fraction, options: ConvertOptions) -> Callable[[], StreamCopier]:
    """Opens the media `input` (the input) for its other streams, the part that is wanted, moved back by `shift_seconds`."""

    def open_stream_copier() -> StreamCopier:
        from vidstyle.sinks.stream_copy import StreamCopier

        return StreamCopier(input, options.trim, shift_seconds, options.audio, options.subtitles, options.allow_network)

    return open_stream_copier


def check_encoding(output: Path, encode: EncodeOptions) -> None:
    """Raise `UsageError` or `DeviceError` where no video `output` can be written, or not encoded as asked."""
    from vidstyle.sinks.encoders import choose_encoder
    from vidstyle.sinks.video import check_container

    check_container(output)
    choose_encoder(encode, output.suffix.lower())


def stream_map(input: str, output: Path, info: VideoInfo, options: ConvertOptions) -> list[str]:
    """What will become of each stream of the media `input` in `output`, a line each. Raises `UsageError` where it cannot be."""
    from vidstyle.media.container import open_media
    from vidstyle.sinks.encoding import encoder_for
    from vidstyle.sinks.streams import plan_streams
    from vidstyle.sinks.video import check_container

    encoder = encoder_for(output, info, options.encode)
    muxer = check_container(output)
    with open_media(input, options.allow_network) as container:
        plans = plan_streams(container, muxer, options.audio, options.subtitles)
        return [f"{plan} with {encoder.name}" if plan.action == "paint" else str(plan) for plan in plans]
