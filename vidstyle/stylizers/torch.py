"""Style nets in torch: our own files, and the TransformerNet of pytorch/examples (`.pth`, weights only)."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from vidstyle.core.errors import DeviceError, MissingExtraError, StyleError, VidstyleError
from vidstyle.core.frames import Pixels
from vidstyle.core.hardware import concurrency_on, usable_cores

try:
    import torch
    import torch.nn.functional as F
    from torch import Tensor, nn
except ImportError as error:
    raise MissingExtraError("the torch backend", "torch") from error

from vidstyle.networks.device import find_device
from vidstyle.networks.export import load_net, net_of
from vidstyle.networks.transformer_net import MARGIN, MULTIPLE
from vidstyle.stylizers.memory import Fitting, first_line, is_out_of_memory, not_enough, reach
from vidstyle.stylizers.padding import pad_to_multiple
from vidstyle.stylizers.torch_cpu import CpuNet
from vidstyle.stylizers.torch_cuda import CONCURRENCY, CudaNet

MAX_BASE_CHANNELS = 256
"""A file that claims a wider net is refused before memory is taken for it; the widest known has 32."""


def load_torch_stylizer(
    path: Path, device: str, model: onnx.ModelProto | None = None, concurrency: int | None = None, cores: int | None = None
) -> TorchStylizer:
    """A stylizer for an .onnx that vidstyle trained, or a .pth of pytorch/examples; raises `StyleError`, `DeviceError`.

    `model`: what was read of the .onnx, or made of several. `concurrency` and `cores` as for `OnnxStylizer`.
    """
    if path.suffix.lower() == ".onnx":
        net, _ = load_net(path) if model is None else net_of(model, path)
        overlap = reach(onnx.load(path, load_external_data=False) if model is None else model)
        return TorchStylizer(net, device, 255.0, MARGIN, MULTIPLE, overlap, half=True, concurrency=concurrency, cores=cores)
    return TorchStylizer(_load_examples_net(path), device, scale=1.0, margin=0, multiple=4)


class TorchStylizer:
    """Runs `net` (float RGB in 0..255 / `scale`, (N, 3, H, W)) in evaluation mode.

    In half precision where it is `half` and that is fast (`stylizers.torch_cuda`, `stylizers.torch_cpu`). `overlap`: pixels by
    which parts of images overlap where there is too little memory for whole ones; None where the net takes its norms from the
    whole. `concurrency` and `cores` as for `OnnxStylizer`.
    """

    def __init__(
        self,
        net: nn.Module,
        device: str,
        scale: float,
        margin: int,
        multiple: int,
        overlap: int | None = None,
        half: bool = False,
        concurrency: int | None = None,
        cores: int | None = None,
    ) -> None:
        self._device = find_device(device)
        self._scale, self._margin, self._multiple = scale, margin, multiple
        self._fitting = Fitting(overlap, multiple)
        self._cuda: CudaNet | None = None
        self._cpu: CpuNet | None = None
        self._weights: list[Tensor] = []
        self.concurrency = 1
        try:
            self._net = net.eval().to(self._device)
            if self._device.type == "cuda":
                self._cuda = CudaNet(self._net, self._device, scale, half)
                self.concurrency = CONCURRENCY
            elif half:
                cores = cores or usable_cores()
                self.concurrency = concurrency or concurrency_on(cores)
                self._cpu = CpuNet(scale, self.concurrency, cores)
            self._ready()
        except RuntimeError as error:
            raise _failure(error, ()) from error

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        h, w = images[0].shape[:2]
        m = self._margin
        stylized = self._fitting.paint(pad_to_multiple(images, m, self._multiple), self._paint)
        return stylized[:, m : m + h, m : m + w]

    def _paint(self, batch: Pixels) -> Pixels:
        try:
            if self._cuda is not None:
                return self._cuda.paint(self._weights, batch)
            if self._cpu is not None:
                return self._cpu.paint(self._plain, batch)
            return self._paint_plainly(batch)
        except (RuntimeError, MemoryError) as error:
            raise _failure(error, batch.shape) from error

    def _paint_plainly(self, batch: Pixels) -> Pixels:
        with torch.inference_mode():
            x = torch.from_numpy(batch).to(self._device).permute(0, 3, 1, 2).float() / self._scale
            y = (self._net(x) * self._scale + 0.5).clamp(0, 255).to(torch.uint8)
        return np.asarray(y.permute(0, 2, 3, 1).contiguous().cpu().numpy())

    def for_shot(self, images: Iterable[Pixels]) -> TorchStylizer:
        # A plain mean, for which InstanceNorm2d does not know momentum=None.
        return self._measuring((image, 1 / count) for count, image in enumerate(images, 1))

    def statistics(self) -> Mapping[str, np.ndarray]:
        state = self._net.state_dict()
        return {name: state[name].cpu().numpy() for name in state if name.endswith((".running_mean", ".running_var"))}

    def with_statistics(self, statistics: Mapping[str, np.ndarray]) -> TorchStylizer:
        if not statistics:
            return self
        shot = copy.copy(self)
        shot._net = copy.deepcopy(self._net)
        shot._net.load_state_dict({name: torch.from_numpy(value) for name, value in statistics.items()}, strict=False)
        return shot._ready()

    def adapted(self, image: Pixels, share: float) -> TorchStylizer:
        return self._measuring([(image, share)])

    def _measuring(self, images: Iterable[tuple[Pixels, float]]) -> TorchStylizer:
        """Norm statistics moved towards those of each image in turn, by the share that comes with it."""
        if not any(isinstance(m, nn.InstanceNorm2d) and m.track_running_stats for m in self._net.modules()):
            return self
        shot = copy.copy(self)
        shot._net, shot._cuda, shot._cpu = copy.deepcopy(self._net).train(), None, None  # in full precision, as it is
        norms = [m for m in shot._net.modules() if isinstance(m, nn.InstanceNorm2d)]
        for image, share in images:
            for norm in norms:
                norm.momentum = share
            shot.stylize([image])
        shot._net.eval()
        shot._cuda, shot._cpu = self._cuda, self._cpu
        return shot._ready()

    def _ready(self) -> TorchStylizer:
        """Itself, once what is needed of its net for painting is there."""
        if self._cuda is not None:
            self._weights = self._cuda.weights_of(self._net)
        if self._cpu is not None:
            self._plain = self._cpu.ready(self._net)
        return self

    def at(self, seconds: float) -> TorchStylizer:
        return self

    def describe(self) -> str:
        return f"torch on {self._device}" + (f" in {self._cpu.precision}" if self._cpu is not None else "")


def _failure(error: Exception, shape: tuple[int, ...]) -> VidstyleError:
    """What it means that torch failed, on images of `shape`: too little memory, the GPU, or the model."""
    if is_out_of_memory(error):
        return not_enough(error)
    if "cuda" in str(error).lower() or "cudnn" in str(error).lower():
        what = first_line(error)
        return DeviceError(f"expected the GPU to go on painting, it failed ({what}); try again, or --device cpu")
    return StyleError(f"the model failed on images {shape}: {first_line(error)}")


class ExamplesTransformerNet(nn.Module):
    """The net of pytorch/examples `fast_neural_style`, of any width; submodules are named as in its state dicts.

    Reflection padding around every convolution, instance norm per image, nearest upsampling, RGB 0..255 in and out.
    """

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv1, self.in1 = _Padded(3, c, 9), nn.InstanceNorm2d(c, affine=True)
        self.conv2, self.in2 = _Padded(c, 2 * c, 3, 2), nn.InstanceNorm2d(2 * c, affine=True)
        self.conv3, self.in3 = _Padded(2 * c, 4 * c, 3, 2), nn.InstanceNorm2d(4 * c, affine=True)
        self.res1, self.res2, self.res3 = (_ExamplesResidual(4 * c) for _ in range(3))
        self.res4, self.res5 = (_ExamplesResidual(4 * c) for _ in range(2))
        self.deconv1, self.in4 = _Padded(4 * c, 2 * c, 3), nn.InstanceNorm2d(2 * c, affine=True)
        self.deconv2, self.in5 = _Padded(2 * c, c, 3), nn.InstanceNorm2d(c, affine=True)
        self.deconv3 = _Padded(c, 3, 9)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.in1(self.conv1(x)))
        x = F.relu(self.in2(self.conv2(x)))
        x = F.relu(self.in3(self.conv3(x)))
        x = self.res5(self.res4(self.res3(self.res2(self.res1(x)))))
        x = F.relu(self.in4(self.deconv1(F.interpolate(x, scale_factor=2, mode="nearest"))))
        x = F.relu(self.in5(self.deconv2(F.interpolate(x, scale_factor=2, mode="nearest"))))
        y: Tensor = self.deconv3(x)
        return y


class _Padded(nn.Module):
    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.reflection_pad = nn.ReflectionPad2d(kernel // 2)
        self.conv2d = nn.Conv2d(c_in, c_out, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2d(self.reflection_pad(x))
        return y


class _ExamplesResidual(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv1, self.in1 = _Padded(c, c, 3), nn.InstanceNorm2d(c, affine=True)
        self.conv2, self.in2 = _Padded(c, c, 3), nn.InstanceNorm2d(c, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.in2(self.conv2(F.relu(self.in1(self.conv1(x)))))
        return y


def _load_examples_net(path: Path) -> nn.Module:
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a broken or unsafe file
        raise StyleError(f"expected a .pth of tensors only, could not read {path}: {str(error).splitlines()[0]}") from error
    if isinstance(state, Mapping) and "conv1.conv2d.weight" in state:
        # Files of torch 0.4 and older carry running statistics that the net never used.
        state = {k: v for k, v in state.items() if not k.endswith(("running_mean", "running_var", "num_batches_tracked"))}
        with contextlib.suppress(RuntimeError, IndexError, AttributeError, TypeError, ValueError):
            channels = state["conv1.conv2d.weight"].shape[0]
            if channels <= MAX_BASE_CHANNELS:
                net = ExamplesTransformerNet(channels)
                net.load_state_dict(state)
                return net
    raise StyleError(f"expected the TransformerNet of pytorch/examples, found other weights: {path}")
