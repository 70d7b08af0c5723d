"""Starts another Python process that finds the same modules as this one, whatever the current folder contains."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any


def python_command(*arguments: str) -> list[str]:
    """The command line of this Python; `-P` keeps the current folder off the module path."""
    return [sys.executable, "-P", *arguments]


def python_environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment with its module path, and with `variables` added."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path), **(variables or {})}


def start_module(
    module: str, *arguments: str, variables: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[bytes]:
    """Start `python -m MODULE ARGUMENTS`; `options` are those of `subprocess.Popen`.

    It gets its own process group: Ctrl-C in the terminal does not reach it, and `os.killpg` ends it and its children.
    """
    group: dict[str, Any] = {"process_group": 0}
    if sys.platform == "win32":
        group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    command = python_command("-m", module, *arguments)
    return subprocess.Popen(command, env=python_environment(variables), **options, **group)
