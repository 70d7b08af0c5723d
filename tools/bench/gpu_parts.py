"""The parts of `gpu.py`: measurements of whole conversions; those of networks alone are in `gpu_networks.py`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from tools.bench.gpu_networks import (
    RATE,
    STYLE,
    Bench,
    Measurement,
    Result,
    environment,
    load,
    net_of,
    sessions_alone,
    torch_alone,
)
from vidstyle.core.protocols import Stylizer


class Copying(Stylizer):
    """Returns its input, which leaves only decoding and encoding."""

    def stylize(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack(images)


def encoders(bench: Bench) -> dict[str, Any]:
    from vidstyle.core.options import EncodeOptions

    return {"libx264": EncodeOptions()} | ({"hardware": EncodeOptions(codec="h264", hardware=True)} if bench.on_gpu else {})


def converted(bench: Bench, size: str, stylizer: Any, encode: Any, batch: int) -> Result:
    """A whole conversion."""
    from vidstyle.conversion.convert import convert
    from vidstyle.core.options import ConvertOptions

    output = bench.folder / f"{os.getpid()}.mp4"
    began = time.perf_counter()
    result = convert(str(bench.clip(size)), output, stylizer, ConvertOptions(encode=encode, batch_size=batch, overwrite=True))
    took = time.perf_counter() - began
    output.unlink()
    return {"fps": round(result.frames / took, 1), "times real time": round(result.frames / took / RATE, 2)}


def end_to_end(bench: Bench) -> Iterator[Measurement]:
    """Whole conversions with both engines and without a network; compare results of one size and encoder."""
    stylizers: dict[str, Any] = {"without network": Copying()}
    for backend in ("onnx", "torch"):
        with suppress(Exception):  # reported by the parts for the network
            stylizers[backend] = load(bench, backend)
    for size in bench.sizes:
        for encoder, encode in encoders(bench).items():
            for name, stylizer in stylizers.items():
                for batch in (1, 4) if name != "without network" else (1,):
                    yield f"{size} {encoder} {name} batch {batch}", partial(converted, bench, size, stylizer, encode, batch)


def codec(bench: Bench) -> Iterator[Measurement]:
    """Decoding alone, on the processor and on the GPU; encoding alone."""
    from vidstyle.sinks import open_video_sink
    from vidstyle.sources.video import VideoSource

    def decode(size: str, gpu: str | None) -> Result:
        with closing(VideoSource(str(bench.clip(size)), gpu=gpu)) as source:
            began = time.perf_counter()
            count = sum(1 for _ in source.frames())
            on_gpu = source._decoder._on_gpu is not None
            return {"fps": round(count / (time.perf_counter() - began), 1), "on the GPU": on_gpu}

    def encode(size: str, options: Any) -> Result:
        with closing(VideoSource(str(bench.clip(size)))) as source:
            frames = list(islice(source.frames(), 60))
            info = source.info
        output = bench.folder / f"{os.getpid()}.mp4"
        began = time.perf_counter()
        with closing(open_video_sink(output, info, options, overwrite=True)) as sink:
            for frame in frames:
                sink.write(frame)
            sink.publish()
        return {"fps": round(len(frames) / (time.perf_counter() - began), 1)}

    for size in bench.sizes:
        yield f"{size} decoding", partial(decode, size, None)
        if bench.on_gpu:
            yield f"{size} decoding on the GPU", partial(decode, size, bench.device.partition(":")[2] or "0")
        for name, options in encoders(bench).items():
            yield f"{size} encoding with {name}", partial(encode, size, options)


def peer(bench: Bench) -> Iterator[Measurement]:
    """Like other tools: decode all frames, run the full network in torch with norms of each frame, one by one, then encode."""
    from tools.bench.peers import in_torch
    from vidstyle.networks.device import find_device
    from vidstyle.networks.transformer_net import TransformerNet
    from vidstyle.sinks import open_video_sink
    from vidstyle.sources import open_source

    stylize = in_torch(TransformerNet().eval(), find_device(bench.device))

    def measure(size: str, options: Any) -> Result:
        count, output = max(4, bench.frames(size) // 6), bench.folder / f"{os.getpid()}.mp4"
        with closing(open_source(str(bench.clip(size)))) as source:
            info = source.info
            stylize(np.zeros((info.height, info.width, 3), np.uint8))
            began = time.perf_counter()
            frames = list(islice(source.frames(), count))
            stylized = [replace(frame, pixels=stylize(frame.pixels[..., ::-1])[..., ::-1]) for frame in frames]
            stylized_at = time.perf_counter()
            with closing(open_video_sink(output, info, options, overwrite=True)) as sink:
                for frame in stylized:
                    sink.write(frame)
                sink.publish()
        took = time.perf_counter() - began
        return {"fps": round(len(frames) / took, 2), "fps without encoding": round(len(frames) / (stylized_at - began), 2)}

    for size in bench.sizes:
        for name, options in encoders(bench).items():
            yield f"{size} {name}", partial(measure, size, options)


def start_up(bench: Bench) -> Iterator[Measurement]:
    """Whole commands from their start; the second one uses what the first one has cached."""
    size = next(iter(bench.sizes))

    def run(*arguments: str) -> Result:
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "vidstyle", *arguments], capture_output=True, text=True, env=environment())
        if done.returncode:
            raise RuntimeError(done.stderr.strip() or f"exit code {done.returncode}")
        return {"seconds": round(time.perf_counter() - began, 2), "stderr": done.stderr.partition("\n")[0]}

    yield "--help", lambda: run("--help")
    for backend in ("onnx", "torch", "auto", "auto"):
        options = ("--device", bench.device, "--backend", backend, "--progress", "none", "--overwrite")
        output = str(bench.folder / "start.mp4")
        command = (str(bench.clip(size)), "--style", STYLE, "--sample", "0.2", "-o", output, *options)
        yield f"0.2 s of {size} with {backend}", partial(run, *command)


PARTS: dict[str, tuple[str, Callable[[Bench], Iterator[Measurement]]]] = {
    "net-onnx": ("net", net_of("onnx")),
    "net-torch": ("net", net_of("torch")),
    "conversions": ("end to end", end_to_end),
    "codec": ("codec", codec),
    "peer": ("peer", peer),
    "start": ("start-up", start_up),
    "sessions": ("net", sessions_alone),
    "torch": ("net", torch_alone(compiled=False)),
    "compiled": ("net", torch_alone(compiled=True)),
}
"""Name -> group of its results, and what measures it; the most important first."""
