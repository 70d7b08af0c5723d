"""Options as Python callers name them (`height=480, codec="hevc"`) -> option dataclasses, with their types checked.

The names are those of the fields, whichever of the nested dataclasses they belong to; there is no other list of them.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Set
from dataclasses import fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from types import NoneType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from vidstyle.core.errors import UsageError

T = TypeVar("T")

_WORDS = {int: "a whole number", float: "a number", bool: "True or False", str: "a string", NoneType: "None"}


@cache
def names_of(kind: type) -> frozenset[str]:
    """The names of all fields of an option dataclass and of the dataclasses in it."""
    nested, own = _split(kind)
    return frozenset(own).union(*(names_of(inner) for inner in nested.values()))


def refuse_unknown(function: str, names: Iterable[str], known: Set[str]) -> None:
    """Raise `TypeError`, as Python does, for a keyword argument that is not `known`; it suggests the most similar one."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; there are: {', '.join(sorted(known))}"
            raise TypeError(f"{function}() got an unexpected keyword argument '{name}'{hint}")


def options_of(kind: type[T], values: Mapping[str, Any]) -> T:
    """An option dataclass, and those in it, with those of `values` that they have a field for.

    Numbers may be NumPy scalars, strings may be paths. Raises `UsageError` for a value of another type or out of range.
    """
    nested, own = _split(cast(type, kind))
    arguments: dict[str, Any] = {name: options_of(inner, values) for name, inner in nested.items()}
    arguments |= {name: _checked(name, values[name], hint) for name, hint in own.items() if name in values}
    return kind(**arguments)


@cache
def _split(kind: type) -> tuple[dict[str, type], dict[str, Any]]:
    """The fields of an option dataclass with their types: those that are dataclasses themselves, and the others."""
    hints = get_type_hints(kind)
    hints = {field.name: hints[field.name] for field in fields(kind)}  # type: ignore[arg-type]  # always a dataclass
    nested = {name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)}
    return nested, {name: hint for name, hint in hints.items() if name not in nested}


def _checked(name: str, value: Any, hint: Any) -> Any:
    """`value` converted to the type `hint` of a field; raises `UsageError` if it is of another type."""
    if hint == tuple[str, ...]:
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise UsageError(f"expected a list of strings for {name}, got {value!r}")
    kinds = (hint,) if hint in _WORDS or get_origin(hint) is Literal else get_args(hint)
    for kind in kinds:
        if get_origin(kind) is Literal:
            if isinstance(value, str) and value in get_args(kind):
                return value
        elif kind is str and isinstance(value, str | os.PathLike):
            return os.fspath(value)
        elif kind in (bool, NoneType) and isinstance(value, kind):
            return value
        elif isinstance(value, bool):  # a number for Python
            continue
        elif kind is int and isinstance(value, Integral):
            return int(value)
        elif kind is float and isinstance(value, Real):
            return float(value)
    words = [word for kind in kinds for word in ([_WORDS[kind]] if kind in _WORDS else map(repr, get_args(kind)))]
    raise UsageError(f"expected {' or '.join(words)} for {name}, got {value!r}")
