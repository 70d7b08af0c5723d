"""Several workers: is a divided video the same video, is anything lost or done twice, and how fast is it?

    python -m tools.bench.cluster [--only PART ...] [--small] [--clip FILE ...] [--json tools/bench/results/cluster.json]

kills: a folder of long and short videos stylized by `--workers 2`, and by `--cluster local`; in turn the run itself and one of
its workers are killed with SIGKILL at random moments, and the run is restarted until it finishes. Outputs must equal those of an
uninterrupted run, and a chunk may be stylized again only if it was in progress, which a log of the run shows.

same: real clips, repeated until they are long enough, in one piece and divided. As FFV1 all frames must be the same; as H.264 the
output of Ray must be byte for byte that of local workers; copied streams must have the same packets at the same times.

seams: the flicker of stabilised videos where they were divided, see tools/bench/seams.py; for several numbers of warm-up frames.

throughput: a long video as a plain run, with --workers 1, --workers 2 and --cluster local, in turn, the fastest of each: for the
whole command, and from the first result of a worker (a plain run: from its first stylized frame).

tasks: the time of each kind of task, and of the driver's own work, at 640x360 and 1920x1080; tools/bench/simulate_cluster.py and
tools/bench/scale_plan.py use these.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench.cluster_tasks import round_trip, storing, video_parts
from tools.bench.kill_runs import Setup, killed
from tools.bench.measurement import RESULTS, SAMPLE, STYLE, measure, print_progress, vidstyle_environment
from tools.bench.same_output import OutputContent, content_of, differing, file_hash, frames_in
from tools.bench.scenes import lengthened, one_shot, short_clip, slow_video
from tools.bench.seams import seams
from tools.bench.watched_run import Run, events
from vidstyle.batch.cluster.chunks import WARM_UP_FRAMES
from vidstyle.core.hardware import usable_cores
from vidstyle.core.options import ClusterOptions

WARM_UPS = (0, 4, 8, 16, 24, 48)
KINDS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "workers 1": ("--workers", "1"),
    "workers 2": ("--workers", "2"),
    "ray local": ("--cluster", "local"),
}


@dataclass(frozen=True)
class Scale:
    """The amounts of work."""

    kills: int = 20
    kill_videos: tuple[int, ...] = (56, 96)
    same_chunks: int = 6
    seam_seconds: float = 60.0
    seam_chunk: float = 4.0
    warm_ups: tuple[int, ...] = WARM_UPS
    video_seconds: float = 200.0
    video_chunk: float = 20.0
    rounds: int = 3
    task_seconds: float = 120.0
    hd_seconds: float = 12.0
    repeat_hours: float = 0.5
    hd_hours: float = 0.05
    store_hours: float = 2.0


SMALL = Scale(
    kills=4,
    kill_videos=(40,),
    same_chunks=3,
    seam_seconds=8.0,
    seam_chunk=2.0,
    warm_ups=(0, WARM_UP_FRAMES),
    video_seconds=12.0,
    video_chunk=4.0,
    rounds=1,
    task_seconds=8.0,
    hd_seconds=2.0,
    repeat_hours=0.02,
    hd_hours=0.003,
    store_hours=0.2,
)


def ran(scratch: Path, arguments: Sequence[str], seconds: float = 3600) -> tuple[float, list[dict[str, Any]]]:
    """Run `vidstyle ARGS`, which must succeed; returns the start time and the log, to which the end is added."""
    log = scratch / "run.jsonl"
    log.unlink(missing_ok=True)
    run = Run(log, [*arguments, "--style", STYLE, "--device", "cpu", "-q"], scratch, vidstyle_environment())
    code = run.finished(seconds)
    ended = time.time()
    if code != 0:
        raise SystemExit(f"expected {' '.join(arguments)} to end with 0, got {code}: {run.errors[-2000:]}")
    return run.began, [*events(log), {"t": ended, "what": "exited"}]


def kills(scratch: Path, scale: Scale, seed: int) -> dict[str, Any]:
    """The losses due to kills, which should be none."""
    videos = scratch / "videos"
    videos.mkdir()
    for number, length in enumerate(scale.kill_videos):
        slow_video(videos / f"{number}-long.{'mkv' if number % 2 else 'mp4'}", 20 + number, length)
    for number in range(2):
        short_clip(videos / f"{number}-short.mp4", number, 48)
    print_progress("videos to be killed made")
    options = ("--style", STYLE, "-q", "--chunk", "8")
    setups = (
        Setup("workers", ("--workers", "2", *options), ("driver", "worker")),
        Setup("ray", ("--cluster", "local", *options), ("worker", "driver")),
    )
    return {setup.name: killed(setup, videos, scratch, scale.kills // 2, seed) for setup in setups}


def _chunks(log: list[dict[str, Any]]) -> int:
    return len({line["piece"] for line in log if line["what"] == "task_started" and line["method"] == "stylize_chunk"})


def _same(clip: Path, scratch: Path, count: int, chunk: float) -> dict[str, Any]:
    video = lengthened(clip, scratch / f"long-{clip.stem}{clip.suffix}", count * chunk)

    def stylized(name: str, *more: str) -> tuple[Path, OutputContent, int]:
        out = scratch / name
        _, log = ran(scratch, [str(video), "-o", str(out), "--overwrite", *more])
        return out, content_of(out), _chunks(log)

    divided = ("--workers", "2", "--chunk", f"{chunk:g}")
    _, lossless, _ = stylized("plain.mkv", "--codec", "ffv1")
    _, in_chunks, chunks = stylized("workers.mkv", "--codec", "ffv1", *divided)
    plain, whole, _ = stylized("plain.mp4")
    local, workers, h264_chunks = stylized("workers.mp4", *divided)
    ray, _, _ = stylized("ray.mp4", "--cluster", "local", "--chunk", f"{chunk:g}")
    found = {
        "frames": len(whole.frames),
        "chunks": chunks,
        "copied_streams": len(whole.others),
        "copied_packets": sum(map(len, whole.others)),
        "ffv1_differing": differing(lossless, in_chunks),
        "h264_chunks": h264_chunks,
        "h264_differing_but_frames": {k: n for k, n in differing(whole, workers).items() if k != "frames"},
        "h264_bytes_over_plain": round(local.stat().st_size / plain.stat().st_size, 4),
        "ray_bytes_are_those_of_workers": file_hash(ray) == file_hash(local),
    }
    for path in (*scratch.glob("*.mkv"), *scratch.glob("*.mp4")):
        path.unlink()
    print_progress(f"same: {clip.name}: {json.dumps(found)}")
    return found


def same(scratch: Path, scale: Scale, clips: Sequence[Path]) -> dict[str, Any]:
    """Whether a divided video equals the undivided one."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:  # `scratch` is cleared after each clip
        dense = one_shot(Path(name) / "one-shot.mp4", SAMPLE, None, 24)  # with more keyframes than the sample has
        return {"clips": {clip.name: _same(clip, scratch, scale.same_chunks, 6.0) for clip in (*clips, dense)}}


