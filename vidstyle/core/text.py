"""Words for a terminal or a log: what a name must not do there, how much room it takes, how times are told."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from rich.cells import cell_len

_CONTROLS = {"Cc", "Cs", "Zl", "Zp"}
"""Categories of Unicode: controls, halves of characters (bytes of a name that are no UTF-8), separators of lines."""

_TURNS = {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}
"""They turn the direction of writing, also that of what follows: `a\u202e4pm.exe` is shown as if it ended in `mp4`."""


def printable(text: str) -> str:
    """`text` with whatever could act on a terminal written out, as in `\\x1b`."""
    if text.isprintable():  # almost always
        return text
    return "".join(c.encode("unicode_escape").decode() if _acts(c) else c for c in text)


def printable_lines(text: str) -> str:
    """The same of a text that may have several lines."""
    return "\n".join(map(printable, text.split("\n")))


def _acts(character: str) -> bool:
    return character in _TURNS or unicodedata.category(character) in _CONTROLS


def shortened(text: str, width: int) -> str:
    """`text` in at most `width` columns: its middle gives way, for a name's end with its suffix says as much as its beginning."""
    if cell_len(text) <= width:
        return text
    end = _fitting(reversed(text), width // 2)[::-1]
    return f"{_fitting(text, width - 1 - cell_len(end))}…{end}"


def clipped(text: str, width: int) -> str:
    """`text` in at most `width` columns: its end gives way."""
    return text if cell_len(text) <= width else f"{_fitting(text, width - 1)}…"


def _fitting(characters: Iterable[str], width: int) -> str:
    taken = []
    for character in characters:
        width -= cell_len(character)
        if width < 0:
            break
        taken.append(character)
    return "".join(taken)


def as_clock(seconds: float) -> str:
    """`90` -> `1:30`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
