"""Style networks in ONNX Runtime. `load_onnx_stylizer` picks one of three: models that vidstyle trained on a CPU or on a GPU, and
models of other tools (`stylizers.onnx_foreign`)."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from vidstyle.core.errors import MemoryLimitError, StyleError, VidstyleError
from vidstyle.core.frames import Pixels
from vidstyle.core.hardware import concurrency_on, usable_cores
from vidstyle.core.model_file import read_model
from vidstyle.core.model_metadata import metadata_of
from vidstyle.core.options import ColorOrder
from vidstyle.core.protocols import Engine, Stylizer
from vidstyle.core.resizing import scaled
from vidstyle.stylizers import norm_statistics as norms
from vidstyle.stylizers.folding import folded
from vidstyle.stylizers.gpu_slots import CONCURRENCY
from vidstyle.stylizers.memory import MemoryFitter, receptive_radius
from vidstyle.stylizers.onnx_foreign import ForeignOnnxStylizer
from vidstyle.stylizers.onnx_gpu import GpuNetwork, weights_of
from vidstyle.stylizers.padding import pad_to_multiple
from vidstyle.stylizers.sessions import CPU, engine_of, gpu_index, open_session, run_session

_MEASURED_PIXELS = 4 << 20
"""Images with up to this many pixels in total are measured in parallel; each pixel needs 150 bytes."""

_MIN_MEASURED_HEIGHT = 64
"""Images are not scaled down to less than this to measure them."""

_MAX_MARGIN, _MAX_MULTIPLE = 256, 64
"""More than any network needs: padding takes memory."""


def load_onnx_stylizer(
    path: Path,
    device: str = "auto",
    model: onnx.ModelProto | None = None,
    concurrency: int | None = None,
    cores: int | None = None,
    model_color: ColorOrder = "rgb",
) -> Stylizer:
    """A stylizer for the ONNX file `path`; `model`, if it is not None, is used instead of the file's
    content.

    `concurrency`: how many threads will call it; None: as many as give the highest throughput on `cores` (None: all usable
    ones), 1: the lowest latency. `model_color`: channel order of models of other tools.
    Raises `StyleError` for a bad model, `DeviceError` for an unavailable device.
    """
    model, cores = model or read_model(path), cores or usable_cores()
    facts = metadata_of(model)
    if not facts:
        return ForeignOnnxStylizer(model, path, device, model_color, concurrency or 1, cores)
    trained = _trained_model(model, path)
    threads = max(1, cores // (concurrency or concurrency_on(cores)))
    if gpu_index(device) is not None:
        network = _gpu_network(trained, device, threads)
        if network.session.get_providers()[0] != CPU:
            return GpuOnnxStylizer(trained, network, device, concurrency or CONCURRENCY, threads)
    return CpuOnnxStylizer(trained, concurrency or concurrency_on(cores), threads)


@dataclass(frozen=True)
class TrainedModel:
    """A model that `vidstyle train` made: uint8 (N, H, W, 3) RGB in and out."""

    proto: onnx.ModelProto
    path: Path
    margin: int
    """Pixels that images are padded by on all sides."""
    multiple: int
    """Height and width of padded images are multiples of this."""


def _trained_model(model: onnx.ModelProto, path: Path) -> TrainedModel:
    facts = metadata_of(model)
    try:
        margin, multiple = int(facts["margin"]), int(facts["multiple"])
    except (KeyError, ValueError):
        raise StyleError(f"expected vidstyle's metadata in the model, found them broken: {path}") from None
    if not (0 <= margin <= _MAX_MARGIN and 1 <= multiple <= _MAX_MULTIPLE):
        raise StyleError(
            f"expected a margin of 0 to {_MAX_MARGIN} and a multiple of 1 to {_MAX_MULTIPLE} in the model's metadata, "
            f"got {margin} and {multiple}: {path}"
        )
    return TrainedModel(model, path, margin, multiple)


class TrainedOnnxStylizer(Stylizer):
    """A model that `vidstyle train` made. Images are padded as it needs, and its output is cropped back.

    Where there is too little memory for a batch, fewer images are stylized at once, and then tiles of them.
    """

    def __init__(self, model: TrainedModel, device: str, concurrency: int, threads: int) -> None:
        self._model, self._device, self._threads, self.concurrency = model, device, threads, concurrency
        self._fitter = MemoryFitter(receptive_radius(model.proto), model.multiple)
        self._measuring_sessions: dict[int, tuple[ort.InferenceSession, list[str]]] = {}

    @abstractmethod
    def _run(self, padded: Pixels) -> Pixels:
        """Padded images (N, H, W, 3) -> stylized ones; the network may crop a part of the margin."""

    @abstractmethod
    def _use(self, model: TrainedModel) -> None:
        """Run `model` from now on, the same network with other statistics."""

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        batch = images[0][None] if len(images) == 1 else np.stack(images)
        return self._fitter.stylize(batch, self._stylize)

    def _stylize(self, batch: Pixels) -> Pixels:
        h, w = batch.shape[1:3]
        padded = self._padded(list(batch))
        stylized = self._run(padded)
        m = self._model.margin - self._cropped(padded, stylized)
        return stylized[:, m : m + h, m : m + w]

    def _cropped(self, padded: Pixels, stylized: Pixels) -> int:
        """By how many pixels the network cropped the margin on every side."""
        n, h, w, _ = padded.shape
        cropped = (h - stylized.shape[1]) // 2 if stylized.ndim == 4 else 0
        expected = (n, h - 2 * cropped, w - 2 * cropped, 3)
        if stylized.shape != expected or stylized.dtype != np.uint8 or not 0 <= cropped <= self._model.margin:
            raise StyleError(
                f"expected stylized images {padded.shape} uint8 from the model, got {stylized.shape} {stylized.dtype}"
            )
        return cropped

    def _padded(self, images: Sequence[Pixels]) -> Pixels:
        return pad_to_multiple(images, self._model.margin, self._model.multiple)

    def for_shot(self, images: Iterable[Pixels]) -> Stylizer:
        if not norms.nodes(self._model.proto):
            return self
        samples = [image for image in images if norms.has_contrast(image)]
        return self._with(self._measured(samples)) if samples else self

    def statistics(self) -> norms.Statistics:
        return norms.own_statistics(self._model.proto)

    def with_statistics(self, statistics: norms.Statistics) -> Stylizer:
        return self._with(statistics) if statistics else self

    def adapted(self, image: Pixels, weight: float) -> Stylizer:
        if not norms.nodes(self._model.proto) or not norms.has_contrast(image):
            return self
        return self._with(norms.mixed(self.statistics(), self._measured([image]), weight))

    def _with(self, statistics: norms.Statistics) -> Stylizer:
        model, changed = self._model, copy.copy(self)
        changed._model = TrainedModel(norms.with_statistics(model.proto, statistics), model.path, model.margin, model.multiple)
        changed._use(changed._model)
        return changed

    def _measured(self, samples: Sequence[Pixels]) -> norms.Statistics:
        parallel = max(1, min(self.concurrency, _MEASURED_PIXELS // samples[0][..., 0].size))
        session, names = self._measuring_session(parallel)
        [image_input] = session.get_inputs()

        def measured(image: Pixels) -> list[np.ndarray]:
            try:
                return run_session(session, None, image_input.name, self._padded([image]))
            except MemoryLimitError:  # a smaller image has similar statistics
                if image.shape[0] < 2 * _MIN_MEASURED_HEIGHT:
                    raise
                return measured(scaled(image, image.shape[0] // 2))

        with ThreadPoolExecutor(parallel, "vidstyle-measuring") as executor:
            return norms.mean_statistics(names, executor.map(measured, samples))

    def _measuring_session(self, parallel: int) -> tuple[ort.InferenceSession, list[str]]:
        """A session that measures this many images in parallel, and the names of the statistics that it returns."""
        if parallel not in self._measuring_sessions:
            proto, names = norms.measuring(self._model.proto)
            threads = self._threads * self.concurrency // parallel
            # A concurrency of 1 is for live use, where frames are stylized at the same time.
            threads = max(1, threads if self.concurrency > 1 else threads // 2)
            session = open_session(proto.SerializeToString(), self._model.path, self._device, threads)
            self._measuring_sessions[parallel] = session, names
        return self._measuring_sessions[parallel]


class CpuOnnxStylizer(TrainedOnnxStylizer):
    """A model of `vidstyle train` on the CPU: a session for each shot, with the statistics folded into its weights."""

    def __init__(self, model: TrainedModel, concurrency: int, threads: int) -> None:
        super().__init__(model, "cpu", concurrency, threads)
        self._use(model)
        _check_takes_bytes(self.session, model.path)

    @property
    def engine(self) -> Engine:
        return engine_of(self.session, "float32")

    def _use(self, model: TrainedModel) -> None:
        try:
            proto = folded(model.proto, margin=model.margin)
        except (KeyError, IndexError, TypeError) as error:
            raise StyleError(f"expected a network that vidstyle trained, found another graph: {model.path}") from error
        self.session = open_session(proto.SerializeToString(), model.path, "cpu", self._threads)

    def _run(self, padded: Pixels) -> Pixels:
        session = self.session
        return run_session(session, [session.get_outputs()[0].name], session.get_inputs()[0].name, padded)[0]


class GpuOnnxStylizer(TrainedOnnxStylizer):
    """A model of `vidstyle train` on a GPU, in half precision: one session, and weights for each shot."""

    def __init__(self, model: TrainedModel, network: GpuNetwork, device: str, concurrency: int, threads: int) -> None:
        super().__init__(model, device, concurrency, threads)
        self._network, self._weights = network, network.weights
        self._engine = engine_of(network.session, "float16")
        _check_takes_bytes(network.session, model.path)

    @property
    def engine(self) -> Engine:
        return self._engine

    def _use(self, model: TrainedModel) -> None:
        self._weights = weights_of(model.proto)

    def _run(self, padded: Pixels) -> Pixels:
        return self._network.stylize(self._weights, padded)


def _gpu_network(model: TrainedModel, device: str, threads: int) -> GpuNetwork:
    try:
        return GpuNetwork(model.proto, lambda data: open_session(data, model.path, device, threads, graphs=True), model.margin)
    except VidstyleError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, onnx.shape_inference.InferenceError) as error:
        raise StyleError(f"expected a network that vidstyle trained, found another graph: {model.path}") from error


def _check_takes_bytes(session: ort.InferenceSession, path: Path) -> None:
    kind = session.get_inputs()[0].type
    if kind != "tensor(uint8)":
        raise StyleError(f"expected a model that takes uint8 images, got {kind}: {path}")
