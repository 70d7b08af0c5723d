"""Starts, limits and ends Python processes, which find the same modules as this one, whatever the current folder contains."""

from __future__ import annotations

import contextlib
import os
import signal
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

    It gets its own process group: Ctrl-C in the terminal does not reach it, and `kill` ends it and its children.
    """
    group: dict[str, Any] = {"process_group": 0}
    if sys.platform == "win32":
        group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    command = python_command("-m", module, *arguments)
    return subprocess.Popen(command, env=python_environment(variables), **options, **group)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that `start_module` started and all its children, which may outlive it."""
    if sys.platform == "win32":
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def limit_this_process(seconds: int | None = None, memory: int | None = None) -> None:
    """Limit processor time and memory (bytes) of this process, which must leave no core dump if it crashes, as far as the system
    can; a limit that is lower already is kept."""
    with contextlib.suppress(ImportError):  # not available on Windows
        import resource

        for kind, limit in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_DATA, memory)):
            present, maximum = resource.getrlimit(kind)
            if limit is not None and (present == resource.RLIM_INFINITY or limit < present):
                with contextlib.suppress(OSError, ValueError):
                    resource.setrlimit(kind, (limit, maximum))
