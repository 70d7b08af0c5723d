"""Many damaged files and many kills: how often are vidstyle's promises broken?

    python -m tools.bench.faults [--damaged 500] [--kills 100] [--seed 0] [--json tools/bench/results/faults.json]
    python -m tools.bench.faults --only damage-17      # repeat one file; --only kill-100003 repeats a video that was killed

A damaged file is a small clip in one of nine kinds of container that was cut off, has flipped bits, zeroed or doubled blocks,
or goes on as another file. It is stylized by a process that lives on, so that a start costs nothing, and judged with Debian's
ffmpeg (tests/support/faults.py tells what counts). A kill is a SIGKILL at a random moment of a run with --resume; the same command is
run until it comes to its end, and the result must equal that of an uninterrupted run, frame by frame. What a seed damages is the
same each time; at which instruction a kill falls is not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.faults import Verdict, judge, random_case
from tests.support.judge import decode
from tests.support.resumable import VIDEOS, ResumableRun, VideoContent, content_of, make_video
from tests.support.runs import DONE, FAILED, FRAMES, CommandRunner, CommandRunners
from vidstyle.core.hardware import machine_details

ROOT = Path(__file__).resolve().parents[2]
STYLE = "mosaic"
KILL_VIDEOS = ("plain", "steady", "uneven", "hevc", "mkv", "mov", "trimmed", "damaged")
KILL_SIZE = (256, 192)
"""Large enough that painting takes longer than starting."""
MOST_KILLS = 6
"""So often a video is killed at most, before it may come to its end."""


def damage(seeds: list[int], folder: Path) -> dict[str, Any]:
    """Figures of damaged files, and the cases in which a promise was broken."""
    codes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    failures, lost, peak = [], [], 0.0

    def one(worker: CommandRunner, seed: int) -> tuple[int, Verdict, int]:
        verdict = judge(worker, folder / str(seed), random_case(seed), "--style", STYLE)
        return seed, verdict, _could_be_saved(verdict, folder / str(seed)) if verdict.run_result.code == FAILED else 0

    workers = CommandRunners(2)
    try:
        for number, (seed, verdict, saved) in enumerate(workers.map(one, seeds), 1):
            code = verdict.run_result.code
            codes["hang" if code is None else str(code)] += 1
            kinds.update({v.kind for v in verdict.violations})
            peak = max(peak, verdict.run_result.peak_mib)
            facts = {"only": f"damage-{seed}", "container": verdict.case.container, "damage": verdict.case.damage, "code": code}
            if verdict.violations:
                failures.append({**facts, "broken": [str(v)[:400] for v in verdict.violations]})
                print(json.dumps(failures[-1]), flush=True)
            if saved:
                lost.append({**facts, "frames": saved, "said": verdict.run_result.stderr.strip()[:200]})
            if number % 100 == 0:
                print(f"{number} of {len(seeds)} files, {len(failures)} broken", flush=True)
    finally:
        workers.close()
    return {
        "files": len(seeds),
        "codes": dict(sorted(codes.items())),
        **{kind.replace(" ", "_"): kinds[kind] for kind in ("traceback", "hang", "crash", "false success", "hidden left")},
        "broken_promises": dict(sorted(kinds.items())),
        "lost_files": len(lost),
        "peak_mib": round(peak),
        "failures": failures,
        "lost": lost,
    }


def _could_be_saved(verdict: Verdict, folder: Path) -> int:
    """How many frames ffmpeg gets out of a file that vidstyle refused; less than a quarter of them is no loss."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "refused"
    path.write_bytes(verdict.case.data)
    frames = len(decode(path).frames)
    path.unlink()
    return frames if frames >= FRAMES // 4 else 0


