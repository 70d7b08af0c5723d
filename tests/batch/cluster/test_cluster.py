"""`--workers`: a video stylized in parts by several processes is the video stylized in one piece, whatever becomes of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tests.support.faults import (
    DAMAGE,
    DISK,
    DONE,
    FAILED,
    MODEL,
    SECONDS,
    STOPPED,
    USAGE,
    Film,
    RunResult,
    Studio,
    assert_same,
    decode,
    finish,
    run_limited,
    start,
    wait_until,
)
from tests.support.faults import facts_of as facts_of_video
from tests.support.helpers import (
    append,
    audio_of,
    environment,
    events,
    frames_of,
    identity_model,
    listing,
    messages,
    moving_bar,
    noise,
    rgb_of,
    write_clip,
)
from tests.support.helpers import write_audio as write_audio_only
from tests.support.streams import CHAPTERS, FONT, PLAIN, SRT, mux
from tests.temporal.test_flow import texture
from vidstyle.batch.cluster.engine import Engine, Frames, Task
from vidstyle.batch.cluster.scheduler import TRIES, open_engine, run_jobs
from vidstyle.batch.cluster.worker import Stretch
from vidstyle.cli.reporters import QuietReporter
from vidstyle.conversion import provenance
from vidstyle.conversion.convert import Result, convert
from vidstyle.conversion.job import Job
from vidstyle.conversion.job import JobResult as JobOutcome
from vidstyle.core.errors import InputError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import ClusterOptions, ConvertOptions, EncodeOptions, StyleOptions, Trim
from vidstyle.core.protocols import Stylizer
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal.metrics import WarpingError

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs signals as on Linux"),
    pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg as a judge"),
]


# --- videos


def shots(*cuts: int) -> Callable[[int, int, int], Pixels]:
    """Images of another scene from each of `cuts` on, every one of which darkens: what begins late in it looks otherwise."""

    def image(index: int, width: int, height: int) -> Pixels:
        scene = moving_bar(index, width, height)
        number = sum(index >= cut for cut in cuts)
        scene = [scene, 255 - scene, scene[::-1, ::-1], scene[..., ::-1] // 2][number % 4]
        since = index - max((cut for cut in cuts if cut <= index), default=0)
        return np.ascontiguousarray(np.asarray(scene * max(0.3, 1 - since / 120), np.uint8))

    return image


SIZE = (64, 48)
GROUPS = {"g": "24"}
INTERLACED = {"x264-params": "interlaced=1"}
FRAMES = 168
UNEVEN = [int(t) for t in 500 + np.cumsum(np.random.default_rng(3).integers(1, 100, FRAMES))]

# Seven seconds each, of four shots: the second begins in the middle of a group of images, the third lasts for several.
VIDEOS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("in.mp4", {"options": GROUPS, "audio": ["eng", "deu"]}),
    "open groups": ("in.mp4", {"options": {"x264-params": "open-gop=1:keyint=24:bframes=3:scenecut=0"}, "audio": ["eng"]}),
    "open groups of H.265": ("in.mkv", {"codec": "libx265", "options": {"x265-params": "keyint=24:bframes=4:log-level=error"}}),
    "uneven": ("in.mkv", {"times": UNEVEN, "time_base": Fraction(1, 1000), "options": {"g": "20"}, "audio": ["eng"]}),
    "late": ("in.mp4", {"times": range(100, 100 + FRAMES), "options": GROUPS, "audio": ["eng"]}),
    "seldom": ("in.mp4", {"times": range(80), "time_base": Fraction(1, 2), "options": {"g": "5"}, "image": shots(13, 27, 66)}),
    "turned": ("in.mp4", {"rotation": 90, "options": GROUPS}),
    "VP9": ("in.webm", {"codec": "libvpx-vp9", "options": {**GROUPS, "deadline": "realtime", "cpu-used": "8"}}),
    "AVI": ("in.avi", {"codec": "mpeg4", "options": GROUPS, "audio": ["eng"], "audio_codec": "mp2"}),
}  # fmt: skip
EVENLY = {"times": range(FRAMES), "image": shots(30, 55, 140)}


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
    """As where a stream was joined from two."""
    codec = {"codec": "libvpx", "options": {**GROUPS, "deadline": "realtime", "cpu-used": "8"}}
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


# What is not to be divided, or cannot be; the suffix of the painting; whether it is told that something is amiss.
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


def videos_in(factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a video of `VIDEOS` or `UNDIVIDED`, once."""

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


def paintings_in(factory: pytest.TempPathFactory, video: Callable[[str], Path]) -> Callable[..., tuple[Result, Path]]:
    """What a run without workers makes of a video, once for each set of options."""

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


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return videos_in(tmp_path_factory)


@pytest.fixture(scope="module")
def in_one_piece(video: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Result, Path]]:
    return paintings_in(tmp_path_factory, video)


# --- painting them


