"""Stylizers for tests that need no network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vidstyle.core.frames import Pixels
from vidstyle.core.protocols import Stylizer


class Identity(Stylizer):
    """Returns images as they are."""

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        return np.stack(images)

    def describe(self) -> str:
        return "identity"
