"""The losses that training a style minimizes, besides temporal consistency: style, content, tone and smoothness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vidstyle.core.options import TrainOptions
from vidstyle.networks.device import autocast
from vidstyle.studio.perceptual.encoder import Encoder, pyramid_features
from vidstyle.studio.perceptual.losses import content_loss, style_grams, style_loss, tone_loss, total_variation
from vidstyle.studio.style_images import StyleImage
from vidstyle.studio.training.photos import fit_short_side


def to_tensor(images: Sequence[np.ndarray]) -> Tensor:
    """uint8 RGB (H, W, 3) each -> float (N, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


class StyleLosses:
    """The losses of images that are to have the style of `style_images`: Gram matrices of their opaque pixels, averaged."""

    def __init__(self, encoder: Encoder, style_images: Sequence[StyleImage], options: TrainOptions, device: torch.device) -> None:
        self._encoder, self._options, self._device = encoder, options, device
        self._style_weights = dict(options.style_layers)
        self._layers = {*self._style_weights, *options.content_layers}
        tensors = [to_tensor([fit_short_side(s.pixels, options.style_size)]).to(device) for s in style_images]
        with autocast(device):
            self.grams = style_grams(encoder, tensors, self._style_weights, [self._opacity(s) for s in style_images])

    def _opacity(self, style_image: StyleImage) -> Tensor | None:
        if style_image.opacity is None:
            return None
        resized = fit_short_side(style_image.opacity, self._options.style_size)
        return torch.from_numpy(resized).to(self._device)[None, None].float() / 255

    def __call__(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Each loss of `y` as the stylized `x`, weighted; both (N, 3, H, W) in [0, 1]."""
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
    """Mean losses over several steps. They stay on the device until they are read."""

    def __init__(self) -> None:
        self.count = 0
        self._sums: dict[str, Tensor] = {}

    def add(self, losses: dict[str, Tensor]) -> None:
        for name, value in losses.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self.count += 1

    def read(self) -> dict[str, float]:
        return {name: value.item() / self.count for name, value in self._sums.items()}