class Watched:
    """An engine between which and the run somebody stands: `started` is told of what was given out, and `meddle` has the last
    word on what comes back."""

    def __init__(
        self,
        engine: Engine,
        started: Callable[[Task], object] = lambda task: None,
        meddle: Callable[[Task, Any], Any] = lambda task, said: said,
    ) -> None:
        self.engine, self.workers = engine, engine.workers
        self._started, self._meddle = started, meddle
        self._tasks: dict[int, Task] = {}

    def start(self, task: Task) -> int | None:
        number = self.engine.start(task)
        if number is not None:
            self._tasks[number] = task
            self._started(task)
        return number

    def answers(self) -> list[tuple[int, Any]]:
        return [(number, self._meddle(self._tasks[number], said)) for number, said in self.engine.answers()]

    def share(self, path: str) -> Any:
        return self.engine.share(path)

    def close(self) -> None:
        self.engine.close()

    @property
    def methods(self) -> list[str]:
        """What workers were asked to do so far."""
        return [task.method for task in self._tasks.values()]


def options_of(style: str = "tiny", codec: str | None = "ffv1", height: int | None = None, **options: Any) -> ConvertOptions:
    return ConvertOptions(StyleOptions(style, device="cpu", height=height), EncodeOptions(codec), **options)


def work_off(engine: Engine, input: object, output: Path, options: ConvertOptions, chunk: float = 1.0) -> JobOutcome:
    [job_result] = run_jobs([Job(str(input), output, options.style.style)], engine, options, QuietReporter(), chunk)
    return job_result


def paint(engine: Engine, input: object, output: Path, options: ConvertOptions, chunk: float = 1.0) -> Result:
    """What must succeed."""
    job_result = work_off(engine, input, output, options, chunk)
    assert job_result.error is None, job_result
    assert job_result.result is not None
    assert job_result.result.output == output
    return job_result.result


