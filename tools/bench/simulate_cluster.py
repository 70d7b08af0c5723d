"""How much faster are 2, 4, ... 64 workers than one? The real scheduler in virtual time.

    python -m tools.bench.simulate_cluster [--videos 1000] [--video-hours 1] [--long-hours 2] [--faster 1 --faster 10]

`vidstyle.batch.cluster.scheduler.run_jobs` runs as always: the scheduler, the state of the jobs, their tasks and the choice of
chunk boundaries are the real code. The clock, the worker pool and the disk are replaced: a task ends with a prepared result
after the time that tools/bench/cluster.py measured for its kind and length, and what the driver does (claiming, dividing, storing
a chunk, joining in the background) takes the measured time. A worker is a machine like the measured one, or `--faster` times as
fast in what it does with frames; the driver has a machine of its own, and every chunk reaches it over a network of `--gbit`.
Nothing fails, and storage is never the bottleneck.

The videos have a cut every six seconds on average, and keyframes at cuts and every four seconds. Results go beside the measured
ones, into tools/bench/results/cluster.json.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import vidstyle.batch.cluster.scheduler
from tools.bench.measurement import RESULTS, STYLE, print_progress, write_result
from vidstyle.batch.claims import ClaimedJob
from vidstyle.batch.cluster import job_tasks
from vidstyle.batch.cluster.chunks import Chunk, ScanResult, Survey, divide
from vidstyle.batch.cluster.scheduler import run_jobs
from vidstyle.batch.cluster.worker import ConvertedFile, SharedFile, StylizedChunk
from vidstyle.batch.cluster.worker_pool import Task
from vidstyle.conversion.convert import Result
from vidstyle.conversion.job import Job
from vidstyle.core.frames import VideoInfo
from vidstyle.core.options import ClusterOptions, ConvertOptions
from vidstyle.sinks.segments import EncodedSegment

WORKERS = (1, 2, 4, 8, 16, 32, 64)
RATE = 25
TICK = Fraction(1, 12800)
STEP = round(1 / RATE / TICK)
SHOT_SECONDS, KEYFRAME_SECONDS = 6.0, 4
_BOTTLENECK = 0.9
"""What is busy for this fraction of the time or more is the bottleneck."""


@dataclass(frozen=True)
class Costs:
    """Seconds, as measured."""

    survey: float
    survey_a_frame: float
    scan_a_frame: float
    shot_statistics: float
    stylize_a_frame: float
    claim: float
    divide_a_frame: float
    store: float
    store_a_byte: float
    """Of the manifest, which is written anew with every chunk."""
    manifest_a_frame: float
    """Bytes of the chunks in the manifest, which are there from the beginning."""
    manifest_a_packet: float
    """Bytes of the finished packets in the manifest."""
    join: float
    join_a_frame: float
    round_trip: float
    chunk_bytes_a_frame: float

    @classmethod
    def measured(cls, tasks: dict[str, Any], size: str, faster: float) -> Costs:
        """From the part `tasks` of the results."""
        video, storing = tasks["videos"][size], tasks["storing"]["measured"]
        done, driver, frames, fits = video["tasks"], video["driver"], video["frames"], video["fits"]
        sizes, seconds = [k["manifest_bytes"] for k in storing], [k["seconds"] for k in storing]
        slope = max(0.0, float(np.polyfit(sizes, seconds, 1)[0]))
        packets = (storing[-1]["chunk"] - storing[0]["chunk"]) * tasks["storing"]["packets_a_chunk"]
        all_packets = tasks["storing"]["chunks"] * tasks["storing"]["packets_a_chunk"]
        statistics = done["shot_statistics"]["seconds"] / done["shot_statistics"]["count"]
        per_packet = (sizes[-1] - sizes[0]) / packets
        return cls(
            survey=fits["survey"]["seconds"],
            survey_a_frame=fits["survey"]["seconds_a_frame"],
            scan_a_frame=done["scan"]["seconds"] / done["scan"]["frames"] / faster,
            shot_statistics=statistics / faster,
            # One shot began among the frames that were stylized.
            stylize_a_frame=(done["stylize_chunk"]["seconds"] - statistics) / done["stylize_chunk"]["frames"] / faster,
            claim=driver["claim_job"]["seconds"] / driver["claim_job"]["count"],
            divide_a_frame=sum(driver[k]["seconds"] for k in ("scans_agree", "divide", "to_json")) / frames,
            store=driver["add"]["seconds"] / driver["add"]["count"],
            store_a_byte=slope,
            manifest_a_frame=sizes[0] / all_packets,
            manifest_a_packet=per_packet,
            join=fits["join"]["seconds"],
            join_a_frame=fits["join"]["seconds_a_frame"],
            round_trip=tasks["round_trip_seconds"]["ray"],
            chunk_bytes_a_frame=done["stylize_chunk"]["bytes_out"] / done["stylize_chunk"]["frames"],
        )


class Clock:
    """Replaces the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True)
