"""The base class of stylizers that wrap another one and change its input or output images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping

import numpy as np

from vidstyle.core.frames import Pixels
from vidstyle.core.protocols import Engine, Stylizer


class StylizerWrapper(Stylizer):
    """A stylizer around `inner`, which measures shots and runs the network."""

    def __init__(self, inner: Stylizer) -> None:
        self._inner, self.concurrency = inner, inner.concurrency

    @abstractmethod
    def _around(self, inner: Stylizer) -> Stylizer:
        """This wrapper around another stylizer."""

    @property
    def pixel_bytes(self) -> int:
        return self._inner.pixel_bytes

    @property
    def engine(self) -> Engine:
        return self._inner.engine

    def for_shot(self, images: Iterable[Pixels]) -> Stylizer:
        return self._with(self._inner.for_shot(images))

    def statistics(self) -> Mapping[str, np.ndarray]:
        return self._inner.statistics()

    def with_statistics(self, statistics: Mapping[str, np.ndarray]) -> Stylizer:
        return self._with(self._inner.with_statistics(statistics))

    def adapted(self, image: Pixels, weight: float) -> Stylizer:
        return self._with(self._inner.adapted(image, weight))

    def at(self, seconds: float) -> Stylizer:
        return self._with(self._inner.at(seconds))

    def _with(self, inner: Stylizer) -> Stylizer:
        return self if inner is self._inner else self._around(inner)

    def describe(self) -> str:
        return self._inner.describe()