def seam_figures(scratch: Path, scale: Scale, clips: Sequence[Path]) -> dict[str, Any]:
    """The figures of every clip, played forwards and backwards, without a cut."""
    found = {}
    for clip in clips:
        video = one_shot(scratch / f"{clip.stem}.mp4", clip, None, scale.seam_seconds, 1.0)
        found[clip.name] = seams(video, scratch, scale.seam_chunk, scale.warm_ups)
        video.unlink()
    return {"warm_up_frames": WARM_UP_FRAMES, "chunk_seconds": scale.seam_chunk, "clips": found}


def throughput(scratch: Path, scale: Scale) -> dict[str, Any]:
    """Frames a second for one video, with and without workers."""
    video, out = one_shot(scratch / "video.mp4", SAMPLE, None, scale.video_seconds), scratch / "out.mp4"
    frames = frames_in(video)
    print_progress(f"throughput: a video of {frames} frames")
    fps: dict[str, dict[str, list[float]]] = {kind: {"all": [], "without_start": []} for kind in KINDS}
    starts: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(scale.rounds):
        for kind, options in KINDS.items():
            chunk = ("--chunk", f"{scale.video_chunk:g}") if options else ()
            began, log = ran(scratch, [str(video), "-o", str(out), *options, *chunk])
            out.unlink()
            first = next(line["t"] for line in log if line["what"] in ("stylizing", "task_ended"))
            rates = {"all": frames / (log[-1]["t"] - began), "without_start": frames / (log[-1]["t"] - first)}
            starts[kind].append(first - began)
            for part, rate in rates.items():
                fps[kind][part].append(round(rate, 2))
            print_progress(f"throughput: round {number + 1} of {scale.rounds}, {kind}: {rates}, start {starts[kind][-1]:.1f} s")
    best = {kind: {part: max(rates) for part, rates in parts.items()} for kind, parts in fps.items()}
    ratios = {kind: {part: round(rate / best["plain"][part], 3) for part, rate in parts.items()} for kind, parts in best.items()}
    return {
        "frames": frames,
        "size": "640x360",
        "chunk_seconds": scale.video_chunk,
        "rounds": scale.rounds,
        "fps_of_rounds": fps,
        "fps": best,
        "start_seconds": {kind: round(min(taken), 2) for kind, taken in starts.items()},
        "over_plain": ratios,
    }


