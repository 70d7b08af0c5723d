"""The preview of a training: the style images, and photographs stylized by the net."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vidstyle.core.errors import TrainingError
from vidstyle.core.frames import Pixels
from vidstyle.networks.transformer_net import MARGIN
from vidstyle.studio.style_images import StyleImage
from vidstyle.studio.training.photos import fit_short_side, read_image

SIZE = 320
"""Side of the photographs in pixels, a multiple of the net's stride."""


def preview_photos(paths: Sequence[Path]) -> list[Pixels]:
    """The centre of each photograph, uint8 (SIZE, SIZE, 3); unreadable ones are skipped."""
    crops = []
    for path in paths:
        try:
            photo = fit_short_side(read_image(path), SIZE)
        except TrainingError:
            continue
        y, x = ((s - SIZE) // 2 for s in photo.shape[:2])
        crops.append(np.ascontiguousarray(photo[y : y + SIZE, x : x + SIZE]))
    return crops


def stylize_image(net: nn.Module, image: Pixels) -> Pixels:
    """`image` (H, W, 3), H and W multiples of the net's stride, stylized as at run time: in float32, with tracked statistics.

    `net` must be in evaluation mode.
    """
    device = next(net.parameters()).device
    x = torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        y = net(F.pad(x, (MARGIN,) * 4, mode="reflect"))[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
    return np.asarray((y[0].clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).cpu().numpy())


def preview_strip(style_images: Sequence[StyleImage], photos: Sequence[Pixels], stylized: Sequence[Pixels]) -> Pixels:
    """The style images, each in a square, on the left; beside them the photographs above, stylized below."""
    columns = [_framed(s.pixels, 2 * SIZE) for s in style_images]
    columns += [np.concatenate(pair) for pair in zip(photos, stylized, strict=True)]
    return np.concatenate(columns, axis=1)


def _framed(image: Pixels, side: int) -> Pixels:
    h, w = image.shape[:2]
    scale = side / max(h, w)
    size = max(1, round(w * scale)), max(1, round(h * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return np.asarray(cv2.copyMakeBorder(small, 0, side - size[1], 0, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255)), np.uint8)
