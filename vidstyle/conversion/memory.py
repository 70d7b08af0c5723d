"""How much memory a conversion takes, which the size of its frames decides, and what it gives up to stay within its limit.

The limit is `ConvertOptions.memory`, or a fraction of the machine's memory. A conversion that would take more works on fewer
frames at once, then at a smaller inference height too; one that does not fit even then is refused before anything is decoded.

The bytes per pixel were measured as peaks of whole processes, from 640x360 to 3840x2160 on two cores.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

from vidstyle.core.errors import MemoryLimitError
from vidstyle.core.hardware import memory_bytes, usable_cores
from vidstyle.core.options import MEMORY_FRACTION, MIN_HEIGHT, ConvertOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.sources import is_image
from vidstyle.stylizers.resized import ResizedStylizer

log = logging.getLogger(__name__)

MIN_LOWERED_HEIGHT = 240
"""An inference height is not lowered below this: the strokes would be too coarse."""

_GIB, _MIB = 1 << 30, 1 << 20

_PROCESS = 180 << 20
_TORCH = 450 << 20
"""Bytes for the process, and for torch in addition, however small the frames are."""

# Bytes per pixel of the input:
_CODECS, _SLOW_CODECS, _CODECS_PER_CORE = 112, 190, 4
"""The decoder and the encoder with the frames that they look ahead, which are more where they have more threads."""
_MAX_CODEC_CORES = 32
_FRAME = 6
"""A frame on its way, and the stylized one."""
_UPSAMPLING = 20
_POST_PROCESSOR = 30
_SAMPLES = 60
"""The images of a shot on which its statistics are measured, while the encoder does not work yet."""
_STILL = 26
"""A still image: decoded with its transparency, stylized, and encoded."""

# Bytes per pixel of the network's input:
_MEASURING = 150
_MEASURED_PIXELS = 4 << 20
"""Measuring statistics takes as much for each image; several of up to so many pixels in total are measured in parallel."""
_ON_GPU = 12
"""What a network on a GPU takes of this memory."""


@dataclass(frozen=True)
class MemoryPlan:
    """How a conversion stays within its limit."""

    lean: bool = False
    """Work on as few frames at once as possible."""
    height: int | None = None
    """Scale frames to this height before they are stylized, and back; None: do not."""

    def fitted(self, stylizer: Stylizer) -> Stylizer:
        """`stylizer` at the height of this plan."""
        return stylizer if self.height is None else ResizedStylizer(stylizer, self.height)

    def applied(self, options: ConvertOptions) -> ConvertOptions:
        """`options` with the height of this plan."""
        return options if self.height is None else replace(options, style=replace(options.style, height=self.height))


class MemoryBudget:
    """The memory for the conversion of `input`."""

    def __init__(self, input: str, options: ConvertOptions) -> None:
        self._input, self._options, self._is_still = input, options, is_image(input)
        self.limit = memory_limit(options)
        """In bytes; None: not known, and not limited."""

    def check_size(self, width: int, height: int) -> None:
        """Raise `MemoryLimitError` if frames of that size do not fit, whatever is given up."""
        self._check(width, height, self._bytes(width, height, min(height, MIN_LOWERED_HEIGHT)))

    def _check(self, width: int, height: int, needed: int, remedy: str = "") -> None:
        if self.limit is not None and needed > self.limit:
            what = "an image" if self._is_still else "frames"
            raise MemoryLimitError(
                f"expected {what} for {_readable(self.limit)} of memory, got {width}x{height}, which needs about "
                f"{_readable(needed)}{remedy}; if the machine has as much, --memory {_option(needed)} allows it: {self._input}"
            )

    def plan(self, width: int, height: int, stylizer: Stylizer) -> MemoryPlan:
        """The plan for frames of that size, with a warning in the log if their inference height is lowered. Raises
        `MemoryLimitError` as `check_size` does, and if the height that the options ask for is too large."""
        style = self._options.style
        inference = max(MIN_HEIGHT, round((style.height or height) / style.stroke_scale))
        if self.limit is None or self._bytes(width, height, inference, stylizer, lean=False) <= self.limit:
            return MemoryPlan()
        if style.height is not None:
            needed = self._bytes(width, height, inference, stylizer)
            self._check(width, height, needed, f" with --height {style.height}")
            return MemoryPlan(lean=True)
        lowest = min(inference, MIN_LOWERED_HEIGHT)
        fitting = (h for h in range(inference, lowest, -8) if self._bytes(width, height, h, stylizer) <= self.limit)
        lowered = next(fitting, lowest)
        self._check(width, height, self._bytes(width, height, lowered, stylizer))
        if lowered == inference:
            return MemoryPlan(lean=True)
        usual = _readable(self._bytes(width, height, inference, stylizer))
        log.warning(
            "stylizing %dx%d at a height of %d pixels: a height of %d needs %s of memory, and --memory allows %s: %s",
            *(width, height, lowered, inference, usual, _readable(self.limit), self._input),
        )
        return MemoryPlan(lean=True, height=max(MIN_HEIGHT, round(lowered * style.stroke_scale)))

    def _bytes(self, width: int, height: int, inference: int, stylizer: Stylizer | None = None, lean: bool = True) -> int:
        """About how many bytes the conversion of frames of that size takes at a peak; `stylizer` None: the least possible."""
        pixels, network_pixels = width * height, width * height * (inference / height) ** 2
        images = 1 if lean or stylizer is None else stylizer.concurrency * self._options.batch_size
        on_gpu = stylizer is not None and stylizer.engine.device != "cpu"
        network = 0 if stylizer is None else _ON_GPU if on_gpu else stylizer.pixel_bytes
        measuring = 0 if stylizer is None else _ON_GPU if on_gpu else _MEASURING
        parallel = 1 if lean else max(1, min(images, _MEASURED_PIXELS / network_pixels))
        upsampling = _UPSAMPLING * images if inference < height else 0
        if self._is_still:
            peak = pixels * (_STILL + upsampling) + network_pixels * max(network, measuring)
        else:
            post_processors = sum((self._options.stabilize != "off", self._options.preserve_color, self._options.report))
            ahead = 1 if lean else 2 * self._options.batch_size
            stylizing = self._codecs() + _FRAME * (2 * ahead + images) + upsampling + _POST_PROCESSOR * post_processors
            peak = max(
                pixels * stylizing + network_pixels * network * images, pixels * _SAMPLES + network_pixels * measuring * parallel
            )
        return round(peak) + _PROCESS + (_TORCH if stylizer is not None and "torch" in stylizer.engine.name else 0)

    def _codecs(self) -> int:
        is_slow = any(name in (self._options.encode.codec or "") for name in ("hevc", "265", "av1", "vp9"))
        return (_SLOW_CODECS if is_slow else _CODECS) + _CODECS_PER_CORE * min(usable_cores(), _MAX_CODEC_CORES)


def memory_limit(options: ConvertOptions) -> int | None:
    """The bytes that a conversion may take; None where the machine does not say what it has."""
    if options.memory is not None:
        return round(options.memory * _GIB)
    memory = memory_bytes()
    return None if memory is None else round(memory * MEMORY_FRACTION)


def with_memory_fraction(options: ConvertOptions, fraction: float) -> ConvertOptions:
    """`options` for one of several conversions at the same time, which gets this fraction of the memory."""
    limit = memory_limit(options)
    return options if limit is None else replace(options, memory=limit * fraction / _GIB)


def _readable(size: float) -> str:
    return f"{size / _GIB:.1f} GB" if size >= _GIB else f"{size / _MIB:.0f} MB"


def _option(size: float) -> str:
    """The value of --memory that allows `size` bytes."""
    return f"{math.ceil(size / _GIB)}G" if size >= _GIB else f"{math.ceil(size / _MIB)}M"
