"""Style statistics: the second and first moments of an encoder's features, of a whole image or summed over its parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vidstyle.studio.perceptual.encoder import Encoder, Features, gram_matrix
from vidstyle.studio.perceptual.tiles import stride, tiles_of

Moments = dict[str, tuple[Tensor, Tensor]]
"""Layer -> Gram matrix per position (1, C, C) and mean (1, C), float32."""

FLAT = 1e-4
"""Share of its Gram matrix that a painting's covariance counts as at least: a painting of one colour has none."""


def weighted_moments(features: Features, weights: Mapping[str, Tensor], totals: Mapping[str, float]) -> Moments:
    """What these `features` add to the moments of an image.

    `weights` (1, 1, h, w) in [0, 1] say how much each position counts; a layer without weights counts in full. `totals`
    are the sums of the weights over the whole image, by which the moments are divided.
    """
    found = {}
    for layer, f in features.items():
        positions = f.shape[2] * f.shape[3]
        weight = weights.get(layer)
        g = f if weight is None else f * weight.sqrt().to(f.dtype)
        first = f if weight is None else f * weight.to(f.dtype)
        share = positions / totals[layer]
        found[layer] = gram_matrix(g) * share, first.mean((2, 3), dtype=torch.float32) * share
    return found


def sum_moments(parts: Sequence[Moments]) -> Moments:
    """The moments of an image from those of its parts."""
    return {k: (sum_tensors(p[k][0] for p in parts), sum_tensors(p[k][1] for p in parts)) for k in parts[0]}


def mix_moments(mixed: Sequence[tuple[Moments, float]]) -> Moments:
    """Moments between those of several paintings, by weights that sum to 1: the style of all of them together."""
    return sum_moments([{k: (g * w, m * w) for k, (g, m) in moments.items()} for moments, w in mixed])


def sum_tensors(tensors: Iterable[Tensor]) -> Tensor:
    """Their sum."""
    return torch.stack(list(tensors)).sum(0)


def painting_moments(
    encoder: Encoder, painting: Tensor, opacity: Tensor | None, layers: Iterable[str], tile: int | None = None
) -> Moments:
    """Moments of `painting` (1, 3, H, W); where its `opacity` (1, 1, H, W) in [0, 1] is zero, it does not count."""
    layers = tuple(layers)
    h, w = painting.shape[2:]
    opacity = torch.ones(1, 1, h, w, device=painting.device) if opacity is None else opacity
    parts, totals = [], dict.fromkeys(layers, 0.0)
    for one in tiles_of(h, w, tile):
        with torch.no_grad():
            features = one.features(encoder, painting, layers)
        weights = layer_weights(one.cut(opacity), features)
        parts.append(weighted_moments(features, weights, dict.fromkeys(layers, 1.0)))
        totals = {k: totals[k] + float(weights[k].sum()) for k in layers}
    return {k: (gram / totals[k], mean / totals[k]) for k, (gram, mean) in sum_moments(parts).items()}


def layer_weights(mask: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """`mask` (1, 1, H, W) at the size of each of `layers`."""
    return {k: F.avg_pool2d(mask, stride(k)) for k in layers}


def gram_error(moments: Moments, target: Moments) -> Tensor:
    """Mean over layers of sum((G - A)^2) / sum(A^2): `perceptual.style_loss`, on moments."""
    errors = [(gram - target[k][0]).square().sum() / target[k][0].square().sum() for k, (gram, _) in moments.items()]
    return torch.stack(errors).mean()


def covariance_error(moments: Moments, target: Moments) -> Tensor:
    """Mean over layers of the relative squared error of covariances.

    A Gram matrix is mostly the mean's product with itself: colours, hardly strokes. With the mean taken out it is the
    strokes that count.
    """
    errors = []
    for layer, (gram, mean) in moments.items():
        wanted = _covariance(*target[layer])
        scale = wanted.square().sum() + FLAT * target[layer][0].square().sum()
        errors.append((_covariance(gram, mean) - wanted).square().sum() / scale)
    return torch.stack(errors).mean()


def _covariance(gram: Tensor, mean: Tensor) -> Tensor:
    return gram - mean[:, :, None] * mean[:, None, :]