class SimulatedVideo:
    """The cuts and keyframes of a video, and how the real code divides it; all videos are like this one."""

    frames: int
    shots: list[int]
    survey: Survey
    chunks: list[Chunk]
    """With one frame each instead of all."""
    chunk_frames: list[int]
    chunk_shots: list[int]
    """How many shots begin in each chunk."""

    @classmethod
    def of(cls, hours: float, chunk_seconds: float) -> SimulatedVideo:
        frames, chance = round(hours * 3600 * RATE), random.Random(0)
        shots, at = [0], 0.0
        while (at := at + chance.expovariate(1 / SHOT_SECONDS) + 0.5) * RATE < frames:
            shots.append(round(at * RATE))
        shots = sorted(set(shots) - {frames})
        keyframes, last = list[int](), 0
        for shot, end in zip(shots, [*shots[1:], frames], strict=True):
            keyframes += range(shot, end, KEYFRAME_SECONDS * RATE)
            last = end
        times = [n * STEP for n in range(frames)]
        differences = [0.0] * (last - 1)
        for shot in shots[1:]:
            differences[shot - 1] = 99.0
        info = VideoInfo(640, 360, TICK, Fraction(RATE), frames, hours * 3600)
        survey = Survey(info, Fraction(0), [n * STEP for n in keyframes if n], times[-1])
        chunks = divide([ScanResult(times, [0] * frames, differences, [], True)], survey, round(chunk_seconds / TICK), 0)
        lengths = [len(chunk.times) for chunk in chunks]
        begun = [len(chunk.shot_starts) for chunk in chunks]
        short = [replace(c, times=c.times[:1], checksums=c.checksums[:1], shot_starts=c.shot_starts[:1]) for c in chunks]
        return cls(frames, shots, survey, short, lengths, begun)


@dataclass
class World:
    """The clock, the costs, and how long each part was busy."""

    costs: Costs
    video: SimulatedVideo
    gbit: float
    clock: Clock = field(default_factory=Clock)
    busy: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def driver(self, what: str, seconds: float) -> None:
        """The driver does this, and nothing else at the same time."""
        self.clock.now += seconds
        self.busy["driver"] += seconds
        self.busy[what] += seconds

    def task(self, task: Task) -> tuple[float, Any]:
        """The seconds and the result of a task."""
        costs, video = self.costs, self.video
        if task.method == "survey":
            (shortest,) = task.arguments
            if video.frames < shortest * RATE:
                return costs.survey, replace(video.survey, keyframes=[])
            return costs.survey + costs.survey_a_frame * video.frames, video.survey
        if task.method == "scan":
            window = task.arguments[1]
            first, end = (window.first or 0) // STEP, video.frames if window.end is None else window.end // STEP
            return costs.scan_a_frame * (end - first), ScanResult([0], [0], [], [], True)
        if task.method == "shot_statistics":
            return costs.shot_statistics, {}
        if task.method == "stylize_chunk":
            number = task.arguments[1].number
            frames, shots = video.chunk_frames[number], video.chunk_shots[number]
            stylized = StylizedChunk(EncodedSegment(b"", []), frames, [], {})
            return costs.stylize_a_frame * frames + costs.shot_statistics * shots, stylized
        assert task.method == "convert_whole"
        return self.plain, ConvertedFile(Result(Path(task.job.output), video.frames, 0.0), None, video.survey.info)

    @property
    def plain(self) -> float:
        """Seconds of a video that is stylized in one piece."""
        costs, video = self.costs, self.video
        stylizing = costs.stylize_a_frame * video.frames + costs.shot_statistics * len(video.shots)
        return stylizing + costs.join + costs.join_a_frame * video.frames


