"""Style nets in ONNX Runtime: ours, and the common foreign kind."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort

from vidstyle.errors import DeviceError, StyleError
from vidstyle.frames import Pixels
from vidstyle.options import ColorOrder
from vidstyle.pipeline import usable_cores
from vidstyle.stylizers import norms
from vidstyle.stylizers.padding import pad_to_multiple

log = logging.getLogger(__name__)

MAX_MODEL_BYTES = 512 << 20
MAX_LANES = 4
_FOREIGN_MULTIPLE = 4
_FATAL = 4  # ONNX Runtime's log level


class OnnxStylizer:
    """A net that `vidstyle train` made takes and gives uint8 (N, H, W, 3); H and W are padded here and cropped back.

    A foreign one takes and gives float (N, 3, H, W) in 0..255; where its size is fixed, pictures are scaled to it and back.
    `lanes` None: as many as make the most frames a second on `cores`, None: on all there are; 1 makes each frame soonest.
    `model` is what `read_model` made of the file `path`, or what was made of several.
    """

    def __init__(
        self,
        path: Path,
        device: str = "auto",
        model_color: ColorOrder = "rgb",
        lanes: int | None = None,
        cores: int | None = None,
        model: onnx.ModelProto | None = None,
    ) -> None:
        cores = cores or usable_cores()
        self._model, self._path, self._device = model or read_model(path), path, device
        properties = self._model.metadata_props
        self.facts = {p.key.removeprefix("vidstyle."): p.value for p in properties if p.key.startswith("vidstyle.")}
        # On a CPU, frames side by side on few threads each waste less time waiting for one another than all threads on one
        # frame; a foreign net may be large, and lanes take memory each.
        self.lanes = lanes or (min(cores, MAX_LANES) if self.facts else 1)
        self._threads = max(1, cores // self.lanes)
        self.session = self._open(self._model, self._threads)
        if self.session.get_providers()[0] != "CPUExecutionProvider":
            self.lanes = 1
        self._input, self._output = self.session.get_inputs()[0].name, self.session.get_outputs()[0].name
        self._engine: _Foreign | None = None
        if self.facts:
            try:
                self._margin, self._multiple = int(self.facts["margin"]), int(self.facts["multiple"])
            except (KeyError, ValueError):
                raise StyleError(f"expected vidstyle's facts in the model, found them broken: {path}") from None
            if self.session.get_inputs()[0].type != "tensor(uint8)":
                raise StyleError(f"expected a model that takes uint8 pictures, got {self.session.get_inputs()[0].type}: {path}")
        else:
            self._engine = _Foreign(self.session, path, model_color)

    def for_shot(self, pictures: Iterable[Pixels]) -> OnnxStylizer:
        if self._engine is not None or not norms.nodes(self._model):
            return self
        return self._with(self._measured(pictures))

    def statistics(self) -> norms.Statistics:
        return {} if self._engine is not None else norms.own_statistics(self._model)

    def with_statistics(self, statistics: norms.Statistics) -> OnnxStylizer:
        return self._with(statistics) if statistics else self

    def adapted(self, picture: Pixels, share: float) -> OnnxStylizer:
        if self._engine is not None or not norms.nodes(self._model):
            return self
        return self._with(norms.mixed(norms.own_statistics(self._model), self._measured([picture]), share))

    def _measured(self, pictures: Iterable[Pixels]) -> norms.Statistics:
        session, names = self._measuring
        return norms.mean_statistics(
            names, (run_session(session, None, self._input, self._padded([picture])) for picture in pictures)
        )

    def _with(self, statistics: norms.Statistics) -> OnnxStylizer:
        changed = copy.copy(self)
        changed._model = norms.with_statistics(self._model, statistics)
        changed.session = self._open(changed._model, self._threads)
        return changed

    @cached_property
    def _measuring(self) -> tuple[ort.InferenceSession, list[str]]:
        model, names = norms.measuring(self._model)
        return self._open(model, max(1, self._threads // 2)), names  # painting may go on meanwhile

    def _open(self, model: onnx.ModelProto, threads: int) -> ort.InferenceSession:
        return _session(model.SerializeToString(), self._path, self._device, threads)

    def _padded(self, pictures: Sequence[Pixels]) -> Pixels:
        return pad_to_multiple(pictures, self._margin, self._multiple)

    def stylize(self, pictures: Sequence[Pixels]) -> Pixels:
        if self._engine is not None:
            return self._engine.stylize(pictures)
        h, w = pictures[0].shape[:2]
        painted = run_session(self.session, [self._output], self._input, self._padded(pictures))[0]
        m = self._margin
        return painted[:, m : m + h, m : m + w]

    def at(self, seconds: float) -> OnnxStylizer:
        return self

    def describe(self) -> str:
        provider = self.session.get_providers()[0].removesuffix("ExecutionProvider")
        return f"ONNX Runtime on {provider}"


class _Foreign:
    """Float NCHW 0..255, any size or a fixed one; what fast-neural-style tools export."""

    def __init__(self, session: ort.InferenceSession, path: Path, model_color: ColorOrder) -> None:
        self._session, self._bgr = session, model_color == "bgr"
        self._input, self._output = session.get_inputs()[0], session.get_outputs()[0]
        shape = self._input.shape
        if self._input.type != "tensor(float)" or len(shape) != 4 or (shape[1] not in (3, "3") and isinstance(shape[1], int)):
            raise StyleError(
                f"expected a model of float pictures (N, 3, H, W) in 0..255 or one that vidstyle trained, "
                f"got {self._input.type} {shape}: {path}"
            )
        h, w = shape[2:]
        self._size = (w, h) if isinstance(h, int) and isinstance(w, int) else None
        self._one_by_one = isinstance(shape[0], int)
        if self._size:
            log.warning("the model works at %dx%d only: pictures are scaled to that and back", *self._size)

    def stylize(self, pictures: Sequence[Pixels]) -> Pixels:
        h, w = pictures[0].shape[:2]
        if self._size:
            batch = np.stack([cv2.resize(p, self._size, interpolation=cv2.INTER_AREA) for p in pictures])
        else:
            batch = pad_to_multiple(pictures, 0, _FOREIGN_MULTIPLE)
        if self._bgr:
            batch = batch[..., ::-1]
        x = np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32)
        parts = [x[i : i + 1] for i in range(len(x))] if self._one_by_one else [x]
        y = np.concatenate([run_session(self._session, [self._output.name], self._input.name, p)[0] for p in parts])
        if y.ndim != 4 or y.shape[1] != 3:
            raise StyleError(f"expected pictures (N, 3, H, W) from the model, got {y.shape}")
        painted = np.clip(y.transpose(0, 2, 3, 1) + 0.5, 0, 255).astype(np.uint8)
        if self._bgr:
            painted = painted[..., ::-1]
        if self._size:
            painted = np.stack([cv2.resize(p, (w, h), interpolation=cv2.INTER_CUBIC) for p in painted])
        return painted[:, :h, :w]


def run_session(session: ort.InferenceSession, outputs: list[str] | None, name: str, batch: np.ndarray) -> list[np.ndarray]:
    """One run, all outputs where `outputs` is None; ONNX Runtime's exceptions become `StyleError`."""
    options = ort.RunOptions()
    options.log_severity_level = _FATAL  # errors are raised; said once, by us
    try:
        return [np.asarray(output) for output in session.run(outputs, {name: batch}, options)]
    except Exception as error:  # onnxruntime's kinds derive from Exception alone
        raise StyleError(f"the model failed on pictures {batch.shape}: {_first_line(error)}") from error


