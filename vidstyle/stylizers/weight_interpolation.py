"""Nets with a common ancestor, mixed weight by weight into one net (Deep Network Interpolation, Wang et al. 2019).

The mixture costs what one net costs, and stylizes strokes between those of its parts instead of one over the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from vidstyle.core.errors import StyleError


def family_of(model: onnx.ModelProto) -> str | None:
    """What nets with a common ancestor share; None where nothing is known of it."""
    return next((p.value for p in model.metadata_props if p.key == "vidstyle.family"), None)


def interpolated(parts: Sequence[tuple[onnx.ModelProto, float]]) -> onnx.ModelProto:
    """The net with the mean weights of nets of one family, by their shares, which add up to 1. Raises `StyleError` where they
    are not built alike.

    Norm statistics are interpolated too; at run time the shot's own take their place.
    """
    mixed = onnx.ModelProto()
    mixed.CopyFrom(parts[0][0])
    tensors = [({t.name: numpy_helper.to_array(t) for t in model.graph.initializer}, share) for model, share in parts]
    shapes = [{name: array.shape for name, array in named.items()} for named, _ in tensors]
    if any(other != shapes[0] for other in shapes):
        raise StyleError("expected nets with a common ancestor to be built alike, got different ones")
    for tensor in mixed.graph.initializer:
        mean = sum(share * named[tensor.name].astype(np.float32) for named, share in tensors)
        array = np.asarray(mean, tensors[0][0][tensor.name].dtype)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return mixed
