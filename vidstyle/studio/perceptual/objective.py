"""L(x) = alpha L_content(x) + beta L_style(x) and its gradient, for an image of any size: whole, or tile by tile.

Style statistics belong to the whole image, and are sums over its parts. So is the gradient: the statistics are summed over
all tiles first, the loss is differentiated with respect to them, and each tile then passes its share of that on to its
pixels. The result is that of the whole image (up to rounding, and to what lies further off than a tile's context), in the
memory of one tile, for one more forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vidstyle.studio.perceptual.encoder import Encoder, Features, total_variation
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
class Weights:
    """What the terms of the loss weigh. `content` is alpha; `gram` is beta, Gatys' own statistic. `detail` is content too, of a
    shallower layer."""

    content: float
    detail: float = 0.0
    gram: float = 1.0
    covariance: float = 0.0
    variation: float = 0.0
    held: float = 0.0


@dataclass(frozen=True)
class Held:
    """What should stay as it was: `image` (1, 3, H, W), as much as `trust` (1, 1, H, W) in [0, 1] says.

    Ruder, Dosovitskiy and Brox 2016, "Artistic Style Transfer for Videos", eq. 7: the last painting, warped.
    """

    image: Tensor
    trust: Tensor


class Objective:
    """The loss of images with one content and one style. `tile`: side of tiles in pixels, None for the whole image.

    `content` (1, 3, H, W) in [0, 1]; `mask` (1, 1, H, W): where style is asked for. `fast`: bfloat16 where features are
    computed.
    """

    def __init__(
        self,
        encoder: Encoder,
        content: Tensor,
        style: Moments,
        weights: Weights,
        mask: Tensor | None = None,
        held: Held | None = None,
        tile: int | None = None,
        fast: bool = False,
    ) -> None:
        self._encoder, self._style, self._weights, self._held, self._fast = encoder, style, weights, held, fast
        self._content_weights = {k: w for k, w in ((CONTENT_LAYER, weights.content), (DETAIL_LAYER, weights.detail)) if w}
        self._tiles = tiles_of(content.shape[2], content.shape[3], tile)
        with torch.no_grad():
            seen = [self._see(content, t) for t in self._tiles]
        self._content = [{k: features.pop(k).float() for k in self._content_weights} for features in seen]
        self._content_norms = {k: float(sum(c[k].square().sum() for c in self._content)) or 1.0 for k in self._content_weights}
        self._masks = [{} if mask is None else layer_weights(t.cut(mask), STYLE_LAYERS) for t in self._tiles]
        self._totals = {
            k: float(sum(m[k].sum() if m else f[k].shape[2] * f[k].shape[3] for m, f in zip(self._masks, seen, strict=True)))
            for k in STYLE_LAYERS
        }

    def evaluate(self, x: Tensor) -> dict[str, float]:
        """The terms of the loss at `x` (1, 3, H, W), weights included, and their sum as `loss`.

        `x.grad` becomes the gradient times the number of pixels: of order one whatever the size, while the plain one would
        sink to Adam's epsilon. Raises what torch raises when memory runs out.
        """
        x.grad = None
        scale = x.shape[2] * x.shape[3]
        whole = len(self._tiles) == 1
        with torch.set_grad_enabled(whole):  # of several tiles the features are made again: they would not fit
            looks = [self._look(x, i) for i in range(len(self._tiles))]
            total = sum_moments([moments for moments, _ in looks])
        leaves = {k: (g.detach().requires_grad_(), m.detach().requires_grad_()) for k, (g, m) in total.items()}
        parts = self._style_terms(leaves)
        slopes = torch.autograd.grad(
            scale * sum_tensors(parts.values()), _flat(leaves), allow_unused=True, materialize_grads=True
        )
        for i in range(len(self._tiles)):
            moments, content = looks[i] if whole else self._look(x, i)
            passed_on = sum_tensors((own * slope).sum() for own, slope in zip(_flat(moments), slopes, strict=True))
            (passed_on + scale * content).backward()  # type: ignore[no-untyped-call]
        values = {"content": float(sum(content.detach() for _, content in looks)), **{k: v.item() for k, v in parts.items()}}
        for name, term in self._pixel_terms(x).items():
            (scale * term).backward()  # type: ignore[no-untyped-call]
            values[name] = term.item()
        return {**values, "loss": sum(values.values())}

    def _look(self, x: Tensor, index: int) -> tuple[Moments, Tensor]:
        """A tile's share of the style's moments, and of the content loss, weighted."""
        features = self._see(x, self._tiles[index])
        content = torch.zeros((), device=x.device)
        for layer, weight in self._content_weights.items():
            gap = (features.pop(layer).float() - self._content[index][layer]).square().sum()
            content = content + weight * gap / self._content_norms[layer]
        return weighted_moments(features, self._masks[index], self._totals), content

    def _see(self, x: Tensor, tile: Tile) -> Features:
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
        if self._held is not None and self._weights.held:
            terms["held"] = self._weights.held * (self._held.trust * (x - self._held.image).square()).mean()
        return terms


def _flat(moments: Moments) -> list[Tensor]:
    return [tensor for pair in moments.values() for tensor in pair]
