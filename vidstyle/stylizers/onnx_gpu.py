"""Models that vidstyle trained, on a GPU: half precision, reused buffers, CUDA graphs, and one session for all shots.

The statistics of a shot are folded into weights (`stylizers.folding`). Opening a session for every shot would cost as much as
stylizing dozens of frames, and the captured graphs would be lost. So weights and biases are inputs of the graph, and
stay on the GPU: a new shot only requires uploading less than a megabyte. (ONNX Runtime's `prefer_nhwc` cannot be used with
that: it rearranges constant weights when a session is opened.)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from threading import Lock

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from vidstyle.core.concurrency import background_executor
from vidstyle.core.errors import MemoryLimitError
from vidstyle.core.frames import Pixels
from vidstyle.stylizers.folding import folded
from vidstyle.stylizers.gpu_slots import WARM_RUNS, Shape, SlotPool, filled_up
from vidstyle.stylizers.memory import inference_error
from vidstyle.stylizers.sessions import run_options, runs_on_gpu

log = logging.getLogger(__name__)

MAX_GRAPHS = 8
"""Maximum number of captured graphs: each needs memory as long as the session exists."""

Weights = Mapping[str, np.ndarray]


def weights_of(model: onnx.ModelProto) -> Weights:
    """The half-precision weights and biases of a model, as `GpuNetwork.stylize` takes them."""
    return with_weight_inputs(model)[1]


def with_weight_inputs(model: onnx.ModelProto, margin: int = 0) -> tuple[onnx.ModelProto, Weights]:
    """A model in half precision whose weights and biases are inputs beside the images, and their values; `margin` as for
    `folding.folded`."""
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
    """Move a pixel shuffle of bytes, which CUDA does not support, before the cast to bytes."""
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


def _cropped_margin(model: onnx.ModelProto) -> int:
    """By how many pixels the output of a graph is smaller than its input on every side."""
    fixed, size = onnx.ModelProto(), 256
    fixed.CopyFrom(model)
    for dim, value in zip(fixed.graph.input[0].type.tensor_type.shape.dim, (1, size, size, 3), strict=True):
        dim.dim_value = value
    fixed.graph.output[0].type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    height: int = inferred.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    return (size - height) // 2


class GpuNetwork:
    """Runs the graph of `with_weight_inputs` with the weights of any shot. `stylize` is thread-safe.

    Its output lacks a part of the `margin` around the image. `open_session` opens the graph, also again after every failure,
    which may leave a session unusable; it raises the errors of `sessions.open_session`.
    """

    def __init__(self, model: onnx.ModelProto, open_session: Callable[[bytes], ort.InferenceSession], margin: int = 0) -> None:
        graph, self.weights = with_weight_inputs(model, margin)
        self._cropped = _cropped_margin(graph)
        self._bytes, self._open = graph.SerializeToString(), open_session
        self._thread = background_executor()  # graphs belong to the thread that captured them
        self._lock = Lock()
        self._captures = True
        self._runner: _Runner | None = self._new_runner()

    @property
    def session(self) -> ort.InferenceSession:
        """The session in use."""
        return self._current_runner().session

    def _current_runner(self) -> _Runner:
        with self._lock:
            if self._runner is None:
                self._runner = self._new_runner()
            return self._runner

    def _new_runner(self) -> _Runner:
        return _Runner(self._open(self._bytes), self._cropped, self._captures)

    def stylize(self, weights: Weights, images: Pixels) -> Pixels:
        """Images (N, H, W, 3) uint8 -> stylized ones, without a part of the margin.

        Raises `MemoryLimitError`, `DeviceError` and `StyleError`.
        """
        runner = self._current_runner()
        slot = None
        try:
            slot = runner.slots.take(images)
            slot.source.update_inplace(filled_up(images, slot.shape[0]))
            self._thread.submit(runner.run, slot, weights).result()
            stylized = np.asarray(slot.stylized.numpy())
        except Exception as error:  # ONNX Runtime's exceptions derive from Exception only
            with self._lock:
                if self._runner is runner:
                    self._runner = None
            raised = inference_error(error, images.shape, runs_on_gpu(runner.session))
            if slot is not None and slot.is_capturing and not isinstance(raised, MemoryLimitError):
                log.debug("no CUDA graph can be captured: %s", error)
                self._captures = False
                return self.stylize(weights, images)
            raise raised from error
        runner.slots.give_back(slot)
        return stylized[: len(images)]


class _Slot:
    """Buffers on the device for one batch, and the session's binding to them."""

    def __init__(self, shape: Shape, source: ort.OrtValue, stylized: ort.OrtValue, binding: ort.IOBinding) -> None:
        self.shape, self.source, self.stylized, self.binding = shape, source, stylized, binding
        self.runs = 0
        self.graph: int | None = None
        self.is_capturing = False


class _Runner:
    """A session with its buffers, which are discarded together when it fails."""

    def __init__(self, session: ort.InferenceSession, cropped: int, captures: bool) -> None:
        self.session, self._cropped = session, cropped
        options = session.get_provider_options().get(session.get_providers()[0], {})
        self._place = ("cuda", int(options.get("device_id", 0))) if runs_on_gpu(session) else ("cpu", 0)
        self._has_graphs = options.get("enable_cuda_graph") == "1"
        self._captures = captures and self._has_graphs
        self._graphs = 0
        self._on_device: dict[str, ort.OrtValue] = {}
        self._loaded: Weights | None = None
        self.slots = SlotPool(self._new_slot)

    def _new_slot(self, shape: Shape) -> _Slot:
        count, height, width, channels = shape
        smaller = (count, height - 2 * self._cropped, width - 2 * self._cropped, channels)
        buffers = [ort.OrtValue.ortvalue_from_shape_and_type(s, np.uint8, *self._place) for s in (shape, smaller)]
        binding = self.session.io_binding()
        binding.bind_ortvalue_input(self.session.get_inputs()[0].name, buffers[0])
        binding.bind_ortvalue_output(self.session.get_outputs()[0].name, buffers[1])
        return _Slot(shape, buffers[0], buffers[1], binding)

    def run(self, slot: _Slot, weights: Weights) -> None:
        """Stylize the images in the slot; always called in the same thread."""
        self._load(weights)
        if slot.runs == 0:
            for name, value in self._on_device.items():
                slot.binding.bind_ortvalue_input(name, value)
        if self._captures and slot.runs == WARM_RUNS and self._graphs < MAX_GRAPHS:
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
