"""Speed and memory of a conversion on the CPU, side by side in one run: our compact net and the full TransformerNet.

    python tools/bench.py [--output tools/results/bench.json] [--cores 2]

The clip is `samples/boat.mp4`, scaled and repeated. The full net is untrained: its speed does not depend on its weights.
It is measured as the known tools run it (instance norms computed frame by frame) and, the harder comparison, with the norms
folded as ours are. Times of different machines differ: compare the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from fractions import Fraction
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

import vidstyle
from vidstyle.convert import convert
from vidstyle.frames import Frame
from vidstyle.options import ConvertOptions, Trim
from vidstyle.sinks import open_video_sink
from vidstyle.sources import open_source
from vidstyle.stages import Stylizer
from vidstyle.studio.export import export_onnx
from vidstyle.studio.transformer_net import MARGIN, MULTIPLE, TransformerNet
from vidstyle.stylizers.catalog import find_style
from vidstyle.stylizers.onnx import OnnxStylizer
from vidstyle.stylizers.torch import TorchStylizer

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "samples" / "boat.mp4"
SIZES = ((640, 360), (1280, 720))
RATE = 25
NET_RUNS = {"compact": 24, "full": 4}
CLIP_SECONDS = {"compact": 10, "full": 0.4}
REPEATS = 3
MEMORY_SECONDS = (10, 60)
# Not the parent's view of the child: that begins with the parent's own size.
_RUN_AND_TELL_PEAK = """
import re, sys
from vidstyle.cli import run_command_line
if run_command_line(sys.argv[1:]):
    raise SystemExit("failed")
print(re.search("VmHWM:.*", open("/proc/self/status").read())[0])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "tools" / "results" / "bench.json")
    parser.add_argument("--cores", type=int, default=2)
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    torch.set_num_threads(args.cores)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stylizers = make_stylizers(folder)
        result: dict[str, Any] = {"command": "python tools/bench.py", "machine": machine(args.cores), "sizes": {}}
        for width, height in SIZES:
            print(f"{width}x{height}", flush=True)
            clip = make_clip(folder / f"{height}.mp4", width, height, CLIP_SECONDS["compact"])
            result["sizes"][f"{width}x{height}"] = {
                "net_alone": net_alone(stylizers, width, height),
                "stages": stages(clip, stylizers["compact"], args.cores, folder),
                "end_to_end": end_to_end(clip, stylizers, folder),
            }
        result["peak_memory_1280x720"] = peak_memory(folder)
        add_ratios(result)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result["ratios"], indent=2))


def machine(cores: int) -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith(("model name", "flags"))]
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
        flags = next((x.split() for x in lines if x.startswith("flags")), [])
        model += ", " + ("AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2")
    packages = {m.__name__: m.__version__ for m in (av, np, onnxruntime, torch, vidstyle)}
    return {"cpu": model, "cores": cores, "system": platform.system(), "python": platform.python_version(), **packages}


def make_stylizers(folder: Path) -> dict[str, Stylizer]:
    """The nets to compare."""
    full = TransformerNet().eval()
    folded = folder / "full.onnx"
    export_onnx(full, "full", folded, {"name": "full"})
    model = onnx.load(folded)
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":  # per-frame statistics instead of tracked ones
            node.op_type = "InstanceNormalization"
            del node.input[3:]
    onnx.save(model, folder / "full_instance_norm.onnx")
    return {
        "compact": OnnxStylizer(find_style("mosaic"), "cpu"),
        "full_onnxruntime": OnnxStylizer(folder / "full_instance_norm.onnx", "cpu"),
        "full_onnxruntime_folded": OnnxStylizer(folded, "cpu"),
        "full_torch_eager": _Unfrozen(full),
    }


class _Unfrozen(TorchStylizer):
    """The full net in torch, norms computed frame by frame."""

    def __init__(self, net: TransformerNet) -> None:
        super().__init__(net, "cpu", scale=255.0, margin=MARGIN, multiple=MULTIPLE)
        for module in net.modules():
            if isinstance(module, nn.InstanceNorm2d):
                module.train()


def make_clip(path: Path, width: int, height: int, seconds: int) -> Path:
    """`SAMPLE` scaled and repeated, without sound."""
    with av.open(str(SAMPLE)) as source:
        frames = [f.reformat(width, height) for f in source.decode(video=0)]
    back_and_forth = cycle(chain(frames, reversed(frames)))
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=RATE, options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, frame in enumerate(islice(back_and_forth, seconds * RATE)):
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def kind(name: str) -> str:
    return name.split("_")[0]