def tasks(scratch: Path, scale: Scale) -> dict[str, Any]:
    """The time of each part of the work."""
    found: dict[str, Any] = {"videos": {}}
    sizes = (((640, 360), scale.task_seconds, 20.0, scale.repeat_hours), ((1920, 1080), scale.hd_seconds, 4.0, scale.hd_hours))
    for size, seconds, chunk, hours in sizes:
        chunk = min(chunk, seconds / 3)
        video = one_shot(scratch / f"{size[1]}.mp4", SAMPLE, size, seconds, min(2.0, chunk / 2))
        found["videos"][f"{size[0]}x{size[1]}"] = video_parts(video, scratch / f"{size[1]}.out.mp4", chunk, hours)
        video.unlink()
    found["storing"] = storing(scale.store_hours, 25.0, 20.0)
    found["round_trip_seconds"] = {
        "processes": round_trip(ClusterOptions(workers=1)),
        "ray": round_trip(ClusterOptions(workers=1, address="local")),
    }
    print_progress(f"tasks: starting one and receiving its result takes {found['round_trip_seconds']}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("kills", "same", "seams", "throughput", "tasks")
    parser.add_argument("--only", action="append", choices=names, help="this part; may be given several times")
    parser.add_argument("--small", action="store_true", help="a tenth of everything: does the benchmark work?")
    parser.add_argument("--clip", type=Path, action="append", help="for `same`; may be given several times [default: the sample]")
    parser.add_argument("--seam-clip", type=Path, action="append", help="for `seams`, without cuts [default: the sample]")
    parser.add_argument("--kills", type=int, help="number of kills in all")
    parser.add_argument("--seconds", type=float, help="length of the video for `throughput`")
    parser.add_argument("--rounds", type=int, help="of `throughput`")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=RESULTS / "cluster.json")
    args = parser.parse_args()
    amounts = {"kills": args.kills, "video_seconds": args.seconds, "rounds": args.rounds}
    scale = Scale(**{**vars(SMALL if args.small else Scale()), **{k: v for k, v in amounts.items() if v is not None}})
    os.environ.pop("VIDSTYLE_STYLES", None)  # the package's own styles
    os.environ.pop("RAY_ADDRESS", None)
    print_progress(f"on {usable_cores()} cores")
    parts: dict[str, Callable[[Path], dict[str, Any]]] = {
        "kills": lambda scratch: kills(scratch, scale, args.seed),
        "same": lambda scratch: same(scratch, scale, args.clip or [SAMPLE]),
        "seams": lambda scratch: seam_figures(scratch, scale, args.seam_clip or [SAMPLE]),
        "throughput": lambda scratch: throughput(scratch, scale),
        "tasks": lambda scratch: tasks(scratch, scale),
    }
    measure(parts, args.only, args.json)


if __name__ == "__main__":
    main()
