"""Measurements of one clip: each stage alone, all together, and all without the network.

Times are wall-clock time and, as `cpu`, processor time of all threads. No result is the difference of two others.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from vidstyle.bench.clips import Clip
from vidstyle.bench.energy import Joules, measure_energy
from vidstyle.bench.options import BenchOptions
from vidstyle.bench.process import CommandRun, run_command
from vidstyle.conversion.convert import SHOT_FRAMES, convert
from vidstyle.core.frames import Frame, Pixels
from vidstyle.core.hardware import usable_cores
from vidstyle.core.options import ConvertOptions, Trim
from vidstyle.core.protocols import Stylizer
from vidstyle.sinks import OtherStreams, open_video_sink
from vidstyle.sources import open_source

ALONE = ("decode", "net", "encode")
STAGES = (*ALONE, "total", "without_net")


@dataclass(frozen=True)
class StageTime:
    """Wall-clock time and processor time in seconds."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class _Round:
    frames: int
    times: Mapping[str, StageTime]
    joules: Joules
    command: CommandRun


class ClipBench:
    """Measures conversions of one clip, in rounds, so that several clips can take turns; `result` has the medians."""

    def __init__(
        self, clip: Clip, stylizer: Stylizer, options: BenchOptions, folder: Path, check: Callable[[], None] = lambda: None
    ) -> None:
        """`check` is called between frames and may raise."""
        self._clip, self._stylizer, self._options, self._folder = clip, stylizer, options, folder
        self._check = check
        self._rounds: list[_Round] = []
        trim = Trim(end=clip.seconds)
        self._convert = ConvertOptions(options.style, trim=trim, batch_size=options.batch_size, overwrite=True)
        self._gpu = gpu_index(stylizer)
        self._encode(self._stylize(self._decode(limit=2 * options.batch_size)))  # warm up: modules, codecs, memory of the network

    @property
    def name(self) -> str:
        """The clip's size."""
        return self._clip.name

    def round(self) -> None:
        """Measure everything once."""
        times: dict[str, StageTime] = {}
        with _measure(times, "decode"):
            frames = self._decode()
        stylizer = self._stylizer.for_shot(f.pixels for f in frames[:: max(1, len(frames) // SHOT_FRAMES)]).at(0.0)
        with _measure(times, "net"):
            stylized = self._stylize(frames, stylizer)
        del frames
        with _measure(times, "encode"):
            self._encode(stylized)
        with _measure(times, "without_net"):
            self._convert_clip(PrecomputedStylizer([frame.pixels for frame in stylized]))
        count = len(stylized)
        del stylized
        with measure_energy(self._gpu) as joules, _measure(times, "total"):
            self._convert_clip(self._stylizer)
        self._check()
        command = run_command(self._clip, self._options, self._folder)
        self._rounds.append(_Round(count, times, joules, command))

    def _decode(self, limit: int | None = None) -> list[Frame]:
        with closing(open_source(self._clip.input, self._convert.trim)) as source:
            return [self._checked(frame) for frame in islice(source.frames(), limit)]

    def _checked(self, frame: Frame) -> Frame:
        self._check()
        return frame

    def _stylize(self, frames: Sequence[Frame], stylizer: Stylizer | None = None) -> list[Frame]:
        stylizer, size = stylizer or self._stylizer.at(0.0), self._options.batch_size
        batches = [[f.pixels for f in frames[i : i + size]] for i in range(0, len(frames), size)]
        with ThreadPoolExecutor(stylizer.concurrency) as executor:
            images: list[Pixels] = []
            for batch in executor.map(stylizer.stylize, batches):
                images.extend(batch)
                self._check()
        return [Frame(p, f.pts, f.time_base, f.duration, f.alpha) for p, f in zip(images, frames, strict=True)]

    def _encode(self, stylized: Iterable[Frame]) -> None:
        """Encode, verify and publish like a conversion."""
        input, options = self._clip.input, self._convert
        output = self._folder / f"encoded{self._clip.output_suffix}"
        with closing(open_source(input, options.trim)) as source:
            info = source.info
        others = OtherStreams(input, Fraction(0), options)
        with closing(open_video_sink(output, info, options.encode, others, overwrite=True)) as sink:
            for frame in stylized:
                sink.write(self._checked(frame))
            sink.publish()
        output.unlink()

    def _convert_clip(self, stylizer: Stylizer) -> None:
        output = self._folder / f"converted{self._clip.output_suffix}"
        convert(self._clip.input, output, stylizer, self._convert, lambda count: self._check())
        output.unlink()

    def result(self) -> dict[str, Any]:
        """The medians, for JSON; None for what the system does not report."""
        rounds, frames, rate = self._rounds, self._rounds[0].frames, float(self._clip.rate)
        wall = {stage: _median(r.times[stage].wall for r in rounds) for stage in STAGES}
        cpu = {stage: _median(r.times[stage].cpu for r in rounds) for stage in STAGES}
        fps = frames / wall["total"]
        peaks = [r.command.peak_memory_mib for r in rounds if r.command.peak_memory_mib is not None]
        cores = usable_cores()
        ratios = (r.times["total"].wall * cores / sum(r.times[stage].cpu for stage in ALONE) for r in rounds)
        return {
            "frames": frames,
            "frame_rate": round(rate, 3),
            "stages": {
                s: {"wall": round(wall[s], 4), "cpu": round(cpu[s], 4), "fps": round(frames / wall[s], 2)} for s in STAGES
            },
            "net_ms": round(1000 * wall["net"] / frames, 2),
            "fps": round(fps, 2),
            "real_time": round(fps / rate, 3),
            "headroom": round(_median(r.times["without_net"].wall / r.times["total"].wall for r in rounds), 3),
            "total_wall_over_cpu_time_per_core": round(_median(ratios), 3),
            "seconds_to_first_frame": round(_median(r.command.seconds_to_first_frame for r in rounds), 3),
            "peak_memory_mib": round(max(peaks), 1) if peaks else None,
            "joules_per_frame": {
                "cpu": _per_frame([r.joules.cpu for r in rounds], frames),
                "gpu": _per_frame([r.joules.gpu for r in rounds], frames),
            },
        }


class PrecomputedStylizer(Stylizer):
    """Returns images that were stylized before, one after the other, whatever its input."""

    def __init__(self, stylized: Iterable[Pixels]) -> None:
        self._stylized = iter(stylized)

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        """The next stylized images, as many as there are `images`."""
        stylized = [next(self._stylized) for _ in images]
        return stylized[0][None] if len(stylized) == 1 else np.stack(stylized)


def gpu_index(stylizer: Stylizer) -> int | None:
    """The index of the NVIDIA GPU that the stylizer uses; None if it uses none."""
    kind, _, index = stylizer.engine.device.partition(":")
    return int(index or 0) if kind == "cuda" else None


@contextmanager
def _measure(times: dict[str, StageTime], stage: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    times[stage] = StageTime(time.perf_counter() - wall, time.process_time() - cpu)


def _median(values: Iterable[float]) -> float:
    return float(statistics.median(values))


def _per_frame(joules: Iterable[float | None], frames: int) -> float | None:
    known = [j for j in joules if j is not None]
    return round(_median(known) / frames, 4) if known else None
