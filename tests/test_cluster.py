"""`--workers`: a film painted in parts by several processes is the film painted in one piece, whatever becomes of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from faults import (
    DAMAGE,
    DISK,
    DONE,
    FAILED,
    MODEL,
    SECONDS,
    STOPPED,
    USAGE,
    Film,
    Outcome,
    Studio,
    assert_same,
    decode,
    finish,
    make_film,
    run_limited,
    start,
    wait_until,
)
from faults import FILMS as LONG_FILMS
from faults import facts_of as facts_of_video
from helpers import events, frames_of, identity_model, listing, messages, moving_bar, noise, rgb_of, sound_of, write_clip
from helpers import write_sound as write_sound_only
from test_flow import texture
from test_streams import CHAPTERS, FONT, PLAIN, SRT, mux

from vidstyle import provenance
from vidstyle.cluster import TRIES, open_engine, run_jobs
from vidstyle.cluster.engine import Engine, Frames, Task
from vidstyle.cluster.worker import Painted, Stretch
from vidstyle.convert import Result, convert
from vidstyle.errors import InputError, StyleError, VidstyleError
from vidstyle.frames import Pixels
from vidstyle.jobs import Job
from vidstyle.options import ClusterOptions, ConvertOptions, EncodeOptions, StyleOptions, Trim
from vidstyle.outcomes import Outcome as JobOutcome
from vidstyle.progress import Quiet
from vidstyle.stages import Stylizer
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal.metrics import WarpingError

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs signals as on Linux"),
    pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg as a judge"),
]


# --- films


def shots(*cuts: int) -> Callable[[int, int, int], Pixels]:
    """Pictures of another scene from each of `cuts` on, every one of which darkens: what begins late in it looks otherwise."""

    def picture(index: int, width: int, height: int) -> Pixels:
        scene = moving_bar(index, width, height)
        number = sum(index >= cut for cut in cuts)
        scene = [scene, 255 - scene, scene[::-1, ::-1], scene[..., ::-1] // 2][number % 4]
        since = index - max((cut for cut in cuts if cut <= index), default=0)
        return np.ascontiguousarray(np.asarray(scene * max(0.3, 1 - since / 120), np.uint8))

    return picture


GROUPS = {"g": "24"}
FRAMES = 168
UNEVEN = [int(t) for t in 500 + np.cumsum(np.random.default_rng(3).integers(1, 100, FRAMES))]

# Seven seconds each, of four shots: the second begins in the middle of a group of pictures, the third lasts for several.
FILMS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("in.mp4", {"options": GROUPS, "sound": ["eng", "deu"]}),
    "open groups": ("in.mp4", {"options": {"x264-params": "open-gop=1:keyint=24:bframes=3:scenecut=0"}, "sound": ["eng"]}),
    "open groups of H.265": ("in.mkv", {"codec": "libx265", "options": {"x265-params": "keyint=24:bframes=4:log-level=error"}}),
    "uneven": ("in.mkv", {"times": UNEVEN, "time_base": Fraction(1, 1000), "options": {"g": "20"}, "sound": ["eng"]}),
    "late": ("in.mp4", {"times": range(100, 100 + FRAMES), "options": GROUPS, "sound": ["eng"]}),
    "seldom": ("in.mp4", {"times": range(80), "time_base": Fraction(1, 2), "options": {"g": "5"}, "picture": shots(13, 27, 66)}),
    "turned": ("in.mp4", {"rotation": 90, "options": GROUPS}),
    "VP9": ("in.webm", {"codec": "libvpx-vp9", "options": {**GROUPS, "deadline": "realtime", "cpu-used": "8"}}),
    "AVI": ("in.avi", {"codec": "mpeg4", "options": GROUPS, "sound": ["eng"], "sound_codec": "mp2"}),
}  # fmt: skip
EVENLY = {"times": range(FRAMES), "picture": shots(30, 55, 140)}


def _rich(path: Path) -> Path:
    """Sound, subtitles, chapters, a font and tags."""
    film = write_clip(path.with_name("film.mkv"), **EVENLY, sound=["eng", "fra"], options={**PLAIN, "g": "24"})
    text = path.with_name("text.srt")
    text.write_text(SRT)
    return mux(
        path,
        [(film, {}), (text, {0: (1, {"language": "deu"})})],
        metadata={"title": "Film"},
        chapters=CHAPTERS,
        attachments=[FONT],
    )


def _two_sizes(path: Path) -> Path:
    """As where a stream was joined from two."""
    codec = {"codec": "libvpx", "options": {**GROUPS, "deadline": "realtime", "cpu-used": "8"}}
    halves = [write_clip(path.with_name(f"{n}.mkv"), size=(64 + 16 * n, 48), times=range(72), **codec) for n in range(2)]
    with av.open(str(path), "w") as output:
        stream = None
        for number, half in enumerate(halves):
            with av.open(str(half)) as container:
                stream = stream or output.add_stream_from_template(container.streams.video[0])
                for packet in container.demux(video=0):
                    if packet.size:
                        packet.pts = packet.dts = (packet.pts or 0) + 3000 * number
                        packet.stream = stream
                        output.mux(packet)
    return path


def _damaged(path: Path) -> Path:
    data = write_clip(path, **{**EVENLY, "picture": noise}, options=GROUPS).read_bytes()
    begin = len(data) // 2
    path.write_bytes(data[:begin] + bytes(6000) + data[begin + 6000 :])
    return path


def _cut_off(path: Path) -> Path:
    data = write_clip(path, **EVENLY, options=GROUPS).read_bytes()
    path.write_bytes(data[: int(0.7 * len(data))])
    return path


def _picture(path: Path) -> Path:
    assert cv2.imwrite(str(path), moving_bar(3, 64, 48))
    return path


def _short(path: Path) -> Path:
    return write_clip(path, times=range(30), options={"g": "6"}, sound=["eng"])


# What is not to be divided, or cannot be; the suffix of the painting; whether it is told that something is amiss.
UNDIVIDED: dict[str, tuple[Callable[[Path], Path], str, str, bool]] = {
    "broadcast": (lambda p: write_clip(p, **EVENLY, options=GROUPS, sound=["eng"]), "in.ts", ".mkv", False),
    "interlaced": (lambda p: write_clip(p, **EVENLY, size=(64, 64), options={**GROUPS, "x264-params": "interlaced=1"}), "in.mkv", ".mkv", True),
    "damaged": (_damaged, "in.mkv", ".mkv", True),
    "cut off": (_cut_off, "in.mkv", ".mkv", True),
    "two sizes": (_two_sizes, "in.mkv", ".mkv", True),
    "without keyframes": (lambda p: write_clip(p, **EVENLY, options={"x264-params": "keyint=999:scenecut=0"}), "in.mp4", ".mkv", False),
    "short": (_short, "in.mp4", ".mkv", False),
    "into a GIF": (lambda p: write_clip(p, **EVENLY, options=GROUPS, sound=["eng"]), "in.mp4", ".gif", True),
    "picture": (_picture, "in.png", ".png", False),
}  # fmt: skip


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a film of `FILMS` or `UNDIVIDED`, once."""

    @cache
    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp("film")
        if name == "rich":
            return _rich(folder / "in.mkv")
        if name in FILMS:
            file, clip = FILMS[name]
            return write_clip(folder / file, **EVENLY | clip)
        write, file, _, _ = UNDIVIDED[name]
        return write(folder / file)

    return make


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


