"""Hostile models: every one is refused with exit code 4, without a traceback, and nothing of it is installed."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from tests.support.helpers import imread
from tests.support.judge import Violation
from tests.support.runs import DONE, MODEL
from tools.bench.attacks.lab import Attack, Lab
from vidstyle.styles.catalog import find_style

SECONDS = 200
"""An endless model is stopped by vidstyle's own limit before."""
Shape = Sequence[int | str | None] | None
ANY_SIZE: Shape = ("n", 3, "h", "w")


def attack(lab: Lab, chance: random.Random) -> Attack:
    """Install a hostile model as a style, or stylize an image with it."""
    name = chance.choices([*FILES], [weight for weight, _ in FILES.values()])[0]
    path = lab.folder / (f"evil.{name.partition(' ')[0]}" if name.startswith("pth") else "evil.onnx")
    detail = FILES[name][1](path, chance)
    add = chance.random() < 0.5
    lab.copy("photo.jpg")
    args = ["styles", "add", path.name, "--name", "evil"] if add else ["photo.jpg", "--style", path.name, "-o", "out.png", "-q"]
    codes = (DONE, MODEL) if name in _MAY_WORK or detail in _MAY_BE_RESIZED else (MODEL,)
    result = lab.attack(f"{name} {detail}: {args[0]}", *args, codes=codes, outputs=[] if add else ["out.png"], seconds=SECONDS)
    if result.code == DONE and not add and imread(lab.folder / "out.png").shape != imread(lab.folder / "photo.jpg").shape:
        result.violations.append(Violation("false success", "the output has another size"))
    installed = lab.home / "styles"
    left = sorted(p.name for p in installed.rglob("*")) if installed.exists() else []
    shutil.rmtree(installed, ignore_errors=True)
    hidden = [file for file in left if file.startswith(".") and not file.endswith(".lock")]
    if hidden or (left and result.code != DONE and "evil.onnx" in left):
        result.violations.append(Violation("hidden left", f"in the folder of styles: {left}"))
    return result


# --- graphs


