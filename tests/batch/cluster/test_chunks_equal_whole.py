"""`--workers`: a video stylized in chunks by several processes equals the video stylized in one piece."""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.cluster import (
    FRAMES,
    UNDIVIDED,
    VIDEOS,
    WatchedPool,
    assert_divided,
    assert_reported_as,
    assert_stylized_as,
    content_of,
    convert_on,
    options_of,
    run_job,
)
from tests.support.helpers import audio_of, events, frames_of, listing, messages, rgb_of, write_clip
from tests.support.helpers import write_audio as write_audio_only
from tests.support.judge import decode
from tests.support.runs import DAMAGE, DONE, RunResult, run_limited
from tests.support.textures import texture
from vidstyle.batch.cluster.chunks import ScanResult
from vidstyle.batch.cluster.scheduler import open_worker_pool
from vidstyle.batch.cluster.worker_pool import Task, WorkerPool
from vidstyle.conversion.convert import convert
from vidstyle.conversion.job import JobResult as JobResult
from vidstyle.core.errors import InputError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import ClusterOptions, StyleOptions, Trim
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal.metrics import WarpingError

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs signals as on Linux"),
    pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg to check outputs"),
]


@pytest.mark.parametrize("name", [*VIDEOS, "rich"])
def test_chunked_video_equals_video_in_one_piece(
    pool: WorkerPool, video: Any, converted_whole: Any, tmp_path: Path, name: str
) -> None:
    options, output = options_of(), tmp_path / "out.mkv"
    expected, whole = converted_whole(name, options)
    watched = WatchedPool(pool)
    result = convert_on(watched, video(name), output, options, 6 if name == "seldom" else 1)
    assert_divided(watched, 6)
    assert "shot_statistics" in watched.methods, "no chunk begins in the middle of a shot"
    assert_stylized_as(output, whole)
    assert_reported_as(result, expected)
    assert listing(tmp_path) == ["out.mkv"]


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "from within a group of pictures": ("plain", {"trim": Trim(1.3)}),
    "an excerpt": ("open groups", {"trim": Trim(0.9, 6.2)}),
    "an excerpt with uneven times": ("uneven", {"trim": Trim(2.2, 6.0)}),
    "the beginning": ("late", {"trim": Trim(0, 9.0)}),
    "batches": ("plain", {"batch_size": 3}),
    "another network height": ("plain", {"height": 32}),
    "a model of another tool": ("open groups", {"style": "foreign_model"}),
    "without audio": ("rich", {"audio": False}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_chunked_video_equals_video_in_one_piece_with_any_options(
    pool: WorkerPool, video: Any, converted_whole: Any, foreign_model: str, tmp_path: Path, name: str
) -> None:
    source, values = VARIANTS[name]
    if "style" in values:
        values = values | {"style": foreign_model}
    options, output = options_of(**values), tmp_path / "out.mkv"
    expected, whole = converted_whole(source, options)
    watched = WatchedPool(pool)
    result = convert_on(watched, video(source), output, options)
    assert_divided(watched, 3)
    assert_stylized_as(output, whole)
    assert_reported_as(result, expected)
    assert listing(tmp_path) == ["out.mkv"]


def test_wrong_shot_statistics_change_the_output(pool: WorkerPool, video: Any, converted_whole: Any, tmp_path: Path) -> None:
    """Otherwise the tests above would prove nothing about statistics."""

    def wrong_statistics(task: Task, result: Any) -> Any:
        return {name: value * np.float32(1.5) for name, value in result.items()} if task.method == "shot_statistics" else result

    output = tmp_path / "out.mkv"
    convert_on(WatchedPool(pool, change_result=wrong_statistics), video("plain"), output, options_of())
    _, whole = converted_whole("plain", options_of())
    differing = np.abs(rgb_of(output).astype(int) - rgb_of(whole)).mean(axis=(1, 2, 3))
    assert (differing[:24] == 0).all()
    assert differing.max() > 2


def test_output_does_not_depend_on_the_number_of_workers(
    pool: WorkerPool, video: Any, converted_whole: Any, tmp_path: Path
) -> None:
    options, one, two = options_of(codec=None), tmp_path / "one.mp4", tmp_path / "two.mp4"
    convert_on(pool, video("plain"), two, options)
    with closing(open_worker_pool(["tiny"], options, ClusterOptions(1))) as single:
        convert_on(single, video("plain"), one, options)
    assert one.read_bytes() == two.read_bytes()
    assert decode(two).whole
    _, whole = converted_whole("plain", options, ".mp4")
    assert [(f.pts, f.time_base) for f in frames_of(two)] == [(f.pts, f.time_base) for f in frames_of(whole)]
    assert content_of(two).others == content_of(whole).others
    assert audio_of(two) == audio_of(video("plain"))


def test_stabilized_video_does_not_flicker_more_at_chunk_boundaries(pool: WorkerPool, tmp_path: Path) -> None:
    wide = texture(96, 128 + 240, 7, softness=5)

    def pan(index: int, width: int, height: int) -> Pixels:
        return np.ascontiguousarray(wide[:height, index : index + width])

    clip = write_clip(
        tmp_path / "in.mkv", size=(128, 96), times=range(200), image=pan, codec="ffv1", pix_fmt="bgr0", options={"g": "41"}
    )
    options = options_of(stabilize="strong")
    seams = list[int]()

    def on_start(task: Task) -> None:
        if task.method == "stylize_chunk":
            chunk = task.arguments[1]
            seams.append(chunk.times[chunk.warm_up])

    convert_on(WatchedPool(pool, on_start), clip, tmp_path / "chunks.mkv", options, 41 / 24)
    convert(str(clip), tmp_path / "whole.mkv", load_stylizer(options.style), options)
    times = [f.pts for f in frames_of(clip)]
    firsts = sorted(times.index(t) for t in seams)[1:]
    assert len(firsts) >= 4
    source, chunks, whole = (rgb_of(path) for path in (clip, tmp_path / "chunks.mkv", tmp_path / "whole.mkv"))

    def error(stylized: np.ndarray, pairs: Sequence[int]) -> float:
        metrics = [WarpingError() for _ in pairs]
        for metric, second in zip(metrics, pairs, strict=True):
            metric.add(source[second - 1], stylized[second - 1])
            metric.add(source[second], stylized[second])
        return statistics.mean(metric.stylized for metric in metrics)

    interior = [n + d for n in firsts for d in (-5, -4, -3, -2, 2, 3, 4, 5)]
    assert error(chunks, firsts) <= 1.05 * error(chunks, interior)
    assert error(chunks, firsts) <= 1.05 * error(whole, firsts)


# --- inputs that are not divided


@pytest.mark.parametrize("name", UNDIVIDED)
def test_undivided_input_is_converted_as_without_workers(
    pool: WorkerPool, video: Any, converted_whole: Any, tmp_path: Path, name: str
) -> None:
    _, _, suffix, has_warnings = UNDIVIDED[name]
    options, output = options_of(codec="ffv1" if suffix == ".mkv" else None), tmp_path / f"out{suffix}"
    expected, whole = converted_whole(name, options, suffix)
    watched = WatchedPool(pool)
    result = convert_on(watched, video(name), output, options)
    assert watched.methods.count("convert_whole") == 1
    assert "stylize_chunk" not in watched.methods
    if suffix == ".png":
        assert output.read_bytes() == whole.read_bytes()
    else:
        assert_stylized_as(output, whole)
    assert_reported_as(result, expected)
    assert bool(result.warnings + result.damage) == has_warnings
    assert listing(tmp_path) == [output.name]


def _nothing(path: Path) -> Path:
    return path


def _garbage(path: Path) -> Path:
    path.write_bytes(b"no video" * 100)
    return path


@pytest.mark.parametrize("make", [_nothing, _garbage, write_audio_only])
def test_unusable_input_fails_as_without_workers(pool: WorkerPool, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    clip = make(tmp_path / "in.mp4")
    job_result = run_job(pool, clip, tmp_path / "out.mp4", options_of(codec=None))
    with pytest.raises(InputError) as raised:
        convert(str(clip), tmp_path / "out.mp4", load_stylizer(StyleOptions("tiny", device="cpu")))
    assert isinstance(job_result.error, InputError)
    assert str(job_result.error) == str(raised.value)
    assert listing(tmp_path) == ([] if make is _nothing else ["in.mp4"])


def _another_frame(task: Task, result: Any) -> Any:
    """When the first chunk is stylized, one frame differs from the scanned one."""
    if isinstance(result, ScanResult) and task.arguments[1].first is None:
        result = replace(result, checksums=[*result.checksums[:-1], result.checksums[-1] + 1])
    return result


def _another_beginning(task: Task, result: Any) -> Any:
    """A range does not begin with the frames that the scan before it read."""
    return replace(result, following=[(t, m + 1) for t, m in result.following]) if isinstance(result, ScanResult) else result


@pytest.mark.parametrize(("change_result", "is_started"), [(_another_frame, True), (_another_beginning, False)])
def test_video_that_decodes_differently_in_chunks_is_stylized_in_one_piece(
    pool: WorkerPool,
    video: Any,
    converted_whole: Any,
    tmp_path: Path,
    change_result: Any,
    is_started: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    options, output = options_of(), tmp_path / "out.mkv"
    expected, whole = converted_whole("plain", options)
    watched = WatchedPool(pool, change_result=change_result)
    result = convert_on(watched, video("plain"), output, options)
    assert watched.methods.count("convert_whole") == 1
    assert ("stylize_chunk" in watched.methods) == is_started
    assert ("in one piece" in caplog.text) == is_started, "lost work is worth a message"
    assert_stylized_as(output, whole)
    assert_reported_as(result, expected)
    assert listing(tmp_path) == ["out.mkv"]


def messages_on_files(job_result: RunResult) -> list[str]:
    """The messages of a run about its files, without the speed and the device."""
    lines = (line for line in job_result.stderr.splitlines() if " fps" not in line)
    return sorted(line for line in lines if ": " in line and not line.startswith("style "))


def test_folder_gives_the_same_files_messages_and_exit_code_as_without_workers(video: Any, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, file in (("plain", "a.mp4"), ("damaged", "b.mkv"), ("short", "c.mp4"), ("interlaced", "f.mkv")):
        shutil.copy(video(name), folder / file)
    (folder / "d.mp4").write_bytes(b"no video")
    before, arguments = listing(tmp_path), ("in", "--style", "tiny", "--codec", "ffv1", "-o", "{stem}.out.mkv")
    found = []
    for more in ([], ["--workers", "2", "--chunk", "1"]):
        job_result = run_limited(*arguments, *more, cwd=tmp_path)
        assert job_result.code == DAMAGE, job_result
        outputs = sorted(folder.glob("*.out.mkv"))
        found.append((messages_on_files(job_result), [path.name for path in outputs], [content_of(path) for path in outputs]))
        for path in outputs:
            path.unlink()
        assert listing(tmp_path) == before
    assert found[0][1] == ["a.out.mkv", "b.out.mkv", "c.out.mkv", "f.out.mkv"]
    assert found[1] == found[0]
    assert any(line.startswith("error: ") for line in found[0][0])


def test_json_events_cover_a_run_with_workers(video: Any, foreign_model: str, tmp_path: Path) -> None:
    for name in ("plain", "broadcast", "image"):
        shutil.copy(video(name), tmp_path)
    arguments = ("in.mp4", "in.ts", "in.png", "-o", "{stem}-{ext}.out{ext}", "--workers", "2", "--chunk", "1")
    job_result = run_limited(*arguments, "--style", foreign_model, "--progress", "json", cwd=tmp_path)
    assert job_result.code == DONE, job_result
    reported = events(job_result.stderr)
    assert (reported[0]["event"], reported[-1]["event"], reported[-1]["code"]) == ("expect", "exit", 0)
    for input, frames in (("in.mp4", FRAMES), ("in.ts", FRAMES), ("in.png", 1)):
        of_file = [event for event in reported if event.get("input") == input]
        assert of_file[0]["event"] == "start", of_file[0]
        counts = [event["frame"] for event in of_file if event["event"] == "progress"]
        assert counts == sorted(counts)
        assert all(count <= frames for count in counts)
        assert (of_file[-1]["event"], of_file[-1]["status"], of_file[-1]["frames"]) == ("file_done", "done", frames)
    assert messages(reported).count("the model works at") == 1, "each worker loads the model, but the message is printed once"


def test_video_without_a_usable_keyframe_is_stylized_in_one_piece(tmp_path: Path) -> None:
    late = {"g": "75", "keyint_min": "75", "sc_threshold": "0", "bf": "0"}
    write_clip(tmp_path / "in.mp4", times=range(80), time_base=Fraction(1, 10), options=late)
    job_result = run_limited("in.mp4", "--style", "tiny", "--workers", "1", "--chunk", "4", cwd=tmp_path)
    assert job_result.code == DONE, job_result
    assert len(frames_of(tmp_path / "in.tiny.mp4")) == 80
