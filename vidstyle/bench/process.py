"""Conversions by the command line, each in its own process: peak memory, and the time to the first frame."""

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

# The command line, which also prints a line at the first frame, and its peak memory at the end.
_REPORTING_COMMAND_LINE = """
import sys
from vidstyle.cli import run_command_line
from vidstyle.cli.reporters import QuietReporter

original = QuietReporter.frame

def frame(reporter, job, count):
    if count == 1:
        print("first", flush=True)
    original(reporter, job, count)

QuietReporter.frame = frame
if code := run_command_line(sys.argv[1:]):
    sys.exit(code)
from vidstyle.bench.process import peak_memory_mib
print(peak_memory_mib())
"""


@dataclass(frozen=True)
class CommandRun:
    """Measurements of a conversion. `seconds` is the time from opening the input to publishing the output, without start-up."""

    frames: int
    seconds: float
    seconds_to_first_frame: float
    """Time from the start of the process."""
    peak_memory_mib: float | None
    """None where the system does not report it."""


def run_command(clip: Clip, options: BenchOptions, folder: Path) -> CommandRun:
    """Convert `clip` with the command line, into `folder`. Raises `OutputError` with its last message if that fails."""
    output, log_file = folder / f"process{clip.output_suffix}", folder / "process.log"
    style = options.style
    command = [*python_command("-c", _REPORTING_COMMAND_LINE), "--style", style.style, "--device", style.device]
    command += ["--backend", style.backend, "--batch-size", str(options.batch_size)]
    command += ["--duration", f"{clip.seconds:.6f}", "--progress", "json"]
    began = time.perf_counter()
    # To a file, because a pipe without a reader would fill up.
    with log_file.open("wb") as log, _running_process([*command, "-o", str(output), "--", clip.input], log) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first = time.perf_counter() - began
        peak, _ = process.communicate()
    events = log_file.read_text("utf-8").splitlines()
    if process.returncode:
        raise OutputError(f"the conversion to measure failed: {events[-1] if events else process.returncode}")
    output.unlink()
    done = next(e for e in map(json.loads, events) if e["event"] == "file_done")
    memory = peak.decode().strip()
    return CommandRun(done["frames"], done["seconds"], first, None if memory == "None" else float(memory))


@contextmanager
def _running_process(command: list[str], log: BinaryIO) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is killed if the block ends with an exception. The terminal's Ctrl-C does not reach it."""
    with subprocess.Popen(command, env=python_environment(), stdout=subprocess.PIPE, stderr=log, process_group=0) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def seconds_to_help() -> float:
    """Time from the start of `vidstyle --help` to its end."""
    began = time.perf_counter()
    command = python_command("-m", "vidstyle", "--help")
    subprocess.run(command, env=python_environment(), check=True, stdout=subprocess.DEVNULL, process_group=0)
    return time.perf_counter() - began


def peak_memory_mib() -> float | None:
    """Peak resident memory of this process; None where the system does not report it."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage includes the size of the parent before exec
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        return int(found[1]) / 1024 if found else None
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
