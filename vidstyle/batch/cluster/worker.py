"""A worker scans and stylizes ranges of videos, and loads each model only once."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from vidstyle.batch.claims import claim_path
from vidstyle.batch.cluster.chunks import OVERLAP_FRAMES, Chunk, ScanResult, Survey
from vidstyle.conversion.convert import Conversion, Result, post_processors_of, shot_sampler, with_mask
from vidstyle.conversion.memory import MemoryBudget, with_memory_fraction
from vidstyle.conversion.pipeline import PipelineOptions, run
from vidstyle.core.damage import Damage
from vidstyle.core.errors import InputError, VidstyleError
from vidstyle.core.file_identity import FileIdentity, identity_of
from vidstyle.core.files import writing
from vidstyle.core.frames import Frame, Pixels, VideoInfo
from vidstyle.core.hardware import usable_cores
from vidstyle.core.options import ConvertOptions, StyleOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.core.temporary_folder import TemporaryFolder
from vidstyle.media.container import read_through
from vidstyle.sinks import open_segment_sink
from vidstyle.sinks.segments import EncodedSegment
from vidstyle.sources import is_image
from vidstyle.sources.video import FrameWindow, VideoSource
from vidstyle.styles.catalog import find_style
from vidstyle.styles.spec import styles_in
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal.shots import difference, thumbnail

Statistics = Mapping[str, np.ndarray]


class ChunkMismatchError(VidstyleError):
    """A chunk does not decode to the frames that the scan found: the video has to be stylized in one piece."""


class FileNotOnWorkerError(VidstyleError):
    """The input is not on the worker's machine, or another file is in its place."""


class SharedFile(Protocol):
    """The bytes of a file, for workers on other machines."""

    def open(self) -> BinaryIO:
        """The file, readable and seekable."""


@dataclass(frozen=True)
class WorkerJob:
    """A job as it is sent to workers."""

    input: str
    output: str
    options: ConvertOptions
    fingerprint: str | None
    file: FileIdentity | None
    """The input as it was when the run opened it first; None for a URL."""
    shared_file: SharedFile | None = None
    """Set for workers that do not have the input."""


@dataclass(frozen=True)
class Model:
    """The file of a style's model."""

    name: str
    data: bytes


@dataclass(frozen=True)
class StylizedChunk:
    """A chunk that is stylized and encoded; the warm-up frames are left out."""

    segment: EncodedSegment
    frames: int
    warnings: list[str]
    damage: Damage


@dataclass(frozen=True)
class ConvertedFile:
    """A video or image that was converted in one piece."""

    result: Result
    data: bytes | None
    """The output, where the worker could not write it to its place."""
    info: VideoInfo


