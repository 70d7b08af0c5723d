"""What a worker does: it looks through parts of videos and stylizes them, with nets that it loads once."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from vidstyle.batch.claims import claim_path
from vidstyle.batch.cluster.chunks import OVERLAP, Chunk, Stretch, Survey
from vidstyle.conversion.convert import Conversion, Result, post_processors_of, shot_sampler, with_mask
from vidstyle.conversion.pipeline import PipelineOptions, run
from vidstyle.core.errors import InputError, VidstyleError
from vidstyle.core.files import is_url, writing
from vidstyle.core.frames import Frame, Pixels, VideoInfo
from vidstyle.core.options import ConvertOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.media.container import read_through
from vidstyle.sinks import open_segment_sink
from vidstyle.sinks.segments import EncodedSegment
from vidstyle.sources import is_image
from vidstyle.sources.video import VideoSource, Window
from vidstyle.styles.catalog import find_style
from vidstyle.styles.spec import styles_in
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal.shots import difference, thumbnail

Statistics = Mapping[str, np.ndarray]


class DividedError(VidstyleError):
    """A part of a video does not read as it did within the whole: it has to be stylized in one piece."""


class NotHereError(VidstyleError):
    """The file is not on the worker's machine, or another one is in its place."""


class SharedFile(Protocol):
    """The bytes of a file, for those who do not have it."""

    def open(self) -> BinaryIO:
        """The file, to be read and sought in."""


@dataclass(frozen=True)
class Film:
    """What is stylized, and how. Everything that a worker is told is small."""

    input: str
    output: str
    options: ConvertOptions
    fingerprint: str | None
    facts: tuple[int, int] | None
    """Size in bytes and time of the last change in nanoseconds, by which the file is known; None for a URL."""
    shared: SharedFile | None = None
    """Set for workers that do not have the file."""


