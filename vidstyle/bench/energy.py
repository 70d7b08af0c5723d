"""Energy consumption, where the system reports it: RAPL counters of processors on Linux, NVIDIA's driver for a GPU."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

POLL_MILLISECONDS = 100


@dataclass
class Joules:
    """Energy of the whole machine, including other programs; None where the system does not report it."""

    cpu: float | None = None
    gpu: float | None = None


@contextmanager
def measure_energy(gpu: int | None = None, rapl: Path = Path("/sys/class/powercap")) -> Iterator[Joules]:
    """Yield the `Joules` of the block, filled in at its end; `gpu` is the index of the GPU that is used."""
    joules = Joules()
    power = _PowerLog(gpu) if gpu is not None else None
    before, began = _counters(rapl), time.perf_counter()
    try:
        yield joules
    finally:
        seconds, after = time.perf_counter() - began, _counters(rapl)
        if before and before.keys() == after.keys():
            joules.cpu = sum((after[k][0] - before[k][0]) % after[k][1] for k in after) / 1e6
        watts = power.close() if power is not None else None
        joules.gpu = None if watts is None else watts * seconds


def _counters(rapl: Path) -> dict[str, tuple[int, int]]:
    """Microjoules of each processor, and the value at which its counter wraps; empty where they cannot be read."""
    try:
        return {
            domain.name: (int((domain / "energy_uj").read_text()), int((domain / "max_energy_range_uj").read_text()) + 1)
            for domain in rapl.glob("intel-rapl:[0-9]*")
            if domain.name.count(":") == 1  # the others are contained in these
        }
    except (OSError, ValueError):  # on most systems only root may read them
        return {}


class _PowerLog:
    """Samples the power draw of a GPU with nvidia-smi."""

    def __init__(self, gpu: int) -> None:
        program = shutil.which("nvidia-smi")
        self._process: subprocess.Popen[str] | None = None
        if program is None:
            return
        query = [f"--id={gpu}", "--query-gpu=power.draw", "--format=csv,noheader,nounits", f"--loop-ms={POLL_MILLISECONDS}"]
        self._process = subprocess.Popen([program, *query], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def close(self) -> float | None:
        """The average power in watts; None where the driver does not report it."""
        if self._process is None:
            return None
        self._process.terminate()
        output, _ = self._process.communicate()
        watts = []
        for line in output.splitlines():
            try:
                watts.append(float(line))
            except ValueError:  # such as [N/A], or a truncated line
                continue
        return sum(watts) / len(watts) if watts else None
