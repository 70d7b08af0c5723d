"""A folder of many files: the overhead of a file, the cost of broken files, and the losses due to kills.

    python -m tools.bench.folder [--only PART ...] [--small] [--json tools/bench/results/folder.json]

overhead: 200 clips of 24 frames of 320x180 with audio, all different. Bare: each clip in turn is opened, decoded, stylized by the
pipeline with a network that is already loaded, and encoded into an MP4 without audio, in one process; nothing else. This is
compared with `vidstyle FOLDER` in the same process (jobs are planned and claimed, audio and metadata copied, outputs verified,
flushed and published), and as a command, without the time until its network is loaded. In turn; medians over the rounds.

broken: the same clips with 20 files among them that are not videos, or cut off. The other outputs must be the same bytes, and the
exit code must be 3.

kills: a folder of short videos and long ones, which keep segments, stylized by a run that is killed with SIGKILL at random
moments and restarted until it finishes. Outputs must equal those of an uninterrupted run frame by frame, and nothing that was
finished may be done again: the files are not replaced, and a log of the run shows which segments it begins.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import av

from tools.bench.kill_runs import Setup, killed
from tools.bench.measurement import RESULTS, STYLE, measure, print_progress, vidstyle_environment
from tools.bench.same_output import file_hash
from tools.bench.scenes import DAMAGES, broken_file, short_clip, slow_video
from tools.bench.watched_run import Run, events
from vidstyle.batch.planner import plan
from vidstyle.batch.runner import run_jobs
from vidstyle.cli.reporters import QuietReporter
from vidstyle.conversion.convert import shot_sampler
from vidstyle.conversion.job import Job
from vidstyle.conversion.pipeline import PipelineOptions, run
from vidstyle.core.frames import Frame, VideoInfo
from vidstyle.core.hardware import usable_cores
from vidstyle.core.options import ConvertOptions, EncodeOptions, StyleOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.sinks.encoding import FrameEncoder, encoder_for
from vidstyle.sources import open_source
from vidstyle.stylizers import load_stylizer

DAMAGE = 3
PARTS = ("overhead", "broken", "kills")
OPTIONS = ConvertOptions(style=StyleOptions(STYLE, device="cpu"))


class _BareSink:
    """Encodes frames into an MP4, without anything else."""

    def __init__(self, path: Path, info: VideoInfo) -> None:
        self._container = av.open(str(path), "w")
        self._encoder = FrameEncoder(self._container, encoder_for(path, info, EncodeOptions()), info, EncodeOptions())

    def write(self, frame: Frame) -> None:
        self._container.mux(self._encoder.encode(frame))

    def warnings(self) -> list[str]:
        return []

    def damage(self) -> list[str]:
        return []

    def publish(self) -> None:
        self._container.mux(self._encoder.flush())

    def close(self) -> None:
        self._container.close()


def make_clips(folder: Path, count: int) -> Path:
    """Make clips that all differ."""
    folder.mkdir()
    for number in range(count):
        short_clip(folder / f"clip-{number:04}.mp4", number)
    print_progress(f"{count} clips made")
    return folder


def bare(jobs: list[Job], stylizer: Stylizer) -> float:
    """Seconds for one clip after the other, see the docstring of this module."""
    began = time.perf_counter()
    for job in jobs:
        job.output.parent.mkdir(exist_ok=True)
        with closing(open_source(job.input)) as source, closing(_BareSink(job.output, source.info)) as sink:
            run(source, stylizer, sink, PipelineOptions(sample_shot=shot_sampler(source)))
            sink.publish()
    return time.perf_counter() - began


def as_folder(clips: Path, out: Path, stylizer: Stylizer) -> float:
    """Seconds for the folder, run in this process."""
    began = time.perf_counter()
    job_results = run_jobs(plan([str(clips)], [STYLE], str(out)), {STYLE: stylizer}, OPTIONS, QuietReporter(), shared=True)
    took = time.perf_counter() - began
    if any(job_result.result is None for job_result in job_results):
        raise SystemExit(f"expected all clips to be stylized: {job_results}")
    return took


def as_command(clips: Path, out: Path, scratch: Path) -> tuple[float, float]:
    """Seconds for the command, and of these the seconds until its network was loaded."""
    log = scratch / "command.jsonl"
    log.unlink(missing_ok=True)
    command = Run(log, [str(clips), "-o", str(out), "--style", STYLE, "--device", "cpu", "-q"], scratch, vidstyle_environment())
    code = command.finished(3600)
    took = time.time() - command.began
    if code != 0:
        raise SystemExit(f"expected the command to end with 0, got {code}: {command.errors[-2000:]}")
    loaded = next(line["t"] for line in events(log) if line["what"] == "loaded")
    return took, loaded - command.began


def overhead(scratch: Path, count: int, rounds: int) -> dict[str, Any]:
    """The overhead of a file."""
    clips, out = make_clips(scratch / "clips", count), scratch / "out"
    stylizer = load_stylizer(OPTIONS.style)
    jobs = plan([str(clips)], [STYLE], str(out))
    seconds: dict[str, list[float]] = {"bare": [], "folder": [], "command": [], "start_up": []}
    bare(jobs[:3], stylizer)  # warm up
    for number in range(rounds):
        shutil.rmtree(out, ignore_errors=True)
        seconds["bare"].append(bare(jobs, stylizer))
        shutil.rmtree(out)
        seconds["folder"].append(as_folder(clips, out, stylizer))
        shutil.rmtree(out)
        took, start_up = as_command(clips, out, scratch)
        seconds["command"].append(took)
        seconds["start_up"].append(start_up)
        shutil.rmtree(out)
        print_progress(
            f"overhead: round {number + 1} of {rounds}: " + ", ".join(f"{k} {v[-1]:.2f} s" for k, v in seconds.items())
        )
    inside = [(f - b) / count for f, b in zip(seconds["folder"], seconds["bare"], strict=True)]
    outside = [(c - s - b) / count for c, s, b in zip(seconds["command"], seconds["start_up"], seconds["bare"], strict=True)]
    return {
        "files": count,
        "frames": 24 * count,
        "seconds_of_rounds": {kind: [round(s, 3) for s in taken] for kind, taken in seconds.items()},
        "bare_seconds_a_file": round(statistics.median(seconds["bare"]) / count, 4),
        "overhead_seconds_a_file": round(statistics.median(inside), 4),
        "overhead_seconds_a_file_of_the_command": round(statistics.median(outside), 4),
        "start_up_seconds": round(statistics.median(seconds["start_up"]), 2),
        "folder_over_bare": round(statistics.median(f / b for f, b in zip(seconds["folder"], seconds["bare"], strict=True)), 3),
    }


def broken(scratch: Path, count: int, bad: int, rounds: int) -> dict[str, Any]:
    """The cost of broken files among good ones."""
    clips, mixed = make_clips(scratch / "clips", count), scratch / "mixed"
    shutil.copytree(clips, mixed)
    for number in range(bad):
        broken_file(mixed, number)
    hashes: dict[str, list[dict[str, str]]] = {"clips": [], "mixed": []}
    seconds: dict[str, list[float]] = {"clips": [], "mixed": []}
    codes, other_lines, statuses = set(), set[str](), Counter[str]()
    for number in range(rounds):
        for folder in (clips, mixed):
            out = scratch / "out"
            began = time.perf_counter()
            command = [sys.executable, "-m", "vidstyle", str(folder), "-o", str(out), "--style", STYLE, "--device", "cpu"]
            done = subprocess.run(
                [*command, "--progress", "json"], env=vidstyle_environment(), capture_output=True, text=True, timeout=3600
            )
            seconds[folder.name].append(time.perf_counter() - began)
            # C libraries may print lines of their own.
            lines = done.stderr.splitlines()
            printed = [json.loads(line) for line in lines if line.startswith("{")]
            if folder == mixed:
                codes.add(done.returncode)
                other_lines.update(line for line in lines if not line.startswith("{"))
                statuses = Counter(line["status"] for line in printed if line["event"] == "file_done")
            elif done.returncode:
                raise SystemExit(f"expected the good clips to be stylized, got {done.returncode}: {done.stderr[-2000:]}")
            hashes[folder.name].append({p.name: file_hash(p) for p in out.iterdir()})
            shutil.rmtree(out)
        print_progress(f"broken: round {number + 1} of {rounds}: " + ", ".join(f"{k} {v[-1]:.2f} s" for k, v in seconds.items()))
    unequal = sum(good.get(name) != digest for good in hashes["mixed"] for name, digest in hashes["clips"][0].items())
    more = statistics.median(m - c for m, c in zip(seconds["mixed"], seconds["clips"], strict=True))
    return {
        "good": count,
        "broken": bad,
        "kinds": min(bad, len(DAMAGES)),
        "exit_codes": sorted(codes),
        "statuses": dict(sorted(statuses.items())),
        "lines_of_stderr_that_are_no_json": sorted(other_lines),
        "good_outputs_unequal": unequal,
        "seconds_of_rounds": {kind: [round(s, 3) for s in taken] for kind, taken in seconds.items()},
        "more_seconds": round(more, 2),
        "more_seconds_a_broken_file": round(more / bad, 4),
        "as_expected": codes == {DAMAGE} and unequal == 0,
    }


def kills(scratch: Path, wanted: int, seed: int, small: bool) -> dict[str, Any]:
    """The losses due to kills, which should be none."""
    videos = scratch / "videos"
    videos.mkdir()
    for number in range(2 if small else 5):
        short_clip(videos / f"{number}-short.mp4", number, 24 + 12 * number)
    for number, length in enumerate((40,) if small else (45, 64, 90)):
        slow_video(videos / f"{number}-long.{'mkv' if number == 1 else 'mp4'}", 10 + number, length)
    print_progress("videos to be killed made")
    return killed(Setup("folder", ("--style", STYLE, "-q")), videos, scratch, wanted, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; may be given several times")
    parser.add_argument("--small", action="store_true", help="a tenth of everything: does the benchmark work?")
    parser.add_argument("--clips", type=int, metavar="N")
    parser.add_argument("--broken", type=int, metavar="N")
    parser.add_argument("--rounds", type=int, metavar="N")
    parser.add_argument("--kills", type=int, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=RESULTS / "folder.json")
    args = parser.parse_args()
    count, bad = args.clips or (20 if args.small else 200), args.broken or (12 if args.small else 20)
    rounds, wanted = args.rounds or (1 if args.small else 5), args.kills or (3 if args.small else 20)
    os.environ.pop("VIDSTYLE_STYLES", None)  # the package's own styles
    print_progress(f"on {usable_cores()} cores")
    parts = {
        "overhead": lambda scratch: overhead(scratch, count, rounds),
        "broken": lambda scratch: broken(scratch, count, bad, max(1, rounds // 2)),
        "kills": lambda scratch: kills(scratch, wanted, args.seed, args.small),
    }
    measure(parts, args.only, args.json)


if __name__ == "__main__":
    main()