def _save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    *,
    takes: Shape = ANY_SIZE,
    gives: Shape = ANY_SIZE,
    constants: dict[str, np.ndarray] | None = None,
    kinds: tuple[int, int] = (TensorProto.FLOAT, TensorProto.FLOAT),
    change: Callable[[onnx.ModelProto], object] = lambda model: None,
) -> None:
    value = helper.make_tensor_value_info
    tensors = [numpy_helper.from_array(array, key) for key, array in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "evil", [value("x", kinds[0], takes)], [value("y", kinds[1], gives)], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    change(model)
    path.write_bytes(model.SerializeToString())


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


_SAME = helper.make_node("Identity", ["x"], ["y"])


def _external(tensor: TensorProto, chance: random.Random) -> str:
    target = chance.choice(("photo.jpg", "/etc/passwd", "../material/photo.jpg", "./photo.jpg", "/proc/self/environ"))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", target), ("offset", "0"), ("length", "48")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return target


def _reads_a_file(path: Path, chance: random.Random) -> str:
    """A tensor in some place of the format whose values are in another file."""
    tensor = numpy_helper.from_array(np.zeros(12, np.float32), "w")
    target = _external(tensor, chance)
    sparse = helper.make_sparse_tensor(tensor, numpy_helper.from_array(np.arange(12, dtype=np.int64), "i"), [12])
    place = chance.choice(("initializer", "sparse initializer", "constant", "sparse constant", "branch", "function", "training"))
    constant = helper.make_node("Constant", [], ["w"], **({"sparse_value": sparse} if "sparse" in place else {"value": tensor}))
    mean = [helper.make_node("ReduceMean", ["w"], ["m"], keepdims=0), helper.make_node("Add", ["x", "m"], ["y"])]

    def change(model: onnx.ModelProto) -> None:
        if place == "initializer":
            model.graph.initializer.append(tensor)
        elif place == "sparse initializer":
            sparse.values.name = "w"
            model.graph.sparse_initializer.append(sparse)
        elif place == "training":
            model.training_info.add().algorithm.initializer.append(tensor)
        elif place == "function":
            model.opset_import.append(helper.make_opsetid("own", 1))
            opsets = [helper.make_opsetid("", 17)]
            model.functions.append(helper.make_function("own", "Read", ["x"], ["y"], [constant, *mean], opsets))

    nodes = [constant, *mean] if "constant" in place else mean if "initializer" in place else [_SAME]
    if place == "branch":
        give = helper.make_node("ReduceMean", ["w"], ["m"], keepdims=0)
        branch = helper.make_graph([constant, give], "b", [], [helper.make_tensor_value_info("m", TensorProto.FLOAT, [])])
        choose = helper.make_node("If", ["yes"], ["m"], then_branch=branch, else_branch=branch)
        _save(path, [choose, mean[1]], constants={"yes": np.array(True)})
    else:
        _save(path, [helper.make_node("Read", ["x"], ["y"], domain="own")] if place == "function" else nodes, change=change)
    return f"in {place} from {target}"


def _lies(path: Path, chance: random.Random) -> str:
    """A trained model with other facts about itself."""
    model = onnx.load(find_style(chance.choice(("mosaic", "scream"))))
    key = chance.choice(("margin", "multiple"))
    value = chance.choice(
        ("", "-1", "999999999", "1e9", "nan", "four", "9" * 20, "\0", "4.5", "0" if key == "multiple" else "-8")
    )
    for entry in model.metadata_props:
        if entry.key == f"vidstyle.{key}":
            entry.value = value
    path.write_bytes(model.SerializeToString())
    return f"{key}={value!r}"


def _strange_shape(path: Path, chance: random.Random) -> str:
    kind = chance.choice(list(_SHAPES))
    nodes, constants, options = _SHAPES[kind]
    _save(path, nodes, constants=constants, **options)
    return kind


def _node(operator: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, list(inputs), ["y"], **attributes)


_SHAPES: dict[str, tuple[Sequence[onnx.NodeProto], dict[str, np.ndarray], dict[str, Any]]] = {
    "no input": ([_node("Identity", "w")], {"w": np.zeros(3, np.float32)}, {"change": lambda m: m.graph.ClearField("input")}),
    "no output": ([_SAME], {}, {"change": lambda m: m.graph.ClearField("output")}),
    "two inputs": ([_SAME], {}, {"change": lambda m: m.graph.input.append(helper.make_tensor_value_info("z", 1, [1]))}),
    "scalar output": ([_node("ReduceMean", "x", keepdims=0)], {}, {"gives": []}),
    "string output": ([_node("Cast", "x", to=TensorProto.STRING)], {}, {"kinds": (TensorProto.FLOAT, TensorProto.STRING)}),
    "bool output": ([_node("Cast", "x", to=TensorProto.BOOL)], {}, {"kinds": (TensorProto.FLOAT, TensorProto.BOOL)}),
    "flat output": ([_node("Flatten", "x")], {}, {"gives": ["a", "b"]}),
    "input of 0x0": ([_SAME], {}, {"takes": (1, 3, 0, 0), "gives": (1, 3, 0, 0)}),
    "input of 100000x100000": ([_SAME], {}, {"takes": (1, 3, 100_000, 100_000), "gives": (1, 3, 100_000, 100_000)}),
    "input without a shape": ([_SAME], {}, {"takes": None, "gives": None}),
    "batch of 7": ([_SAME], {}, {"takes": (7, 3, 32, 32), "gives": (7, 3, 32, 32)}),
    "4 channels": ([_SAME], {}, {"takes": (1, 4, "h", "w"), "gives": (1, 4, "h", "w")}),
    "lying dims": ([_node("Pad", "x", "p")], {"p": _ints(0, 0, 3, 3, 0, 0, 2, 2)}, {"gives": (1, 3, 16, 16)}),
    "output twice as large": ([_node("Resize", "x", "", "s")], {"s": np.array([1, 1, 2, 2], np.float32)}, {}),
    "output of one pixel": ([_node("ReduceMean", "x", axes=[2, 3])], {}, {}),
    "empty output": ([_node("Slice", "x", "a", "a", "c")], {"a": _ints(0), "c": _ints(2)}, {}),
    "wrong batch": ([_node("Concat", "x", "x", axis=0)], {}, {}),
    "blocksize 0": ([_node("DepthToSpace", "x", blocksize=0)], {}, {}),
    "blocksize 2 of 3 channels": ([_node("DepthToSpace", "x", blocksize=2)], {}, {}),
    "NaN": ([_node("Sqrt", "m")], {"m": -np.ones((1, 3, 48, 64), np.float32)}, {}),
    "NaN of every pixel": ([helper.make_node("Sub", ["o", "x"], ["n"]), _node("Log", "n")], {"o": np.array(-1, np.float32)}, {}),
    "infinite": ([_node("Div", "x", "z")], {"z": np.array(0, np.float32)}, {}),
    "unknown operator": ([_node("Explode", "x")], {}, {}),
    "unknown domain": ([_node("Identity", "x", domain="com.evil")], {}, {}),
    "a cycle": ([_node("Add", "x", "y")], {}, {}),
    "a terabyte": (
        [
            helper.make_node("ConstantOfShape", ["s"], ["c"]),
            helper.make_node("ReduceMean", ["c"], ["m"], keepdims=0),
            _node("Add", "x", "m"),
        ],
        {"s": _ints(1 << 38)},
        {},
    ),
    "a negative size": ([helper.make_node("ConstantOfShape", ["s"], ["c"]), _node("Add", "x", "c")], {"s": _ints(-5)}, {}),
}


def _endless(path: Path, chance: random.Random) -> str:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["on_"]), helper.make_node("Identity", ["v"], ["v_"])],
        "body",
        [value("i", TensorProto.INT64, []), value("on", TensorProto.BOOL, []), value("v", TensorProto.FLOAT, None)],
        [value("on_", TensorProto.BOOL, []), value("v_", TensorProto.FLOAT, None)],
    )
    loop = helper.make_node("Loop", ["n", "yes", "x"], ["y"], body=body)
    _save(path, [loop], constants={"n": np.array((1 << 63) - 1, np.int64), "yes": np.array(True)})
    return ""


