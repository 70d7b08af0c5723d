"""A net in torch on the GPU: norms folded, half precision, channels last, buffers that stay, CUDA graphs.

As in `stylizers.binding` a shot's weights are copied into those of one net, so that graphs captured once serve all shots.
While one thread's batch is stylized another thread's travels through pinned memory on a stream of its own.

Inductor fuses what is left besides convolutions, but takes half a minute to compile: that is worth it for long videos only.
"""

from __future__ import annotations

import copy
import logging
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from itertools import pairwise
from threading import Lock
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from vidstyle.core.frames import Pixels
from vidstyle.stylizers.memory import filled_up, first_line, is_out_of_memory

log = logging.getLogger(__name__)

CONCURRENCY = 2
SHAPES = 4
"""For so many shapes of batches buffers are kept."""
WARM_RUNS = 2
"""Runs with a buffer before they are captured."""
COMPILE_AFTER = 20_000
"""So many images are stylized before the net is compiled."""


def plain(net: nn.Module) -> nn.Module:
    """A copy of `net` in which norms that hold their statistics are folded into the convolutions before them."""
    folded = copy.deepcopy(net)
    for parent in folded.modules():
        children = list(parent.named_children()) if isinstance(parent, nn.Sequential) else []
        for (_, conv), (name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.InstanceNorm2d) and _is_held(norm):
                mean, var = norm.running_mean, norm.running_var
                assert mean is not None
                assert var is not None
                conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, mean, var, norm.eps, norm.weight, norm.bias)
                setattr(parent, name, nn.Identity())
    return folded.requires_grad_(False)


def _is_held(norm: nn.InstanceNorm2d) -> bool:
    return bool(norm.track_running_stats) and not norm.training


class CudaNet:
    """Runs `net` (float RGB in 0..255 / `scale`, (N, 3, H, W)) with the weights of whichever shot, in half precision where it is
    `half`. Several threads may call `paint`. (On a CPU, for tests, it does the same without streams and graphs.)"""

    def __init__(self, net: nn.Module, device: torch.device, scale: float, half: bool) -> None:
        self._device, self._scale = device, scale
        self._dtype = torch.float16 if half else torch.float32
        self._net = self._on_device(net)
        self._forward: Any = self._net
        self._parameters: list[Tensor] = list(self._net.parameters())
        self._stream = _stream_of(device)
        self._pool = torch.cuda.graph_pool_handle() if self._stream is not None else None
        self._lock, self._slots_lock = Lock(), Lock()
        self._free: OrderedDict[tuple[int, ...], list[_Slot]] = OrderedDict()
        self._largest: dict[tuple[int, ...], int] = {}
        self._loaded: list[Tensor] | None = None
        self._captures, self._count = self._stream is not None, 0
        self._compiles = self._stream is not None and find_spec("triton") is not None

    def weights_of(self, net: nn.Module) -> list[Tensor]:
        """What `paint` needs of a net that is built as this one is, on the device."""
        ready = self._on_device(net)
        if self._stream is not None:
            torch.cuda.current_stream(self._device).synchronize()
        return list(ready.parameters())

    def _on_device(self, net: nn.Module) -> nn.Module:
        ready: Any = plain(net)
        ready.to(self._device, self._dtype, memory_format=torch.channels_last)
        return cast(nn.Module, ready)

    def paint(self, weights: list[Tensor], images: Pixels) -> Pixels:
        """Images (N, H, W, 3) uint8 -> the same, stylized. What torch raises goes through; buffers are given up then."""
        size = images.shape[1:]
        largest = self._largest[size] = max(len(images), self._largest.get(size, 0))
        try:
            slot = self._take((largest, *size))
            slot.given.numpy()[:] = filled_up(images, largest)
            with torch.inference_mode():
                self._through(slot, weights)
            stylized = slot.stylized.numpy()[: len(images)].copy()
        except Exception:
            self._give_up(size)
            raise
        with self._slots_lock:
            self._free.setdefault(slot.shape, []).append(slot)
            self._free.move_to_end(slot.shape)
            while len(self._free) > SHAPES:
                self._free.popitem(last=False)
        return stylized

    def _take(self, shape: tuple[int, ...]) -> _Slot:
        with self._slots_lock:
            if self._free.get(shape):
                return self._free[shape].pop()
        return _Slot(shape, self._device)

    def _give_up(self, size: tuple[int, ...]) -> None:
        with self._slots_lock:
            self._largest.pop(size, None)
            self._free.clear()
        if self._stream is not None:
            torch.cuda.empty_cache()

    def _through(self, slot: _Slot, weights: list[Tensor]) -> None:
        """A batch to the GPU, stylized, and back; returns when it has come back."""
        with _on(slot.copying):
            slot.source.copy_(slot.given, non_blocking=True)
        with self._lock, _on(self._stream):
            if self._loaded is not weights:
                torch._foreach_copy_(self._parameters, weights)
                self._loaded = weights
            if self._stream is not None and slot.copying is not None:
                self._stream.wait_stream(slot.copying)
            self._run(slot)
            if self._stream is not None and slot.copying is not None:
                slot.copying.wait_stream(self._stream)
        with _on(slot.copying):
            slot.stylized.copy_(slot.painting, non_blocking=True)
        if slot.copying is not None:
            slot.copying.synchronize()

    def _run(self, slot: _Slot) -> None:
        self._count += slot.shape[0]
        if self._compiles and self._count >= COMPILE_AFTER:
            self._compile(slot)
        if slot.graph is not None:
            slot.graph.replay()
        elif self._captures and slot.runs >= WARM_RUNS:
            self._capture(slot)
        else:
            # The fastest algorithms are searched for once for a shape.
            with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
                slot.painting.copy_(self._stylized(slot.source))
        slot.runs += 1

    def _capture(self, slot: _Slot) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                slot.painting.copy_(self._stylized(slot.source))
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            log.debug("no CUDA graph can be captured: %s", first_line(error))
            self._captures = False
            slot.painting.copy_(self._stylized(slot.source))
            return
        graph.replay()
        slot.graph = graph

    def _compile(self, slot: _Slot) -> None:
        """Let Inductor fuse the net; where that fails it stays as it is."""
        self._compiles = False
        try:
            self._forward = torch.compile(self._net, dynamic=False)
            self._stylized(slot.source)
        except Exception as error:  # the compiler's kinds are many
            self._forward = self._net
            log.warning("torch cannot compile the net (%s); it goes on uncompiled", first_line(error))
            return
        with self._slots_lock:
            self._free.clear()
        slot.graph, slot.runs = None, 0

    def _stylized(self, source: Tensor) -> Tensor:
        x = source.permute(0, 3, 1, 2).to(self._dtype) / self._scale
        y = self._forward(x).float() * self._scale + 0.5
        stylized: Tensor = y.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        return stylized


class _Slot:
    """Buffers for one batch: pinned ones on the host, `given` and `stylized`, and those on the device."""

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        is_cuda = device.type == "cuda"
        self.shape = shape
        self.given, self.stylized = (torch.empty(shape, dtype=torch.uint8, pin_memory=is_cuda) for _ in range(2))
        self.source, self.painting = (torch.empty(shape, dtype=torch.uint8, device=device) for _ in range(2))
        self.copying = _stream_of(device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.runs = 0


def _stream_of(device: torch.device) -> torch.cuda.Stream | None:
    make: Any = torch.cuda.Stream
    return cast(torch.cuda.Stream, make(device)) if device.type == "cuda" else None


def _on(stream: torch.cuda.Stream | None) -> AbstractContextManager[Any]:
    return nullcontext() if stream is None else torch.cuda.stream(stream)
