"""How much sooner do 2, 4, ... 64 workers end than one? The real planner in virtual time.

    python -m tools.bench.simulate_cluster [--videos 1000] [--video-hours 1] [--long-hours 2] [--faster 1 --faster 10]

`vidstyle.batch.cluster.scheduler.run_jobs` works off the jobs as ever: its office, its desks, the steps of a video's production and the choice of
where a video is divided are the real code. Replaced are the clock, the engine and the disk: a task is over after the time that
tools/bench/cluster.py measured for its kind and length, with a canned answer, and what the driver does (admitting, dividing,
keeping a chunk, joining aside) takes the time that was measured for that. A worker is a machine like the measured one, or so
many times as `--faster` in what it does with frames; the driver has a machine of its own, and every chunk comes to it over a
network of `--gbit`. Nothing fails, and storage never is what is waited for.

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
from tools.bench.measurement import RESULTS, STYLE, noted, say
from vidstyle.batch.claims import Admitted
from vidstyle.batch.cluster import production
from vidstyle.batch.cluster.chunks import Chunk, Stretch, Survey, divide
from vidstyle.batch.cluster.engine import Task
from vidstyle.batch.cluster.scheduler import run_jobs
from vidstyle.batch.cluster.worker import Painted, SharedFile, Whole
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
_NARROW = 0.9
"""What is busy for so much of the time is what all wait for."""


@dataclass(frozen=True)
class Costs:
    """Seconds, as measured."""

    survey: float
    survey_a_frame: float
    look_a_frame: float
    learn: float
    """The statistics of a shot."""
    paint_a_frame: float
    admit: float
    divide_a_frame: float
    keep: float
    keep_a_byte: float
    """Of the notes on the video, which are written anew with every chunk."""
    notes_a_frame: float
    """Bytes of the plan, from the beginning on."""
    notes_a_packet: float
    """Bytes of the list of what is done."""
    join: float
    join_a_frame: float
    hand_over: float
    chunk_bytes_a_frame: float

    @classmethod
    def measured(cls, tasks: dict[str, Any], size: str, faster: float) -> Costs:
        """From the part `tasks` of the results."""
        video, keeping = tasks["videos"][size], tasks["keeping"]["measured"]
        done, driver, frames, fits = video["tasks"], video["driver"], video["frames"], video["fits"]
        sizes, seconds = [k["bytes_of_notes"] for k in keeping], [k["seconds"] for k in keeping]
        slope = max(0.0, float(np.polyfit(sizes, seconds, 1)[0]))
        packets = (keeping[-1]["chunk"] - keeping[0]["chunk"]) * tasks["keeping"]["packets_a_chunk"]
        all_packets = tasks["keeping"]["chunks"] * tasks["keeping"]["packets_a_chunk"]
        learn = done["learn"]["seconds"] / done["learn"]["count"]
        per_packet = (sizes[-1] - sizes[0]) / packets
        return cls(
            survey=fits["survey"]["seconds"],
            survey_a_frame=fits["survey"]["seconds_a_frame"],
            look_a_frame=done["look_through"]["seconds"] / done["look_through"]["frames"] / faster,
            learn=learn / faster,
            # One shot was begun while they were stylized.
            paint_a_frame=(done["paint"]["seconds"] - learn) / done["paint"]["frames"] / faster,
            admit=driver["admit"]["seconds"] / driver["admit"]["count"],
            divide_a_frame=sum(driver[k]["seconds"] for k in ("fit_together", "divide", "stored")) / frames,
            keep=driver["add"]["seconds"] / driver["add"]["count"],
            keep_a_byte=slope,
            notes_a_frame=sizes[0] / all_packets,
            notes_a_packet=per_packet,
            join=fits["join"]["seconds"],
            join_a_frame=fits["join"]["seconds_a_frame"],
            hand_over=tasks["hand_over_seconds"]["ray"],
            chunk_bytes_a_frame=done["paint"]["bytes_out"] / done["paint"]["frames"],
        )


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True)
class Plot:
    """All videos are like this one: where its cuts and keyframes are, and how it is divided, by the real code."""

    frames: int
    shots: list[int]
    survey: Survey
    chunks: list[Chunk]
    """With a time each, in place of all."""
    chunk_frames: list[int]
    chunk_shots: list[int]
    """How many shots begin in each."""

    @classmethod
    def of(cls, hours: float, chunk_seconds: float) -> Plot:
        frames, chance = round(hours * 3600 * RATE), random.Random(0)
        shots, at = [0], 0.0
        while (at := at + chance.expovariate(1 / SHOT_SECONDS) + 0.5) * RATE < frames:
            shots.append(round(at * RATE))
        shots = sorted(set(shots) - {frames})
        keyframes, last = [], 0
        for shot, end in zip(shots, [*shots[1:], frames], strict=True):
            keyframes += range(shot, end, KEYFRAME_SECONDS * RATE)
            last = end
        times = [n * STEP for n in range(frames)]
        differences = [0.0] * (last - 1)
        for shot in shots[1:]:
            differences[shot - 1] = 99.0
        info = VideoInfo(640, 360, TICK, Fraction(RATE), frames, hours * 3600)
        survey = Survey(info, Fraction(0), [n * STEP for n in keyframes if n], times[-1])
        chunks = divide([Stretch(times, [0] * frames, differences, [], True)], survey, round(chunk_seconds / TICK), 0)
        lengths = [len(chunk.times) for chunk in chunks]
        begun = [len(chunk.shots) for chunk in chunks]
        short = [replace(chunk, times=chunk.times[:1], marks=chunk.marks[:1], shots=chunk.shots[:1]) for chunk in chunks]
        return cls(frames, shots, survey, short, lengths, begun)


@dataclass
class World:
    """The clock, what things cost, and who was busy for how long."""

    costs: Costs
    plot: Plot
    gbit: float
    clock: Clock = field(default_factory=Clock)
    busy: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def driver(self, what: str, seconds: float) -> None:
        """The driver is at this, and nothing else happens there."""
        self.clock.now += seconds
        self.busy["driver"] += seconds
        self.busy[what] += seconds

    def task(self, task: Task) -> tuple[float, Any]:
        """Seconds of a task, and its answer."""
        costs, plot = self.costs, self.plot
        if task.method == "survey":
            (shortest,) = task.arguments
            if plot.frames < shortest * RATE:
                return costs.survey, replace(plot.survey, keyframes=[])
            return costs.survey + costs.survey_a_frame * plot.frames, plot.survey
        if task.method == "look_through":
            window = task.arguments[1]
            first, end = (window.first or 0) // STEP, plot.frames if window.end is None else window.end // STEP
            return costs.look_a_frame * (end - first), Stretch([0], [0], [], [], True)
        if task.method == "learn":
            return costs.learn, {}
        if task.method == "paint":
            number = task.arguments[1].number
            frames, shots = plot.chunk_frames[number], plot.chunk_shots[number]
            part = Painted(EncodedSegment(b"", []), frames, [], [])
            return costs.paint_a_frame * frames + costs.learn * shots, part
        assert task.method == "whole"
        return self.plain, Whole(Result(Path(task.video.output), plot.frames, 0.0), None, plot.survey.info)

    @property
    def plain(self) -> float:
        """Seconds of a video that is stylized as a whole."""
        costs, plot = self.costs, self.plot
        painting = costs.paint_a_frame * plot.frames + costs.learn * len(plot.shots)
        return painting + costs.join + costs.join_a_frame * plot.frames


class VirtualWorkers:
    """See `vidstyle.batch.cluster.engine.Engine`."""

    def __init__(self, workers: int, world: World, aside: VirtualAside) -> None:
        self.workers, self._world, self._aside = workers, world, aside
        self._number = 0
        self._under_way: list[tuple[float, int, Any]] = []

    def start(self, task: Task) -> int | None:
        if len(self._under_way) == self.workers:
            return None
        self._number += 1
        seconds, answer = self._world.task(task)
        seconds += self._world.costs.hand_over
        self._world.busy["workers"] += seconds
        self._world.busy[task.method] += seconds
        heapq.heappush(self._under_way, (self._world.clock.now + seconds, self._number, answer))
        return self._number

    def answers(self) -> list[tuple[int, Any]]:
        clock = self._world.clock
        clock.now = max(clock.now, min(self._under_way[0][0], self._aside.next_end))
        found = []
        while self._under_way and self._under_way[0][0] <= clock.now:
            _, number, answer = heapq.heappop(self._under_way)
            found.append((number, answer))
        return found

    def share(self, path: str) -> SharedFile:
        raise AssertionError("all workers reach the storage")

    def close(self) -> None:
        pass


class VirtualAside:
    """Stands in for the thread that publishes: one output after the other, in virtual time."""

    def __init__(self, world: World) -> None:
        self._world, self._free = world, 0.0
        self._ends: list[float] = []
        self.cost = 0.0
        """Of what is being submitted."""

    @property
    def next_end(self) -> float:
        """When the next output will be there."""
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
    """Stands in for the notes on a video."""

    def __init__(self) -> None:
        self.plan: Any = None
        self.segments: dict[int, Any] = {}

    def write(self) -> None:
        pass


class _File:
    """Stands in for an output with its segments."""

    def __init__(self, world: World, aside: VirtualAside) -> None:
        self.folder = _Folder()
        self._world, self._aside, self._done = world, aside, 0

    def add(self, number: int, segment: EncodedSegment) -> None:
        costs, plot = self._world.costs, self._world.plot
        self.folder.segments[number] = None
        self._done += plot.chunk_frames[number]
        notes = costs.notes_a_frame * plot.frames + costs.notes_a_packet * self._done
        network = 8 * costs.chunk_bytes_a_frame * plot.chunk_frames[number] / (self._world.gbit * 1e9)
        self._world.driver("keep", costs.keep + costs.keep_a_byte * notes + network)

    def publish(self, count: int) -> None:
        assert count == len(self.folder.segments)
        self._aside.cost = self._world.costs.join + self._world.costs.join_a_frame * self._world.plot.frames

    def warnings(self) -> list[str]:
        return []

    damage = warnings

    def close(self) -> None:
        pass


class _Nobody:
    """A reporter that tells nobody."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: None


