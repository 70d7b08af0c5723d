"""Tiles of an image, with features equal to those of the whole image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from vidstyle.studio.perceptual.encoder import Encoder, Features

STRIDE = 16
"""Stride of the deepest layer: tiles begin at its multiples, so that pooling uses the same squares as in the whole image."""
CONTEXT = 64
"""Pixels around a tile that its features depend on and that belong to its neighbours."""


@dataclass(frozen=True)
class Tile:
    """Rows and columns of a tile: `outer` with its context, in the image; `inner` without, within `outer`."""

    outer: tuple[slice, slice]
    inner: tuple[slice, slice]

    def features(self, encoder: Encoder, image: Tensor, layers: Iterable[str]) -> Features:
        """Features of `image` (1, 3, H, W) at the tile, without its context."""
        crop = image[:, :, self.outer[0], self.outer[1]].contiguous(memory_format=torch.channels_last)
        features = {}
        for layer, f in encoder(crop, layers).items():
            s = stride(layer)
            rows, columns = (slice(i.start // s, i.stop // s) for i in self.inner)
            features[layer] = f[:, :, rows, columns]
        return features

    def cut(self, image: Tensor) -> Tensor:
        """The tile, without its context, of `image` (1, C, H, W)."""
        rows, columns = (slice(o.start + i.start, o.start + i.stop) for o, i in zip(self.outer, self.inner, strict=True))
        return image[:, :, rows, columns]


def stride(layer: str) -> int:
    """Pixels between neighbouring features of `layer`: 1 for relu1_1, 16 for relu5_1."""
    return 1 << (int(layer[4]) - 1)


def tiles_of(height: int, width: int, size: int | None) -> list[Tile]:
    """Tiles of about `size` pixels per side, without their context, that cover an image; a single one if `size` is None."""
    return [Tile((y[0], x[0]), (y[1], x[1])) for y in _spans(height, size) for x in _spans(width, size)]


def _spans(length: int, size: int | None) -> list[tuple[slice, slice]]:
    """(outer, inner) of the tiles along one axis."""
    step = length if size is None else max(STRIDE, min(size, length) // STRIDE * STRIDE)
    starts = list(range(0, max(1, length - STRIDE + 1), step))  # no tile is too thin for the deepest layer
    spans = []
    for start, stop in zip(starts, [*starts[1:], length], strict=True):
        first, last = max(0, start - CONTEXT), min(length, stop + CONTEXT)
        spans.append((slice(first, last), slice(start - first, stop - first)))
    return spans
