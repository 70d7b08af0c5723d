"""Gram matrices, their gradient, and the perceptual losses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.perceptual import random_convs, save_weights
from vidstyle.studio.perceptual.encoder import load_encoder
from vidstyle.studio.perceptual.losses import content_loss, gram_matrix, style_grams, style_loss, tone_loss, total_variation


def test_gram_matrix_is_the_mean_product_of_channels() -> None:
    torch.manual_seed(2)
    f = torch.randn(2, 3, 4, 5)
    got = gram_matrix(f)
    assert got.shape == (2, 3, 3)
    for n in range(2):
        for a in range(3):
            for b in range(3):
                expected = sum(float(f[n, a, y, x] * f[n, b, y, x]) for y in range(4) for x in range(5)) / 20
                assert float(got[n, a, b]) == pytest.approx(expected, abs=1e-5)


def plain_gram(features: Tensor) -> Tensor:
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["planes", "channels last"])
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.02)], ids=["single", "bfloat16"])
def test_gram_matrix_gradient_equals_that_of_the_plain_expression(
    kind: torch.dtype, tolerance: float, layout: torch.memory_format
) -> None:
    torch.manual_seed(12)
    f, weights = torch.randn(2, 8, 6, 10).to(kind), torch.randn(2, 8, 8)  # the gradient is not symmetric
    plain, ours = f.float().clone().requires_grad_(), f.clone(memory_format=layout).requires_grad_()
    (plain_gram(plain) * weights).sum().backward()
    gram = gram_matrix(ours)
    (gram * weights).sum().backward()
    assert plain.grad is not None
    assert ours.grad is not None
    assert gram.dtype == torch.float32
    assert ours.grad.dtype == kind
    assert (gram - plain_gram(plain)).norm() < tolerance * gram.norm()
    assert (ours.grad.float() - plain.grad).norm() < tolerance * plain.grad.norm()


def test_losses_are_zero_at_the_target_and_positive_elsewhere(tmp_path: Path, image: Tensor) -> None:
    encoder = load_encoder(save_weights(tmp_path, random_convs("conv{}".format)))
    layers, weights = ["relu1_1", "relu3_1"], {"relu1_1": 1.0, "relu3_1": 2.0}
    grams = style_grams(encoder, [image[:1]], layers)
    same, other = encoder(image[:1], layers), encoder(image[1:] * 0.3, layers)
    assert float(style_loss(same, grams, weights)) == pytest.approx(0, abs=1e-8)
    assert float(style_loss(other, grams, weights)) > 1e-3
    assert float(content_loss(same, same, layers)) == 0
    assert float(content_loss(other, same, layers)) > 1e-3


def test_style_loss_does_not_depend_on_positions() -> None:
    torch.manual_seed(3)
    features = {"relu1_1": torch.rand(1, 4, 6, 6)}
    shuffled = {"relu1_1": features["relu1_1"].flatten(2)[..., torch.randperm(36)].reshape(1, 4, 6, 6)}
    grams = {"relu1_1": gram_matrix(features["relu1_1"])}
    assert float(style_loss(shuffled, grams, {"relu1_1": 1.0})) == pytest.approx(0, abs=1e-8)
    assert float(content_loss(shuffled, features, ["relu1_1"])) > 0.01


def test_style_weights_are_relative() -> None:
    torch.manual_seed(4)
    features = {"a": torch.rand(1, 4, 6, 6), "b": torch.rand(1, 4, 6, 6)}
    grams = {k: gram_matrix(torch.rand(1, 4, 6, 6)) for k in features}
    once, tenfold = (float(style_loss(features, grams, {"a": w, "b": 3 * w})) for w in (1.0, 10.0))
    assert once == pytest.approx(tenfold)


def test_several_style_images_are_averaged(tmp_path: Path, image: Tensor) -> None:
    encoder = load_encoder(save_weights(tmp_path, random_convs("conv{}".format)))
    one, two = (style_grams(encoder, [image[i : i + 1]], ["relu1_1"])["relu1_1"] for i in range(2))
    torch.testing.assert_close(style_grams(encoder, [image[:1], image[1:]], ["relu1_1"])["relu1_1"], (one + two) / 2)


def test_total_variation_and_tone() -> None:
    flat, striped = torch.full((1, 3, 16, 16), 0.5), torch.zeros(1, 3, 16, 16)
    striped[..., ::2] = 1
    assert float(total_variation(flat)) == 0
    assert float(total_variation(striped)) == pytest.approx(1)
    assert float(tone_loss(flat, striped, 8)) == pytest.approx(0)  # equal on average
    assert float(tone_loss(flat, flat + 0.1, 8)) == pytest.approx(0.01, abs=1e-5)
