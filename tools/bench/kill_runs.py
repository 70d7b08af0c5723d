"""Runs that are killed at random moments and restarted: is anything lost, different, or done twice?

Used by tools/bench/folder.py and tools/bench/cluster.py. The moments of the kills come from a seed; the instruction at which each
happens does not.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from typing import Any

from tools.bench.measurement import print_progress, vidstyle_environment
from tools.bench.same_output import OutputContent, content_of
from tools.bench.watched_run import Process, Run, events, left_behind

MAX_KILLS = 5
"""How often a series is killed at most before it may finish."""

Identity = tuple[int, int, int]


@dataclass(frozen=True)
class Setup:
    """How a folder of videos is stylized, and what is killed, in turn: the `driver`, which is the run itself, or a `worker`."""

    name: str
    options: tuple[str, ...]
    whom: tuple[str, ...] = ("driver",)


class Pieces:
    """The pieces of work in a log: segments or chunks that were begun and stored, and videos converted in one piece."""

    def __init__(self, lines: Iterable[dict[str, Any]]) -> None:
        self.begun = self.stored = self.again = 0
        self.twice: list[str] = []
        """Pieces that were done again although finished, or begun while they were being done."""
        self._state: dict[tuple[str, int | None], str] = {}
        self._finished: set[str] = set()
        for line in lines:
            self._take(line)

    def _take(self, line: dict[str, Any]) -> None:
        what, result = line["what"], line.get("result")
        piece = line.get("output", ""), line.get("piece")
        if what == "began" or (what == "task_started" and line["method"] in ("stylize_chunk", "convert_whole")):
            self._begin(piece)
        elif what == "stylizing" and line["output"] in self._finished:
            self.twice.append(f"{line['output']} was stylized again")
        elif what == "stored" or (what == "task_ended" and result == "ConvertedFile"):
            self.stored += 1
            self._state[piece] = "stored"
        elif what == "task_ended" and result in ("WorkerDied", "TaskFailed"):
            self._state[piece] = "lost"
        elif what == "published":
            self._finished.add(line["output"])
        elif what == "killed" and line["whom"] == "driver":
            self._finished |= set(line["outputs"])
            self._state = {p: "lost" if state == "begun" else state for p, state in self._state.items()}

    def _begin(self, piece: tuple[str, int | None]) -> None:
        state = self._state.get(piece)
        if state in ("begun", "stored") or piece[0] in self._finished:
            self.twice.append(f"piece {piece[1]} of {piece[0]}, which was {state or 'finished'}")
        self.begun += 1
        self.again += state is not None
        self._state[piece] = "begun"


def _identity(path: Path) -> Identity:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def finished_files(folder: Path) -> dict[str, Identity]:
    """Finished outputs, and the segments in the manifests of unfinished ones."""
    found = {p.name: _identity(p) for p in folder.iterdir() if not p.name.startswith(".")} if folder.exists() else {}
    for manifest in folder.glob(".*.resume/manifest.json"):
        for segment in json.loads(manifest.read_text())["segments"].values():
            path = manifest.parent / segment["file"]
            found[str(path.relative_to(folder))] = _identity(path)
    return found


def changed(before: dict[str, Identity], after: dict[str, Identity]) -> list[str]:
    """Finished files that were written again, or removed before their video was finished."""
    done = {name for name in after if "/" not in name}
    gone_with_video = {name for name in before if name.partition("/")[0].removeprefix(".").removesuffix(".resume") in done}
    return [n for n, identity in before.items() if after.get(n) != identity and not (n not in after and n in gone_with_video)]


@dataclass
class Kills:
    """Kills series after series until there were enough kills, and counts what happened."""

    setup: Setup
    videos: Path
    folder: Path
    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    pieces: Counter[str] = field(default_factory=Counter)
    hidden: Counter[str] = field(default_factory=Counter)
    left_behind: Counter[str] = field(default_factory=Counter)
    series: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    expected: dict[str, OutputContent] = field(default_factory=dict)

    def figures(self, kills: int) -> dict[str, Any]:
        """Kill `kills` times in all, and return the counts."""
        self._uninterrupted()
        whom = cycle(self.setup.whom)
        for number in count():
            if self.kills.total() >= kills:
                break
            self._series(random.Random(1000 * self.seed + number), number, whom, kills)
        kinds = Counter(kind for failure in self.failures for kind in failure["broken"])
        return {
            "kills": self.kills.total(),
            "kills_of": dict(sorted(self.kills.items())),
            "series": self.series,
            "videos": len(self.expected),
            "seconds_uninterrupted": round(self.seconds, 1),
            "pieces_begun": self.pieces["begun"],
            "pieces_kept": self.pieces["stored"],
            "pieces_in_flight_done_again": self.pieces["again"],
            "finished_pieces_done_twice": self.pieces["twice"],
            "outputs_missing": kinds["missing"],
            "outputs_unequal": kinds["unequal"],
            "finished_files_changed": kinds["changed"],
            "processes_left_behind": dict(self.left_behind),
            "hidden_left": dict(self.hidden),
            "failures": self.failures,
        }

    def _arguments(self, out: Path) -> list[str]:
        return [str(self.videos), "-o", str(out), "--device", "cpu", *self.setup.options]

    def _run(self, place: Path) -> Run:
        return Run(place / "log.jsonl", self._arguments(place / "out"), place, vidstyle_environment())

    def _uninterrupted(self) -> None:
        place = self.folder / f"{self.setup.name}-uninterrupted"
        place.mkdir(parents=True)
        run = self._run(place)
        code = run.finished(1800)
        self.seconds = time.time() - run.began
        if code != 0:
            raise SystemExit(f"{self.setup.name}: expected the uninterrupted run to end with 0, got {code}: {run.errors[-2000:]}")
        self.expected = {path.name: content_of(path) for path in sorted((place / "out").iterdir())}
        print_progress(f"{self.setup.name}: {len(self.expected)} videos in {self.seconds:.1f} s uninterrupted")

    def _series(self, chance: random.Random, number: int, whom: Iterator[str], most: int) -> None:
        place = self.folder / f"{self.setup.name}-{number}"
        out = place / "out"
        place.mkdir(parents=True)
        self.series += 1
        here = min(chance.randrange(2, MAX_KILLS + 1), most - self.kills.total())
        broken: Counter[str] = Counter()
        family: list[Process] = []
        before: dict[str, Identity] = {}
        moments, code = [], None
        run = self._run(place)
        while here:
            moments.append(round(chance.uniform(0.1, 0.8) * self.seconds, 3))
            code = run.wait(moments[-1])
            if code is not None:
                break
            victim = next(whom)
            if victim == "worker":
                if run.kill_worker(chance):
                    self.kills[victim] += 1
                    here -= 1
                continue
            family += run.kill()
            now = finished_files(out)
            run.note("killed", whom=victim, outputs=[name for name in now if "/" not in name])
            broken["changed"] += len(changed(before, now))
            before = now
            self.kills[victim] += 1
            here -= 1
            run = self._run(place)
        code = run.finished(60 + 10 * self.seconds) if code is None else code
        self._judge(place, run, code, before, broken)
        self.left_behind.update(left_behind(family))
        counts = ", ".join(f"{n} of a {who}" for who, n in self.kills.items())
        print_progress(f"{self.setup.name}: {self.kills.total()} kills ({counts or 'none'}), {len(self.failures)} series broken")
        broken = +broken
        if broken:
            log = Path(shutil.copy2(place / "log.err", self.folder / f"{self.setup.name}-{number}.err")).read_text()
            self.failures.append({"series": number, "moments": moments, "broken": dict(broken), "stderr": log[-600:]})
            print_progress(json.dumps(self.failures[-1]))
        shutil.rmtree(place)

    def _judge(self, place: Path, run: Run, code: int | None, before: dict[str, Identity], broken: Counter[str]) -> None:
        out = place / "out"
        if code != 0:
            broken["hang" if code is None else f"exit code {code}"] += 1
        if "Traceback" in run.errors:
            broken["traceback"] += 1
        broken["changed"] += len(changed(before, finished_files(out)))
        pieces = Pieces(events(place / "log.jsonl"))
        self.pieces.update(begun=pieces.begun, stored=pieces.stored, again=pieces.again, twice=len(pieces.twice))
        broken["done twice"] += len(pieces.twice)
        for name, facts in self.expected.items():
            if not (out / name).exists():
                broken["missing"] += 1
            elif content_of(out / name) != facts:
                broken["unequal"] += 1
        if out.exists():
            self.hidden.update(p.name.rpartition(".")[2] for p in out.iterdir() if p.name.startswith("."))


def killed(setup: Setup, videos: Path, folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """The figures of `kills` kills of a run on the folder `videos`."""
    return Kills(setup, videos, folder, seed).figures(kills)