@contextmanager
def virtual(world: World, aside: VirtualAside) -> Iterator[None]:
    """Inside, `run_jobs` lives in that world."""
    plot, costs = world.plot, world.costs

    def admit(job: Job, options: ConvertOptions, shared: bool) -> Admitted:
        world.driver("admit", costs.admit)
        return Admitted(job, options, None)

    def divided(*args: Any) -> list[Chunk]:
        world.driver("divide", costs.divide_a_frame * plot.frames)
        return plot.chunks

    replaced = (
        (vidstyle.batch.cluster.scheduler, "time", world.clock),
        (production, "time", world.clock),
        (vidstyle.batch.cluster.scheduler, "admit", admit),
        (vidstyle.batch.cluster.scheduler, "background", lambda: aside),
        (vidstyle.batch.cluster.scheduler, "foreseeing", lambda jobs, reporter: nullcontext()),
        (production, "divide", divided),
        (production, "fit_together", lambda stretches: True),
        (production, "facts_of", lambda input: (0, 0)),
        (production, "work_fingerprint", lambda input, options: {}),
        (production, "open_segmented_file", lambda *args: _File(world, aside)),
    )
    with ExitStack() as stack:
        for owner, name, stand_in in replaced:
            stack.enter_context(mock.patch.object(owner, name, stand_in))
        yield


