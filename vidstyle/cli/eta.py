"""How far a run of many files is: counts, shares and the time left, worked out from what a reporter is told."""

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
"""What was done so long ago weighs 1/e of what is done now, so that the time left follows the files and the machine."""


RESUME_REPORT_SECONDS = 0.25
"""A first report of several frames so soon after the start is of those that an interrupted run had made."""


@dataclass(frozen=True)
class FileProgress:
    """How far one file is. `number` counts the files from 1; `total` is what its header says, None where that is unknown."""

    number: int
    frames: int
    total: int | None
    fps: float
    seconds_left: float | None


@dataclass(frozen=True)
class TotalProgress:
    """How far all files are. `ended` counts finished, skipped and failed ones; `total` is estimated, None if nothing is known."""

    files: int
    ended: int
    frames: int
    total: int | None
    fraction: float
    fps: float
    seconds_left: float | None


@dataclass(slots=True)
class _File:
    """What is known of a job. Its work is frames times pixels, for a net's cost is per pixel."""

    number: int
    total: int | None = None
    pixels: int = 0
    frames: int = 0
    found: int | None = None
    """Frames that an interrupted run had made, which say nothing of the speed of this one; None before the first report."""
    started_at: float = 0.0
    ended: bool = False
    typical: bool = True
    """Whether it tells of files not looked into yet; one that was skipped or failed does not."""


@dataclass(slots=True)
class _Sums:
    """Over all files, kept up to date so that nobody has to walk through ten thousand for each line."""

    frames: int = 0
    work: int = 0
    all_frames: int = 0
    """Of files whose length is known; so `all_work`."""
    all_work: int = 0
    unknown: int = 0
    typical: int = 0
    typical_frames: int = 0
    typical_work: int = 0

    def add(self, file: _File, sign: int = 1) -> None:
        """Count a file, or with -1 no longer."""
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
    """Keeps count of all files. `clock` tells seconds; any thread may call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._files: dict[Job, _File] = {}
        self._active: dict[Job, None] = {}  # a set in the order in which they began
        self._sums = _Sums()
        self._ended = 0
        self._started_at: float | None = None
        self._end = 0.0
        self._work, self._frames = _Rate(), _Rate()

    def expect(self, jobs: Sequence[Job]) -> None:
        """These jobs will be worked off; so will those that are told of without this."""
        with self._lock:
            for job in jobs:
                self._file(job)

    def estimate(self, job: Job, frames: int, pixels: int) -> None:
        """A job's header says this. Nothing new once it was started."""
        with self._lock:
            file = self._file(job)
            if job not in self._active and not file.ended:
                with self._changing(file):
                    file.total, file.pixels = frames, pixels

    def start(self, job: Job, frames: int | None, pixels: int) -> None:
        """A job begins, perhaps once more."""
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
                    file.frames, file.found, file.ended, file.typical = 0, None, False, True
                file.started_at, file.pixels = now, pixels
                if frames is not None:
                    file.total = frames
            self._active[job] = None

    def frame(self, job: Job, count: int) -> None:
        """So many frames of a job are done."""
        with self._lock:
            file = self._file(job)
            self._sums.add(file, -1)
            if file.found is None:
                resumed = count > 1 and self._clock() - file.started_at <= RESUME_REPORT_SECONDS
                file.frames = file.found = count if resumed else 0
            self._advance(file, count)
            self._sums.add(file)

    def finish(self, job: Job, frames: int) -> None:
        """A job is done, and had so many frames."""
        with self._lock:
            file = self._file(job)
            with self._changing(file):
                self._advance(file, frames)
                file.total = frames
            self._close(job, file)

    def skip(self, job: Job) -> None:
        """There was nothing to do."""
        self._drop(job)

    def fail(self, job: Job) -> None:
        """Nothing more will be done for a job."""
        self._drop(job)

    def active_jobs(self) -> list[Job]:
        """The jobs that have begun and are not over, in this order."""
        with self._lock:
            return list(self._active)

    def file_progress(self, job: Job) -> FileProgress:
        """How far this job is."""
        with self._lock:
            file = self._file(job)
            fps = (file.frames - (file.found or 0)) / max(self._clock() - file.started_at, 1e-9)
            left = max(0.0, (file.total - file.frames) / fps) if file.total and fps > 0 else None
            return FileProgress(file.number, file.frames, file.total, fps, left)

    def total_progress(self) -> TotalProgress:
        """How far all of it is."""
        with self._lock:
            sums, now = self._sums, self._clock()
            known = sums.typical > 0
            mean_frames = sums.typical_frames / sums.typical if known else 0.0
            mean_work = sums.typical_work / sums.typical if known else 0.0
            started = [f for f in map(self._files.__getitem__, self._active) if f.total is None]
            waiting = sums.unknown - len(started)
            frames = sums.all_frames + waiting * mean_frames + sum(max(f.frames, mean_frames) for f in started)
            work = sums.all_work + waiting * mean_work + sum(max(f.frames * f.pixels, mean_work) for f in started)
            rate = self._work.per_second(now)
            return TotalProgress(
                files=len(self._files),
                ended=self._ended,
                frames=sums.frames,
                total=round(frames) if known else None,
                fraction=sums.work / work if known and work else self._ended / max(1, len(self._files)),
                fps=self._frames.per_second(now),
                seconds_left=(work - sums.work) / rate if known and rate > 0 else None,
            )

    @property
    def files(self) -> int:
        """How many there are."""
        return len(self._files)

    @property
    def started(self) -> bool:
        """Whether a job has started."""
        return self._started_at is not None

    @property
    def all_ended(self) -> bool:
        """Whether nothing is left to do."""
        return self._ended == len(self._files)

    @property
    def seconds(self) -> float:
        """From when the first job began to when the last was over."""
        return 0.0 if self._started_at is None else max(0.0, self._end - self._started_at)

    def _file(self, job: Job) -> _File:
        file = self._files.get(job)
        if file is None:
            file = self._files[job] = _File(len(self._files) + 1)
            self._sums.add(file)
        return file

    @contextmanager
    def _changing(self, file: _File) -> Iterator[None]:
        self._sums.add(file, -1)
        yield
        self._sums.add(file)

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
    """Something per second, the more recent the weightier."""

    def __init__(self) -> None:
        self._amount = self._seconds = self._new = 0.0
        self._then: float | None = None

    def begin(self, now: float) -> None:
        self._then = now

    def add(self, amount: float) -> None:
        self._new += amount

    def per_second(self, now: float) -> float:
        """The rate until now. What was added since the last call counts as done evenly since then."""
        passed = 0.0 if self._then is None else now - self._then
        if passed > 0:
            keep, weight = exp(-passed / RATE_MEMORY_SECONDS), -RATE_MEMORY_SECONDS * expm1(-passed / RATE_MEMORY_SECONDS)
            self._amount = self._amount * keep + self._new / passed * weight
            self._seconds = self._seconds * keep + weight
            self._new, self._then = 0.0, now
        return self._amount / self._seconds if self._seconds else 0.0
