"""A style's network, loaded once, that stylizes images, frames and files."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from typing import Any

import numpy as np

from vidstyle.api.options_from import names_of, options_of, refuse_unknown
from vidstyle.api.validation import Rate, as_frames, check_images, rate_of
from vidstyle.api.video_io import log_source_messages
from vidstyle.batch.planner import plan
from vidstyle.conversion import provenance
from vidstyle.conversion.convert import SHOT_FRAMES, Conversion, Result, post_processors_of, shot_sampler
from vidstyle.conversion.pipeline import AHEAD, PipelineOptions, stylized_frames
from vidstyle.core import protocols
from vidstyle.core.errors import UsageError
from vidstyle.core.frames import Frame, Pixels
from vidstyle.core.options import ConvertOptions, StyleOptions, Trim
from vidstyle.media.orientation import to_display_orientation
from vidstyle.sources import open_source
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal.lookahead import LookAhead
from vidstyle.temporal.shots import spread_over_shot

Progress = Callable[[int, int | None], object]
"""Called after every frame with the number of frames done and the number expected by the file's header, None if unknown."""

StrPath = str | os.PathLike[str]

STYLE_OPTIONS = names_of(StyleOptions)
"""Options that a network is loaded with."""

FILE_OPTIONS = names_of(ConvertOptions) - STYLE_OPTIONS
"""Options of one conversion."""

FRAME_OPTIONS = frozenset({"stabilize", "preserve_color", "batch_size", "allow_network"})
"""Options of `Stylizer.frames` besides the time range."""


