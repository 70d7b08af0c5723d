"""What makes the network fast on a CPU: each step before and after in one run, and rejected alternatives.

    python -m tools.bench.cpu [--output tools/bench/results/cpu.json] [--only graphs arithmetic memory ...] [--rounds 7]

Times differ between machines: compare the ratios.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort

from tools.bench.cpu_variants import from_yuv, in_int8, to_yuv, with_instance_norms
from tools.bench.speed import ROOT
from vidstyle.conversion.convert import convert
from vidstyle.core.frames import Pixels
from vidstyle.core.hardware import machine_details
from vidstyle.core.model_file import read_model
from vidstyle.core.options import ConvertOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.styles.catalog import find_style
from vidstyle.stylizers.folding import folded
from vidstyle.stylizers.onnx import load_onnx_stylizer
from vidstyle.stylizers.padding import pad_to_multiple

STYLE = "mosaic"
MARGIN, MULTIPLE = 32, 8
SIZES = ((640, 360), (1280, 720))
LARGE = (3840, 2160)
OTHER_SHAPES = re.compile("ours|YUV")
"""Variants whose outputs are cropped or not RGB."""

INSTRUCTIONS = {"AVX2": "AVX2", "AVX512_CORE": "AVX-512", "AVX512_CORE_BF16": "AVX-512 with bfloat16", "DEFAULT": "all there are"}
"""Limits of the instruction set for oneDNN, and their titles; instructions that the processor lacks change nothing."""

SIDE = 2048
"""Size of the matrices in a product."""

RUNS = 3
"""Runs of a variant in each round."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "tools" / "bench" / "results" / "cpu.json")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory", choices=list(MEMORY), help=argparse.SUPPRESS)
    parser.add_argument("--precisions", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.precisions:
        print(json.dumps(precisions_of(args.precisions)))
        return
    if args.memory:
        print(json.dumps(memory_of(args.memory)))
        return
    found = json.loads(args.output.read_text("utf-8")) if args.output.exists() else {}
    found |= {
        "command": "python -m tools.bench.cpu",
        "machine": machine_details(len(os.sched_getaffinity(0))),
        "rounds": args.rounds,
    }
    for part in args.only:
        print(part, flush=True)
        found[part] = PARTS[part](args.rounds)
        print(json.dumps(found[part], indent=2), flush=True)
        args.output.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


def interleaved(variants: Mapping[str, Callable[[], object]], rounds: int, runs: int = RUNS) -> dict[str, float]:
    """Milliseconds per run, medians of `rounds`, in which all variants take turns."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            run()
            began = time.perf_counter()
            for _ in range(runs):
                run()
            times[name].append(1000 * (time.perf_counter() - began) / runs)
    return {name: round(statistics.median(t), 2) for name, t in times.items()}


def sample(width: int, height: int, count: int) -> list[Pixels]:
    """`count` frames spread evenly over the sample."""
    with av.open(str(ROOT / "samples" / "boat.mp4")) as container:
        frames = list(islice(container.decode(video=0), 0, None, 12))
    chosen = [frames[i * len(frames) // count] for i in range(count)]
    return [np.asarray(frame.reformat(width, height, format="rgb24").to_ndarray(), np.uint8) for frame in chosen]


def session_of(model: Any) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def graphs(size: tuple[int, int], rounds: int) -> dict[str, Any]:
    """The network as different graphs on one thread, and how much the images differ from those of the plain graph."""
    model = read_model(find_style(STYLE))
    images = sample(*size, 8)
    shot: Any = load_onnx_stylizer(find_style(STYLE), "cpu", concurrency=1, cores=1).for_shot(images)
    batches = [pad_to_multiple([image], MARGIN, MULTIPLE) for image in images]
    plain, cut = folded(shot._model.proto), folded(shot._model.proto, margin=MARGIN)
    variants = {
        "instance norms of each image": with_instance_norms(model),
        "norms folded": plain,
        "margin cut off early (ours)": cut,
        "rejected: YUV 4:2:0 in": from_yuv(cut),
        "rejected: YUV 4:2:0 out": to_yuv(cut),
        "rejected: int8, deep part": in_int8(plain, batches[::2]),
    }
    sessions = {name: session_of(variant) for name, variant in variants.items()}
    rgb_input = {"image": batches[4]}
    y, uv = as_planes(batches[4])
    inputs = {name: {"y": y, "uv": uv} if name.endswith("in") else rgb_input for name in variants}
    ms = interleaved({name: partial(session.run, None, inputs[name]) for name, session in sessions.items()}, rounds)
    stylized = {name: sessions[name].run(None, rgb_input)[0].astype(int) for name in variants if not OTHER_SHAPES.search(name)}
    off = {name: levels_off(pixels, stylized["norms folded"]) for name, pixels in stylized.items() if name != "norms folded"}
    return {"ms": ms, "levels_off": off}


def as_planes(batch: Pixels) -> tuple[Pixels, Pixels]:
    """An image (1, H, W, 3) as planes of a decoder: Y (1, 1, H, W) and UV (1, 2, H/2, W/2)."""
    height, width = batch.shape[1:3]
    rows = cv2.cvtColor(batch[0], cv2.COLOR_RGB2YUV_I420)
    return rows[None, None, :height], rows[height:].reshape(1, 2, height // 2, width // 2)


def levels_off(stylized: np.ndarray, expected: np.ndarray) -> list[float]:
    """Mean and largest difference in levels of 255."""
    off = np.abs(stylized.astype(int) - expected)
    return [round(float(off.mean()), 2), int(off.max())]


def arithmetic(rounds: int) -> dict[str, Any]:
    """Billions of multiply-adds per second on one thread, of the network and of a large matrix product, which is the limit."""
    shape = (1, SIZES[0][1] + 2 * MARGIN, SIZES[0][0] + 2 * MARGIN, 3)
    net = folded(read_model(find_style(STYLE)), margin=MARGIN)
    product = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17]>
        product (float[{SIDE}, {SIDE}] a, float[{SIDE}, {SIDE}] b) => (float[{SIDE}, {SIDE}] c) {{ c = MatMul(a, b) }}"""
    )
    matrix = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
    variants = {
        "net": partial(session_of(net).run, None, {"image": np.zeros(shape, np.uint8)}),
        "matrix product": partial(session_of(product).run, None, {"a": matrix, "b": matrix}),
    }
    done = {"net": multiply_adds(net, shape), "matrix product": SIDE**3}
    return {name: round(done[name] / ms / 1e6, 1) for name, ms in interleaved(variants, rounds).items()}