def net_alone(stylizers: dict[str, Stylizer], width: int, height: int) -> dict[str, float]:
    """Milliseconds a frame of the net on all cores, padding and cropping included; nets take turns, medians."""
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    times: dict[str, list[float]] = {name: [] for name in stylizers}
    for _ in range(REPEATS):
        for name, stylizer in stylizers.items():
            runs = NET_RUNS[kind(name)]
            with ThreadPoolExecutor(stylizer.lanes) as lanes:
                list(lanes.map(stylizer.stylize, [[picture]] * stylizer.lanes))  # warm up
                began = time.perf_counter()
                list(lanes.map(stylizer.stylize, [[picture]] * runs))
                times[name].append(1000 * (time.perf_counter() - began) / runs)
    return {name: round(statistics.median(t), 2) for name, t in times.items()}


@contextmanager
def measured(into: dict[str, float]) -> Iterator[None]:
    """Adds wall and CPU seconds (all threads) of the block."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    into["wall"] = time.perf_counter() - wall
    into["cpu"] = time.process_time() - cpu


def stages(clip: Path, stylizer: Stylizer, cores: int, folder: Path) -> dict[str, Any]:
    """Each stage alone, and all together: total wall time against the CPU time of the parts shared by all cores."""

    def once() -> dict[str, dict[str, float]]:
        spent: dict[str, dict[str, float]] = {"decode": {}, "net": {}, "encode": {}, "total": {}}
        with closing(open_source(str(clip))) as source:
            info = source.info
            with measured(spent["decode"]):
                frames = list(source.frames())
        with measured(spent["net"]), ThreadPoolExecutor(stylizer.lanes) as lanes:
            pixels = lanes.map(lambda f: stylizer.stylize([f.pixels])[0], frames)
            painted = [Frame(p, f.pts, f.time_base, f.duration) for p, f in zip(pixels, frames, strict=True)]
        output = folder / "stage.mp4"
        with measured(spent["encode"]), closing(open_video_sink(output, info, overwrite=True)) as sink:
            for frame in painted:
                sink.write(frame)
            sink.publish()
        with measured(spent["total"]):
            convert(str(clip), output, stylizer, ConvertOptions(overwrite=True))
        output.unlink()
        return spent

    runs = [once() for _ in range(REPEATS)]
    middle = {stage: {k: round(statistics.median(r[stage][k] for r in runs), 3) for k in ("wall", "cpu")} for stage in runs[0]}
    ratios = [r["total"]["wall"] / (sum(r[s]["cpu"] for s in ("decode", "net", "encode")) / cores) for r in runs]
    return {"seconds": middle, "total_wall_over_cpu_share": round(statistics.median(ratios), 3)}


def end_to_end(clip: Path, stylizers: dict[str, Stylizer], folder: Path) -> dict[str, float]:
    """Frames per second of whole conversions: decoding, net, encoding, verifying. Medians."""

    def fps(name: str) -> float:
        trim = Trim(end=float(CLIP_SECONDS[kind(name)]))
        output = folder / "end.mp4"
        began = time.perf_counter()
        result = convert(str(clip), output, stylizers[name], ConvertOptions(trim=trim, overwrite=True))
        output.unlink()
        return result.frames / (time.perf_counter() - began)

    repeats = {"compact": REPEATS, "full": 1}
    return {name: round(statistics.median(fps(name) for _ in range(repeats[kind(name)])), 3) for name in stylizers}


def peak_memory(folder: Path) -> dict[str, float]:
    """MiB of resident memory at most, of the command itself, for a short and a long clip."""
    peaks = {}
    for seconds in MEMORY_SECONDS:
        clip = make_clip(folder / f"memory{seconds}.mp4", 1280, 720, seconds)
        command = [sys.executable, "-c", _RUN_AND_TELL_PEAK, str(clip), "--style", "mosaic", "--device", "cpu", "-q"]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        peaks[f"{seconds}_s"] = round(int(told.split()[-2]) / 1024, 1)
        clip.unlink()
    return peaks


def add_ratios(result: dict[str, Any]) -> None:
    """The figures that are promised."""
    ratios: dict[str, Any] = {}
    for size, figures in result["sizes"].items():
        net, total = figures["net_alone"], figures["end_to_end"]
        ratios[size] = {
            "net_alone_full_folded_over_compact": round(net["full_onnxruntime_folded"] / net["compact"], 1),
            "net_alone_full_instance_norm_over_compact": round(net["full_onnxruntime"] / net["compact"], 1),
            "end_to_end_compact_over_full_onnxruntime": round(total["compact"] / total["full_onnxruntime"], 1),
            "end_to_end_compact_over_full_onnxruntime_folded": round(total["compact"] / total["full_onnxruntime_folded"], 1),
            "end_to_end_compact_over_full_torch": round(total["compact"] / total["full_torch_eager"], 1),
            "total_wall_over_cpu_share": figures["stages"]["total_wall_over_cpu_share"],
        }
    short, long = (result["peak_memory_1280x720"][f"{s}_s"] for s in MEMORY_SECONDS)
    ratios["peak_memory_60_s_over_10_s"] = round(long / short, 3)
    result["ratios"] = ratios


if __name__ == "__main__":
    main()
