"""Choices as Python callers name them (`height=480, codec="hevc"`) -> option dataclasses, checked.

The names are those of the dataclasses' fields, whichever of the nested ones they belong to; there is no other list of them.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from types import NoneType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from vidstyle.core.errors import UsageError

T = TypeVar("T")

_WORDS = {int: "a whole number", float: "a number", bool: "True or False", str: "a text", NoneType: "None"}


@cache
def names_of(kind: type) -> frozenset[str]:
    """All choices of an option dataclass, those of the dataclasses in it too."""
    nested, own = _split(kind)
    return frozenset(own).union(*(names_of(inner) for inner in nested.values()))


def refuse_unknown(function: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise `TypeError`, as for any function, for a name in `given` that is no choice; it suggests the nearest one."""
    known = set(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; there are: {', '.join(sorted(known))}"
            raise TypeError(f"{function}() got an unexpected keyword argument '{name}'{hint}")


def options_of(kind: type[T], given: Mapping[str, Any]) -> T:
    """An option dataclass (and those in it) with the values of `given` that it has a field for.

    Numbers may be NumPy's, texts may be paths. Raises `UsageError` for a value of another kind or out of range.
    """
    nested, own = _split(cast(type, kind))
    values: dict[str, Any] = {name: options_of(inner, given) for name, inner in nested.items()}
    values |= {name: _checked(name, given[name], hint) for name, hint in own.items() if name in given}
    return kind(**values)


@cache
def _split(kind: type) -> tuple[dict[str, type], dict[str, Any]]:
    """The fields of an option dataclass with their types: those that are dataclasses, and the others."""
    hints = get_type_hints(kind)
    hints = {field.name: hints[field.name] for field in fields(kind)}  # type: ignore[arg-type]  # a dataclass, as is said
    nested = {name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)}
    return nested, {name: hint for name, hint in hints.items() if name not in nested}


def _checked(name: str, value: Any, hint: Any) -> Any:
    """`value` as a field of the type `hint` has it."""
    kinds = (hint,) if hint in _WORDS or get_origin(hint) is Literal else get_args(hint)
    for kind in kinds:
        if get_origin(kind) is Literal:
            if isinstance(value, str) and value in get_args(kind):
                return value
        elif kind is str and isinstance(value, str | os.PathLike):
            return os.fspath(value)
        elif kind in (bool, NoneType) and isinstance(value, kind):
            return value
        elif isinstance(value, bool):  # which Python takes for a number
            continue
        elif kind is int and isinstance(value, Integral):
            return int(value)
        elif kind is float and isinstance(value, Real):
            return float(value)
    words = [word for kind in kinds for word in ([_WORDS[kind]] if kind in _WORDS else map(repr, get_args(kind)))]
    raise UsageError(f"expected {' or '.join(words)} for {name}, got {value!r}")
