"""How all figures of looks are judged: distances of stylized images from a painting, and from what was stylized.

All are relative squared errors: style of Gram matrices at relu1_1, relu2_1 and relu3_1, broad style at relu3_1 alone, content
of features at relu3_1; means over full, half and quarter size (block means).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidstyle.core.frames import Pixels
from vidstyle.studio.perceptual.encoder import Encoder, Features, gram_matrix
from vidstyle.studio.training.photos import fit_short_side, read_image

ROOT = Path(__file__).resolve().parents[2]
SIZE = (640, 360)
"""Of the frames. The painting's short side is as long as theirs."""
LAYERS, BROAD = ("relu1_1", "relu2_1", "relu3_1"), "relu3_1"
SCALES = (1, 2, 4)
DRAWN = "mosaic.png"
"""Drawn by tools/assets/mosaic.py."""
PAINTINGS = {
    "udnie": "udnie.jpg",
    "great-wave": "great_wave.jpg",
    "scream": "the_scream.jpg",
    "mosaic": DRAWN,
    "starry-night": "starry_night.jpg",
    "composition": "composition_vii.jpg",
    "water-lilies": "water_lilies.jpg",
    "ink": "fuchun.jpg",
}
"""Of our styles, by which they are judged."""


def image(name: str, folder: Path) -> Pixels:
    """A painting, RGB."""
    if name != DRAWN:
        return read_image(folder / name)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / DRAWN
        subprocess.run([sys.executable, "-m", "tools.assets.mosaic", path], cwd=ROOT, check=True)
        return read_image(path)


class Judge:
    """Distances of stylized frames from a painting and from their inputs."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._of_inputs: dict[bytes, list[Tensor]] = {}

    def features(self, pixels: Pixels) -> list[Features]:
        """Of an image at all `SCALES`."""
        with torch.inference_mode():
            return [self.encoder(shrunk(as_tensor(pixels), s), LAYERS) for s in SCALES]

    def distances(self, source: Pixels, stylized: Pixels, painting: Sequence[Features]) -> dict[str, float]:
        """style, broad style and content distance of one frame; `painting` holds its Gram matrices."""
        of_output, key = self.features(stylized), source.tobytes()
        if key not in self._of_inputs:
            self._of_inputs[key] = [features[BROAD] for features in self.features(source)]
        by_layer = {
            layer: np.mean(
                [float(relative_error(gram_matrix(o[layer]), own[layer])) for o, own in zip(of_output, painting, strict=True)]
            )
            for layer in LAYERS
        }
        content = [float(relative_error(o[BROAD], own)) for o, own in zip(of_output, self._of_inputs[key], strict=True)]
        return {
            "style": float(np.mean(list(by_layer.values()))),
            "broad_style": float(by_layer[BROAD]),
            "content": float(np.mean(content)),
        }

    def grams(self, painting: Pixels) -> list[Features]:
        """Gram matrices of a painting at all `SCALES`."""
        return [{k: gram_matrix(v) for k, v in f.items()} for f in self.features(fit_short_side(painting, SIZE[1]))]


def as_tensor(pixels: Pixels) -> Tensor:
    """uint8 (H, W, 3) -> float (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255


def shrunk(image: Tensor, scale: int) -> Tensor:
    """Block means."""
    return F.avg_pool2d(image, scale) if scale > 1 else image


def relative_error(found: Tensor, wanted: Tensor) -> Tensor:
    """sum((found - wanted)^2) / sum(wanted^2)."""
    return (found - wanted).square().sum() / wanted.square().sum()
