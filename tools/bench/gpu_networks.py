"""What `gpu.py` measures on, and its measurements of networks alone, each with a label."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
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

Result = dict[str, Any]
Measurement = tuple[str, Callable[[], Result]]


@dataclass(frozen=True)
class Bench:
    """What to measure on, and for how long."""

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
        """Time to run a network for a result."""
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


# --- networks alone


def images_of(size: tuple[int, int], count: int) -> np.ndarray:
    """Blurred noise, (N, H, W, 3)."""
    import cv2

    noise = np.random.default_rng(0).integers(0, 256, (count, size[1], size[0], 3), np.uint8)
    return np.stack([cv2.GaussianBlur(image, (0, 0), 4) for image in noise])


def rate_of(
    once: Callable[[], object], images: int, seconds: float, concurrency: int = 1, after: Callable[[], object] = int
) -> Result:
    """Images per second of `once`, called in `concurrency` threads; `after` waits for what it started."""
    for _ in range(5):
        once()
    after()
    counts, began = [0] * concurrency, time.perf_counter()

    def call_repeatedly(number: int) -> None:
        while time.perf_counter() - began < seconds:
            once()
            counts[number] += 1

    with ThreadPoolExecutor(concurrency) as threads:
        list(threads.map(call_repeatedly, range(concurrency)))
    after()
    took = time.perf_counter() - began
    return {"fps": round(images * sum(counts) / took, 1), "ms": round(1000 * took / sum(counts) / images, 3)}


def load(bench: Bench, backend: Any) -> Any:
    from vidstyle.core.options import StyleOptions
    from vidstyle.stylizers import load_stylizer

    return load_stylizer(StyleOptions(STYLE, bench.device, backend))


def net_of(backend: str) -> Callable[[Bench], Iterator[Measurement]]:
    """The stylizer as conversions use it, including copies and padding; its agreement with the CPU, and the cost of a cut."""

    def measurements(bench: Bench) -> Iterator[Measurement]:
        stylizer = load(bench, backend)
        yield "describes itself as", lambda: {"name": stylizer.describe()}
        for size, shape in bench.sizes.items():
            for batch in bench.batches:
                images = images_of(shape, batch)

                def once(images: np.ndarray = images) -> object:
                    return stylizer.stylize(list(images))

                yield f"{size} batch {batch}", partial(rate_of, once, batch, bench.seconds, stylizer.concurrency)
        size, shape = next(iter(bench.sizes.items()))
        shown = images_of(shape, 8)

        def agreement() -> Result:
            expected = load(Bench("cpu", True, bench.folder), "onnx").stylize(list(shown[:1])).astype(int)
            difference = np.abs(stylizer.stylize(list(shown[:1])) - expected)
            return {"levels at most": int(difference.max()), "levels on average": round(float(difference.mean()), 4)}

        def cut() -> Result:
            stylizer.for_shot(list(shown)).stylize(list(shown[:1]))  # the first call opens the network that measures
            began = time.perf_counter()
            stylizer.for_shot(list(shown)).stylize(list(shown[:1]))
            return {"ms": round(1000 * (time.perf_counter() - began), 1)}

        yield f"{size} difference from the CPU", agreement
        yield f"{size} a new shot of 8 images", cut

    return measurements


def sessions_alone(bench: Bench) -> Iterator[Measurement]:
    """ONNX Runtime on buffers of the device, without copies: with weights as inputs, as we use it, and with constant ones."""
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
    variants: dict[str, tuple[onnx.ModelProto, dict[str, str]]] = {
        "weights as inputs, graph": (inputs, graph),
        "weights as inputs": (inputs, {}),
        "constant weights, channels last, graph": (constant, nhwc | graph),
        "constant weights, channels last, bias fused, graph": (constant, nhwc | graph | {"fuse_conv_bias": "1"}),
        "constant weights, graph": (constant, graph),
        "weights as inputs, channels last, graph": (inputs, nhwc | graph),
    }
    if index is not None and has_tensorrt():
        variants["TensorRT, constant weights"] = (constant, {"tensorrt": "1"})

    def open_network(proto: onnx.ModelProto, options: dict[str, str]) -> GpuNetwork:
        providers: list[Any] = [CPU]
        if index is not None:
            providers.insert(0, (CUDA, cuda_options(index) | {k: v for k, v in options.items() if k != "tensorrt"}))
        if "tensorrt" in options:
            providers.insert(0, (TENSORRT, {"device_id": index, "trt_fp16_enable": "1"}))
        net = GpuNetwork(model, lambda data: InferenceSession(proto.SerializeToString(), providers=providers, enable_fallback=0))
        net.weights = weights if proto is inputs else {}
        return net

    for variant, (proto, options) in variants.items():
        nets: list[GpuNetwork] = []

        def opening(proto: onnx.ModelProto = proto, options: dict[str, str] = options, nets: list[GpuNetwork] = nets) -> Result:
            began = time.perf_counter()
            nets.append(open_network(proto, options))
            providers = nets[0].session.get_providers()
            return {"ms": round(1000 * (time.perf_counter() - began), 1), "provider": providers[0]}

        yield f"{variant}: opening", opening
        for size, shape in bench.sizes.items():
            for batch in bench.batches[:2]:

                def measure(batch: int = batch, shape: tuple[int, int] = shape, nets: list[GpuNetwork] = nets) -> Result:
                    if not nets:
                        raise RuntimeError("it could not be opened")
                    net = nets[0]
                    runner = net._current_runner()
                    slot = runner._new_slot((batch, shape[1], shape[0], 3))
                    thread = net._thread
                    return rate_of(lambda: thread.submit(runner.run, slot, net.weights).result(), batch, bench.seconds)

                yield f"{variant}: {size} batch {batch}", measure
        nets.clear()


def torch_alone(compiled: bool) -> Callable[[Bench], Iterator[Measurement]]:
    """torch on buffers of the device, without copies: eager, in half precision, captured, compiled."""

    def measurements(bench: Bench) -> Iterator[Measurement]:
        import torch

        from vidstyle.networks.device import find_device
        from vidstyle.networks.export import load_net
        from vidstyle.styles.catalog import find_style
        from vidstyle.stylizers.torch_cuda import CudaNetwork, _on, _Slot

        device = find_device(bench.device)
        after: Callable[[], object] = torch.cuda.synchronize if device.type == "cuda" else int
        variants = {"float32": (False, False), "half": (True, False), "half, graph": (True, True)}
        if compiled:
            variants = {"half, compiled": (True, False), "half, compiled, graph": (True, True)}
        for variant, (half, graph) in variants.items():
            net = CudaNetwork(load_net(find_style(STYLE))[0].eval(), device, 255.0, half)
            net._compiles, net._captures = False, graph and net._captures
            if compiled:
                net._forward = torch.compile(net._net, dynamic=False)
            for size, shape in bench.sizes.items():
                for batch in bench.batches[:2]:

                    def measure(batch: int = batch, shape: tuple[int, int] = shape, net: CudaNetwork = net) -> Result:
                        slot = _Slot((batch, shape[1], shape[0], 3), device)

                        def once() -> None:
                            with torch.inference_mode(), _on(net._stream):
                                net._run(slot)

                        began = time.perf_counter()
                        once()
                        after()
                        first = time.perf_counter() - began
                        return rate_of(once, batch, bench.seconds, after=after) | {"first ms": round(1000 * first, 1)}

                    yield f"{variant}: {size} batch {batch}", measure

    return measurements
