"""The recipe `best`: Gatys' algorithm with a modern optimization and richer style statistics.

The image is optimized from coarse to fine: broad shapes are settled at small sizes, where steps are cheap, and every larger
size adds finer strokes (Gatys et al. 2017, "Controlling Perceptual Factors in Neural Style Transfer", section 6). Adam's
moments carry over from size to size, and the image is the moving average of the iterates (both as in Katherine Crowson's
style-transfer-pytorch). The style statistics are Gatys' Gram matrices and, in addition, covariances, which respond to strokes
where Gram matrices mostly respond to colours.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from vidstyle.core.options import PaintOptions
from vidstyle.networks.device import bfloat16_is_fast
from vidstyle.studio.optimize.gatys import Step
from vidstyle.studio.perceptual.encoder import Encoder
from vidstyle.studio.perceptual.moments import Moments
from vidstyle.studio.perceptual.objective import LossWeights, Objective, Targets

CONTENT_WEIGHT, DETAIL_FRACTION = 1.0, 0.25
"""The detail term weighs this fraction of the content term."""
GRAM_WEIGHT, COVARIANCE_WEIGHT, VARIATION_WEIGHT, TEMPORAL_WEIGHT = 60.0, 1.0, 2.0, 40.0
LEARNING_RATE = 0.03
BETAS = (0.9, 0.99)
SMALLEST = 128
"""Smallest long side, in pixels, at which the optimization begins."""
MIN_SIDE = 32
"""Smallest short side, in pixels, that an encoder can process."""
STEPS_SMALL, STEPS_FULL = 250, 1000
"""Maximum numbers of steps at each smaller size, and at the full size."""
ANNEALING = 50
"""Number of the last steps at a size, over which the learning rate falls to zero."""
WINDOW, SETTLED = 25, 0.008
"""Annealing begins early if the mean loss falls by less than this fraction from one window of steps to the next."""
AVERAGE = 0.95
"""Decay of the moving average of the iterates."""


def sizes(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes (H, W) to optimize at, each twice the one before; the last is the full size."""
    doublings = max(0, min(int(math.log2(max(height, width) / SMALLEST)), int(math.log2(min(height, width) / MIN_SIDE))))
    return [(max(1, round(height / 2**n)), max(1, round(width / 2**n))) for n in range(doublings, -1, -1)]


def multiscale(
    encoder: Encoder,
    targets: Targets,
    style_at: Callable[[int, int], Moments],
    start: Tensor,
    options: PaintOptions,
    tile: int | None = None,
    last_sizes: int = 0,
) -> Iterator[Step]:
    """Stylize `targets.content` from `start` (1, 3, H, W); yields every step, with its image at the size of that step.

    `style_at(height, width)` returns the style's moments for images of that size. `last_sizes`: optimize only at this
    many of the `sizes`, the largest ones; 0 for all.
    """
    alpha = CONTENT_WEIGHT if options.content_weight is None else options.content_weight
    weights = LossWeights(alpha, alpha * DETAIL_FRACTION, GRAM_WEIGHT, COVARIANCE_WEIGHT, VARIATION_WEIGHT, TEMPORAL_WEIGHT)
    stages = sizes(*targets.content.shape[2:])[-last_sizes:]
    limits = [STEPS_SMALL] * (len(stages) - 1) + [options.steps or STEPS_FULL]
    fast = bfloat16_is_fast(targets.content.device)
    done, x, adam = 0, start, _AdamState()
    for number, (size, limit) in enumerate(zip(stages, limits, strict=True)):
        scaled = targets.map(partial(resize, size=size))
        objective = Objective(encoder, scaled, style_at(*size), weights, tile, fast)
        x = resize(x, size).clone().requires_grad_()
        optimizer = torch.optim.Adam([x], LEARNING_RATE, BETAS)
        adam.load_into(optimizer, x)
        average = x.detach().clone()
        for step, rate, end in _schedule(limit, losses := deque[float](maxlen=2 * WINDOW)):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * rate
            terms = objective.evaluate(x)
            optimizer.step()
            with torch.no_grad():
                x.clamp_(0, 1)
                average.lerp_(x, 1 - min(AVERAGE, step / (step + 10)))
            losses.append(terms["loss"])
            done += 1
            yield Step(done, done + end - 1 - step + sum(limits[number + 1 :]), terms, average)
        x = average
        adam.save_from(optimizer)


def _schedule(limit: int, losses: deque[float]) -> Iterator[tuple[int, float, int]]:
    """Yields step numbers, factors of the learning rate, and the number of steps as currently expected.

    The factor is 1 until the loss has settled or only `ANNEALING` steps are left; then it falls to 0.
    """
    annealing = min(ANNEALING, limit)
    begin, step = limit - annealing, 0
    while step < begin + annealing:
        if step < begin and _settled(losses):
            begin = step
        yield step, min(1.0, (begin + annealing - step) / (annealing + 1)), begin + annealing
        step += 1


def _settled(losses: deque[float]) -> bool:
    if len(losses) < 2 * WINDOW:
        return False
    before, now = sum(list(losses)[:WINDOW]), sum(list(losses)[WINDOW:])
    return now > (1 - SETTLED) * before


class _AdamState:
    """Adam's moments, carried over from one size to the next."""

    def __init__(self) -> None:
        self._state: dict[str, Tensor] = {}

    def save_from(self, optimizer: torch.optim.Optimizer) -> None:
        (self._state,) = (dict(s) for s in optimizer.state.values())

    def load_into(self, optimizer: torch.optim.Optimizer, x: Tensor) -> None:
        if self._state:
            moments = {k: resize(self._state[k], x.shape[2:]) for k in ("exp_avg", "exp_avg_sq")}
            optimizer.state[x] = {"step": self._state["step"], **moments}


def resize(image: Tensor, size: Sequence[int]) -> Tensor:
    """`image` (1, C, H, W) at another size: antialiased when shrinking, bicubic within its own range when enlarging."""
    if tuple(image.shape[2:]) == tuple(size):
        return image
    if size[0] < image.shape[2]:
        return F.interpolate(image, size=tuple(size), mode="bilinear", antialias=True)
    return F.interpolate(image, size=tuple(size), mode="bicubic").clamp(image.amin(), image.amax())
