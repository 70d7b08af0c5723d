"""The process that `isolation.py` starts: it runs one inspection and writes the checks into a file."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path

from vidstyle.doctor.checks import Inspection, run_inspection


def main(name: str, target: str, answer: str) -> None:
    """Write the checks of `target` into the file `answer`, as JSON."""
    _disable_core_dumps()
    logging.disable(logging.WARNING)  # problems are reported in the checks
    rows = [asdict(check) for check in run_inspection(Inspection(name, target))]
    Path(answer).write_text(json.dumps(rows), "utf-8")


def _disable_core_dumps() -> None:
    """A crash is reported; it must not leave a core dump in the current folder."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not available on Windows
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(*sys.argv[1:])
