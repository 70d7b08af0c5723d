"""Stylizes images by optimization, within the available memory: pixels in, pixels out."""

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
from vidstyle.core.errors import InputError, MemoryLimitError, is_out_of_memory
from vidstyle.core.frames import Pixels
from vidstyle.core.options import PaintOptions
from vidstyle.networks.device import find_device
from vidstyle.studio.optimize.gatys import ALPHA, Step, gatys
from vidstyle.studio.optimize.multiscale import MIN_SIDE, multiscale, resize
from vidstyle.studio.perceptual.encoder import find_encoder
from vidstyle.studio.perceptual.moments import Moments, mix_moments, style_moments
from vidstyle.studio.perceptual.objective import STYLE_LAYERS, LossWeights, Objective, Targets, TemporalTarget
from vidstyle.studio.perceptual.tiles import CONTEXT
from vidstyle.studio.style_images import StyleImage

log = logging.getLogger(__name__)

MAX_ENLARGEMENT = 1.25
"""Style images are not enlarged more than this, as they have no finer strokes to show."""
SMALLEST_TILE = 128
NO_TONES = 0.0, 1.0
"""Stands for mean and deviation of luminance where colours are not preserved."""
COPIES = 3.2
"""How many copies of each feature are in memory while gradients are computed, padded ones included."""
MAX_CACHED_STYLES = 8


@dataclass(frozen=True)
class WarpedResult:
    """A previous result, warped to the current image: `pixels` uint8 (H, W, 3), `confidence` float32 (H, W) in [0, 1]."""

    pixels: Pixels
    confidence: np.ndarray


class ImageOptimizer:
    """Stylizes images in the style of `style_images`, whose weights sum to 1."""

    def __init__(self, style_images: Sequence[StyleImage], options: PaintOptions) -> None:
        self._style_images, self._options = style_images, options
        self._device = find_device(options.device)
        self._encoder = find_encoder(options.encoder).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._styles: dict[tuple[int, int, float, float], Moments] = {}
        self._largest_tile: int | None = None

    def optimize(self, image: Pixels, mask: np.ndarray | None = None, previous: WarpedResult | None = None) -> Iterator[Step]:
        """Stylize `image` (H, W, 3), starting from `previous` where there is one; yields every step, see `result`.

        `mask` float32 (H, W) in [0, 1]: where style is wanted. When memory runs out, the optimization starts again in smaller
        tiles. Raises `MemoryLimitError` if even the smallest do not fit, `InputError` if the image is too small for the encoder.
        """
        h, w = image.shape[:2]
        if min(h, w) < MIN_SIDE:
            raise InputError(f"expected an image of at least {MIN_SIDE} pixels per side, got {w}x{h}")
        tile = self._tile(h, w)
        while True:
            try:
                yield from self._attempt(image, mask, previous, tile)
                return
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                side = min(tile or 1 << 30, max(image.shape[:2])) // 2
            if side < SMALLEST_TILE:
                raise MemoryLimitError(
                    f"not enough memory to stylize an image even in tiles of {2 * side} pixels; close other programs"
                )
            log.warning("out of memory: starting again in tiles of %d pixels", side)
            tile = self._largest_tile = side

    def result(self, image: Pixels, step: Step, mask: np.ndarray | None = None) -> Pixels:
        """The stylized `image` at `step`, uint8 (H, W, 3)."""
        stylized = to_pixels(resize(step.image, image.shape[:2]))
        if self._options.preserve_color:
            stylized = with_colors_of(image, stylized)
        return stylized if mask is None else masked(image, stylized, mask)

    def gatys_loss(self, image: Pixels, stylized: Pixels) -> float:
        """The loss of the recipe `gatys` for `stylized` as a result of `image`; both (H, W, 3)."""
        h, w = image.shape[:2]
        objective = Objective(self._encoder, Targets(self._tensor(image)), self._style(h, w, NO_TONES, None), LossWeights(ALPHA))
        return objective.evaluate(self._tensor(stylized).requires_grad_())["loss"]

    def _attempt(self, image: Pixels, mask: np.ndarray | None, previous: WarpedResult | None, tile: int | None) -> Iterator[Step]:
        options = self._options
        content = self._tensor(grey_image(image) if options.preserve_color else image)
        tones = _tones(image) if options.preserve_color else NO_TONES
        start, temporal = content, None
        if previous is not None:
            pixels = grey_image(previous.pixels) if options.preserve_color else previous.pixels
            temporal = TemporalTarget(self._tensor(pixels), self._plane(previous.confidence))
            start = content + temporal.confidence * (temporal.image - content)
        elif options.start == "noise":
            start = torch.rand(content.shape, generator=torch.Generator().manual_seed(0)).to(self._device)
        targets = Targets(content, None if mask is None else self._plane(mask), temporal)
        if options.recipe == "gatys":
            style = self._style(content.shape[2], content.shape[3], tones, tile)
            yield from gatys(self._encoder, targets, style, start, options, tile)
        else:
            last_sizes = 0 if previous is None else 2
            yield from multiscale(
                self._encoder, targets, lambda h, w: self._style(h, w, tones, tile), start, options, tile, last_sizes
            )

    def _style(self, height: int, width: int, tones: tuple[float, float], tile: int | None) -> Moments:
        """The style's moments for an image of this size; `tones`: mean and deviation of its luminance, for grey images."""
        key = height, width, *tones
        if key not in self._styles:
            if len(self._styles) > MAX_CACHED_STYLES:
                self._styles.clear()
            pixels = height * width * self._options.stroke_scale**2
            weighted = [(self._moments_of(s, pixels, tones, tile), s.weight) for s in self._style_images]
            self._styles[key] = mix_moments(weighted)
        return self._styles[key]

    def _moments_of(self, style_image: StyleImage, pixels: float, tones: tuple[float, float], tile: int | None) -> Moments:
        h, w = style_image.pixels.shape[:2]
        scale = max(MIN_SIDE / min(h, w), min(math.sqrt(pixels / (h * w)), MAX_ENLARGEMENT))
        size = max(MIN_SIDE, round(w * scale)), max(MIN_SIDE, round(h * scale))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        resized = np.asarray(cv2.resize(style_image.pixels, size, interpolation=interpolation), np.uint8)
        if self._options.preserve_color:
            resized = _with_tones(resized, tones)
        opacity = None
        if style_image.opacity is not None:
            opacity = self._plane(cv2.resize(style_image.opacity, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255)
        return style_moments(self._encoder, self._tensor(resized), opacity, STYLE_LAYERS, tile)

    def _tile(self, height: int, width: int) -> int | None:
        """Side of the tiles that fit into the memory limit, None if the whole image does."""
        channels = sum(conv.out_channels / 4 ** (int(name[0]) - 1) for name, conv in self._encoder.convs.items())
        fitting = int(math.sqrt(self._options.memory * 2**30 / (channels * 4 * COPIES)))
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
    """`image` in grey, still (H, W, 3)."""
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    return np.repeat(grey[..., None], 3, axis=2)


def _tones(image: Pixels) -> tuple[float, float]:
    """Mean and deviation of luminance, 0..255."""
    luminance = grey_image(image)[..., 0]
    return float(luminance.mean()), float(luminance.std())


def _with_tones(image: Pixels, tones: tuple[float, float]) -> Pixels:
    """`image` in greys of this mean and deviation (Gatys et al. 2016, "Preserving Color", section 4)."""
    grey = grey_image(image).astype(np.float32)
    scaled = (grey - grey.mean()) * (tones[1] / max(float(grey.std()), 1.0)) + tones[0]
    return np.asarray((scaled + 0.5).clip(0, 255), np.uint8)
