"""Images stylized in one style, within the memory there is: pixels in, pixels out."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from vidstyle.core.compositing import masked, with_colors_of
from vidstyle.core.errors import InputError, MemoryLimitError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import PaintOptions
from vidstyle.networks.device import find_device
from vidstyle.studio.optimize.gatys import ALPHA, Step, gatys
from vidstyle.studio.optimize.multiscale import NARROWEST, multiscale, resize
from vidstyle.studio.perceptual.encoder import find_encoder
from vidstyle.studio.perceptual.moments import Moments, mix_moments, painting_moments
from vidstyle.studio.perceptual.objective import STYLE_LAYERS, Held, Objective, Weights
from vidstyle.studio.perceptual.tiles import CONTEXT
from vidstyle.studio.style_images import Painting

log = logging.getLogger(__name__)

MOST_ENLARGED = 1.25
"""Paintings are not enlarged beyond this: there are no finer strokes in them to be seen."""
SMALLEST_TILE = 128
UNTONED = 0.0, 1.0
KEPT = 3.2
"""Times that a feature is held in memory while gradients are computed, with its padded copies."""


@dataclass(frozen=True)
class Neighbour:
    """What an image's painting should agree with: another one's, moved to where its scene is now.

    `pixels` uint8 (H, W, 3); `trust` float32 (H, W) in [0, 1].
    """

    pixels: Pixels
    trust: np.ndarray


class Painter:
    """Stylizes images in the style of `paintings`, whose weights sum to 1."""

    def __init__(self, paintings: Sequence[Painting], options: PaintOptions) -> None:
        self._paintings, self._options = paintings, options
        self._device = find_device(options.device)
        self._encoder = find_encoder(options.encoder).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._styles: dict[tuple[int, int, float, float], Moments] = {}
        self._largest_tile: int | None = None

    def paint(self, image: Pixels, mask: np.ndarray | None = None, neighbour: Neighbour | None = None) -> Iterator[Step]:
        """Paint `image` (H, W, 3), from `neighbour` where there is one; yields every step, see `finished`.

        `mask` float32 (H, W) in [0, 1]: where style is wanted. When memory runs out it begins again in smaller tiles. Raises
        `MemoryLimitError` when even the smallest do not fit, `InputError` for an image too small to see anything in.
        """
        h, w = image.shape[:2]
        if min(h, w) < NARROWEST:
            raise InputError(f"expected an image of at least {NARROWEST} pixels a side to paint, got {w}x{h}")
        tile = self._tile(h, w)
        while True:
            try:
                yield from self._paint(image, mask, neighbour, tile)
                return
            except (RuntimeError, MemoryError) as error:
                if not _is_memory(error):
                    raise
                side = min(tile or 1 << 30, max(image.shape[:2])) // 2
            if side < SMALLEST_TILE:
                raise MemoryLimitError(
                    f"not enough memory to paint an image even in tiles of {2 * side} pixels; close other programs"
                )
            log.warning("memory ran out: painting again in tiles of %d pixels", side)
            tile = self._largest_tile = side

    def finished(self, image: Pixels, step: Step, mask: np.ndarray | None = None) -> Pixels:
        """The painting of `image` as it stands at `step`, uint8 (H, W, 3)."""
        stylized = to_pixels(resize(step.image, image.shape[:2]))
        if self._options.preserve_color:
            stylized = with_colors_of(image, stylized)
        return stylized if mask is None else masked(image, stylized, mask)

    def gatys_loss(self, image: Pixels, stylized: Pixels) -> float:
        """The loss of Gatys et al. 2015, as the recipe `gatys` has it, of a painting of `image`; both (H, W, 3)."""
        h, w = image.shape[:2]
        objective = Objective(self._encoder, self._tensor(image), self._style(h, w, UNTONED, None), Weights(ALPHA))
        return objective.evaluate(self._tensor(stylized).requires_grad_())["loss"]

    def _paint(self, image: Pixels, mask: np.ndarray | None, neighbour: Neighbour | None, tile: int | None) -> Iterator[Step]:
        options = self._options
        content = self._tensor(grey_image(image) if options.preserve_color else image)
        tones = _tones(image) if options.preserve_color else UNTONED
        start, held = content, None
        if neighbour is not None:
            pixels = grey_image(neighbour.pixels) if options.preserve_color else neighbour.pixels
            held = Held(self._tensor(pixels), self._plane(neighbour.trust))
            start = content + held.trust * (held.image - content)
        elif options.start == "noise":
            start = torch.rand(content.shape, generator=torch.Generator().manual_seed(0)).to(self._device)
        weights = None if mask is None else self._plane(mask)
        if options.recipe == "gatys":
            style = self._style(content.shape[2], content.shape[3], tones, tile)
            yield from gatys(self._encoder, content, style, start, options, weights, held, tile)
        else:
            last = None if neighbour is None else 2
            yield from multiscale(
                self._encoder, content, lambda h, w: self._style(h, w, tones, tile), start, options, weights, held, tile, last
            )

    def _style(self, height: int, width: int, tones: tuple[float, float], tile: int | None) -> Moments:
        """The paintings' moments for an image of this size; `tones`: mean and deviation of its light, for grey ones."""
        key = height, width, *tones
        if key not in self._styles:
            if len(self._styles) > 8:
                self._styles.clear()
            pixels = height * width * self._options.stroke_scale**2
            mixed = [(self._moments_of(p, pixels, tones, tile), p.weight) for p in self._paintings]
            self._styles[key] = mix_moments(mixed)
        return self._styles[key]

    def _moments_of(self, painting: Painting, pixels: float, tones: tuple[float, float], tile: int | None) -> Moments:
        h, w = painting.pixels.shape[:2]
        scale = max(NARROWEST / min(h, w), min(math.sqrt(pixels / (h * w)), MOST_ENLARGED))
        size = max(NARROWEST, round(w * scale)), max(NARROWEST, round(h * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        resized = np.asarray(cv2.resize(painting.pixels, size, interpolation=how), np.uint8)
        if self._options.preserve_color:
            resized = _in_tones(resized, tones)
        opacity = None
        if painting.opacity is not None:
            opacity = self._plane(cv2.resize(painting.opacity, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255)
        return painting_moments(self._encoder, self._tensor(resized), opacity, STYLE_LAYERS, tile)

    def _tile(self, height: int, width: int) -> int | None:
        """Side of the tiles that keep within the memory allowed, None where the whole image does."""
        channels = sum(conv.out_channels / 4 ** (int(name[0]) - 1) for name, conv in self._encoder.convs.items())
        fitting = int(math.sqrt(self._options.memory * 2**30 / (channels * 4 * KEPT)))
        if self._largest_tile is None and height * width <= fitting * fitting:
            return None
        side = max(SMALLEST_TILE, fitting - 2 * CONTEXT)
        return side if self._largest_tile is None else min(side, self._largest_tile)

    def _tensor(self, pixels: Pixels) -> Tensor:
        """uint8 (H, W, 3) -> (1, 3, H, W) in [0, 1]."""
        return torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device).permute(2, 0, 1)[None].float() / 255

    def _plane(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self._device)[None, None]


def to_pixels(image: Tensor) -> Pixels:
    """(1, 3, H, W) in [0, 1] -> uint8 (H, W, 3)."""
    return np.asarray((image[0].clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).contiguous().cpu().numpy())


def grey_image(image: Pixels) -> Pixels:
    """`image` without its colours, still (H, W, 3)."""
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    return np.repeat(grey[..., None], 3, axis=2)


def _tones(image: Pixels) -> tuple[float, float]:
    """Mean and deviation of light, 0..255."""
    light = grey_image(image)[..., 0]
    return float(light.mean()), float(light.std())


def _in_tones(painting: Pixels, tones: tuple[float, float]) -> Pixels:
    """The painting in greys of this mean and deviation (Gatys et al. 2016, "Preserving Color", section 4)."""
    grey = grey_image(painting).astype(np.float32)
    scaled = (grey - grey.mean()) * (tones[1] / max(float(grey.std()), 1.0)) + tones[0]
    return np.asarray((scaled + 0.5).clip(0, 255), np.uint8)


def _is_memory(error: BaseException) -> bool:
    """Whether memory ran out: torch raises a RuntimeError for that on the CPU."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error)
