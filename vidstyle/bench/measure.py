"""All measurements of `vidstyle bench`, as one object for JSON."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vidstyle.bench.clips import RATE, Clip, existing_clip, fitting_seconds, make_clip
from vidstyle.bench.options import BenchOptions
from vidstyle.bench.process import seconds_to_help
from vidstyle.bench.stages import ClipBench
from vidstyle.core.hardware import machine_details, usable_cores
from vidstyle.core.protocols import Stylizer
from vidstyle.core.temporary_folder import TemporaryFolder
from vidstyle.stylizers import load_stylizer

log = logging.getLogger(__name__)

VERSION = 1


def measure(
    options: BenchOptions = BenchOptions(),
    input: str | None = None,
    scale: bool = False,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Measure conversions of generated clips or of the video `input`, as it is or, with `scale`, at all sizes of `options`.

    `check` is called between frames and may raise to end the measurement. Raises what `load_stylizer` and `convert` raise. All
    files are written into a temporary folder.
    """
    stylizer = load_stylizer(options.style)
    if input is not None:
        clip = existing_clip(input, options.seconds)
    with TemporaryFolder() as folder:
        if input is not None and not scale:
            clips = [replace(clip, seconds=fitting_seconds((clip.width, clip.height), clip.rate, clip.seconds))]
        else:
            clips = make_clips(folder, options, input)
        return measure_clips(clips, stylizer, options, folder, check=check)


def make_clips(folder: Path, options: BenchOptions, input: str | None) -> list[Clip]:
    """A clip of each size, in the length that fits into memory."""
    clips = []
    for size in options.sizes:
        log.info("generating a clip of %dx%d", *size)
        clips.append(make_clip(folder, size, fitting_seconds(size, Fraction(RATE), options.seconds), input))
    return clips


def measure_clips(
    clips: Sequence[Clip],
    stylizer: Stylizer,
    options: BenchOptions,
    folder: Path,
    also_measure: Callable[[int], None] = lambda number: None,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Measure the clips in turns; `also_measure` is called with the number of each round, from 1, to measure something else."""
    benches = [ClipBench(clip, stylizer, options, folder, check) for clip in clips]
    help_times = []
    for number in range(1, options.rounds + 1):
        help_times.append(seconds_to_help())
        for bench in benches:
            log.info("round %d of %d: %s", number, options.rounds, bench.name)
            bench.round()
        also_measure(number)
    return {
        "v": VERSION,
        "machine": machine_details(usable_cores()),
        "style": options.style.style,
        "runs_on": stylizer.describe(),
        "batch_size": options.batch_size,
        "rounds": options.rounds,
        "seconds_to_help": round(statistics.median(help_times), 3),
        "sizes": {bench.name: bench.result() for bench in benches},
    }
