"""Conversions as a user runs them, each in a process of its own: memory, and the time until something happens."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vidstyle.bench.clips import Clip
from vidstyle.bench.options import BenchOptions
from vidstyle.core.child_process import python_command, python_environment
from vidstyle.core.errors import OutputError

# The command line as it is, but that it tells of the first frame, and of its memory at the end.
_TELLING = """
import sys
from vidstyle.cli import run_command_line
from vidstyle.cli.reporters import QuietReporter

told = QuietReporter.frame

def frame(reporter, job, count):
    if count == 1:
        print("first", flush=True)
    told(reporter, job, count)

QuietReporter.frame = frame
if code := run_command_line(sys.argv[1:]):
    sys.exit(code)
from vidstyle.bench.process import peak_memory_mib
print(peak_memory_mib())
"""


@dataclass(frozen=True)
class UserRun:
    """What a conversion took. `seconds` are those from opening the input to naming the output, so without the start-up."""

    frames: int
    seconds: float
    seconds_to_first_frame: float
    """From the start of the process."""
    peak_memory_mib: float | None
    """None where the system does not tell."""


def run_as_user(clip: Clip, options: BenchOptions, folder: Path) -> UserRun:
    """Convert `clip` by the command line, into `folder`. Raises `OutputError` with what it said if that fails."""
    output, said = folder / f"process{clip.output_suffix}", folder / "process.log"
    style = options.style
    command = [*python_command("-c", _TELLING), "--style", style.style, "--device", style.device, "--backend", style.backend]
    command += ["--batch-size", str(options.batch_size), "--duration", f"{clip.seconds:.6f}", "--progress", "json"]
    began = time.perf_counter()
    # To a file: a pipe that nobody empties would fill up.
    with said.open("wb") as log, _started([*command, "-o", str(output), "--", clip.input], log) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first = time.perf_counter() - began
        peak, _ = process.communicate()
    events = said.read_text("utf-8").splitlines()
    if process.returncode:
        raise OutputError(f"expected a conversion to measure, it failed: {events[-1] if events else process.returncode}")
    output.unlink()
    done = next(e for e in map(json.loads, events) if e["event"] == "file_done")
    memory = peak.decode().strip()
    return UserRun(done["frames"], done["seconds"], first, None if memory == "None" else float(memory))


@contextmanager
def _started(command: list[str], log: BinaryIO) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not outlive the block, whatever ends that."""
    with subprocess.Popen(command, env=python_environment(), stdout=subprocess.PIPE, stderr=log) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def seconds_to_help() -> float:
    """From the start of `vidstyle --help` to its end."""
    began = time.perf_counter()
    command = python_command("-m", "vidstyle", "--help")
    subprocess.run(command, env=python_environment(), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def peak_memory_mib() -> float | None:
    """The most resident memory that this process had; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would begin with the size of the parent
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        return int(found[1]) / 1024 if found else None
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
