"""Clips, worker pools and comparisons for the tests of runs with several workers."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tests.support.helpers import append, display_matrix_of, frames_of, moving_bar, noise, time_of, write_clip
from tests.support.runs import SECONDS
from tests.support.streams import CHAPTERS, FONT, PLAIN, SRT, begin_and_end, mux
from vidstyle.batch.cluster.scheduler import run_jobs
from vidstyle.batch.cluster.worker_pool import Task, WorkerPool
from vidstyle.cli.reporters import QuietReporter
from vidstyle.conversion import provenance
from vidstyle.conversion.convert import Result, convert
from vidstyle.conversion.job import Job, JobResult
from vidstyle.core.frames import Pixels
from vidstyle.core.options import ConvertOptions, EncodeOptions, StyleOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.stylizers import load_stylizer


def image_in_shots(*cuts: int) -> Callable[[int, int, int], Pixels]:
    """Images that show another scene from each of `cuts` on. A scene darkens, so its statistics depend on its first frames."""

    def image(index: int, width: int, height: int) -> Pixels:
        scene = moving_bar(index, width, height)
        number = sum(index >= cut for cut in cuts)
        scene = [scene, 255 - scene, scene[::-1, ::-1], scene[..., ::-1] // 2][number % 4]
        since = index - max((cut for cut in cuts if cut <= index), default=0)
        return np.ascontiguousarray(np.asarray(scene * max(0.3, 1 - since / 120), np.uint8))

    return image


SIZE = (64, 48)
FOUR_SHOTS = image_in_shots(13, 27, 66)
GROUPS = {"g": "24"}
INTERLACED = {"x264-params": "interlaced=1"}
FRAMES = 168
UNEVEN = [int(t) for t in 500 + np.cumsum(np.random.default_rng(3).integers(1, 100, FRAMES))]

# Seven seconds each, of four shots: the second begins in the middle of a group of pictures, the third lasts for several.
VIDEOS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("in.mp4", {"options": GROUPS, "audio": ["eng", "deu"]}),
    "open groups": ("in.mp4", {"options": {"x264-params": "open-gop=1:keyint=24:bframes=3:scenecut=0"}, "audio": ["eng"]}),
    "open groups of H.265": ("in.mkv", {"codec": "libx265", "options": {"x265-params": "keyint=24:bframes=4:log-level=error"}}),
    "uneven": ("in.mkv", {"times": UNEVEN, "time_base": Fraction(1, 1000), "options": {"g": "20"}, "audio": ["eng"]}),
    "late": ("in.mp4", {"times": range(100, 100 + FRAMES), "options": GROUPS, "audio": ["eng"]}),
    "seldom": ("in.mp4", {"times": range(80), "time_base": Fraction(1, 2), "options": {"g": "5"}, "image": FOUR_SHOTS}),
    "turned": ("in.mp4", {"rotation": 90, "options": GROUPS}),
    "VP9": ("in.webm", {"codec": "libvpx-vp9", "options": {**GROUPS, "deadline": "realtime", "cpu-used": "8"}}),
    "AVI": ("in.avi", {"codec": "mpeg4", "options": GROUPS, "audio": ["eng"], "audio_codec": "mp2"}),
}  # fmt: skip
EVENLY: dict[str, Any] = {"times": range(FRAMES), "image": image_in_shots(30, 55, 140)}


def _rich(path: Path) -> Path:
    """Audio, subtitles, chapters, a font and tags."""
    video = write_clip(path.with_name("video.mkv"), **EVENLY, audio=["eng", "fra"], options={**PLAIN, "g": "24"})
    text = path.with_name("text.srt")
    text.write_text(SRT)
    return mux(
        path,
        [(video, {}), (text, {0: (1, {"language": "deu"})})],
        metadata={"title": "Film"},
        chapters=CHAPTERS,
        attachments=[FONT],
    )


def _two_sizes(path: Path) -> Path:
    """A stream joined from two of different frame sizes."""
    codec: dict[str, Any] = {"codec": "libvpx", "options": {**GROUPS, "deadline": "realtime", "cpu-used": "8"}}
    halves = [write_clip(path.with_name(f"{n}.mkv"), size=(64 + 16 * n, 48), times=range(72), **codec) for n in range(2)]
    return append(path, halves, 3000)


def _damaged(path: Path) -> Path:
    data = write_clip(path, **{**EVENLY, "image": noise}, options=GROUPS).read_bytes()
    begin = len(data) // 2
    path.write_bytes(data[:begin] + bytes(6000) + data[begin + 6000 :])
    return path


def _cut_off(path: Path) -> Path:
    data = write_clip(path, **EVENLY, options=GROUPS).read_bytes()
    path.write_bytes(data[: int(0.7 * len(data))])
    return path


def _image(path: Path) -> Path:
    assert cv2.imwrite(str(path), moving_bar(3, 64, 48))
    return path


# What must not be or cannot be divided; the suffix of the output; whether there are warnings or damage.
UNDIVIDED: dict[str, tuple[Callable[[Path], Path], str, str, bool]] = {
    "broadcast": (partial(write_clip, **EVENLY, options=GROUPS, audio=["eng"]), "in.ts", ".mkv", False),
    "interlaced": (partial(write_clip, **EVENLY, size=(64, 64), options=GROUPS | INTERLACED), "in.mkv", ".mkv", True),
    "damaged": (_damaged, "in.mkv", ".mkv", True),
    "cut off": (_cut_off, "in.mkv", ".mkv", True),
    "two sizes": (_two_sizes, "in.mkv", ".mkv", True),
    "one group": (partial(write_clip, **EVENLY, options={"x264-params": "keyint=999:scenecut=0"}), "in.mp4", ".mkv", False),
    "short": (partial(write_clip, times=range(30), options={"g": "6"}, audio=["eng"]), "in.mp4", ".mkv", False),
    "into a GIF": (partial(write_clip, times=range(48), options={"g": "6"}, audio=["eng"]), "in.mp4", ".gif", True),
    "image": (_image, "in.png", ".png", False),
}


def make_videos_in(factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a clip of `VIDEOS` or `UNDIVIDED`, once."""

    @cache
    def make(name: str) -> Path:
        folder = factory.mktemp("video")
        if name == "rich":
            return _rich(folder / "in.mkv")
        if name in VIDEOS:
            file, clip = VIDEOS[name]
            return write_clip(folder / file, **EVENLY | clip)
        write, file, _, _ = UNDIVIDED[name]
        return write(folder / file)

    return make


