"""The process that `isolation.py` starts: it runs one inspection and writes the checks into a file."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path

from vidstyle.core.child_process import limit_this_process
from vidstyle.doctor.checks import Inspection, run_inspection


def main(name: str, target: str, answer: str) -> None:
    """Write the checks of `target` into the file `answer`, as JSON."""
    limit_this_process()  # a crash is reported; it must not leave a core dump in the current folder
    logging.disable(logging.WARNING)  # problems are reported in the checks
    rows = [asdict(check) for check in run_inspection(Inspection(name, target))]
    Path(answer).write_text(json.dumps(rows), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
