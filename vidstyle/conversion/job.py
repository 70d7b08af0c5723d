"""A job, its result, and the protocol by which progress is reported."""

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
    """How a job ended: with a `result` or an `error`, or `skipped`: a few words on why there was nothing to do."""

    job: Job
    result: Result | None = None
    error: VidstyleError | None = None
    skipped: str = ""


class Reporter(Protocol):
    """Receives the progress of jobs. Several may be running at once; `estimate` is called from a separate thread."""

    def stage(self, what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        """Progress of work that does not produce output frames, such as fine-tuning; `total` and `seconds_left` if known."""

    def expect(self, jobs: Sequence[Job]) -> None:
        """These jobs are to be done; more may be added later."""

    def estimate(self, job: Job, frames: int, pixels: int) -> None:
        """The number of frames and of pixels in each, as the input's header has it. Called before `start`, or never."""

    def start(self, job: Job, info: VideoInfo) -> None:
        """The first frame of the job is about to be stylized."""

    def frame(self, job: Job, count: int) -> None:
        """`count` frames of the job are done."""

    def done(self, job_result: JobResult) -> None:
        """The job has ended, whether it was started or not."""
