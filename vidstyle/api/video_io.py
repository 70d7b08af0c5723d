"""A video's frames for Python callers, and frames into a video: what is between them is theirs."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidstyle.api.options_from import names_of, options_of, refuse_unknown
from vidstyle.api.validation import Rate, as_frames, rate_of
from vidstyle.conversion.convert import Result, check_not_itself
from vidstyle.core.errors import UsageError
from vidstyle.core.frames import Frame, Pixels, VideoInfo
from vidstyle.core.options import ConvertOptions, EncodeOptions, Trim
from vidstyle.core.protocols import Sink, Source
from vidstyle.media.orientation import display_info, to_display_orientation
from vidstyle.sinks import check_encoding, check_free, companion_of, open_video_sink
from vidstyle.sources import is_image, open_source

if TYPE_CHECKING:
    from vidstyle.sinks.stream_copy import Companion

log = logging.getLogger(__name__)


def read_frames(
    path: str | os.PathLike[str],
    *,
    start: float = Trim.start,
    end: float | None = Trim.end,
    allow_network: bool = ConvertOptions.allow_network,
) -> Generator[Frame, None, None]:
    """The frames of a video, in order, or the one of an image.

    Each is uint8 RGB (H, W, 3), upright as a player shows it, 8 bit and standard range also of an HDR video, and is shown at
    `pts * time_base` seconds. `start` and `end` are seconds from the beginning; with a `start` the times begin at zero. The file
    is opened when the first frame is asked for, and closed when the generator ends or is closed. What was mended or lost while
    reading is logged. Raises `UsageError` at once, `InputError` while reading.
    """
    options = options_of(ConvertOptions, {"start": start, "end": end, "allow_network": allow_network})
    return _read(os.fspath(path), options)


def _read(input: str, options: ConvertOptions) -> Generator[Frame, None, None]:
    with closing(open_source(input, options.trim, options.allow_network)) as source:
        for frame in source.frames():
            yield to_display_orientation(frame, source.info.display_matrix)
        log_troubles(input, source)


def log_troubles(input: str, source: Source) -> None:
    """Log what is to be known of a source that was read to its end; callers get frames and nothing else."""
    for sentence in source.warnings() + source.damage():
        log.warning("%s: %s", input, sentence)


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[Frame | Pixels],
    *,
    like: str | os.PathLike[str] | None = None,
    frame_rate: Rate | None = None,
    start: float = Trim.start,
    end: float | None = Trim.end,
    audio: bool = ConvertOptions.audio,
    subtitles: bool = ConvertOptions.subtitles,
    overwrite: bool = ConvertOptions.overwrite,
    allow_network: bool = ConvertOptions.allow_network,
    **encode: Any,
) -> Result:
    """Write `frames` into the video `path`, which appears whole or not at all.

    They are `Frame`s, which are shown at their own times, or arrays uint8 RGB (H, W, 3), which need a `frame_rate`; where it is
    given it counts for `Frame`s too. All have the first one's size. From the video `like` come audio, subtitles and other
    streams, chapters, metadata, colour tags and the shape of pixels; `start` and `end` say which part of it the frames are of.
    `encode` are choices of `EncodeOptions`, such as `quality=85`. `frames`, where it is a generator, is closed however this ends.

    Raises `UsageError` for frames and choices that do not fit, `OutputExistsError` if `path` is there without `overwrite`,
    `InputError` for `like`, `OutputError` and `DiskError`; `TypeError` for an unknown choice.
    """
    with ExitStack() as stack:
        if isinstance(frames, Generator):
            stack.callback(frames.close)
        refuse_unknown("write_video", encode, names_of(EncodeOptions))
        own = {"start": start, "end": end, "audio": audio, "subtitles": subtitles}
        options = options_of(ConvertOptions, {**encode, **own, "overwrite": overwrite, "allow_network": allow_network})
        rate = None if frame_rate is None else rate_of(frame_rate)
        began, output = time.monotonic(), Path(path)
        check_encoding(output, options.encode)
        if like is not None:
            check_not_itself(os.fspath(like), output)
        check_free(output, options.overwrite)
        model = _Model() if like is None else _model_of(os.fspath(like), options)
        items = as_frames(frames, rate, model.begin, need_clock=True)
        first = next(items, None)
        if first is None:
            raise UsageError(f"expected frames to write, got none: {output}")
        info = _described(model.info, first, rate)
        sink = stack.enter_context(closing(open_video_sink(output, info, options.encode, model.companion, options.overwrite)))
        count = _write_all(sink, chain([first], items))
        sink.publish()
        return Result(output, count, time.monotonic() - began, sink.warnings(), sink.damage())


def _write_all(sink: Sink, frames: Iterable[Frame]) -> int:
    """Write frames, and count them; raises `UsageError` where they are not in order of time."""
    count, last = 0, None
    for frame in frames:
        seconds = frame.pts * frame.time_base
        if last is not None and seconds <= last:
            order = f"frame {count} at {float(seconds):g} s behind one at {float(last):g} s"
            raise UsageError(f"expected frames in order of time, got {order}")
        sink.write(frame)
        count, last = count + 1, seconds
    return count


@dataclass(frozen=True)
class _Model:
    """What a video is to be like: its facts, when its first frame is shown, and what opens it for its other streams."""

    info: VideoInfo | None = None
    begin: Fraction = Fraction(0)
    companion: Callable[[], Companion] | None = None


def _model_of(input: str, options: ConvertOptions) -> _Model:
    if is_image(input):
        raise UsageError(f"expected a video for the output to be like, got an image: {input}")
    with closing(open_source(input, options.trim, options.allow_network)) as source:
        first = next(iter(source.frames()))
        companion = companion_of(input, source.shift_seconds, options)
        return _Model(display_info(source.info), first.pts * first.time_base, companion)


def _described(model: VideoInfo | None, first: Frame, rate: Fraction | None) -> VideoInfo:
    """The facts of a video that begins with `first`."""
    height, width = first.pixels.shape[:2]
    if rate is None and model is not None:
        rate = model.frame_rate
    if rate is None and first.duration:
        rate = 1 / (first.duration * first.time_base)
    return replace(
        model or VideoInfo(width, height),
        width=width,
        height=height,
        time_base=first.time_base,
        frame_rate=rate,
        alpha=first.alpha is not None,
    )
