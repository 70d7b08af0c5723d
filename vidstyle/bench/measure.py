"""Everything `vidstyle bench` measures, as one object for JSON."""

from __future__ import annotations

import logging
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vidstyle.bench.clips import RATE, Clip, fitting_seconds, given_clip, made_clip
from vidstyle.bench.options import BenchOptions
from vidstyle.bench.process import seconds_to_help
from vidstyle.bench.stages import ClipBench
from vidstyle.core.hardware import machine, usable_cores
from vidstyle.core.protocols import Stylizer
from vidstyle.stylizers import load_stylizer

log = logging.getLogger(__name__)

VERSION = 1


def measure(options: BenchOptions = BenchOptions(), input: str | None = None, scale: bool = False) -> dict[str, Any]:
    """What conversions take here, on clips that are made for it or on the video `input`, as it is or, with `scale`, at all sizes.

    Raises what `load_stylizer` and `convert` raise. Whatever is written lies in a folder that is removed in the end.
    """
    stylizer = load_stylizer(options.style)
    if input is not None:
        clip = given_clip(input, options.seconds)
    with tempfile.TemporaryDirectory(prefix="vidstyle-bench-") as name:
        folder = Path(name)
        if input is not None and not scale:
            clips = [replace(clip, seconds=fitting_seconds((clip.width, clip.height), clip.rate, clip.seconds))]
        else:
            clips = make_clips(folder, options, input)
        return measure_clips(clips, stylizer, options, folder)


def make_clips(folder: Path, options: BenchOptions, input: str | None) -> list[Clip]:
    """A clip of each size, as long as its stages can be measured."""
    clips = []
    for size in options.sizes:
        log.info("making a clip of %dx%d", *size)
        clips.append(made_clip(folder, size, fitting_seconds(size, Fraction(RATE), options.seconds), input))
    return clips


def measure_clips(
    clips: Sequence[Clip],
    stylizer: Stylizer,
    options: BenchOptions,
    folder: Path,
    beside: Callable[[int], None] = lambda number: None,
) -> dict[str, Any]:
    """The clips, taking turns; `beside` measures in each round, by its number from 1, what is compared with them."""
    benches = [ClipBench(clip, stylizer, options, folder) for clip in clips]
    helps = []
    for number in range(1, options.rounds + 1):
        helps.append(seconds_to_help())
        for bench in benches:
            log.info("round %d of %d: %s", number, options.rounds, bench.name)
            bench.round()
        beside(number)
    return {
        "v": VERSION,
        "machine": machine(usable_cores()),
        "style": options.style.style,
        "runs_on": stylizer.describe(),
        "batch_size": options.batch_size,
        "rounds": options.rounds,
        "seconds_to_help": round(statistics.median(helps), 3),
        "sizes": {bench.name: bench.result() for bench in benches},
    }
