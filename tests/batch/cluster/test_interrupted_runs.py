"""`--workers`: a run that is killed or stopped is resumed from its finished chunks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import descendants, image_in_shots, wait_for_exit
from tests.support.helpers import events, listing, noise, write_clip
from tests.support.resumable import ResumableClip, ResumableRun, assert_same
from tests.support.resumable import content_of as video_content_of
from tests.support.runs import DAMAGE, DONE, STOPPED, CommandRunner, finish, start, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs signals as on Linux"),
    pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg to check outputs"),
]


OPTIONS = ("--workers", "2", "--chunk", "6", "--height", "120")
"""The network works at more than the size of the video, which takes time."""
LONG = {"in chunks": (ResumableClip(options=OPTIONS), DONE), "in one piece": (ResumableClip("in.mkv", options=OPTIONS), DAMAGE)}
"""Videos at two frames per second, one of which is damaged, and the exit codes."""


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a clip of `LONG`, once."""

    @cache
    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp("long")
        if name == "in chunks":
            clip: dict[str, Any] = {
                "times": range(72),
                "time_base": Fraction(1, 2),
                "options": {"g": "12"},
                "audio": ["eng"],
                "image": image_in_shots(17, 45),
            }
            return write_clip(folder / "in.mp4", **clip)
        path = write_clip(folder / "in.mkv", times=range(80), time_base=Fraction(1, 2), options={"g": "6"}, image=noise)
        data = path.read_bytes()
        begin = len(data) // 5
        path.write_bytes(data[:begin] + bytes(6000) + data[begin + 6000 :])
        return path

    return make


@pytest.fixture(scope="module")
def runner(styles: Path) -> Iterator[CommandRunner]:
    """Runs the command lines that are not to be interrupted."""
    with closing(CommandRunner()) as runner:
        yield runner


@pytest.fixture(scope="module")
def resumable_in(long_video: Callable[[str], Path], runner: CommandRunner) -> Callable[[Path, str], ResumableRun]:
    """Makes a `ResumableRun` for a clip of `LONG` in a folder."""

    def make(folder: Path, name: str) -> ResumableRun:
        shutil.copy2(long_video(name), folder)
        return ResumableRun(folder, LONG[name][0], "tiny", runner=runner)

    return make


