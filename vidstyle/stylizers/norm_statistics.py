"""Instance-norm statistics of a shot: measured on a few of its images, then fixed for the whole shot.

Per-image statistics (Ulyanov et al. 2016) adapt a network to brightness and contrast, but make a video pulse and the network
slow; statistics of the training images do neither. Those of a shot adapt too, but are constant and can be folded into the
convolutions.

Images without contrast (a black leader, an empty title card) are not measured: normalized by themselves, black, grey and white
become the same colour, and whatever follows in the shot is amplified a hundredfold. A shot of nothing else keeps the statistics
of the training images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import cv2
import numpy as np
import onnx
from onnx import helper, numpy_helper

from vidstyle.core.frames import Pixels
from vidstyle.stylizers.finite import check_finite

MIN_CONTRAST = 3.0
"""Standard deviation of a colour channel (0..255); photographs have about 60, a line of text on a white page has 10."""

Statistics = Mapping[str, np.ndarray]
"""Initializer name (`....running_mean`, `....running_var`) -> float32 (C,)."""


def has_contrast(image: Pixels) -> bool:
    """Whether statistics of `image` (H, W, 3) make sense."""
    return float(cv2.meanStdDev(image)[1].max()) >= MIN_CONTRAST


def nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes that normalize with fixed statistics."""
    return [node for node in model.graph.node if node.op_type == "BatchNormalization"]


def measuring(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
    """A graph that normalizes every image by its own statistics and returns them instead of an image.

    Also returns the names of the initializers that its outputs, float32 (N, C, 1, 1), replace, in order.
    """
    measured = onnx.ModelProto()
    measured.CopyFrom(model)
    kept, outputs, names = [], [], []
    last = len(nodes(model))
    for node in model.graph.node:
        if node.op_type != "BatchNormalization":
            kept.append(node)
            continue
        x, scale, bias, mean, var = node.input
        own = f"{node.name or node.output[0]}.own"
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        kept += [
            helper.make_node("ReduceMean", [x], [f"{own}.mean"], axes=[2, 3], keepdims=1),
            # In two passes: E[x^2] - E[x]^2 in float32 is negative where images are flat.
            helper.make_node("Sub", [x, f"{own}.mean"], [f"{own}.centred"]),
            helper.make_node("Mul", [f"{own}.centred", f"{own}.centred"], [f"{own}.squares"]),
            helper.make_node("ReduceMean", [f"{own}.squares"], [f"{own}.var"], axes=[2, 3], keepdims=1),
        ]
        names += [mean, var]
        outputs += [f"{own}.mean", f"{own}.var"]
        if len(names) == 2 * last:
            break
        kept.append(helper.make_node("InstanceNormalization", [x, scale, bias], list(node.output), epsilon=epsilon))
    del measured.graph.node[:], measured.graph.output[:]
    measured.graph.node.extend(kept)
    measured.graph.output.extend(helper.make_tensor_value_info(o, onnx.TensorProto.FLOAT, None) for o in outputs)
    return measured, names


def mean_statistics(names: list[str], measured: Iterable[list[np.ndarray]]) -> Statistics:
    """The mean over images of the outputs of a `measuring` graph for each. Raises `StyleError` if they are not finite."""
    totals, count = [np.zeros(1)] * len(names), 0
    for image in measured:
        totals = [total + value.mean(0).reshape(-1) for total, value in zip(totals, image, strict=True)]
        count += 1
    check_finite("norm statistics", *totals)
    return {name: (total / count).astype(np.float32) for name, total in zip(names, totals, strict=True)}


def own_statistics(model: onnx.ModelProto) -> Statistics:
    """The statistics in `model`."""
    names = {name for node in nodes(model) for name in node.input[3:5]}
    return {i.name: numpy_helper.to_array(i).astype(np.float32) for i in model.graph.initializer if i.name in names}


def mixed(first: Statistics, second: Statistics, weight: float) -> Statistics:
    """The weighted mean of both; `weight` (0..1) is that of `second`."""
    return {name: (value + weight * (second[name] - value)).astype(np.float32) for name, value in first.items()}


def with_statistics(model: onnx.ModelProto, statistics: Statistics) -> onnx.ModelProto:
    """A copy of `model` with other statistics."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for initializer in changed.graph.initializer:
        if initializer.name in statistics:
            initializer.CopyFrom(numpy_helper.from_array(statistics[initializer.name], initializer.name))
    return changed
