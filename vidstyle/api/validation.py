"""Checks of the images, frames and frame rates that Python callers pass."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from dataclasses import replace
from fractions import Fraction
from numbers import Real
from typing import Any

import numpy as np

from vidstyle.core.errors import UsageError
from vidstyle.core.frames import Frame, Pixels

Rate = Fraction | float
"""Frames per second; may be an integer."""


def rate_of(value: Rate) -> Fraction:
    """A frame rate as a fraction; raises `UsageError` unless it is one."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value <= 0:
        raise UsageError(f"expected a frame_rate above 0, such as 25 or Fraction(30000, 1001), got {value!r}")
    return value if isinstance(value, Fraction) else Fraction(float(value)).limit_denominator(100_000)


def check_images(value: Any, what: str, *dimensions: int) -> Pixels:
    """`value` if it is an array uint8 RGB (H, W, 3), or (N, H, W, 3) where `dimensions` has a 4; raises `UsageError`."""
    if (
        isinstance(value, np.ndarray)
        and value.dtype == np.uint8
        and value.ndim in dimensions
        and value.shape[-1] == 3
        and value.size > 0
    ):
        return value
    shapes = " or ".join("(H, W, 3)" if n == 3 else "(N, H, W, 3)" for n in dimensions)
    got = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__qualname__}"
    raise UsageError(f"expected {what} as a NumPy array, uint8 RGB {shapes}, got {got}")


def as_frames(
    items: Iterable[Frame | Pixels], frame_rate: Fraction | None, begin: Fraction = Fraction(0), needs_times: bool = False
) -> Generator[Frame, None, None]:
    """`items` as frames, all of one size.

    With a `frame_rate` they get new times from `begin` seconds on. Without it `Frame`s keep their times, and arrays get one
    second each, or are refused if `needs_times`. Arrays are copied, as callers may reuse their memory. Raises `UsageError`.
    Always closes `items` at the end if it is a generator.
    """
    time_base, period = Fraction(1), 1
    if frame_rate is not None:  # a time base in which both are whole numbers
        time_base = Fraction(1, math.lcm(frame_rate.numerator, begin.denominator))
        period = int(1 / frame_rate / time_base)
    origin = int(begin / time_base)
    first: Frame | None = None
    try:
        for index, item in enumerate(items):
            if isinstance(item, Frame):
                check_images(item.pixels, f"the pixels of frame {index}", 3)
                frame = item
            else:
                pixels = check_images(item, f"frame {index}", 3)
                if needs_times and frame_rate is None:
                    raise UsageError("expected a frame_rate for arrays, which have no times, or frames that have them")
                frame = Frame(np.array(pixels, order="C"), index, time_base, 1)
            if frame_rate is not None:
                frame = replace(frame, pts=origin + index * period, time_base=time_base, duration=period)
            first = first or frame
            _check_like(first, frame, index)
            yield frame
    finally:
        if isinstance(items, Generator):
            items.close()


def _check_like(first: Frame, frame: Frame, index: int) -> None:
    if frame.pixels.shape != first.pixels.shape:
        raise UsageError(
            f"expected frames of one size, {first.pixels.shape} as the first, got {frame.pixels.shape} in frame {index}"
        )
    shape = None if frame.alpha is None else frame.alpha.shape
    expected = None if first.alpha is None else first.pixels.shape[:2]
    if shape != expected:
        raise UsageError(f"expected an alpha {expected} as the first frame's in frame {index}, got {shape}")
