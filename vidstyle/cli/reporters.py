"""Reporters of progress: a line every ten seconds, JSON events, or errors only; `progress_bar` has the one for terminals."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vidstyle.cli.eta import ProgressTracker
from vidstyle.cli.output import error_lines, print_event, print_message
from vidstyle.cli.summary import NAME_WIDTH, counts, headlines, plain, reason_of, status_of, table, work_done
from vidstyle.core.text import as_clock, printable, shortened

if TYPE_CHECKING:
    from vidstyle.conversion.job import Job, JobResult
    from vidstyle.core.frames import VideoInfo

LINE_EVERY_SECONDS = 10.0
JSON_EVERY_SECONDS = 0.5
JSON_VERSION = 1


class QuietReporter:
    """Reports no progress, only errors and warnings, on stderr. `clock` returns seconds."""

    def __init__(self, quiet: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._clock = clock
        self._tracker = ProgressTracker(clock)

    def stage(self, what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        """The progress of work that comes before the frames."""

    def expect(self, jobs: Sequence[Job]) -> None:
        """These jobs will run; more may follow."""
        self._tracker.expect(jobs)

    def estimate(self, job: Job, frames: int, pixels: int) -> None:
        """The frame count and the pixels per frame that the job's header gives. Prints nothing, as any thread may call it."""
        self._tracker.estimate(job, frames, pixels)

    def start(self, job: Job, info: VideoInfo) -> None:
        """The first frame of the job is about to be stylized."""
        self._tracker.start(job, info.frame_count_estimate, info.width * info.height)

    def frame(self, job: Job, count: int) -> None:
        """`count` frames of the job are done."""
        self._tracker.frame(job, count)

    def done(self, job_result: JobResult) -> None:
        """The job has ended, whether it was started or not."""
        if job_result.result is not None:
            self._tracker.finish(job_result.job, job_result.result.frames)
        elif job_result.error is not None:
            self._tracker.fail(job_result.job)
        else:
            self._tracker.skip(job_result.job)
        self._report(job_result)

    def summary(self, job_results: Sequence[JobResult]) -> None:
        """Print the results of all files, at the end of a run over several."""
        if not self._quiet:
            rows = table(job_results, lines=False)
            for line in [*headlines(job_results, self._tracker.seconds), *(plain(rows) if rows else [])]:
                self.write_line(line)

    def note(self, text: str) -> None:
        """Print a line unless quiet."""
        if not self._quiet:
            self.write_line(text)

    def write_line(self, text: str) -> None:
        """Print one line."""
        print_message(text)

    def close(self, code: int) -> None:
        """The run ends with this exit code."""

    def _report(self, job_result: JobResult) -> None:
        input, output, result = job_result.job.input, job_result.job.output, job_result.result
        if job_result.error is not None:
            for line in error_lines(job_result.error):
                self.write_line(line)
        elif result is None:
            self.note(f"{output}: {job_result.skipped or 'nothing to do'}, skipped")
        else:
            for text in result.warnings:
                self.note(f"{input}: {text}")
            for text in result.damage:
                self.write_line(f"warning: {input}: {text}")
            fps = result.frames / max(result.seconds, 1e-9)
            self.note(f"{result.output}: {result.frames} frames in {result.seconds:.1f} s, {fps:.1f} fps")


