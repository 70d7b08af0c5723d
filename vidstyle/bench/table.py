"""Results of measurements as lines for a terminal."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from vidstyle.bench.stages import STAGES

_NAMES = {"total": "all together", "without_net": "without network"}


def lines(results: Mapping[str, Any]) -> list[str]:
    """The results of `measure` as lines of text."""
    machine = results["machine"]
    gpu = f", {machine['gpu']['name']}" if machine["gpu"] else ""
    rounds = "one round" if results["rounds"] == 1 else f"medians of {results['rounds']} rounds"
    place = f"{machine['cores']} cores of {machine['cpu']}{gpu}"
    return [
        f"{results['style']}, {results['runs_on']}; {place}; {rounds}",
        "",
        *_rendered(_stage_table(results["sizes"])),
        "",
        *_rendered(_total_table(results["sizes"])),
        "",
        "headroom: the time of decoding and encoding alone, as a fraction of the time of all together; at most 1",
        f"vidstyle --help takes {results['seconds_to_help']:.2f} s",
    ]


def _stage_table(sizes: Mapping[str, Any]) -> Table:
    table = _empty_table(["size", "stage"], ["ms/frame", "CPU ms/frame", "frames/s"])
    for size, result in sizes.items():
        for stage in STAGES:
            times, frames = result["stages"][stage], result["frames"]
            milliseconds = (f"{1000 * times[clock] / frames:.2f}" for clock in ("wall", "cpu"))
            first = size if stage == STAGES[0] else ""
            table.add_row(first, _NAMES.get(stage, stage), *milliseconds, f"{times['fps']:.1f}")
    return table


def _total_table(sizes: Mapping[str, Any]) -> Table:
    numbers = ["frames/s", "of real time", "headroom", "first frame, s", "memory, MiB", "CPU J/frame", "GPU J/frame"]
    table = _empty_table(["size"], numbers)
    for size, result in sizes.items():
        joules = result["joules_per_frame"]
        table.add_row(
            size,
            f"{result['fps']:.1f}",
            f"{result['real_time']:.2f}x",
            f"{result['headroom']:.2f}",
            f"{result['seconds_to_first_frame']:.2f}",
            _number(result["peak_memory_mib"], 0),
            _number(joules["cpu"], 2),
            _number(joules["gpu"], 2),
        )
    return table


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _empty_table(names: list[str], numbers: list[str]) -> Table:
    """A table without lines, whose columns of names are aligned to the left and those of numbers to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for name in names:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _rendered(table: Table) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=1000, color_system=None).print(table)
    return [line.rstrip() for line in file.getvalue().splitlines()]
