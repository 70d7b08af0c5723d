"""What was measured, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vidstyle.bench.stages import STAGES
from vidstyle.core.text import printable

_NAMES = {"total": "all together", "without_net": "without the net"}


def table(found: Mapping[str, Any]) -> list[str]:
    """The lines of what `measure` found."""
    machine = found["machine"]
    gpu = f", {machine['gpu']['name']}" if machine["gpu"] else ""
    return [
        printable(
            f"{found['style']}, {found['runs_on']}; {machine['cores']} cores of {machine['cpu']}{gpu}; "
            + ("one round" if found["rounds"] == 1 else f"medians of {found['rounds']} rounds")
        ),
        "",
        *_aligned(_stage_rows(found["sizes"]), words=2),
        "",
        *_aligned(_total_rows(found["sizes"]), words=1),
        "",
        "headroom: the time of decoding and encoding alone, as part of the time of all together; 1 is the most there can be",
        f"vidstyle --help takes {found['seconds_to_help']:.2f} s",
    ]


def _stage_rows(sizes: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("size", "stage", "ms a frame", "CPU ms a frame", "frames/s")]
    for size, figures in sizes.items():
        for stage in STAGES:
            spent, frames = figures["stages"][stage], figures["frames"]
            times = (f"{1000 * spent[clock] / frames:.2f}" for clock in ("wall", "cpu"))
            rows.append((size if stage == STAGES[0] else "", _NAMES.get(stage, stage), *times, f"{spent['fps']:.1f}"))
    return rows


def _total_rows(sizes: Mapping[str, Any]) -> list[tuple[str, ...]]:
    head = ("size", "frames/s", "of real time", "headroom", "first frame, s", "memory, MiB", "CPU J a frame", "GPU J a frame")
    rows: list[tuple[str, ...]] = [head]
    for size, figures in sizes.items():
        joules = figures["joules_per_frame"]
        rows.append((
            size,
            f"{figures['fps']:.1f}",
            f"{figures['real_time']:.2f}x",
            f"{figures['headroom']:.2f}",
            f"{figures['seconds_to_first_frame']:.2f}",
            _told(figures["peak_memory_mib"], 0),
            _told(joules["cpu"], 2),
            _told(joules["gpu"], 2),
        ))  # fmt: skip
    return rows


def _told(figure: float | None, digits: int) -> str:
    return "-" if figure is None else f"{figure:.{digits}f}"


def _aligned(rows: Sequence[tuple[str, ...]], words: int) -> list[str]:
    """Columns below one another, the first `words` of them of words, the others of numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text.ljust(width) if number < words else text.rjust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
