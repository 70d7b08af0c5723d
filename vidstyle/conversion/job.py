"""What becomes of jobs, and who is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vidstyle.conversion.convert import Result
from vidstyle.core.errors import VidstyleError
from vidstyle.core.frames import VideoInfo
from vidstyle.core.options import StyleOptions


@dataclass(frozen=True)
class Job:
    """One input (path or URL), where its output goes, and the style's name or model file."""

    input: str
    output: Path
    style: str = StyleOptions.style


@dataclass(frozen=True)
class JobResult:
    """What became of a job: `result`, or `error`, or `skipped`, a few words on why there was nothing to do."""

    job: Job
    result: Result | None = None
    error: VidstyleError | None = None
    skipped: str = ""


class Reporter(Protocol):
    """Is told how the work goes. Several jobs may be under way at once; `estimate` comes from a thread of its own."""

    def stage(self, what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        """How far work is that comes before the frames."""

    def expect(self, jobs: Sequence[Job]) -> None:
        """These jobs will be worked off; more may come later."""

    def estimate(self, job: Job, frames: int, pixels: int) -> None:
        """By its header the job has so many frames, of so many pixels each; before `start`, or never."""

    def start(self, job: Job, info: VideoInfo) -> None:
        """The first frame of the job is about to be stylized."""

    def frame(self, job: Job, count: int) -> None:
        """So many frames of the job are done."""

    def done(self, job_result: JobResult) -> None:
        """The job is over, whether it was started or not."""
