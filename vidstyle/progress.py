"""Telling how the work goes: a bar on a terminal, a line now and then elsewhere, or JSON, one object a line."""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from vidstyle.folder import Job, Outcome
from vidstyle.frames import VideoInfo

LINE_EVERY_SECONDS = 10.0
JSON_EVERY_SECONDS = 0.5
JSON_VERSION = 1


class Quiet:
    """Says nothing of progress; errors and warnings still go to stderr."""

    def __init__(self, quiet: bool = True) -> None:
        self._quiet = quiet
        self._total: int | None = None
        self._count = 0
        self._began = self._said = 0.0

    def start(self, job: Job, info: VideoInfo) -> None:
        self._total, self._count = info.frame_count_estimate, 0
        self._began = self._said = time.monotonic()

    def frame(self, count: int) -> None:
        self._count = count

    def stage(self, what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        """How far work is that comes before the frames."""

    def done(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self.say(f"error: {outcome.error}")
        elif outcome.result is None:
            self.note(f"{outcome.job.output}: is there already, skipped")
        else:
            for text in outcome.result.warnings:
                self.note(f"{outcome.job.spec}: {text}")
            for text in outcome.result.damage:
                self.say(f"warning: {outcome.job.spec}: {text}")
            fps = outcome.result.frames / max(outcome.result.seconds, 1e-9)
            self.note(f"{outcome.result.output}: {outcome.result.frames} frames in {outcome.result.seconds:.1f} s, {fps:.1f} fps")

    def note(self, text: str) -> None:
        """Worth a line unless quiet was asked for."""
        if not self._quiet:
            self.say(text)

    def say(self, text: str) -> None:
        print(text, file=sys.stderr)

    def close(self, code: int) -> None:
        """The end of the work, with the exit code."""

    def _rate(self) -> tuple[float, float | None]:
        """Frames per second so far, and seconds left if that can be told."""
        fps = self._count / max(time.monotonic() - self._began, 1e-9)
        return fps, max(0.0, (self._total - self._count) / fps) if self._total and fps > 0 else None


class Lines(Quiet):
    """A line every ten seconds, for logs."""

    def __init__(self) -> None:
        super().__init__(quiet=False)

    def frame(self, count: int) -> None:
        super().frame(count)
        if time.monotonic() - self._said >= LINE_EVERY_SECONDS:
            self._said = time.monotonic()
            fps, left = self._rate()
            of = f" of about {self._total}" if self._total else ""
            self.say(f"frame {count}{of}, {fps:.1f} fps" + (f", {left:.0f} s left" if left is not None else ""))

    def stage(self, what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        if time.monotonic() - self._said >= LINE_EVERY_SECONDS:
            self._said = time.monotonic()
            of = f" of {total}" if total else ""
            self.say(f"{what}: {done}{of}" + (f", about {_clock(seconds_left)} left" if seconds_left is not None else ""))


class Bar(Quiet):
    """A progress bar with frames per second and time left."""

    def __init__(self) -> None:
        super().__init__(quiet=False)
        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def stage(self, what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        if self._progress is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total} {task.fields[left]}"),
            )
            self._progress = Progress(*columns, console=self._console, transient=True)
            self._task = self._progress.add_task(what, total=total, left="")
            self._progress.start()
        assert self._task is not None
        left = f"{_clock(seconds_left)} left" if seconds_left is not None else ""
        self._progress.update(self._task, description=what, completed=done, total=total, left=left)

    def start(self, job: Job, info: VideoInfo) -> None:
        super().start(job, info)
        self._stop()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[fps]:.1f} fps"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=self._console, transient=True)
        self._task = self._progress.add_task(job.output.name, total=info.frame_count_estimate, fps=0.0)
        self._progress.start()

    def frame(self, count: int) -> None:
        super().frame(count)
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=count, fps=self._rate()[0])

    def done(self, outcome: Outcome) -> None:
        self._stop()
        super().done(outcome)

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self, code: int) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class Json(Quiet):
    """Events for programs on stderr, versioned: stage, start, progress, warning, file_done, exit."""

    def start(self, job: Job, info: VideoInfo) -> None:
        super().start(job, info)
        facts = {"width": info.width, "height": info.height, "frames": self._total, "seconds": info.duration_seconds}
        self._event("start", input=job.spec, output=str(job.output), **facts)

    def frame(self, count: int) -> None:
        super().frame(count)
        if time.monotonic() - self._said >= JSON_EVERY_SECONDS:
            self._said = time.monotonic()
            fps, left = self._rate()
            self._event("progress", frame=count, frames=self._total, fps=round(fps, 2), seconds_left=left and round(left, 1))

    def stage(self, what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        if time.monotonic() - self._said >= JSON_EVERY_SECONDS:
            self._said = time.monotonic()
            left = None if seconds_left is None else round(seconds_left, 1)
            self._event("stage", stage=what, done=done, total=total, seconds_left=left)

    def done(self, outcome: Outcome) -> None:
        result = outcome.result
        for text in [*result.warnings, *result.damage] if result else []:
            self._event("warning", input=outcome.job.spec, message=text)
        status = "failed" if outcome.error else "damaged" if result and result.damage else "done" if result else "skipped"
        facts: dict[str, Any] = {"input": outcome.job.spec, "output": str(outcome.job.output), "status": status}
        if result:
            facts |= {"frames": result.frames, "seconds": round(result.seconds, 3)}
            if result.report:  # null where there was nothing to measure
                facts["report"] = {k: None if math.isnan(v) else v for k, v in result.report.items()}
        if outcome.error:
            facts["error"] = str(outcome.error)
        self._event("file_done", **facts)

    def note(self, text: str) -> None:
        """Nothing: the events tell it."""

    def say(self, text: str) -> None:
        self._event("warning", message=text)

    def close(self, code: int) -> None:
        self._event("exit", code=code)

    def _event(self, event: str, **facts: object) -> None:
        print(json.dumps({"v": JSON_VERSION, "event": event, **facts}), file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    """`90` -> `1:30`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def make_reporter(kind: str, quiet: bool) -> Quiet:
    """The reporter for `--progress` and `--quiet`."""
    if kind == "json":
        return Json()
    if quiet or kind == "none":
        return Quiet(quiet=quiet)
    return Bar() if sys.stderr.isatty() else Lines()