@pytest.fixture(scope="module")
def uninterrupted(resumable_in: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """The output of a run without interruption, once for each clip and set of options."""

    @cache
    def stylized(name: str = "in chunks", options: tuple[str, ...] = ()) -> Any:
        one = resumable_in(tmp_path_factory.mktemp("uninterrupted"), name)
        one.options += options
        assert one.run(resume=False).code == LONG[name][1]
        one.assert_clean()
        return video_content_of(one.output)

    return stylized


@pytest.fixture
def resumable(resumable_in: Any, tmp_path: Path) -> Iterator[Callable[..., ResumableRun]]:
    """Makes a `ResumableRun` for a clip of `LONG`; its processes end with the test."""
    made: list[ResumableRun] = []

    def make(name: str = "in chunks") -> ResumableRun:
        made.append(resumable_in(tmp_path, name))
        return made[-1]

    yield make
    for one in made:
        for process in one.running:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def killed_run(resumable_in: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder in which a run was killed after some chunks, and a copy of it."""
    folder = tmp_path_factory.mktemp("killed")
    kill_run(resumable_in(folder, "in chunks"), 3)
    return folder, Path(shutil.copytree(folder, folder.with_name("killed-copy")))


@pytest.fixture
def killed(killed_run: tuple[Path, Path], runner: CommandRunner) -> ResumableRun:
    """A run that was killed after some chunks."""
    folder, copy = killed_run
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    return ResumableRun(folder, LONG["in chunks"][0], "tiny", runner=runner)


def finished(one: ResumableRun) -> dict[str, tuple[int, bytes]]:
    """The finished chunks or segments: modification time and content of each."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in one.segments()}


def kill_run(one: ResumableRun, after: int) -> None:
    """Start a run, and kill it when so many chunks are finished; its workers end too."""
    process = one.start()
    wait_until(lambda: len(one.segments()) >= after, process, f"{after} finished chunks")
    workers = descendants(process.pid)
    assert len(workers) >= 2
    process.kill()
    wait_for_exit(workers)
    finish(process)
    assert not one.output.exists()


def test_killed_run_is_resumed_without_the_resume_option(killed: ResumableRun, uninterrupted: Any) -> None:
    job_result = killed.run(resume=False)
    assert job_result.code == DONE, job_result
    assert "starting over" not in job_result.stderr
    assert_same(killed.output, uninterrupted())
    killed.assert_clean()


@pytest.mark.parametrize("name", LONG)
def test_finished_chunks_and_segments_are_not_stylized_again(resumable: Any, uninterrupted: Any, name: str) -> None:
    """Neither chunks of a divided video nor segments of an undivided one."""
    one = resumable(name)
    kill_run(one, 1)
    before = finished(one)
    kill_run(one, len(before) + 1)
    after = finished(one)
    assert len(after) > len(before) >= 1
    assert {name: after.get(name) for name in before} == before
    job_result = one.run()
    assert job_result.code == LONG[name][1], job_result
    assert_same(one.output, uninterrupted(name))
    one.assert_clean()


@pytest.mark.parametrize("number", STOPPED, ids=lambda number: number.name)
def test_stopped_run_is_resumed(resumable: Any, uninterrupted: Any, number: signal.Signals) -> None:
    one = resumable()
    process = one.start()
    wait_until(lambda: len(one.segments()) >= 2, process, "finished chunks")
    workers = descendants(process.pid)
    process.send_signal(number)
    job_result = finish(process)
    assert job_result.code == STOPPED[number], job_result
    assert "Traceback" not in job_result.stderr
    assert "run the same command again" in job_result.stderr
    wait_for_exit(workers)
    assert finished(one)
    assert one.run().code == DONE
    assert_same(one.output, uninterrupted())
    one.assert_clean()


def test_ctrl_c_in_a_terminal_stops_a_run_that_is_starting(resumable: Any) -> None:
    """Ctrl-C reaches the workers too, even those that have only just been started."""
    one = resumable()
    for workers in (0, 1, 2):
        process = start(*one.command(), cwd=one.folder, start_new_session=True)
        one.running.append(process)
        wait_until(partial(_has_workers, process, workers), process, f"{workers} workers")
        os.killpg(process.pid, signal.SIGINT)
        job_result = finish(process, 30)
        # Without workers yet, Python itself may be interrupted before it runs vidstyle, which it reports in ways of its own.
        if workers or not (job_result.code == -signal.SIGINT or "KeyboardInterrupt" in job_result.stderr):
            assert job_result.code == STOPPED[signal.SIGINT], job_result
            assert "Traceback" not in job_result.stderr
        assert listing(one.folder) == [one.clip.name]


def _has_workers(process: subprocess.Popen[str], count: int) -> bool:
    return sum(_is_worker(pid) for pid in descendants(process.pid)) >= count


def _is_worker(pid: int) -> bool:
    with suppress(OSError):
        return b"--multiprocessing-fork" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def test_damaged_chunk_is_stylized_again(killed: ResumableRun, uninterrupted: Any) -> None:
    path = killed.segments()[1]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    job_result = killed.run()
    assert job_result.code == DONE, job_result
    assert_same(killed.output, uninterrupted())
    killed.assert_clean()


def _no_plan(manifest: str) -> str:
    return json.dumps(json.loads(manifest) | {"plan": None})


def _another_plan(manifest: str) -> str:
    return json.dumps(json.loads(manifest) | {"plan": [{"number": 0}]})


@pytest.mark.parametrize("damage", [_no_plan, _another_plan])
def test_invalid_manifest_is_ignored(killed: ResumableRun, uninterrupted: Any, damage: Callable[[str], str]) -> None:
    path = killed.work / "manifest.json"
    path.write_text(damage(path.read_text()))
    job_result = killed.run()
    assert job_result.code == DONE, job_result
    assert "Traceback" not in job_result.stderr
    assert_same(killed.output, uninterrupted())
    killed.assert_clean()


def _touched(one: ResumableRun) -> None:
    os.utime(one.clip, ns=(1, 1))


def _other_chunk_length(one: ResumableRun) -> None:
    one.options += ["--chunk", "12"]


@pytest.mark.parametrize("change", [_touched, _other_chunk_length])
def test_changed_input_or_chunk_length_discards_finished_chunks(
    killed: ResumableRun, uninterrupted: Any, change: Callable[[ResumableRun], None]
) -> None:
    before = len(killed.options)
    change(killed)
    job_result = killed.run()
    assert job_result.code == DONE, job_result
    assert "starting over" in job_result.stderr
    assert_same(killed.output, uninterrupted("in chunks", tuple(killed.options[before:])))
    killed.assert_clean()


def test_two_runs_share_the_files_of_a_folder(video: Any, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    names = [f"{number}.mp4" for number in range(3)]
    for name in names:
        shutil.copy(video("plain"), folder / name)
    arguments = ("in", "-o", "out", "--style", "tiny", "--workers", "1", "--chunk", "1", "--progress", "json")
    runs = [start(*arguments, cwd=tmp_path) for _ in range(2)]
    job_results = [finish(run) for run in runs]
    assert [job_result.code for job_result in job_results] == [DONE, DONE], job_results
    done = [
        Path(event["input"]).name
        for job_result in job_results
        for event in events(job_result.stderr)
        if event["event"] == "file_done" and event["status"] == "done"
    ]
    assert sorted(done) == names, "each file is converted by one of the runs"
    assert len({(tmp_path / "out" / path).read_bytes() for path in listing(tmp_path / "out")}) == 1
    assert len(listing(tmp_path / "out")) == len(names)


def test_run_that_waits_for_a_killed_run_resumes_it(resumable: Any, uninterrupted: Any, tmp_path_factory: Any) -> None:
    one, log = resumable(), tmp_path_factory.mktemp("log") / "events.json"
    first = one.start()
    wait_until(lambda: len(one.segments()) >= 1, first, "a finished chunk")
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
    assert "starting over" not in log.read_text()
    assert_same(one.output, uninterrupted())
    one.assert_clean()
