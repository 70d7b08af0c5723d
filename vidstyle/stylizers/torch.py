"""Style networks in torch. `load_torch_stylizer` chooses one of three stylizers: for models that vidstyle trained, on a CPU or on
a GPU, and for the TransformerNet of pytorch/examples (`.pth`)."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from vidstyle.core.errors import MissingExtraError
from vidstyle.core.frames import Pixels
from vidstyle.core.hardware import concurrency_on, usable_cores
from vidstyle.core.protocols import Engine, Stylizer

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise MissingExtraError("the torch backend", "torch") from error

from vidstyle.core.model_file import read_model
from vidstyle.networks.device import find_device
from vidstyle.networks.examples_net import load_examples_net
from vidstyle.networks.export import net_of
from vidstyle.networks.transformer_net import MARGIN, MULTIPLE
from vidstyle.stylizers.finite import check_finite
from vidstyle.stylizers.gpu_slots import CONCURRENCY
from vidstyle.stylizers.memory import MemoryFitter, inference_error, receptive_radius
from vidstyle.stylizers.norm_statistics import has_contrast
from vidstyle.stylizers.padding import pad_to_multiple
from vidstyle.stylizers.torch_cpu import CpuNetwork
from vidstyle.stylizers.torch_cuda import CudaNetwork

_SCALE = 255.0
"""Trained networks take and return RGB in 0..1, those of pytorch/examples in 0..255."""

_EXAMPLES_MULTIPLE = 4


def load_torch_stylizer(
    path: Path, device: str, model: onnx.ModelProto | None = None, concurrency: int | None = None, cores: int | None = None
) -> Stylizer:
    """A stylizer for an .onnx that vidstyle trained, or a .pth of pytorch/examples; arguments as for `load_onnx_stylizer`.

    Raises `StyleError` for a bad model, `DeviceError` for an unavailable device.
    """
    place = find_device(device)
    if path.suffix.lower() != ".onnx":
        return ExamplesTorchStylizer(load_examples_net(path), place)
    model = model or read_model(path)
    net, _ = net_of(model, path)
    radius = receptive_radius(model)
    if place.type == "cuda":
        return GpuTorchStylizer(net, place, radius)
    cores = cores or usable_cores()
    return CpuTorchStylizer(net, radius, concurrency or concurrency_on(cores), cores)


class TorchStylizer(Stylizer):
    """Runs `net`, in evaluation mode, on padded images."""

    def __init__(self, net: nn.Module, device: torch.device, padding: tuple[int, int], radius: int | None) -> None:
        """`padding`: margin and multiple, see `pad_to_multiple`; `radius`: see `memory.receptive_radius`."""
        self._device, (self._margin, self._multiple) = device, padding
        self._fitter = MemoryFitter(radius, self._multiple)
        try:
            self._net = net.eval().to(device)
            self._prepare()
        except RuntimeError as error:
            raise inference_error(error, (), on_gpu=True) from error

    @abstractmethod
    def _prepare(self) -> None:
        """Prepare the current network for `_run`."""

    @abstractmethod
    def _run(self, batch: Pixels) -> Pixels:
        """Padded images (N, H, W, 3) uint8 -> the same, stylized. torch's exceptions are passed on."""

    @property
    def pixel_bytes(self) -> int:
        return 200

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        return self._stylized(images, self._run)

    def _stylized(self, images: Sequence[Pixels], run: Callable[[Pixels], Pixels]) -> Pixels:
        def checked(batch: Pixels) -> Pixels:
            try:
                return run(batch)
            except (RuntimeError, MemoryError) as error:
                raise inference_error(error, batch.shape, on_gpu=True) from error

        h, w = images[0].shape[:2]
        m = self._margin
        stylized = self._fitter.stylize(pad_to_multiple(images, m, self._multiple), checked)
        return stylized[:, m : m + h, m : m + w]