def work_off(engine: Engine, spec: object, output: Path, options: ConvertOptions, chunk: float = 1.0) -> JobOutcome:
    [outcome] = run_jobs([Job(str(spec), output, options.style.style)], engine, options, Quiet(), chunk)
    return outcome


def paint(engine: Engine, spec: object, output: Path, options: ConvertOptions, chunk: float = 1.0) -> Result:
    """What must succeed."""
    outcome = work_off(engine, spec, output, options, chunk)
    assert outcome.error is None, outcome
    assert outcome.result is not None
    assert outcome.result.output == output
    return outcome.result


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


@pytest.fixture(scope="module")
def in_one_piece(film: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Result, Path]]:
    """What a run without workers makes of a film, once for each set of options."""

    @cache
    def stylizer(style: StyleOptions) -> Stylizer:
        return load_stylizer(style)

    @cache
    def whole(name: str, options: ConvertOptions, suffix: str = ".mkv") -> tuple[Result, Path]:
        spec = str(film(name))
        output = tmp_path_factory.mktemp("whole") / f"out{suffix}"
        fingerprint = provenance.fingerprint(spec, options)
        return convert(spec, output, stylizer(options.style), options, fingerprint=fingerprint), output

    return whole


@dataclass(frozen=True)
class Facts:
    """All of a file that must not depend on who painted it."""

    frames: list[tuple[Fraction, int, str]]
    others: list[tuple[Any, ...]]
    chapters: list[tuple[Any, ...]]
    metadata: dict[str, str]


