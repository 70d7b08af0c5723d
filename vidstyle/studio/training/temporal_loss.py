"""Compound regularization (Wang et al. 2020, "Consistent Video Style Transfer via Compound Regularization"), from stills.

A net is temporally consistent if stylizing commutes with small motions and is robust to noise: S(W(x) + n) = W(S(x)) for a
random smooth warp W and a random disturbance n. Training for that needs no video.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_SHIFT = 10.0
MAX_ANGLE = math.radians(4)
MAX_ZOOM = 0.05
MAX_BEND = 3.0
MAX_GAIN = 0.05
MAX_NOISE = 0.03


def random_motion(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Displacements (N, S, S, 2) in pixels, x before y, on the device of `generator`.

    Each is a global shift, rotation and zoom plus a smooth local bend. Half of the motions are a tenth as large, like those
    between two frames of a calm video.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=generator.device) * 2 - 1

    calm = torch.where(torch.rand(count, 1, 1, 1, generator=generator, device=generator.device) < 0.5, 0.1, 1.0)
    angle, zoom = uniform(count, 1, 1) * MAX_ANGLE, 1 + uniform(count, 1, 1) * MAX_ZOOM
    axis = torch.arange(size, device=generator.device) - (size - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    rotated = torch.stack(
        (zoom * (angle.cos() * x - angle.sin() * y) - x, zoom * (angle.sin() * x + angle.cos() * y) - y), dim=-1
    )
    shift = uniform(count, 1, 1, 2) * MAX_SHIFT
    bend = F.interpolate(uniform(count, 2, 5, 5) * MAX_BEND, size=(size, size), mode="bicubic", align_corners=True)
    return calm * (rotated + shift + bend.permute(0, 2, 3, 1))


def warp(image: Tensor, motion: Tensor) -> Tensor:
    """W(image): every pixel p takes the colour at p + motion(p), bilinear. Shapes (N, C, S, S) and (N, S, S, 2)."""
    size = image.shape[-1]
    axis = torch.arange(size, device=motion.device, dtype=motion.dtype)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grid = (torch.stack((x, y), dim=-1) + motion) * (2 / (size - 1)) - 1
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=True)


def disturb(image: Tensor, generator: torch.Generator) -> Tensor:
    """`image` (N, C, S, S) with a different exposure, fine noise as of a sensor and coarse noise as of a codec."""
    n, c, h, w = image.shape

    def uniform() -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=generator, device=generator.device)

    def noise(*shape: int) -> Tensor:
        strength = uniform() * MAX_NOISE
        return (torch.randn(*shape, generator=generator, device=generator.device) * strength).to(image.device)

    gain = 1 + (uniform() * 2 - 1) * MAX_GAIN
    coarse = F.interpolate(noise(n, c, h // 4, w // 4), size=(h, w), mode="bilinear", align_corners=False)
    return (image * gain.to(image.device) + noise(n, c, h, w) + 0.5 * coarse).clamp(0, 1)


def temporal_loss(stylized: Tensor, moved_stylized: Tensor, motion: Tensor, margin: int) -> Tensor:
    """Mean of (W(S(x)) - S(W(x) + n))^2 inside `margin`: the warping error of Lai et al. 2018, as a loss."""
    inside = (..., slice(margin, -margin), slice(margin, -margin))
    return (warp(stylized, motion)[inside] - moved_stylized[inside]).square().mean()
