"""What the benchmarks of folders and clusters share: telling how far they are, and noting what they found."""

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


def say(text: str) -> None:
    """A line of progress."""
    print(f"[{time.monotonic() - _BEGAN:6.0f} s] {text}", file=sys.stderr, flush=True)


def command_line(arguments: Sequence[str] | None = None) -> str:
    """The command as anybody may type it: files are named without the folders that they lie in here, and where the results go
    is left out."""
    script, *given = sys.argv if arguments is None else arguments
    if "--json" in given:
        place = given.index("--json")
        del given[place : place + 2]
    return shlex.join(["python", "-m", f"tools.bench.{Path(script).stem}", *(Path(x).name if "/" in x else x for x in given)])


def noted(path: Path, part: str, found: dict[str, Any], seconds: float, command: str | None = None) -> None:
    """Put what a part of a benchmark found into the results, beside what other parts found at other times."""
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
    """In which the package under test is found, with its own styles, wherever it is run."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    variables.pop("VIDSTYLE_STYLES", None)
    variables.pop("RAY_ADDRESS", None)  # `local` means this machine
    return variables


def measure(parts: Mapping[str, Callable[[Path], dict[str, Any]]], wanted: Sequence[str] | None, results: Path) -> None:
    """Measure the wanted parts (None: all), each in a folder of its own, and note each down as soon as it is done."""
    for part in wanted or parts:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            found = parts[part](Path(scratch))
        noted(results, part, found, time.monotonic() - began)
        print(json.dumps({part: found}, indent=1), flush=True)
