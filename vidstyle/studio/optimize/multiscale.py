"""The recipe `best`: Gatys' algorithm, its optimisation and its statistics brought up to date.

From small to large: broad shapes are settled where they are cheap, and every larger size adds finer strokes (Gatys et al.
2017, "Controlling Perceptual Factors in Neural Style Transfer", section 6). Adam's moments go along from size to size, and
the image is the moving average of its states (both as in Katherine Crowson's style-transfer-pytorch). Style is Gatys'
Gram matrices and, beside them, covariances, which see strokes where Gram matrices mostly see colours.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vidstyle.core.options import PaintOptions
from vidstyle.networks.device import bfloat16_is_fast
from vidstyle.studio.optimize.gatys import Step
from vidstyle.studio.perceptual.encoder import Encoder
from vidstyle.studio.perceptual.moments import Moments
from vidstyle.studio.perceptual.objective import Held, Objective, Weights

CONTENT_WEIGHT, DETAIL_SHARE = 1.0, 0.25
GRAM_WEIGHT, COVARIANCE_WEIGHT, VARIATION_WEIGHT, HELD_WEIGHT = 60.0, 1.0, 2.0, 40.0
LEARNING_RATE = 0.03
BETAS = (0.9, 0.99)
SMALLEST = 128
"""Long side at which painting begins, or somewhat more."""
NARROWEST = 32
"""Short side that an encoder needs."""
STEPS_SMALL, STEPS_FULL = 250, 1000
"""At most so many at each smaller size, and at the image's own."""
ANNEALING = 50
"""Last steps at a size, over which the learning rate goes to zero..."""
WINDOW, SETTLED = 25, 0.008
"""...and they begin early if the loss has fallen by less than this share from one window of steps to the next."""
AVERAGE = 0.95


def sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes to paint at, each twice the one before, the last the image's own."""
    doublings = max(0, min(int(math.log2(max(height, width) / SMALLEST)), int(math.log2(min(height, width) / NARROWEST))))
    return [(max(1, round(height / 2**n)), max(1, round(width / 2**n))) for n in range(doublings, -1, -1)]


def multiscale(
    encoder: Encoder,
    content: Tensor,
    style_at: Callable[[int, int], Moments],
    start: Tensor,
    options: PaintOptions,
    mask: Tensor | None = None,
    held: Held | None = None,
    tile: int | None = None,
    last_sizes: int | None = None,
) -> Iterator[Step]:
    """Paint `content` (1, 3, H, W) in [0, 1] from `start`; yields every step, its image as large as painting is then.

    `style_at` gives the style for images of a size. `last_sizes`: at so many of the `sizes` only, the largest ones.
    """
    alpha = CONTENT_WEIGHT if options.content_weight is None else options.content_weight
    weights = Weights(alpha, alpha * DETAIL_SHARE, GRAM_WEIGHT, COVARIANCE_WEIGHT, VARIATION_WEIGHT, HELD_WEIGHT)
    stages = sizes(*content.shape[2:])[-last_sizes if last_sizes else None :]
    limits = [STEPS_SMALL] * (len(stages) - 1) + [options.steps or STEPS_FULL]
    fast = bfloat16_is_fast(content.device)
    done, x, adam = 0, start, _Moments()
    for number, (size, limit) in enumerate(zip(stages, limits, strict=True)):
        objective = Objective(
            encoder,
            resize(content, size),
            style_at(*size),
            weights,
            None if mask is None else resize(mask, size),
            None if held is None else Held(resize(held.image, size), resize(held.trust, size)),
            tile,
            fast,
        )
        x = resize(x, size).clone().requires_grad_()
        optimizer = torch.optim.Adam([x], LEARNING_RATE, BETAS)
        adam.go_into(optimizer, x)
        average = x.detach().clone()
        for step, rate, end in _schedule(limit, losses := deque[float](maxlen=2 * WINDOW)):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * rate
            found = objective.evaluate(x)
            optimizer.step()
            with torch.no_grad():
                x.clamp_(0, 1)
                average.lerp_(x, 1 - min(AVERAGE, step / (step + 10)))
            losses.append(found["loss"])
            done += 1
            yield Step(done, done + end - 1 - step + sum(limits[number + 1 :]), found, average)
        x = average
        adam.come_from(optimizer)


def _schedule(limit: int, losses: deque[float]) -> Iterator[tuple[int, float, int]]:
    """Step numbers, learning rates and the number of steps as far as it is known.

    The rate is 1 until the loss has settled or steps run out, then goes down to 0.
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


class _Moments:
    """Adam's moments on their way from one size to the next."""

    def __init__(self) -> None:
        self._state: dict[str, Tensor] = {}

    def come_from(self, optimizer: torch.optim.Optimizer) -> None:
        (self._state,) = (dict(s) for s in optimizer.state.values())

    def go_into(self, optimizer: torch.optim.Optimizer, x: Tensor) -> None:
        if self._state:
            moments = {k: resize(self._state[k], x.shape[2:]) for k in ("exp_avg", "exp_avg_sq")}
            optimizer.state[x] = {"step": self._state["step"], **moments}


def resize(image: Tensor, size: Sequence[int]) -> Tensor:
    """`image` (1, C, H, W) at another size: antialiased where smaller, bicubic where larger, within its own range."""
    if tuple(image.shape[2:]) == tuple(size):
        return image
    if size[0] < image.shape[2]:
        return F.interpolate(image, size=tuple(size), mode="bilinear", antialias=True)
    return F.interpolate(image, size=tuple(size), mode="bicubic").clamp(image.amin(), image.amax())