class Worker:
    """Does one task at a time, on `cores` CPU cores (None: all)."""

    def __init__(self, models: Mapping[str, Model], cores: int | None = None) -> None:
        """`models`: those of all styles by name, including those that occur only in a blend or a timeline."""
        self._models, self._cores = models, cores
        self._stylizers: dict[Any, Stylizer] = {}

    def _stylizer(self, job: WorkerJob) -> Stylizer:
        style = job.options.style
        if style not in self._stylizers:
            self._stylizers[style] = self._load(style)
        return self._stylizers[style]

    def _load(self, style: StyleOptions) -> Stylizer:
        with TemporaryFolder() as folder:
            names: dict[str, str] = {}

            def write_model(name: str) -> Path:
                model = self._models[name]
                path = folder / f"{len(names)}-{Path(model.name).name}"  # two files may have the same name
                with writing(path):
                    path.write_bytes(model.data)
                names[str(path)] = name
                return path

            try:
                return load_stylizer(style, cores=self._cores, find=write_model)
            except VidstyleError as error:
                for path, name in names.items():  # a temporary path means nothing to the user
                    if path in str(error):
                        error.args = (str(error).replace(path, name),)
                raise

    @contextmanager
    def file_available(self, job: WorkerJob) -> Iterator[None]:
        """Make the input readable inside the block; raises `FileNotOnWorkerError` if that is impossible."""
        try:
            is_here = job.file is None or job.file.is_copy_of(identity_of(Path(job.input)))
        except InputError:
            is_here = False
        if is_here:
            yield
        elif job.shared_file is None:
            raise FileNotOnWorkerError(f"expected {job.input} on the worker's machine too, found another file or none")
        else:
            with read_through(job.input, job.shared_file.open):
                yield

    def _options(self, job: WorkerJob) -> ConvertOptions:
        """The options of `job` with this worker's part of the memory."""
        return job.options if self._cores is None else with_memory_fraction(job.options, self._cores / usable_cores())

    def survey(self, job: WorkerJob, shortest: float) -> Survey:
        """The properties of a video; its keyframes only if it lasts for `shortest` seconds or more, and is stylized at the
        height that the options say: parts of it could be made by workers with more or less memory."""
        options = self._options(job)
        budget = MemoryBudget(job.input, options)
        with closing(VideoSource(job.input, options.trim, options.allow_network, check_size=budget.check_size)) as source:
            info = source.info
            is_long = info.duration_seconds is not None and info.duration_seconds >= shortest
            is_long = is_long and budget.plan(info.width, info.height, self._stylizer(job)).height is None
            keyframes, last = source.keyframes() if is_long and source.is_plain else ([], 0)
            return Survey(info, source.shift_seconds, keyframes, last)

    def scan(self, job: WorkerJob, survey: Survey, window: FrameWindow) -> ScanResult:
        """Decode the frames of `window` and the first frames after it."""
        found = ScanResult([], [], [], [], False)
        before = None
        with closing(_open_window(job, survey.info, FrameWindow(window.first))) as source:
            for frame in source.frames():
                small = thumbnail(frame.pixels)
                if before is not None and not found.following:
                    found.differences.append(difference(before, small))
                if window.end is not None and frame.pts >= window.end:
                    found.following.append((frame.pts, _checksum(small)))
                else:
                    found.times.append(frame.pts)
                    found.checksums.append(_checksum(small))
                before = small
                if len(found.following) == OVERLAP_FRAMES:
                    break
            return replace(found, is_plain=source.is_plain and not (window.end is None and source.damage()))

    def shot_statistics(self, job: WorkerJob, survey: Survey, first: int) -> Statistics:
        """The norm statistics of the shot that begins with the frame at `first`."""
        with closing(_open_window(job, survey.info, FrameWindow(first, first + 1))) as source:
            frame = next(iter(source.frames()), None)
            if frame is None or frame.pts != first:
                raise ChunkMismatchError(f"expected a frame at {first}, found none: {job.input}")
            return dict(self._stylizer(job).for_shot(shot_sampler(source)(frame)).statistics())

    def stylize_chunk(
        self,
        job: WorkerJob,
        survey: Survey,
        chunk: Chunk,
        statistics: Statistics | None,
        on_frame: Callable[[int], None] = lambda count: None,
    ) -> StylizedChunk:
        """Stylize and encode a chunk; `statistics` are those of the shot that begins before it, if any."""
        options, stylizer = job.options, self._stylizer(job)
        shot_starts = frozenset(chunk.shot_starts)
        with ExitStack() as stack:
            source = stack.enter_context(closing(with_mask(_VerifiedSource(job, survey.info, chunk), options)))
            sink = stack.enter_context(closing(open_segment_sink(Path(job.output), survey.info, options.encode, chunk.warm_up)))
            pipeline = PipelineOptions(
                batch_size=options.batch_size,
                post_processors=post_processors_of(options),
                sample_shot=shot_sampler(source),
                begins_shot=lambda frame: frame.pts in shot_starts,
                first_stylizer=None if statistics is None else stylizer.with_statistics(statistics),
                lean=MemoryBudget(job.input, self._options(job)).plan(survey.info.width, survey.info.height, stylizer).lean,
            )
            frames = run(source, stylizer, sink, pipeline, on_frame)
            if frames != len(chunk.times):
                raise ChunkMismatchError(f"expected {len(chunk.times)} frames in a chunk, got {frames}: {job.input}")
            return StylizedChunk(sink.encoded(), frames - chunk.warm_up, source.warnings(), source.damage_so_far())

    def convert_whole(self, job: WorkerJob, on_frame: Callable[[int], None] = lambda count: None) -> ConvertedFile:
        """Convert a video or image in one piece: directly to its output if this machine has the output's folder too, which the
        run's claim in it shows, else to a temporary file that is sent."""
        output, stylizer, options = Path(job.output), self._stylizer(job), self._options(job)
        is_local = claim_path(output).exists()
        with TemporaryFolder() as folder:
            path, input = (output if is_local else folder / output.name), job.input
            if not is_local:
                options = replace(options, resume=False, overwrite=False)
            elif job.shared_file is not None or not self._is_installed(job):  # unfinished work could not be recognized later
                options = replace(options, resume=False)
            if is_image(input) and job.shared_file is not None:  # images are not read through `read_through`
                input = str(folder / f"input{Path(input).suffix}")
                with job.shared_file.open() as file, writing(Path(input)):
                    Path(input).write_bytes(file.read())
            with closing(Conversion(input, path, stylizer, options, fingerprint=job.fingerprint)) as conversion:
                conversion.run(on_frame)
                result = conversion.publish()
            return ConvertedFile(result, None if is_local else path.read_bytes(), conversion.info)

    def _is_installed(self, job: WorkerJob) -> bool:
        """Whether this machine has the same models installed."""
        try:
            return all(find_style(name).read_bytes() == self._models[name].data for name in styles_in(job.options.style.style))
        except (VidstyleError, OSError):
            return False


def _open_window(job: WorkerJob, info: VideoInfo, window: FrameWindow) -> VideoSource:
    return VideoSource(job.input, job.options.trim, job.options.allow_network, True, window, info)


class _VerifiedSource(VideoSource):
    """The frames of a chunk, each compared with what the scan found."""

    def __init__(self, job: WorkerJob, info: VideoInfo, chunk: Chunk) -> None:
        self._expected = zip(chunk.times, chunk.checksums, strict=True)
        super().__init__(job.input, job.options.trim, job.options.allow_network, True, chunk.window, info)

    def frames(self) -> Iterator[Frame]:
        for frame in super().frames():
            if next(self._expected, None) != (frame.pts, _checksum(thumbnail(frame.pixels))):
                raise ChunkMismatchError(f"the frame at {frame.pts} is not the one that the scan found")
            yield frame


def _checksum(small: Pixels) -> int:
    """The CRC-32 of a thumbnail."""
    return zlib.crc32(small.tobytes())
