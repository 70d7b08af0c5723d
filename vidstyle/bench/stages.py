"""One clip, measured: each stage alone, all of them together, and all but the net.

Seconds are those of the clock and, `cpu`, of all threads together. Nothing is measured by taking one figure from another.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from vidstyle.bench.clips import Clip
from vidstyle.bench.energy import Joules, measured_energy
from vidstyle.bench.options import BenchOptions
from vidstyle.bench.process import UserRun, run_as_user
from vidstyle.conversion.convert import SHOT_FRAMES, convert
from vidstyle.core.frames import Frame, Pixels
from vidstyle.core.hardware import usable_cores
from vidstyle.core.options import ConvertOptions, Trim
from vidstyle.core.protocols import Stylizer
from vidstyle.sinks import companion_of, open_video_sink
from vidstyle.sources import open_source

ALONE = ("decode", "net", "encode")
STAGES = (*ALONE, "total", "without_net")


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock, and of the processor."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class _Round:
    frames: int
    spent: Mapping[str, Spent]
    joules: Joules
    user: UserRun


class ClipBench:
    """Measures conversions of one clip, round by round, so that several may take turns; `result` has the medians."""

    def __init__(self, clip: Clip, stylizer: Stylizer, options: BenchOptions, folder: Path) -> None:
        self._clip, self._stylizer, self._options, self._folder = clip, stylizer, options, folder
        self._rounds: list[_Round] = []
        trim = Trim(end=clip.seconds)
        self._convert = ConvertOptions(options.style, trim=trim, batch_size=options.batch_size, overwrite=True)
        self._gpu = gpu_of(stylizer, options.style.device)
        self._encoded(self._stylized(self._decoded(limit=2 * options.batch_size)))  # warm up: modules, codecs, the net's memory

    @property
    def name(self) -> str:
        """The clip's size."""
        return self._clip.name

    def round(self) -> None:
        """Measure everything once."""
        spent: dict[str, Spent] = {}
        with _measured(spent, "decode"):
            frames = self._decoded()
        stylizer = self._stylizer.for_shot(f.pixels for f in frames[:: max(1, len(frames) // SHOT_FRAMES)]).at(0.0)
        with _measured(spent, "net"):
            stylized = self._stylized(frames, stylizer)
        del frames
        with _measured(spent, "encode"):
            self._encoded(stylized)
        with _measured(spent, "without_net"):
            self._converted(HandedOut([frame.pixels for frame in stylized]))
        count = len(stylized)
        del stylized
        with measured_energy(self._gpu) as joules, _measured(spent, "total"):
            self._converted(self._stylizer)
        user = run_as_user(self._clip, self._options, self._folder)
        self._rounds.append(_Round(count, spent, joules, user))

    def _decoded(self, limit: int | None = None) -> list[Frame]:
        with closing(open_source(self._clip.input, self._convert.trim)) as source:
            return list(islice(source.frames(), limit))

    def _stylized(self, frames: Sequence[Frame], stylizer: Stylizer | None = None) -> list[Frame]:
        stylizer, size = stylizer or self._stylizer.at(0.0), self._options.batch_size
        batches = [[f.pixels for f in frames[i : i + size]] for i in range(0, len(frames), size)]
        with ThreadPoolExecutor(stylizer.concurrency) as concurrency:
            images = [image for batch in concurrency.map(stylizer.stylize, batches) for image in batch]
        return [Frame(p, f.pts, f.time_base, f.duration, f.alpha) for p, f in zip(images, frames, strict=True)]

    def _encoded(self, stylized: Iterable[Frame]) -> None:
        """Encode, verify and publish as a conversion does."""
        input, options = self._clip.input, self._convert
        output = self._folder / f"encoded{self._clip.output_suffix}"
        with closing(open_source(input, options.trim)) as source:
            info = source.info
        companion = companion_of(input, Fraction(0), options)
        with closing(open_video_sink(output, info, options.encode, companion, overwrite=True)) as sink:
            for frame in stylized:
                sink.write(frame)
            sink.publish()
        output.unlink()

    def _converted(self, stylizer: Stylizer) -> None:
        output = self._folder / f"converted{self._clip.output_suffix}"
        convert(self._clip.input, output, stylizer, self._convert)
        output.unlink()

    def result(self) -> dict[str, Any]:
        """The medians, for JSON; None for what the machine does not tell."""
        rounds, frames, rate = self._rounds, self._rounds[0].frames, float(self._clip.rate)
        wall = {stage: _median(r.spent[stage].wall for r in rounds) for stage in STAGES}
        cpu = {stage: _median(r.spent[stage].cpu for r in rounds) for stage in STAGES}
        fps = frames / wall["total"]
        peaks = [r.user.peak_memory_mib for r in rounds if r.user.peak_memory_mib is not None]
        cores = usable_cores()
        shares = (r.spent["total"].wall * cores / sum(r.spent[stage].cpu for stage in ALONE) for r in rounds)
        return {
            "frames": frames,
            "frame_rate": round(rate, 3),
            "stages": {
                s: {"wall": round(wall[s], 4), "cpu": round(cpu[s], 4), "fps": round(frames / wall[s], 2)} for s in STAGES
            },
            "net_ms": round(1000 * wall["net"] / frames, 2),
            "fps": round(fps, 2),
            "real_time": round(fps / rate, 3),
            "headroom": round(_median(r.spent["without_net"].wall / r.spent["total"].wall for r in rounds), 3),
            "total_wall_over_cpu_share": round(_median(shares), 3),
            "seconds_to_first_frame": round(_median(r.user.seconds_to_first_frame for r in rounds), 3),
            "peak_memory_mib": round(max(peaks), 1) if peaks else None,
            "joules_per_frame": {
                "cpu": _per_frame([r.joules.cpu for r in rounds], frames),
                "gpu": _per_frame([r.joules.gpu for r in rounds], frames),
            },
        }


class HandedOut:
    """A stylizer whose images were stylized before: it hands them out one after the other, whatever it is shown."""

    concurrency = 1

    def __init__(self, stylized: Iterable[Pixels]) -> None:
        self._stylized = iter(stylized)

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        """As many as there are `images`."""
        taken = [next(self._stylized) for _ in images]
        return taken[0][None] if len(taken) == 1 else np.stack(taken)

    def for_shot(self, images: Iterable[Pixels]) -> HandedOut:
        """Itself; so are the others below."""
        return self

    def statistics(self) -> Mapping[str, np.ndarray]:
        """None."""
        return {}

    def with_statistics(self, statistics: Mapping[str, np.ndarray]) -> HandedOut:
        """Itself."""
        return self

    def adapted(self, image: Pixels, share: float) -> HandedOut:
        """Itself."""
        return self

    def at(self, seconds: float) -> HandedOut:
        """Itself."""
        return self

    def describe(self) -> str:
        """Nowhere."""
        return "stylized before"


def gpu_of(stylizer: Stylizer, device: str) -> int | None:
    """The number of the NVIDIA GPU that stylizes; None where none does."""
    if not any(engine in stylizer.describe().lower() for engine in ("cuda", "tensorrt")):
        return None
    return int(device.partition(":")[2] or 0)


@contextmanager
def _measured(spent: dict[str, Spent], stage: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    spent[stage] = Spent(time.perf_counter() - wall, time.process_time() - cpu)


def _median(figures: Iterable[float]) -> float:
    return float(statistics.median(figures))


def _per_frame(joules: Iterable[float | None], frames: int) -> float | None:
    known = [j for j in joules if j is not None]
    return round(_median(known) / frames, 4) if known else None
