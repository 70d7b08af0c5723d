"""Weight files of narrow VGG-19 encoders, under the keys of every known format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

NAMES = [f"{block}_{i}" for block, count in enumerate((2, 2, 4, 4, 4), 1) for i in range(1, count + 1)]
WIDTHS = [4, 4, 6, 6, 8, 8, 8, 8, 10, 10, 10, 10, 10, 10, 10, 10]
TORCHVISION = dict(zip(NAMES, (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34), strict=True))
NORMALIZED = dict(zip(NAMES, (2, 5, 9, 12, 16, 19, 22, 25, 29, 32, 35, 38, 42, 45, 48, 51), strict=True))

State = dict[str, Tensor]


def random_convs(key: Callable[[str], str], names: list[str] = NAMES) -> State:
    """Weights of a narrow VGG-19, under the keys of some file format."""
    torch.manual_seed(5)
    state: State = {}
    channels = 3
    for name, width in zip(names, WIDTHS, strict=False):
        state[f"{key(name)}.weight"] = torch.randn(width, channels, 3, 3) / (channels * 9) ** 0.5
        state[f"{key(name)}.bias"] = torch.randn(width) * 0.1
        channels = width
    return state


def save_weights(folder: Path, state: object) -> Path:
    """The file `encoder.pth` in `folder`, with `state` in it."""
    torch.save(state, folder / "encoder.pth")
    return folder / "encoder.pth"