def facts_of(path: Path) -> Facts:
    frames = [
        (f.pts * f.time_base, f.duration, hashlib.sha256(f.to_ndarray(format="rgb24")).hexdigest()) for f in frames_of(path)
    ]
    with av.open(str(path)) as container:
        others = [
            (s.index, s.type, s.codec_context.name if s.codec_context else "", dict(s.metadata), int(s.disposition))
            for s in container.streams
        ]
        chapters = [(c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]) for c in container.chapters()]
        matrix = (
            [bytes(d) for d in container.streams.video[0].side_data] if hasattr(container.streams.video[0], "side_data") else []
        )
        packets = [
            (p.stream.index, bytes(p), p.pts, p.dts, p.duration) for p in container.demux() if p.size and p.stream.type != "video"
        ]
        return Facts(frames, [*others, *matrix, *sorted(packets, key=lambda p: (p[0], p[2]))], chapters, dict(container.metadata))


def assert_painted_as(output: Path, expected: Path) -> None:
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


@pytest.mark.parametrize("name", [*FILMS, "rich"])
def test_a_film_in_parts_is_the_film_in_one_piece(crew: Engine, film: Any, in_one_piece: Any, tmp_path: Path, name: str) -> None:
    options, output = options_of(), tmp_path / "out.mkv"
    expected, whole = in_one_piece(name, options)
    engine = Watched(crew)
    result = paint(engine, film(name), output, options, 6 if name == "seldom" else 1)
    assert_divided(engine, 6)
    assert "learn" in engine.methods, "no part begins in the middle of a shot"
    assert_painted_as(output, whole)
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
    "the other net": ("plain", {"style": "slow"}),
    "without sound": ("rich", {"audio": False}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_film_in_parts_is_the_film_in_one_piece_with_any_options(
    crew: Engine, film: Any, in_one_piece: Any, foreign: str, tmp_path: Path, name: str
) -> None:
    source, given = VARIANTS[name]
    options, output = (
        options_of(**(given | {"style": foreign} if given.get("style") == "foreign" else given)),
        tmp_path / "out.mkv",
    )
    expected, whole = in_one_piece(source, options)
    engine = Watched(crew)
    result = paint(engine, film(source), output, options)
    assert_divided(engine, 3)
    assert_painted_as(output, whole)
    assert_told_as(result, expected)
    assert listing(tmp_path) == ["out.mkv"]


def test_what_a_part_does_not_know_of_its_shot_would_show(crew: Engine, film: Any, in_one_piece: Any, tmp_path: Path) -> None:
    """Else the tests above would prove nothing of statistics."""

    def none_learnt(task: Task, said: Any) -> Any:
        return {name: value * np.float32(1.5) for name, value in said.items()} if task.method == "learn" else said

    output = tmp_path / "out.mkv"
    paint(Watched(crew, meddle=none_learnt), film("plain"), output, options_of())
    _, whole = in_one_piece("plain", options_of())
    differing = np.abs(rgb_of(output).astype(int) - rgb_of(whole)).mean(axis=(1, 2, 3))
    assert (differing[:48] == 0).all()
    assert differing.max() > 2


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_however_many_workers_there_are_the_file_is_the_same(
    crew: Engine, film: Any, in_one_piece: Any, tmp_path: Path, suffix: str
) -> None:
    options = options_of(codec=None)
    two = tmp_path / f"two{suffix}"
    paint(crew, film("plain"), two, options)
    one = tmp_path / f"one{suffix}"
    with closing(open_engine(["tiny"], options, ClusterOptions(1))) as single:
        paint(single, film("plain"), one, options)
    assert one.read_bytes() == two.read_bytes()
    _, whole = in_one_piece("plain", options, suffix)
    assert decode(two).whole
    assert [(f.pts, f.time_base) for f in frames_of(two)] == [(f.pts, f.time_base) for f in frames_of(whole)]
    assert sound_of(two) == sound_of(whole) == sound_of(film("plain"))
    assert facts_of(two).others == facts_of(whole).others


@pytest.mark.parametrize("strength", ["light", "strong"])
def test_a_steadied_film_shimmers_no_more_where_it_was_divided(crew: Engine, tmp_path: Path, strength: Any) -> None:
    wide = texture(96, 128 + 240, 7, softness=5)

    def pan(index: int, width: int, height: int) -> Pixels:
        return np.ascontiguousarray(wide[:height, index : index + width])

    clip = write_clip(
        tmp_path / "in.mkv", size=(128, 96), times=range(200), picture=pan, codec="ffv1", pix_fmt="bgr0", options={"g": "10"}
    )
    options = options_of(stabilize=strength)
    seams = list[int]()

    def note(task: Task) -> None:
        if task.method == "paint":
            chunk = task.arguments[1]
            seams.append(chunk.times[chunk.lead])

    paint(Watched(crew, note), clip, tmp_path / "parts.mkv", options, 1.7)
    convert(str(clip), tmp_path / "whole.mkv", load_stylizer(options.style), options)
    times = [f.pts for f in frames_of(clip)]
    firsts = sorted(times.index(t) for t in seams)[1:]
    assert len(firsts) >= 4
    source, parts, whole = (rgb_of(path) for path in (clip, tmp_path / "parts.mkv", tmp_path / "whole.mkv"))

    def error(painted: np.ndarray, pairs: Sequence[int]) -> float:
        meters = [WarpingError() for _ in pairs]
        for meter, second in zip(meters, pairs, strict=True):
            meter.add(source[second - 1], painted[second - 1])
            meter.add(source[second], painted[second])
        return statistics.mean(meter.painted for meter in meters)

    interior = [n + d for n in firsts for d in (-4, -3, -2, 2, 3, 4)]
    assert error(parts, firsts) <= 1.05 * error(parts, interior)
    assert error(parts, firsts) <= 1.05 * error(whole, firsts)


# --- what is not divided


@pytest.mark.parametrize("name", UNDIVIDED)
def test_what_is_not_divided_is_painted_as_ever(crew: Engine, film: Any, in_one_piece: Any, tmp_path: Path, name: str) -> None:
    _, _, suffix, tells = UNDIVIDED[name]
    options, output = options_of(codec="ffv1" if suffix == ".mkv" else None), tmp_path / f"out{suffix}"
    expected, whole = in_one_piece(name, options, suffix)
    engine = Watched(crew)
    result = paint(engine, film(name), output, options)
    assert engine.methods.count("whole") == 1
    assert "paint" not in engine.methods
    if suffix == ".png":
        assert output.read_bytes() == whole.read_bytes()
    else:
        assert_painted_as(output, whole)
    assert_told_as(result, expected)
    assert bool(result.warnings + result.damage) == tells
    assert listing(tmp_path) == [output.name]


def _nothing(path: Path) -> Path:
    return path


def _garbage(path: Path) -> Path:
    path.write_bytes(b"no video" * 100)
    return path


@pytest.mark.parametrize("make", [_nothing, _garbage, write_sound_only])
def test_what_cannot_be_painted_is_told_as_ever(crew: Engine, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    clip = make(tmp_path / "in.mp4")
    outcome = work_off(crew, clip, tmp_path / "out.mp4", options_of(codec=None))
    with pytest.raises(InputError) as raised:
        convert(str(clip), tmp_path / "out.mp4", load_stylizer(StyleOptions("tiny", device="cpu")))
    assert isinstance(outcome.error, InputError)
    assert str(outcome.error) == str(raised.value)
    assert listing(tmp_path) == ([] if make is _nothing else ["in.mp4"])


def _another_picture(task: Task, said: Any) -> Any:
    """A worker saw another picture than the one that will paint it."""
    if isinstance(said, Stretch):
        said = replace(said, marks=[said.marks[0], said.marks[1] + 1, *said.marks[2:]])
    return said


def _another_beginning(task: Task, said: Any) -> Any:
    """A part does not begin as those who came from before saw it."""
    return replace(said, beyond=[(t, m + 1) for t, m in said.beyond]) if isinstance(said, Stretch) else said


@pytest.mark.parametrize("meddle", [_another_picture, _another_beginning])
def test_a_film_that_reads_otherwise_in_parts_is_painted_in_one_piece(
    crew: Engine, film: Any, in_one_piece: Any, tmp_path: Path, meddle: Any, caplog: pytest.LogCaptureFixture
) -> None:
    options, output = options_of(), tmp_path / "out.mkv"
    expected, whole = in_one_piece("plain", options)
    engine = Watched(crew, meddle=meddle)
    result = paint(engine, film("plain"), output, options)
    assert engine.methods.count("whole") == 1
    assert_painted_as(output, whole)
    assert_told_as(result, expected)
    assert listing(tmp_path) == ["out.mkv"]


def test_a_folder_of_all_sorts(film: Any, tmp_path: Path) -> None:
    """The command line with workers and without: the same files, the same words, the same exit code."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, file in (
        ("plain", "a.mp4"),
        ("damaged", "b.mkv"),
        ("short", "c.mp4"),
        ("picture", "e.png"),
        ("interlaced", "f.mkv"),
    ):
        shutil.copy(film(name), folder / file)
    (folder / "d.mp4").write_bytes(b"no video")
    told = []
    for output, more in (("whole", []), ("parts", ["--workers", "2", "--chunk", "1"])):
        outcome = run_limited(
            "in", "-o", output, "--style", "tiny", "--codec", "ffv1", "-o", f"{output}/{{stem}}.mkv", *more, cwd=tmp_path
        )
        told.append(outcome)
    assert [outcome.code for outcome in told] == [DAMAGE, DAMAGE], told


def said_of(outcome: Outcome) -> list[str]:
    return sorted(line for line in outcome.stderr.splitlines() if ": " in line and " fps" not in line)
