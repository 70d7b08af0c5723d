"""What each kind of a cluster's tasks takes, and each thing that the driver does for them: measured one by one, in one process.

Used by tools/bench/cluster.py. The office, the production of a video and the worker are the real ones; only what is between them
is a plain call.
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
from tools.bench.measurement import STYLE, say
from tools.bench.scenes import lengthened
from vidstyle.batch.cluster import production
from vidstyle.batch.cluster.chunks import Chunk, Survey
from vidstyle.batch.cluster.worker_pool import WorkerPool, TaskFailed, WithLog, Task, answer
from vidstyle.batch.cluster.scheduler import open_worker_pool, run_jobs
from vidstyle.batch.cluster.worker import Film, Model, SharedFile, Worker, facts_of
from vidstyle.cli.reporters import QuietReporter
from vidstyle.conversion.job import Job
from vidstyle.core.hardware import usable_cores
from vidstyle.core.options import ClusterOptions, ConvertOptions, EncodeOptions, StyleOptions
from vidstyle.sinks import stream_copier_of, open_segment_sink, open_segmented_file
from vidstyle.sinks.segment_folder import SegmentFolder
from vidstyle.sinks.segments import EncodedSegment, SegmentedFile
from vidstyle.sources import open_source
from vidstyle.sources.video import FrameWindow
from vidstyle.styles.catalog import find_style
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal.shots import thumbnail

OPTIONS = ConvertOptions(style=StyleOptions(STYLE, device="cpu"))
_STAGE_FRAMES = 48
_HAND_OVERS = 50


def models() -> dict[str, Model]:
    """What workers get at their start."""
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

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in vars(self).items()}


@dataclass
class InProcess:
    """One worker in this process, see `vidstyle.batch.cluster.worker_pool.WorkerPool`: a task is done when its answer is asked for."""

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

    def answers(self) -> list[tuple[int, Any]]:
        task, self._task = self._task, None
        if task is None:
            return []
        spent = self.spent[task.method]
        began, cpu = time.perf_counter(), time.process_time()
        said = answer(self.worker, task, lambda count: None)
        spent.seconds += time.perf_counter() - began
        spent.cpu_seconds += time.process_time() - cpu
        spent.count += 1
        spent.frames += _frames_of(task, _plain(said))
        spent.bytes_in += len(pickle.dumps(task))
        spent.bytes_out += len(pickle.dumps(said))
        return [(self._number, said)]

    def share(self, path: str) -> SharedFile:
        raise AssertionError("the worker has the file")

    def close(self) -> None:
        pass


def _plain(said: Any) -> Any:
    """An answer without what was logged on the way to it."""
    return said.answer if isinstance(said, WithLog) else said


def _frames_of(task: Task, said: Any) -> int:
    """Frames that were decoded for it, or stylized."""
    if task.method == "scan":
        return len(said.times)
    if task.method == "paint":
        return len(task.arguments[1].times)
    return 0


_DRIVER: tuple[tuple[Any, str], ...] = (
    (vidstyle.batch.cluster.scheduler, "claim_job"),
    (production, "scans_agree"),
    (production, "divide"),
    (Chunk, "stored"),
    (SegmentedFile, "add"),
    (SegmentedFile, "publish"),
)
"""What takes the driver's time. `publish` is the join, done aside."""


@contextmanager
def _timed(into: dict[str, Spent]) -> Iterator[None]:
    def watched(real: Callable[..., Any], spent: Spent) -> Callable[..., Any]:
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
            stack.enter_context(mock.patch.object(owner, name, watched(getattr(owner, name), into[name])))
        yield


def video_parts(video: Path, out: Path, chunk_seconds: float, hours: float) -> dict[str, Any]:
    """One video divided, stylized and joined: what each kind of task took, and the driver. What is done for all of a video at once
    (survey and join) is measured again with the same packets repeated for so many hours, for it is more than a sum of frames."""
    engine, driver = InProcess(Worker(models(), usable_cores())), dict[str, Spent]()
    segments: list[EncodedSegment] = []
    add = SegmentedFile.add

    def remembered(file: SegmentedFile, number: int, segment: EncodedSegment) -> None:
        segments.append(segment)
        add(file, number, segment)

    began = time.perf_counter()
    with mock.patch.object(SegmentedFile, "add", remembered), _timed(driver):
        (job_result,) = run_jobs([Job(str(video), out, STYLE)], engine, OPTIONS, QuietReporter(), chunk_seconds)
    if job_result.result is None or "paint" not in engine.spent:
        raise SystemExit(f"expected {video.name} to be stylized in parts, got {job_result}")
    with closing(open_source(str(video))) as source:
        info = source.info
    found = {
        "width": info.width,
        "height": info.height,
        "frame_rate": float(info.frame_rate or 0),
        "frames": job_result.result.frames,
        "chunk_seconds": chunk_seconds,
        "bytes_in": video.stat().st_size,
        "bytes_out": out.stat().st_size,
        "seconds": round(time.perf_counter() - began, 3),
        "tasks": {method: spent.told() for method, spent in engine.spent.items()},
        "driver": {name: {"count": s.count, "seconds": round(s.seconds, 5)} for name, s in driver.items()},
        "cpu_ms_a_frame": _stages(video, out),
    }
    found["repeated"] = long = _repeated(video, out.with_name(f"long.{out.name}"), segments, hours)
    short = {"frames": found["frames"], "survey": engine.spent["survey"].seconds, "join": driver["publish"].seconds}
    found["fits"] = {what: _line(short["frames"], short[what], long["frames"], long[what]) for what in ("survey", "join")}
    say(f"tasks: {found['frames']} frames of {info.width}x{info.height} in {found['seconds']:.1f} s")
    return found


