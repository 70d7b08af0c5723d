"""Models that lie, that refer to other files, or that no frame survives: name -> what is written into the file.

Each is refused with one sentence that contains the words beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CANARY = "canary.bin"
"""The file beside a model that it refers to: one megabyte of the number `CANARY_VALUE`."""
CANARY_VALUE = 77.0
ANY = ("n", 3, "h", "w")
Make = Callable[[onnx.ModelProto], onnx.ModelProto]


def write_canary(folder: Path) -> Path:
    """Write the file that models refer to."""
    path = folder / CANARY
    path.write_bytes(np.full(1 << 18, CANARY_VALUE, np.float32).tobytes())
    return path


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, np.ndarray] | None = None,
    shape: Sequence[int | str] = ANY,
    kind: int = TensorProto.FLOAT,
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("y",),
) -> onnx.ModelProto:
    """A model from `x` to `y`, as other tools write them."""
    arrays = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    taken = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs]
    given = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
    graph = helper.make_graph(nodes, "other", taken, given, arrays)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


node = helper.make_node
IDENTITY = node("Identity", ["x"], ["y"])
ADD = node("Add", ["x", "c"], ["y"])


def outside(dims: Sequence[int] = (1, 3, 1, 1)) -> TensorProto:
    """A tensor `c` whose data are in another file."""
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=CANARY)
    return tensor


def sparse() -> onnx.SparseTensorProto:
    """A sparse tensor `c` whose values are in another file."""
    return helper.make_sparse_tensor(outside([3]), numpy_helper.from_array(np.arange(3), "c_indices"), [3])


_SHAPED = [node("Reshape", ["c", "shape"], ["d"]), node("Add", ["x", "d"], ["y"])]
_SHAPE = {"shape": np.array([1, 3, 1, 1])}


def _initializer(_: onnx.ModelProto) -> onnx.ModelProto:
    made = model([ADD])
    made.graph.initializer.append(outside())
    return made


def _sparse_initializer(_: onnx.ModelProto) -> onnx.ModelProto:
    made = model(_SHAPED, _SHAPE)
    made.graph.sparse_initializer.append(sparse())
    return made


def _function(_: onnx.ModelProto) -> onnx.ModelProto:
    made = model([IDENTITY])
    inner = [node("Constant", [], ["c"], sparse_value=sparse()), node("Add", ["a", "c"], ["b"])]
    made.functions.append(helper.make_function("local", "f", ["a"], ["b"], inner, [helper.make_opsetid("", 17)]))
    return made


def _training(_: onnx.ModelProto) -> onnx.ModelProto:
    made = model([IDENTITY])
    made.training_info.add().initialization.initializer.append(outside())
    return made


def loop() -> onnx.ModelProto:
    """A model that never ends."""
    value = helper.make_tensor_value_info
    inputs = [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("v", TensorProto.FLOAT, ANY)]
    outputs = [value("more", TensorProto.BOOL, []), value("w", TensorProto.FLOAT, ANY)]
    steps = [node("Identity", ["go"], ["more"]), node("Identity", ["v"], ["w"])]
    body = helper.make_graph(steps, "body", inputs, outputs)
    return model([node("Loop", ["", "yes", "x"], ["y"], body=body)], {"yes": np.array(True)})


def slow(size: int = 6000, steps: int = 8) -> onnx.ModelProto:
    """A model that multiplies large matrices for a minute and more."""
    shape = {"size": np.array([size, size]), "zero": np.array(0, np.float32)}
    first = [node("ConstantOfShape", ["size"], ["m0"]), node("ReduceMax", ["x"], ["top"], keepdims=0)]
    chain = [node("Add", ["m0", "top"], ["p0"])]
    chain += [node("MatMul", [f"p{i}", f"p{i}"], [f"p{i + 1}"]) for i in range(steps)]
    last = [
        node("ReduceMax", [f"p{steps}"], ["m"], keepdims=0),
        node("Mul", ["m", "zero"], ["z"]),
        node("Add", ["x", "z"], ["y"]),
    ]
    return model([*first, *chain, *last], shape)


def too_large(gigabytes: int = 64) -> onnx.ModelProto:
    """A model that takes so much memory."""
    return model(
        [node("ConstantOfShape", ["s"], ["z"]), node("ReduceMax", ["z"], ["m"], keepdims=0), node("Add", ["x", "m"], ["y"])],
        {"s": np.array([gigabytes << 8, 1 << 20])},
    )


def scaled_by(height: float, width: float) -> onnx.ModelProto:
    """A model whose output is larger or smaller than its input."""
    return model([node("Resize", ["x", "", "s"], ["y"], mode="nearest")], {"s": np.array([1, 1, height, width], np.float32)})


def _fact(key: str, value: str) -> Make:
    def make(ours: onnx.ModelProto) -> onnx.ModelProto:
        for fact in ours.metadata_props:
            if fact.key == f"vidstyle.{key}":
                fact.value = value
        return ours

    return make


def blocksize(value: int) -> Make:
    """A model of ours whose pixel shuffle has another block size."""

    def make(ours: onnx.ModelProto) -> onnx.ModelProto:
        [shuffle] = [found for found in ours.graph.node if found.op_type == "DepthToSpace"]
        [size] = [attribute for attribute in shuffle.attribute if attribute.name == "blocksize"]
        size.i = value
        return ours

    return make


def _without(field: str) -> Make:
    def make(ours: onnx.ModelProto) -> onnx.ModelProto:
        ours.graph.ClearField(field)
        return ours

    return make


def _dims(value: int) -> Make:
    def make(ours: onnx.ModelProto) -> onnx.ModelProto:
        ours.graph.initializer[0].dims[0] = value
        return ours

    return make


def _no_attributes(kind: str) -> Make:
    def make(ours: onnx.ModelProto) -> onnx.ModelProto:
        for found in ours.graph.node:
            if found.op_type == kind:
                del found.attribute[:]
        return ours

    return make


def _of(made: onnx.ModelProto) -> Make:
    return lambda _: made


AXIS = {"a": np.array([0])}
MODELS: dict[str, tuple[Make, str]] = {
    "external initializer": (_initializer, "refers to others"),
    "external constant": (_of(model([node("Constant", [], ["c"], value=outside()), ADD])), "refers to others"),
    "sparse initializer": (_sparse_initializer, "sparse initializer"),
    "sparse constant": (_of(model([node("Constant", [], ["c"], sparse_value=sparse()), *_SHAPED], _SHAPE)), "sparse tensor"),
    "function": (_function, "functions"),
    "training": (_training, "training info"),
    "loop": (_of(loop()), "found 'Loop'"),
    "operator of another domain": (_of(model([node("f", ["x"], ["y"], domain="local")])), "the domain 'local'"),
    "operator without a name": (_of(model([IDENTITY, onnx.NodeProto()])), "found ''"),
    "no input": (_of(model([node("Constant", [], ["y"], value_float=1.0)], inputs=())), "got 0 and 1"),
    "two inputs": (_of(model([node("Add", ["x", "z"], ["y"])], inputs=("x", "z"))), "got 2 and 1"),
    "no output": (_of(model([IDENTITY], outputs=())), "got 1 and 0"),
    "scalar output": (_of(model([node("ReduceMean", ["x"], ["y"], keepdims=0)])), "got () float32"),
    "string output": (
        _of(model([node("Cast", ["x"], ["y"], to=TensorProto.STRING)], kind=TensorProto.STRING)),
        "from the model, got",
    ),
    "grey output": (_of(model([node("ReduceMean", ["x"], ["y"], axes=[1])])), "from the model, got"),
    "two images for one": (_of(model([node("Concat", ["x", "x"], ["y"], axis=0)])), "from the model, got"),
    "no image": (_of(model([node("Slice", ["x", "a", "a", "a"], ["y"])], AXIS)), "from the model, got"),
    "wide output": (_of(scaled_by(1, 2)), "aspect ratio"),
    "single colour": (_of(model([node("Mul", ["x", "c"], ["y"])], {"c": np.array(0, np.float32)})), "single colour"),
    "fixed size of nothing": (_of(model([IDENTITY], shape=(1, 3, 0, 0))), "got 0x0"),
    "enormous fixed size": (_of(model([IDENTITY], shape=(1, 3, 100000, 100000))), "got 100000x100000"),
    "batches of two": (_of(model([IDENTITY], shape=(2, 3, "h", "w"))), "got batches of 2"),
    "a fixed height": (_of(model([IDENTITY], shape=(1, 3, 32, "w"))), "the model failed"),
    "ours, margin -4": (_fact("margin", "-4"), "got -4 and"),
    "ours, margin 10^9": (_fact("margin", "1000000000"), "got 1000000000 and"),
    "ours, margin 10^20": (_fact("margin", "1" + 20 * "0"), "expected a margin of 0 to"),
    "ours, margin nan": (_fact("margin", "nan"), "metadata"),
    "ours, multiple 0": (_fact("multiple", "0"), "and 0"),
    "ours, multiple -1": (_fact("multiple", "-1"), "and -1"),
    "ours, multiple 10^9": (_fact("multiple", "1000000000"), "and 1000000000"),
    "ours, multiple 3": (_fact("multiple", "3"), "the model failed"),
    "ours, block size 0": (blocksize(0), "this one fails"),
    "ours, no input": (_without("input"), "got 0 and 1"),
    "ours, no output": (_without("output"), "got 1 and 0"),
    "ours, too many values": (_dims(1), "numbers in the tensor"),
    "ours, too few values": (_dims(1 << 40), "numbers in the tensor"),
    "ours, a negative number of values": (_dims(-1), "numbers in the tensor"),
    "ours, no kernel size": (_no_attributes("Conv"), "this one fails"),
    "ours, no block size": (_no_attributes("DepthToSpace"), "this one fails"),
}
"""Those that crash the engine or exhaust a limit are made by `blocksize(1 << 60)`, `slow` and `too_large`."""
