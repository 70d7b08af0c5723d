"""Inspections, and the checks that they result in, a row each."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Literal

from vidstyle.core.errors import VidstyleError
from vidstyle.core.files import reason

State = Literal["ok", "note", "bad"]
"""`ok`: as it should be; `note`: missing or unusual, but vidstyle works without; `bad`: broken."""

REINSTALL = "pip install --force-reinstall vidstyle repairs its packages"


@dataclass(frozen=True)
class Check:
    """A row of the report: what was checked, its state, details, and advice if there is something to do."""

    name: str
    state: State
    details: str
    advice: str | None = None


@dataclass(frozen=True)
class Inspection:
    """Something to check. `target` is `module:function`, a function without arguments that returns checks."""

    name: str
    """Name of the row that reports a failure of the inspection itself."""
    target: str
    seconds: float | None = None
    """Timeout in a separate process; None: it can neither hang nor crash, and runs in this process."""
    on_timeout: Check | None = None
    """The check if that process timed out; None: that is a failure."""


def run_inspection(inspection: Inspection) -> list[Check]:
    """Run `inspection` in this process, and return its checks, or one that reports the exception."""
    module, _, function = inspection.target.partition(":")
    try:
        return list(getattr(importlib.import_module(module), function)())
    except Exception as error:  # of any library; the other inspections go on
        return [check_of_exception(inspection.name, error)]


def check_of_exception(name: str, error: Exception) -> Check:
    """The check of an inspection that raised `error`."""
    if isinstance(error, VidstyleError):
        return check_of_error(name, "bad", error)
    return Check(name, "bad", f"{type(error).__name__}: {reason(error)}", REINSTALL if isinstance(error, ImportError) else None)


def check_of_error(name: str, state: State, error: VidstyleError) -> Check:
    """The check of `error`, whose message has the advice after a semicolon."""
    details, _, advice = str(error).partition("; ")
    return Check(name, state, details, advice or None)
