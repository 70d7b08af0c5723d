"""ONNX files of styles, read safely."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx

from vidstyle.core.errors import StyleError

MAX_MODEL_BYTES = 512 << 20


def read_model(path: Path) -> onnx.ModelProto:
    """A model that is safe to load: one file, standard operators. Raises `StyleError`."""
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise StyleError(
            f"expected a style model of at most {MAX_MODEL_BYTES >> 20} MiB, got {path.stat().st_size >> 20}: {path}"
        )
    data = path.read_bytes()
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf raises several kinds
        raise StyleError(f"could not read {path} as an ONNX model") from error
    if not model.graph.node:
        raise StyleError(f"expected an ONNX model, found no graph in {path}")
    # External data would make ONNX Runtime open other files of the user's, by a name that the model chooses.
    graphs = list(_graphs(model.graph))
    nodes = [node for graph in graphs for node in graph.node] + [node for f in model.functions for node in f.node]
    tensors = [t for graph in graphs for t in graph.initializer]
    tensors += [t for node in nodes for a in node.attribute for t in (a.t, *a.tensors)]
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in tensors):
        raise StyleError(f"expected a model in a single file, but this one refers to others: {path}")
    domains = {node.domain for node in nodes} - {"", "ai.onnx"}
    if domains:
        raise StyleError(f"expected standard ONNX operators only, found the domain {sorted(domains)[0]}: {path}")
    return model


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """`graph` and all graphs inside its nodes, such as the branches of an If."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _graphs(inner)


def has_fixed_size(model: onnx.ModelProto) -> bool:
    """Whether a model takes batches of images of one shape only."""
    shapes = [i.type.tensor_type.shape.dim for i in model.graph.input]
    return all(len(dims) == 4 and all(d.dim_value for d in dims) for dims in shapes)