def pids_of(engine: Any) -> list[int]:
    """The workers that there are now."""
    return list((engine.engine if isinstance(engine, Watched) else engine).pids)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of another tool, which works at one size only."""
    return str(identity_model(tmp_path_factory.mktemp("foreign") / "other.onnx", (1, 3, 32, 40)))


@pytest.fixture(scope="module")
def crew(styles: Path, foreign: str) -> Iterator[Engine]:
    """Two workers, for all tests: whoever kills one gets another."""
    with closing(open_engine(["tiny", "slow", foreign], options_of(), ClusterOptions(2))) as engine:
        yield engine


@dataclass(frozen=True)
class Facts:
    """All of a file that must not depend on who stylized it."""

    frames: list[tuple[Fraction, int, str]]
    others: list[Any]
    chapters: list[tuple[Any, ...]]
    metadata: dict[str, str]


def facts_of(path: Path) -> Facts:
    images = frames_of(path)
    turns = {bytes(f.side_data["DISPLAYMATRIX"]) for f in images if "DISPLAYMATRIX" in f.side_data}  # type: ignore[call-overload, operator]
    frames = [(f.pts * f.time_base, f.duration, hashlib.sha256(f.to_ndarray(format="rgb24")).hexdigest()) for f in images]
    with av.open(str(path)) as container:
        streams = [
            (s.index, s.type, s.codec_context.name if s.codec_context else "", dict(s.metadata), int(s.disposition))
            for s in container.streams
        ]
        chapters = [(c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]) for c in container.chapters()]
        packets = [
            (p.stream.index, bytes(p), p.pts, p.dts, p.duration) for p in container.demux() if p.size and p.stream.type != "video"
        ]
        others = [*streams, *turns, *sorted(packets, key=lambda p: (p[0], p[2]))]
        return Facts(frames, others, chapters, dict(container.metadata))


def assert_stylized_as(output: Path, expected: Path) -> None:
    found, wanted = facts_of(output), facts_of(expected)
    assert [f[:2] for f in found.frames] == [f[:2] for f in wanted.frames]
    assert [n for n, (a, b) in enumerate(zip(found.frames, wanted.frames, strict=True)) if a != b] == []
    assert found.others == wanted.others
    assert (found.chapters, found.metadata) == (wanted.chapters, wanted.metadata)


def assert_told_as(result: Result, expected: Result) -> None:
    assert (result.frames, result.warnings, result.damage) == (expected.frames, expected.warnings, expected.damage)


def assert_divided(engine: Watched, parts: int) -> None:
    assert engine.methods.count("paint") >= parts, engine.methods
    assert "whole" not in engine.methods


# --- the painting


@pytest.mark.parametrize("name", [*VIDEOS, "rich"])
def test_a_video_in_parts_is_the_video_in_one_piece(
    crew: Engine, video: Any, in_one_piece: Any, tmp_path: Path, name: str
) -> None:
    options, output = options_of(), tmp_path / "out.mkv"
    expected, whole = in_one_piece(name, options)
    engine = Watched(crew)
    result = paint(engine, video(name), output, options, 6 if name == "seldom" else 1)
    assert_divided(engine, 6)
    assert "learn" in engine.methods, "no part begins in the middle of a shot"
    assert_stylized_as(output, whole)
    assert_told_as(result, expected)
    assert listing(tmp_path) == ["out.mkv"]


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "from within a group": ("plain", {"trim": Trim(1.3)}),
    "a part": ("open groups", {"trim": Trim(0.9, 6.2)}),
    "a part of uneven times": ("uneven", {"trim": Trim(2.2, 6.0)}),
    "the beginning": ("late", {"trim": Trim(0, 9.0)}),
    "several at once": ("plain", {"batch_size": 3}),
    "large strokes": ("plain", {"height": 32}),
    "a model of another tool": ("open groups", {"style": "foreign"}),
    "without audio": ("rich", {"audio": False}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_video_in_parts_is_the_video_in_one_piece_with_any_options(
    crew: Engine, video: Any, in_one_piece: Any, foreign: str, tmp_path: Path, name: str
) -> None:
    source, given = VARIANTS[name]
    options, output = (
        options_of(**(given | {"style": foreign} if given.get("style") == "foreign" else given)),
        tmp_path / "out.mkv",
    )
    expected, whole = in_one_piece(source, options)
    engine = Watched(crew)
    result = paint(engine, video(source), output, options)
    assert_divided(engine, 3)
    assert_stylized_as(output, whole)
    assert_told_as(result, expected)
    assert listing(tmp_path) == ["out.mkv"]


def test_what_a_part_does_not_know_of_its_shot_would_show(crew: Engine, video: Any, in_one_piece: Any, tmp_path: Path) -> None:
    """Else the tests above would prove nothing of statistics."""

    def none_learnt(task: Task, said: Any) -> Any:
        return {name: value * np.float32(1.5) for name, value in said.items()} if task.method == "learn" else said

    output = tmp_path / "out.mkv"
    paint(Watched(crew, meddle=none_learnt), video("plain"), output, options_of())
    _, whole = in_one_piece("plain", options_of())
    differing = np.abs(rgb_of(output).astype(int) - rgb_of(whole)).mean(axis=(1, 2, 3))
    assert (differing[:24] == 0).all()
    assert differing.max() > 2


def test_however_many_workers_there_are_the_file_is_the_same(crew: Engine, video: Any, in_one_piece: Any, tmp_path: Path) -> None:
    options, one, two = options_of(codec=None), tmp_path / "one.mp4", tmp_path / "two.mp4"
    paint(crew, video("plain"), two, options)
    with closing(open_engine(["tiny"], options, ClusterOptions(1))) as single:
        paint(single, video("plain"), one, options)
    assert one.read_bytes() == two.read_bytes()
    assert decode(two).whole
    _, whole = in_one_piece("plain", options, ".mp4")
    assert [(f.pts, f.time_base) for f in frames_of(two)] == [(f.pts, f.time_base) for f in frames_of(whole)]
    assert facts_of(two).others == facts_of(whole).others
    assert audio_of(two) == audio_of(video("plain"))


@pytest.mark.parametrize("strength", ["light", "strong"])
def test_a_steadied_video_shimmers_no_more_where_it_was_divided(crew: Engine, tmp_path: Path, strength: Any) -> None:
    wide = texture(96, 128 + 240, 7, softness=5)

    def pan(index: int, width: int, height: int) -> Pixels:
        return np.ascontiguousarray(wide[:height, index : index + width])

    clip = write_clip(
        tmp_path / "in.mkv", size=(128, 96), times=range(200), image=pan, codec="ffv1", pix_fmt="bgr0", options={"g": "41"}
    )
    options = options_of(stabilize=strength)
    seams = list[int]()

    def note(task: Task) -> None:
        if task.method == "paint":
            chunk = task.arguments[1]
            seams.append(chunk.times[chunk.lead])

    paint(Watched(crew, note), clip, tmp_path / "parts.mkv", options, 41 / 24)
    convert(str(clip), tmp_path / "whole.mkv", load_stylizer(options.style), options)
    times = [f.pts for f in frames_of(clip)]
    firsts = sorted(times.index(t) for t in seams)[1:]
    assert len(firsts) >= 4
    source, parts, whole = (rgb_of(path) for path in (clip, tmp_path / "parts.mkv", tmp_path / "whole.mkv"))

    def error(stylized: np.ndarray, pairs: Sequence[int]) -> float:
        meters = [WarpingError() for _ in pairs]
        for metric, second in zip(meters, pairs, strict=True):
            metric.add(source[second - 1], stylized[second - 1])
            metric.add(source[second], stylized[second])
        return statistics.mean(metric.stylized for metric in meters)

    interior = [n + d for n in firsts for d in (-5, -4, -3, -2, 2, 3, 4, 5)]
    assert error(parts, firsts) <= 1.05 * error(parts, interior)
    assert error(parts, firsts) <= 1.05 * error(whole, firsts)


# --- what is not divided


@pytest.mark.parametrize("name", UNDIVIDED)
def test_what_is_not_divided_is_stylized_as_ever(crew: Engine, video: Any, in_one_piece: Any, tmp_path: Path, name: str) -> None:
    _, _, suffix, tells = UNDIVIDED[name]
    options, output = options_of(codec="ffv1" if suffix == ".mkv" else None), tmp_path / f"out{suffix}"
    expected, whole = in_one_piece(name, options, suffix)
    engine = Watched(crew)
    result = paint(engine, video(name), output, options)
    assert engine.methods.count("whole") == 1
    assert "paint" not in engine.methods
    if suffix == ".png":
        assert output.read_bytes() == whole.read_bytes()
    else:
        assert_stylized_as(output, whole)
    assert_told_as(result, expected)
    assert bool(result.warnings + result.damage) == tells
    assert listing(tmp_path) == [output.name]


def _nothing(path: Path) -> Path:
    return path


def _garbage(path: Path) -> Path:
    path.write_bytes(b"no video" * 100)
    return path


@pytest.mark.parametrize("make", [_nothing, _garbage, write_audio_only])
def test_what_cannot_be_stylized_is_told_as_ever(crew: Engine, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    clip = make(tmp_path / "in.mp4")
    job_result = work_off(crew, clip, tmp_path / "out.mp4", options_of(codec=None))
    with pytest.raises(InputError) as raised:
        convert(str(clip), tmp_path / "out.mp4", load_stylizer(StyleOptions("tiny", device="cpu")))
    assert isinstance(job_result.error, InputError)
    assert str(job_result.error) == str(raised.value)
    assert listing(tmp_path) == ([] if make is _nothing else ["in.mp4"])


def _another_image(task: Task, said: Any) -> Any:
    """Where the first part is stylized, an image is another one than when it was looked through."""
    if isinstance(said, Stretch) and task.arguments[1].first is None:
        said = replace(said, marks=[*said.marks[:-1], said.marks[-1] + 1])
    return said


def _another_beginning(task: Task, said: Any) -> Any:
    """A part does not begin as those who came from before saw it."""
    return replace(said, beyond=[(t, m + 1) for t, m in said.beyond]) if isinstance(said, Stretch) else said


@pytest.mark.parametrize(("meddle", "begun"), [(_another_image, True), (_another_beginning, False)])
def test_a_video_that_reads_otherwise_in_parts_is_stylized_in_one_piece(
    crew: Engine, video: Any, in_one_piece: Any, tmp_path: Path, meddle: Any, begun: bool, caplog: pytest.LogCaptureFixture
) -> None:
    options, output = options_of(), tmp_path / "out.mkv"
    expected, whole = in_one_piece("plain", options)
    engine = Watched(crew, meddle=meddle)
    result = paint(engine, video("plain"), output, options)
    assert engine.methods.count("whole") == 1
    assert ("paint" in engine.methods) == begun
    assert ("in one piece" in caplog.text) == begun, "work that was lost is worth a word"
    assert_stylized_as(output, whole)
    assert_told_as(result, expected)
    assert listing(tmp_path) == ["out.mkv"]


def said_of(job_result: RunResult) -> list[str]:
    """What a run said of its files, but for how fast it was, and who did it."""
    lines = (line for line in job_result.stderr.splitlines() if " fps" not in line)
    return sorted(line for line in lines if ": " in line and not line.startswith("style "))


def test_a_folder_of_all_sorts(video: Any, tmp_path: Path) -> None:
    """The command line with workers and without: the same files, the same words, the same exit code."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, file in (("plain", "a.mp4"), ("damaged", "b.mkv"), ("short", "c.mp4"), ("interlaced", "f.mkv")):
        shutil.copy(video(name), folder / file)
    (folder / "d.mp4").write_bytes(b"no video")
    before, given = listing(tmp_path), ("in", "--style", "tiny", "--codec", "ffv1", "-o", "{stem}.out.mkv")
    found = []
    for more in ([], ["--workers", "2", "--chunk", "1"]):
        job_result = run_limited(*given, *more, cwd=tmp_path)
        assert job_result.code == DAMAGE, job_result
        outputs = sorted(folder.glob("*.out.mkv"))
        found.append((said_of(job_result), [path.name for path in outputs], [facts_of(path) for path in outputs]))
        for path in outputs:
            path.unlink()
        assert listing(tmp_path) == before
    assert found[0][1] == ["a.out.mkv", "b.out.mkv", "c.out.mkv", "f.out.mkv"]
    assert found[1] == found[0]
    assert any(line.startswith("error: ") for line in found[0][0])


