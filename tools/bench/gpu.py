"""Measurements on a GPU, in one run of less than ten minutes.

    python -m tools.bench.gpu [--device cuda] [--output tools/bench/results/bench_gpu.json] [--only net-onnx ...]

Each part (`gpu_parts.py`) runs in its own process, and each result is written at once, so that an interrupted run keeps
its results; errors are sentences in the results. `--small --device cpu` tests the script in half a minute on any machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tools.bench.gpu_networks import RATE, ROOT, Bench, environment
from tools.bench.gpu_parts import PARTS

SAMPLE = ROOT / "samples" / "boat.mp4"
TOTAL_SECONDS, PART_SECONDS = 560.0, 150.0


def run_part(name: str, bench: Bench) -> None:
    """Measure one part, and print a line of JSON per result; errors are sentences instead of results."""
    measurements = PARTS[name][1](bench)
    while True:
        try:
            label, measure = next(measurements)
        except StopIteration:
            return
        except Exception as error:  # the part cannot be measured at all
            report(name, error_text(error))
            return
        try:
            report(f"{name}: {label}", measure())
        except Exception as error:
            report(f"{name}: {label}", error_text(error))


def error_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0][:300]}"


def report(label: str, result: object) -> None:
    print("\n" + json.dumps([label, result]), flush=True)


class PeakMemory(threading.Thread):
    """Peak memory in use on the GPUs in MiB, from nvidia-smi; None without it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak: int | None = None
        self._process: subprocess.Popen[str] | None = None
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-lms", "200"]
        with suppress(OSError):
            self._process = subprocess.Popen(query, stdout=subprocess.PIPE, text=True)
            self.start()

    def run(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with suppress(ValueError):
                self.peak = max(self.peak or 0, int(line))

    def close(self) -> int | None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        return self.peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--output", type=Path, default=ROOT / "tools" / "bench" / "results" / "bench_gpu.json")
    parser.add_argument("--small", action="store_true", help="use tiny images, for a moment each")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), help="measure only these parts")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        run_part(args.part, Bench(args.device, args.small, args.folder))
        return
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as name:
        bench = Bench(args.device, args.small, Path(name))
        parts = [part for part in PARTS if bench.on_gpu or part != "compiled"]  # that takes half a minute even without a GPU
        measure_all(bench, args.only or parts, args.output)


def measure_all(bench: Bench, parts: Sequence[str], output: Path) -> None:
    """Run all parts, each in its own process, and write the results after each one."""
    from vidstyle.bench.clips import make_clip
    from vidstyle.core.hardware import machine_details, usable_cores

    began = time.monotonic()
    options = f" --device {bench.device}{' --small' if bench.small else ''}"
    found: dict[str, Any] = {"command": "python -m tools.bench.gpu" + options, "machine": machine_details(usable_cores())}
    found |= {where: {} for where, _ in PARTS.values()} | {"peak MiB on the GPU": {}}
    output.parent.mkdir(parents=True, exist_ok=True)

    def note(where: str, label: str, result: object) -> None:
        found[where][label] = result
        found["seconds"] = round(time.monotonic() - began)
        output.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        print(f"[{time.monotonic() - began:5.0f} s] {where}, {label}: {result}", file=sys.stderr, flush=True)

    for size, shape in bench.sizes.items():
        Path(make_clip(bench.folder, shape, bench.frames(size) / RATE, str(SAMPLE)).input).rename(bench.clip(size))
    for part in parts:
        left = TOTAL_SECONDS - (time.monotonic() - began)
        if left < 5:
            note(PARTS[part][0], part, "no time left")
            continue
        memory = PeakMemory()
        for label, result in results_of(part, bench, min(left, PART_SECONDS)):
            note(PARTS[part][0], label, result)
        note("peak MiB on the GPU", part, memory.close())


def results_of(part: str, bench: Bench, seconds: float) -> Iterator[tuple[str, Any]]:
    """The results of a part, measured in its own process, as soon as they are known."""
    command = [sys.executable, "-m", "tools.bench.gpu", "--part", part, "--device", bench.device, "--folder", str(bench.folder)]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command + ["--small"] * bench.small, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment()
        )
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with suppress(ValueError, TypeError):
                    label, result = json.loads(line)
                    yield label, result
        code = process.wait()
        took_too_long = not timer.is_alive()
        timer.cancel()
        if code:
            errors.seek(0)
            last = next(iter(errors.read().strip().splitlines()[-1:]), "no message")
            yield part, "timed out" if took_too_long else f"ended with {code}: {last[:300]}"


if __name__ == "__main__":
    main()
