"""Other graphs of the same network, for comparison: the usual one, and rejected alternatives."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vidstyle.core.frames import Pixels

KR, KB = 0.299, 0.114
"""Luma coefficients of BT.601."""


def with_instance_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` as it was trained, and as other tools run it: every image is normalised by its own statistics."""
    changed = _copy(model)
    for node in changed.graph.node:
        if node.op_type == "BatchNormalization":
            node.op_type = "InstanceNormalization"
            del node.input[3:]
    return changed


def to_yuv(model: onnx.ModelProto) -> onnx.ModelProto:
    """A folded `model` that returns planes for the encoder, Y (N, 1, H, W) and UV (N, 2, H/2, W/2), instead of RGB."""
    changed = _copy(model)
    graph = changed.graph
    kept = list(graph.node)[: [node.op_type for node in graph.node].index("Clip") + 1]
    y = np.array([KR, 1 - KR - KB, KB]) * 219 / 255
    u = np.array([-KR, KR + KB - 1, 1 - KB]) / (2 * (1 - KB)) * 224 / 255
    v = np.array([1 - KR, KR + KB - 1, -KB]) / (2 * (1 - KR)) * 224 / 255
    weight = np.zeros((6, 12, 1, 1), np.float32)  # input: three colours of each pixel of a 2x2 block, grouped by colour
    for color in range(3):
        for pixel in range(4):
            weight[pixel, 4 * color + pixel] = y[color]
            weight[4:, 4 * color + pixel, 0, 0] = u[color] / 4, v[color] / 4
    bias = np.array([16.5] * 4 + [128.5] * 2, np.float32)
    ends = {"from0": [0], "from4": [4], "to6": [6], "channels": [1]}
    graph.initializer.extend([numpy_helper.from_array(weight, "to_yuv"), numpy_helper.from_array(bias, "to_yuv_bias")])
    graph.initializer.extend(numpy_helper.from_array(np.array(value), name) for name, value in ends.items())
    kept += [
        helper.make_node("Conv", [kept[-1].output[0], "to_yuv", "to_yuv_bias"], ["yuv"], kernel_shape=[1, 1]),
        helper.make_node("Cast", ["yuv"], ["yuv_bytes"], to=TensorProto.UINT8),
        helper.make_node("Slice", ["yuv_bytes", "from0", "from4", "channels"], ["y_pixels"]),
        helper.make_node("DepthToSpace", ["y_pixels"], ["y"], blocksize=2, mode="CRD"),
        helper.make_node("Slice", ["yuv_bytes", "from4", "to6", "channels"], ["uv"]),
    ]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del graph.node[:], graph.output[:]
    graph.node.extend(nodes)
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.UINT8, None) for name in ("y", "uv"))
    return changed


def from_yuv(model: onnx.ModelProto) -> onnx.ModelProto:
    """A folded `model` that takes planes of a decoder, Y (N, 1, H, W) and UV (N, 2, H/2, W/2), instead of RGB."""
    changed = _copy(model)
    graph = changed.graph
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    first = next(node for node in graph.node if node.op_type == "Conv")
    rgb = constants[first.input[1]]  # (C, 3, 5, 5), stride 2
    # Rows: the change of red, green and blue per step of Y, U and V in limited range.
    kg = 1 - KR - KB
    of_u, of_v = [0, -2 * KB * (1 - KB) / kg, 2 * (1 - KB)], [2 * (1 - KR), -2 * KR * (1 - KR) / kg, 0]
    steps = np.array([[255 / 219] * 3, np.array(of_u) * 255 / 224, np.array(of_v) * 255 / 224])
    planes = np.einsum("ocyx,pc->opyx", rgb, steps)
    half = np.zeros((len(planes), 2, 3, 3))  # a chroma pixel covers four luma pixels
    for y in range(5):
        for x in range(5):
            half[:, :, y // 2, x // 2] += planes[:, 1:, y, x]
    black = planes[:, 0].sum((1, 2)) * 16 + planes[:, 1:].sum((1, 2, 3)) * 128
    weights = {"y_weight": planes[:, :1], "uv_weight": half, "yuv_bias": constants[first.input[2]] - black}
    graph.initializer.extend(numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items())
    new_nodes = [
        helper.make_node("Cast", ["y"], ["y_float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["uv"], ["uv_float"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["y_float", "y_weight", "yuv_bias"], ["of_y"], strides=[2, 2], pads=[2] * 4),
        helper.make_node("Conv", ["uv_float", "uv_weight"], ["of_uv"], pads=[1] * 4),
        helper.make_node("Add", ["of_y", "of_uv"], [first.output[0]]),
    ]
    kept = [node for node in graph.node if node != first and node.input[0] != "image" and first.input[0] not in node.output]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in (*new_nodes, *kept)]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend(helper.make_tensor_value_info(name, TensorProto.UINT8, None) for name in ("y", "uv"))
    return changed


def in_int8(model: onnx.ModelProto, batches: Sequence[Pixels]) -> onnx.ModelProto:
    """A folded `model` whose convolutions at the smallest sizes use 8 bits, with ranges measured on `batches`."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Batches(CalibrationDataReader):  # type: ignore[misc]  # untyped
        def __init__(self) -> None:
            self._left: Iterator[Pixels] = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._left, None)
            return None if batch is None else {"image": batch}

    named = _copy(model)
    for i, node in enumerate(named.graph.node):
        node.name = f"{node.op_type}_{i}"
    convolutions = [node.name for node in named.graph.node if node.op_type == "Conv"]
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "source.onnx", Path(name) / "target.onnx"
        onnx.save(named, source)
        quantize_static(
            source,
            target,
            Batches(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=convolutions[4:12],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(target)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