class Stylizer:
    """A style's network, loaded once, for any number of images, frames and files.

    `style` is a name or a model file, a blend such as `mosaic:0.6,scream:0.4` or a timeline such as `0:mosaic,10:scream`;
    `options` are the other fields of `StyleOptions`, by name: `height=480, device="cpu", strength=0.8`... Several threads may
    share a `Stylizer`: it has no state that changes. Raises `StyleError`, `DeviceError`, `MissingExtraError` or `UsageError`;
    `TypeError` for an unknown option.

        stylizer = vidstyle.Stylizer("mosaic")
        stylized = stylizer(image)
    """

    def __init__(self, style: StrPath = StyleOptions.style, **options: Any) -> None:
        refuse_unknown("Stylizer", options, STYLE_OPTIONS - {"style"})
        self._options = options_of(StyleOptions, {**options, "style": style})
        self._loaded, self._process = load_stylizer(self._options), os.getpid()

    @property
    def _stylizer(self) -> protocols.Stylizer:
        if os.getpid() != self._process:
            raise UsageError(
                "this Stylizer was loaded before the process was forked, and its threads do not exist here; load one in each "
                "process, or start processes by multiprocessing's method spawn"
            )
        return self._loaded

    @property
    def style(self) -> str:
        """The style's name or model file, the blend or the timeline."""
        return self._options.style

    def __repr__(self) -> str:
        return f"<vidstyle.Stylizer '{self.style}', {self._stylizer.describe()}>"

    def __call__(self, images: Pixels) -> Pixels:
        """Stylize an image, uint8 RGB (H, W, 3) -> the same shape, as the command line stylizes a still image.

        The frames of one shot (N, H, W, 3) share statistics of all of them, so that brightness and colours do not pulse. Raises
        `UsageError` for any other array.
        """
        check_images(images, "an image or the frames of a shot", 3, 4)
        frames = [np.ascontiguousarray(image) for image in (images if images.ndim == 4 else images[None])]
        measured = min(len(frames), SHOT_FRAMES)
        stylizer = self._stylizer.for_shot(frames[i * len(frames) // measured] for i in range(measured)).at(0.0)
        with ThreadPoolExecutor(stylizer.concurrency) as executor:
            stylized = list(executor.map(lambda frame: stylizer.stylize([frame])[0], frames))
        return np.stack(stylized) if images.ndim == 4 else np.ascontiguousarray(stylized[0])

    def frames(
        self,
        source: StrPath | Iterable[Frame | Pixels],
        *,
        start: float = Trim.start,
        end: float | None = Trim.end,
        frame_rate: Rate | None = None,
        **options: Any,
    ) -> Generator[Frame, None, None]:
        """The stylized frames of a video file, as `vidstyle.read_frames` yields them, or of the caller's own frames.

        Frames keep their times. Cuts are detected, and each shot is stylized with its own statistics. Reading and stylizing run
        in threads, a few frames ahead, which end when the generator ends or is closed. `options` are `stabilize`,
        `preserve_color`, `batch_size` and `allow_network`.

        Own frames are `Frame`s or arrays uint8 RGB (H, W, 3), all of one size. Up to 48 of them (256 MiB if they are large) are
        read ahead in another thread to measure statistics; a generator of them is always closed at the end. `frame_rate` gives
        them new times; arrays without it get one second each. `start` and `end` are for files.

        Raises `UsageError` for options at once, for frames when they are reached; `InputError` while reading; `TypeError` for an
        unknown option.
        """
        refuse_unknown("frames", options, FRAME_OPTIONS)
        convert_options = options_of(ConvertOptions, {**options, "start": start, "end": end})
        rate = None if frame_rate is None else rate_of(frame_rate)
        if isinstance(source, str | os.PathLike):
            if rate is not None:
                raise UsageError("expected a frame_rate only for frames that have no times, a file's have")
            _refuse_folder(os.fspath(source))
            return self._frames_of_file(os.fspath(source), convert_options)
        if convert_options.trim != Trim():
            raise UsageError("expected start and end only for a file; leave out the frames of your own that you do not want")
        return self._frames_of_caller(as_frames(source, rate), convert_options)

    def _frames_of_file(self, input: str, options: ConvertOptions) -> Generator[Frame, None, None]:
        with closing(open_source(input, options.trim, options.allow_network)) as source:
            start_time = source.info.start_time
            with closing(self._stylized(source.frames(), shot_sampler(source), options, start_time)) as stylized:
                for frame in stylized:
                    yield to_display_orientation(frame, source.info.display_matrix)
            log_source_messages(input, source)

    def _frames_of_caller(self, frames: Generator[Frame, None, None], options: ConvertOptions) -> Generator[Frame, None, None]:
        # Frames in flight when a shot's first frame is reached: prefetched ones, a batch, and one on either side of it.
        ahead = LookAhead(frames, (AHEAD + 1) * options.batch_size + 2)

        def images(first: Frame) -> list[Pixels]:
            return spread_over_shot(ahead.following(first), SHOT_FRAMES)

        with closing(self._stylized(ahead.frames(), images, options)) as stylized:
            yield from stylized

    def _stylized(
        self,
        frames: Iterator[Frame],
        images: Callable[[Frame], Iterable[Pixels]],
        options: ConvertOptions,
        start_time: Fraction = Fraction(0),
    ) -> Generator[Frame, None, None]:
        pipeline = PipelineOptions(options.batch_size, post_processors_of(options), sample_shot=images)
        return stylized_frames(frames, self._stylizer, pipeline, start_time)

    def convert(
        self,
        input: StrPath,
        output: StrPath | None = None,
        *,
        overwrite: bool = ConvertOptions.overwrite,
        progress: Progress | None = None,
        **options: Any,
    ) -> Result:
        """Convert one video or image, as `vidstyle.stylize` does, which documents the other options and the errors."""
        refuse_unknown("convert", options, FILE_OPTIONS)
        style_options = {name: getattr(self._options, name) for name in STYLE_OPTIONS}
        convert_options = options_of(ConvertOptions, {**style_options, **options, "overwrite": overwrite})
        if convert_options.skip_existing:
            raise UsageError(
                "expected no skip_existing for one file, which would have no result; check whether the output exists"
            )
        path = os.fspath(input)
        _refuse_folder(path)
        [job] = plan([path], [self.style], None if output is None else os.fspath(output))
        fingerprint = provenance.fingerprint(path, convert_options)
        with closing(Conversion(path, job.output, self._stylizer, convert_options, fingerprint=fingerprint)) as conversion:
            expected = conversion.info.frame_count_estimate

            def on_frame(count: int) -> None:
                if progress is not None:
                    progress(count, expected)

            conversion.run(on_frame)
            return conversion.publish()


def _refuse_folder(input: str) -> None:
    if os.path.isdir(input):
        raise UsageError(f"expected one video or image, got a folder: {input}; vidstyle.stylize converts the files in folders")
