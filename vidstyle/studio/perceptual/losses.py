"""The perceptual losses of Gatys et al. 2015 and Johnson et al. 2016, and two losses on pixels.

Images are float RGB in [0, 1], shape (N, 3, H, W); features have shape (N, C, h, w).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from vidstyle.studio.perceptual.encoder import Encoder, Features, pyramid_features


def gram_matrix(features: Tensor) -> Tensor:
    """G = F F^T / (h w) of features (N, C, h, w): shape (N, C, C), float32. Gatys et al. 2015, eq. 3, per position."""
    return cast(Tensor, _Gram.apply(features))  # type: ignore[no-untyped-call]


class _Gram(torch.autograd.Function):
    """One product in each direction, in the features' own precision and layout. Autograd of the plain expression copies the
    features to float32 and adds gradients of their size, which on a CPU costs more than the convolutions of the encoder."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(features)
        flat = features.permute(0, 2, 3, 1).flatten(1, 2)  # (N, h w, C): a view if the layout is channels last
        # Image by image: the batched product of bfloat16 is nine times slower on a CPU.
        gram = torch.stack([image.T @ image for image in flat]).float()
        return gram / flat.shape[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        (features,) = ctx.saved_tensors
        n, c, h, w = features.shape
        flat = features.permute(0, 2, 3, 1).flatten(1, 2)
        symmetric = (grad + grad.transpose(1, 2)) / (h * w)  # (N, C, C)
        product: Tensor = flat @ symmetric.to(features.dtype)
        return product.reshape(n, h, w, c).permute(0, 3, 1, 2)


def style_loss(features: Features, target_grams: Features, weights: Mapping[str, float]) -> Tensor:
    """Weighted mean over layers of the relative squared error of Gram matrices.

    Departure from the paper: each layer's error is divided by the squared norm of the style's own Gram matrix, so that
    weights mean the same for every encoder and style image. `target_grams` values have shape (1, C, C).
    """
    total = sum(weights.values())
    terms = [
        w / total * (gram_matrix(features[k]) - target_grams[k]).square().sum((1, 2)).mean() / target_grams[k].square().sum()
        for k, w in weights.items()
    ]
    return torch.stack(terms).sum()


def content_loss(features: Features, target: Features, layers: Iterable[str]) -> Tensor:
    """Mean over layers of sum((F_out - F_in)^2) / sum(F_in^2). Gatys et al. 2015, eq. 1, made relative."""
    terms = [(features[k].float() - target[k].float()).square().sum() / target[k].float().square().sum() for k in layers]
    return torch.stack(terms).mean()


def tone_loss(image: Tensor, target: Tensor, size: int) -> Tensor:
    """Mean squared difference of the colours of `size` x `size` pixel averages.

    Not in the papers: bright areas stay bright and red areas reddish, so that the content can be recognized, while within a
    stroke the colour is the style's alone.
    """
    return (F.avg_pool2d(image, size) - F.avg_pool2d(target, size)).square().mean()


def total_variation(image: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels (Mahendran and Vedaldi 2015, beta = 2)."""
    return (image[..., 1:, :] - image[..., :-1, :]).square().mean() + (image[..., 1:] - image[..., :-1]).square().mean()


def style_grams(
    encoder: Encoder, style_images: Sequence[Tensor], layers: Iterable[str], opacities: Sequence[Tensor | None] | None = None
) -> Features:
    """Gram matrices (1, C, C) of style images (1, 3, H, W), averaged over them.

    `opacities` holds one alpha mask (1, 1, H, W) in [0, 1] for each style image, or None where it is opaque. Transparent pixels
    do not count.
    """
    layers = tuple(layers)
    with torch.no_grad():
        all_grams = [
            {k: _opaque_gram(f, opacity) for k, f in pyramid_features(encoder, style_image, layers).items()}
            for style_image, opacity in zip(style_images, opacities or [None] * len(style_images), strict=True)
        ]
    return {k: torch.stack([g[k] for g in all_grams]).mean(0) for k in layers}


def _opaque_gram(features: Tensor, opacity: Tensor | None) -> Tensor:
    if opacity is None:
        return gram_matrix(features)
    weights = F.interpolate(opacity, size=features.shape[2:], mode="area")
    return gram_matrix(features * weights.sqrt().to(features.dtype)) / weights.mean()
