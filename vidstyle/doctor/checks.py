"""What the doctor finds: a row for everything that it looks at."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Literal

from vidstyle.core.errors import VidstyleError
from vidstyle.core.files import reason

State = Literal["ok", "note", "bad"]
"""As it should be; something is missing or odd, and vidstyle does without; broken."""

REINSTALL = "pip install --force-reinstall vidstyle puts its packages right"


@dataclass(frozen=True)
class Check:
    """A row: what was looked at, how that is, what was found there, and what to do, if there is anything to do."""

    name: str
    state: State
    found: str
    advice: str | None = None


@dataclass(frozen=True)
class Inspection:
    """Something to look at. `target` is `module:function`, a function without arguments that gives the rows."""

    name: str
    """Of the row that tells that there are no others."""
    target: str
    seconds: float | None = None
    """How long it may take in a process of its own, where it can do no harm; None: here, for it can neither hang nor crash."""
    if_late: Check | None = None
    """What it means if that process had to be ended; None: that something is broken."""


def ask(inspection: Inspection) -> list[Check]:
    """The rows of `inspection`, looked at in this process; a row that tells of the exception instead, where there is one."""
    module, _, function = inspection.target.partition(":")
    try:
        return list(getattr(importlib.import_module(module), function)())
    except Exception as error:  # of whatever library; the other rows do not depend on it
        return [failed(inspection.name, error)]


def failed(name: str, error: Exception) -> Check:
    """The row of what ended with `error`."""
    if isinstance(error, VidstyleError):
        return refused(name, "bad", error)
    return Check(name, "bad", f"{type(error).__name__}: {reason(error)}", REINSTALL if isinstance(error, ImportError) else None)


def refused(name: str, state: State, error: VidstyleError) -> Check:
    """The row of `error`, in which the way out stands behind a semicolon."""
    found, _, advice = str(error).partition("; ")
    return Check(name, state, found, advice or None)
