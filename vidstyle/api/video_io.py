"""For Python callers: read the frames of a video, and write frames into a video."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

from vidstyle.api.options_from import names_of, options_of, refuse_unknown
from vidstyle.api.validation import Rate, as_frames, rate_of, storable_rate
from vidstyle.conversion.convert import Result, input_files
from vidstyle.core.errors import UsageError
from vidstyle.core.frames import Frame, Pixels, VideoInfo
from vidstyle.core.options import ConvertOptions, EncodeOptions, Trim
from vidstyle.core.protocols import Sink, Source
from vidstyle.media.orientation import display_info, to_display_orientation
from vidstyle.sinks import OtherStreams, check_encoding, check_free, check_not_read, open_video_sink
from vidstyle.sources import is_image, open_source

log = logging.getLogger(__name__)

WRITE_OPTIONS = names_of(EncodeOptions) | {"audio", "subtitles", "overwrite", "allow_network"}
"""Options of `write_video` besides the time range."""


def read_frames(
    path: str | os.PathLike[str],
    *,
    start: float = Trim.start,
    end: float | None = Trim.end,
    allow_network: bool = ConvertOptions.allow_network,
) -> Generator[Frame, None, None]:
    """The frames of a video, in order, or the one of an image.

    Each is uint8 RGB (H, W, 3) in display orientation, 8 bit and standard dynamic range (also of an HDR video), and is shown at
    `pts * time_base` seconds. `start` and `end` are seconds from the beginning; with a `start` the times begin at zero. The file
    is opened when the first frame is requested, and closed when the generator ends or is closed. What was repaired or lost while
    reading is logged. Raises `UsageError` at once, `InputError` while reading.
    """
    options = options_of(ConvertOptions, {"start": start, "end": end, "allow_network": allow_network})
    return _read(os.fspath(path), options)


def _read(input: str, options: ConvertOptions) -> Generator[Frame, None, None]:
    with closing(open_source(input, options.trim, options.allow_network)) as source:
        for frame in source.frames():
            yield to_display_orientation(frame, source.info.display_matrix)
        log_source_messages(input, source)


def log_source_messages(input: str, source: Source) -> None:
    """Log the warnings and the damage of a source that was read to its end; callers get only frames."""
    for message in source.warnings() + source.damage():
        log.warning("%s: %s", input, message)


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[Frame | Pixels],
    *,
    like: str | os.PathLike[str] | None = None,
    frame_rate: Rate | None = None,
    start: float = Trim.start,
    end: float | None = Trim.end,
    **options: Any,
) -> Result:
    """Write `frames` into the video `path`, which appears whole or not at all.

    They are `Frame`s, which are shown at their own times, or arrays uint8 RGB (H, W, 3), which need a `frame_rate`; a
    `frame_rate` replaces the times of `Frame`s, too. All have the size of the first. Audio, subtitles and other streams,
    chapters, metadata, colour tags and the pixel aspect ratio are copied from the video `like`; `start` and `end` are the time
    range of it that the frames belong to. `options` are `audio`, `subtitles`, `overwrite`, `allow_network` and the fields of
    `EncodeOptions`, such as `quality=85`. `frames`, if it is a generator, is always closed at the end.

    Raises `UsageError` for frames and options that do not fit, `OutputExistsError` if `path` exists and `overwrite` is not set,
    `InputError` for `like`, `OutputError` and `DiskError`; `TypeError` for an unknown option.
    """
    with ExitStack() as stack:
        if isinstance(frames, Generator):
            stack.callback(frames.close)
        refuse_unknown("write_video", options, WRITE_OPTIONS)
        convert_options = options_of(ConvertOptions, {**options, "start": start, "end": end})
        rate = None if frame_rate is None else rate_of(frame_rate)
        began, output = time.monotonic(), Path(path)
        check_encoding(output, convert_options.encode)
        check_not_read(output, [("video that it is to be like", like)])
        check_free(output, convert_options.overwrite)
        reference = _Reference() if like is None else _reference_of(os.fspath(like), convert_options)
        items = as_frames(frames, rate, reference.begin, needs_times=True)
        first = next(items, None)
        if first is None:
            raise UsageError(f"expected frames to write, got none: {output}")
        info = _output_info(reference.info, first, rate)
        sink = open_video_sink(output, info, convert_options.encode, reference.others, convert_options.overwrite)
        stack.enter_context(closing(sink))
        count = _write_all(sink, chain([first], items))
        sink.publish()
        return Result(output, count, time.monotonic() - began, sink.warnings(), sink.damage())


def _write_all(sink: Sink, frames: Iterable[Frame]) -> int:
    """Write frames and return their number; raises `UsageError` where they are not in order of time."""
    count, last = 0, None
    for frame in frames:
        seconds = frame.pts * frame.time_base
        if last is not None and seconds <= last:
            order = f"frame {count} at {float(seconds):g} s after one at {float(last):g} s"
            raise UsageError(f"expected frames in order of time, got {order}")
        sink.write(frame)
        count, last = count + 1, seconds
    return count


@dataclass(frozen=True)
class _Reference:
    """The video that the output is like: its facts, the time of its first frame, and its other streams."""

    info: VideoInfo | None = None
    begin: Fraction = Fraction(0)
    others: OtherStreams | None = None


def _reference_of(input: str, options: ConvertOptions) -> _Reference:
    if is_image(input):
        raise UsageError(f"expected a video for the output to be like, got an image: {input}")
    files = input_files(input, options)
    with closing(open_source(input, options.trim, options.allow_network)) as source:
        first = next(iter(source.frames()))
        others = OtherStreams(input, source.shift_seconds, options, files)
        return _Reference(display_info(source.info), first.pts * first.time_base, others)


def _output_info(reference: VideoInfo | None, first: Frame, rate: Fraction | None) -> VideoInfo:
    """The facts of an output whose first frame is `first`."""
    height, width = first.pixels.shape[:2]
    if rate is None and reference is not None:
        rate = reference.frame_rate
    if rate is None and first.duration:
        rate = storable_rate(1 / (first.duration * first.time_base))
    return replace(
        reference or VideoInfo(width, height),
        width=width,
        height=height,
        time_base=first.time_base,
        frame_rate=rate,
        alpha=first.alpha is not None,
    )
