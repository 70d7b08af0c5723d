"""What the benchmarks of folders and clusters share: progress messages, and writing results."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vidstyle.core.hardware import machine_details, usable_cores

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tools" / "bench" / "results"
SAMPLE = ROOT / "samples" / "boat.mp4"
STYLE = "mosaic"
_BEGAN = time.monotonic()


def print_progress(text: str) -> None:
    """Print a line of progress."""
    print(f"[{time.monotonic() - _BEGAN:6.0f} s] {text}", file=sys.stderr, flush=True)


def command_line(arguments: Sequence[str] | None = None) -> str:
    """The command as anybody may type it: without the folders of files, and without --json."""
    script, *words = sys.argv if arguments is None else arguments
    if "--json" in words:
        place = words.index("--json")
        del words[place : place + 2]
    return shlex.join(["python", "-m", f"tools.bench.{Path(script).stem}", *(Path(x).name if "/" in x else x for x in words)])


def write_result(path: Path, part: str, found: dict[str, Any], seconds: float, command: str | None = None) -> None:
    """Write the results of a part of a benchmark into the file that holds those of all parts."""
    results: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    where = {"command": command or command_line(), "machine": machine_details(usable_cores()) | _ray(), "seconds": round(seconds)}
    results[part] = where | found
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def _ray() -> dict[str, str]:
    try:
        return {"ray": version("ray")}
    except PackageNotFoundError:
        return {}


def vidstyle_environment() -> dict[str, str]:
    """Environment variables with which this package is found, with its own styles, in any current folder."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    variables.pop("VIDSTYLE_STYLES", None)
    variables.pop("RAY_ADDRESS", None)  # `local` means this machine
    return variables


def measure(parts: Mapping[str, Callable[[Path], dict[str, Any]]], wanted: Sequence[str] | None, results: Path) -> None:
    """Measure the wanted parts (None: all), each in a folder of its own, and write the results of each at once."""
    for part in wanted or parts:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            found = parts[part](Path(scratch))
        write_result(results, part, found, time.monotonic() - began)
        print(json.dumps({part: found}, indent=1), flush=True)
