"""Gatys' algorithm against an independent implementation, and our extensions: tiles, masks, sizes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vidstyle.core.options import PaintOptions
from vidstyle.studio.optimize.gatys import ALPHA, gatys
from vidstyle.studio.optimize.multiscale import multiscale, sizes
from vidstyle.studio.perceptual.encoder import Encoder, find_encoder
from vidstyle.studio.perceptual.moments import Moments, mix_moments, style_moments
from vidstyle.studio.perceptual.objective import STYLE_LAYERS, LossWeights, Objective, Targets


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return find_encoder("compact")


def image(height: int, width: int, seed: int) -> Tensor:
    """Smooth blobs and some grain, (1, 3, H, W) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    blobs = F.interpolate(torch.rand(1, 3, 6, 6, generator=generator), size=(height, width), mode="bicubic")
    return (blobs + 0.1 * torch.randn(1, 3, height, width, generator=generator)).clamp(0, 1)


def moments(encoder: Encoder, seed: int = 1) -> Moments:
    return style_moments(encoder, image(96, 80, seed), None, STYLE_LAYERS)


def plain_losses(encoder: Encoder, content: Tensor, style_image: Tensor, steps: int) -> list[float]:
    """A plain implementation of Gatys et al. 2015: relative errors, Adam from the content."""

    def gram(f: Tensor) -> Tensor:
        return torch.einsum("nchw,ndhw->cd", f, f) / (f.shape[2] * f.shape[3])

    style = [f"relu{n}_1" for n in range(1, 6)]
    with torch.no_grad():
        wanted = {k: gram(f) for k, f in encoder(style_image, style).items()}
        features = encoder(content, ["relu4_2"])["relu4_2"]
    x = content.clone().requires_grad_()
    optimizer, losses = torch.optim.Adam([x], lr=0.01), []
    for _ in range(steps):
        found = encoder(x, [*style, "relu4_2"])
        loss = ALPHA * ((found["relu4_2"] - features) ** 2).sum() / (features**2).sum()
        for k in style:
            loss = loss + ((gram(found[k]) - wanted[k]) ** 2).sum() / (wanted[k] ** 2).sum() / 5
        optimizer.zero_grad()
        (loss * x.shape[2] * x.shape[3]).backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_losses_equal_those_of_a_plain_implementation(encoder: Encoder) -> None:
    content, style_image = image(64, 80, 0), image(96, 80, 1)
    style = style_moments(encoder, style_image, None, STYLE_LAYERS)
    ours = [step.losses["loss"] for step in gatys(encoder, Targets(content), style, content, PaintOptions(steps=20))]
    assert ours == pytest.approx(plain_losses(encoder, content, style_image, 20), rel=1e-4)
    assert ours[-1] < 0.5 * ours[0]


def test_mean_loss_falls_every_fifty_steps(encoder: Encoder) -> None:
    content = image(32, 32, 0)
    losses = [s.losses["loss"] for s in gatys(encoder, Targets(content), moments(encoder), content, PaintOptions(steps=200))]
    windows = [np.mean(losses[i : i + 50]) for i in range(0, 200, 50)]
    assert all(after < before for before, after in pairwise(windows))


def test_lbfgs_lowers_the_loss(encoder: Encoder) -> None:
    content = image(48, 48, 0)
    options = PaintOptions(steps=35, optimizer="lbfgs")
    steps = list(gatys(encoder, Targets(content), moments(encoder), content, options))
    start = Objective(encoder, Targets(content), moments(encoder), LossWeights(ALPHA)).evaluate(content.clone().requires_grad_())
    assert [s.step for s in steps] == [10, 20, 30, 35]
    assert steps[-1].losses["loss"] < 0.2 * start["loss"]


@pytest.mark.parametrize("size", [(96, 96), (75, 133), (33, 50)])
@pytest.mark.parametrize("with_mask", [False, True])
def test_tiles_give_the_loss_and_gradient_of_the_whole_image(encoder: Encoder, size: tuple[int, int], with_mask: bool) -> None:
    content, weights = image(*size, 0), LossWeights(0.5, 0.5, 1.0, 1.0, 0.1)
    mask = image(*size, 5)[:, :1] if with_mask else None
    found = []
    for tile in (None, 32):
        x = image(*size, 3).requires_grad_()
        loss = Objective(encoder, Targets(content, mask), moments(encoder), weights, tile).evaluate(x)
        assert x.grad is not None
        found.append((loss, x.grad))
    (whole, gradient), (tiled, tiled_gradient) = found
    assert tiled == pytest.approx(whole, rel=1e-3)
    assert (tiled_gradient - gradient).norm() < 2e-3 * gradient.norm()


