"""`--workers`: tasks of workers that die are repeated, and a failure costs only its own file."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import (
    FRAMES,
    WatchedPool,
    assert_reported_as,
    assert_stylized_as,
    convert_on,
    kill_processes,
    options_of,
    run_job,
    wait_for_exit,
    worker_pids,
)
from tests.support.helpers import environment, frames_of, listing, write_clip
from tests.support.runs import DAMAGE, DISK, DONE, FAILED, MODEL, USAGE, run_limited
from vidstyle.batch.cluster.job_state import MAX_TRIES
from vidstyle.batch.cluster.scheduler import open_worker_pool, run_jobs
from vidstyle.batch.cluster.worker_pool import Progress, Task, WorkerPool
from vidstyle.cli import run_command_line
from vidstyle.cli.reporters import QuietReporter
from vidstyle.conversion.job import Job
from vidstyle.conversion.job import JobResult as JobResult
from vidstyle.core.errors import InputError
from vidstyle.core.options import ClusterOptions, Trim

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs signals as on Linux"),
    pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg to check outputs"),
]


@pytest.mark.parametrize("when", ["survey", "scan", "stylize_chunk"])
def test_task_of_a_killed_worker_is_repeated(
    pool: WorkerPool, video: Any, converted_whole: Any, tmp_path: Path, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    left = [3]

    def on_start(task: Task) -> None:
        if task.method == when and left:
            left.pop()
            kill_processes(worker_pids(pool))

    options, output = options_of(), tmp_path / "out.mkv"
    expected, whole = converted_whole("plain", options)
    watched = WatchedPool(pool, on_start)
    result = convert_on(watched, video("plain"), output, options)
    assert not left
    assert_stylized_as(output, whole)
    assert_reported_as(result, expected)
    assert caplog.text == ""
    assert listing(tmp_path) == ["out.mkv"]


@pytest.mark.parametrize("name", ["plain", "broadcast"])
def test_worker_killed_while_stylizing_is_replaced(
    pool: WorkerPool, video: Any, converted_whole: Any, tmp_path: Path, name: str
) -> None:
    """In the middle of a chunk, or of a video that is stylized in one piece."""
    died = list[int]()

    def change_result(task: Task, result: Any) -> Any:
        if isinstance(result, Progress) and not died:
            died.append(result.frames)
            kill_processes(worker_pids(pool))
        return result

    options, output = options_of(height=240, trim=Trim(0, 2)), tmp_path / "out.mkv"
    expected, whole = converted_whole(name, options)
    result = convert_on(WatchedPool(pool, change_result=change_result), video(name), output, options)
    assert died
    assert died[0] > 0
    assert_stylized_as(output, whole)
    assert_reported_as(result, expected)
    assert listing(tmp_path) == ["out.mkv"]


def test_killed_idle_workers_are_replaced(pool: WorkerPool, video: Any, converted_whole: Any, tmp_path: Path) -> None:
    before = worker_pids(pool)
    kill_processes(before)
    output = tmp_path / "out.mkv"
    _, whole = converted_whole("plain", options_of())
    convert_on(pool, video("plain"), output, options_of())
    assert_stylized_as(output, whole)
    assert not set(before) & set(worker_pids(pool))


@pytest.mark.parametrize("name", ["plain", "broadcast"])
def test_stopped_workers_leave_no_temporary_files(video: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    def change_result(task: Task, result: Any) -> Any:
        if isinstance(result, Progress):
            raise KeyboardInterrupt
        return result

    options = options_of(height=240, trim=Trim(0, 2))
    with closing(open_worker_pool(["tiny"], options, ClusterOptions(2))) as pool, pytest.raises(KeyboardInterrupt):
        run_job(WatchedPool(pool, change_result=change_result), video(name), tmp_path / "out.mkv", options)
    wait_for_exit(worker_pids(pool))
    kept = ".out.mkv.resume"  # chunks that were finished by then
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


def test_file_that_kills_workers_fails_alone(video: Any, tmp_path: Path, tmp_path_factory: Any) -> None:
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(POISON)
    for name in ("a.mp4", "poison.mp4", "z.mp4"):
        shutil.copy(video("short"), tmp_path / name)
    path = os.pathsep.join((str(site), environment()["PYTHONPATH"]))
    arguments = ("a.mp4", "poison.mp4", "z.mp4", "-o", "{stem}.{style}{ext}", "--style", "tiny", "--workers", "2", "-q")
    job_result = run_limited(*arguments, cwd=tmp_path, env={"PYTHONPATH": path})
    assert job_result.code == DAMAGE, job_result
    assert job_result.stderr.startswith("error: ")
    assert len(job_result.stderr.splitlines()) == 1, job_result.stderr
    assert "poison.mp4" in job_result.stderr
    assert str(MAX_TRIES) in job_result.stderr
    assert listing(tmp_path) == ["a.mp4", "a.tiny.mp4", "poison.mp4", "z.mp4", "z.tiny.mp4"]


# --- other failures


@pytest.mark.parametrize("inputs", [("in.mp4",), ("in.mp4", "two.mp4")], ids=["one", "two"])
def test_invalid_model_is_reported_once_for_each_input(video: Any, tmp_path: Path, inputs: Sequence[str]) -> None:
    for name in inputs:
        shutil.copy(video("plain"), tmp_path / name)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    job_result = run_limited(*inputs, "--style", "./bad.onnx", "--workers", "2", "--chunk", "1", "-q", cwd=tmp_path)
    assert job_result.code == (MODEL if len(inputs) == 1 else FAILED), job_result
    lines = job_result.stderr.splitlines()
    assert len(lines) == len(inputs)
    assert all(line.startswith("error: ") and "./bad.onnx" in line for line in lines), lines
    assert listing(tmp_path) == sorted([*inputs, "bad.onnx"])


@pytest.mark.parametrize("options", [("--workers", "0"), ("--chunk", "-1"), ("--workers", "2", "--style", "nowhere")])
def test_invalid_options_are_rejected(
    video: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], options: Sequence[str]
) -> None:
    clip = shutil.copy(video("short"), tmp_path / "in.mp4")
    assert run_command_line([str(clip), *options, "-q"]) == (MODEL if "nowhere" in options else USAGE)
    assert "Traceback" not in capfd.readouterr().err
    assert listing(tmp_path) == ["in.mp4"]


def test_chunk_length_of_zero_gives_the_shortest_chunks(video: Any, tmp_path: Path) -> None:
    shutil.copy(video("short"), tmp_path / "in.mp4")
    job_result = run_limited("in.mp4", "-o", "out.mp4", "--style", "tiny", "--workers", "2", "--chunk", "0", cwd=tmp_path)
    assert job_result.code == DONE, job_result
    assert len(frames_of(tmp_path / "out.mp4")) == 30


def test_full_disk_is_reported_and_finished_chunks_are_kept(
    video: Any, converted_whole: Any, styles: Path, tmp_path: Path
) -> None:
    shutil.copy(video("plain"), tmp_path / "in.mp4")
    _, whole = converted_whole("plain", options_of())
    room = whole.stat().st_size * 3 // 4  # for the model and for a chunk, not for all chunks
    assert room > (styles / "tiny.onnx").stat().st_size
    arguments = ("in.mp4", "-o", "out.mkv", "--style", "tiny", "--codec", "ffv1", "--workers", "2", "--chunk", "1")
    job_result = run_limited(*arguments, "-q", cwd=tmp_path, file_size=room)
    assert job_result.code == DISK, job_result
    assert len(job_result.stderr.splitlines()) == 1
    assert job_result.stderr.startswith("error: ")
    assert listing(tmp_path / ".out.mkv.resume")
    assert not (tmp_path / "out.mkv").exists()
    assert run_limited(*arguments, cwd=tmp_path).code == DONE
    assert_stylized_as(tmp_path / "out.mkv", whole)
    assert listing(tmp_path) == ["in.mp4", "out.mkv"]


def test_disk_without_room_for_a_model_is_reported(video: Any, styles: Path, tmp_path: Path) -> None:
    shutil.copy(video("plain"), tmp_path / "in.mp4")
    room = (styles / "tiny.onnx").stat().st_size - 1
    job_result = run_limited("in.mp4", "--style", "tiny", "--workers", "2", "--chunk", "1", "-q", cwd=tmp_path, file_size=room)
    assert job_result.code == DISK, job_result
    assert len(job_result.stderr.splitlines()) == 1
    assert listing(tmp_path) == ["in.mp4"]


def _removed(path: Path) -> None:
    path.unlink()


def _replaced(path: Path) -> None:
    write_clip(path, times=range(30))


@pytest.mark.parametrize("change", [_removed, _replaced])
def test_input_that_changes_during_the_run_fails_alone(
    pool: WorkerPool, video: Any, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    clips = [tmp_path / name for name in ("one.mp4", "two.mp4")]
    for clip in clips:
        shutil.copy(video("plain"), clip)

    def on_start(task: Task) -> None:
        if task.method == "stylize_chunk" and clips[0].exists() and clips[0].stat().st_size == clips[1].stat().st_size:
            change(clips[0])

    jobs = [Job(str(clip), clip.with_suffix(".mkv"), "tiny") for clip in clips]
    one, two = run_jobs(jobs, WatchedPool(pool, on_start), options_of(), QuietReporter(), 1.0)
    assert isinstance(one.error, InputError), one
    assert "one.mp4" in str(one.error)
    assert two.error is None
    assert not [name for name in listing(tmp_path) if name.endswith(".claim")]
    assert not (tmp_path / "one.mkv").exists()
    assert len(frames_of(tmp_path / "two.mkv")) == FRAMES
