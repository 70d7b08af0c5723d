"""Style statistics: the second and first moments of an encoder's features, of a whole image or summed over its tiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vidstyle.studio.perceptual.encoder import Encoder, Features
from vidstyle.studio.perceptual.losses import gram_matrix
from vidstyle.studio.perceptual.tiles import stride, tiles_of

Moments = dict[str, tuple[Tensor, Tensor]]
"""Layer -> Gram matrix per position (1, C, C) and mean (1, C), float32."""

COVARIANCE_FLOOR = 1e-4
"""Fraction of the Gram matrix's squared norm that is added to the covariance's: a style image of one colour has none."""


def weighted_moments(features: Features, weights: Mapping[str, Tensor], totals: Mapping[str, float]) -> Moments:
    """The contribution of these `features` to the moments of an image.

    `weights` (1, 1, h, w) in [0, 1] weight each position; positions of a layer without weights all weigh 1. `totals` are the
    sums of the weights over the whole image, by which the moments are divided.
    """
    moments = {}
    for layer, f in features.items():
        positions = f.shape[2] * f.shape[3]
        weight = weights.get(layer)
        for_gram = f if weight is None else f * weight.sqrt().to(f.dtype)
        for_mean = f if weight is None else f * weight.to(f.dtype)
        fraction = positions / totals[layer]
        moments[layer] = gram_matrix(for_gram) * fraction, for_mean.mean((2, 3), dtype=torch.float32) * fraction
    return moments


def sum_moments(terms: Sequence[Moments]) -> Moments:
    """The sum of `terms`, such as the contributions of an image's tiles."""
    return {k: (sum_tensors(t[k][0] for t in terms), sum_tensors(t[k][1] for t in terms)) for k in terms[0]}


def mix_moments(weighted: Sequence[tuple[Moments, float]]) -> Moments:
    """The weighted mean of the moments of several style images; the weights sum to 1."""
    return sum_moments([{k: (g * w, m * w) for k, (g, m) in moments.items()} for moments, w in weighted])


def sum_tensors(tensors: Iterable[Tensor]) -> Tensor:
    """The sum of tensors of one shape."""
    return torch.stack(list(tensors)).sum(0)


def style_moments(
    encoder: Encoder, style_image: Tensor, opacity: Tensor | None, layers: Iterable[str], tile: int | None = None
) -> Moments:
    """Moments of `style_image` (1, 3, H, W). Pixels count as much as they are opaque: `opacity` (1, 1, H, W) in [0, 1]."""
    layers = tuple(layers)
    h, w = style_image.shape[2:]
    opacity = torch.ones(1, 1, h, w, device=style_image.device) if opacity is None else opacity
    terms, totals = [], dict.fromkeys(layers, 0.0)
    for one in tiles_of(h, w, tile):
        with torch.no_grad():
            features = one.features(encoder, style_image, layers)
        weights = layer_weights(one.cut(opacity), features)
        terms.append(weighted_moments(features, weights, dict.fromkeys(layers, 1.0)))
        totals = {k: totals[k] + float(weights[k].sum()) for k in layers}
    return {k: (gram / totals[k], mean / totals[k]) for k, (gram, mean) in sum_moments(terms).items()}


def layer_weights(mask: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """`mask` (1, 1, H, W) at the resolution of each of `layers`."""
    return {k: F.avg_pool2d(mask, stride(k)) for k in layers}


def gram_error(moments: Moments, target: Moments) -> Tensor:
    """Mean over layers of sum((G - A)^2) / sum(A^2): `losses.style_loss` with equal weights, computed from moments."""
    errors = [(gram - target[k][0]).square().sum() / target[k][0].square().sum() for k, (gram, _) in moments.items()]
    return torch.stack(errors).mean()


def covariance_error(moments: Moments, target: Moments) -> Tensor:
    """Mean over layers of the relative squared error of covariances.

    A Gram matrix is mostly the mean's product with itself, which describes colours rather than strokes. Without the mean,
    strokes count.
    """
    errors = []
    for layer, (gram, mean) in moments.items():
        wanted = _covariance(*target[layer])
        scale = wanted.square().sum() + COVARIANCE_FLOOR * target[layer][0].square().sum()
        errors.append((_covariance(gram, mean) - wanted).square().sum() / scale)
    return torch.stack(errors).mean()


def _covariance(gram: Tensor, mean: Tensor) -> Tensor:
    return gram - mean[:, :, None] * mean[:, None, :]