class TrainedTorchStylizer(TorchStylizer):
    """A model that `vidstyle train` made."""

    def __init__(self, net: nn.Module, device: torch.device, radius: int | None) -> None:
        super().__init__(net, device, (MARGIN, MULTIPLE), radius)

    def for_shot(self, images: Iterable[Pixels]) -> Stylizer:
        # A plain mean, which InstanceNorm2d cannot compute by momentum=None.
        return self._measured((image, 1 / count) for count, image in enumerate(filter(has_contrast, images), 1))

    def statistics(self) -> Mapping[str, np.ndarray]:
        state = self._net.state_dict()
        return {name: state[name].cpu().numpy() for name in state if name.endswith((".running_mean", ".running_var"))}

    def with_statistics(self, statistics: Mapping[str, np.ndarray]) -> Stylizer:
        if not statistics:
            return self
        shot = self._copied()
        shot._net.load_state_dict({name: torch.from_numpy(value) for name, value in statistics.items()}, strict=False)
        shot._prepare()
        return shot

    def adapted(self, image: Pixels, weight: float) -> Stylizer:
        return self._measured([(image, weight)] if has_contrast(image) else [])

    def _measured(self, images: Iterable[tuple[Pixels, float]]) -> Stylizer:
        """Norm statistics moved towards those of each image in turn, by the weight that comes with it."""
        shot = self._copied()
        norms = [m for m in shot._net.modules() if isinstance(m, nn.InstanceNorm2d) and m.track_running_stats]
        samples = list(images) if norms else []
        if not samples:
            return self
        shot._net.train()
        for image, weight in samples:
            for norm in norms:
                norm.momentum = weight
            shot._stylized([image], shot._run_in_full_precision)
        shot._net.eval()
        shot._prepare()
        return shot

    def _copied(self) -> TrainedTorchStylizer:
        copied = copy.copy(self)
        copied._net = copy.deepcopy(self._net)
        return copied

    def _run_in_full_precision(self, batch: Pixels) -> Pixels:
        return run_plain(self._net, self._device, batch, _SCALE)


class CpuTorchStylizer(TrainedTorchStylizer):
    """A model of `vidstyle train` on the CPU, in bfloat16 if that is fast (`stylizers.torch_cpu`)."""

    def __init__(self, net: nn.Module, radius: int | None, concurrency: int, cores: int) -> None:
        self.concurrency = concurrency
        self._network = CpuNetwork(_SCALE, concurrency, cores)
        super().__init__(net, torch.device("cpu"), radius)

    @property
    def engine(self) -> Engine:
        return Engine("torch", "cpu", self._network.precision)

    def _prepare(self) -> None:
        self._plain = self._network.prepared(self._net)

    def _run(self, batch: Pixels) -> Pixels:
        return self._network.stylize(self._plain, batch)


class GpuTorchStylizer(TrainedTorchStylizer):
    """A model of `vidstyle train` on a GPU, in half precision (`stylizers.torch_cuda`)."""

    concurrency = CONCURRENCY

    def __init__(self, net: nn.Module, device: torch.device, radius: int | None, half: bool = True) -> None:
        self._half = half
        self._network: CudaNetwork | None = None
        super().__init__(net, device, radius)

    @property
    def engine(self) -> Engine:
        return Engine("torch", device_name(self._device), "float16" if self._half else "float32")

    def _prepare(self) -> None:
        if self._network is None:
            self._network = CudaNetwork(self._net, self._device, _SCALE, self._half)
        self._weights: list[Tensor] = self._network.weights_of(self._net)

    def _run(self, batch: Pixels) -> Pixels:
        assert self._network is not None
        return self._network.stylize(self._weights, batch)


class ExamplesTorchStylizer(TorchStylizer):
    """The TransformerNet of pytorch/examples, in full precision. Its norms use the whole image, so images are not divided."""

    def __init__(self, net: nn.Module, device: torch.device) -> None:
        self._network: CudaNetwork | None = None
        self.concurrency = CONCURRENCY if device.type == "cuda" else 1
        super().__init__(net, device, (0, _EXAMPLES_MULTIPLE), None)

    @property
    def engine(self) -> Engine:
        return Engine("torch", device_name(self._device), "float32")

    def _prepare(self) -> None:
        if self._device.type == "cuda":
            self._network = CudaNetwork(self._net, self._device, 1.0, half=False)
            self._weights = self._network.weights_of(self._net)

    def _run(self, batch: Pixels) -> Pixels:
        if self._network is not None:
            return self._network.stylize(self._weights, batch)
        return run_plain(self._net, self._device, batch, 1.0)


def run_plain(net: nn.Module, device: torch.device, batch: Pixels, scale: float) -> Pixels:
    """Images (N, H, W, 3) uint8 -> the same, stylized by the unchanged `net`, which takes and returns RGB in 0..255 / `scale`."""
    with torch.inference_mode():
        x = torch.from_numpy(batch).to(device).permute(0, 3, 1, 2).float() / scale
        y = net(x)
        check_finite("images", y.sum().cpu().numpy())
        y = (y * scale + 0.5).clamp(0, 255).to(torch.uint8)
    return np.asarray(y.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def device_name(device: torch.device) -> str:
    """`cpu` or `cuda:N`."""
    return "cpu" if device.type == "cpu" else f"{device.type}:{device.index or 0}"
