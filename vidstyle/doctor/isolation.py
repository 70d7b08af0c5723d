"""Looking at what could hang or crash, from a safe distance: each in a process of its own, which is ended when it is late."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from vidstyle.core.child_process import start_module
from vidstyle.core.files import writing
from vidstyle.doctor.checks import Check, Inspection

_GRACE_SECONDS = 2.0
_OWN_FOLDERS = ("TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME", "CUDA_CACHE_PATH")
"""Variables that say where libraries write by themselves."""


class Apart:
    """Asks in processes of their own; any thread may. They write into a temporary folder, which is gone after `close`.

    Raises `DiskError` where there is no place for that folder.
    """

    def __init__(self) -> None:
        with writing(Path("a temporary folder")):
            self._scratch = tempfile.TemporaryDirectory(prefix="vidstyle-doctor-", ignore_cleanup_errors=True)
        self._folder = Path(self._scratch.name)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def ask(self, inspection: Inspection) -> list[Check]:
        """The rows of `inspection`, or one that says that it was late or died."""
        key = inspection.target.rpartition(":")[2]
        answer, log = self._folder / f"{key}.json", self._folder / f"{key}.log"
        process = self._start(inspection, answer, log)
        if process is None:
            return []
        try:
            code = process.wait(inspection.seconds)
        except subprocess.TimeoutExpired:
            late = f"no answer within {inspection.seconds:g} s: it hangs, or the machine is very busy"
            return [inspection.if_late or Check(inspection.name, "bad", late)]
        finally:
            self._end(process)
        try:
            return [Check(**row) for row in json.loads(answer.read_text("utf-8"))]
        except (OSError, ValueError, TypeError):
            return [Check(inspection.name, "bad", _last_words(code, log))]

    def _start(self, inspection: Inspection, answer: Path, log: Path) -> subprocess.Popen[bytes] | None:
        """None where all is over already."""
        own = {name: str(self._folder) for name in _OWN_FOLDERS}
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
        _kill(process)
        with contextlib.suppress(subprocess.TimeoutExpired):  # where even that does not end it, a driver holds it
            process.wait(_GRACE_SECONDS)
        with self._lock:
            self._running.discard(process)

    def close(self) -> None:
        """End what still runs, and remove the folder; harmless twice."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            self._end(process)
        self._scratch.cleanup()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End it with all that it started, whether it has ended itself or not."""
    if sys.platform == "win32":
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _last_words(code: int, log: Path) -> str:
    """How a process ended that gave no answer."""
    how = f"with exit code {code}"
    if code < 0:
        with contextlib.suppress(ValueError):
            how = f"by {signal.Signals(-code).name}"
    lines = log.read_text("utf-8", "replace").strip().splitlines() if log.exists() else []
    return f"the process that looked at it was ended {how}" + (f": {lines[-1]}" if lines else "")
