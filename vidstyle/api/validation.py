"""Checks of the images, frames and frame rates that Python callers pass."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from dataclasses import replace
from fractions import Fraction
from numbers import Integral, Rational, Real
from typing import Any

import numpy as np

from vidstyle.core.errors import UsageError
from vidstyle.core.frames import Frame, Pixels
from vidstyle.core.options import MAX_SECONDS

Rate = Fraction | float
"""Frames per second; may be an integer."""

_RATE_RANGE = (Fraction(1, 100_000), 1_000_000)
_MAX_TERM = 2**31 - 1
"""FFmpeg stores the numerators and denominators of time bases and frame rates in 32 bits."""


def rate_of(value: Rate) -> Fraction:
    """A frame rate as a fraction; raises `UsageError` unless it is one."""
    low, high = _RATE_RANGE
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= value <= high:
        expected = f"a frame_rate of {float(low):g} to {high}, such as 25 or Fraction(30000, 1001)"
        raise UsageError(f"expected {expected}, got {value!r}")
    return storable_rate(value if isinstance(value, Fraction) else Fraction(float(value)).limit_denominator(100_000))


def storable_rate(rate: Fraction) -> Fraction:
    """The nearest frame rate that files can store."""
    rate = min(rate, Fraction(_RATE_RANGE[1]))
    return rate.limit_denominator(_MAX_TERM // math.ceil(rate))


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
    if frame_rate is not None:  # a time base in which both are whole numbers, or else the period
        exact = math.lcm(frame_rate.numerator, begin.denominator)
        time_base = Fraction(1, exact if exact <= _MAX_TERM else frame_rate.numerator)
        period = int(1 / frame_rate / time_base)
    origin = round(begin / time_base)
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
            frame = _with_exact_times(frame, index)
            first = first or frame
            _check_like(first, frame, index)
            yield frame
    finally:
        if isinstance(items, Generator):
            items.close()


def _with_exact_times(frame: Frame, index: int) -> Frame:
    """`frame` with times as fractions and whole numbers, if they can be stored; raises `UsageError` if not."""
    base = frame.time_base
    if not isinstance(base, Rational) or base <= 0 or max(base.numerator, base.denominator) > _MAX_TERM:
        expected = f"a Fraction above 0 with terms up to {_MAX_TERM}, such as Fraction(1, 25), as the time base"
        raise UsageError(f"expected {expected} of frame {index}, got {base!r}")
    for name, value, low in (("pts", frame.pts, -MAX_SECONDS), ("duration", frame.duration, 0.0)):
        if not isinstance(value, Integral) and not (isinstance(value, float) and float.is_integer(value)):
            raise UsageError(f"expected a whole number as the {name} of frame {index}, got {value!r}")
        if not low <= int(value) * base <= MAX_SECONDS:
            expected = f"a {name} from {low:g} to {MAX_SECONDS:g} seconds"
            raise UsageError(f"expected {expected} in frame {index}, got {value!r} times {base}")
    return replace(frame, pts=int(frame.pts), time_base=Fraction(base), duration=int(frame.duration))


def _check_like(first: Frame, frame: Frame, index: int) -> None:
    if frame.pixels.shape != first.pixels.shape:
        raise UsageError(
            f"expected frames of one size, {first.pixels.shape} as the first, got {frame.pixels.shape} in frame {index}"
        )
    shape = None if frame.alpha is None else np.shape(frame.alpha)
    expected = None if first.alpha is None else first.pixels.shape[:2]
    if shape != expected:
        raise UsageError(f"expected an alpha {expected} as the first frame's in frame {index}, got {shape}")
