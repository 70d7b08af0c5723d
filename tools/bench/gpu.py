"""All that only a GPU can show, in one run of less than ten minutes.

    python -m tools.bench.gpu [--device cuda] [--output tools/bench/results/bench_gpu.json] [--only net-onnx ...]

Each part (`gpu_parts.py`) runs in a process of its own, and each figure is noted as soon as it is known: a run that is cut off
still tells, and what fails is a sentence in the results. `--small --device cpu` runs it dry, in half a minute, on any machine.
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
SECONDS_IN_ALL, SECONDS_A_PART = 560.0, 150.0


def run_part(name: str, bench: Bench) -> None:
    """Measure one part, a line of JSON a figure; what fails is a sentence instead of a figure."""
    measurements = PARTS[name][1](bench)
    while True:
        try:
            label, measure = next(measurements)
        except StopIteration:
            return
        except Exception as error:  # nothing of the part can be had
            tell(name, sentence(error))
            return
        try:
            tell(f"{name}: {label}", measure())
        except Exception as error:
            tell(f"{name}: {label}", sentence(error))


def sentence(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error) or 'nothing said').splitlines()[0][:300]}"


def tell(label: str, figure: object) -> None:
    print("\n" + json.dumps([label, figure]), flush=True)


class PeakMemory(threading.Thread):
    """The most memory that the GPUs had in use, in MiB, as nvidia-smi tells; None without it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak: int | None = None
        self._asked: subprocess.Popen[str] | None = None
        query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-lms", "200"]
        with suppress(OSError):
            self._asked = subprocess.Popen(query, stdout=subprocess.PIPE, text=True)
            self.start()

    def run(self) -> None:
        assert self._asked is not None
        assert self._asked.stdout is not None
        for line in self._asked.stdout:
            with suppress(ValueError):
                self.peak = max(self.peak or 0, int(line))

    def close(self) -> int | None:
        if self._asked is not None:
            self._asked.terminate()
            self._asked.wait()
        return self.peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--output", type=Path, default=ROOT / "tools" / "bench" / "results" / "bench_gpu.json")
    parser.add_argument("--small", action="store_true", help="tiny images, a moment each")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), help="these parts")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        run_part(args.part, Bench(args.device, args.small, args.folder))
        return
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as name:
        bench = Bench(args.device, args.small, Path(name))
        parts = [part for part in PARTS if bench.on_gpu or part != "compiled"]  # which takes half a minute there too
        measure_all(bench, args.only or parts, args.output)


def measure_all(bench: Bench, parts: Sequence[str], output: Path) -> None:
    """Run all parts, each in its process, and write what is known after every figure."""
    from vidstyle.bench.clips import make_clip
    from vidstyle.core.hardware import machine_details, usable_cores

    began = time.monotonic()
    chosen = f" --device {bench.device}{' --small' if bench.small else ''}"
    found: dict[str, Any] = {"command": "python -m tools.bench.gpu" + chosen, "machine": machine_details(usable_cores())}
    found |= {where: {} for where, _ in PARTS.values()} | {"peak MiB on the GPU": {}}
    output.parent.mkdir(parents=True, exist_ok=True)

    def note(where: str, label: str, figure: object) -> None:
        found[where][label] = figure
        found["seconds"] = round(time.monotonic() - began)
        output.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        print(f"[{time.monotonic() - began:5.0f} s] {where}, {label}: {figure}", file=sys.stderr, flush=True)

    for size, shape in bench.sizes.items():
        Path(make_clip(bench.folder, shape, bench.frames(size) / RATE, str(SAMPLE)).input).rename(bench.clip(size))
    for part in parts:
        left = SECONDS_IN_ALL - (time.monotonic() - began)
        if left < 5:
            note(PARTS[part][0], part, "no time was left")
            continue
        memory = PeakMemory()
        for label, figure in figures_of(part, bench, min(left, SECONDS_A_PART)):
            note(PARTS[part][0], label, figure)
        note("peak MiB on the GPU", part, memory.close())


def figures_of(part: str, bench: Bench, seconds: float) -> Iterator[tuple[str, Any]]:
    """What a process of its own finds in that time, as it finds it."""
    command = [sys.executable, "-m", "tools.bench.gpu", "--part", part, "--device", bench.device, "--folder", str(bench.folder)]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command + ["--small"] * bench.small, stdout=subprocess.PIPE, stderr=said, text=True, env=environment()
        )
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with suppress(ValueError, TypeError):
                    label, figure = json.loads(line)
                    yield label, figure
        code = process.wait()
        took_too_long = not timer.is_alive()
        timer.cancel()
        if code:
            said.seek(0)
            last = next(iter(said.read().strip().splitlines()[-1:]), "nothing said")
            yield part, "it took too long" if took_too_long else f"it ended with {code}: {last[:300]}"


if __name__ == "__main__":
    main()