def _repeated(video: Path, out: Path, segments: list[EncodedSegment], hours: float) -> dict[str, Any]:
    """Survey and join of a long video that consists of `video` and its stylized `segments` over and over."""
    path = lengthened(video, out.with_name(f"in.{out.name}"), 3600 * hours)
    with av.open(str(video)) as container:
        length = Fraction(container.duration or 0, av.time_base)
    given = Film(str(path), str(out), OPTIONS, None, facts_of(str(path)))
    worker = Worker({})
    began = time.perf_counter()
    survey = worker.survey(given, 0.0)
    surveyed = time.perf_counter() - began
    stream_copier = stream_copier_of(str(path), survey.shift_seconds, OPTIONS)
    with closing(open_segmented_file(out, survey.info, OPTIONS, {}, stream_copier)) as file:
        times = max(1, -int(-Fraction(3600 * hours).limit_denominator(1000) // length))
        ticks = length / survey.info.time_base
        began = time.perf_counter()
        for n in range(times * len(segments)):
            turn, which = divmod(n, len(segments))
            segment, shift = segments[which], round(turn * ticks)
            file.add(n, EncodedSegment(segment.data, [(pts + shift, duration) for pts, duration in segment.packets]))
        kept = time.perf_counter() - began
        began = time.perf_counter()
        file.publish(times * len(segments))
        joined = time.perf_counter() - began
    found = {
        "frames": times * sum(len(s.packets) for s in segments),
        "chunks": times * len(segments),
        "bytes_in": path.stat().st_size,
        "bytes_out": out.stat().st_size,
        "survey": round(surveyed, 4),
        "keep": round(kept, 4),
        "join": round(joined, 4),
    }
    for each in {path, out} - {video}:
        each.unlink()
    say(f"tasks: {found['frames']} frames, repeated, surveyed in {surveyed:.2f} s, joined in {joined:.2f} s")
    return found


def _line(x1: int, y1: float, x2: int, y2: float) -> dict[str, float]:
    """Seconds at the beginning, and for each frame."""
    each = max(0.0, (y2 - y1) / (x2 - x1)) if x2 > x1 else y1 / x1
    return {"seconds": round(max(0.0, y1 - each * x1), 5), "seconds_a_frame": round(each, 9)}


def _stages(video: Path, out: Path) -> dict[str, float]:
    """CPU milliseconds, of all threads, that a frame takes at each stage."""
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
    with measured("convert"):  # which is a part of encoding, and all of it that an encoder on a GPU leaves to the CPU
        for frame in stylized:
            reformatter.reformat(av.VideoFrame.from_ndarray(frame.pixels, "rgb24"), format="yuv420p", threads=1)
    with closing(open_segment_sink(out, info, EncodeOptions())) as sink, measured("encode"):
        for frame in stylized:
            sink.write(frame)
        sink.encoded()
    return spent


def keeping(hours: float, rate: float, chunk_seconds: float) -> dict[str, Any]:
    """What it takes the driver to keep a chunk of a video of so many hours, from its beginning to its end: the notes on the whole
    video are written anew each time. The segment itself is small here; it is the notes that grow."""
    chunks, packets = round(hours * 3600 / chunk_seconds), round(chunk_seconds * rate)
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = SegmentFolder(Path(name) / "video.mp4", {})
        plan = Chunk(0, FrameWindow(), 0, list(range(packets)), [2**31 + i for i in range(packets)], [], None)
        folder.plan = [plan.stored() for _ in range(chunks)]
        listed = [(512 * i, 512) for i in range(packets)]
        path = folder.path / "000000.nut"
        path.write_bytes(b"segment")
        folder.add(0, path, listed)  # warm up
        for number in range(1, chunks):
            if number in {1, chunks // 4, chunks // 2, 3 * chunks // 4, chunks - 1}:
                began = time.perf_counter()
                folder.add(number, path, listed)
                took = time.perf_counter() - began
                size = (folder.path / "manifest.json").stat().st_size
                found.append({"chunk": number, "seconds": round(took, 5), "bytes_of_notes": size})
            else:
                folder.segments[number] = {"file": path.name, "sha256": "0" * 64, "packets": listed}
        folder.segments.clear()
        folder.close()
    first, last = found[0]["seconds"], found[-1]["seconds"]
    say(f"tasks: keeping a chunk of a video of {hours:g} h takes {first:.3f} s at first, {last:.3f} s at last")
    return {"hours": hours, "chunks": chunks, "packets_a_chunk": packets, "measured": found}


def hand_over(cluster: ClusterOptions) -> float:
    """Median seconds from giving out a task that is nothing to having its answer."""
    with closing(open_worker_pool([STYLE], OPTIONS, cluster)) as engine:
        nothing = Task("survey", Film("/nothing/here.mp4", "out.mp4", OPTIONS, None, (1, 1)), (1.0,))
        _said(engine, nothing)  # the worker starts meanwhile
        took = []
        for _ in range(_HAND_OVERS):
            began = time.perf_counter()
            _said(engine, nothing)
            took.append(time.perf_counter() - began)
    return round(statistics.median(took), 5)


def _said(engine: WorkerPool, task: Task) -> None:
    while (number := engine.start(task)) is None:  # no worker has come yet
        time.sleep(0.01)
    while True:
        for answered, said in engine.answers():
            if answered == number:
                assert isinstance(_plain(said), TaskFailed), said
                return


def survey_of(worker: Worker, video: Film) -> Survey:
    """With its keyframes, however short the video is."""
    return worker.survey(video, 0.0)
