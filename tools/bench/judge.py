"""The distances by which image quality is judged: of a stylized image from the style image, and from its input.

All are relative squared errors: style of Gram matrices at relu1_1, relu2_1 and relu3_1, broad style at relu3_1 alone, content
of features at relu3_1; each is the mean over full, half and quarter size (block means).
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
from vidstyle.studio.perceptual.encoder import Encoder, Features
from vidstyle.studio.perceptual.losses import gram_matrix
from vidstyle.studio.training.photos import fit_short_side, read_image

ROOT = Path(__file__).resolve().parents[2]
SIZE = (640, 360)
"""Size of the frames (width, height). The style image is scaled to the same short side."""
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
"""The style images of the shipped styles."""


def image(name: str, folder: Path) -> Pixels:
    """A style image, RGB."""
    if name != DRAWN:
        return read_image(folder / name)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / DRAWN
        subprocess.run([sys.executable, "-m", "tools.assets.mosaic", path], cwd=ROOT, check=True)
        return read_image(path)


class Judge:
    """Distances of stylized frames from a style image and from their inputs."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._input_features: dict[bytes, list[Tensor]] = {}

    def features(self, pixels: Pixels) -> list[Features]:
        """The features of an image at all `SCALES`."""
        with torch.inference_mode():
            return [self.encoder(shrunk(as_tensor(pixels), s), LAYERS) for s in SCALES]

    def distances(self, source: Pixels, stylized: Pixels, style: Sequence[Features]) -> dict[str, float]:
        """style, broad style and content distance of one frame; `style` holds the Gram matrices of the style image."""
        output_features, key = self.features(stylized), source.tobytes()
        if key not in self._input_features:
            self._input_features[key] = [features[BROAD] for features in self.features(source)]
        by_layer = {
            layer: np.mean(
                [float(relative_error(gram_matrix(o[layer]), own[layer])) for o, own in zip(output_features, style, strict=True)]
            )
            for layer in LAYERS
        }
        content = [
            float(relative_error(o[BROAD], own)) for o, own in zip(output_features, self._input_features[key], strict=True)
        ]
        return {
            "style": float(np.mean(list(by_layer.values()))),
            "broad_style": float(by_layer[BROAD]),
            "content": float(np.mean(content)),
        }

    def grams(self, style_image: Pixels) -> list[Features]:
        """Gram matrices of a style image at all `SCALES`."""
        return [{k: gram_matrix(v) for k, v in f.items()} for f in self.features(fit_short_side(style_image, SIZE[1]))]


def as_tensor(pixels: Pixels) -> Tensor:
    """uint8 (H, W, 3) -> float (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255


def shrunk(image: Tensor, scale: int) -> Tensor:
    """`image` reduced by block means."""
    return F.avg_pool2d(image, scale) if scale > 1 else image


def relative_error(actual: Tensor, expected: Tensor) -> Tensor:
    """sum((actual - expected)^2) / sum(expected^2)."""
    return (actual - expected).square().sum() / expected.square().sum()