def convert_whole_in(factory: pytest.TempPathFactory, video: Callable[[str], Path]) -> Callable[..., tuple[Result, Path]]:
    """Converts a clip without workers, once for each set of options."""

    @cache
    def stylizer(style: StyleOptions) -> Stylizer:
        return load_stylizer(style)

    @cache
    def whole(name: str, options: ConvertOptions, suffix: str = ".mkv") -> tuple[Result, Path]:
        input = str(video(name))
        output = factory.mktemp("whole") / f"out{suffix}"
        fingerprint = provenance.fingerprint(input, options)
        return convert(input, output, stylizer(options.style), options, fingerprint=fingerprint), output

    return whole


class WatchedPool:
    """A pool around another one: `on_start` is called with every task that was started, and `change_result` may replace what
    comes back."""

    def __init__(
        self,
        pool: WorkerPool,
        on_start: Callable[[Task], object] = lambda task: None,
        change_result: Callable[[Task, Any], Any] = lambda task, result: result,
    ) -> None:
        self.pool, self.workers = pool, pool.workers
        self._on_start, self._change_result = on_start, change_result
        self._tasks: dict[int, Task] = {}

    def start(self, task: Task) -> int | None:
        number = self.pool.start(task)
        if number is not None:
            self._tasks[number] = task
            self._on_start(task)
        return number

    def results(self) -> list[tuple[int, Any]]:
        return [(number, self._change_result(self._tasks[number], result)) for number, result in self.pool.results()]

    def share_file(self, path: str) -> Any:
        return self.pool.share_file(path)

    def close(self) -> None:
        self.pool.close()

    @property
    def methods(self) -> list[str]:
        """The methods of all tasks so far."""
        return [task.method for task in self._tasks.values()]


