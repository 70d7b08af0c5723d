"""Videos that take long enough to be interrupted, and runs on them that are resumed."""

from __future__ import annotations

import hashlib
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.support.helpers import audio_of, frames_of, languages_of, listing, moving_bar, noise, time_of, write_clip
from tests.support.judge import decode
from tests.support.runs import DAMAGE, DONE, SIZE, STOPPED, CommandRunner, RunResult, finish, run_limited, start, wait_until
from vidstyle.core.frames import Pixels

SEGMENTS = 6
"""Clips of a minute at two frames per second: six segments of twenty frames."""
SEGMENT_SUFFIXES = (".mkv", ".nut", ".mp4", ".ts")


def three_shots(index: int, width: int, height: int) -> Pixels:
    """Three shots, with cuts in the middle of segments."""
    image = moving_bar(index, width, height)
    return image if index < 30 else 255 - image if index < 75 else np.ascontiguousarray(image[::-1, ::-1])


@dataclass(frozen=True)
class ResumableClip:
    """A clip, the options with which it is stylized, and the exit code."""

    name: str = "in.mp4"
    options: tuple[str, ...] = ()
    clip: dict[str, Any] = field(default_factory=dict)
    damage: Callable[[bytes], bytes] = bytes
    code: int = DONE


def _uneven(frames: int) -> list[int]:
    """Times with gaps, one of them longer than a segment."""
    steps = np.random.default_rng(4).choice([1, 2, 3, 7], frames)
    steps[50] = 250
    return [int(t) for t in 30 + np.cumsum(steps)]


def _zeroed(data: bytes) -> bytes:
    """Zero a block in the first segments."""
    begin = len(data) // 5
    return data[:begin] + bytes(6000) + data[begin + 6000 :]


def _cut_off(data: bytes) -> bytes:
    return data[: int(0.8 * len(data))]


VIDEOS = {
    "plain": ResumableClip(),
    "steady": ResumableClip(options=("--stabilize", "light"), clip={"image": three_shots}),
    "uneven": ResumableClip(clip={"times": _uneven(120), "time_base": Fraction(1, 10)}),
    "hevc": ResumableClip(options=("--codec", "hevc", "--preset", "ultrafast")),
    "mkv": ResumableClip("in.mkv", clip={"image": three_shots}),
    "mov": ResumableClip("in.mov"),
    "trimmed": ResumableClip(options=("--start", "3.5", "--end", "51")),
    "silent": ResumableClip(options=("--no-audio",)),
    "damaged": ResumableClip("in.mkv", clip={"image": noise, "options": {"g": "6"}}, damage=_zeroed, code=DAMAGE),
    "cut off": ResumableClip("in.mkv", clip={"image": noise}, damage=_cut_off, code=DAMAGE),
}


@dataclass(frozen=True)
class VideoContent:
    """All of a file that must not depend on an interruption."""

    frames: list[tuple[Fraction, str]]
    audio: list[list[tuple[bytes, Fraction]]]
    languages: list[str | None]
    dispositions: list[int]


def content_of(path: Path) -> VideoContent:
    frames = [(time_of(f), hashlib.sha256(f.to_ndarray(format="rgb24").tobytes()).hexdigest()) for f in frames_of(path)]
    with av.open(str(path)) as container:
        dispositions = [int(stream.disposition) for stream in container.streams]
    return VideoContent(frames, audio_of(path), languages_of(path), dispositions)


def assert_same(output: Path, expected: VideoContent) -> None:
    """Assert that the file is complete, and that its frames, times and copied packets are exactly `expected`."""
    decoded = decode(output)
    assert decoded.whole, decoded.errors
    found = content_of(output)
    assert [t for t, _ in found.frames] == [t for t, _ in expected.frames]
    assert found.frames == expected.frames
    assert found == expected


def make_video(name: str, folder: Path, size: tuple[int, int] = SIZE) -> Path:
    """Write the clip `name` of `VIDEOS`."""
    video = VIDEOS[name]
    clip: dict[str, Any] = {"times": range(120), "time_base": Fraction(1, 2), "audio": ["eng"], "size": size} | video.clip
    path = write_clip(folder / video.name, **clip)
    path.write_bytes(video.damage(path.read_bytes()))
    return path


class ResumableRun:
    """A clip in a folder of its own, stylized with one set of options; processes are killed at the end of the test."""

    def __init__(
        self,
        folder: Path,
        video: ResumableClip,
        style: str = "slow",
        options: Sequence[str] = (),
        runner: CommandRunner | None = None,
    ) -> None:
        self.folder, self.style, self.runner = folder, style, runner
        self.clip = folder / video.name
        self.output = folder / f"stylized{self.clip.suffix}"
        self.options = [*video.options, *options]
        self.running: list[subprocess.Popen[str]] = []

    @property
    def work(self) -> Path:
        """The folder of unfinished work."""
        return self.folder / f".{self.output.name}.resume"

    def command(self, *more: str, resume: bool = True) -> list[object]:
        arguments = [self.clip.name, "-o", self.output.name, "--style", self.style, *self.options, *more]
        return [*arguments, "--resume"] if resume else [*arguments]

    def start(self, *more: str) -> subprocess.Popen[str]:
        process = start(*self.command(*more), cwd=self.folder)
        self.running.append(process)
        return process

    def run(self, *more: str, resume: bool = True, file_size: int | None = None) -> RunResult:
        """A whole run, in the process of `runner` if there is one."""
        command = self.command(*more, resume=resume)
        if self.runner is not None and file_size is None:
            return self.runner.run(*command, cwd=self.folder)
        return run_limited(*command, cwd=self.folder, file_size=file_size)

    def segments(self) -> list[Path]:
        """The finished segments, which are those in the manifest."""
        try:
            listed = (self.work / "manifest.json").read_text()
            return sorted(p for p in self.work.iterdir() if p.suffix in SEGMENT_SUFFIXES and f'"{p.name}"' in listed)
        except OSError:
            return []

    def interrupt(self, after: int, number: signal.Signals = signal.SIGKILL, *more: str) -> RunResult:
        """Start, and send a signal when so many segments are finished."""
        process = self.start(*more)
        wait_until(lambda: len(self.segments()) >= after, process, f"{after} finished segments")
        process.send_signal(number)
        run_result = finish(process)
        assert run_result.code == (-number if number == signal.SIGKILL else STOPPED[number]), run_result
        assert "Traceback" not in run_result.stderr
        assert self.segments(), "the finished segments are lost"
        return run_result

    def assert_clean(self) -> None:
        assert listing(self.folder) == sorted([self.clip.name, self.output.name])
