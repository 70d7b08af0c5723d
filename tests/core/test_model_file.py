"""Reading ONNX files: only what networks need gets through, whatever the bytes are."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from onnx import TensorProto, helper

from tests.support.hostile_models import ADD, CANARY, IDENTITY, MODELS, model, node, outside, sparse, write_canary
from vidstyle.core import model_file
from vidstyle.core.errors import StyleError
from vidstyle.core.model_file import read_model
from vidstyle.styles.catalog import shipped_models

set_hypothesis_home_dir(Path(tempfile.gettempdir(), "hypothesis"))  # no folder in the working tree
PROPERTY = settings(
    max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NUMBERS = st.sampled_from([0, 1, 2, 3, 7, 8, 77, -1, 1 << 20, (1 << 31) - 1])
TEXTS = st.sampled_from(["", CANARY, f"../{CANARY}", "x", "a\nb"])
_opened: list[str] | None = None


def _note(event: str, arguments: Any) -> None:
    if event == "open" and _opened is not None:
        _opened.append(os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes)) else str(arguments[0]))


sys.addaudithook(_note)


@contextmanager
def files_opened() -> Iterator[list[str]]:
    """The names of all files that Python opens in the block."""
    global _opened
    found: list[str] = []
    _opened = found
    try:
        yield found
    finally:
        _opened = None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the file that models refer to."""
    monkeypatch.chdir(tmp_path)
    write_canary(tmp_path)
    return tmp_path


def other_tool() -> onnx.ModelProto:
    """A small network in the style of fast-neural-style."""
    weights = {"w": np.ones((3, 3, 3, 3), np.float32), "b": np.zeros(3, np.float32), "s": np.array([1, 1, 2, 2], np.float32)}
    return model(
        [
            node("Pad", ["x", "pads"], ["p"], mode="reflect"),
            node("Conv", ["p", "w", "b"], ["c"], kernel_shape=[3, 3], strides=[2, 2]),
            node("InstanceNormalization", ["c", "b", "b"], ["i"], epsilon=1e-5),
            node("Relu", ["i"], ["r"]),
            node("Resize", ["r", "", "s"], ["u"], mode="nearest"),
            node("Constant", [], ["half"], value=helper.make_tensor("v", TensorProto.FLOAT, [], [0.5])),
            node("Add", ["u", "half"], ["y"]),
        ],
        {**weights, "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])},
    )


def test_shipped_models_and_those_of_other_tools_are_read(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(other_tool().SerializeToString())
    for path in [*shipped_models(), tmp_path / "other.onnx"]:
        read = read_model(path)
        assert read.SerializeToString(deterministic=True) == onnx.load(path).SerializeToString(deterministic=True)


def inner_messages(value: Any) -> list[Any]:
    """The messages in the value of a field of messages, which may be repeated."""
    return [value] if hasattr(value, "ListFields") else list(value)


def messages(message: Any) -> Iterator[Any]:
    """A message and all messages in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in inner_messages(value):
                yield from messages(inner)


def has_external_data(message: Any) -> bool:
    """Whether external data, or what may contain them, are anywhere in a message."""
    kinds = {"SparseTensorProto", "TrainingInfoProto", "FunctionProto"}
    return any(
        found.DESCRIPTOR.name in kinds
        or (found.DESCRIPTOR.name == "TensorProto" and (found.external_data or found.data_location != TensorProto.DEFAULT))
        for found in messages(message)
    )


def plant(message: Any, field: Any, number: int, text: str) -> None:
    """Set a field to something that does not belong there, to data in another file wherever that is possible."""
    if field.message_type is None:
        for value in (number, 0.5, text, text.encode()):
            with suppress(TypeError, ValueError):
                getattr(message, field.name).append(value) if field.is_repeated else setattr(message, field.name, value)
                return
        return
    graph = model([ADD]).graph
    graph.initializer.append(outside())
    planted = {"TensorProto": outside(), "SparseTensorProto": sparse(), "GraphProto": graph}
    inner = getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name)
    inner.SetInParent()
    if field.message_type.name in planted:
        inner.CopyFrom(planted[field.message_type.name])


def check_reading(path: Path) -> None:
    """The file is refused in one sentence, or what was read has no data elsewhere; only the file itself is opened."""
    problem = ""
    with files_opened() as opened:
        try:
            assert not has_external_data(read_model(path))
        except StyleError as error:
            problem = str(error)
    assert "\n" not in problem
    assert set(opened) <= {str(path)}


@PROPERTY
@given(data=st.data())
def test_no_field_lets_a_model_name_another_file(folder: Path, styles: Path, data: st.DataObject) -> None:
    ours = data.draw(st.booleans())
    mutated = onnx.load(styles / "tiny.onnx") if ours else other_tool()
    for _ in range(data.draw(st.integers(1, 3))):
        found = list(messages(mutated))
        message = found[data.draw(st.integers(0, len(found) - 1))]
        fields = message.DESCRIPTOR.fields
        field = fields[data.draw(st.integers(0, len(fields) - 1))]
        plant(message, field, data.draw(NUMBERS), data.draw(TEXTS))
    path = folder / "mutated.onnx"
    path.write_bytes(mutated.SerializePartialToString())
    check_reading(path)


@PROPERTY
@given(data=st.data())
def test_any_bytes_are_read_or_refused(folder: Path, data: st.DataObject) -> None:
    content = bytearray(other_tool().SerializeToString())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    path = folder / "mutated.onnx"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    check_reading(path)


@pytest.mark.parametrize("name", [name for name, (_, words) in MODELS.items() if "refers" in words or "sparse" in words])
def test_another_file_is_not_opened(folder: Path, name: str) -> None:
    (folder / "bad.onnx").write_bytes(MODELS[name][0](onnx.ModelProto()).SerializeToString())
    with files_opened() as opened, pytest.raises(StyleError, match=MODELS[name][1]):
        read_model(folder / "bad.onnx")
    assert opened == [str(folder / "bad.onnx")]


def test_fields_of_a_later_version_are_dropped(folder: Path) -> None:
    later = model([IDENTITY]).SerializeToString() + b"\xfa\x3f\x04evil"  # field 1023, of bytes
    (folder / "later.onnx").write_bytes(later)
    assert b"evil" not in read_model(folder / "later.onnx").SerializeToString()


def test_a_large_file_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_file, "MAX_MODEL_BYTES", 1 << 20)
    (folder / "large.onnx").write_bytes(bytes(2 << 20))
    with pytest.raises(StyleError, match=r"at most 1 MiB, got 2: .*large\.onnx"):
        read_model(folder / "large.onnx")
