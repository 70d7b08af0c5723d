"""Many damaged files and killed runs: how often are the guarantees of vidstyle violated?

    python -m tools.bench.faults [--damaged 500] [--kills 100] [--seed 0] [--json tools/bench/results/faults.json]
    python -m tools.bench.faults --only damage-17      # repeat one file; --only kill-100003 repeats a video that was killed

A damaged file is a small clip in one of nine kinds of container that is truncated, has flipped bits, zeroed or duplicated
blocks, or continues as another file. It is stylized by a long-lived process, which saves start-up time, and judged with
Debian's ffmpeg (tests/support/faults.py defines violations). A kill is a SIGKILL at a random moment of a run with --resume; the
same command is repeated until it finishes, and the result must equal that of an uninterrupted run, frame by frame. The damage
of a seed is reproducible; the exact instruction at which a kill happens is not.
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
"""Large enough that stylizing takes longer than the start."""
MAX_KILLS = 6
"""Maximum number of kills of a video."""


def damage(seeds: list[int], folder: Path) -> dict[str, Any]:
    """Results for damaged files, and the cases with violations."""
    codes: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    failures, lost, peak = [], [], 0.0

    def one(worker: CommandRunner, seed: int) -> tuple[int, Verdict, int]:
        verdict = judge(worker, folder / str(seed), random_case(seed), "--style", STYLE)
        return seed, verdict, _decodable_frames(verdict, folder / str(seed)) if verdict.run_result.code == FAILED else 0

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
                lost.append({**facts, "frames": saved, "stderr": verdict.run_result.stderr.strip()[:200]})
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


def _decodable_frames(verdict: Verdict, folder: Path) -> int:
    """Number of frames that ffmpeg decodes from a file that vidstyle refused; 0 for less than a quarter of all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "refused"
    path.write_bytes(verdict.case.data)
    frames = len(decode(path).frames)
    path.unlink()
    return frames if frames >= FRAMES // 4 else 0


@dataclass
class Kills:
    """Counts for killed conversions."""

    folder: Path
    kills: int = 0
    videos: int = 0
    after: Counter[int] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    clips: dict[str, Path] = field(default_factory=dict)
    expected: dict[str, tuple[VideoContent, float, int]] = field(default_factory=dict)

    def reference(self, name: str) -> tuple[VideoContent, float, int]:
        """An uninterrupted conversion: content of the output, duration and exit code."""
        if name not in self.expected:
            folder = self.folder / "uninterrupted" / name
            folder.mkdir(parents=True)
            self.clips[name] = make_video(name, folder, KILL_SIZE)
            studio = ResumableRun(folder, VIDEOS[name], STYLE)
            began = time.monotonic()
            run_result = studio.run()
            if run_result.code != VIDEOS[name].code:
                raise SystemExit(f"{name}: expected an uninterrupted run to end with {VIDEOS[name].code}, got {run_result}")
            self.expected[name] = content_of(studio.output), time.monotonic() - began, run_result.code
        return self.expected[name]

    def video(self, seed: int) -> None:
        """Convert a video with random kills, and compare the outputs."""
        chance = random.Random(seed)
        name = chance.choice(KILL_VIDEOS)
        expected, seconds, code = self.reference(name)
        folder = self.folder / f"kill-{seed}"
        folder.mkdir(parents=True)
        shutil.copy2(self.clips[name], folder)
        studio = ResumableRun(folder, VIDEOS[name], STYLE)
        self.videos += 1
        delays, broken = [], []
        for _ in range(chance.randrange(1, MAX_KILLS + 1)):
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
            shutil.rmtree(folder)

    def _compare(self, studio: ResumableRun, expected: VideoContent) -> list[str]:
        if not studio.output.exists():
            return ["no output"]
        if not decode(studio.output).whole:
            return ["not whole"]
        found = content_of(studio.output)
        broken = [] if found == expected else ["unequal"]
        # A kill between publishing and cleanup leaves the folder; that is no loss, but reported separately.
        return [*broken, *(["hidden left"] if studio.work.exists() and not self._is_cleaned_up(studio) else [])]

    def _is_cleaned_up(self, studio: ResumableRun) -> bool:
        """Whether the next run removes what a kill right after publishing left."""
        return studio.run("-q", "--overwrite").code in (DONE, 3) and not studio.work.exists()

    def results(self) -> dict[str, Any]:
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
    """Results for videos, until there were `kills` kills in total."""
    counted = Kills(folder)
    for seed in seeds:
        if counted.kills >= kills:
            break
        counted.video(seed)
        print(f"{counted.kills} kills, {len(counted.failures)} videos broken", flush=True)
    return counted.results()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--damaged", type=int, default=500, metavar="N", help="number of damaged files")
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="number of kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="CASE", help="run one case, such as damage-17 or kill-17, and keep its files")
    parser.add_argument("--json", type=Path, default=ROOT / "tools" / "bench" / "results" / "faults.json")
    args = parser.parse_args()
    os.environ.pop("VIDSTYLE_STYLES", None)  # the package's own styles
    first = 100_000 * args.seed
    if args.only:
        kind, _, number = args.only.partition("-")
        folder = Path(tempfile.mkdtemp(prefix="vidstyle-faults-"))
        seed = int(number)
        results = damage([seed], folder) if kind == "damage" else kill(range(seed, seed + 1), 1, folder)
        print(json.dumps(results, indent=1))
        print(f"files are in {folder}")
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
