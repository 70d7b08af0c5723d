"""A network in torch on a GPU: norms fused, half precision, channels last, reused buffers, CUDA graphs.

As in `stylizers.onnx_gpu`, the weights of a shot are copied into those of one network, so that graphs captured once serve all
shots. Batches are copied through pinned memory on separate streams.

Inductor fuses everything except convolutions, but compiling takes half a minute, which pays off for long videos only.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from threading import Lock
from typing import Any, cast

import torch
from torch import Tensor, nn

from vidstyle.core.errors import is_out_of_memory
from vidstyle.core.files import reason
from vidstyle.core.frames import Pixels
from vidstyle.networks.fusion import fused
from vidstyle.stylizers.finite import check_finite
from vidstyle.stylizers.gpu_slots import WARM_RUNS, Shape, SlotPool, filled_up

log = logging.getLogger(__name__)

COMPILE_AFTER = 20_000
"""The network is compiled after this many images."""


class CudaNetwork:
    """Runs `net` (float RGB in 0..255 / `scale`, (N, 3, H, W)) with the weights of any shot, in half precision if `half`.

    `stylize` is thread-safe. On a CPU, for tests, it does the same without streams and graphs.
    """

    def __init__(self, net: nn.Module, device: torch.device, scale: float, half: bool) -> None:
        self._device, self._scale = device, scale
        self._dtype = torch.float16 if half else torch.float32
        self._net = fused(net, device, self._dtype)
        self._forward: Any = self._net
        self._parameters: list[Tensor] = list(self._net.parameters())
        self._stream = _stream_of(device)
        self._pool = torch.cuda.graph_pool_handle() if self._stream is not None else None
        self._lock = Lock()
        self._slots = SlotPool(lambda shape: _Slot(shape, device))
        self._loaded: list[Tensor] | None = None
        self._captures, self._count = self._stream is not None, 0
        self._compiles = self._stream is not None and find_spec("triton") is not None

    def weights_of(self, net: nn.Module) -> list[Tensor]:
        """The weights of another network of the same architecture, on the device, as `stylize` takes them."""
        ready = fused(net, self._device, self._dtype)
        if self._stream is not None:
            torch.cuda.current_stream(self._device).synchronize()
        return list(ready.parameters())

    def stylize(self, weights: list[Tensor], images: Pixels) -> Pixels:
        """Images (N, H, W, 3) uint8 -> the same, stylized. torch's exceptions are passed on, after all buffers are released."""
        try:
            slot = self._slots.take(images)
            slot.host_source.numpy()[:] = filled_up(images, slot.shape[0])
            with torch.inference_mode():
                self._through(slot, weights)
            check_finite("images", slot.host_total.numpy())
            stylized = slot.host_stylized.numpy()[: len(images)].copy()
        except Exception:
            self._slots.forget(images.shape[1:])
            if self._stream is not None:
                torch.cuda.empty_cache()
            raise
        self._slots.give_back(slot)
        return stylized

    def _through(self, slot: _Slot, weights: list[Tensor]) -> None:
        """Copy a batch to the GPU, stylize it, and copy it back; returns when that is done."""
        with _on(slot.copying):
            slot.source.copy_(slot.host_source, non_blocking=True)
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
            slot.host_stylized.copy_(slot.stylized, non_blocking=True)
            slot.host_total.copy_(slot.total, non_blocking=True)
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
            # cuDNN searches for the fastest algorithms once for each shape.
            with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
                self._stylize_slot(slot)
        slot.runs += 1

    def _capture(self, slot: _Slot) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                self._stylize_slot(slot)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            log.debug("no CUDA graph can be captured: %s", reason(error))
            self._captures = False
            self._stylize_slot(slot)
            return
        graph.replay()
        slot.graph = graph

    def _compile(self, slot: _Slot) -> None:
        """Compile the network with Inductor; if that fails, it is used uncompiled."""
        self._compiles = False
        try:
            self._forward = torch.compile(self._net, dynamic=False)
            self._stylize_slot(slot)
        except Exception as error:  # the compiler raises many kinds
            self._forward = self._net
            log.warning("torch cannot compile the network (%s); it runs uncompiled", reason(error))
            return
        self._slots.clear()
        slot.graph, slot.runs = None, 0

    def _stylize_slot(self, slot: _Slot) -> None:
        x = slot.source.permute(0, 3, 1, 2).to(self._dtype) / self._scale
        y = self._forward(x)
        slot.total.copy_(y.sum(dtype=torch.float32))
        slot.stylized.copy_((y.float() * self._scale + 0.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1))


class _Slot:
    """Buffers for one batch, pinned ones on the host and those on the device."""

    def __init__(self, shape: Shape, device: torch.device) -> None:
        is_cuda = device.type == "cuda"
        self.shape = shape
        self.host_source, self.host_stylized = (torch.empty(shape, dtype=torch.uint8, pin_memory=is_cuda) for _ in range(2))
        self.source, self.stylized = (torch.empty(shape, dtype=torch.uint8, device=device) for _ in range(2))
        self.host_total = torch.zeros((), pin_memory=is_cuda)
        self.total = torch.zeros((), device=device)
        """The sum of the network's output: not finite if one of its values is not."""
        self.copying = _stream_of(device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.runs = 0


def _stream_of(device: torch.device) -> torch.cuda.Stream | None:
    make: Any = torch.cuda.Stream
    return cast(torch.cuda.Stream, make(device)) if device.type == "cuda" else None


def _on(stream: torch.cuda.Stream | None) -> AbstractContextManager[Any]:
    return nullcontext() if stream is None else torch.cuda.stream(stream)
