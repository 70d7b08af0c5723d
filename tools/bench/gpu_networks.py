"""What `bench_gpu.py` measures on, and its figures of nets alone: each is a label and what measures it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
STYLE = "mosaic"
RATE = 25
SIZES = {"1280x720": (1280, 720), "1920x1080": (1920, 1080), "3840x2160": (3840, 2160)}
FRAMES = {"1280x720": 400, "1920x1080": 300, "3840x2160": 90}
BATCHES = (1, 4, 8)
SMALL = {"160x96": (160, 96)}

Figure = dict[str, Any]
Measurement = tuple[str, Callable[[], Figure]]


@dataclass(frozen=True)
class Bench:
    """What to measure on, and how long."""

    device: str
    small: bool
    folder: Path

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        return SMALL if self.small else SIZES

    @property
    def batches(self) -> Sequence[int]:
        return (1, 2) if self.small else BATCHES

    @property
    def seconds(self) -> float:
        """So long a net is run for a figure."""
        return 0.1 if self.small else 1.5

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"

    def clip(self, size: str) -> Path:
        return self.folder / f"{size}.mp4"

    def frames(self, size: str) -> int:
        return FRAMES.get(size, 12)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


# --- the net alone


def images_of(size: tuple[int, int], count: int) -> np.ndarray:
    """Blurred noise, (N, H, W, 3)."""
    import cv2

    noise = np.random.default_rng(0).integers(0, 256, (count, size[1], size[0], 3), np.uint8)
    return np.stack([cv2.GaussianBlur(image, (0, 0), 4) for image in noise])


def rate_of(
    once: Callable[[], object], images: int, seconds: float, concurrency: int = 1, after: Callable[[], object] = int
) -> Figure:
    """Images a second of `once`, which `concurrency` threads call; `after` waits for what it began."""
    for _ in range(5):
        once()
    after()
    counts, began = [0] * concurrency, time.perf_counter()

    def lane(number: int) -> None:
        while time.perf_counter() - began < seconds:
            once()
            counts[number] += 1

    with ThreadPoolExecutor(concurrency) as threads:
        list(threads.map(lane, range(concurrency)))
    after()
    took = time.perf_counter() - began
    return {"fps": round(images * sum(counts) / took, 1), "ms": round(1000 * took / sum(counts) / images, 3)}


def load(bench: Bench, backend: str) -> Any:
    from vidstyle.core.options import StyleOptions
    from vidstyle.stylizers import load_stylizer

    return load_stylizer(StyleOptions(STYLE, bench.device, backend))  # type: ignore[arg-type]


def net_of(backend: str) -> Callable[[Bench], Iterator[Measurement]]:
    """The stylizer as conversions use it, copies and padding included; what it stylizes, and what a cut costs."""

    def measurements(bench: Bench) -> Iterator[Measurement]:
        stylizer = load(bench, backend)
        yield "describes itself as", lambda: {"name": stylizer.describe()}
        for size, shape in bench.sizes.items():
            for batch in bench.batches:
                images = images_of(shape, batch)

                def once(images: np.ndarray = images) -> object:
                    return stylizer.stylize(list(images))

                yield (
                    f"{size} batch {batch}",
                    lambda once=once, batch=batch: rate_of(once, batch, bench.seconds, stylizer.concurrency),
                )
        size, shape = next(iter(bench.sizes.items()))
        shown = images_of(shape, 8)

        def agreement() -> Figure:
            expected = load(Bench("cpu", True, bench.folder), "onnx").stylize(list(shown[:1])).astype(int)
            apart = np.abs(stylizer.stylize(list(shown[:1])) - expected)
            return {"levels at most": int(apart.max()), "levels in the mean": round(float(apart.mean()), 4)}

        def cut() -> Figure:
            stylizer.for_shot(list(shown)).stylize(list(shown[:1]))  # the first one opens what measures
            began = time.perf_counter()
            stylizer.for_shot(list(shown)).stylize(list(shown[:1]))
            return {"ms": round(1000 * (time.perf_counter() - began), 1)}

        yield f"{size} apart from the CPU's painting", agreement
        yield f"{size} a new shot of 8 images", cut

    return measurements


def sessions_alone(bench: Bench) -> Iterator[Measurement]:
    """ONNX Runtime on buffers of the device, nothing copied: with weights as inputs, as we use it, and with constant ones."""
    import onnx
    from onnxruntime import InferenceSession

    from vidstyle.styles.catalog import find_style
    from vidstyle.stylizers.onnx_gpu import GpuNetwork, with_weight_inputs
    from vidstyle.stylizers.sessions import CPU, CUDA, TENSORRT, cuda_options, gpu_index, has_tensorrt

    model = onnx.load(find_style(STYLE))
    index = gpu_index(bench.device)
    inputs, weights = with_weight_inputs(model)
    constant = onnx.ModelProto()
    constant.CopyFrom(inputs)
    del constant.graph.input[1:]
    constant.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in weights.items())
    graph, nhwc = {"enable_cuda_graph": "1"}, {"prefer_nhwc": "1"}
    ways: dict[str, tuple[onnx.ModelProto, dict[str, str]]] = {
        "weights as inputs, graph": (inputs, graph),
        "weights as inputs": (inputs, {}),
        "constant weights, channels last, graph": (constant, nhwc | graph),
        "constant weights, channels last, bias fused, graph": (constant, nhwc | graph | {"fuse_conv_bias": "1"}),
        "constant weights, graph": (constant, graph),
        "weights as inputs, channels last, graph": (inputs, nhwc | graph),
    }
    if index is not None and has_tensorrt():
        ways["TensorRT, constant weights"] = (constant, {"tensorrt": "1"})

    def opened(proto: onnx.ModelProto, options: dict[str, str]) -> GpuNetwork:
        providers: list[Any] = [CPU]
        if index is not None:
            providers.insert(0, (CUDA, cuda_options(index) | {k: v for k, v in options.items() if k != "tensorrt"}))
        if "tensorrt" in options:
            providers.insert(0, (TENSORRT, {"device_id": index, "trt_fp16_enable": "1"}))
        net = GpuNetwork(model, lambda data: InferenceSession(proto.SerializeToString(), providers=providers, enable_fallback=0))
        net.weights = weights if proto is inputs else {}
        return net

    for way, (proto, options) in ways.items():
        nets: list[GpuNetwork] = []

        def opening(proto: onnx.ModelProto = proto, options: dict[str, str] = options, nets: list[GpuNetwork] = nets) -> Figure:
            began = time.perf_counter()
            nets.append(opened(proto, options))
            providers = nets[0].session.get_providers()
            return {"ms": round(1000 * (time.perf_counter() - began), 1), "provider": providers[0]}

        yield f"{way}: opening", opening
        for size, shape in bench.sizes.items():
            for batch in bench.batches[:2]:

                def figure(batch: int = batch, shape: tuple[int, int] = shape, nets: list[GpuNetwork] = nets) -> Figure:
                    if not nets:
                        raise RuntimeError("it did not open")
                    net = nets[0]
                    runner = net._current_runner()
                    slot = runner._new_slot((batch, shape[1], shape[0], 3))
                    thread = net._thread
                    return rate_of(lambda: thread.submit(runner.run, slot, net.weights).result(), batch, bench.seconds)

                yield f"{way}: {size} batch {batch}", figure
        nets.clear()


def torch_alone(compiled: bool) -> Callable[[Bench], Iterator[Measurement]]:
    """torch on buffers of the device, nothing copied: eager, in half precision, captured, compiled."""

    def measurements(bench: Bench) -> Iterator[Measurement]:
        import torch

        from vidstyle.networks.device import find_device
        from vidstyle.networks.export import load_net
        from vidstyle.styles.catalog import find_style
        from vidstyle.stylizers.torch_cuda import CudaNetwork, _on, _Slot

        device = find_device(bench.device)
        after: Callable[[], object] = torch.cuda.synchronize if device.type == "cuda" else int
        ways = {"float32": (False, False), "half": (True, False), "half, graph": (True, True)}
        if compiled:
            ways = {"half, compiled": (True, False), "half, compiled, graph": (True, True)}
        for way, (half, graph) in ways.items():
            net = CudaNetwork(load_net(find_style(STYLE))[0].eval(), device, 255.0, half)
            net._compiles, net._captures = False, graph and net._captures
            if compiled:
                net._forward = torch.compile(net._net, dynamic=False)
            for size, shape in bench.sizes.items():
                for batch in bench.batches[:2]:

                    def figure(batch: int = batch, shape: tuple[int, int] = shape, net: CudaNetwork = net) -> Figure:
                        slot = _Slot((batch, shape[1], shape[0], 3), device)

                        def once() -> None:
                            with torch.inference_mode(), _on(net._stream):
                                net._run(slot)

                        began = time.perf_counter()
                        once()
                        after()
                        first = time.perf_counter() - began
                        return rate_of(once, batch, bench.seconds, after=after) | {"first ms": round(1000 * first, 1)}

                    yield f"{way}: {size} batch {batch}", figure

    return measurements
