"""What each kind of a cluster's tasks takes, and each thing that the driver does for them: measured one by one, in one process.

Used by tools/bench_cluster.py. The office, the production of a film and the worker are the real ones; only what is between them
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
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

from measuring import STYLE, say, usable_cores

import vidstyle.cluster
from vidstyle.cluster import open_engine, production, run_jobs
from vidstyle.cluster.chunks import Chunk, Survey
from vidstyle.cluster.engine import Engine, Failed, Task, answer
from vidstyle.cluster.worker import Film, Model, SharedFile, Worker
from vidstyle.jobs import Job
from vidstyle.options import ClusterOptions, ConvertOptions, EncodeOptions, StyleOptions
from vidstyle.progress import Quiet
from vidstyle.sinks import open_segment_sink
from vidstyle.sinks.segments import SegmentedFile
from vidstyle.sinks.workfolder import WorkFolder
from vidstyle.sources import open_source
from vidstyle.sources.video import Window
from vidstyle.stylizers import load_stylizer
from vidstyle.stylizers.catalog import find_style
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
    """One worker in this process, see `vidstyle.cluster.engine.Engine`: a task is done when its answer is asked for."""

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
        spent.frames += _frames_of(task, said)
        spent.bytes_in += len(pickle.dumps(task))
        spent.bytes_out += len(pickle.dumps(said))
        return [(self._number, said)]

    def share(self, path: str) -> SharedFile:
        raise AssertionError("the worker has the file")

    def close(self) -> None:
        pass


def _frames_of(task: Task, said: Any) -> int:
    """Frames that were decoded for it, or painted."""
    if task.method == "look_through":
        return len(said.times)
    if task.method == "paint":
        return len(task.arguments[1].times)
    return 0


_DRIVER: tuple[tuple[Any, str], ...] = (
    (vidstyle.cluster, "admit"),
    (production, "fit_together"),
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


def film_parts(film: Path, out: Path, chunk_seconds: float) -> dict[str, Any]:
    """One film divided, painted and joined: what each kind of task took, and the driver."""
    engine, driver = InProcess(Worker(models(), usable_cores())), dict[str, Spent]()
    began = time.perf_counter()
    with _timed(driver):
        (outcome,) = run_jobs([Job(str(film), out, STYLE)], engine, OPTIONS, Quiet(), chunk_seconds)
    if outcome.result is None or "paint" not in engine.spent:
        raise SystemExit(f"expected {film.name} to be painted in parts, got {outcome}")
    with closing(open_source(str(film))) as source:
        info = source.info
    found = {
        "width": info.width,
        "height": info.height,
        "frame_rate": float(info.frame_rate or 0),
        "frames": outcome.result.frames,
        "chunk_seconds": chunk_seconds,
        "bytes_in": film.stat().st_size,
        "bytes_out": out.stat().st_size,
        "seconds": round(time.perf_counter() - began, 3),
        "tasks": {method: spent.told() for method, spent in engine.spent.items()},
        "driver": {name: {"count": s.count, "seconds": round(s.seconds, 5)} for name, s in driver.items()},
        "cpu_ms_a_frame": _stages(film, out),
    }
    say(f"tasks: {found['frames']} frames of {info.width}x{info.height} in {found['seconds']:.1f} s")
    return found


def _stages(film: Path, out: Path) -> dict[str, float]:
    """CPU milliseconds, of all threads, that a frame takes at each stage."""
    stylizer = load_stylizer(OPTIONS.style)
    spent: dict[str, float] = {}

    @contextmanager
    def measured(stage: str) -> Iterator[None]:
        began = time.process_time()
        yield
        spent[stage] = round(1000 * (time.process_time() - began) / len(frames), 3)

    with closing(open_source(str(film))) as source:
        info = source.info
        frames = list(islice(source.frames(), _STAGE_FRAMES))
    with closing(open_source(str(film))) as source, measured("decode"):
        for _ in islice(source.frames(), len(frames)):
            pass
    with measured("thumbnail"):
        for frame in frames:
            thumbnail(frame.pixels)
    stylizer.stylize([frames[0].pixels])
    with measured("net"):
        painted = [replace(frame, pixels=stylizer.stylize([frame.pixels])[0]) for frame in frames]
    with closing(open_segment_sink(out, info, EncodeOptions())) as sink, measured("encode"):
        for frame in painted:
            sink.write(frame)
        sink.encoded()
    return spent


def keeping(hours: float, rate: float, chunk_seconds: float) -> dict[str, Any]:
    """What it takes the driver to keep a chunk of a film of so many hours, from its beginning to its end: the notes on the whole
    film are written anew each time. The segment itself is small here; it is the notes that grow."""
    chunks, packets = round(hours * 3600 / chunk_seconds), round(chunk_seconds * rate)
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = WorkFolder(Path(name) / "film.mp4", {})
        plan = Chunk(0, Window(), 0, list(range(packets)), [2**31 + i for i in range(packets)], [], None)
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
    say(f"tasks: keeping a chunk of a film of {hours:g} h takes {first:.3f} s at first, {last:.3f} s at last")
    return {"hours": hours, "chunks": chunks, "packets_a_chunk": packets, "measured": found}


def hand_over(cluster: ClusterOptions) -> float:
    """Median seconds from giving out a task that is nothing to having its answer."""
    with closing(open_engine([STYLE], OPTIONS, cluster)) as engine:
        nothing = Task("survey", Film("/nothing/here.mp4", "out.mp4", OPTIONS, None, (1, 1)), (1.0,))
        _said(engine, nothing)  # the worker starts meanwhile
        took = []
        for _ in range(_HAND_OVERS):
            began = time.perf_counter()
            _said(engine, nothing)
            took.append(time.perf_counter() - began)
    return round(statistics.median(took), 5)


def _said(engine: Engine, task: Task) -> None:
    number = engine.start(task)
    while True:
        for answered, said in engine.answers():
            if answered == number:
                assert isinstance(said, Failed), said
                return


def survey_of(worker: Worker, film: Film) -> Survey:
    """With its keyframes, however short the film is."""
    return worker.survey(film, 0.0)
