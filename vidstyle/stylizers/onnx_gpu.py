"""A net of ours on the GPU: half precision, buffers that stay, CUDA graphs, and one session for all shots.

A shot's statistics are folded into weights (`stylizers.folding`). Opening a session for every shot would cost as much as
painting dozens of frames, and throw away what was captured. So weights and biases are inputs of the graph, which lie on the
card: a shot costs their upload, less than a megabyte. (For that ONNX Runtime's `prefer_nhwc` is given up: it rearranges weights
when a session is opened, constant ones alone.) Batches are filled up to the largest so far, so that shapes stay.

While one thread's batch is stylized another thread's is brought to the GPU or back: `CONCURRENCY` threads gain by that.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from threading import Lock

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from vidstyle.core.concurrency import background
from vidstyle.core.errors import MemoryLimitError
from vidstyle.core.frames import Pixels
from vidstyle.stylizers.folding import folded
from vidstyle.stylizers.memory import filled_up
from vidstyle.stylizers.sessions import CPU, failure, run_options

log = logging.getLogger(__name__)

CONCURRENCY = 2

SHAPES = 4
"""For so many shapes of batches buffers are kept."""

GRAPHS = 8
"""So many graphs are captured at most: each holds memory as long as the session lives."""

WARM_RUNS = 2
"""Runs with a buffer before they are captured: images that come once are not worth it."""

Weights = Mapping[str, np.ndarray]


def open_weights(model: onnx.ModelProto, margin: int = 0) -> tuple[onnx.ModelProto, Weights]:
    """A net of ours in half precision as a graph that takes its weights and biases as inputs beside the images, and what those
    are; `margin` as for `folding.folded`."""
    graph_model = folded(model, True, margin)
    graph = graph_model.graph
    taken = {name for node in graph.node if node.op_type == "Conv" for name in node.input[1:]}
    weights = {i.name: numpy_helper.to_array(i) for i in graph.initializer if i.name in taken}
    kept = [i for i in graph.initializer if i.name not in taken]
    inputs = [helper.make_tensor_value_info(i.name, i.data_type, i.dims) for i in graph.initializer if i.name in taken]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    graph.input.extend(inputs)
    _shuffle_before_bytes(graph)
    return graph_model, weights


def _shuffle_before_bytes(graph: onnx.GraphProto) -> None:
    """Let a pixel shuffle of bytes, which CUDA does not know, come before they are made bytes."""
    makers = {name: node for node in graph.node for name in node.output}
    for shuffle in graph.node:
        cast = makers.get(shuffle.input[0]) if shuffle.op_type == "DepthToSpace" else None
        if cast is None or cast.op_type != "Cast" or cast.attribute[0].i != TensorProto.UINT8:
            continue
        source, middle, end = cast.input[0], cast.output[0], shuffle.output[0]
        shuffle.input[0], shuffle.output[0], cast.input[0], cast.output[0] = source, middle, middle, end
        nodes = list(graph.node)
        i, j = nodes.index(cast), nodes.index(shuffle)
        nodes[i], nodes[j] = shuffle, cast
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)
        return


def _lost(model: onnx.ModelProto) -> int:
    """So many pixels less than its images have a graph's paintings on every side."""
    fixed, size = onnx.ModelProto(), 256
    fixed.CopyFrom(model)
    for dim, value in zip(fixed.graph.input[0].type.tensor_type.shape.dim, (1, size, size, 3), strict=True):
        dim.dim_value = value
    fixed.graph.output[0].type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    height: int = inferred.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    return (size - height) // 2


