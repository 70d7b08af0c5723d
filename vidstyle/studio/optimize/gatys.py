"""Gatys, Ecker and Bethge 2015, "A Neural Algorithm of Artistic Style": the pixels of an image are optimized until it has
the content of a photograph and the style of a style image.

    L(x) = alpha L_content(x) + beta L_style(x)          beta = 1, style over content is 1 / alpha
    L_content = sum((F - P)^2) / sum(P^2)                F, P: features at conv4_2 of x and of the photograph
    L_style = 1/5 sum_l sum((G_l - A_l)^2) / sum(A_l^2)  G_l, A_l: Gram matrices F F^T at conv1_1 ... conv5_1

Errors are the paper's mean squared errors, with each layer's weight w_l chosen so that its error is relative: alpha then means
the same for every encoder and style image. The paper scales VGG-19's weights instead, to a mean activation of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vidstyle.core.options import PaintOptions
from vidstyle.studio.perceptual.encoder import Encoder
from vidstyle.studio.perceptual.moments import Moments
from vidstyle.studio.perceptual.objective import LossWeights, Objective, Targets

ALPHA = 0.005
LEARNING_RATE = 0.01
MAX_STEPS = 3000
TEMPORAL_WEIGHT = 0.1
"""Weight of the warped previous result, where there is one (Ruder et al. 2016)."""
HISTORY, STRIDE = 20, 10
"""Steps that L-BFGS keeps in its history, and that it takes per call."""


@dataclass(frozen=True)
class Step:
    """The optimization after `step` of at most `steps`: `image` (1, 3, H, W), `losses` by term, with their sum as `loss`."""

    step: int
    steps: int
    losses: dict[str, float]
    image: Tensor


def gatys(
    encoder: Encoder,
    targets: Targets,
    style: Moments,
    start: Tensor,
    options: PaintOptions,
    tile: int | None = None,
) -> Iterator[Step]:
    """Stylize `targets.content` as in the paper, from `start` (1, 3, H, W); yields every step (L-BFGS: every tenth)."""
    weights = LossWeights(ALPHA if options.content_weight is None else options.content_weight, temporal=TEMPORAL_WEIGHT)
    objective = Objective(encoder, targets, style, weights, tile)
    x = start.contiguous().clone().requires_grad_()
    steps = options.steps or MAX_STEPS
    if options.optimizer == "adam":
        yield from _adam(objective, x, steps)
    else:
        yield from _lbfgs(objective, x, steps)


def _adam(objective: Objective, x: Tensor, steps: int) -> Iterator[Step]:
    optimizer = torch.optim.Adam([x], LEARNING_RATE)
    for step in range(1, steps + 1):
        losses = objective.evaluate(x)
        optimizer.step()
        yield Step(step, steps, losses, x.detach())


def _lbfgs(objective: Objective, x: Tensor, steps: int) -> Iterator[Step]:
    """Yields every tenth step only, because every call of the optimizer evaluates the loss once more."""
    optimizer = torch.optim.LBFGS([x], history_size=HISTORY, line_search_fn="strong_wolfe", tolerance_grad=0, tolerance_change=0)
    losses: dict[str, float] = {}

    def closure() -> float:
        losses.update(objective.evaluate(x))
        return losses["loss"]

    for begin in range(0, steps, STRIDE):
        count = min(STRIDE, steps - begin)
        optimizer.param_groups[0].update(max_iter=count, max_eval=3 * count)
        optimizer.step(closure)  # type: ignore[no-untyped-call]
        yield Step(begin + count, steps, dict(losses), x.detach())
