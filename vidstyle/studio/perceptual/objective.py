"""L(x) = alpha L_content(x) + beta L_style(x) and its gradient, for an image of any size: whole, or tile by tile.

Style statistics belong to the whole image, and are sums over its tiles. So is the gradient: the statistics are summed over
all tiles first, the loss is differentiated with respect to them, and each tile then propagates its part of that gradient back
to its pixels. The result is that of the whole image (up to rounding, and to what lies further away than a tile's context), in
the memory of one tile, at the cost of one more forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vidstyle.studio.perceptual.encoder import Encoder, Features
from vidstyle.studio.perceptual.losses import total_variation
from vidstyle.studio.perceptual.moments import (
    Moments,
    covariance_error,
    gram_error,
    layer_weights,
    sum_moments,
    sum_tensors,
    weighted_moments,
)
from vidstyle.studio.perceptual.tiles import Tile, tiles_of

CONTENT_LAYER, DETAIL_LAYER = "relu4_2", "relu3_2"
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
"""Gatys et al. 2015: content of conv4_2, style of conv1_1 to conv5_1, each after its ReLU."""


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of the loss. `content` is alpha and `gram` is beta, for Gatys' own statistic; `detail` is a second
    content term, of a shallower layer."""

    content: float
    detail: float = 0.0
    gram: float = 1.0
    covariance: float = 0.0
    variation: float = 0.0
    temporal: float = 0.0


@dataclass(frozen=True)
class TemporalTarget:
    """The previous result, warped to the current image: `image` (1, 3, H, W), with a `confidence` (1, 1, H, W) in [0, 1].

    Ruder, Dosovitskiy and Brox 2016, "Artistic Style Transfer for Videos", eq. 7.
    """

    image: Tensor
    confidence: Tensor


@dataclass(frozen=True)
class Targets:
    """What the result is compared with, besides the style.

    `content` (1, 3, H, W) in [0, 1]; `mask` (1, 1, H, W) in [0, 1]: where style is wanted, None for everywhere.
    """

    content: Tensor
    mask: Tensor | None = None
    temporal: TemporalTarget | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> Targets:
        """`function` applied to every image and map."""
        temporal = self.temporal and TemporalTarget(function(self.temporal.image), function(self.temporal.confidence))
        return Targets(function(self.content), None if self.mask is None else function(self.mask), temporal)


class Objective:
    """The loss of images with one content and one style.

    `tile`: side of tiles in pixels, None for the whole image. `fast`: compute features in bfloat16.
    """

    def __init__(
        self,
        encoder: Encoder,
        targets: Targets,
        style: Moments,
        weights: LossWeights,
        tile: int | None = None,
        fast: bool = False,
    ) -> None:
        content, mask = targets.content, targets.mask
        self._encoder, self._style, self._weights, self._temporal, self._fast = encoder, style, weights, targets.temporal, fast
        self._content_weights = {k: w for k, w in ((CONTENT_LAYER, weights.content), (DETAIL_LAYER, weights.detail)) if w}
        self._tiles = tiles_of(content.shape[2], content.shape[3], tile)
        with torch.no_grad():
            by_tile = [self._features(content, t) for t in self._tiles]
        self._content = [{k: features.pop(k).float() for k in self._content_weights} for features in by_tile]
        self._content_norms = {k: float(sum(c[k].square().sum() for c in self._content)) or 1.0 for k in self._content_weights}
        self._masks = [{} if mask is None else layer_weights(t.cut(mask), STYLE_LAYERS) for t in self._tiles]
        self._totals = {
            k: float(sum(m[k].sum() if m else f[k].shape[2] * f[k].shape[3] for m, f in zip(self._masks, by_tile, strict=True)))
            for k in STYLE_LAYERS
        }

    def evaluate(self, x: Tensor) -> dict[str, float]:
        """The terms of the loss at `x` (1, 3, H, W), weights included, and their sum as `loss`.

        `x.grad` becomes the gradient times the number of pixels: of order one at every size, while the plain gradient would
        vanish below Adam's epsilon. Raises what torch raises when memory runs out.
        """
        x.grad = None
        scale = x.shape[2] * x.shape[3]
        whole = len(self._tiles) == 1
        with torch.set_grad_enabled(whole):  # features of several tiles do not fit into memory, and are computed again below
            statistics = [self._statistics(x, i) for i in range(len(self._tiles))]
            total = sum_moments([moments for moments, _ in statistics])
        leaves = {k: (g.detach().requires_grad_(), m.detach().requires_grad_()) for k, (g, m) in total.items()}
        terms = self._style_terms(leaves)
        gradients = torch.autograd.grad(
            scale * sum_tensors(terms.values()), _flat(leaves), allow_unused=True, materialize_grads=True
        )
        for i in range(len(self._tiles)):
            moments, content = statistics[i] if whole else self._statistics(x, i)
            style = sum_tensors((own * gradient).sum() for own, gradient in zip(_flat(moments), gradients, strict=True))
            (style + scale * content).backward()  # type: ignore[no-untyped-call]
        content_value = float(sum(content.detach() for _, content in statistics))
        values = {"content": content_value, **{k: v.item() for k, v in terms.items()}}
        for name, term in self._pixel_terms(x).items():
            (scale * term).backward()  # type: ignore[no-untyped-call]
            values[name] = term.item()
        return {**values, "loss": sum(values.values())}

    def _statistics(self, x: Tensor, index: int) -> tuple[Moments, Tensor]:
        """The contribution of tile `index` to the moments, and to the weighted content loss."""
        features = self._features(x, self._tiles[index])
        content = torch.zeros((), device=x.device)
        for layer, weight in self._content_weights.items():
            error = (features.pop(layer).float() - self._content[index][layer]).square().sum()
            content = content + weight * error / self._content_norms[layer]
        return weighted_moments(features, self._masks[index], self._totals), content

    def _features(self, x: Tensor, tile: Tile) -> Features:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self._fast):
            return tile.features(self._encoder, x, (*STYLE_LAYERS, *self._content_weights))

    def _style_terms(self, moments: Moments) -> dict[str, Tensor]:
        terms = {"style": self._weights.gram * gram_error(moments, self._style)}
        if self._weights.covariance:
            terms["covariance"] = self._weights.covariance * covariance_error(moments, self._style)
        return terms

    def _pixel_terms(self, x: Tensor) -> dict[str, Tensor]:
        terms = {}
        if self._weights.variation:
            terms["variation"] = self._weights.variation * total_variation(x)
        if self._temporal is not None and self._weights.temporal:
            error = self._temporal.confidence * (x - self._temporal.image).square()
            terms["temporal"] = self._weights.temporal * error.mean()
        return terms


def _flat(moments: Moments) -> list[Tensor]:
    return [tensor for pair in moments.values() for tensor in pair]
