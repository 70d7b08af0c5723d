"""Which nets a blend needs: one for all styles with a common ancestor, one for each of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from vidstyle.stylizers.onnx import read_model
from vidstyle.stylizers.weight_interpolation import family_of, interpolated

TORCH_SUFFIXES = {".pth", ".pt", ".model"}


@dataclass(frozen=True)
class Net:
    """One net: `model` was read from the file `path`, or made of several; None where that is no ONNX. `share` is its painting's
    in the blend."""

    path: Path
    model: onnx.ModelProto | None
    share: float


def nets_of(files: Sequence[tuple[Path, float]]) -> list[Net]:
    """The nets for model files and their shares, which add up to 1. Raises `StyleError` for a file that is no model."""
    groups: dict[object, list[Net]] = {}
    for path, share in files:
        model = None if path.suffix.lower() in TORCH_SUFFIXES else read_model(path)
        family = family_of(model) if model is not None else None
        groups.setdefault(family or path, []).append(Net(path, model, share))
    return [_joined(group) for group in groups.values()]


def _joined(nets: Sequence[Net]) -> Net:
    """One net for those of one family."""
    if len(nets) == 1:
        return nets[0]
    share = sum(net.share for net in nets)
    parts = [(net.model, net.share / share) for net in nets if net.model is not None]
    return Net(nets[0].path, interpolated(parts), share)
