"""The progress of a run over many files: counts, fractions and the estimated time left, from a reporter's events."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import exp, expm1
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidstyle.conversion.job import Job

RATE_MEMORY_SECONDS = 120.0
"""The time constant of the average rate: work done this long ago counts 1/e as much as work done now."""

RESUME_REPORT_SECONDS = 0.25
"""Several frames reported at once this soon after the start were made by an interrupted run."""


@dataclass(frozen=True)
class FileProgress:
    """The progress of one file. `number` counts from 1; `total` is the frame count of the header, None if unknown."""

    number: int
    frames: int
    total: int | None
    fps: float
    seconds_left: float | None


@dataclass(frozen=True)
class TotalProgress:
    """The progress of all files. `ended` counts finished, skipped and failed ones; `total` is estimated, None if unknown."""

    files: int
    ended: int
    frames: int
    total: int | None
    fraction: float
    fps: float
    seconds_left: float | None


@dataclass(slots=True)
class _File:
    """The state of one file. Its work is frames times pixels, because the cost of a network is per pixel."""

    number: int
    total: int | None = None
    pixels: int = 0
    frames: int = 0
    resumed: int | None = None
    """Frames made by an interrupted run, which do not count for the frame rate; None before the first report."""
    started_at: float = 0.0
    ended: bool = False
    typical: bool = True
    """Whether it counts for estimates of files whose header was not read yet; skipped and failed files do not."""


@dataclass(slots=True)
class _Totals:
    """Sums over all files, updated with each change: there may be ten thousand files."""

    frames: int = 0
    work: int = 0
    all_frames: int = 0
    """Of the files whose length is known; so is `all_work`."""
    all_work: int = 0
    unknown: int = 0
    typical: int = 0
    typical_frames: int = 0
    typical_work: int = 0

    def add(self, file: _File, sign: int = 1) -> None:
        """Add a file, or remove it with a `sign` of -1."""
        frames, pixels, total = sign * file.frames, sign * file.pixels, file.total
        self.frames += frames
        self.work += frames * file.pixels
        if total is None:
            self.unknown += sign
            return
        longer = max(total, file.frames)
        self.all_frames += sign * longer
        self.all_work += pixels * longer
        if file.typical:
            self.typical += sign
            self.typical_frames += sign * total
            self.typical_work += pixels * total


class ProgressTracker:
    """Tracks the progress of all files. `clock` returns seconds; every method is thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._files: dict[Job, _File] = {}
        self._active: dict[Job, None] = {}  # a set in the order of the starts
        self._totals = _Totals()
        self._ended = 0
        self._started_at: float | None = None
        self._end = 0.0
        self._work, self._frames = _Rate(), _Rate()

    def expect(self, jobs: Sequence[Job]) -> None:
        """Add jobs that will run. Jobs that start without this are added then."""
        with self._lock:
            for job in jobs:
                self._file(job)

    def estimate(self, job: Job, frames: int, pixels: int) -> None:
        """Set the frame count and the pixels per frame that a job's header gives; ignored once the job has started."""
        with self._lock:
            file = self._file(job)
            if job not in self._active and not file.ended:
                with self._changing(file):
                    file.total, file.pixels = frames, pixels

    def start(self, job: Job, frames: int | None, pixels: int) -> None:
        """A job starts, perhaps not for the first time."""
        with self._lock:
            now = self._clock()
            if self._started_at is None:
                self._started_at = now
                self._work.begin(now)
                self._frames.begin(now)
            file = self._file(job)
            with self._changing(file):
                if file.ended:
                    self._ended -= 1
                    file.frames, file.resumed, file.ended, file.typical = 0, None, False, True
                file.started_at, file.pixels = now, pixels
                if frames is not None:
                    file.total = frames
            self._active[job] = None

    def frame(self, job: Job, count: int) -> None:
        """`count` frames of a job are done."""
        with self._lock:
            file = self._file(job)
            self._totals.add(file, -1)
            if file.resumed is None:
                resumed = count > 1 and self._clock() - file.started_at <= RESUME_REPORT_SECONDS
                file.frames = file.resumed = count if resumed else 0
            self._advance(file, count)
            self._totals.add(file)

    def finish(self, job: Job, frames: int) -> None:
        """A job is done, with this number of frames."""
        with self._lock:
            file = self._file(job)
            with self._changing(file):
                self._advance(file, frames)
                file.total = frames
            self._close(job, file)

    def skip(self, job: Job) -> None:
        """A job was skipped."""
        self._drop(job)

    def fail(self, job: Job) -> None:
        """A job failed."""
        self._drop(job)

    def active_jobs(self) -> list[Job]:
        """The jobs that have started and not ended, in the order in which they started."""
        with self._lock:
            return list(self._active)

    def file_progress(self, job: Job) -> FileProgress:
        """The progress of one job."""
        with self._lock:
            file = self._file(job)
            fps = (file.frames - (file.resumed or 0)) / max(self._clock() - file.started_at, 1e-9)
            left = max(0.0, (file.total - file.frames) / fps) if file.total and fps > 0 else None
            return FileProgress(file.number, file.frames, file.total, fps, left)

    def total_progress(self) -> TotalProgress:
        """The progress of all jobs."""
        with self._lock:
            totals, now = self._totals, self._clock()
            known = totals.typical > 0
            mean_frames = totals.typical_frames / totals.typical if known else 0.0
            mean_work = totals.typical_work / totals.typical if known else 0.0
            started = [f for f in map(self._files.__getitem__, self._active) if f.total is None]
            waiting = totals.unknown - len(started)
            frames = totals.all_frames + waiting * mean_frames + sum(max(f.frames, mean_frames) for f in started)
            work = totals.all_work + waiting * mean_work + sum(max(f.frames * f.pixels, mean_work) for f in started)
            rate = self._work.per_second(now)
            return TotalProgress(
                files=len(self._files),
                ended=self._ended,
                frames=totals.frames,
                total=round(frames) if known else None,
                fraction=totals.work / work if known and work else self._ended / max(1, len(self._files)),
                fps=self._frames.per_second(now),
                seconds_left=(work - totals.work) / rate if known and rate > 0 else None,
            )

    @property
    def files(self) -> int:
        """The number of files."""
        return len(self._files)

    @property
    def started(self) -> bool:
        """Whether any job has started."""
        return self._started_at is not None

    @property
    def all_ended(self) -> bool:
        """Whether every job has ended."""
        return self._ended == len(self._files)

    @property
    def seconds(self) -> float:
        """The time from the start of the first job to the end of the last one that ended."""
        return 0.0 if self._started_at is None else max(0.0, self._end - self._started_at)

    def _file(self, job: Job) -> _File:
        file = self._files.get(job)
        if file is None:
            file = self._files[job] = _File(len(self._files) + 1)
            self._totals.add(file)
        return file

    @contextmanager
    def _changing(self, file: _File) -> Iterator[None]:
        self._totals.add(file, -1)
        yield
        self._totals.add(file)

    def _advance(self, file: _File, count: int) -> None:
        new, file.frames = count - file.frames, count
        if new > 0:
            self._frames.add(new)
            self._work.add(new * file.pixels)

    def _drop(self, job: Job) -> None:
        with self._lock:
            file = self._file(job)
            with self._changing(file):
                file.total, file.typical = file.frames, False
            self._close(job, file)

    def _close(self, job: Job, file: _File) -> None:
        self._active.pop(job, None)
        self._ended += not file.ended
        file.ended = True
        self._end = self._clock()


class _Rate:
    """An exponentially weighted average rate per second."""

    def __init__(self) -> None:
        self._amount = self._seconds = self._new = 0.0
        self._then: float | None = None

    def begin(self, now: float) -> None:
        self._then = now

    def add(self, amount: float) -> None:
        self._new += amount

    def per_second(self, now: float) -> float:
        """The rate until now. What was added since the last call counts as spread evenly over that time."""
        passed = 0.0 if self._then is None else now - self._then
        if passed > 0:
            keep, weight = exp(-passed / RATE_MEMORY_SECONDS), -RATE_MEMORY_SECONDS * expm1(-passed / RATE_MEMORY_SECONDS)
            self._amount = self._amount * keep + self._new / passed * weight
            self._seconds = self._seconds * keep + weight
            self._new, self._then = 0.0, now
        return self._amount / self._seconds if self._seconds else 0.0
