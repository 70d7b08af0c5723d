"""Progress bars on a terminal: one for all files and one for each active file, with messages printed above them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from vidstyle.cli.output import cell
from vidstyle.cli.reporters import QuietReporter
from vidstyle.cli.summary import headlines, table
from vidstyle.core.text import as_clock, printable, shortened

if TYPE_CHECKING:
    from vidstyle.conversion.job import Job, JobResult
    from vidstyle.core.frames import VideoInfo

MAX_BARS = 4
"""Maximum number of active files that get their own bar."""


class _Row(NamedTuple):
    """A bar and the text beside it."""

    label: str
    done: float = 0
    total: float | None = None
    amount: str = ""
    fps: str = ""
    left: str = ""


class BarReporter(QuietReporter):
    """Shows progress bars with frames per second and time left: for several files one in total, and one per active file."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, console: Console | None = None) -> None:
        super().__init__(quiet=False, clock=clock)
        self._console = console or Console(stderr=True)
        self._live: Live | None = None
        self._stage: _Row | None = None

    def stage(self, what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        left = f"{as_clock(seconds_left)} left" if seconds_left is not None else ""
        self._stage = _Row(what, done, total, _of(done, total), left=left)
        self._begin()

    def start(self, job: Job, info: VideoInfo) -> None:
        super().start(job, info)
        self._stage = None
        self._begin()

    def summary(self, job_results: Sequence[JobResult]) -> None:
        self._stop()
        for line in headlines(job_results, self._tracker.seconds):
            self.write_line(line)
        rows = table(job_results)
        if rows is not None:
            self._console.print(rows)

    def write_line(self, text: str) -> None:
        self._console.print(cell(text), soft_wrap=True)

    def close(self, code: int) -> None:
        self._stop()

    def _report(self, job_result: JobResult) -> None:
        if self._tracker.all_ended:
            self._stop()
        super()._report(job_result)

    def _begin(self) -> None:
        """Start the thread that draws the bars. It reads the progress when it draws, so that `frame` costs next to nothing."""
        if self._live is None:
            # Output to stdout must not be redirected to stderr because the bar is shown there.
            to_terminal = sys.stdout.isatty()
            self._live = Live(
                console=self._console,
                get_renderable=self._render,
                transient=True,
                refresh_per_second=5,
                redirect_stdout=to_terminal,
            )
            self._live.start()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _render(self) -> Table:
        grid = Table.grid(*(Column(no_wrap=name != "bar") for name in ("label", "bar", "count", "fps", "left")), padding=(0, 1))
        room = max(16, min(50, self._console.width - 50))  # the rest is for the bar and the numbers
        for row in self._rows():
            bar = ProgressBar(row.total, row.done, width=40) if row.amount else ""
            label = shortened(printable(row.label), room)
            grid.add_row(cell(label), bar, row.amount, row.fps, Text(row.left, "progress.remaining"))
        return grid

    def _rows(self) -> list[_Row]:
        if self._stage is not None:
            return [self._stage]
        jobs = self._tracker.active_jobs()
        if self._tracker.files == 1:
            return [self._row(job, alone=True) for job in jobs]
        total = self._tracker.total_progress()
        rows = [
            _Row(
                f"files {total.ended}/{total.files}",
                total.fraction,
                1.0,
                _of(total.frames, total.total),
                f"{total.fps:.1f} fps",
                _remaining(total.seconds_left),
            ),
            *(self._row(job) for job in jobs[:MAX_BARS]),
        ]
        return rows if len(jobs) <= MAX_BARS else [*rows, _Row(f"and {len(jobs) - MAX_BARS} more")]

    def _row(self, job: Job, alone: bool = False) -> _Row:
        file = self._tracker.file_progress(job)
        row = _Row(job.output.name, file.frames, file.total, _of(file.frames, file.total))
        if not alone:
            return row
        return row._replace(fps=f"{file.fps:.1f} fps", left=_remaining(file.seconds_left) if file.total else "")


def _of(done: int, total: int | None) -> str:
    return f"{done}" if total is None else f"{done}/{total}"


def _remaining(seconds: float | None) -> str:
    """The time as H:MM:SS, whose width does not change beside a bar."""
    if seconds is None:
        return "-:--:--"
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"
