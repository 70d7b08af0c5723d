"""The syntax of `--style` and `--timeline`: one style, a blend of several, or a change from one to the next."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from vidstyle.core.errors import UsageError

Blend = tuple[tuple[str, float], ...]
"""Styles (names or model files) and their weights, which add up to 1."""

SUM_TOLERANCE = 0.015
"""Weights such as 0.33,0.33,0.33 count as adding up to 1."""
MAX_LABEL = 60
_MANY = "many-styles"


@dataclass(frozen=True)
class Change:
    """From `seconds` on, the input is stylized in `blend`."""

    seconds: float
    blend: Blend


def parse_style(text: str) -> tuple[Change, ...]:
    """The changes in `text`, the first at 0 seconds: `mosaic`; a blend, `mosaic:0.6,scream:0.4` or `mosaic,scream` (equal
    weights); or a timeline, `0:mosaic,1:20:scream`.

    Raises `UsageError` for weights that do not add up to 1, times out of order, or a mixture of weights and times.
    """
    if os.path.lexists(text):
        return (Change(0.0, ((text, 1.0),)),)
    items = [item.strip() for item in text.split(",")]
    times = [_timed(item) for item in items]
    if all(times):
        return _timeline([time for time in times if time is not None], text)
    weighted = [_weighted(item) for item in items]
    if any(times) or any(_timed(name) for name, _ in weighted):
        raise UsageError(f"expected a time before every style of a timeline, such as 0:mosaic,10:scream, got {text}")
    return (Change(0.0, _blend(weighted, text)),)


def parse_timeline(text: str) -> tuple[Change, ...]:
    """Like `parse_style`, for timelines only."""
    if _timed(text.split(",")[0].strip()) is None:
        raise UsageError(f"expected a timeline such as 0:mosaic,10:scream, got {text}")
    return parse_style(text)


def styles_in(text: str) -> list[str]:
    """The style names and model files in `text`, without duplicates."""
    return list(dict.fromkeys(name for change in parse_style(text) for name, _ in change.blend))


def label_of(style: str) -> str:
    """The label of a style in file names: its name, or that of the model file without suffix; `mosaic+scream` for a blend,
    `mosaic-to-scream` for a timeline."""
    label = "-to-".join("+".join(_stem(name) for name, _ in change.blend) for change in parse_style(style))
    return label if len(label) <= MAX_LABEL else _MANY


def is_label(text: str, labels: Collection[str]) -> bool:
    """Whether `text` could be the `label_of` a style, blend or timeline of the styles with these labels."""
    return text in labels or text == _MANY or all(part in labels for part in re.split(r"\+|-to-", text))


def parse_seconds(text: str) -> float:
    """Seconds, or [H:]M:S. Raises `ValueError` for anything else."""
    parts = [float(part) for part in text.split(":")]
    if len(parts) > 3 or not all(0 <= part < math.inf for part in parts):
        raise ValueError(text)
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + part
    return seconds


def _stem(name: str) -> str:
    return Path(name).stem if os.sep in name or Path(name).suffix else name


def _timed(item: str) -> tuple[float, str] | None:
    """The time and the style of one item of a timeline; None if `item` is something else, such as `mosaic:0.5`."""
    time, _, name = item.rpartition(":")
    if not name.strip() or _number(name) is not None:
        return None
    try:
        return parse_seconds(time), name.strip()
    except ValueError:
        return None


def _timeline(times: list[tuple[float, str]], text: str) -> tuple[Change, ...]:
    seconds = [time for time, _ in times]
    if seconds[0]:
        raise UsageError(f"expected a timeline that begins with a style at 0, got {text}")
    if any(first >= second for first, second in pairwise(seconds)):
        raise UsageError(f"expected the times of a timeline in order, each later than the one before, got {text}")
    return tuple(Change(time, ((name, 1.0),)) for time, name in times)


def _weighted(item: str) -> tuple[str, float | None]:
    name, separator, weight = item.rpartition(":")
    value = _number(weight) if separator else None
    return (item, None) if value is None else (name, value)


def _blend(items: list[tuple[str, float | None]], text: str) -> Blend:
    names, weights = [name for name, _ in items], [weight for _, weight in items if weight is not None]
    if len(set(names)) < len(names) or not all(names):
        raise UsageError(f"expected different styles, separated by commas, got {text}")
    if not weights:
        return tuple((name, 1 / len(names)) for name in names)
    if len(weights) < len(names) or not all(0 < weight <= 1 for weight in weights):
        raise UsageError(f"expected a weight from 0 to 1 after every style, such as mosaic:0.6,scream:0.4, got {text}")
    total = sum(weights)
    if abs(total - 1) > SUM_TOLERANCE:
        raise UsageError(f"expected weights that add up to 1, got {' + '.join(f'{w:g}' for w in weights)} = {total:g}: {text}")
    return tuple((name, weight / total) for name, weight in zip(names, weights, strict=True))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
