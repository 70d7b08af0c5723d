"""Networks with a common ancestor, interpolated weight by weight into one (Deep Network Interpolation, Wang et al. 2019).

The result runs as fast as one network, and its strokes lie between those of the styles instead of overlapping.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from vidstyle.core.errors import StyleError
from vidstyle.core.model_metadata import metadata_of


def family_of(model: onnx.ModelProto) -> str | None:
    """The family of a network, which networks with a common ancestor share; None if it is unknown."""
    return metadata_of(model).get("family")


def interpolated(models: Sequence[tuple[onnx.ModelProto, float]]) -> onnx.ModelProto:
    """The weighted mean of models of one family; the weights add up to 1.

    Norm statistics are interpolated too; at run time those of the shot replace them. Raises `StyleError` for models of
    different architectures.
    """
    mixed = onnx.ModelProto()
    mixed.CopyFrom(models[0][0])
    tensors = [({t.name: numpy_helper.to_array(t) for t in model.graph.initializer}, weight) for model, weight in models]
    shapes = [{name: array.shape for name, array in named.items()} for named, _ in tensors]
    if any(other != shapes[0] for other in shapes):
        raise StyleError("expected networks with a common ancestor to be built alike, got different architectures")
    for tensor in mixed.graph.initializer:
        mean = sum(weight * named[tensor.name].astype(np.float32) for named, weight in tensors)
        array = np.asarray(mean, tensors[0][0][tensor.name].dtype)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return mixed