def facts_of(input: str) -> tuple[int, int] | None:
    """What a file is known by, see `Film`; raises `InputError` where there is none."""
    if is_url(input):
        return None
    try:
        status = Path(input).stat()
    except OSError as error:
        raise InputError(f"expected a file, found none: {input} ({error.strerror})") from None
    return status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class Model:
    """The file of a net."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Painted:
    """A chunk, stylized and encoded."""

    segment: EncodedSegment
    frames: int
    warnings: list[str]
    damage: list[str]


@dataclass(frozen=True)
class Whole:
    """A video or image, done. `data`: the file, where the worker could not write it in its place."""

    result: Result
    data: bytes | None
    info: VideoInfo


class Worker:
    """Does one thing after the other; `cores` of the machine are its own."""

    def __init__(self, models: Mapping[str, Model], cores: int | None = None) -> None:
        """`models`: those of all styles, also those that are only part of a blend or a timeline, by name."""
        self._models, self._cores = models, cores
        self._stylizers: dict[Any, Stylizer] = {}

    def _stylizer(self, video: Film) -> Stylizer:
        style = video.options.style
        if style not in self._stylizers:
            with _scratch() as folder:
                paths: dict[str, str] = {}

                def written(name: str) -> Path:
                    model = self._models[name]
                    path = folder / f"{len(paths)}-{Path(model.name).name}"  # names alone may be equal
                    with writing(path):
                        path.write_bytes(model.data)
                    paths[str(path)] = name
                    return path

                try:
                    self._stylizers[style] = load_stylizer(style, cores=self._cores, find=written)
                except VidstyleError as error:
                    for path, name in paths.items():  # which tells the user nothing
                        if path in str(error):
                            error.args = (str(error).replace(path, name),)
                    raise
        return self._stylizers[style]

    @contextmanager
    def at_hand(self, video: Film) -> Iterator[None]:
        """Have the video's file, for what is done inside; raises `NotHereError` where that cannot be."""
        try:
            is_here = facts_of(video.input) == video.facts
        except InputError:
            is_here = False
        if is_here:
            yield
        elif video.shared is None:
            raise NotHereError(f"expected {video.input} on the worker's machine too, found another file or none")
        else:
            with read_through(video.input, video.shared.open):
                yield

    def survey(self, video: Film, shortest: float) -> Survey:
        """A first look; keyframes only of a video of `shortest` seconds or more."""
        options = video.options
        with closing(VideoSource(video.input, options.trim, options.allow_network)) as source:
            info = source.info
            is_long = info.duration_seconds is not None and info.duration_seconds >= shortest
            keyframes, last = source.keyframes() if is_long and source.is_plain else ([], 0)
            return Survey(info, source.shift_seconds, keyframes, last)

    def look_through(self, video: Film, survey: Survey, window: Window) -> Stretch:
        """Look through a part of a video, for cuts and for what its images are."""
        found = Stretch([], [], [], [], False)
        before = None
        with closing(_part_of(video, survey.info, Window(window.first))) as source:
            for frame in source.frames():
                small = thumbnail(frame.pixels)
                beyond = window.end is not None and frame.pts >= window.end
                if before is not None and not found.beyond:
                    found.differences.append(difference(before, small))
                if beyond:
                    found.beyond.append((frame.pts, _mark(small)))
                else:
                    found.times.append(frame.pts)
                    found.marks.append(_mark(small))
                before = small
                if len(found.beyond) == OVERLAP:
                    break
            return replace(found, is_plain=source.is_plain and not (window.end is None and source.damage()))

    def learn(self, video: Film, survey: Survey, first: int) -> Statistics:
        """The norm statistics of the shot that begins with the frame at `first`."""
        with closing(_part_of(video, survey.info, Window(first, first + 1))) as source:
            frame = next(iter(source.frames()), None)
            if frame is None or frame.pts != first:
                raise DividedError(f"expected a frame at {first}, found none: {video.input}")
            return dict(self._stylizer(video).for_shot(shot_sampler(source)(frame)).statistics())

    def paint(
        self,
        video: Film,
        survey: Survey,
        chunk: Chunk,
        statistics: Statistics | None,
        on_frame: Callable[[int], None] = lambda count: None,
    ) -> Painted:
        """Paint and encode a chunk; `statistics` are those of the shot under way."""
        options, stylizer = video.options, self._stylizer(video)
        shots = frozenset(chunk.shots)
        with ExitStack() as stack:
            source = stack.enter_context(closing(with_mask(_CheckedSource(video, survey.info, chunk), options)))
            sink = stack.enter_context(closing(open_segment_sink(Path(video.output), survey.info, options.encode, chunk.lead)))
            pipeline = PipelineOptions(
                batch_size=options.batch_size,
                post_processors=post_processors_of(options),
                sample_shot=shot_sampler(source),
                begins_shot=lambda frame: frame.pts in shots,
                first_stylizer=None if statistics is None else stylizer.with_statistics(statistics),
            )
            frames = run(source, stylizer, sink, pipeline, on_frame)
            if frames != len(chunk.times):
                raise DividedError(f"expected {len(chunk.times)} frames in a part of the video, got {frames}: {video.input}")
            return Painted(sink.encoded(), frames - chunk.lead, source.warnings(), source.damage())

    def whole(self, video: Film, on_frame: Callable[[int], None] = lambda count: None) -> Whole:
        """Paint a video or image in one piece: where its output belongs if that is a folder here too (then the claim of the
        run lies in it), else beside, to be sent."""
        output, stylizer, options = Path(video.output), self._stylizer(video), video.options
        is_place = claim_path(output).exists()
        with _scratch() as folder:
            path, input = (output if is_place else folder / output.name), video.input
            if not is_place:
                options = replace(options, resume=False, overwrite=False)
            elif video.shared is not None or not self._is_installed(video):  # then work that is left could not be told from other
                options = replace(options, resume=False)
            if is_image(input) and video.shared is not None:  # images are read whole
                input = str(folder / f"input{Path(input).suffix}")
                with video.shared.open() as file, writing(Path(input)):
                    Path(input).write_bytes(file.read())
            with closing(Conversion(input, path, stylizer, options, fingerprint=video.fingerprint)) as conversion:
                conversion.run(on_frame)
                result = conversion.publish()
            return Whole(result, None if is_place else path.read_bytes(), conversion.info)

    def _is_installed(self, video: Film) -> bool:
        """Whether this machine has the style too."""
        try:
            return all(find_style(name).read_bytes() == self._models[name].data for name in styles_in(video.options.style.style))
        except (VidstyleError, OSError):
            return False


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for what is written inside."""
    with ExitStack() as stack:
        with writing(Path(tempfile.gettempdir())):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="vidstyle-"))
        yield Path(folder)


def _part_of(video: Film, info: VideoInfo, window: Window) -> VideoSource:
    return VideoSource(video.input, video.options.trim, video.options.allow_network, True, window, info)


class _CheckedSource(VideoSource):
    """A part of a video whose frames are compared, one by one, with what the look through the video found."""

    def __init__(self, video: Film, info: VideoInfo, chunk: Chunk) -> None:
        self._expected = zip(chunk.times, chunk.marks, strict=True)
        super().__init__(video.input, video.options.trim, video.options.allow_network, True, chunk.window, info)

    def frames(self) -> Iterator[Frame]:
        for frame in super().frames():
            if next(self._expected, None) != (frame.pts, _mark(thumbnail(frame.pixels))):
                raise DividedError(f"the frame at {frame.pts} is another one read alone")
            yield frame


def _mark(small: Pixels) -> int:
    """A number that tells a thumbnail from others."""
    return zlib.crc32(small.tobytes())
