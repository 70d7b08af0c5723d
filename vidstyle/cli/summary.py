"""The summary of a run over many files: counts, and a table of the files that failed or are damaged."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.console import Console
from rich.table import Table

from vidstyle.cli.output import cell
from vidstyle.core.text import as_clock, clipped, printable, shortened

if TYPE_CHECKING:
    from vidstyle.conversion.job import JobResult

MAX_ROWS = 50
"""Maximum number of rows per status; the other files are only counted."""

LOG_WIDTH = 100
NAME_WIDTH = 40
REASON_WIDTH = 300

Status = Literal["done", "damaged", "skipped", "failed"]
_COLORS = {"failed": "red", "damaged": "yellow"}


def status_of(job_result: JobResult) -> Status:
    """The status of a job. damaged: it is done, but something was wrong with the input."""
    if job_result.error is not None:
        return "failed"
    if job_result.result is None:
        return "skipped"
    return "damaged" if job_result.result.damage else "done"


def reason_of(job_result: JobResult) -> str:
    """Why a job is not `done`; empty if it is. Of several damages only the first is given."""
    if job_result.error is not None:
        return str(job_result.error)
    if job_result.result is None:
        return job_result.skipped
    damage = job_result.result.damage
    return "" if not damage else damage[0] if len(damage) == 1 else f"{damage[0]} (and {len(damage) - 1} more)"


def counts(job_results: Sequence[JobResult]) -> dict[Status, int]:
    """The number of jobs per status."""
    found = Counter(map(status_of, job_results))
    return {"done": found["done"], "damaged": found["damaged"], "skipped": found["skipped"], "failed": found["failed"]}


def work_done(job_results: Sequence[JobResult], seconds: float) -> tuple[int, float, float]:
    """The frames of all outputs, the seconds, and frames per second. `seconds`: of the whole run, 0 if unknown."""
    results = [o.result for o in job_results if o.result is not None]
    frames, seconds = sum(r.frames for r in results), seconds or sum(r.seconds for r in results)
    return frames, seconds, frames / seconds if seconds > 0 else 0.0


def headlines(job_results: Sequence[JobResult], seconds: float) -> list[str]:
    """The counts as lines of text."""
    facts = [f"{count} {status}" for status, count in counts(job_results).items() if count]
    lines = [f"{len(job_results)} files: {', '.join(facts)}"]
    frames, seconds, fps = work_done(job_results, seconds)
    if frames:
        lines.append(f"{frames} frames in {as_clock(seconds)}, {fps:.1f} fps")
    skipped = Counter(reason_of(o) for o in job_results if status_of(o) == "skipped")
    lines += [f"{count} skipped: {_sentence(reason)}" for reason, count in skipped.most_common(MAX_ROWS) if reason]
    if len(skipped) > MAX_ROWS:
        lines.append(f"and {len(skipped) - MAX_ROWS} more reasons to skip")
    return lines


def table(job_results: Sequence[JobResult], lines: bool = True) -> Table | None:
    """A table with a row per failed or damaged file; None if there is none. `lines`: with borders and a header."""
    many_styles = len({o.job.style for o in job_results}) > 1
    rows = Table(box=box.ROUNDED if lines else None, show_header=lines, pad_edge=lines)
    rows.add_column("", no_wrap=True)
    rows.add_column("file", overflow="fold", max_width=NAME_WIDTH)
    rows.add_column("why", overflow="fold")
    statuses: tuple[Status, ...] = ("failed", "damaged")
    for status in statuses:
        found = [o for o in job_results if status_of(o) == status]
        color = _COLORS[status]
        for job_result in found[:MAX_ROWS]:
            name = f"{job_result.job.input} ({job_result.job.style})" if many_styles else job_result.job.input
            name = shortened(printable(name), NAME_WIDTH)
            rows.add_row(cell(status, color), cell(name), cell(_sentence(reason_of(job_result))))
        if len(found) > MAX_ROWS:
            rows.add_row(cell(status, color), cell(f"and {len(found) - MAX_ROWS} more"), "")
    return rows if rows.row_count else None


def plain(rows: Table) -> list[str]:
    """The lines of a table as plain text."""
    text = io.StringIO()
    Console(file=text, width=LOG_WIDTH, color_system=None, force_terminal=False, legacy_windows=False).print(rows)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def _sentence(text: str) -> str:
    """The text in one line, clipped to a length that is readable in a table."""
    return clipped(printable(" ".join(text.split())), REASON_WIDTH)
