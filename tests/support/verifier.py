"""Verifies models as `vidstyle.stylizers.verification` does in a process of its own, without loading the engine each time.

Run as a program it reads paths, one per line, and prints the exit code for each: of a fork, which may crash.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.helpers import environment
from vidstyle.stylizers import verification

_PYTHON_ERROR = 1


class Verifier:
    """The process that verifies."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.verifier"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(),
        )

    def code(self, path: Path) -> int:
        """The exit code for a file: negative for a crash."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def _verified(path: str) -> int:
    """What `verification.main` returns in a fork, or how that ends."""
    child = os.fork()
    if child == 0:
        code = _PYTHON_ERROR
        try:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # until the end of the process
            code = verification.main(path, verification.MAX_SECONDS, verification.MAX_MEMORY)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    import vidstyle.stylizers.onnx  # noqa: F401  # once, instead of in every fork

    for line in sys.stdin:
        print(_verified(line.rstrip("\n")), flush=True)
