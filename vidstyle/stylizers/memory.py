"""If memory is too small, stylizing becomes slower but does not fail: fewer images at once, then tiles of images.

The norms of trained networks use statistics that are fixed for a shot (`stylizers.norm_statistics`), so an output pixel depends
only on the input within the reach of the convolutions: tiles that overlap by that much join without a seam.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import onnx
from onnx import numpy_helper

from vidstyle.core.errors import DeviceError, MemoryLimitError, StyleError, VidstyleError, is_out_of_memory
from vidstyle.core.files import reason
from vidstyle.core.frames import Pixels

log = logging.getLogger(__name__)

_GPU_WORDS = ("cuda", "cudnn", "cublas", "tensorrt")

_POINTWISE = {"Transpose", "Cast", "Relu", "LeakyRelu", "Clip", "BatchNormalization", "Mul", "Sub", "Div", "Add", "Identity"}
"""Operators whose output at a position depends only on the input at that position."""

Stylize = Callable[[Pixels], Pixels]
"""Images uint8 (N, H, W, 3) -> the same, stylized; raises `MemoryLimitError`."""


def memory_limit_error(error: BaseException) -> MemoryLimitError:
    """`error` as the type that `MemoryFitter` catches."""
    return MemoryLimitError(f"not enough memory for the network ({reason(error)})")


def inference_error(error: BaseException, shape: tuple[int, ...], on_gpu: bool) -> VidstyleError:
    """An engine's `error` on images of `shape` as a `VidstyleError`: too little memory, a failed GPU, or a bad model."""
    if isinstance(error, VidstyleError):
        return error
    if is_out_of_memory(error):
        return memory_limit_error(error)
    if on_gpu and any(word in str(error).lower() for word in _GPU_WORDS):
        return DeviceError(f"the GPU failed while stylizing ({reason(error)}); try again, or --device cpu")
    return StyleError(f"the model failed on images {shape}: {reason(error)}")


class MemoryFitter:
    """Stylizes batches in pieces that fit into memory, and remembers for each image size which pieces do.

    `overlap`: pixels by which tiles of an image overlap; None if images cannot be divided. Sizes and positions of tiles are
    multiples of `multiple`, as the sizes of images are. Thread-safe.
    """

    def __init__(self, overlap: int | None, multiple: int) -> None:
        self._overlap = None if overlap is None else -(-overlap // multiple) * multiple
        self._multiple = multiple
        self._max_images: dict[tuple[int, int], int] = {}
        self._warned = False

    def max_images(self, height: int, width: int) -> int | None:
        """The maximum number of images of that size at once; 0: they are divided into tiles, None: no limit is known."""
        return self._max_images.get((height, width))

    def stylize(self, images: Pixels, stylize: Stylize) -> Pixels:
        """`images`, uint8 (N, H, W, 3), stylized by `stylize`. Raises `MemoryLimitError` if even small tiles do not fit."""
        size, done, stylized = (images.shape[1], images.shape[2]), 0, list[Pixels]()
        while done < len(images):
            count = min(len(images) - done, self._max_images.get(size, len(images)))
            if count == 0:
                stylized.append(self._in_tiles(images[done : done + 1], stylize))
                done += 1
                continue
            try:
                stylized.append(stylize(images[done : done + count]))
                done += count
            except MemoryLimitError as error:
                self._lower(size, count, error)
        return stylized[0] if len(stylized) == 1 else np.concatenate(stylized)

    def _lower(self, size: tuple[int, int], failed: int, error: MemoryLimitError) -> None:
        height, width = size
        minimum, maximum = (1 if self._cut(size) is None else 0), failed // 2
        if maximum < minimum:
            raise MemoryLimitError(
                f"not enough memory for an image of {width}x{height} ({error}); try a smaller --height"
            ) from error
        # When two threads fail at once, the second must not halve again.
        self._max_images[size] = min(maximum, self._max_images.get(size, maximum))
        how = f"{maximum} of {width}x{height} at a time" if maximum else f"{width}x{height} in tiles"
        log.log(logging.DEBUG if self._warned else logging.WARNING, "not enough memory for all images at once: stylizing %s", how)
        self._warned = True

    def _cut(self, size: tuple[int, int]) -> int | None:
        """Where images of that size are cut, along the longer side; None if the tiles would hardly be smaller."""
        length = max(size)
        if self._overlap is None or length < 4 * max(self._overlap, self._multiple):
            return None
        return length // (2 * self._multiple) * self._multiple

    def _in_tiles(self, image: Pixels, stylize: Stylize) -> Pixels:
        """One image (1, H, W, 3) as two tiles that overlap, each of which may be divided again."""
        size = (image.shape[1], image.shape[2])
        cut, overlap = self._cut(size), self._overlap
        assert cut is not None
        assert overlap is not None
        axis = 1 if size[0] >= size[1] else 2
        first, second = np.split(image, [cut + overlap], axis)[0], np.split(image, [cut - overlap], axis)[1]
        stylized = [self.stylize(np.ascontiguousarray(tile), stylize) for tile in (first, second)]
        return np.concatenate([np.split(stylized[0], [cut], axis)[0], np.split(stylized[1], [overlap], axis)[1]], axis)


def receptive_radius(model: onnx.ModelProto) -> int | None:
    """The distance in pixels up to which the input influences an output pixel; None if it is unlimited or not known."""
    constants = {i.name: i for i in model.graph.initializer}
    known = dict.fromkeys((i.name for i in model.graph.input), (1.0, 0.0))  # name -> pixels between neighbouring values, radius
    for node in model.graph.node:
        inputs = [known[name] for name in node.input if name in known]
        if not inputs:
            continue  # arithmetic on constants
        step, radius = inputs[0][0], max(radius for _, radius in inputs)
        if node.op_type == "Conv":
            attributes = {a.name: a for a in node.attribute}
            shape = attributes["kernel_shape"].ints
            strides = attributes["strides"].ints if "strides" in attributes else [1]
            dilation = max(attributes["dilations"].ints) if "dilations" in attributes else 1
            step, radius = step * max(strides), radius + step * dilation * (max(shape) // 2)
        elif node.op_type in ("Resize", "Upsample"):
            scale = float(max(numpy_helper.to_array(constants[node.input[-1]]))) if node.input[-1] in constants else 0.0
            if scale < 1:
                return None
            step, radius = step / scale, radius + step
        elif node.op_type == "DepthToSpace":
            step, radius = step / next(a.i for a in node.attribute if a.name == "blocksize"), radius + step
        elif node.op_type not in _POINTWISE:
            return None
        known.update(dict.fromkeys(node.output, (step, radius)))
    return int(np.ceil(max(known[output.name][1] for output in model.graph.output)))
