"""Text for terminals and logs: escaping, shortening to a width, and formatting times."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_CONTROLS = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories: controls, lone surrogates (bytes of a name that are not UTF-8), line and paragraph separators."""

_BIDI = {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}
"""Characters that change the direction of the text after them: `a\u202e4pm.exe` looks as if it ended in `mp4`."""


def printable(text: str) -> str:
    """`text` with everything that could control a terminal escaped, as in `\\x1b`."""
    if text.isprintable():  # almost always
        return text
    return "".join(c.encode("unicode_escape").decode() if _is_unsafe(c) else c for c in text)


def _is_unsafe(character: str) -> bool:
    return character in _BIDI or unicodedata.category(character) in _CONTROLS


def shortened(text: str, width: int) -> str:
    """`text` shortened in its middle to at most `width` columns: the end of a file name matters as much as its beginning."""
    if _columns(text) <= width:
        return text
    end = _fitting(reversed(text), width // 2)[::-1]
    return f"{_fitting(text, width - 1 - _columns(end))}…{end}"


def clipped(text: str, width: int) -> str:
    """`text` shortened at its end to at most `width` columns."""
    return text if _columns(text) <= width else f"{_fitting(text, width - 1)}…"


def _columns(text: str) -> int:
    """The width of `text` on a terminal."""
    from rich.cells import cell_len  # the help and errors do without rich

    return cell_len(text)


def _fitting(characters: Iterable[str], width: int) -> str:
    taken = []
    for character in characters:
        width -= _columns(character)
        if width < 0:
            break
        taken.append(character)
    return "".join(taken)


def as_clock(seconds: float) -> str:
    """`90` -> `1:30`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
