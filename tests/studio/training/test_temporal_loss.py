"""Training for temporal consistency: random motions, and the loss that asks the style to move with the scene."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vidstyle.studio.training import temporal_loss as consistency
from vidstyle.studio.training.temporal_loss import disturb, random_motion, temporal_loss, warp

SIZE, MARGIN = 64, 24


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def soft_images(count: int = 2) -> Tensor:
    torch.manual_seed(1)
    return torch.nn.functional.interpolate(torch.rand(count, 3, 9, 9), size=(SIZE, SIZE), mode="bicubic").clamp(0, 1)


def constant_motion(x: float, y: float, count: int = 2) -> Tensor:
    return torch.tensor([x, y]).expand(count, SIZE, SIZE, 2)


def test_motions_are_bounded_and_half_of_them_small() -> None:
    motion = random_motion(200, SIZE, seeded())
    assert motion.shape == (200, SIZE, SIZE, 2)
    farthest = motion.norm(dim=-1).amax((1, 2))
    corner = SIZE / 2**0.5
    turn = consistency.MAX_ZOOM + (1 + consistency.MAX_ZOOM) * consistency.MAX_ANGLE
    most = 2**0.5 * consistency.MAX_SHIFT + turn * corner + 2 * 2**0.5 * consistency.MAX_BEND
    assert farthest.max() < most
    assert farthest.max() > consistency.MAX_SHIFT
    calm = float((farthest < 0.1 * most).float().mean())
    assert 0.35 < calm < 0.65
    assert farthest.min() > 0


def test_motions_are_smooth() -> None:
    motion = random_motion(50, SIZE, seeded())
    for axis in (1, 2):
        assert motion.diff(dim=axis).abs().max() < 1, "no fold: neighbours keep their order"


def test_same_seed_gives_the_same_motion() -> None:
    assert torch.equal(random_motion(3, SIZE, seeded(5)), random_motion(3, SIZE, seeded(5)))
    assert not torch.equal(random_motion(3, SIZE, seeded(5)), random_motion(3, SIZE, seeded(6)))


def test_no_motion_changes_nothing() -> None:
    image = soft_images()
    torch.testing.assert_close(warp(image, constant_motion(0, 0)), image, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("x", "y"), [(3, 0), (0, 5), (-4, 2)])
def test_constant_motion_is_a_shift(x: int, y: int) -> None:
    image = soft_images()
    shifted = torch.roll(image, (-y, -x), dims=(2, 3))
    inside = (..., slice(8, -8), slice(8, -8))
    torch.testing.assert_close(warp(image, constant_motion(x, y))[inside], shifted[inside], rtol=0, atol=1e-4)


def test_temporal_loss_is_zero_if_the_style_moves_with_the_scene() -> None:
    image, motion = soft_images(), random_motion(2, SIZE, seeded())
    assert float(temporal_loss(image, warp(image, motion), motion, MARGIN)) == 0
    assert float(temporal_loss(1 - image, 1 - warp(image, motion), motion, MARGIN)) == pytest.approx(0, abs=1e-10)


def test_temporal_loss_is_high_for_a_pattern_fixed_to_the_screen() -> None:
    image, motion = soft_images(), constant_motion(4, 0)
    stripes = 0.5 * (torch.arange(SIZE) // 4 % 2)
    loss = temporal_loss(image + stripes, warp(image, motion) + stripes, motion, MARGIN)
    assert float(loss) == pytest.approx(0.25, rel=0.01)


def test_temporal_loss_ignores_the_margin() -> None:
    image, motion = soft_images(), constant_motion(0, 0)
    framed = image.clone()
    framed[..., :MARGIN] = framed[..., -MARGIN:] = framed[..., :MARGIN, :] = framed[..., -MARGIN:, :] = 9
    assert float(temporal_loss(image, framed, motion, MARGIN)) == pytest.approx(0, abs=1e-10)


def test_temporal_loss_has_a_gradient() -> None:
    image, motion = soft_images().requires_grad_(), random_motion(2, SIZE, seeded())
    temporal_loss(image, torch.zeros_like(image), motion, MARGIN).backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def test_disturbed_image_differs_and_stays_in_range() -> None:
    image = torch.cat((soft_images(), torch.zeros(1, 3, SIZE, SIZE), torch.ones(1, 3, SIZE, SIZE)))
    disturbed = disturb(image, seeded())
    assert disturbed.shape == image.shape
    assert disturbed.min() >= 0
    assert disturbed.max() <= 1
    assert (disturbed - image).abs().mean((1, 2, 3)).min() > 1e-3
    assert (disturbed - image).abs().mean() < 0.1
    assert torch.equal(disturbed, disturb(image, seeded()))