def _nested(path: Path, chance: random.Random) -> str:
    depth = chance.choice((5, 20, 30))
    out = [helper.make_tensor_value_info("m", TensorProto.FLOAT, [])]
    constant = numpy_helper.from_array(np.array(1, np.float32), "c")
    graph = helper.make_graph([helper.make_node("Constant", [], ["m"], value=constant)], "g", [], out)
    leaf = graph
    for _ in range(depth):
        graph = helper.make_graph([helper.make_node("If", ["yes"], ["m"], then_branch=graph, else_branch=leaf)], "g", [], out)
    _save(path, [*graph.node, _node("Add", "x", "m")], constants={"yes": np.array(True)})
    return f"{depth} levels"


# --- files


def _no_model(path: Path, chance: random.Random) -> str:
    kind = chance.choice(("empty", "noise", "text", "zip", "truncated", "image", "zeros"))
    real = find_style("mosaic").read_bytes()
    data = {
        "empty": b"",
        "noise": chance.randbytes(chance.choice((1, 100, 5000))),
        "text": b"ir_version: 8\n" * 20,
        "zip": b"PK\x03\x04" + chance.randbytes(200),
        "truncated": real[: chance.randrange(1, len(real) - 1)],
        "image": b"\x89PNG\r\n\x1a\n" + chance.randbytes(300),
        "zeros": bytes(4096),
    }[kind]
    path.write_bytes(data)
    return kind


def _flipped(path: Path, chance: random.Random) -> str:
    data = bytearray(find_style(chance.choice(("mosaic", "ink"))).read_bytes())
    count = chance.choice((1, 4, 30, 300))
    for _ in range(count):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return f"{count} bits"


class _RunsCode:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pwned",)


def _checkpoint(path: Path, chance: random.Random) -> str:
    kind = chance.choice(("empty dictionary", "code", "list", "other names", "no tensors", "NaN", "wrong shapes"))
    from vidstyle.networks.examples_net import ExamplesTransformerNet

    weights = ExamplesTransformerNet(8).state_dict()
    content = {
        "empty dictionary": {},
        "code": _RunsCode(),
        "list": [1, 2, 3],
        "other names": {"a.weight": torch.zeros(3)},
        "no tensors": dict.fromkeys(weights, "x"),
        "NaN": {key: torch.full_like(value, float("nan")) for key, value in weights.items()},
        "wrong shapes": {key: torch.zeros(3) for key in weights},
    }[kind]
    torch.save(content, path)
    return kind


FILES: dict[str, tuple[float, Callable[[Path, random.Random], str]]] = {
    "onnx that reads a file": (4, _reads_a_file),
    "onnx that lies": (3, _lies),
    "onnx of a strange shape": (8, _strange_shape),
    "onnx without end": (0.15, _endless),
    "onnx of many graphs": (0.5, _nested),
    "onnx that is none": (2, _no_model),
    "onnx with flipped bits": (3, _flipped),
    "pth that is none": (1, _no_model),
    "pth of something else": (2.5, _checkpoint),
}
_MAY_BE_RESIZED = ("lying dims", "output twice as large")
_MAY_WORK = ("onnx with flipped bits", "onnx of many graphs")