def simulate(costs: Costs, plot: Plot, videos: int, workers: int, chunk_seconds: float, gbit: float) -> dict[str, Any]:
    """What `videos` videos like `plot` take so many workers."""
    world = World(costs, plot, gbit)
    aside = VirtualAside(world)
    engine = VirtualWorkers(workers, world, aside)
    jobs = [Job(f"{number}.mp4", Path(f"{number}.{STYLE}.mp4"), STYLE) for number in range(videos)]
    with virtual(world, aside):
        job_results = run_jobs(jobs, engine, ConvertOptions(), _Nobody(), chunk_seconds)
    assert all(job_result.result is not None and job_result.result.frames == plot.frames for job_result in job_results)
    total, busy = world.clock.now, world.busy
    shares = {
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
        "busy": {name: round(share, 3) for name, share in shares.items()},
        "survey_and_join_of_the_time": round(ends / total, 3),
        "bottleneck": _bottleneck(shares, ends / total),
    }


def _bottleneck(shares: dict[str, float], ends: float) -> str:
    """What is waited for."""
    if shares["driver"] >= _NARROW:
        return "parts coming to the driver"
    if shares["join"] >= _NARROW:
        return "joining"
    if shares["workers"] >= _NARROW:
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
        (f"one video of {args.long_hours:g} h", 1, Plot.of(args.long_hours, args.chunk), args.chunk),
        (f"{args.videos:,} videos of {args.video_hours:g} h", args.videos, Plot.of(args.video_hours, args.chunk), args.chunk),
        (f"{args.videos:,} videos of {args.video_hours:g} h, not divided", args.videos, Plot.of(args.video_hours, never), never),
    )
    scenarios: dict[str, Any] = {}
    for faster in args.faster or [1.0, 10.0]:
        costs = Costs.measured(tasks, args.size, faster)
        for name, videos, plot, chunk in (long, many, undivided):
            title = name if faster == 1 else f"{name}, workers {faster:g} times as fast"
            by_workers = {}
            for workers in WORKERS:
                by_workers[str(workers)] = found = simulate(costs, plot, videos, workers, chunk, args.gbit)
                say(f"{title}: {workers} workers, {found['faster_than_plain']} times a plain run, {found['bottleneck']}")
            scenarios[title] = {"videos": videos, "chunks_a_video": len(plot.chunks), "by_workers": by_workers}
    found = {
        "size": args.size,
        "assumed": {"gbit": args.gbit, "seconds_a_shot": SHOT_SECONDS + 0.5, "frames_a_second": RATE},
        "chunk_seconds": args.chunk,
        "scenarios": scenarios,
    }
    noted(args.json, "simulated", found, time.monotonic() - began)


if __name__ == "__main__":
    main()
