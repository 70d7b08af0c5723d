"""Outputs that are finished or claimed by another run are left alone."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from tests.support.folder_runs import (
    BackgroundRun,
    RecordingReporter,
    convert_folder,
    fill,
    hidden_in,
    nothing_left,
    output_stems,
    results,
    rows,
)
from tests.support.helpers import moving_bar, noise, write_clip
from tests.support.judge import decode, snapshot
from tests.support.runs import (
    DAMAGE,
    DONE,
    FAILED,
    STOPPED,
    RunResult,
    finish,
)
from vidstyle.batch.claims import FINISHED, Claim, claim_path

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs signals as on Linux"),
    pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg as a judge"),
]

# --- a second run


def test_finished_outputs_are_skipped(run: Callable[..., RunResult], tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a b c")
    cv2.imwrite(str(folder / "photo.jpg"), moving_bar(0, 32, 32))
    run("in")
    before = snapshot(folder)
    run_result = run("in")
    assert snapshot(folder) == before
    assert run_result.stderr.count("is finished already, skipped") == 4
    assert "4 files: 4 skipped" in run_result.stderr


def test_single_finished_output_is_skipped(run: Callable[..., RunResult], tmp_path: Path) -> None:
    fill(tmp_path, "a")
    run("a.mp4")
    before = snapshot(tmp_path)
    assert "is finished already" in run("a.mp4").stderr
    assert snapshot(tmp_path) == before


def test_dry_run_lists_finished_outputs(run: Callable[..., RunResult], tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a b")
    run("in/a.mp4")
    lines = run("in", "--dry-run").stdout.splitlines()
    assert "in/a.tiny.mp4: is finished already" in lines[0]
    assert "in/b.mp4 -> in/b.tiny.mp4" in lines[1]
    assert "in/a.mp4 -> in/a.tiny.mp4" in run("in", "--dry-run", "--overwrite").stdout
    assert "already exists" in run("in", "--dry-run", "--skip-existing", "--crf", "40").stdout
    run("in/a.mp4", "--dry-run", "--crf", "40", code=FAILED)
    run("in", "--dry-run", "--crf", "40", code=DAMAGE)
    assert output_stems(folder) == ["a"]


def _touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def _copy(path: Path) -> None:
    path.rename(path.with_suffix(".old"))
    shutil.copy(path.with_suffix(".old"), path)


@pytest.mark.parametrize("change", [_touch, _copy])
def test_touched_or_copied_input_is_still_finished(
    run: Callable[..., RunResult], tmp_path: Path, change: Callable[[Path], None]
) -> None:
    folder = fill(tmp_path / "in", "a b")
    run("in")
    before = snapshot(folder)
    change(folder / "a.mp4")
    assert "2 files: 2 skipped" in run("in").stderr
    assert {name: snapshot(folder)[name] for name in ("a.tiny.mp4", "b.tiny.mp4")} == {
        name: before[name] for name in ("a.tiny.mp4", "b.tiny.mp4")
    }


def test_moved_folder_is_still_finished(run: Callable[..., RunResult], tmp_path: Path) -> None:
    fill(tmp_path / "in", "a b").rename(tmp_path / "elsewhere")
    run("elsewhere")
    (tmp_path / "elsewhere").rename(tmp_path / "again")
    assert "2 files: 2 skipped" in run("again").stderr


Change = Callable[[Path], list[str]]


def _other_images(clip: Path) -> list[str]:
    write_clip(clip, times=range(5), image=noise)
    return []


def _other_quality(clip: Path) -> list[str]:
    return ["--crf", "35"]


def _other_part(clip: Path) -> list[str]:
    return ["--end", "0.1"]


def _other_look(clip: Path) -> list[str]:
    return ["--stabilize", "light"]


CHANGES = [_other_images, _other_quality, _other_part, _other_look]


@pytest.mark.parametrize("change", CHANGES)
def test_output_made_with_other_options_is_reported_and_kept(
    run: Callable[..., RunResult], tmp_path: Path, change: Change
) -> None:
    fill(tmp_path, "a b")
    run("a.mp4")
    options = change(tmp_path / "a.mp4")
    old = snapshot(tmp_path)
    run_result = run("a.mp4", *options, "-q", code=FAILED)
    assert "made from another input or with other options" in run_result.stderr
    assert "--overwrite" in run_result.stderr
    assert len(run_result.stderr.splitlines()) == 1
    assert snapshot(tmp_path) == old
    assert list(rows(run(".", *options, code=DAMAGE), "failed")) == ["a.mp4"]
    assert output_stems(tmp_path) == ["a", "b"]
    assert {name: facts for name, facts in snapshot(tmp_path).items() if name != "b.tiny.mp4"} == old


def test_output_of_another_model_with_the_same_name_is_reported_and_kept(
    run: Callable[..., RunResult], tmp_path: Path, styles: Path
) -> None:
    folder = fill(tmp_path / "in", "a")
    shutil.copy(styles / "tiny.onnx", tmp_path / "model.onnx")
    run("in", style="./model.onnx")
    before = snapshot(folder)
    assert "is finished already" in run("in", style="./model.onnx").stderr
    shutil.copy(styles / "slow.onnx", tmp_path / "model.onnx")
    run_result = run("in", style="./model.onnx", code=FAILED)
    assert "with other options" in run_result.stderr
    assert snapshot(folder) == before


@pytest.mark.parametrize("change", CHANGES)
def test_overwrite_replaces_and_skip_existing_keeps(run: Callable[..., RunResult], tmp_path: Path, change: Change) -> None:
    folder = fill(tmp_path / "in", "a b")
    run("in")
    options = change(folder / "a.mp4")
    before = snapshot(folder)
    assert "2 skipped: already exists" in run("in", *options, "--skip-existing").stderr
    assert snapshot(folder) == before
    assert "2 files: 2 done" in run("in", *options, "--overwrite").stderr
    after = snapshot(folder)
    assert {name for name in before if after[name] != before[name]} == {"a.tiny.mp4", "b.tiny.mp4"}
    assert hidden_in(folder) == []
    assert "2 skipped: is finished already" in run("in", *options).stderr


def _text(path: Path) -> None:
    path.write_text("precious")


def _foreign_video(path: Path) -> None:
    write_clip(path, times=range(3))


def _broken_link(path: Path) -> None:
    path.symlink_to("nowhere")


def _folder(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [_text, _foreign_video, _broken_link, _folder, _pipe])
def test_foreign_file_at_the_output_path_is_reported_and_kept(
    run: Callable[..., RunResult], tmp_path: Path, make: Callable[[Path], None]
) -> None:
    folder = fill(tmp_path / "in", "a b c")
    make(folder / "b.tiny.mp4")
    status, before = os.lstat(folder / "b.tiny.mp4"), snapshot(folder)
    run_result = run("in", code=DAMAGE)
    assert list(rows(run_result, "failed")) == ["in/b.mp4"]
    assert "in/b.tiny.mp4" in rows(run_result, "failed")["in/b.mp4"]
    after = os.lstat(folder / "b.tiny.mp4")
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (status.st_ino, status.st_mode, status.st_mtime_ns)
    assert {name: facts for name, facts in snapshot(folder).items() if name[0] not in "ac" or name in before} == before
    assert output_stems(folder) == ["a", "b", "c"]
    assert hidden_in(folder) == []


# --- several runs at once


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidstyle.batch.runner.WAIT_SECONDS", 0.01)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("other", ["finishes", "gives up"])
def test_job_claimed_by_another_run_is_left_to_it(tmp_path: Path, other: str) -> None:
    elsewhere = fill(tmp_path / "elsewhere", "a b c")
    results(convert_folder(elsewhere))
    folder = fill(tmp_path / "in", "a b c")
    claim = Claim(folder / "b.tiny.mp4")

    def then(entry: str) -> None:
        if "another run" in entry and reporter.log.count(entry) == 3:
            assert output_stems(folder) == ["a", "c"]
            if other == "finishes":
                shutil.copy(elsewhere / "b.tiny.mp4", folder)
            claim.close()

    reporter = RecordingReporter(then)
    with nothing_left(folder):
        job_results = convert_folder(folder, reporter)
    assert [job_result.skipped for job_result in job_results] == ["", FINISHED if other == "finishes" else "", ""]
    assert "frame b 1" not in reporter.log or other == "gives up"
    assert output_stems(folder) == [*"abc"]


@pytest.mark.usefixtures("impatient")
def test_waiting_for_another_run_can_be_interrupted(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a b c")

    def stop(entry: str) -> None:
        if "another run" in entry:
            raise KeyboardInterrupt

    claim = Claim(folder / "b.tiny.mp4")
    try:
        with pytest.raises(KeyboardInterrupt):
            convert_folder(folder, RecordingReporter(stop))
        assert hidden_in(folder) == [claim_path(Path("b.tiny.mp4")).name]
    finally:
        claim.close()
    assert output_stems(folder) == ["a", "c"]


@pytest.mark.parametrize("finished", [False, True])
def test_stale_claim_is_taken_over(tmp_path: Path, finished: bool) -> None:
    """A claim of a run that was killed, possibly after the output was finished."""
    folder = fill(tmp_path / "in", "a b")
    if finished:
        results(convert_folder(folder))
    claim_path(folder / "b.tiny.mp4").touch()
    with nothing_left(folder):
        job_results = convert_folder(folder)
    assert [job_result.skipped for job_result in job_results] == [FINISHED if finished else ""] * 2
    assert output_stems(folder) == ["a", "b"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP], ids=["no lock", "not supported"])
def test_no_claims_without_file_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    folder = fill(tmp_path / "in", "a b c")
    with nothing_left(folder):
        results(convert_folder(folder))
    assert output_stems(folder) == [*"abc"]


NAMES = "a b c d e f g h"


def stems_of(folder: Path, what: str) -> list[str]:
    """The stems of the outputs with such a hidden file: `claim` or `part.mp4`."""
    return sorted({name.split(".")[1] for name in hidden_in(folder) if name.endswith(f".{what}")})


def start_two_runs(launch: Callable[..., BackgroundRun], folder: Path) -> tuple[BackgroundRun, BackgroundRun]:
    """Two runs on one folder; the first is suspended in the middle of a file."""
    fill(folder, NAMES, frames=12)
    first = launch("in", "--style", "tiny")
    first.wait_until(lambda: stems_of(folder, "part.mp4") != [], "a file being stylized")
    first.signal(signal.SIGSTOP)
    theirs = stems_of(folder, "claim")
    second = launch("in", "--style", "tiny")
    second.wait_until(lambda: second.done() != [] or any(e["event"] == "stage" for e in second.events()), "its first file")
    assert not {*second.done()} & {*theirs}
    return first, second


def test_two_runs_divide_the_jobs(launch: Callable[..., BackgroundRun], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    first, second = start_two_runs(launch, folder)
    first.signal(signal.SIGCONT)
    assert (first.end(), second.end()) == (DONE, DONE)
    assert sorted(first.done() + second.done()) == NAMES.split()
    for one in (first, second):
        assert sorted(one.done() + one.done("skipped")) == NAMES.split()
        [summary] = [e for e in one.events() if e["event"] == "summary"]
        assert (summary["done"], summary["skipped"], summary["failed"]) == (len(one.done()), 8 - len(one.done()), 0)
    assert output_stems(folder) == NAMES.split()
    assert all(decode(folder / f"{name}.tiny.mp4").whole for name in NAMES.split())
    assert hidden_in(folder) == []


def test_jobs_of_a_killed_run_are_taken_over(launch: Callable[..., BackgroundRun], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    first, second = start_two_runs(launch, folder)
    second.wait_until(lambda: any("another run" in e.get("stage", "") for e in second.events()), "waiting for the first")
    finished, theirs = snapshot(folder), stems_of(folder, "claim")
    assert theirs
    assert not {*second.done()} & {*theirs}
    first.signal(signal.SIGKILL)
    finish(first.process)
    assert second.end() == DONE
    assert {*second.done()} >= {*theirs}
    assert sorted(first.done() + second.done()) == NAMES.split()
    assert hidden_in(folder) == []
    visible = {name: facts for name, facts in finished.items() if name[0] != "."}
    assert {name: snapshot(folder)[name] for name in visible} == visible
    assert all(decode(folder / f"{name}.tiny.mp4").whole for name in NAMES.split())


def test_run_that_waits_for_another_can_be_stopped(launch: Callable[..., BackgroundRun], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    first, second = start_two_runs(launch, folder)
    second.wait_until(lambda: any("another run" in e.get("stage", "") for e in second.events()), "waiting for the first")
    before = hidden_in(folder)
    second.signal(signal.SIGINT)
    assert second.end() == STOPPED[signal.SIGINT]
    assert hidden_in(folder) == before
    first.signal(signal.SIGCONT)
    assert first.end() == DONE
    assert sorted(first.done() + second.done()) == NAMES.split()
    assert hidden_in(folder) == []