def test_style_gradient_is_confined_to_the_mask(encoder: Encoder) -> None:
    content, mask = image(96, 96, 0), torch.zeros(1, 1, 96, 96)
    mask[..., :16] = 1
    objective = Objective(encoder, Targets(content, mask), moments(encoder), LossWeights(content=0.0))
    x = content.clone().requires_grad_()
    objective.evaluate(x)
    assert x.grad is not None
    # The receptive field of the deepest layer is large, but its influence fades with distance.
    assert x.grad[..., 80:].abs().mean() < 0.05 * x.grad[..., :16].abs().mean()


def test_transparent_pixels_of_a_style_image_do_not_count(encoder: Encoder) -> None:
    style_image, spoilt = image(96, 128, 1), image(96, 128, 1)
    spoilt[..., 96:] = 0
    opacity = torch.ones(1, 1, 96, 128)
    opacity[..., 80:] = 0  # features at the edge of the opaque part depend slightly on what lies beyond
    seen = style_moments(encoder, spoilt, opacity, STYLE_LAYERS)
    alone = style_moments(encoder, style_image[..., :80], None, STYLE_LAYERS)
    blind = style_moments(encoder, spoilt, None, STYLE_LAYERS)
    for layer in STYLE_LAYERS[:3]:
        gap = (seen[layer][0] - alone[layer][0]).norm()
        assert gap < 0.2 * (blind[layer][0] - alone[layer][0]).norm()


def test_style_moments_are_the_same_in_tiles(encoder: Encoder) -> None:
    whole = style_moments(encoder, image(90, 150, 1), None, STYLE_LAYERS)
    tiled = style_moments(encoder, image(90, 150, 1), None, STYLE_LAYERS, tile=48)
    for layer in STYLE_LAYERS:
        for a, b in zip(whole[layer], tiled[layer], strict=True):
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-4 * float(a.abs().max()))


def test_mixed_moments_are_weighted_means(encoder: Encoder) -> None:
    a, b = moments(encoder, 1), moments(encoder, 2)
    mixture = mix_moments([(a, 0.25), (b, 0.75)])
    for layer in STYLE_LAYERS:
        assert torch.allclose(mixture[layer][0], 0.25 * a[layer][0] + 0.75 * b[layer][0])


@pytest.mark.parametrize("size", [(33, 50), (90, 161), (32, 300)])
def test_multiscale_result_has_the_size_of_the_content_and_a_lower_loss(encoder: Encoder, size: tuple[int, int]) -> None:
    content, style = image(*size, 0), moments(encoder)
    *_, step = multiscale(encoder, Targets(content), lambda h, w: style, content, PaintOptions(steps=40))
    objective = Objective(encoder, Targets(content), style, LossWeights(ALPHA))
    assert step.image.shape == content.shape
    assert step.image.min() >= 0
    assert step.image.max() <= 1
    before, after = (objective.evaluate(p.clone().requires_grad_())["loss"] for p in (content, step.image))
    assert after < before


def test_optimization_ends_when_the_loss_has_settled(encoder: Encoder) -> None:
    content = image(32, 32, 0)
    style = style_moments(encoder, content, None, STYLE_LAYERS)  # nothing to do: the image has the style already
    *_, step = multiscale(encoder, Targets(content), lambda h, w: style, content, PaintOptions(steps=2000))
    assert step.step == step.steps < 500


def test_sizes_grow_to_the_full_size() -> None:
    grown = sizes(720, 1280)
    assert grown[-1] == (720, 1280)
    assert 128 <= max(grown[0]) < 256
    assert all(big[0] == pytest.approx(2 * small[0], abs=2) for small, big in pairwise(grown))
    assert sizes(40, 30) == [(40, 30)]
    assert min(min(s) for s in sizes(100, 4000)) >= 32  # the minimum for an encoder
