"""The other end of `apart.py`: a process that looks at one thing, writes the rows into a file and ends."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path

from vidstyle.doctor.checks import Inspection, ask


def main(name: str, target: str, answer: str) -> None:
    """Write the rows of `target` into the file `answer`, as JSON."""
    _leave_no_core()
    logging.disable(logging.WARNING)  # what matters is in the rows
    rows = [asdict(check) for check in ask(Inspection(name, target))]
    Path(answer).write_text(json.dumps(rows), "utf-8")


def _leave_no_core() -> None:
    """A crash is told; it must not fill the current folder."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # there is no such thing on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(*sys.argv[1:])
