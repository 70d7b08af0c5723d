"""The metadata that `vidstyle train` writes into ONNX models."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

PREFIX = "vidstyle."
"""The prefix of the metadata's keys in the file."""


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    """The metadata of a model that vidstyle trained, without the prefix of the keys; empty for models of other tools."""
    return {p.key.removeprefix(PREFIX): p.value for p in model.metadata_props if p.key.startswith(PREFIX)}
