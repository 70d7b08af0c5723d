"""Speed and memory of conversions: the measurements of `vidstyle bench`, compared with other tools, and by size and length.

    python -m tools.bench.speed [--peers] [--sweep] [--plots] [--cores 2] [--output tools/bench/results/bench.json]

The clip is `samples/boat.mp4`, scaled and repeated. --peers measures other tools in the same rounds (`tools/bench/peers.py`);
their clips are the first frames of ours, because they take seconds per frame. --sweep converts once at each of many sizes and
lengths, each in its own process. --small does a little of everything, to check that the benchmark works, and writes results
only with --output. Times differ between machines: compare the ratios.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vidstyle.bench.clips import RATE, make_clip
from vidstyle.bench.measure import measure_clips
from vidstyle.bench.options import BenchOptions, Size
from vidstyle.bench.process import run_command
from vidstyle.bench.stages import ClipBench
from vidstyle.core.hardware import machine_details
from vidstyle.core.options import StyleOptions
from vidstyle.stylizers import load_stylizer

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tools" / "bench" / "results"
SAMPLE = ROOT / "samples" / "boat.mp4"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What to measure: sizes in pixels, lengths in seconds."""

    options: BenchOptions
    peer_frames: int
    sweep_sizes: tuple[tuple[Size, float], ...]
    """Each with the length of its clip."""
    sweep_lengths: tuple[float, ...]
    sweep_length_size: Size


ON_CPU = StyleOptions(device="cpu")
FULL = Plan(
    BenchOptions(ON_CPU, ((640, 360), (1280, 720)), seconds=10, rounds=3),
    8,
    (((640, 360), 4), ((960, 540), 4), ((1280, 720), 4), ((1920, 1080), 3), ((2560, 1440), 3), ((3840, 2160), 5)),
    (5, 20, 60, 180, 600),
    (640, 360),
)
SMALL = Plan(BenchOptions(ON_CPU, ((128, 96), (256, 192)), 1, 1), 2, (((128, 96), 1), ((256, 192), 1)), (1, 2, 4), (128, 96))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="store_true", help="also measure other tools; needs torch")
    parser.add_argument("--sweep", action="store_true", help="measure sizes up to 4K and lengths up to ten minutes")
    parser.add_argument("--plots", action="store_true", help="draw plots next to the results, or in the current folder")
    parser.add_argument("--small", action="store_true", help="do a little of everything, to check that the benchmark works")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    plan = SMALL if args.small else FULL
    output = args.output or (None if args.small else RESULTS / "bench.json")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        found = {"command": command_line(), **stages(plan, folder, args.peers, args.cores)}
        if args.sweep:
            (folder / "sweep").mkdir()
            found["sweep"] = {"command": command_line(), "machine": machine_details(args.cores), **sweep(plan, folder / "sweep")}
    if output is not None:
        found = write(output, found)
    print(json.dumps(found, indent=2))
    if args.plots:
        from tools.docs.speed_plots import write_plots

        write_plots(found, output.parent if output is not None else Path.cwd())


def command_line() -> str:
    """The command line without --output."""
    arguments = sys.argv[1:]
    if "--output" in arguments:
        place = arguments.index("--output")
        del arguments[place : place + 2]
    return shlex.join(["python", "-m", "tools.bench.speed", *arguments])


def write(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Write results; without a new sweep, the previous one is kept, with its own command and machine."""
    before = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if "sweep" in before:
        found.setdefault("sweep", before["sweep"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return found


def stages(plan: Plan, folder: Path, with_peers: bool, cores: int) -> dict[str, Any]:
    """Our results by stage, and with peers, ours in torch and those of the peers in the same rounds."""
    options = plan.options
    clips = [make_clip(folder, size, options.seconds, str(SAMPLE)) for size in options.sizes]
    stylizer = load_stylizer(options.style)
    if not with_peers:
        return measure_clips(clips, stylizer, options, folder)
    import torch

    from tools.bench.peers import LABELS, make_peers

    torch.set_num_threads(cores)
    peers = make_peers(folder)
    in_torch = replace(options, style=replace(options.style, backend="torch"))
    ours_in_torch = [ClipBench(clip, load_stylizer(in_torch.style), in_torch, folder) for clip in clips]
    short = {clip.name: make_clip(folder, (clip.width, clip.height), plan.peer_frames / RATE, str(SAMPLE)) for clip in clips}

    def measure_peers(number: int) -> None:
        for bench in ours_in_torch:
            log.info("round %d: %s, ours in torch", number, bench.name)
            bench.round()
        for size, clip in short.items():
            for name, peer in peers.items():
                log.info("round %d: %s, %s", number, size, name)
                peer.convert(Path(clip.input), folder / "peer.mp4", size)

    found = measure_clips(clips, stylizer, options, folder, measure_peers)
    found["in_torch"] = {bench.name: bench.result() for bench in ours_in_torch}
    found["peers"] = {
        name: {"label": LABELS[name], **{size: compared(peer.result(size), found["sizes"][size]) for size in short}}
        for name, peer in peers.items()
    }
    return found


def compared(peer: dict[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a peer at one size, with the ratio to ours."""
    if "trouble" in peer:
        return peer
    return peer | {
        "ours_faster_by": round(ours["fps"] / peer["fps"], 1),
        "our_net_faster_by": round(peer["net_ms"] / ours["net_ms"], 1),
    }


def sweep(plan: Plan, folder: Path) -> dict[str, Any]:
    """Conversions at many sizes, and of many lengths at one size; and how their time grows."""

    def converted(size: Size, seconds: float) -> dict[str, Any]:
        log.info("sweep: %dx%d, %g s", *size, seconds)
        clip = make_clip(folder, size, seconds, str(SAMPLE))
        run = asdict(run_command(clip, plan.options, folder))
        Path(clip.input).unlink()
        return {"pixels": size[0] * size[1], "fps": round(run["frames"] / run["seconds"], 2)} | {
            key: value if value is None else round(value, 3) for key, value in run.items()
        }

    sizes = {f"{w}x{h}": converted((w, h), seconds) for (w, h), seconds in plan.sweep_sizes}
    lengths = {f"{seconds:g} s": converted(plan.sweep_length_size, seconds) for seconds in plan.sweep_lengths}
    return {
        "sizes": sizes,
        "lengths": lengths,
        "exponent_pixels": round(exponent((r["pixels"], r["seconds"] / r["frames"]) for r in sizes.values()), 3),
        "exponent_frames": round(exponent((r["frames"], r["seconds"]) for r in lengths.values()), 3),
    }


def exponent(points: Iterable[tuple[float, float]]) -> float:
    """The exponent of the power law of y over x: the slope of a straight line through the logarithms, by least squares.

    Nothing is subtracted beforehand, so constant costs make it smaller.
    """
    x, y = np.log(np.array(list(points), float)).T
    return float(np.polyfit(x, y, 1)[0])


if __name__ == "__main__":
    main()