def multiply_adds(net: onnx.ModelProto, shape: tuple[int, ...]) -> int:
    """Multiply-adds of all convolutions of a folded network, for a batch of this shape."""
    for dimension, size in zip(net.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dimension.dim_value = size
    del net.graph.output[0].type.tensor_type.shape.dim[:]
    known = {v.name: v.type.tensor_type.shape.dim for v in onnx.shape_inference.infer_shapes(net).graph.value_info}
    weights = {i.name: i.dims for i in net.graph.initializer}
    convolutions = [node for node in net.graph.node if node.op_type == "Conv"]
    return sum(math.prod(weights[n.input[1]]) * math.prod(d.dim_value for d in known[n.output[0]][2:]) for n in convolutions)


def memory_of(kind: str) -> dict[str, Any]:
    """4K images in three shots, after measuring the statistics of each, in concurrent threads: ms per image and peak MiB."""
    width, height = LARGE
    image = sample(width, height, 1)[0]
    if MEMORY[kind] is not None:
        from vidstyle.stylizers import sessions

        sessions._with_shared_arena = MEMORY[kind]  # type: ignore[assignment]
    stylizer: Any = load_onnx_stylizer(find_style(STYLE), "cpu")
    times = []
    with ThreadPoolExecutor(stylizer.concurrency) as executor:
        for _ in range(3):
            stylizer = stylizer.for_shot([image])
            began = time.perf_counter()
            list(executor.map(stylizer.stylize, [[image]] * 4))
            times.append((time.perf_counter() - began) / 4)
    peak = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return {"ms": round(1000 * statistics.median(times)), "peak_mib": int(peak.split()[1]) // 1024}


MEMORY: dict[str, Callable[[Any], Any] | None] = {"each session its own": lambda options: options, "shared (ours)": None}


def memory(rounds: int) -> dict[str, Any]:
    """`memory_of` each kind, in separate processes."""
    command = [sys.executable, "-m", "tools.bench.cpu", "--memory"]
    outputs = {kind: subprocess.run([*command, kind], check=True, capture_output=True, text=True).stdout for kind in MEMORY}
    return {kind: json.loads(text.splitlines()[-1]) for kind, text in outputs.items()}


def learning(size: tuple[int, int], rounds: int) -> dict[str, Any]:
    """Milliseconds to measure the statistics of a shot, with one image at a time and with one on each core."""
    images, cores = sample(*size, 8), len(os.sched_getaffinity(0))
    one, each = (
        load_onnx_stylizer(find_style(STYLE), "cpu", concurrency=concurrency, cores=concurrency) for concurrency in (1, cores)
    )
    variants = {"one after the other": one, "concurrently (ours)": each}
    return interleaved({name: partial(stylizer.for_shot, images) for name, stylizer in variants.items()}, rounds, 1)


def concurrency(rounds: int) -> dict[str, Any]:
    """Frames per second of conversions, by concurrent images, threads per image, and images per batch."""
    cores = len(os.sched_getaffinity(0))
    splits = [(1, cores, 1), (cores, 1, 1), (cores, 1, 2), (cores, 1, 4), (cores + 1, 1, 1), (cores, 2, 1), (1, cores, 4)]
    clip = ROOT / "samples" / "boat.mp4"
    found: dict[str, list[float]] = {"x".join(map(str, split)): [] for split in splits}
    with tempfile.TemporaryDirectory() as name:
        output = Path(name) / "stylized.mp4"
        for _ in range(max(1, rounds // 2)):
            for split, (at_once, threads, batch) in zip(found, splits, strict=True):
                stylizer = load_onnx_stylizer(find_style(STYLE), "cpu", concurrency=at_once, cores=at_once * threads)
                began = time.perf_counter()
                result = convert(str(clip), output, stylizer, ConvertOptions(batch_size=batch, overwrite=True))
                found[split].append(result.frames / (time.perf_counter() - began))
    return {"concurrency x threads x batch, fps": {split: round(statistics.median(fps), 1) for split, fps in found.items()}}


def backends(size: tuple[int, int], rounds: int) -> dict[str, Any]:
    """ONNX Runtime and torch on all cores: ms per image, and differences in levels."""
    from vidstyle.stylizers.torch import load_torch_stylizer

    images, path = sample(*size, 8), find_style(STYLE)
    both = [load_onnx_stylizer(path, "cpu"), load_torch_stylizer(path, "cpu")]
    shots = {stylizer.describe(): stylizer.for_shot(images) for stylizer in both}
    with ExitStack() as stack:
        variants = {}
        for name, shot in shots.items():
            executor = stack.enter_context(ThreadPoolExecutor(shot.concurrency))
            variants[name] = partial(stylized_by, shot, images, executor)
        ms = {name: round(t / len(images), 2) for name, t in interleaved(variants, rounds, 1).items()}
    first, second = (shot.stylize(images[:1]) for shot in shots.values())
    return {"ms": ms, "levels_off": levels_off(second, first)}


def precisions_of(rounds: int) -> dict[str, float]:
    """The network in torch on one thread, in single and half precision: ms per image."""
    import torch

    from vidstyle.networks.export import load_net
    from vidstyle.networks.fusion import fused

    torch.set_num_threads(1)
    net = load_net(find_style(STYLE))[0].eval()
    shape = (1, 3, SIZES[0][1] + 2 * MARGIN, SIZES[0][0] + 2 * MARGIN)
    variants = {}
    for kind in (torch.float32, torch.bfloat16):
        image = torch.rand(shape).to(kind).to(memory_format=torch.channels_last)
        variants[str(kind).removeprefix("torch.")] = partial(fused(net, torch.device("cpu"), kind), image)
    with torch.inference_mode():
        return interleaved(variants, rounds)


def precisions(rounds: int) -> dict[str, Any]:
    """`precisions_of` with each limit of the instruction set."""
    found = {}
    for limit, title in INSTRUCTIONS.items():
        command = [sys.executable, "-m", "tools.bench.cpu", "--precisions", str(rounds)]
        environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": limit}
        output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        found[title] = json.loads(output.splitlines()[-1])
    return found


def stylized_by(stylizer: Stylizer, images: list[Pixels], executor: ThreadPoolExecutor) -> list[Pixels]:
    return list(executor.map(stylizer.stylize, [[image] for image in images]))


def by_size(part: Callable[[tuple[int, int], int], dict[str, Any]]) -> Callable[[int], dict[str, Any]]:
    return lambda rounds: {f"{size[0]}x{size[1]}": part(size, rounds) for size in SIZES}


PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "graphs": by_size(graphs),
    "arithmetic": arithmetic,
    "memory": memory,
    "learning": by_size(learning),
    "concurrency": concurrency,
    "backends": by_size(backends),
    "precisions": precisions,
}


if __name__ == "__main__":
    main()