class BoundNet:
    """Runs the graph that `open_weights` made of a net with the weights of whichever shot.

    Paintings lack a part of the `margin` around the image. `open_session` opens the graph, also again after a failure, which
    may leave a session useless; raises as `sessions.open_session`. Several threads may call `paint`.
    """

    def __init__(self, model: onnx.ModelProto, open_session: Callable[[bytes], ort.InferenceSession], margin: int = 0) -> None:
        graph, self.weights = open_weights(model, margin)
        self._lost = _lost(graph)
        self._image, self._painting = graph.graph.input[0].name, graph.graph.output[0].name
        self._bytes, self._open = graph.SerializeToString(), open_session
        # What was captured belongs to the thread that captured it.
        self._thread = background()
        self._lock = Lock()
        self._largest: dict[tuple[int, ...], int] = {}
        self._captures = True
        self._state: _State | None = self._new_state()

    @property
    def session(self) -> ort.InferenceSession:
        """The session in use."""
        return self._state_now().session

    def _state_now(self) -> _State:
        with self._lock:
            if self._state is None:
                self._state = self._new_state()
            return self._state

    def _new_state(self) -> _State:
        return _State(self._open(self._bytes), self._image, self._painting, self._lost, self._captures)

    def paint(self, weights: Weights, images: Pixels) -> Pixels:
        """Images (N, H, W, 3) uint8 -> the same, stylized, but for the margin.

        Raises `MemoryLimitError`, `DeviceError` and `StyleError`.
        """
        state, size = self._state_now(), images.shape[1:]
        largest = self._largest[size] = max(len(images), self._largest.get(size, 0))
        slot = None
        try:
            slot = state.take((largest, *size))
            slot.source.update_inplace(filled_up(images, largest))
            self._thread.submit(state.run, slot, weights).result()
            stylized = np.asarray(slot.painting.numpy())
        except Exception as error:  # onnxruntime's kinds derive from Exception alone
            with self._lock:
                if self._state is state:
                    self._state = None
            self._largest.pop(size, None)
            meant = failure(error, state.session, images.shape)
            if slot is not None and slot.is_capturing and not isinstance(meant, MemoryLimitError):
                log.debug("no CUDA graph can be captured: %s", error)
                self._captures = False
                return self.paint(weights, images)
            raise meant from error
        state.give_back(slot)
        return stylized[: len(images)]


class _Slot:
    """Buffers on the device for one batch, and the binding of the session to them."""

    def __init__(self, shape: tuple[int, ...], source: ort.OrtValue, painting: ort.OrtValue, binding: ort.IOBinding) -> None:
        self.shape, self.source, self.painting, self.binding = shape, source, painting, binding
        self.runs = 0
        self.graph: int | None = None
        self.is_capturing = False


class _State:
    """A session with its buffers: all that is thrown away where it fails."""

    def __init__(self, session: ort.InferenceSession, image: str, painting: str, lost: int, captures: bool) -> None:
        self.session, self._image, self._painting, self._lost = session, image, painting, lost
        first = session.get_providers()[0]
        options = session.get_provider_options().get(first, {})
        self._place = ("cpu", 0) if first == CPU else ("cuda", int(options.get("device_id", 0)))
        self._has_graphs = options.get("enable_cuda_graph") == "1"
        self._captures = captures and self._has_graphs
        self._lock = Lock()
        self._free: OrderedDict[tuple[int, ...], list[_Slot]] = OrderedDict()
        self._graphs = 0
        self._on_device: dict[str, ort.OrtValue] = {}
        self._loaded: Weights | None = None

    def take(self, shape: tuple[int, ...]) -> _Slot:
        """Buffers for a batch of that shape, which nobody else has until they are given back."""
        with self._lock:
            if self._free.get(shape):
                return self._free[shape].pop()
        count, height, width, channels = shape
        smaller = (count, height - 2 * self._lost, width - 2 * self._lost, channels)
        buffers = [ort.OrtValue.ortvalue_from_shape_and_type(s, np.uint8, *self._place) for s in (shape, smaller)]
        binding = self.session.io_binding()
        binding.bind_ortvalue_input(self._image, buffers[0])
        binding.bind_ortvalue_output(self._painting, buffers[1])
        return _Slot(shape, buffers[0], buffers[1], binding)

    def give_back(self, slot: _Slot) -> None:
        with self._lock:
            self._free.setdefault(slot.shape, []).append(slot)
            self._free.move_to_end(slot.shape)
            while len(self._free) > SHAPES:
                self._free.popitem(last=False)

    def run(self, slot: _Slot, weights: Weights) -> None:
        """Paint what is in the slot; in one thread, always the same."""
        self._load(weights)
        if slot.runs == 0:
            for name, value in self._on_device.items():
                slot.binding.bind_ortvalue_input(name, value)
        if self._captures and slot.runs == WARM_RUNS and self._graphs < GRAPHS:
            self._graphs += 1
            slot.graph, slot.is_capturing = self._graphs, True
        slot.runs += 1
        options = run_options()
        if self._has_graphs:
            options.add_run_config_entry("gpu_graph_id", str(-1 if slot.graph is None else slot.graph))
        self.session.run_with_iobinding(slot.binding, options)
        slot.is_capturing = False

    def _load(self, weights: Weights) -> None:
        if self._loaded is weights:
            return
        for name, value in weights.items():
            if name not in self._on_device:
                self._on_device[name] = ort.OrtValue.ortvalue_from_shape_and_type(value.shape, value.dtype, *self._place)
            self._on_device[name].update_inplace(np.ascontiguousarray(value))
        self._loaded = weights
