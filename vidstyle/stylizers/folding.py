"""Constant folding: models that vidstyle trained become plain convolutions before a session is opened.

In the file, weights are in half precision, colour scales are separate nodes, and norms are nodes with the statistics of a shot
(`vidstyle.stylizers.norm_statistics`). All of this is folded into weights and biases. Apart from rounding, the result
stays the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vidstyle.stylizers.finite import check_finite

Constants = dict[str, np.ndarray]

_FOLDABLE: dict[str, Callable[..., np.ndarray]] = {"Mul": np.multiply, "Add": np.add}


def folded(model: onnx.ModelProto, half: bool = False, margin: int = 0) -> onnx.ModelProto:
    """A `model` that `vidstyle train` made, without norms, arithmetic on constants and metadata.

    Input and output stay uint8 (N, H, W, 3); in between it computes in float32 or, if `half`, in float16. The part of a
    `margin` around the image that does not influence the rest is cropped before the last upsampling, after which most of the
    time is spent; the output is smaller by the same amount on every side. Raises `StyleError` if a weight is not finite.
    """
    with np.errstate(all="ignore"):  # the results are checked
        return _folded(model, half, margin)


def _folded(model: onnx.ModelProto, half: bool, margin: int) -> onnx.ModelProto:
    constants: Constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    kept: list[onnx.NodeProto] = []
    makers: dict[str, onnx.NodeProto] = {}
    for original in model.graph.node:
        if _fold_constant(original, constants):
            continue
        node = onnx.NodeProto()
        node.CopyFrom(original)
        if node.op_type == "BatchNormalization":
            _fold_norm(node, makers[node.input[0]], constants)
            makers[node.output[0]] = makers[node.input[0]]
            continue
        if node.op_type == "Conv":  # a copy, because a norm may be folded into it
            for index in (1, 2)[: len(node.input) - 1]:
                name = f"{node.output[0]}.{'weight' if index == 1 else 'bias'}"
                constants[name], node.input[index] = constants[node.input[index]].astype(np.float32), name
            makers[node.output[0]] = node
        kept.append(node)
    return _model(model, _cropped(kept, constants, margin), constants, half)


def _fold_constant(node: onnx.NodeProto, constants: Constants) -> bool:
    """Whether `node` depends only on constants; if so, its output is added to them."""
    if any(name not in constants for name in node.input):
        return False
    values = [constants[name] for name in node.input]
    if node.op_type == "Cast":
        constants[node.output[0]] = values[0].astype(helper.tensor_dtype_to_np_dtype(node.attribute[0].i))
    elif node.op_type in _FOLDABLE:
        constants[node.output[0]] = _FOLDABLE[node.op_type](*values)
    else:
        return False
    return True


def _fold_norm(norm: onnx.NodeProto, conv: onnx.NodeProto, constants: Constants) -> None:
    """Fold scale and shift of `norm` into weights and biases of `conv`, which then produces the output of `norm`."""
    scale, shift, mean, variance = (constants[name].astype(np.float64) for name in norm.input[1:])
    epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
    gain = scale / np.sqrt(variance + epsilon)
    weight = conv.input[1]
    bias = constants[conv.input[2]] if len(conv.input) > 2 else np.zeros(len(gain))
    if len(conv.input) == 2:
        conv.input.append(f"{conv.output[0]}.bias")
    constants[weight] = (constants[weight] * gain[:, None, None, None]).astype(np.float32)
    constants[conv.input[2]] = ((bias - mean) * gain + shift).astype(np.float32)
    conv.output[0] = norm.output[0]


def _cropped(nodes: list[onnx.NodeProto], constants: Constants, margin: int) -> list[onnx.NodeProto]:
    """`nodes` that crop a part of the margin before the last upsampling."""
    upsampling = max((i for i, node in enumerate(nodes) if node.op_type == "Resize"), default=len(nodes))
    radius, scale = 0, 2  # radius in values after the upsampling; pixels per value before it
    for node in nodes[upsampling:]:
        if node.op_type == "Conv":
            radius += constants[node.input[1]].shape[-1] // 2
        elif node.op_type == "DepthToSpace":
            scale *= next(a.i for a in node.attribute if a.name == "blocksize")
    cut = margin // scale - -(-radius // 2)
    if upsampling == len(nodes) or cut <= 0:
        return nodes
    ends = {"begin": [cut, cut], "end": [-cut, -cut], "axes": [2, 3]}
    constants.update({f"cut.{name}": np.array(values, np.int64) for name, values in ends.items()})
    cropped = helper.make_node("Slice", [nodes[upsampling].input[0], *(f"cut.{name}" for name in ends)], ["cut"])
    nodes[upsampling].input[0] = "cut"
    return [*nodes[:upsampling], cropped, *nodes[upsampling:]]


def _model(model: onnx.ModelProto, nodes: list[onnx.NodeProto], constants: Constants, half: bool) -> onnx.ModelProto:
    initializers = []
    for name in dict.fromkeys(name for node in nodes for name in node.input if name in constants):
        value = constants[name]
        # The scales of a Resize are always float32.
        resizes = any(node.op_type == "Resize" and name in node.input for node in nodes)
        if half and value.dtype == np.float32 and not resizes:
            value = value.astype(np.float16)
        check_finite("weights", value)
        initializers.append(numpy_helper.from_array(value, name))
    for node in nodes:
        if half and node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT:
            node.attribute[0].i = TensorProto.FLOAT16
    graph = helper.make_graph(nodes, model.graph.name, list(model.graph.input), list(model.graph.output), initializers)
    return helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version, producer_name="vidstyle")
