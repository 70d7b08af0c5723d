"""Style nets in ONNX Runtime: ours, and the common foreign kind."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort

from vidstyle.core.errors import MemoryLimitError, StyleError, VidstyleError
from vidstyle.core.frames import Pixels
from vidstyle.core.hardware import concurrency_on, usable_cores
from vidstyle.core.options import ColorOrder
from vidstyle.stylizers import norm_statistics as norms
from vidstyle.stylizers.folding import folded
from vidstyle.stylizers.guided_upsampling import scaled
from vidstyle.stylizers.memory import Fitting, reach
from vidstyle.stylizers.onnx_gpu import CONCURRENCY, BoundNet, open_weights
from vidstyle.stylizers.padding import pad_to_multiple
from vidstyle.stylizers.sessions import CPU, gpu_of, open_session, place_of, run_session

log = logging.getLogger(__name__)

MAX_MODEL_BYTES = 512 << 20
_FOREIGN_MULTIPLE = 4
_MEASURED_PIXELS = 4 << 20
"""Images are measured side by side up to so many pixels: 150 bytes each are needed for that."""

_LEAST_MEASURED = 64
"""Images are not made smaller than this to be measured."""


class OnnxStylizer:
    """A net that `vidstyle train` made takes and gives uint8 (N, H, W, 3); H and W are padded here and cropped back.

    A foreign one takes and gives float (N, 3, H, W) in 0..255; where its size is fixed, images are scaled to it and back.
    `concurrency` None: as many as make the most frames a second on `cores`, None: on all there are; 1 makes each frame soonest.
    `model` is what `read_model` made of the file `path`, or what was made of several.

    On a GPU a net of ours runs in half precision (`stylizers.binding`). Where there is too little memory for a batch,
    fewer images are stylized at once, and then parts of them (`stylizers.fitting`).
    """

    def __init__(
        self,
        path: Path,
        device: str = "auto",
        model_color: ColorOrder = "rgb",
        concurrency: int | None = None,
        cores: int | None = None,
        model: onnx.ModelProto | None = None,
    ) -> None:
        cores = cores or usable_cores()
        self._model, self._path, self._device = model or read_model(path), path, device
        properties = self._model.metadata_props
        self.facts = {p.key.removeprefix("vidstyle."): p.value for p in properties if p.key.startswith("vidstyle.")}
        # A foreign net may be large, and lanes take memory each.
        self.concurrency = concurrency or (concurrency_on(cores) if self.facts else 1)
        self._threads = max(1, cores // self.concurrency)
        self._measurers: dict[int, tuple[ort.InferenceSession, list[str]]] = {}
        self._engine: _Foreign | None = None
        self._bound: BoundNet | None = None
        if self.facts:
            self._margin, self._multiple = self._sizes()
            self._bound = self._on_gpu()
        self.session = self._bound.session if self._bound is not None else self._open_net(self._model)
        if self.session.get_providers()[0] != CPU:
            self.concurrency = 1 if self._bound is None else concurrency or CONCURRENCY
        self._input, self._output = self.session.get_inputs()[0].name, self.session.get_outputs()[0].name
        if self.facts:
            if self.session.get_inputs()[0].type != "tensor(uint8)":
                raise StyleError(f"expected a model that takes uint8 images, got {self.session.get_inputs()[0].type}: {path}")
            self._fitting = Fitting(reach(self._model), self._multiple)
        else:
            self._engine = _Foreign(self.session, path, model_color)
            self._fitting = Fitting(None, 1)

    def _sizes(self) -> tuple[int, int]:
        """The net's margin and multiple."""
        try:
            return int(self.facts["margin"]), int(self.facts["multiple"])
        except (KeyError, ValueError):
            raise StyleError(f"expected vidstyle's facts in the model, found them broken: {self._path}") from None

    def _on_gpu(self) -> BoundNet | None:
        """The net on the GPU; None where it is to run on the CPU."""
        if gpu_of(self._device) is None:
            return None
        try:
            bound = BoundNet(
                self._model,
                lambda data: open_session(data, self._path, self._device, self._threads, graphs=True),
                self._margin,
            )
        except VidstyleError:
            raise
        except (KeyError, IndexError, TypeError, ValueError, onnx.shape_inference.InferenceError) as error:
            raise StyleError(f"expected a net that vidstyle trained, found another graph: {self._path}") from error
        self._weights = bound.weights
        return bound if bound.session.get_providers()[0] != CPU else None

    def for_shot(self, images: Iterable[Pixels]) -> OnnxStylizer:
        if self._engine is not None or not norms.nodes(self._model):
            return self
        return self._with(self._measured(images))

    def statistics(self) -> norms.Statistics:
        return {} if self._engine is not None else norms.own_statistics(self._model)

    def with_statistics(self, statistics: norms.Statistics) -> OnnxStylizer:
        return self._with(statistics) if statistics else self

    def adapted(self, image: Pixels, share: float) -> OnnxStylizer:
        if self._engine is not None or not norms.nodes(self._model):
            return self
        return self._with(norms.mixed(norms.own_statistics(self._model), self._measured([image]), share))

    def _measured(self, images: Iterable[Pixels]) -> norms.Statistics:
        shown = list(images)
        at_once = max(1, min(self.concurrency, _MEASURED_PIXELS // shown[0][..., 0].size)) if shown else 1
        session, names = self._measuring(at_once)

        def measured(image: Pixels) -> list[np.ndarray]:
            try:
                return run_session(session, None, self._input, self._padded([image]))
            except MemoryLimitError:  # a smaller image's are near, and better than none
                if image.shape[0] < 2 * _LEAST_MEASURED:
                    raise
                return measured(scaled(image, image.shape[0] // 2))

        with ThreadPoolExecutor(at_once, "vidstyle-measuring") as concurrency:
            return norms.mean_statistics(names, concurrency.map(measured, shown))

    def _with(self, statistics: norms.Statistics) -> OnnxStylizer:
        changed = copy.copy(self)
        changed._model = norms.with_statistics(self._model, statistics)
        if self._bound is not None:
            changed._weights = open_weights(changed._model)[1]
        else:
            changed.session = self._open_net(changed._model)
        return changed

    def _measuring(self, at_once: int) -> tuple[ort.InferenceSession, list[str]]:
        """A session that measures so many images at once, and the names of what it gives."""
        if at_once not in self._measurers:
            model, names = norms.measuring(self._model)
            threads = self._threads * self.concurrency // at_once
            # With one lane somebody is watching: painting goes on meanwhile.
            self._measurers[at_once] = self._open(model, max(1, threads if self.concurrency > 1 else threads // 2)), names
        return self._measurers[at_once]

    def _open_net(self, model: onnx.ModelProto) -> ort.InferenceSession:
        if self.facts:
            try:
                model = folded(model, margin=self._margin)
            except (KeyError, IndexError, TypeError) as error:
                raise StyleError(f"expected a net that vidstyle trained, found another graph: {self._path}") from error
        return self._open(model, self._threads)

    def _open(self, model: onnx.ModelProto, threads: int) -> ort.InferenceSession:
        return open_session(model.SerializeToString(), self._path, self._device, threads, tensorrt=_has_fixed_size(model))

    def _padded(self, images: Sequence[Pixels]) -> Pixels:
        return pad_to_multiple(images, self._margin, self._multiple)

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        batch = images[0][None] if len(images) == 1 else np.stack(images)
        return self._fitting.paint(batch, self._paint if self._engine is None else self._engine.stylize)

    def _paint(self, batch: Pixels) -> Pixels:
        h, w = batch.shape[1:3]
        padded = self._padded(list(batch))
        if self._bound is not None:
            stylized = self._bound.paint(self._weights, padded)
        else:
            stylized = run_session(self.session, [self._output], self._input, padded)[0]
        m = self._margin - (padded.shape[1] - stylized.shape[1]) // 2  # of which the net may have cut off most itself
        return stylized[:, m : m + h, m : m + w]

    def at(self, seconds: float) -> OnnxStylizer:
        return self

    def describe(self) -> str:
        return f"ONNX Runtime on {place_of(self.session)}"


class _Foreign:
    """Float NCHW 0..255, any size or a fixed one; what fast-neural-style tools export."""

    def __init__(self, session: ort.InferenceSession, path: Path, model_color: ColorOrder) -> None:
        self._session, self._bgr = session, model_color == "bgr"
        self._input, self._output = session.get_inputs()[0], session.get_outputs()[0]
        shape = self._input.shape
        if self._input.type != "tensor(float)" or len(shape) != 4 or (shape[1] not in (3, "3") and isinstance(shape[1], int)):
            raise StyleError(
                f"expected a model of float images (N, 3, H, W) in 0..255 or one that vidstyle trained, "
                f"got {self._input.type} {shape}: {path}"
            )
        h, w = shape[2:]
        self._size = (w, h) if isinstance(h, int) and isinstance(w, int) else None
        self._one_by_one = isinstance(shape[0], int)
        if self._size:
            log.warning("the model works at %dx%d only: images are scaled to that and back", *self._size)

    def stylize(self, images: Pixels) -> Pixels:
        h, w = images.shape[1:3]
        if self._size:
            batch = np.stack([cv2.resize(p, self._size, interpolation=cv2.INTER_AREA) for p in images])
        else:
            batch = pad_to_multiple(list(images), 0, _FOREIGN_MULTIPLE)
        if self._bgr:
            batch = batch[..., ::-1]
        x = np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32)
        parts = [x[i : i + 1] for i in range(len(x))] if self._one_by_one else [x]
        y = np.concatenate([run_session(self._session, [self._output.name], self._input.name, p)[0] for p in parts])
        if y.ndim != 4 or y.shape[1] != 3:
            raise StyleError(f"expected images (N, 3, H, W) from the model, got {y.shape}")
        stylized = np.clip(y.transpose(0, 2, 3, 1) + 0.5, 0, 255).astype(np.uint8)
        if self._bgr:
            stylized = stylized[..., ::-1]
        if self._size:
            stylized = np.stack([cv2.resize(p, (w, h), interpolation=cv2.INTER_CUBIC) for p in stylized])
        return stylized[:, :h, :w]


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


def _has_fixed_size(model: onnx.ModelProto) -> bool:
    """Whether a model takes batches of images of one shape only."""
    shapes = [i.type.tensor_type.shape.dim for i in model.graph.input]
    return all(len(dims) == 4 and all(d.dim_value for d in dims) for dims in shapes)
