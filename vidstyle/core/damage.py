"""Damage that was found in an input: how often of each kind, so that an interrupted run can add what it found to the next one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

Damage = Mapping[str, int]
"""The number of times that each kind occurred. A kind is a sentence with `{}` for that number, or without."""


def descriptions(damage: Damage) -> list[str]:
    """One sentence for each kind."""
    return [kind.format(count) for kind, count in damage.items() if count]


def total(parts: Iterable[Damage]) -> Damage:
    """The damage of all parts of a video."""
    return sum((Counter(part) for part in parts), Counter[str]())


def at_least(damage: Damage, earlier: Damage) -> dict[str, int]:
    """`damage`, of which an `earlier` run on the same frames found this much. Both count: decoders that work on several frames at
    once do not report all of it every time."""
    return {kind: max(damage.get(kind, 0), earlier.get(kind, 0)) for kind in {**damage, **earlier}}
