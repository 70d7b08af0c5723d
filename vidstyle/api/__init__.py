"""What Python callers use besides `vidstyle.api.video_io`: one call that stylizes a file, and a loaded net that stylizes whatever comes."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vidstyle.api.options_from import names_of, options_of, refuse_unknown
from vidstyle.api.validation import Rate, as_frames, check_images, rate_of
from vidstyle.api.video_io import log_troubles
from vidstyle.batch.planner import plan
from vidstyle.conversion import provenance
from vidstyle.conversion.convert import SHOT_FRAMES, Conversion, Result, post_processors_of, shot_sampler
from vidstyle.conversion.pipeline import AHEAD, PipelineOptions, stylized_frames
from vidstyle.core.errors import UsageError
from vidstyle.core.frames import Frame, Pixels
from vidstyle.core.options import Backend, ColorOrder, ConvertOptions, Stabilize, StyleOptions, Trim
from vidstyle.media.orientation import to_display_orientation
from vidstyle.sources import open_source
from vidstyle.styles.catalog import all_styles
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal.lookahead import LookAhead
from vidstyle.temporal.shots import spread_over_shot

Progress = Callable[[int, int | None], object]
"""Is called after every frame with how many are done, and how many there will be by the file's header, None if that is silent."""

StrPath = str | os.PathLike[str]

_OF_THE_NET = names_of(StyleOptions)
_OF_A_FILE = names_of(ConvertOptions) - _OF_THE_NET


def stylize(
    input: StrPath,
    output: StrPath | None = None,
    *,
    style: StrPath = StyleOptions.style,
    overwrite: bool = ConvertOptions.overwrite,
    progress: Progress | None = None,
    **choices: Any,
) -> Result:
    """Paint one video or image in `style` (a name or a model file), as the command line does.

    Without `output`, `in.mp4` becomes `in.STYLE.mp4` beside it; it appears whole or not at all. `choices` are the fields of
    `ConvertOptions` and of those in it, by name: `height=480, device="cpu", stabilize="strong", start=5, quality=85`...
    `progress` is called in the caller's thread; what it raises ends the work, and nothing is left of it.

    Raises the kinds of `VidstyleError`; `TypeError` for an unknown choice.
    """
    refuse_unknown("stylize", choices, names_of(ConvertOptions))
    of_the_net = {name: value for name, value in choices.items() if name in _OF_THE_NET}
    of_the_file = {name: value for name, value in choices.items() if name in _OF_A_FILE}
    options_of(ConvertOptions, choices)  # before a net is loaded in vain
    _refuse_folder(os.fspath(input))
    return Stylizer(style, **of_the_net).convert(input, output, overwrite=overwrite, progress=progress, **of_the_file)


def styles() -> dict[str, dict[str, str]]:
    """The styles that there are, shipped and one's own: name -> `title`, `painter`, `year` and `licence`."""
    keys = ("title", "painter", "year", "licence")
    return {name: {key: str(facts.get(key, "unknown")) for key in keys} for name, (_, facts) in sorted(all_styles().items())}


