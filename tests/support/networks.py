"""Images for style networks, and what a network should make of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vidstyle.networks.transformer_net import MARGIN, MULTIPLE

STYLE = {"compact": "tiny", "full": "slow"}
"""Architecture -> the style of `tests/conftest.py` that has it."""


def soft_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """An image with gradients, edges and grain."""
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(seed)
    base = np.stack([127 + 100 * np.sin(x / 9 + seed), 127 + 100 * np.cos(y / 7), 255.0 * ((x // 8 + y // 8) % 2)], -1)
    return np.clip(base + rng.normal(0, 8, base.shape), 0, 255).astype(np.uint8)


def stylize_in_torch(net: nn.Module, images: list[np.ndarray]) -> np.ndarray:
    """What the net should give, in the plainest way: mirror, run, crop, round."""
    h, w = images[0].shape[:2]
    bottom, right = -(h + 2 * MARGIN) % MULTIPLE, -(w + 2 * MARGIN) % MULTIPLE
    around = ((MARGIN, MARGIN + bottom), (MARGIN, MARGIN + right), (0, 0))
    batch = np.stack([np.pad(p, around, mode="reflect") for p in images])
    with torch.no_grad():
        y = net(torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255)
    stylized = np.asarray((y * 255 + 0.5).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy())
    return stylized[:, MARGIN : MARGIN + h, MARGIN : MARGIN + w]


class RunsCode:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)
