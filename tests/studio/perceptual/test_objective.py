"""The objective of the optimization: its gradient, masks, transparency, and optimization from coarse to fine."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.textures import texture
from vidstyle.core.frames import Pixels
from vidstyle.core.options import PaintOptions
from vidstyle.studio.optimize import multiscale as recipe
from vidstyle.studio.optimize.gatys import gatys
from vidstyle.studio.optimize.multiscale import multiscale
from vidstyle.studio.perceptual.encoder import Encoder, find_encoder
from vidstyle.studio.perceptual.moments import Moments, covariance_error, gram_error, style_moments, weighted_moments
from vidstyle.studio.perceptual.objective import STYLE_LAYERS, LossWeights, Objective, Targets, TemporalTarget


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return find_encoder("compact")


def tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


PHOTO = tensor(texture(48, 64, seed=1))
STYLE_IMAGE = tensor(texture(64, 56, seed=2, softness=1))


def moments(encoder: Encoder, image: Tensor = STYLE_IMAGE, opacity: Tensor | None = None, tile: int | None = None) -> Moments:
    return style_moments(encoder, image, opacity, STYLE_LAYERS, tile)


def box(height: int, width: int) -> Tensor:
    """A mask: a rectangle that is not aligned to any grid."""
    mask = torch.zeros(1, 1, height, width)
    mask[..., 10 : height - 13, 21 : width - 22] = 1
    return mask


# Loss and gradient


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_gradient_is_scaled_by_the_number_of_pixels(encoder: Encoder, masked: bool) -> None:
    """Along a few random directions, by finite differences."""
    weights = LossWeights(0.5, detail=0.3, gram=2.0, covariance=1.0, variation=1.0, temporal=1.0)
    previous = TemporalTarget(tensor(texture(48, 64, seed=6)), box(48, 64))
    objective = Objective(encoder, Targets(PHOTO, box(48, 64) if masked else None, previous), moments(encoder), weights)
    x = tensor(texture(48, 64, seed=4, softness=2)).requires_grad_()
    objective.evaluate(x)
    assert x.grad is not None
    gradient = x.grad / (48 * 64)
    for seed in range(3):
        direction = tensor(texture(48, 64, seed=20 + seed)) - 0.5
        ahead, behind = (objective.evaluate((x.detach() + s * direction).requires_grad_())["loss"] for s in (5e-4, -5e-4))
        assert (ahead - behind) / 1e-3 == pytest.approx(float((gradient * direction).sum()), rel=0.05)


def test_loss_is_the_sum_of_its_terms_and_zero_at_the_target(encoder: Encoder) -> None:
    weights = LossWeights(0.5, detail=0.3, gram=2.0, covariance=1.0, variation=0.1, temporal=1.0)
    previous = TemporalTarget(PHOTO, torch.ones(1, 1, 48, 64))
    objective = Objective(encoder, Targets(PHOTO, temporal=previous), moments(encoder, PHOTO), weights)
    there, away = (objective.evaluate(x.clone().requires_grad_()) for x in (PHOTO, 1 - PHOTO))
    assert set(there) == {"content", "style", "covariance", "variation", "temporal", "loss"}
    for terms in (there, away):
        assert terms["loss"] == pytest.approx(sum(v for k, v in terms.items() if k != "loss"))
    assert all(there[k] < 1e-6 for k in ("content", "style", "covariance", "temporal"))
    assert all(away[k] > 1e-3 for k in ("content", "style", "covariance", "temporal"))
    assert away["variation"] == pytest.approx(there["variation"], rel=1e-4), "a negative has the same variation"


def test_covariances_ignore_a_constant_colour() -> None:
    """A constant added to features changes their Gram matrix, but not their covariance."""
    features = torch.rand(1, 5, 30, 40, generator=torch.Generator().manual_seed(0))
    added = features + torch.linspace(0, 2, 5)[:, None, None]
    louder = 2 * (features - features.mean((2, 3), keepdim=True)) + features.mean((2, 3), keepdim=True)
    own, shifted, stronger = (weighted_moments({"relu1_1": f}, {}, {"relu1_1": 1200.0}) for f in (features, added, louder))
    assert covariance_error(shifted, own) < 1e-3 < 0.1 < gram_error(shifted, own)
    assert covariance_error(stronger, own) > 1


def test_weights_multiply_their_terms(encoder: Encoder) -> None:
    style, x = moments(encoder), tensor(texture(48, 64, seed=4))
    light, heavy = (
        Objective(encoder, Targets(PHOTO), style, weights).evaluate(x.clone().requires_grad_())
        for weights in (LossWeights(0.5, 0.0, 1.0, 1.0, 1.0), LossWeights(1.0, 0.0, 3.0, 4.0, 5.0))
    )
    for name, factor in {"content": 2, "style": 3, "covariance": 4, "variation": 5}.items():
        assert heavy[name] == pytest.approx(factor * light[name], rel=1e-4)


def test_lbfgs_yields_every_tenth_step_and_the_last(encoder: Encoder) -> None:
    steps = list(
        gatys(encoder, Targets(PHOTO), moments(encoder), PHOTO, PaintOptions(recipe="gatys", steps=35, optimizer="lbfgs"))
    )
    assert [step.step for step in steps] == [10, 20, 30, 35]
    assert all(step.steps == 35 for step in steps)
    assert [step.losses["loss"] for step in steps] == sorted((step.losses["loss"] for step in steps), reverse=True)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_start_image_is_not_modified(encoder: Encoder, optimizer: Any) -> None:
    start = PHOTO.clone()
    options = PaintOptions(recipe="gatys", steps=2, optimizer=optimizer)
    *_, last = gatys(encoder, Targets(PHOTO), moments(encoder), start, options)
    assert not torch.equal(last.image, PHOTO)
    assert torch.equal(start, PHOTO)


# Masks and transparency


@pytest.mark.parametrize("tile", [32, 48])
@pytest.mark.parametrize("size", [(75, 93), (80, 96), (130, 230)], ids=str)
def test_hard_mask_gives_the_same_result_in_tiles(encoder: Encoder, size: tuple[int, int], tile: int) -> None:
    content, start = tensor(texture(*size, seed=1)), tensor(texture(*size, seed=4, softness=2))
    weights, style, results = LossWeights(0.5, gram=2.0, covariance=1.0), moments(encoder), list[tuple[Any, Any]]()
    for side in (None, tile):
        x = start.clone().requires_grad_()
        results.append((Objective(encoder, Targets(content, box(*size)), style, weights, side).evaluate(x), x.grad))
    (whole, gradient), (tiled, tiled_gradient) = results
    assert tiled == pytest.approx(whole, rel=1e-4)
    assert (tiled_gradient - gradient).norm() < 1e-4 * gradient.norm()


@pytest.mark.parametrize("size", [(75, 93), (80, 96)], ids=str)
def test_transparency_gives_the_same_result_in_tiles(encoder: Encoder, size: tuple[int, int]) -> None:
    style_image = tensor(texture(*size, seed=2, softness=1))
    whole, tiled = (moments(encoder, style_image, box(*size), side) for side in (None, 32))
    for layer in STYLE_LAYERS:
        for one, other in zip(tiled[layer], whole[layer], strict=True):
            assert (one - other).norm() < 1e-4 * other.norm()


def test_pixels_outside_the_mask_do_not_affect_the_style_loss(encoder: Encoder) -> None:
    """Pixels far outside of it affect neither the loss nor the gradient."""
    mask = torch.zeros(1, 1, 96, 192)
    mask[..., :64] = 1
    content = tensor(texture(96, 192, seed=1))
    objective = Objective(encoder, Targets(content, mask), moments(encoder), LossWeights(0.0, covariance=1.0))
    here, elsewhere, everywhere = content.clone(), content.clone(), 1 - content
    elsewhere[..., 128:] = 1 - elsewhere[..., 128:]
    one, other, third = (objective.evaluate(x.requires_grad_()) for x in (here, elsewhere, everywhere))
    assert other == pytest.approx(one, rel=1e-5)
    assert abs(third["loss"] / one["loss"] - 1) > 0.01
    assert here.grad is not None
    assert here.grad[..., 128:].abs().max() == 0
    assert here.grad[..., :64].abs().max() > 0


def test_transparent_half_of_a_style_image_does_not_count(encoder: Encoder) -> None:
    """With one half transparent, the moments are nearly those of the other half: only features at the seam see both."""
    half = tensor(texture(96, 96, seed=2, softness=1))
    both = torch.cat((half, torch.full_like(half, 0.1)), dim=3)
    opacity = torch.zeros(1, 1, 96, 192)
    opacity[..., :96] = 1
    alone, seen, ignored = moments(encoder, half), moments(encoder, both), moments(encoder, both, opacity)
    assert gram_error(ignored, alone) < 0.25 * gram_error(seen, alone)
    altered = both.clone()
    altered[..., 160:] = 1 - altered[..., 160:]
    for layer, pair in moments(encoder, altered, opacity).items():
        torch.testing.assert_close(pair, ignored[layer], rtol=1e-5, atol=1e-7)


def test_temporal_target_is_kept_where_confidence_is_high(encoder: Encoder) -> None:
    trust = torch.zeros(1, 1, 48, 64)
    trust[..., :32] = 1
    previous = TemporalTarget(tensor(texture(48, 64, seed=9)), trust)
    objective = Objective(encoder, Targets(PHOTO, temporal=previous), moments(encoder), LossWeights(0.005, temporal=1e4))
    x = PHOTO.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], 0.02)
    for _ in range(80):
        objective.evaluate(x)
        optimizer.step()
    gap, before = ((p - previous.image).abs().detach() for p in (x, PHOTO))
    assert gap[..., :32].mean() < 0.1 * before[..., :32].mean()
    assert gap[..., 32:].mean() > 0.5 * before[..., 32:].mean()


# From coarse to fine


@pytest.mark.parametrize("size", [(64, 96), (66, 98), (70, 131)], ids=str)
def test_multiscale_starts_small_and_ends_at_full_size(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(recipe, "SMALLEST", 48)
    monkeypatch.setattr(recipe, "STEPS_SMALL", 4)
    content, style, asked = tensor(texture(*size, seed=1)), moments(encoder), list[tuple[int, int]]()

    def style_at(height: int, width: int) -> Moments:
        asked.append((height, width))
        return style

    steps = list(multiscale(encoder, Targets(content), style_at, content, PaintOptions(steps=6)))
    shapes = [tuple(step.image.shape[2:]) for step in steps]
    assert len(set(shapes)) == 2, "half size first"
    assert shapes == sorted(shapes)
    assert shapes[-1] == size
    assert asked == sorted(set(shapes)), "the style is requested at the size of the image"
    assert [step.step for step in steps] == list(range(1, 11))
    assert steps[-1].image.isfinite().all()


def test_multiscale_can_use_the_last_sizes_only(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "SMALLEST", 32)
    monkeypatch.setattr(recipe, "STEPS_SMALL", 3)
    style, content, counts = moments(encoder), tensor(texture(64, 64, seed=1)), []
    for last_sizes in (0, 1):
        steps = multiscale(encoder, Targets(content), lambda h, w: style, content, PaintOptions(steps=2), last_sizes=last_sizes)
        counts.append([step.image.shape[2] for step in steps])
    assert len(set(counts[0])) > 1
    assert counts[1] == [64, 64]


@pytest.mark.parametrize("name", ["gatys", "best"])
def test_more_content_weight_keeps_more_of_the_image(encoder: Encoder, name: str) -> None:
    style, gaps = moments(encoder), []
    for weight in (0.01, 100.0):
        options = PaintOptions(steps=30, content_weight=weight)
        *_, last = (
            gatys(encoder, Targets(PHOTO), style, PHOTO, options)
            if name == "gatys"
            else multiscale(encoder, Targets(PHOTO), lambda h, w: style, PHOTO, options)
        )
        gaps.append(float((last.image - PHOTO).abs().mean()))
    assert gaps[1] < 0.8 * gaps[0]