@dataclass
class Kills:
    """What is counted of videos that were killed."""

    folder: Path
    kills: int = 0
    videos: int = 0
    after: Counter[int] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    clips: dict[str, Path] = field(default_factory=dict)
    expected: dict[str, tuple[VideoContent, float, int]] = field(default_factory=dict)

    def reference(self, name: str) -> tuple[VideoContent, float, int]:
        """A video that nobody interrupts: what is in it, how long it took and its exit code."""
        if name not in self.expected:
            place = self.folder / "uninterrupted" / name
            place.mkdir(parents=True)
            self.clips[name] = make_video(name, place, KILL_SIZE)
            studio = ResumableRun(place, VIDEOS[name], STYLE)
            began = time.monotonic()
            run_result = studio.run()
            if run_result.code != VIDEOS[name].code:
                raise SystemExit(f"{name}: expected an uninterrupted run to end with {VIDEOS[name].code}, got {run_result}")
            self.expected[name] = content_of(studio.output), time.monotonic() - began, run_result.code
        return self.expected[name]

    def video(self, seed: int) -> None:
        """Paint a video with random kills, and compare."""
        chance = random.Random(seed)
        name = chance.choice(KILL_VIDEOS)
        expected, seconds, code = self.reference(name)
        place = self.folder / f"kill-{seed}"
        place.mkdir(parents=True)
        shutil.copy2(self.clips[name], place)
        studio = ResumableRun(place, VIDEOS[name], STYLE)
        self.videos += 1
        delays, broken = [], []
        for _ in range(chance.randrange(1, MOST_KILLS + 1)):
            delays.append(round(chance.uniform(0.15 * seconds, 1.05 * seconds), 3))
            process = studio.start("-q")
            try:
                process.communicate(timeout=delays[-1])
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                self.kills += 1
            self.after[len(studio.segments())] += 1
            if studio.output.exists() and not decode(studio.output).whole:
                broken.append("a file that is not whole has the final name")
        if not studio.output.exists():
            run_result = studio.run("-q")
            if run_result.code != code:
                broken.append(f"the last run ended with {run_result.code}: {run_result.stderr.strip()[-400:]}")
            if "Traceback" in run_result.stderr:
                broken.append("traceback")
        broken += self._compare(studio, expected)
        if broken:
            self.failures.append({"only": f"kill-{seed}", "video": name, "delays": delays, "broken": broken})
            print(json.dumps(self.failures[-1]), flush=True)
        else:
            shutil.rmtree(place)

    def _compare(self, studio: ResumableRun, expected: VideoContent) -> list[str]:
        if not studio.output.exists():
            return ["no output"]
        if not decode(studio.output).whole:
            return ["not whole"]
        found = content_of(studio.output)
        broken = [] if found == expected else ["unequal"]
        # A kill between the publishing and the clearing away leaves the folder; that is no loss, but told apart.
        return [*broken, *(["hidden left"] if studio.work.exists() and not self._cleared(studio) else [])]

    def _cleared(self, studio: ResumableRun) -> bool:
        """Whether the next run clears away what a kill right after publishing left."""
        return studio.run("-q", "--overwrite").code in (DONE, 3) and not studio.work.exists()

    def figures(self) -> dict[str, Any]:
        reasons = Counter(reason.split(":")[0] for failure in self.failures for reason in failure["broken"])
        return {
            "kills": self.kills,
            "videos": self.videos,
            "kills_after_so_many_finished_segments": {str(k): n for k, n in sorted(self.after.items())},
            "unequal": reasons["unequal"],
            "no_output": reasons["no output"],
            "not_whole": reasons["not whole"] + reasons["a file that is not whole has the final name"],
            "broken_promises": dict(reasons),
            "failures": self.failures,
        }


def kill(seeds: range, kills: int, folder: Path) -> dict[str, Any]:
    """Figures of videos that are killed until there were `kills` kills in all."""
    counted = Kills(folder)
    for seed in seeds:
        if counted.kills >= kills:
            break
        counted.video(seed)
        print(f"{counted.kills} kills, {len(counted.failures)} videos broken", flush=True)
    return counted.figures()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--damaged", type=int, default=500, metavar="N", help="so many damaged files")
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="so many kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="CASE", help="one case, as the results name it: damage-17 or kill-17; the files stay")
    parser.add_argument("--json", type=Path, default=ROOT / "tools" / "bench" / "results" / "faults.json")
    args = parser.parse_args()
    os.environ.pop("VIDSTYLE_STYLES", None)  # the package's own styles
    first = 100_000 * args.seed
    if args.only:
        kind, _, number = args.only.partition("-")
        folder = Path(tempfile.mkdtemp(prefix="vidstyle-faults-"))
        seed = int(number)
        figures = damage([seed], folder) if kind == "damage" else kill(range(seed, seed + 1), 1, folder)
        print(json.dumps(figures, indent=1))
        print(f"what went wrong lies in {folder}")
        return
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        damaged = damage(list(range(first, first + args.damaged)), Path(name)) if args.damaged else None
        killed = kill(range(first, first + 100_000), args.kills, Path(name)) if args.kills else None
    result = {
        "command": shlex.join(["python", "-m", "tools.bench.faults", *sys.argv[1:]]),
        "machine": machine_details(len(os.sched_getaffinity(0))),
        "judge": subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout.splitlines()[0],
        "style": STYLE,
        "seconds": round(time.monotonic() - began),
        "damaged": damaged,
        "killed": killed,
    }
    args.json.write_text(json.dumps(result, indent=1) + "\n")
    for part in (damaged, killed):
        if part:
            print(json.dumps({k: v for k, v in part.items() if k not in ("failures", "lost")}, indent=1))


if __name__ == "__main__":
    main()