class LineReporter(QuietReporter):
    """Prints a line of progress every ten seconds, for logs."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(quiet=False, clock=clock)
        self._last_line = -math.inf

    def start(self, job: Job, info: VideoInfo) -> None:
        if not self._tracker.started:  # only at the first start: with many short files no line would ever be due
            self._last_line = self._clock()
        super().start(job, info)

    def frame(self, job: Job, count: int) -> None:
        super().frame(job, count)
        if self._due():
            self.write_line(self._progress_line(job))

    def stage(self, what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        if self._due():
            of = f" of {total}" if total else ""
            self.write_line(
                f"{what}: {done}{of}" + (f", about {as_clock(seconds_left)} left" if seconds_left is not None else "")
            )

    def _progress_line(self, job: Job) -> str:
        file = self._tracker.file_progress(job)
        frame = f"frame {file.frames}" + (f" of about {file.total}" if file.total else "")
        if self._tracker.files == 1:
            left = "" if file.seconds_left is None else f", {file.seconds_left:.0f} s left"
            return f"{frame}, {file.fps:.1f} fps{left}"
        name = shortened(printable(job.output.name), NAME_WIDTH)
        total, others = self._tracker.total_progress(), len(self._tracker.active_jobs()) - 1
        more = f" and {others} more" if others > 0 else ""
        left = "" if total.seconds_left is None else f", {as_clock(total.seconds_left)} left"
        which = f"file {file.number} of {total.files} ({name}: {frame}){more}"
        return f"{which}, {total.fps:.1f} fps{left}"

    def _due(self) -> bool:
        now = self._clock()
        if now - self._last_line < LINE_EVERY_SECONDS:
            return False
        self._last_line = now
        return True


class JsonReporter(QuietReporter):
    """Prints versioned JSON events on stderr: stage, expect, start, progress, warning, file_done, summary, exit."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock)
        self._last_line: dict[Job | None, float] = {}

    def stage(self, what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        if self._due(None):
            self._event("stage", stage=what, done=done, total=total, seconds_left=_rounded(seconds_left))

    def expect(self, jobs: Sequence[Job]) -> None:
        super().expect(jobs)
        self._event("expect", files=self._tracker.files)

    def start(self, job: Job, info: VideoInfo) -> None:
        super().start(job, info)
        self._last_line[job] = self._clock()
        facts = {
            "width": info.width,
            "height": info.height,
            "frames": info.frame_count_estimate,
            "seconds": info.duration_seconds,
        }
        self._event("start", **_names(job), **facts)

    def frame(self, job: Job, count: int) -> None:
        super().frame(job, count)
        if self._due(job):
            file = self._tracker.file_progress(job)
            facts: dict[str, Any] = {"frame": file.frames, "frames": file.total, "fps": round(file.fps, 2)}
            facts["seconds_left"] = _rounded(file.seconds_left)
            if self._tracker.files > 1:
                total = self._tracker.total_progress()
                facts |= {"files_done": total.ended, "files": total.files}
                facts["total_seconds_left"] = _rounded(total.seconds_left)
            self._event("progress", **_names(job), **facts)

    def summary(self, job_results: Sequence[JobResult]) -> None:
        frames, seconds, fps = work_done(job_results, self._tracker.seconds)
        others = [
            {**_names(job_result.job), "status": status, "reason": reason_of(job_result)}
            for job_result in job_results
            if (status := status_of(job_result)) != "done"
        ]
        facts: dict[str, Any] = {"frames": frames, "seconds": round(seconds, 3), "fps": round(fps, 2)}
        self._event("summary", **counts(job_results), **facts, others=others)

    def note(self, text: str) -> None:
        """Print nothing: the events contain it."""

    def write_line(self, text: str) -> None:
        self._event("warning", message=text)

    def close(self, code: int) -> None:
        self._event("exit", code=code)

    def _report(self, job_result: JobResult) -> None:
        self._last_line.pop(job_result.job, None)
        result = job_result.result
        for text in [*result.warnings, *result.damage] if result else []:
            self._event("warning", input=job_result.job.input, message=text)
        facts: dict[str, Any] = {**_names(job_result.job), "status": status_of(job_result)}
        if result:
            facts |= {"frames": result.frames, "seconds": round(result.seconds, 3)}
            if result.report:  # null where there was nothing to measure
                facts["report"] = {k: None if math.isnan(v) else v for k, v in result.report.items()}
        elif job_result.error:
            facts["error"] = str(job_result.error)
        else:
            facts["reason"] = job_result.skipped
        self._event("file_done", **facts)

    def _due(self, job: Job | None) -> bool:
        """Whether a job's next event is due. Each job has its own interval, so that all of many are reported."""
        now = self._clock()
        if now - self._last_line.get(job, -math.inf) < JSON_EVERY_SECONDS:
            return False
        self._last_line[job] = now
        return True

    def _event(self, event: str, **facts: object) -> None:
        print_event({"v": JSON_VERSION, "event": event, **facts})


def _names(job: Job) -> dict[str, str]:
    return {"input": job.input, "output": str(job.output)}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
