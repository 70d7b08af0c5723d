"""How a caller interrupts a conversion: between frames, so that the frame in flight is finished and everything is cleaned up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vidstyle.conversion.job import Job, JobResult, Reporter
    from vidstyle.core.frames import VideoInfo


class Interrupts(Protocol):
    """Requests to stop, such as signals."""

    def hold(self) -> None:
        """From now on there is something to clean up: a request waits for `check`. Before, it may end the process."""

    def check(self) -> None:
        """Raise if a request is pending; called between frames and wherever the work waits."""


class NoInterrupts:
    """Nothing interrupts, besides the exceptions that Python itself raises."""

    def hold(self) -> None:
        """See `Interrupts`."""

    def check(self) -> None:
        """Nothing is ever pending."""


class InterruptibleReporter:
    """Passes reports on to another reporter, and raises for a pending request to stop after each frame and each step."""

    def __init__(self, reporter: Reporter, interrupts: Interrupts) -> None:
        self._reporter, self._interrupts = reporter, interrupts

    def stage(self, what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        """Pass it on, then check."""
        self._reporter.stage(what, done, total, seconds_left)
        self._interrupts.check()

    def expect(self, jobs: Sequence[Job]) -> None:
        """Pass it on."""
        self._reporter.expect(jobs)

    def estimate(self, job: Job, frames: int, pixels: int) -> None:
        """Pass it on without a check: it comes from a background thread."""
        self._reporter.estimate(job, frames, pixels)

    def start(self, job: Job, info: VideoInfo) -> None:
        """Pass it on."""
        self._reporter.start(job, info)

    def frame(self, job: Job, count: int) -> None:
        """Pass it on, then check."""
        self._reporter.frame(job, count)
        self._interrupts.check()

    def done(self, job_result: JobResult) -> None:
        """Pass it on without a check: if it was the last one, there is nothing left to interrupt."""
        self._reporter.done(job_result)
