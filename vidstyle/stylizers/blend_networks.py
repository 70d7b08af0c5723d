"""The networks of a blend: one for all styles with a common ancestor, and one for each of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from vidstyle.core.model_file import read_model
from vidstyle.stylizers.weight_interpolation import family_of, interpolated

TORCH_SUFFIXES = {".pth", ".pt", ".model"}


@dataclass(frozen=True)
class Network:
    """One network and its weight in the blend."""

    path: Path
    model: onnx.ModelProto | None
    """Read from the file `path`, or interpolated from several; None for a torch file."""
    weight: float


def networks_of(files: Sequence[tuple[Path, float]]) -> list[Network]:
    """The networks for model files and their weights, which add up to 1. Raises `StyleError` for a file that is not a model."""
    groups: dict[object, list[Network]] = {}
    for path, weight in files:
        model = None if path.suffix.lower() in TORCH_SUFFIXES else read_model(path)
        family = family_of(model) if model is not None else None
        groups.setdefault(family or path, []).append(Network(path, model, weight))
    return [_interpolated(group) for group in groups.values()]


def _interpolated(networks: Sequence[Network]) -> Network:
    """One network instead of several of one family."""
    if len(networks) == 1:
        return networks[0]
    total = sum(network.weight for network in networks)
    models = [(network.model, network.weight / total) for network in networks if network.model is not None]
    return Network(networks[0].path, interpolated(models), total)
