"""Text over the live image: a status line, a recording indicator, a message, the help."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from vidstyle.core.frames import Pixels
from vidstyle.live.state import KEYS, LiveState, Status

Color = tuple[int, int, int]
WHITE, GREY, RED, AMBER = (245, 245, 245), (185, 190, 195), (235, 60, 50), (255, 200, 90)
_SHADE = 0.45
"""Brightness of the image behind text, as a fraction."""


def draw_overlay(image: Pixels, status: Status, state: LiveState) -> Pixels:
    """A copy of `image`, RGB uint8 (H, W, 3), with the status drawn on it, in a size that fits the image."""
    canvas = np.ascontiguousarray(image).copy()
    h, w = canvas.shape[:2]
    size = max(10, round(min(h, w * 9 / 16) / 28))
    if state.split is not None:
        _draw_split(canvas, state.split)
    facts = [f"{status.fps:.0f} fps"] if status.fps else []
    facts += [f"{status.latency * 1000:.0f} ms"] if not math.isnan(status.latency) else []
    facts += [f"{status.height}p{'' if state.height is None else ' fixed'}"] if status.height else []
    _draw_lines(canvas, [[(state.describe(), WHITE), ("  " + "  ".join(facts), GREY)]], size, at=(0.0, 1.0))
    if status.recording is not None:
        minutes, seconds = divmod(int(status.recording), 60)
        _draw_lines(canvas, [[("\u25cf", RED), (f" {minutes}:{seconds:02}", WHITE)]], size, at=(1.0, 0.0))
    if status.message:
        _draw_lines(canvas, [[(line, AMBER)] for line in _wrapped(status.message, size, w)], size, at=(0.0, 0.0))
    if state.help:
        key_width = max(_width(key, size) for key, _ in KEYS)
        lines = [[(key, AMBER), ("", key_width - _width(key, size) + size), (meaning, WHITE)] for key, meaning in KEYS]
        _draw_lines(canvas, lines, size, at=(0.5, 0.5))
    return canvas


def _draw_split(canvas: Pixels, place: float) -> None:
    h, w = canvas.shape[:2]
    x = min(w - 1, round(place * w))
    cv2.line(canvas, (x, 0), (x, h), WHITE, max(1, h // 360), cv2.LINE_AA)
    cv2.circle(canvas, (x, h // 2), max(4, h // 50), WHITE, -1, cv2.LINE_AA)


_Span = tuple[str, Color] | tuple[str, int]
"""Text and its colour, or an empty string and the width of a gap."""


def _draw_lines(canvas: Pixels, lines: Sequence[Sequence[_Span]], size: int, at: tuple[float, float]) -> None:
    """A shaded box of lines; `at` (0, 0) is the upper left corner, (1, 1) the lower right one."""
    h, w = canvas.shape[:2]
    pad, step = size // 2, round(size * 1.45)
    width = min(w, max(sum(_advance(span, size) for span in line) for line in lines) + 2 * pad)
    height = min(h, step * len(lines) + pad)
    x, y = (pad + round(a * (total - length - 2 * pad)) for a, total, length in ((at[0], w, width), (at[1], h, height)))
    x, y = max(0, x), max(0, y)
    box = canvas[y : y + height, x : x + width]
    box[:] = cv2.convertScaleAbs(box, alpha=_SHADE)
    for number, line in enumerate(lines):
        left, base = x + pad, y + step * number + round(size * 1.3)
        for span in line:
            text, style = span
            if isinstance(style, tuple):
                _put(canvas, text, (left, base), style, size)
            left += _advance(span, size)


def _wrapped(text: str, size: int, width: int) -> list[str]:
    """Lines that leave room for the recording indicator."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _width(longer, size) > width - 8 * size:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


_FONT = cv2.FontFace("sans")


def _put(canvas: Pixels, text: str, place: tuple[int, int], color: Color, size: int) -> None:
    cv2.putText(canvas, text, place, color, _FONT, size, 500)


def _advance(span: _Span, size: int) -> int:
    text, style = span
    return style if isinstance(style, int) else _width(text, size)


def _width(text: str, size: int) -> int:
    # getTextSize ignores trailing spaces, but not no-break spaces.
    x, _, w, _ = cv2.getTextSize((10_000, 100), text.replace(" ", "\u00a0"), (0, 50), _FONT, size, 500)
    return int(x + w) if text else 0
