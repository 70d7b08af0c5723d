"""Keeps Ray's processes from outliving the run that started them, and Ray from changing this process.

When a run is killed, Ray's agents outlive it by half a minute or more, because they wait for a head that is gone. So this module
also runs as a process of its own: it waits for the end of the run, and then kills whatever has a certain variable in its
environment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from vidstyle.core.child_process import start_module

_VARIABLE = "VIDSTYLE_RAY_CLUSTER"
_PROCESSES = Path("/proc")
_SECONDS = 20.0
"""How long is waited for processes that do not even end when they are killed, as in a driver of a GPU."""


@contextmanager
def guarded_processes() -> Iterator[dict[str, str]]:
    """Environment variables for processes; those that have them end with the block, or with this process.

    On other systems than Linux nothing guards: there Ray itself ends its process group or its job.
    """
    mark = uuid.uuid4().hex
    if not (_PROCESSES / "self" / "environ").exists():
        yield {}
        return
    guard = start_module(__name__, mark, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # Ray's processes give themselves names, which would otherwise be written over the environment that others can read.
        yield {_VARIABLE: mark, "SPT_NOENV": "1"}
    finally:
        guard.communicate()


@contextmanager
def set_variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Set `variables` in the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def signal_handlers_kept() -> Iterator[None]:
    """Keep Ray from replacing the handler of SIGTERM: in Python by one that exits, in C by one that prints a native stack trace.

    The processes that Ray starts in the block do not end when the terminal is closed; as after Ctrl-C, this one stops them.
    """
    if threading.current_thread() is not threading.main_thread():  # where Ray sets no handler in Python, and nobody can
        yield
        return
    install, handler = signal.signal, signal.getsignal(signal.SIGTERM)
    hangup = {signal.SIGHUP} if hasattr(signal, "SIGHUP") else set()
    signal.signal = lambda number, handler: signal.getsignal(number)  # type: ignore[assignment]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, hangup) if hangup else set()
    try:
        yield
    finally:
        signal.signal = install
        if handler is not None:
            signal.signal(signal.SIGTERM, handler)
        if hangup:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _kill_marked(mark: str) -> None:
    end = time.monotonic() + _SECONDS
    while (found := _marked(f"{_VARIABLE}={mark}".encode())) and time.monotonic() < end:
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _marked(entry: bytes) -> list[int]:
    """The processes that were started with `entry` in their environment."""
    found = []
    for folder in _PROCESSES.iterdir():
        with contextlib.suppress(OSError):  # ended in the meantime, or another user's
            if folder.name.isdigit() and entry in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


if __name__ == "__main__":
    sys.stdin.buffer.read()  # which returns as soon as the run closes it or has ended
    _kill_marked(sys.argv[1])