class VirtualPool:
    """See `vidstyle.batch.cluster.worker_pool.WorkerPool`."""

    def __init__(self, workers: int, world: World, publisher: VirtualPublisher) -> None:
        self.workers, self._world, self._publisher = workers, world, publisher
        self._number = 0
        self._running: list[tuple[float, int, Any]] = []

    def start(self, task: Task) -> int | None:
        if len(self._running) == self.workers:
            return None
        self._number += 1
        seconds, result = self._world.task(task)
        seconds += self._world.costs.round_trip
        self._world.busy["workers"] += seconds
        self._world.busy[task.method] += seconds
        heapq.heappush(self._running, (self._world.clock.now + seconds, self._number, result))
        return self._number

    def results(self) -> list[tuple[int, Any]]:
        clock = self._world.clock
        clock.now = max(clock.now, min(self._running[0][0], self._publisher.next_end))
        found = []
        while self._running and self._running[0][0] <= clock.now:
            _, number, result = heapq.heappop(self._running)
            found.append((number, result))
        return found

    def share_file(self, path: str) -> SharedFile:
        raise AssertionError("all workers have the file")

    def close(self) -> None:
        pass


class VirtualPublisher:
    """Replaces the background thread that publishes: one output after the other, in virtual time."""

    def __init__(self, world: World) -> None:
        self._world, self._free = world, 0.0
        self._ends: list[float] = []
        self.cost = 0.0
        """Of the output that is being submitted."""

    @property
    def next_end(self) -> float:
        """When the next output will be finished."""
        while self._ends and self._ends[0] <= self._world.clock.now:
            self._ends.pop(0)
        return self._ends[0] if self._ends else float("inf")

    def submit(self, publish: Callable[[], Result]) -> _Published:
        self.cost = 0.0
        result = publish()
        self._free = max(self._free, self._world.clock.now) + self.cost
        self._world.busy["join"] += self.cost
        self._ends.append(self._free)
        return _Published(self._world.clock, self._free, result)

    def shutdown(self) -> None:
        pass


@dataclass(frozen=True)
class _Published:
    clock: Clock
    end: float
    value: Result

    def done(self) -> bool:
        return self.clock.now >= self.end

    def result(self) -> Result:
        return self.value


class _Folder:
    """Replaces the folder with the manifest of a video."""

    def __init__(self) -> None:
        self.plan: Any = None
        self.segments: dict[int, Any] = {}

    def write(self) -> None:
        pass


class _File:
    """Replaces an output with its segments."""

    def __init__(self, world: World, publisher: VirtualPublisher) -> None:
        self.folder = _Folder()
        self._world, self._publisher, self._done = world, publisher, 0

    def add(self, number: int, segment: EncodedSegment) -> None:
        costs, video = self._world.costs, self._world.video
        self.folder.segments[number] = None
        self._done += video.chunk_frames[number]
        manifest = costs.manifest_a_frame * video.frames + costs.manifest_a_packet * self._done
        network = 8 * costs.chunk_bytes_a_frame * video.chunk_frames[number] / (self._world.gbit * 1e9)
        self._world.driver("store", costs.store + costs.store_a_byte * manifest + network)

    def publish(self, count: int) -> None:
        assert count == len(self.folder.segments)
        self._publisher.cost = self._world.costs.join + self._world.costs.join_a_frame * self._world.video.frames

    def warnings(self) -> list[str]:
        return []

    damage = warnings

    def close(self) -> None:
        pass


