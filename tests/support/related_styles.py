"""Styles for blends: networks with random weights, some of them related as if fine-tuned from one network; and models of another
tool with a simple formula."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from onnx import helper

from tests.support.helpers import save_model
from vidstyle.core.frames import Pixels
from vidstyle.networks.export import export_onnx
from vidstyle.styles.catalog import add_style, sha256


def relative_of(net: torch.nn.Module, seed: int) -> torch.nn.Module:
    """A network as if fine-tuned from `net`."""
    generator, child = torch.Generator().manual_seed(seed), copy.deepcopy(net)
    with torch.no_grad():
        for parameter in child.parameters():
            parameter.add_(0.3 * parameter.abs().mean() * torch.randn(parameter.shape, generator=generator))
    return child


def mean_of(first: torch.nn.Module, second: torch.nn.Module, weight: float) -> torch.nn.Module:
    """The weighted mean of two networks; `weight` is that of the second."""
    net = copy.deepcopy(first)
    with torch.no_grad():
        for mean, other in zip(net.parameters(), second.parameters(), strict=True):
            mean.add_(weight * (other - mean))
        for buffer, other_buffer in zip(net.buffers(), second.buffers(), strict=True):
            if buffer.is_floating_point():
                buffer.add_(weight * (other_buffer - buffer))
    return net


def write_relatives(folder: Path, nets: dict[str, torch.nn.Module]) -> None:
    """A catalogue with the related styles `rough` and `smooth`, their means `halfway` and `nearer`, the unrelated styles `tiny`
    and `alien`, and `broad`, which claims to be related but has another architecture. `nets`: one of each architecture."""
    rough, smooth = (relative_of(nets["compact"], seed) for seed in (1, 2))
    made = {
        "rough": (rough, "compact", "kin"),
        "smooth": (smooth, "compact", "kin"),
        "broad": (nets["full"], "full", "kin"),
        "halfway": (mean_of(rough, smooth, 0.5), "compact", ""),
        "nearer": (mean_of(rough, smooth, 0.2), "compact", ""),
        "tiny": (nets["compact"], "compact", ""),
        "alien": (relative_of(nets["compact"], 3), "compact", ""),
    }
    for name, (net, architecture, family) in made.items():
        path = folder / f"{name}.onnx"
        export_onnx(net, architecture, path, {"name": name} | ({"family": family} if family else {}))
        add_style(folder, name, {"file": path.name, "sha256": sha256(path)})


def write_simple(folder: Path) -> None:
    """A catalogue with the styles `negative`, 255 - x, and `dark`, x / 4."""
    nodes = {"negative": ("Sub", ["level", "x"], 255), "dark": ("Mul", ["level", "x"], 0.25)}
    for name, (kind, inputs, level) in nodes.items():
        node = helper.make_node(kind, inputs, ["y"])
        path = save_model(folder / f"{name}.onnx", [node], {"level": np.array(level, np.float32)})
        add_style(folder, name, {"file": path.name, "sha256": sha256(path)})


def negative(images: Pixels) -> Pixels:
    """The result of the style `negative`."""
    return 255 - images


def dark(images: Pixels) -> Pixels:
    """The result of the style `dark`."""
    return np.asarray(images * 0.25 + 0.5, np.uint8)
