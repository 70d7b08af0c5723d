"""Runs on folders of short clips: in this process with a reporter that keeps a log, and in the background."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.helpers import events, frames_of, listing, moving_bar, write_clip
from tests.support.runs import (
    RunResult,
    finish,
    start,
    wait_until,
)
from vidstyle.batch.planner import plan
from vidstyle.batch.runner import run_jobs
from vidstyle.conversion.convert import Conversion, Result
from vidstyle.conversion.job import Job, JobResult, Reporter
from vidstyle.core.frames import Pixels, VideoInfo
from vidstyle.core.options import ConvertOptions
from vidstyle.core.protocols import Stylizer

FRAMES = 4


class Inverting(Stylizer):
    """Makes negatives; calls `before` before each image with the number of images so far."""

    def __init__(self, before: Callable[[int], object] = lambda stylized: None) -> None:
        self.stylized, self._before = 0, before

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        for _ in images:
            self.stylized += 1
            self._before(self.stylized)
        return 255 - np.stack(images)


class RecordingReporter:
    """A reporter that keeps a log of its calls, such as `start a`, and calls `then` with each entry."""

    def __init__(self, then: Callable[[str], object] = lambda entry: None) -> None:
        self.log: list[str] = []
        self._then = then

    def _note(self, *words: str) -> None:
        self.log.append(" ".join(words))
        self._then(self.log[-1])

    def stage(self, what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        self._note(what)

    def expect(self, jobs: Sequence[Job]) -> None:
        self._note("expect", str(len(jobs)))

    def estimate(self, job: Job, frames: int, pixels: int) -> None:
        """Called at any time by a background thread."""

    def start(self, job: Job, info: VideoInfo) -> None:
        self._note("start", stem(job.input))

    def frame(self, job: Job, count: int) -> None:
        self._note("frame", stem(job.input), str(count))

    def done(self, job_result: JobResult) -> None:
        how = "failed" if job_result.error else "done" if job_result.result else "skipped"
        self._note(how, stem(job_result.job.input))


def stem(name: object) -> str:
    return Path(str(name)).stem


@cache
def clip_of(number: int, frames: int, audio: bool) -> bytes:
    """A clip, encoded once so that its bytes are always the same; each number has other images."""

    def image(index: int, width: int, height: int) -> Pixels:
        return moving_bar(index + 3 * number, width, height)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        return write_clip(path, times=range(frames), image=image, audio=["eng"] if audio else []).read_bytes()


def fill(folder: Path, names: str, frames: int = FRAMES, audio: bool = False) -> Path:
    """A folder with one clip per name."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names.split()):
        (folder / f"{name}.mp4").write_bytes(clip_of(number, frames, audio))
    return folder


def convert_folder(
    folder: Path, reporter: Reporter | None = None, stylizer: Inverting | None = None, shared: bool = False, **options: Any
) -> list[JobResult]:
    """Convert all files in a folder in this process."""
    jobs, stylizers = plan([str(folder)], ["tiny"]), {"tiny": stylizer or Inverting()}
    return run_jobs(jobs, stylizers, ConvertOptions(**options), reporter or RecordingReporter(), shared)


def results(job_results: Sequence[JobResult]) -> list[Result]:
    """The results of jobs that must all have succeeded."""
    assert [job_result.error for job_result in job_results] == [None] * len(job_results)
    return [job_result.result for job_result in job_results if job_result.result is not None]


def output_stems(folder: Path) -> list[str]:
    """The stems of the clips that have an output."""
    return sorted(path.name.split(".")[0] for path in folder.iterdir() if ".tiny." in path.name and path.name[0] != ".")


def hidden_in(folder: Path) -> list[str]:
    """All hidden files and folders in a tree."""
    return [name for name in listing(folder) if any(part.startswith(".") for part in Path(name).parts)]


def open_files_in(folder: Path) -> list[str]:
    """Files in `folder` that this process has open, including unnamed ones."""
    found = []
    for handle in Path("/proc/self/fd").iterdir():
        try:
            found.append(os.readlink(handle))
        except OSError:  # the handle of the listing itself
            continue
    return [name for name in found if name.startswith(f"{folder.resolve()}/")]


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Assert that no threads, open files or hidden files are left after the block."""
    before = set(threading.enumerate())
    yield
    assert [thread.name for thread in threading.enumerate() if thread not in before] == []
    assert open_files_in(folder) == []
    assert hidden_in(folder) == []


def assert_complete(folder: Path, frames: int = FRAMES) -> None:
    """All outputs that exist have all their frames."""
    for path in folder.glob("*.tiny.*"):
        assert len(frames_of(path)) == frames, path


class ObservedConversion(Conversion):
    """A conversion that calls `on_step` before each step, for example with `opening a`."""

    on_step: Callable[[str], object] = staticmethod(lambda step: None)

    def __init__(self, input: str, *args: Any, **options: Any) -> None:
        self._stem = stem(input)
        ObservedConversion.on_step(f"opening {self._stem}")
        super().__init__(input, *args, **options)
        ObservedConversion.on_step(f"opened {self._stem}")

    def publish(self) -> Result:
        ObservedConversion.on_step(f"publishing {self._stem}")
        return super().publish()

    def close(self) -> None:
        super().close()
        ObservedConversion.on_step(f"closed {self._stem}")


class BackgroundRun:
    """A run in the background, and the events that it has reported so far."""

    def __init__(self, log: Path, folder: Path, *args: object) -> None:
        self._log = log
        with log.open("w") as stderr:
            self.process = start(*args, "--progress", "json", cwd=folder, stderr=stderr)

    def events(self) -> list[dict[str, Any]]:
        text = self._log.read_text()
        return events(text[: text.rfind("\n") + 1])

    def done(self, status: str = "done") -> list[str]:
        """The stems of the files that ended with this status."""
        return [stem(e["input"]) for e in self.events() if e["event"] == "file_done" and e["status"] == status]

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(condition, self.process, f"{what}; its output was: {self._log.read_text()}")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for the run and return its exit code."""
        run_result = finish(self.process)
        assert run_result.code is not None, self._log.read_text()
        assert "Traceback" not in self._log.read_text()
        return run_result.code


def rows(run_result: RunResult, status: str) -> dict[str, str]:
    """The files with that status in the summary table, and the reasons."""
    found: list[list[str]] = []
    for line in run_result.stderr.split(" files: ")[1].splitlines()[1:]:
        words = line.split(maxsplit=2)
        if words and words[0] in ("failed", "damaged"):
            found.append(words)
        elif found and line.startswith(" "):
            found[-1][2] += f" {line.strip()}"
    return {words[1]: words[2] for words in found if words[0] == status}