class _NoReporter:
    """A reporter that does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: None


@contextmanager
def virtual(world: World, publisher: VirtualPublisher) -> Iterator[None]:
    """Inside the block `run_jobs` runs in virtual time."""
    video, costs = world.video, world.costs

    def claim_job(job: Job, options: ConvertOptions, shared: bool) -> ClaimedJob:
        world.driver("claim", costs.claim)
        return ClaimedJob(job, options, None)

    def divided(*args: Any) -> list[Chunk]:
        world.driver("divide", costs.divide_a_frame * video.frames)
        return video.chunks

    replaced: tuple[tuple[Any, str, Any], ...] = (
        (vidstyle.batch.cluster.scheduler, "time", world.clock),
        (job_tasks, "time", world.clock),
        (vidstyle.batch.cluster.scheduler, "claim_job", claim_job),
        (vidstyle.batch.cluster.scheduler, "background_executor", lambda: publisher),
        (vidstyle.batch.cluster.scheduler, "estimating_sizes", lambda jobs, reporter: nullcontext()),
        (job_tasks, "divide", divided),
        (job_tasks, "scans_agree", lambda scans: True),
        (job_tasks, "resume_key", lambda input, options: {}),
        (job_tasks, "open_segmented_file", lambda *args: _File(world, publisher)),
    )
    with ExitStack() as stack:
        for owner, name, replacement in replaced:
            stack.enter_context(mock.patch.object(owner, name, replacement))
        yield


def simulate(costs: Costs, video: SimulatedVideo, videos: int, workers: int, chunk_seconds: float, gbit: float) -> dict[str, Any]:
    """The time that `workers` workers take for `videos` videos like `video`."""
    world = World(costs, video, gbit)
    publisher = VirtualPublisher(world)
    pool = VirtualPool(workers, world, publisher)
    jobs = [Job(f"{number}.mp4", Path(f"{number}.{STYLE}.mp4"), STYLE) for number in range(videos)]
    with virtual(world, publisher):
        job_results = run_jobs(jobs, pool, ConvertOptions(), _NoReporter(), chunk_seconds)
    assert all(job_result.result is not None and job_result.result.frames == video.frames for job_result in job_results)
    total, busy = world.clock.now, world.busy
    fractions = {
        "workers": busy["workers"] / workers / total,
        "driver": busy["driver"] / total,
        "join": busy["join"] / total,
    }
    ends = busy["survey"] + busy["join"] if videos == 1 else 0.0
    plain = world.plain * videos
    return {
        "seconds": round(total, 1),
        "faster_than_plain": round(plain / total, 2),
        "efficiency": round(plain / total / workers, 3),
        "busy": {name: round(fraction, 3) for name, fraction in fractions.items()},
        "survey_and_join_of_the_time": round(ends / total, 3),
        "bottleneck": _bottleneck(fractions, ends / total),
    }


def _bottleneck(fractions: dict[str, float], ends: float) -> str:
    """The slowest part, in words."""
    if fractions["driver"] >= _BOTTLENECK:
        return "parts coming to the driver"
    if fractions["join"] >= _BOTTLENECK:
        return "joining"
    if fractions["workers"] >= _BOTTLENECK:
        return "workers"
    return "survey and join, done by one" if ends >= 0.1 else "the last tasks of each step"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="640x360", help="of the videos, one that was measured")
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--video-hours", type=float, default=1.0)
    parser.add_argument("--long-hours", type=float, default=2.0)
    parser.add_argument("--chunk", type=float, default=ClusterOptions.chunk_seconds)
    parser.add_argument("--gbit", type=float, default=1.0)
    parser.add_argument("--faster", type=float, action="append", help="how many times as fast workers are [default: 1 and 10]")
    parser.add_argument("--json", type=Path, default=RESULTS / "cluster.json")
    args = parser.parse_args()
    began = time.monotonic()
    tasks = json.loads(args.json.read_text("utf-8"))["tasks"]
    never = 10 * args.video_hours * 3600
    long, many, undivided = (
        (f"one video of {args.long_hours:g} h", 1, SimulatedVideo.of(args.long_hours, args.chunk), args.chunk),
        (
            f"{args.videos:,} videos of {args.video_hours:g} h",
            args.videos,
            SimulatedVideo.of(args.video_hours, args.chunk),
            args.chunk,
        ),
        (
            f"{args.videos:,} videos of {args.video_hours:g} h, not divided",
            args.videos,
            SimulatedVideo.of(args.video_hours, never),
            never,
        ),
    )
    scenarios: dict[str, Any] = {}
    for faster in args.faster or [1.0, 10.0]:
        costs = Costs.measured(tasks, args.size, faster)
        for name, videos, video, chunk in (long, many, undivided):
            title = name if faster == 1 else f"{name}, workers {faster:g} times as fast"
            by_workers = {}
            for workers in WORKERS:
                by_workers[str(workers)] = found = simulate(costs, video, videos, workers, chunk, args.gbit)
                print_progress(
                    f"{title}: {workers} workers, {found['faster_than_plain']} times a plain run, {found['bottleneck']}"
                )
            scenarios[title] = {"videos": videos, "chunks_a_video": len(video.chunks), "by_workers": by_workers}
    found = {
        "size": args.size,
        "assumed": {"gbit": args.gbit, "seconds_a_shot": SHOT_SECONDS + 0.5, "frames_a_second": RATE},
        "chunk_seconds": args.chunk,
        "scenarios": scenarios,
    }
    write_result(args.json, "simulated", found, time.monotonic() - began)


if __name__ == "__main__":
    main()
