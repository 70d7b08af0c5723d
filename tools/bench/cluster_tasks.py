"""The time of each kind of task, and of each thing that the driver does for them, measured one by one in one process.

Used by tools/bench/cluster.py. The scheduler, the tasks of a video and the worker are the real ones; only the worker pool is
replaced by a plain call.
"""

from __future__ import annotations

import pickle
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import av
from av.video.reformatter import VideoReformatter

import vidstyle.batch.cluster.scheduler
from tools.bench.measurement import STYLE, print_progress
from tools.bench.scenes import lengthened
from vidstyle.batch.cluster import job_tasks
from vidstyle.batch.cluster.chunks import Chunk, Survey
from vidstyle.batch.cluster.scheduler import open_worker_pool, run_jobs
from vidstyle.batch.cluster.worker import Model, SharedFile, Worker, WorkerJob
from vidstyle.batch.cluster.worker_pool import Task, TaskFailed, WithLog, WorkerPool, run_task
from vidstyle.cli.reporters import QuietReporter
from vidstyle.conversion.job import Job
from vidstyle.core.damage import Damage
from vidstyle.core.file_identity import identity_of
from vidstyle.core.hardware import usable_cores
from vidstyle.core.options import ClusterOptions, ConvertOptions, EncodeOptions, StyleOptions
from vidstyle.sinks import OtherStreams, open_segment_sink, open_segmented_file
from vidstyle.sinks.segment_folder import SegmentFolder
from vidstyle.sinks.segments import EncodedSegment, SegmentedFile
from vidstyle.sources import open_source
from vidstyle.sources.video import FrameWindow
from vidstyle.styles.catalog import find_style
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal.shots import thumbnail

OPTIONS = ConvertOptions(style=StyleOptions(STYLE, device="cpu"))
_STAGE_FRAMES = 48
_ROUND_TRIPS = 50


def models() -> dict[str, Model]:
    """The models that workers get at their start."""
    path = find_style(STYLE)
    return {STYLE: Model(path.name, path.read_bytes())}


@dataclass
class Spent:
    """Sums over all tasks of a kind."""

    count: int = 0
    frames: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0

    def to_json(self) -> dict[str, Any]:
        """The sums, rounded."""
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in vars(self).items()}


@dataclass
class InProcess:
    """A pool of one worker in this process (see `worker_pool.WorkerPool`); a task is done when `results` is called."""

    worker: Worker
    workers: int = 1
    spent: defaultdict[str, Spent] = field(default_factory=lambda: defaultdict(Spent))
    _number: int = 0
    _task: Task | None = None

    def start(self, task: Task) -> int | None:
        if self._task is not None:
            return None
        self._task, self._number = task, self._number + 1
        return self._number

    def results(self) -> list[tuple[int, Any]]:
        task, self._task = self._task, None
        if task is None:
            return []
        spent = self.spent[task.method]
        began, cpu = time.perf_counter(), time.process_time()
        result = run_task(self.worker, task, lambda count: None)
        spent.seconds += time.perf_counter() - began
        spent.cpu_seconds += time.process_time() - cpu
        spent.count += 1
        spent.frames += _frames_of(task, _without_log(result))
        spent.bytes_in += len(pickle.dumps(task))
        spent.bytes_out += len(pickle.dumps(result))
        return [(self._number, result)]

    def share_file(self, path: str) -> SharedFile:
        raise AssertionError("the worker has the file")

    def close(self) -> None:
        pass


def _without_log(result: Any) -> Any:
    return result.result if isinstance(result, WithLog) else result


def _frames_of(task: Task, result: Any) -> int:
    """How many frames were scanned or stylized."""
    if task.method == "scan":
        return len(result.times)
    if task.method == "stylize_chunk":
        return len(task.arguments[1].times)
    return 0


_DRIVER: tuple[tuple[Any, str], ...] = (
    (vidstyle.batch.cluster.scheduler, "claim_job"),
    (job_tasks, "scans_agree"),
    (job_tasks, "divide"),
    (Chunk, "to_json"),
    (SegmentedFile, "add"),
    (SegmentedFile, "publish"),
)
"""What takes the driver's time. `publish` joins the segments, in the background."""