def test_events_tell_all_of_a_run_with_workers(video: Any, foreign: str, tmp_path: Path) -> None:
    for name in ("plain", "broadcast", "image"):
        shutil.copy(video(name), tmp_path)
    given = ("in.mp4", "in.ts", "in.png", "-o", "{stem}-{ext}.out{ext}", "--workers", "2", "--chunk", "1")
    job_result = run_limited(*given, "--style", foreign, "--progress", "json", cwd=tmp_path)
    assert job_result.code == DONE, job_result
    told = events(job_result.stderr)
    assert (told[0]["event"], told[-1]["event"], told[-1]["code"]) == ("expect", "exit", 0)
    for input, frames in (("in.mp4", FRAMES), ("in.ts", FRAMES), ("in.png", 1)):
        of_file = [event for event in told if event.get("input") == input]
        assert of_file[0]["event"] == "start", of_file[0]
        counts = [event["frame"] for event in of_file if event["event"] == "progress"]
        assert counts == sorted(counts)
        assert all(count <= frames for count in counts)
        assert (of_file[-1]["event"], of_file[-1]["status"], of_file[-1]["frames"]) == ("file_done", "done", frames)
    assert messages(told).count("the model works at") == 1, "each worker has loaded it, and each word is worth one line"


# --- when workers die


def kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("when", ["survey", "look_through", "learn", "paint"])
def test_what_a_worker_was_at_when_it_died_is_done_again(
    crew: Engine, video: Any, in_one_piece: Any, tmp_path: Path, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    left = [3]

    def started(task: Task) -> None:
        if task.method == when and left:
            left.pop()
            kill(pids_of(crew))

    options, output = options_of(), tmp_path / "out.mkv"
    expected, whole = in_one_piece("plain", options)
    engine = Watched(crew, started)
    result = paint(engine, video("plain"), output, options)
    assert not left
    assert_stylized_as(output, whole)
    assert_told_as(result, expected)
    assert caplog.text == ""
    assert listing(tmp_path) == ["out.mkv"]


@pytest.mark.parametrize("name", ["plain", "broadcast"])
def test_a_worker_that_dies_in_the_middle_of_painting(
    crew: Engine, video: Any, in_one_piece: Any, tmp_path: Path, name: str
) -> None:
    """In the middle of a part, or of a video in one piece."""
    died = list[int]()

    def meddle(task: Task, said: Any) -> Any:
        if isinstance(said, Frames) and not died:
            died.append(said.count)
            kill(pids_of(crew))
        return said

    options, output = options_of(height=240, trim=Trim(0, 2)), tmp_path / "out.mkv"
    expected, whole = in_one_piece(name, options)
    result = paint(Watched(crew, meddle=meddle), video(name), output, options)
    assert died
    assert died[0] > 0
    assert_stylized_as(output, whole)
    assert_told_as(result, expected)
    assert listing(tmp_path) == ["out.mkv"]


def test_workers_that_die_idle_are_replaced(crew: Engine, video: Any, in_one_piece: Any, tmp_path: Path) -> None:
    before = pids_of(crew)
    kill(before)
    output = tmp_path / "out.mkv"
    _, whole = in_one_piece("plain", options_of())
    paint(crew, video("plain"), output, options_of())
    assert_stylized_as(output, whole)
    assert not set(before) & set(pids_of(crew))


@pytest.mark.parametrize("name", ["plain", "broadcast"])
def test_nothing_is_left_of_workers_that_are_ended_in_the_middle(
    video: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    def meddle(task: Task, said: Any) -> Any:
        if isinstance(said, Frames):
            raise KeyboardInterrupt
        return said

    options = options_of(height=240, trim=Trim(0, 2))
    with closing(open_engine(["tiny"], options, ClusterOptions(2))) as engine, pytest.raises(KeyboardInterrupt):
        work_off(Watched(engine, meddle=meddle), video(name), tmp_path / "out.mkv", options)
    wait_for_the_end_of(pids_of(engine))
    kept = ".out.mkv.resume"  # parts that were finished by then
    assert [name for name in listing(tmp_path) if not name.startswith(kept)] == ["scratch"]


POISON = """
import os, sys
if "--multiprocessing-fork" in sys.argv:
    import vidstyle.media.container
    open_media = vidstyle.media.container.open_media
    def opening(input, *more):
        if "poison" in input:
            os.kill(os.getpid(), 9)
        return open_media(input, *more)
    vidstyle.media.container.open_media = opening
"""


def test_a_file_that_kills_whoever_reads_it_costs_only_itself(video: Any, tmp_path: Path, tmp_path_factory: Any) -> None:
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(POISON)
    for name in ("a.mp4", "poison.mp4", "z.mp4"):
        shutil.copy(video("short"), tmp_path / name)
    path = os.pathsep.join((str(site), environment()["PYTHONPATH"]))
    given = ("a.mp4", "poison.mp4", "z.mp4", "-o", "{stem}.{style}{ext}", "--style", "tiny", "--workers", "2", "-q")
    job_result = run_limited(*given, cwd=tmp_path, env={"PYTHONPATH": path})
    assert job_result.code == DAMAGE, job_result
    assert job_result.stderr.startswith("error: ")
    assert len(job_result.stderr.splitlines()) == 1, job_result.stderr
    assert "poison.mp4" in job_result.stderr
    assert str(TRIES) in job_result.stderr
    assert listing(tmp_path) == ["a.mp4", "a.tiny.mp4", "poison.mp4", "z.mp4", "z.tiny.mp4"]


# --- when something else goes wrong


@pytest.mark.parametrize("inputs", [("in.mp4",), ("in.mp4", "two.mp4")], ids=["one", "two"])
def test_a_model_that_is_none(video: Any, tmp_path: Path, inputs: Sequence[str]) -> None:
    for name in inputs:
        shutil.copy(video("plain"), tmp_path / name)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    job_result = run_limited(*inputs, "--style", "./bad.onnx", "--workers", "2", "--chunk", "1", "-q", cwd=tmp_path)
    assert job_result.code == (MODEL if len(inputs) == 1 else FAILED), job_result
    lines = job_result.stderr.splitlines()
    assert len(lines) == len(inputs)
    assert all(line.startswith("error: ") and line.endswith(" ./bad.onnx") for line in lines), lines
    assert listing(tmp_path) == sorted([*inputs, "bad.onnx"])


@pytest.mark.parametrize("given", [("--workers", "0"), ("--chunk", "-1"), ("--workers", "2", "--style", "nowhere")])
def test_a_request_that_makes_no_sense(video: Any, tmp_path: Path, given: Sequence[str]) -> None:
    shutil.copy(video("short"), tmp_path / "in.mp4")
    job_result = run_limited("in.mp4", *given, "-q", cwd=tmp_path)
    assert job_result.code == (MODEL if "nowhere" in given else USAGE), job_result
    assert "Traceback" not in job_result.stderr
    assert listing(tmp_path) == ["in.mp4"]


@pytest.mark.parametrize("chunk", ["0", "0.01"])
def test_parts_of_no_length_are_as_short_as_can_be(video: Any, tmp_path: Path, chunk: str) -> None:
    shutil.copy(video("short"), tmp_path / "in.mp4")
    job_result = run_limited("in.mp4", "-o", "out.mp4", "--style", "tiny", "--workers", "2", "--chunk", chunk, cwd=tmp_path)
    assert job_result.code == DONE, job_result
    assert len(frames_of(tmp_path / "out.mp4")) == 30


def test_a_full_disk_is_told_and_what_is_finished_is_kept(video: Any, in_one_piece: Any, styles: Path, tmp_path: Path) -> None:
    shutil.copy(video("plain"), tmp_path / "in.mp4")
    _, whole = in_one_piece("plain", options_of())
    room = whole.stat().st_size * 3 // 4  # for the model and for a part, not for all
    assert room > (styles / "tiny.onnx").stat().st_size
    given = ("in.mp4", "-o", "out.mkv", "--style", "tiny", "--codec", "ffv1", "--workers", "2", "--chunk", "1")
    job_result = run_limited(*given, "-q", cwd=tmp_path, file_size=room)
    assert job_result.code == DISK, job_result
    assert len(job_result.stderr.splitlines()) == 1
    assert job_result.stderr.startswith("error: ")
    assert listing(tmp_path / ".out.mkv.resume")
    assert not (tmp_path / "out.mkv").exists()
    assert run_limited(*given, cwd=tmp_path).code == DONE
    assert_stylized_as(tmp_path / "out.mkv", whole)
    assert listing(tmp_path) == ["in.mp4", "out.mkv"]


def test_no_room_for_a_model_is_told(video: Any, styles: Path, tmp_path: Path) -> None:
    shutil.copy(video("plain"), tmp_path / "in.mp4")
    room = (styles / "tiny.onnx").stat().st_size - 1
    job_result = run_limited("in.mp4", "--style", "tiny", "--workers", "2", "--chunk", "1", "-q", cwd=tmp_path, file_size=room)
    assert job_result.code == DISK, job_result
    assert len(job_result.stderr.splitlines()) == 1
    assert listing(tmp_path) == ["in.mp4"]


def _gone(path: Path) -> None:
    path.unlink()


def _another(path: Path) -> None:
    write_clip(path, times=range(30))


@pytest.mark.parametrize("change", [_gone, _another])
def test_an_input_that_changes_under_the_work_costs_only_itself(
    crew: Engine, video: Any, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    clips = [tmp_path / name for name in ("one.mp4", "two.mp4")]
    for clip in clips:
        shutil.copy(video("plain"), clip)

    def started(task: Task) -> None:
        if task.method == "paint" and clips[0].exists() and clips[0].stat().st_size == clips[1].stat().st_size:
            change(clips[0])

    jobs = [Job(str(clip), clip.with_suffix(".mkv"), "tiny") for clip in clips]
    one, two = run_jobs(jobs, Watched(crew, started), options_of(), QuietReporter(), 1.0)
    assert isinstance(one.error, InputError), one
    assert "one.mp4" in str(one.error)
    assert two.error is None
    assert not [name for name in listing(tmp_path) if name.endswith(".claim")]
    assert not (tmp_path / "one.mkv").exists()
    assert len(frames_of(tmp_path / "two.mkv")) == FRAMES


# --- when the run dies

GIVEN = ("--workers", "2", "--chunk", "6", "--height", "120")  # the net works at more than the video's size, which takes a while
LONG = {"in parts": (Film(options=GIVEN), DONE), "in one piece": (Film("in.mkv", options=GIVEN), DAMAGE)}
"""Videos at two frames a second, one of which is damaged, and how a run on them ends."""


def processes() -> dict[int, int]:
    """All that are alive, and their parents."""
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError):
                state, parent, *_ = (path / "stat").read_text().rsplit(")", 1)[1].split()
                if state != "Z":
                    found[int(path.name)] = int(parent)
    return found


def descendants(pid: int) -> list[int]:
    alive = processes()
    found = [pid]
    for one in found:
        found += [child for child, parent in alive.items() if parent == one]
    return found[1:]


def wait_for_the_end_of(pids: Sequence[int]) -> None:
    end = time.monotonic() + SECONDS
    while alive := set(pids) & processes().keys():
        assert time.monotonic() < end, f"still there: {alive}"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a video of `LONG`, once."""

    @cache
    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp("long")
        if name == "in parts":
            clip = {
                "times": range(72),
                "time_base": Fraction(1, 2),
                "options": {"g": "12"},
                "audio": ["eng"],
                "image": shots(17, 45),
            }
            return write_clip(folder / "in.mp4", **clip)
        path = write_clip(folder / "in.mkv", times=range(80), time_base=Fraction(1, 2), options={"g": "6"}, image=noise)
        data = path.read_bytes()
        begin = len(data) // 5
        path.write_bytes(data[:begin] + bytes(6000) + data[begin + 6000 :])
        return path

    return make


def studio_in(folder: Path, video: Path, name: str) -> Studio:
    shutil.copy2(video, folder)
    return Studio(folder, LONG[name][0], "tiny")


@pytest.fixture(scope="module")
def uninterrupted(long_video: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """What becomes of them in a run that nobody interrupts."""

    @cache
    def stylized(name: str = "in parts", options: tuple[str, ...] = ()) -> Any:
        one = studio_in(tmp_path_factory.mktemp("uninterrupted"), long_video(name), name)
        one.options += options
        assert one.run(resume=False).code == LONG[name][1]
        one.assert_clean()
        return facts_of_video(one.output)

    return stylized


@pytest.fixture
def studio(long_video: Callable[[str], Path], tmp_path: Path) -> Iterator[Callable[..., Studio]]:
    """Makes a `Studio` for a video."""
    made: list[Studio] = []

    def make(name: str = "in parts") -> Studio:
        made.append(studio_in(tmp_path, long_video(name), name))
        return made[-1]

    yield make
    for one in made:
        for process in one.running:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def killed_run(long_video: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder in which a run was killed after some parts, and a copy of it."""
    folder = tmp_path_factory.mktemp("killed")
    kill_run(studio_in(folder, long_video("in parts"), "in parts"), 3)
    return folder, Path(shutil.copytree(folder, folder.with_name("killed-copy")))


@pytest.fixture
def killed(killed_run: tuple[Path, Path]) -> Studio:
    """A video whose run was killed after some parts."""
    folder, copy = killed_run
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    return Studio(folder, LONG["in parts"][0], "tiny")


def finished(one: Studio) -> dict[str, tuple[int, bytes]]:
    """The finished parts: when each was written, and what is in it."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in one.segments()}


def kill_run(one: Studio, after: int) -> None:
    """Start a run, and kill it when so many parts are finished; its workers go too."""
    process = one.start()
    wait_until(lambda: len(one.segments()) >= after, process, f"{after} finished parts")
    workers = descendants(process.pid)
    assert len(workers) >= 2
    process.kill()
    wait_for_the_end_of(workers)
    finish(process)
    assert not one.output.exists()


def test_a_killed_run_goes_on_without_being_asked_to(killed: Studio, uninterrupted: Any) -> None:
    job_result = killed.run(resume=False)
    assert job_result.code == DONE, job_result
    assert "anew" not in job_result.stderr
    assert_same(killed.output, uninterrupted())
    killed.assert_clean()


@pytest.mark.parametrize("name", LONG)
def test_what_a_killed_run_had_finished_is_not_stylized_again(studio: Any, uninterrupted: Any, name: str) -> None:
    """Neither of a video in parts nor of one that is stylized in one piece."""
    one = studio(name)
    kill_run(one, 1)
    before = finished(one)
    kill_run(one, len(before) + 1)
    after = finished(one)
    assert len(after) > len(before) >= 1
    assert {part: after.get(part) for part in before} == before
    job_result = one.run()
    assert job_result.code == LONG[name][1], job_result
    assert_same(one.output, uninterrupted(name))
    one.assert_clean()


@pytest.mark.parametrize("number", STOPPED, ids=lambda number: number.name)
def test_a_stopped_run_goes_on(studio: Any, uninterrupted: Any, number: signal.Signals) -> None:
    one = studio()
    process = one.start()
    wait_until(lambda: len(one.segments()) >= 2, process, "finished parts")
    workers = descendants(process.pid)
    process.send_signal(number)
    job_result = finish(process)
    assert job_result.code == STOPPED[number], job_result
    assert "Traceback" not in job_result.stderr
    assert "goes on" in job_result.stderr
    wait_for_the_end_of(workers)
    assert finished(one)
    assert one.run().code == DONE
    assert_same(one.output, uninterrupted())
    one.assert_clean()


def test_a_terminal_stops_a_run_at_any_moment(studio: Any) -> None:
    """Ctrl-C goes to the workers too, to those also that have only just begun to start."""
    one = studio()
    for workers in (0, 1, 2):
        process = start(*one.command(), cwd=one.folder, start_new_session=True)
        one.running.append(process)
        born = lambda process=process: [p for p in descendants(process.pid) if _is_worker(p)]  # noqa: E731
        wait_until(lambda born=born, workers=workers: len(born()) >= workers, process, f"{workers} workers")
        os.killpg(process.pid, signal.SIGINT)
        job_result = finish(process, 30)
        assert job_result.code in (STOPPED[signal.SIGINT], -signal.SIGINT if not workers else None), job_result
        if workers:  # else it may be Python that is interrupted, before a line of ours runs
            assert "Traceback" not in job_result.stderr
        one_left = listing(one.folder)
        assert one_left == [one.clip.name], one_left


def _is_worker(pid: int) -> bool:
    with suppress(OSError):
        return b"--multiprocessing-fork" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("harm", [_halve, Path.unlink])
def test_a_damaged_part_is_stylized_again(killed: Studio, uninterrupted: Any, harm: Callable[[Path], None]) -> None:
    harm(killed.segments()[1])
    job_result = killed.run()
    assert job_result.code == DONE, job_result
    assert_same(killed.output, uninterrupted())
    killed.assert_clean()


def _no_plan(notes: str) -> str:
    return json.dumps(json.loads(notes) | {"plan": None})


def _another_plan(notes: str) -> str:
    return json.dumps(json.loads(notes) | {"plan": [{"number": 0}]})


def _half(notes: str) -> str:
    return notes[: len(notes) // 2]


@pytest.mark.parametrize("harm", [_no_plan, _another_plan, _half])
def test_garbled_notes(killed: Studio, uninterrupted: Any, harm: Callable[[str], str]) -> None:
    path = killed.work / "manifest.json"
    path.write_text(harm(path.read_text()))
    job_result = killed.run()
    assert job_result.code == DONE, job_result
    assert "Traceback" not in job_result.stderr
    assert_same(killed.output, uninterrupted())
    killed.assert_clean()


def _touched(one: Studio) -> None:
    os.utime(one.clip, ns=(1, 1))


def _in_other_parts(one: Studio) -> None:
    one.options += ["--chunk", "12"]


@pytest.mark.parametrize("change", [_touched, _in_other_parts])
def test_what_has_changed_is_stylized_anew(killed: Studio, uninterrupted: Any, change: Callable[[Studio], None]) -> None:
    before = len(killed.options)
    change(killed)
    job_result = killed.run()
    assert job_result.code == DONE, job_result
    assert "anew" in job_result.stderr
    assert_same(killed.output, uninterrupted("in parts", tuple(killed.options[before:])))
    killed.assert_clean()


def test_runs_share_the_work_of_a_folder(video: Any, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    names = [f"{number}.mp4" for number in range(3)]
    for name in names:
        shutil.copy(video("plain"), folder / name)
    given = ("in", "-o", "out", "--style", "tiny", "--workers", "1", "--chunk", "1", "--progress", "json")
    runs = [start(*given, cwd=tmp_path) for _ in range(2)]
    job_results = [finish(run) for run in runs]
    assert [job_result.code for job_result in job_results] == [DONE, DONE], job_results
    done = [
        Path(event["input"]).name
        for job_result in job_results
        for event in events(job_result.stderr)
        if event["event"] == "file_done" and event["status"] == "done"
    ]
    assert sorted(done) == names, "each by one of them"
    assert len({(tmp_path / "out" / path).read_bytes() for path in listing(tmp_path / "out")}) == 1
    assert len(listing(tmp_path / "out")) == len(names)


def test_whoever_waits_for_a_run_that_dies_goes_on_from_there(studio: Any, uninterrupted: Any, tmp_path_factory: Any) -> None:
    one, log = studio(), tmp_path_factory.mktemp("log") / "events.json"
    first = one.start()
    wait_until(lambda: len(one.segments()) >= 1, first, "a finished part")
    first.send_signal(signal.SIGSTOP)
    before = finished(one)
    assert before
    with log.open("w") as stderr:
        second = start(*one.command(), "--progress", "json", cwd=one.folder, stderr=stderr)
    one.running.append(second)
    wait_until(lambda: "waiting for another run" in log.read_text(), second, "the second run waits")
    assert finished(one) == before
    first.kill()
    finish(first)
    job_result = finish(second)
    assert job_result.code == DONE, log.read_text()
    assert "anew" not in log.read_text()
    assert_same(one.output, uninterrupted())
    one.assert_clean()


def test_a_video_without_a_keyframe_at_a_usable_place_is_stylized_whole(tmp_path: Path) -> None:
    late = {"g": "75", "keyint_min": "75", "sc_threshold": "0", "bf": "0"}
    write_clip(tmp_path / "in.mp4", times=range(80), time_base=Fraction(1, 10), options=late)
    job_result = run_limited("in.mp4", "--style", "tiny", "--workers", "1", "--chunk", "4", cwd=tmp_path)
    assert job_result.code == DONE, job_result
    assert len(frames_of(tmp_path / "in.tiny.mp4")) == 80