def options_of(style: str = "tiny", codec: str | None = "ffv1", height: int | None = None, **options: Any) -> ConvertOptions:
    return ConvertOptions(StyleOptions(style, device="cpu", height=height), EncodeOptions(codec), **options)


def run_job(pool: WorkerPool, input: object, output: Path, options: ConvertOptions, chunk: float = 1.0) -> JobResult:
    [job_result] = run_jobs([Job(str(input), output, options.style.style)], pool, options, QuietReporter(), chunk)
    return job_result


def convert_on(pool: WorkerPool, input: object, output: Path, options: ConvertOptions, chunk: float = 1.0) -> Result:
    """Convert on the workers of `pool`, which must succeed."""
    job_result = run_job(pool, input, output, options, chunk)
    assert job_result.error is None, job_result
    assert job_result.result is not None
    assert job_result.result.output == output
    return job_result.result


def worker_pids(pool: Any) -> list[int]:
    """The process IDs of the present workers."""
    own: Any = pool.pool if isinstance(pool, WatchedPool) else pool
    return list(own.pids)


@dataclass(frozen=True)
class FileContent:
    """All of a file that must not depend on how many workers stylized it."""

    frames: list[tuple[Fraction, int, str]]
    others: list[Any]
    chapters: list[tuple[Any, ...]]
    metadata: dict[str, str]


def content_of(path: Path) -> FileContent:
    images = frames_of(path)
    rotations = {matrix for f in images if (matrix := display_matrix_of(f)) is not None}
    frames = [(time_of(f), f.duration, hashlib.sha256(f.to_ndarray(format="rgb24").tobytes()).hexdigest()) for f in images]
    with av.open(str(path)) as container:
        streams = [
            (s.index, s.type, s.codec_context.name if s.codec_context else "", dict(s.metadata), int(s.disposition))
            for s in container.streams
        ]
        chapters = [(*begin_and_end(c), c["metadata"]) for c in container.chapters()]
        packets = [
            (p.stream.index, bytes(p), p.pts, p.dts, p.duration) for p in container.demux() if p.size and p.stream.type != "video"
        ]
        others = [*streams, *rotations, *sorted(packets, key=lambda p: (p[0], p[2]))]
        return FileContent(frames, others, chapters, dict(container.metadata))


def assert_stylized_as(output: Path, expected: Path) -> None:
    found, wanted = content_of(output), content_of(expected)
    assert [f[:2] for f in found.frames] == [f[:2] for f in wanted.frames]
    assert [n for n, (a, b) in enumerate(zip(found.frames, wanted.frames, strict=True)) if a != b] == []
    assert found.others == wanted.others
    assert (found.chapters, found.metadata) == (wanted.chapters, wanted.metadata)


def assert_reported_as(result: Result, expected: Result) -> None:
    assert (result.frames, result.warnings, result.damage) == (expected.frames, expected.warnings, expected.damage)


def assert_divided(pool: WatchedPool, chunks: int) -> None:
    assert pool.methods.count("stylize_chunk") >= chunks, pool.methods
    assert "convert_whole" not in pool.methods


def kill_processes(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def running_processes() -> dict[int, int]:
    """The process IDs of all running processes, and those of their parents."""
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError):
                state, parent, *_ = (path / "stat").read_text().rsplit(")", 1)[1].split()
                if state != "Z":
                    found[int(path.name)] = int(parent)
    return found


def descendants(pid: int) -> list[int]:
    alive = running_processes()
    found = [pid]
    for one in found:
        found += [child for child, parent in alive.items() if parent == one]
    return found[1:]


def wait_for_exit(pids: Sequence[int], seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while alive := set(pids) & running_processes().keys():
        assert time.monotonic() < end, f"still there: {alive}"
        time.sleep(0.01)
