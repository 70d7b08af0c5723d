"""Too little memory costs time and no frame: fewer images at once, then parts of images.

Norms of our nets run on statistics that are held (`stylizers.norms`), so what a net stylizes at a place depends only on what it
sees around it, as far as its convolutions reach: parts that overlap by that much join without a seam.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import onnx
from onnx import numpy_helper

from vidstyle.core.errors import MemoryLimitError
from vidstyle.core.frames import Pixels

log = logging.getLogger(__name__)

_SIGNS = (
    "out of memory",
    "out_of_memory",
    "failed to allocate memory",
    "failed to allocate output",
    "status_alloc_failed",
    "host_allocation_failed",
    "bad_alloc",
    "bad allocation",
    "can't allocate memory",
    "not enough memory",
)
"""What ONNX Runtime, torch, CUDA, cuDNN and cuBLAS say, in small letters."""

_LOCAL = {"Transpose", "Cast", "Relu", "LeakyRelu", "Clip", "BatchNormalization", "Mul", "Sub", "Div", "Identity"}
"""What stylizes each place by what is there alone."""

Paint = Callable[[Pixels], Pixels]
"""Images uint8 (N, H, W, 3) -> the same, stylized; raises `MemoryLimitError`."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that there was too little memory, of the machine or of the GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return any(sign in text for sign in _SIGNS)


def first_line(error: BaseException) -> str:
    """What an error says, without what it says at length."""
    return (str(error) or type(error).__name__).splitlines()[0]


def not_enough(error: BaseException) -> MemoryLimitError:
    """`error` as the kind that `Fitting` reacts to."""
    return MemoryLimitError(f"not enough memory for the net ({first_line(error)})")


def filled_up(images: Pixels, count: int) -> Pixels:
    """`images` (N, H, W, 3) and the last one again, as many as `count`: a GPU wants shapes that stay."""
    if len(images) == count:
        return np.ascontiguousarray(images)
    return np.concatenate([images, np.repeat(images[-1:], count - len(images), 0)])


class Fitting:
    """Stylizes batches in pieces for which there is memory, and remembers for each size which those are.

    `overlap`: pixels by which parts of an image overlap, None where images cannot be divided; `multiple`: of which sides of
    parts and where they lie are multiples, as the sides of images are. Several threads may call.
    """

    def __init__(self, overlap: int | None, multiple: int) -> None:
        self._overlap = None if overlap is None else -(-overlap // multiple) * multiple
        self._multiple = multiple
        self._most: dict[tuple[int, int], int] = {}
        self._told = False

    def most(self, height: int, width: int) -> int | None:
        """How many images of that size are stylized at once at most; 0: they are divided, None: not found out."""
        return self._most.get((height, width))

    def paint(self, images: Pixels, paint: Paint) -> Pixels:
        """`images`, uint8 (N, H, W, 3), stylized by `paint`. Raises `MemoryLimitError` where not even small parts fit."""
        size, done, stylized = (images.shape[1], images.shape[2]), 0, list[Pixels]()
        while done < len(images):
            count = min(len(images) - done, self._most.get(size, len(images)))
            if count == 0:
                stylized.append(self._in_parts(images[done : done + 1], paint))
                done += 1
                continue
            try:
                stylized.append(paint(images[done : done + count]))
                done += count
            except MemoryLimitError as error:
                self._lower(size, count, error)
        return stylized[0] if len(stylized) == 1 else np.concatenate(stylized)

    def _lower(self, size: tuple[int, int], failed: int, error: MemoryLimitError) -> None:
        height, width = size
        least, most = (1 if self._cut(size) is None else 0), failed // 2
        if most < least:
            raise MemoryLimitError(
                f"expected memory to paint an image of {width}x{height}, got too little ({error}); try a smaller --height"
            ) from error
        # Of two threads that fail at once the second must not halve again.
        self._most[size] = min(most, self._most.get(size, most))
        how = f"{most} of {width}x{height} at a time" if most else f"{width}x{height} in parts"
        log.log(logging.DEBUG if self._told else logging.WARNING, "not enough memory for all at once: painting %s", how)
        self._told = True

    def _cut(self, size: tuple[int, int]) -> int | None:
        """Where images of that size are cut, along the longer side; None where the parts would hardly be smaller."""
        length = max(size)
        if self._overlap is None or length < 4 * max(self._overlap, self._multiple):
            return None
        return length // (2 * self._multiple) * self._multiple

    def _in_parts(self, image: Pixels, paint: Paint) -> Pixels:
        """One image (1, H, W, 3) as two that overlap, each of which may be divided again."""
        size = (image.shape[1], image.shape[2])
        cut, overlap = self._cut(size), self._overlap
        assert cut is not None
        assert overlap is not None
        axis = 1 if size[0] >= size[1] else 2
        first, second = np.split(image, [cut + overlap], axis)[0], np.split(image, [cut - overlap], axis)[1]
        stylized = [self.paint(np.ascontiguousarray(part), paint) for part in (first, second)]
        return np.concatenate([np.split(stylized[0], [cut], axis)[0], np.split(stylized[1], [overlap], axis)[1]], axis)


def reach(model: onnx.ModelProto) -> int | None:
    """How many pixels away from a place a net sees what decides how it stylizes it; None where that is the whole image, or
    not known."""
    constants = {i.name: i for i in model.graph.initializer}
    known = dict.fromkeys((i.name for i in model.graph.input), (1.0, 0.0))  # pixels from one value to the next, reach
    for node in model.graph.node:
        inputs = [known[name] for name in node.input if name in known]
        if not inputs:
            continue  # arithmetic on constants
        step, far = inputs[0][0], max(far for _, far in inputs)
        if node.op_type == "Conv":
            attributes = {a.name: a for a in node.attribute}
            shape = attributes["kernel_shape"].ints
            strides = attributes["strides"].ints if "strides" in attributes else [1]
            dilation = max(attributes["dilations"].ints) if "dilations" in attributes else 1
            step, far = step * max(strides), far + step * dilation * (max(shape) // 2)
        elif node.op_type in ("Resize", "Upsample"):
            scale = float(max(numpy_helper.to_array(constants[node.input[-1]]))) if node.input[-1] in constants else 0.0
            if scale < 1:
                return None
            step, far = step / scale, far + step
        elif node.op_type == "DepthToSpace":
            step, far = step / next(a.i for a in node.attribute if a.name == "blocksize"), far + step
        elif node.op_type not in _LOCAL | {"Add"}:
            return None
        known.update(dict.fromkeys(node.output, (step, far)))
    return int(np.ceil(max(known[output.name][1] for output in model.graph.output)))
