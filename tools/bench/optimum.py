"""The best result by the judge's own measures: Gatys et al. 2015 with exactly its losses.

    L(x) = style distance + 0.1 content distance

The pixels of an image are optimized, starting from the net's output: the difference between the net's loss and this one is
what a net could still gain. The optimization runs from coarse to fine: at half size first, where the judge's half and quarter
sizes are cheap, then at full size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor

from tools.bench.judge import BROAD, LAYERS, SCALES, Judge, as_tensor, relative_error, shrunk
from vidstyle.core.frames import Pixels
from vidstyle.networks.device import bfloat16_is_fast
from vidstyle.studio.perceptual.encoder import Features
from vidstyle.studio.perceptual.losses import gram_matrix

CONTENT_WEIGHT = 0.1
STAGES = ((2, 50, 0.04), (1, 25, 0.03))
"""Factor of reduction, steps, learning rate."""
BETAS = (0.9, 0.99)


def total(distances: dict[str, float]) -> float:
    """L of the result of `Judge.distances`."""
    return distances["style"] + CONTENT_WEIGHT * distances["content"]


def optimum(judge: Judge, source: Pixels, stylized: Pixels, style: Sequence[Features]) -> tuple[Pixels, dict[str, float]]:
    """The best result for `source`, (H, W, 3) uint8 RGB, that optimizing from `stylized` finds, and its distances.

    `style` is the result of `Judge.grams`. It is judged in float32 as uint8, like any other image, and is never worse than
    `stylized`.
    """
    content, x = as_tensor(source), as_tensor(stylized)
    candidates = [stylized]
    for scale, steps, rate in STAGES:
        small = shrunk(x, scale)
        better = _optimized(_Loss(judge, shrunk(content, scale), style, scale), small, steps, rate)
        difference = better - small
        x = (x + (F.interpolate(difference, size=x.shape[2:], mode="bicubic") if scale > 1 else difference)).clamp(0, 1)
        candidates.append((x[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())
    judged = [(image, judge.distances(source, image, style)) for image in candidates]
    return min(judged, key=lambda pair: total(pair[1]))


class _Loss:
    """L of images reduced by `scale`, at the judge's sizes that are no larger."""

    def __init__(self, judge: Judge, content: Tensor, style: Sequence[Features], scale: int) -> None:
        self._precision = torch.bfloat16 if bfloat16_is_fast(content.device) else torch.float32
        self._encoder = deepcopy(judge.encoder).to(self._precision, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._scales = [s // scale for s in SCALES if s >= scale]
        self._grams = style[len(SCALES) - len(self._scales) :]
        with torch.no_grad():
            self._content = [features[BROAD].float() for features in self._features(content)]

    def _features(self, x: Tensor) -> list[Features]:
        x = x.to(self._precision, memory_format=torch.channels_last)
        return [self._encoder(shrunk(x, s), LAYERS) for s in self._scales]

    def __call__(self, x: Tensor) -> Tensor:
        terms = []
        for features, grams, content in zip(self._features(x), self._grams, self._content, strict=True):
            style = torch.stack([relative_error(gram_matrix(features[k]), grams[k]) for k in LAYERS]).mean()
            terms.append(style + CONTENT_WEIGHT * relative_error(features[BROAD].float(), content))
        return torch.stack(terms).mean()


def _optimized(loss: _Loss, start: Tensor, steps: int, rate: float) -> Tensor:
    """`start` after `steps` of Adam, whose learning rate falls to zero along a cosine."""
    x = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], rate, BETAS)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.zero_grad()
        # Scaled by the number of pixels, because a plain gradient would vanish below Adam's epsilon.
        (loss(x) * x.shape[2] * x.shape[3]).backward()
        optimizer.step()
        with torch.no_grad():
            x.clamp_(0, 1)
    return x.detach()