@contextmanager
def _timed(into: dict[str, Spent]) -> Iterator[None]:
    def timed(real: Callable[..., Any], spent: Spent) -> Callable[..., Any]:
        def called(*args: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return real(*args, **named)
            finally:
                spent.seconds += time.perf_counter() - began
                spent.count += 1

        return called

    with ExitStack() as stack:
        for owner, name in _DRIVER:
            into[name] = Spent()
            stack.enter_context(mock.patch.object(owner, name, timed(getattr(owner, name), into[name])))
        yield


def video_parts(video: Path, out: Path, chunk_seconds: float, hours: float) -> dict[str, Any]:
    """The time of each kind of task, and of the driver, for one video that is divided, stylized and joined.

    Survey and join are not proportional to the frames: they are measured again with the same packets repeated for `hours`.
    """
    pool, driver = InProcess(Worker(models(), usable_cores())), dict[str, Spent]()
    segments: list[EncodedSegment] = []
    add = SegmentedFile.add

    def add_and_keep(file: SegmentedFile, number: int, segment: EncodedSegment, damage: Damage) -> None:
        segments.append(segment)
        add(file, number, segment, damage)

    began = time.perf_counter()
    with mock.patch.object(SegmentedFile, "add", add_and_keep), _timed(driver):
        (job_result,) = run_jobs([Job(str(video), out, STYLE)], pool, OPTIONS, QuietReporter(), chunk_seconds)
    if job_result.result is None or "stylize_chunk" not in pool.spent:
        raise SystemExit(f"expected {video.name} to be stylized in chunks, got {job_result}")
    with closing(open_source(str(video))) as source:
        info = source.info
    found: dict[str, Any] = {
        "width": info.width,
        "height": info.height,
        "frame_rate": float(info.frame_rate or 0),
        "frames": job_result.result.frames,
        "chunk_seconds": chunk_seconds,
        "bytes_in": video.stat().st_size,
        "bytes_out": out.stat().st_size,
        "seconds": round(time.perf_counter() - began, 3),
        "tasks": {method: spent.to_json() for method, spent in pool.spent.items()},
        "driver": {name: {"count": s.count, "seconds": round(s.seconds, 5)} for name, s in driver.items()},
        "cpu_ms_a_frame": _stages(video, out),
    }
    found["repeated"] = long = _repeated(video, out.with_name(f"long.{out.name}"), segments, hours)
    short: dict[str, Any] = {"frames": found["frames"], "survey": pool.spent["survey"].seconds, "join": driver["publish"].seconds}
    found["fits"] = {what: _line(short["frames"], short[what], long["frames"], long[what]) for what in ("survey", "join")}
    print_progress(f"tasks: {found['frames']} frames of {info.width}x{info.height} in {found['seconds']:.1f} s")
    return found


def _repeated(video: Path, out: Path, segments: list[EncodedSegment], hours: float) -> dict[str, Any]:
    """Survey and join of a long video that repeats `video` and its stylized `segments`."""
    path = lengthened(video, out.with_name(f"in.{out.name}"), 3600 * hours)
    with av.open(str(video)) as container:
        length = Fraction(container.duration or 0, av.time_base)
    job = WorkerJob(str(path), str(out), OPTIONS, None, identity_of(path))
    worker = Worker({})
    began = time.perf_counter()
    survey = worker.survey(job, 0.0)
    surveyed = time.perf_counter() - began
    others = OtherStreams(str(path), survey.shift_seconds, OPTIONS)
    with closing(open_segmented_file(out, survey.info, OPTIONS, {}, others)) as file:
        times = max(1, -int(-Fraction(3600 * hours).limit_denominator(1000) // length))
        ticks = length / survey.info.time_base
        began = time.perf_counter()
        for n in range(times * len(segments)):
            turn, which = divmod(n, len(segments))
            segment, shift = segments[which], round(turn * ticks)
            file.add(n, EncodedSegment(segment.data, [(pts + shift, duration) for pts, duration in segment.packets]), {})
        stored = time.perf_counter() - began
        began = time.perf_counter()
        file.publish(times * len(segments))
        joined = time.perf_counter() - began
    found = {
        "frames": times * sum(len(s.packets) for s in segments),
        "chunks": times * len(segments),
        "bytes_in": path.stat().st_size,
        "bytes_out": out.stat().st_size,
        "survey": round(surveyed, 4),
        "store": round(stored, 4),
        "join": round(joined, 4),
    }
    for each in {path, out} - {video}:
        each.unlink()
    print_progress(f"tasks: {found['frames']} frames, repeated, surveyed in {surveyed:.2f} s, joined in {joined:.2f} s")
    return found


def _line(x1: int, y1: float, x2: int, y2: float) -> dict[str, float]:
    """The line through two measurements: seconds at the beginning, and for each frame."""
    each = max(0.0, (y2 - y1) / (x2 - x1)) if x2 > x1 else y1 / x1
    return {"seconds": round(max(0.0, y1 - each * x1), 5), "seconds_a_frame": round(each, 9)}


def _stages(video: Path, out: Path) -> dict[str, float]:
    """CPU milliseconds of all threads for a frame at each stage."""
    stylizer = load_stylizer(OPTIONS.style)
    spent: dict[str, float] = {}

    @contextmanager
    def measured(stage: str) -> Iterator[None]:
        began = time.process_time()
        yield
        spent[stage] = round(1000 * (time.process_time() - began) / len(frames), 3)

    with closing(open_source(str(video))) as source:
        info = source.info
        frames = list(islice(source.frames(), _STAGE_FRAMES))
    with closing(open_source(str(video))) as source, measured("decode"):
        for _ in islice(source.frames(), len(frames)):
            pass
    with measured("thumbnail"):
        for frame in frames:
            thumbnail(frame.pixels)
    stylizer.stylize([frames[0].pixels])
    with measured("net"):
        stylized = [replace(frame, pixels=stylizer.stylize([frame.pixels])[0]) for frame in frames]
    reformatter = VideoReformatter()
    with measured("convert"):  # the only part of encoding that an encoder on a GPU leaves to the CPU
        for frame in stylized:
            reformatter.reformat(av.VideoFrame.from_ndarray(frame.pixels, "rgb24"), format="yuv420p", threads=1)
    with closing(open_segment_sink(out, info, EncodeOptions())) as sink, measured("encode"):
        for frame in stylized:
            sink.write(frame)
        sink.encoded()
    return spent


def storing(hours: float, rate: float, chunk_seconds: float) -> dict[str, Any]:
    """The time in which the driver stores a chunk of a video of so many hours, from its beginning to its end: the manifest of the
    whole video is written anew each time. The segment itself is small here; the manifest is what grows."""
    chunks, packets = round(hours * 3600 / chunk_seconds), round(chunk_seconds * rate)
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = SegmentFolder(Path(name) / "video.mp4", {})
        plan = Chunk(0, FrameWindow(), 0, list(range(packets)), [2**31 + i for i in range(packets)], [], None)
        folder.plan = [plan.to_json() for _ in range(chunks)]
        listed = [(512 * i, 512) for i in range(packets)]
        path = folder.path / "000000.nut"
        path.write_bytes(b"segment")
        folder.add(0, path, listed, {}, {})  # warm up
        for number in range(1, chunks):
            if number in {1, chunks // 4, chunks // 2, 3 * chunks // 4, chunks - 1}:
                began = time.perf_counter()
                folder.add(number, path, listed, {}, {})
                took = time.perf_counter() - began
                size = (folder.path / "manifest.json").stat().st_size
                found.append({"chunk": number, "seconds": round(took, 5), "manifest_bytes": size})
            else:
                folder.segments[number] = {"file": path.name, "sha256": "0" * 64, "packets": listed}
        folder.segments.clear()
        folder.close()
    first, last = found[0]["seconds"], found[-1]["seconds"]
    print_progress(f"tasks: storing a chunk of a video of {hours:g} h takes {first:.3f} s at first, {last:.3f} s at last")
    return {"hours": hours, "chunks": chunks, "packets_a_chunk": packets, "measured": found}


def round_trip(cluster: ClusterOptions) -> float:
    """Median seconds from starting a task that fails at once to its result."""
    with closing(open_worker_pool([STYLE], OPTIONS, cluster)) as pool:
        task = Task("survey", WorkerJob("/nothing/here.mp4", "out.mp4", OPTIONS, None, None), (1.0,))
        _wait_for(pool, task)  # the worker starts meanwhile
        took = []
        for _ in range(_ROUND_TRIPS):
            began = time.perf_counter()
            _wait_for(pool, task)
            took.append(time.perf_counter() - began)
    return round(statistics.median(took), 5)


def _wait_for(pool: WorkerPool, task: Task) -> None:
    while (number := pool.start(task)) is None:  # no worker has started yet
        time.sleep(0.01)
    while True:
        for finished, result in pool.results():
            if finished == number:
                assert isinstance(_without_log(result), TaskFailed), result
                return


def survey_of(worker: Worker, job: WorkerJob) -> Survey:
    """A survey with the keyframes, however short the video is."""
    return worker.survey(job, 0.0)
