"""Inspections that could hang or crash: each runs in a separate process, which is killed after a timeout."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
from pathlib import Path

from vidstyle.core.child_process import kill, start_module
from vidstyle.core.temporary_folder import TemporaryFolder
from vidstyle.doctor.checks import Check, Inspection

_KILL_SECONDS = 2.0
_FOLDER_VARIABLES = ("TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME", "CUDA_CACHE_PATH")
"""Environment variables for folders that libraries write to."""


class IsolatedRunner:
    """Runs inspections in separate processes, which write only into a temporary folder that `close` removes. Thread-safe.

    Raises `DiskError` if that folder cannot be created.
    """

    def __init__(self) -> None:
        self._scratch = TemporaryFolder()
        self._folder = self._scratch.path
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(self, inspection: Inspection) -> list[Check]:
        """The checks of `inspection`, or one that reports a timeout or a crash."""
        key = inspection.target.rpartition(":")[2]
        answer, log = self._folder / f"{key}.json", self._folder / f"{key}.log"
        process = self._start(inspection, answer, log)
        if process is None:
            return []
        try:
            code = process.wait(inspection.seconds)
        except subprocess.TimeoutExpired:
            timeout = f"no answer within {inspection.seconds:g} s: it hangs, or the machine is overloaded"
            return [inspection.on_timeout or Check(inspection.name, "bad", timeout)]
        finally:
            self._end(process)
        try:
            return [Check(**row) for row in json.loads(answer.read_text("utf-8"))]
        except (OSError, ValueError, TypeError):
            return [Check(inspection.name, "bad", _exit_description(code, log))]

    def _start(self, inspection: Inspection, answer: Path, log: Path) -> subprocess.Popen[bytes] | None:
        """None after `close`."""
        own = {name: str(self._folder) for name in _FOLDER_VARIABLES}
        with self._lock:
            if self._closed:
                return None
            with log.open("wb") as output:
                process = start_module(
                    "vidstyle.doctor.isolated_process",
                    inspection.name,
                    inspection.target,
                    str(answer),
                    variables={**own, "PYTHONDONTWRITEBYTECODE": "1"},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            self._running.add(process)
        return process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        kill(process)
        with contextlib.suppress(subprocess.TimeoutExpired):  # a process that hangs in a driver cannot be killed
            process.wait(_KILL_SECONDS)
        with self._lock:
            self._running.discard(process)

    def close(self) -> None:
        """Kill running processes and remove the folder; closing twice is harmless."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            self._end(process)
        self._scratch.close()


def _exit_description(code: int, log: Path) -> str:
    """How a process without an answer ended."""
    how = f"ended with exit code {code}"
    if code < 0:
        with contextlib.suppress(ValueError):
            how = f"was killed by {signal.Signals(-code).name}"
    lines = log.read_text("utf-8", "replace").strip().splitlines() if log.exists() else []
    return f"the process of the inspection {how}" + (f": {lines[-1]}" if lines else "")