def read_model(path: Path) -> onnx.ModelProto:
    """A model that is safe to load: one file, standard operators. Raises `StyleError`."""
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise StyleError(
            f"expected a style model of at most {MAX_MODEL_BYTES >> 20} MiB, got {path.stat().st_size >> 20}: {path}"
        )
    data = path.read_bytes()
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's kinds
        raise StyleError(f"expected an ONNX model, could not read {path}") from error
    if not model.graph.node:
        raise StyleError(f"expected an ONNX model, found no graph in {path}")
    # External data would make ONNX Runtime open other files of the user's, by a name that the model chooses.
    graphs = list(_graphs(model.graph))
    nodes = [node for graph in graphs for node in graph.node] + [node for f in model.functions for node in f.node]
    tensors = [t for graph in graphs for t in graph.initializer]
    tensors += [t for node in nodes for a in node.attribute for t in (a.t, *a.tensors)]
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in tensors):
        raise StyleError(f"expected a model in one file, this one keeps data in others: {path}")
    domains = {node.domain for node in nodes} - {"", "ai.onnx"}
    if domains:
        raise StyleError(f"expected standard ONNX operators only, found the domain {sorted(domains)[0]}: {path}")
    return model


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """`graph` and all that its nodes hold, such as the branches of an If."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _graphs(inner)


def _session(model: bytes, path: Path, device: str, threads: int) -> ort.InferenceSession:
    providers = _providers(device)
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads
    # Spinning threads would take the cores from the decoder and the encoder.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(model, options, providers=providers)
    except Exception as error:  # onnxruntime's kinds derive from Exception alone
        raise StyleError(f"ONNX Runtime cannot load {path}: {_first_line(error)}") from error
    if device.startswith("cuda") and session.get_providers()[0] != "CUDAExecutionProvider":
        raise DeviceError(
            f"expected to run on {device}, ONNX Runtime got no CUDA; try pip install 'vidstyle[cuda]' or --device cpu"
        )
    return session


def _providers(device: str) -> list[str | tuple[str, dict[str, str]]]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    available = "CUDAExecutionProvider" in ort.get_available_providers()
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cuda") or (index and not index.isdigit()):
        raise DeviceError(f"expected auto, cpu, cuda or cuda:N as the device, got {device}")
    if kind == "cuda" and not available:
        raise DeviceError(
            f"expected to run on {device}, this ONNX Runtime has no CUDA; try pip install 'vidstyle[cuda]' or --device cpu"
        )
    if kind == "cuda" and not _has_nvidia():
        raise DeviceError(f"expected to run on {device}, found no NVIDIA driver; try --device cpu")
    if not available or not _has_nvidia():
        return ["CPUExecutionProvider"]
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    cuda = ("CUDAExecutionProvider", {"device_id": index or "0", "cudnn_conv_algo_search": "HEURISTIC"})
    return [cuda, "CPUExecutionProvider"]


def _has_nvidia() -> bool:
    """Whether an NVIDIA driver is loaded; asking CUDA without one only prints errors."""
    return os.path.exists("/proc/driver/nvidia/version") or os.name == "nt"


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