class Stylizer:
    """A style's net, loaded once, for any number of images, frames and files.

    `style` is a name or a model file, a blend such as `mosaic:0.6,scream:0.4` or a timeline such as `0:mosaic,10:scream`; the
    other choices are those of `StyleOptions`. Threads may share one: nothing that it
    does changes it. Raises `StyleError`, `DeviceError`, `MissingExtraError` or `UsageError`.

        stylizer = vidstyle.Stylizer("mosaic")
        painting = stylizer(image)
    """

    def __init__(
        self,
        style: StrPath = StyleOptions.style,
        *,
        device: str = StyleOptions.device,
        backend: Backend = StyleOptions.backend,
        height: int | None = StyleOptions.height,
        model_color: ColorOrder = StyleOptions.model_color,
        strength: float = StyleOptions.strength,
        stroke_scale: float = StyleOptions.stroke_scale,
        fade: float = StyleOptions.fade,
    ) -> None:
        given: dict[str, Any] = {
            "style": style,
            "device": device,
            "backend": backend,
            "height": height,
            "model_color": model_color,
        }
        given |= {"strength": strength, "stroke_scale": stroke_scale, "fade": fade}
        self._options = options_of(StyleOptions, given)
        self._net = load_stylizer(self._options)

    @property
    def style(self) -> str:
        """The style's name or model file, the blend or the timeline."""
        return self._options.style

    def __repr__(self) -> str:
        return f"<vidstyle.Stylizer '{self.style}', {self._net.describe()}>"

    def __call__(self, images: Pixels) -> Pixels:
        """The painting of an image, uint8 RGB (H, W, 3) -> the same shape, as the command line stylizes a still image.

        Frames of one shot (N, H, W, 3) are stylized alike, with statistics of all of them: nothing pulses. Raises `UsageError`
        for any other array.
        """
        given = check_images(images, "an image or the frames of a shot", 3, 4)
        frames = [np.ascontiguousarray(image) for image in (given if given.ndim == 4 else given[None])]
        measured = min(len(frames), SHOT_FRAMES)
        net = self._net.for_shot(frames[i * len(frames) // measured] for i in range(measured)).at(0.0)
        with ThreadPoolExecutor(net.concurrency) as executor:
            stylized = list(executor.map(lambda frame: net.stylize([frame])[0], frames))
        return np.stack(stylized) if given.ndim == 4 else np.ascontiguousarray(stylized[0])

    def frames(
        self,
        source: StrPath | Iterable[Frame | Pixels],
        *,
        start: float = Trim.start,
        end: float | None = Trim.end,
        frame_rate: Rate | None = None,
        stabilize: Stabilize = ConvertOptions.stabilize,
        preserve_color: bool = ConvertOptions.preserve_color,
        batch_size: int = ConvertOptions.batch_size,
        allow_network: bool = ConvertOptions.allow_network,
    ) -> Generator[Frame, None, None]:
        """The stylized frames of a video file, as `vidstyle.read_frames` gives them, or of frames that you make.

        Times are kept; cuts are found, and each shot stylized with statistics of its own, held until the next cut. Reading and
        painting go on in threads, a few frames ahead; they end with the generator, or when it is closed.

        Your frames are `Frame`s or arrays uint8 RGB (H, W, 3), all of one size. Up to 48 of them (of large ones 256 MiB) are read
        ahead, in another thread, for the statistics, and a generator of them is closed however this ends. `frame_rate` gives
        them new times; arrays without it are numbered, one a second. `start` and `end` are for files.

        Raises `UsageError` for choices at once, for frames when it comes to them; `InputError` while reading.
        """
        given = {"start": start, "end": end, "stabilize": stabilize, "preserve_color": preserve_color}
        given |= {"batch_size": batch_size, "allow_network": allow_network}
        options = options_of(ConvertOptions, given)
        rate = None if frame_rate is None else rate_of(frame_rate)
        if isinstance(source, str | os.PathLike):
            if rate is not None:
                raise UsageError("expected a frame_rate only for frames that have no times, a file's have")
            _refuse_folder(os.fspath(source))
            return self._frames_of_file(os.fspath(source), options)
        if options.trim != Trim():
            raise UsageError("expected start and end only for a file; of your own frames leave out those that you do not want")
        return self._frames_of_caller(as_frames(source, rate), options)

    def _frames_of_file(self, input: str, options: ConvertOptions) -> Generator[Frame, None, None]:
        with closing(open_source(input, options.trim, options.allow_network)) as source:
            start_time = source.info.start_time
            with closing(self._stylized(source.frames(), shot_sampler(source), options, start_time)) as stylized:
                for frame in stylized:
                    yield to_display_orientation(frame, source.info.display_matrix)
            log_troubles(input, source)

    def _frames_of_caller(self, frames: Generator[Frame, None, None], options: ConvertOptions) -> Generator[Frame, None, None]:
        # Frames on their way to where shots begin: prefetched ones, a batch, and one on either side of it.
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
        return stylized_frames(frames, self._net, pipeline, start_time)

    def convert(
        self,
        input: StrPath,
        output: StrPath | None = None,
        *,
        overwrite: bool = ConvertOptions.overwrite,
        progress: Progress | None = None,
        **choices: Any,
    ) -> Result:
        """Paint one video or image into a file, as `vidstyle.stylize` does, which has the other choices and the errors."""
        refuse_unknown("convert", choices, _OF_A_FILE)
        options = options_of(ConvertOptions, {**self._as_choices(), **choices, "overwrite": overwrite})
        if options.skip_existing:
            raise UsageError("expected no skip_existing for one file, of which there would be no result; ask whether it is there")
        path = os.fspath(input)
        _refuse_folder(path)
        [job] = plan([path], [self.style], None if output is None else os.fspath(output))
        fingerprint = provenance.fingerprint(path, options)
        with closing(Conversion(path, job.output, self._net, options, fingerprint=fingerprint)) as conversion:
            expected = conversion.info.frame_count_estimate

            def on_frame(count: int) -> None:
                if progress is not None:
                    progress(count, expected)

            conversion.run(on_frame)
            return conversion.publish()

    def _as_choices(self) -> dict[str, Any]:
        return {name: getattr(self._options, name) for name in _OF_THE_NET}


def _refuse_folder(input: str) -> None:
    if Path(input).is_dir():
        raise UsageError(
            f"expected one video or image, got a folder: {input}; have vidstyle.Stylizer convert its files one by one, or run: "
            f"vidstyle {input}"
        )
