"""From frames to files: one function opens each kind of sink."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidstyle.core.damage import Damage
from vidstyle.core.file_identity import FileIdentity, check_unchanged
from vidstyle.core.frames import VideoInfo
from vidstyle.core.options import ConvertOptions, EncodeOptions
from vidstyle.core.protocols import Sink
from vidstyle.sinks.publish import check_free, check_not_read

if TYPE_CHECKING:
    from vidstyle.sinks.segment_folder import State
    from vidstyle.sinks.segments import ResumableSink, SegmentedFile, SegmentSink
    from vidstyle.sinks.stream_copy import StreamCopier

__all__ = [
    "OtherStreams",
    "RunState",
    "check_encoding",
    "check_free",
    "check_not_read",
    "open_image_sink",
    "open_resumable_sink",
    "open_segment_sink",
    "open_segmented_file",
    "open_video_sink",
    "remove_leftovers",
    "stream_map",
]


@dataclass(frozen=True)
class OtherStreams:
    """Everything of `input` but its main video, within `options.trim` and moved back by `shift_seconds`, as an output gets it.

    `files` are those that the output is made from, as they were when they were first opened.
    """

    input: str
    shift_seconds: Fraction
    options: ConvertOptions
    files: Sequence[FileIdentity] = ()

    def open(self) -> StreamCopier:
        """Open the input to copy them. Raises `InputError`."""
        from vidstyle.sinks.stream_copy import StreamCopier

        take = self.options
        return StreamCopier(
            self.input, take.trim, self.shift_seconds, take.audio, take.subtitles, take.allow_network, self.check_files
        )

    def check_files(self) -> None:
        """Raise `InputChangedError` if one of the files is not what it was."""
        check_unchanged(self.files)


@dataclass(frozen=True)
class RunState:
    """What a resumed run has to know of the one before, besides its segments."""

    get_state: Callable[[], State] | None = None
    """The post-processor's state after the last frame written; None if frames do not depend on each other."""
    get_damage: Callable[[], Damage] = dict
    """The damage that was found so far."""


def open_image_sink(path: Path, overwrite: bool = False, stamp: str | None = None) -> Sink:
    """A sink for one image; `stamp` is written into its metadata. Raises `OutputExistsError`, `OutputError` or `DiskError`."""
    from vidstyle.sinks.images import ImageSink

    return ImageSink(path, overwrite, stamp)


def open_video_sink(
    path: Path,
    info: VideoInfo,
    encode: EncodeOptions = EncodeOptions(),
    others: OtherStreams | None = None,
    overwrite: bool = False,
    stamp: str | None = None,
) -> Sink:
    """A sink for a video as `info` describes it.

    `stamp` is written into the metadata. Raises `OutputExistsError`, `OutputError` or `DiskError`, and `InputError` for `others`.
    """
    from vidstyle.sinks.video import VideoFile, VideoSink

    stream_copier = others.open() if others is not None else None
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
    others: OtherStreams,
    run: RunState,
    stamp: str | None = None,
) -> ResumableSink:
    """A sink that keeps finished segments, see `sinks.segments`. Also raises `UsageError` for formats without segments."""
    from vidstyle.sinks.segments import ResumableSink

    file = open_segmented_file(path, info, options, fingerprint, others, stamp)
    return ResumableSink(file, info, options.encode, run)


def open_segmented_file(
    path: Path,
    info: VideoInfo,
    options: ConvertOptions,
    fingerprint: Mapping[str, Any],
    others: OtherStreams,
    stamp: str | None = None,
) -> SegmentedFile:
    """An output that is joined from segments which workers encode. Raises the errors of `open_resumable_sink`."""
    from vidstyle.sinks.segments import SegmentedFile

    return SegmentedFile(path, info, options, fingerprint, others, stamp)


def open_segment_sink(output: Path, info: VideoInfo, encode: EncodeOptions, skip: int = 0) -> SegmentSink:
    """A sink for one segment of the video `output`; the first `skip` frames are left out."""
    from vidstyle.sinks.encoding import encoder_for
    from vidstyle.sinks.segments import SegmentSink

    return SegmentSink(output, encoder_for(output, info, encode), info, encode, skip)


def remove_leftovers(output: Path, fingerprint: str | None) -> None:
    """Remove what a run left that was killed while it published `output`, which is complete and was made from `fingerprint`."""
    from vidstyle.sinks.publish import remove_hidden_link
    from vidstyle.sinks.segment_folder import remove_finished

    remove_hidden_link(output)
    remove_finished(output, fingerprint)


def check_encoding(output: Path, encode: EncodeOptions) -> None:
    """Raise `UsageError` or `DeviceError` if a video `output` cannot be written, or not with these encoding options."""
    from vidstyle.sinks.encoders import choose_encoder
    from vidstyle.sinks.video import check_container

    check_container(output)
    choose_encoder(encode, output.suffix.lower())


def stream_map(input: str, output: Path, info: VideoInfo, options: ConvertOptions) -> list[str]:
    """What happens to each stream of `input` in `output`, one line each. Raises `UsageError` if that cannot be written."""
    from vidstyle.media.container import open_media
    from vidstyle.sinks.encoding import encoder_for
    from vidstyle.sinks.streams import plan_streams
    from vidstyle.sinks.video import check_container

    encoder = encoder_for(output, info, options.encode)
    muxer = check_container(output)
    with open_media(input, options.allow_network) as container:
        plans = plan_streams(container, muxer, options.audio, options.subtitles)
        return [f"{plan} with {encoder.name}" if plan.action == "stylize" else str(plan) for plan in plans]
