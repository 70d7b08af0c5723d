"""What training a style minimises, apart from temporal consistency: style, content, tone and smoothness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vidstyle.core.options import TrainOptions
from vidstyle.networks.device import autocast
from vidstyle.studio.perceptual.encoder import (
    Encoder,
    content_loss,
    pyramid_features,
    style_grams,
    style_loss,
    tone_loss,
    total_variation,
)
from vidstyle.studio.style_images import Painting
from vidstyle.studio.training.photos import fit_short_side


def to_tensor(images: Sequence[np.ndarray]) -> Tensor:
    """uint8 RGB (H, W, 3) each -> float (N, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


class StyleLosses:
    """The losses of images that are to be stylized as `paintings` are: Gram matrices of what is opaque of them, averaged."""

    def __init__(self, encoder: Encoder, paintings: Sequence[Painting], options: TrainOptions, device: torch.device) -> None:
        self._encoder, self._options, self._device = encoder, options, device
        self._style_weights = dict(options.style_layers)
        self._layers = {*self._style_weights, *options.content_layers}
        images = [to_tensor([fit_short_side(p.pixels, options.style_size)]).to(device) for p in paintings]
        with autocast(device):
            self.grams = style_grams(encoder, images, self._style_weights, [self._opacity(p) for p in paintings])

    def _opacity(self, painting: Painting) -> Tensor | None:
        if painting.opacity is None:
            return None
        fitted = fit_short_side(painting.opacity, self._options.style_size)
        return torch.from_numpy(fitted).to(self._device)[None, None].float() / 255

    def __call__(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Each loss of `y` as a painting of `x`, weighted; both (N, 3, H, W) in [0, 1]."""
        o = self._options
        with autocast(self._device):
            with torch.no_grad():
                target = pyramid_features(self._encoder, x, o.content_layers)
            features = pyramid_features(self._encoder, y, self._layers)
        return {
            "style": style_loss(features, self.grams, self._style_weights),
            "content": o.content_weight * content_loss(features, target, o.content_layers),
            "tone": o.tone_weight * tone_loss(y, x, o.tone_size),
            "tv": o.tv_weight * total_variation(y),
        }


class MeanLosses:
    """Means over several steps. They stay on the device until they are read."""

    def __init__(self) -> None:
        self.count = 0
        self._sums: dict[str, Tensor] = {}

    def add(self, losses: dict[str, Tensor]) -> None:
        for name, value in losses.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self.count += 1

    def read(self) -> dict[str, float]:
        return {name: value.item() / self.count for name, value in self._sums.items()}
