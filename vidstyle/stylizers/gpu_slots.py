"""Buffers on a GPU that are reused from batch to batch, shared by ONNX Runtime and torch.

While one thread's batch is stylized, another thread's is copied to the GPU or back: two threads are faster
than one. Batches are filled up to the largest so far of their size, because each new shape needs memory and a new CUDA graph.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, Protocol, TypeVar

import numpy as np

from vidstyle.core.frames import Pixels

CONCURRENCY = 2
"""The number of concurrent callers that gives the highest throughput."""

MAX_SHAPES = 4
"""Buffers are kept for this many shapes of batches."""

WARM_RUNS = 2
"""Runs of a slot before its graph is captured: this does not pay off for sizes that occur only once."""

Shape = tuple[int, ...]


class Slot(Protocol):
    """The buffers of one batch."""

    shape: Shape


S = TypeVar("S", bound=Slot)


class SlotPool(Generic[S]):
    """Slots for batches, uint8 (N, H, W, 3), created by `make`. Thread-safe."""

    def __init__(self, make: Callable[[Shape], S]) -> None:
        self._make, self._lock = make, Lock()
        self._free: OrderedDict[Shape, list[S]] = OrderedDict()
        self._largest: dict[Shape, int] = {}

    def take(self, images: Pixels) -> S:
        """A slot for at least as many images, which no other thread gets until it is returned by `give_back`."""
        size = images.shape[1:]
        with self._lock:
            largest = self._largest[size] = max(len(images), self._largest.get(size, 0))
            shape = (largest, *size)
            if self._free.get(shape):
                return self._free[shape].pop()
        return self._make(shape)

    def give_back(self, slot: S) -> None:
        """Return a slot, so that other threads can use it."""
        with self._lock:
            self._free.setdefault(slot.shape, []).append(slot)
            self._free.move_to_end(slot.shape)
            while len(self._free) > MAX_SHAPES:
                self._free.popitem(last=False)

    def clear(self) -> None:
        """Release all free slots."""
        with self._lock:
            self._free.clear()

    def forget(self, size: Shape) -> None:
        """Release all free slots, and let batches of this size (H, W, 3) be smaller again."""
        with self._lock:
            self._largest.pop(size, None)
            self._free.clear()


def filled_up(images: Pixels, count: int) -> Pixels:
    """`images` (N, H, W, 3), with the last one repeated until there are `count`."""
    if len(images) == count:
        return np.ascontiguousarray(images)
    return np.concatenate([images, np.repeat(images[-1:], count - len(images), 0)])
