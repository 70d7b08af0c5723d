"""Jobs of one run: results, several files at once, and nothing left behind, however it ends."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.support.faults import clip_bytes, truncate
from tests.support.folder_runs import (
    FRAMES,
    Inverting,
    RecordingReporter,
    assert_complete,
    convert_folder,
    fill,
    hidden_in,
    nothing_left,
    output_stems,
    results,
    rows,
    stem,
)
from tests.support.helpers import frames_of, listing, moving_bar, noise, rgb_of, run_cli, write_clip
from tests.support.judge import decode, snapshot
from tests.support.resumable import assert_same, content_of
from tests.support.runs import (
    DAMAGE,
    DISK,
    DONE,
    FAILED,
    RunResult,
    run_limited,
)
from vidstyle.batch.claims import FINISHED
from vidstyle.batch.planner import plan
from vidstyle.batch.runner import run_jobs
from vidstyle.cli.signals import Signals
from vidstyle.conversion.interrupts import InterruptibleReporter
from vidstyle.conversion.job import JobResult
from vidstyle.core.errors import DiskError, StyleError, UnexpectedError
from vidstyle.core.options import ConvertOptions

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs signals as on Linux"),
    pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg as a judge"),
]

TIMEOUT_SECONDS = 60.0
"""How long a test waits for something before it fails."""

# --- results of the files


def test_folder_of_videos_images_and_broken_files(run: Callable[..., RunResult], tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a b c d e")
    cv2.imwrite(str(folder / "photo.jpg"), moving_bar(0, 61, 43))
    cv2.imwrite(str(folder / "photo.png"), moving_bar(5, 32, 32))
    (folder / "text.mp4").write_text("no video")
    (folder / "empty.mkv").touch()
    before = snapshot(folder)
    run_result = run("in", "-o", "out", code=DAMAGE)
    assert listing(tmp_path / "out") == sorted([f"{s}.tiny.mp4" for s in "abcde"] + ["photo.tiny.jpg", "photo.tiny.png"])
    for letter in "abcde":
        assert decode(tmp_path / "out" / f"{letter}.tiny.mp4").whole
        assert len(frames_of(tmp_path / "out" / f"{letter}.tiny.mp4")) == FRAMES
    photo = cv2.imread(str(tmp_path / "out" / "photo.tiny.jpg"))
    assert photo is not None
    assert photo.shape == (43, 61, 3)
    assert snapshot(folder) == before
    assert "9 files: 7 done, 2 failed" in run_result.stderr
    reasons = rows(run_result, "failed")
    assert list(reasons) == ["in/empty.mkv", "in/text.mp4"]
    assert "found an empty file" in reasons["in/empty.mkv"]
    assert "could not read" in reasons["in/text.mp4"]
    assert rows(run_result, "damaged") == {}


def test_folder_with_only_unreadable_files_fails(run: Callable[..., RunResult], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.png", "c.mkv"):
        (tmp_path / "in" / name).write_text("neither video nor image")
    run_result = run("in", code=FAILED)
    assert listing(tmp_path / "in") == ["a.mp4", "b.png", "c.mkv"]
    assert list(rows(run_result, "failed")) == ["in/a.mp4", "in/b.png", "in/c.mkv"]


def test_damaged_file_is_reported_and_the_others_are_done(run: Callable[..., RunResult], tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a c")
    (folder / "b.mkv").write_bytes(truncate(clip_bytes("mkv"), 0.6))
    run_result = run("in", code=DAMAGE)
    assert "3 files: 2 done, 1 damaged" in run_result.stderr
    assert list(rows(run_result, "damaged")) == ["in/b.mkv"]
    assert "cut off" in rows(run_result, "damaged")["in/b.mkv"]
    assert decode(folder / "b.tiny.mkv").whole


def test_vanished_input_does_not_stop_the_others(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a b c")

    def then(entry: str) -> None:
        if entry == "expect 3":
            (folder / "b.mp4").unlink()

    job_results = convert_folder(folder, RecordingReporter(then))
    assert [bool(job_result.result) for job_result in job_results] == [True, False, True]
    assert "b.mp4" in str(job_results[1].error)


@pytest.mark.parametrize("length", [240, 248], ids=["for hidden files", "for the output"])
def test_name_that_is_too_long_does_not_stop_the_others(run: Callable[..., RunResult], tmp_path: Path, length: int) -> None:
    """A file name has at most 255 bytes, and hidden files beside an output have longer names than the output."""
    folder = fill(tmp_path / "in", "a z")
    long = folder / f"{'n' * length}.mp4"
    shutil.copy(folder / "a.mp4", long)
    fits = length + len(".tiny.mp4") <= 255
    run_result = run("in", code=DONE if fits else DAMAGE)
    assert output_stems(folder) == ["a", *(["n" * length] if fits else []), "z"]
    assert hidden_in(folder) == []
    assert fits or "the name is too long for the file system" in run_result.stderr


def test_dry_run_reports_a_name_that_is_too_long(run: Callable[..., RunResult], tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a")
    shutil.copy(folder / "a.mp4", folder / f"{'n' * 248}.mp4")
    run_result = run("in", "--dry-run", code=DAMAGE)
    assert "in/a.tiny.mp4" in run_result.stdout
    assert "the name is too long for the file system" in run_result.stderr


def test_results_have_the_order_of_the_jobs(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a c e")
    (folder / "b.mp4").write_text("no video")
    (folder / "d.mp4").write_text("no video")
    reporter = RecordingReporter()
    shutil.copy(folder / "a.mp4", folder / "f.mp4")
    (folder / "f.tiny.mp4").write_text("foreign")
    job_results = convert_folder(folder, reporter)
    assert [stem(job_result.job.input) for job_result in job_results] == [*"abcdef"]
    over = [entry for entry in reporter.log if entry.split()[0] in ("done", "failed", "skipped")]
    assert over == ["done a", "failed b", "done c", "failed d", "done e", "failed f"]


# --- one model for all files


def test_model_is_loaded_once_per_style(
    command_line: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    class Counted(Inverting):
        def __init__(self, path: Path, *args: Any) -> None:
            super().__init__()
            loaded.append(path.stem)

    monkeypatch.setattr("vidstyle.stylizers.onnx.load_onnx_stylizer", Counted)
    folder = fill(tmp_path / "in", "a b c")
    assert command_line(folder, "--style", "tiny", "--style", "slow", "--style", "tiny", "-q") == DONE
    assert sorted(loaded) == ["slow", "tiny"]
    assert listing(folder) == sorted(f"{letter}{style}.mp4" for letter in "abc" for style in ("", ".tiny", ".slow"))


def test_each_output_is_in_its_own_style(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a b")
    jobs = plan([str(folder)], ["tiny", "slow"])
    tiny, slow = Inverting(), Inverting()
    results(run_jobs(jobs, {"tiny": tiny, "slow": slow}, ConvertOptions(), RecordingReporter()))
    assert (tiny.stylized, slow.stylized) == (2 * FRAMES, 2 * FRAMES)
    again = run_jobs(jobs, {"tiny": tiny, "slow": slow}, ConvertOptions(), RecordingReporter())
    assert [job_result.skipped for job_result in again] == [FINISHED] * 4


def test_folder_run_equals_runs_on_each_file(run: Callable[..., RunResult], tmp_path: Path) -> None:
    fill(tmp_path / "in", "a b", frames=12, audio=True)
    run("in", "-o", "together/")
    for letter in "ab":
        run(f"in/{letter}.mp4", "-o", "apart/")
        assert_same(tmp_path / "together" / f"{letter}.tiny.mp4", content_of(tmp_path / "apart" / f"{letter}.tiny.mp4"))


# --- several files at once


class Milestones:
    """Names of what has happened so far, for other threads to wait for."""

    def __init__(self) -> None:
        self._state, self._seen = threading.Condition(), set[str]()

    def reach(self, what: str) -> None:
        with self._state:
            self._seen.add(what)
            self._state.notify_all()

    def wait_for(self, what: str) -> None:
        with self._state:
            assert self._state.wait_for(lambda: what in self._seen, TIMEOUT_SECONDS), f"timed out waiting for: {what}"


def test_next_input_is_opened_while_one_is_stylized(on_step: Callable[[Callable[[str], object]], None], tmp_path: Path) -> None:
    milestones = Milestones()
    on_step(milestones.reach)
    stylizer = Inverting(lambda number: milestones.wait_for({1: "opened b", FRAMES + 1: "opened c"}.get(number, "opened a")))
    results(convert_folder(fill(tmp_path / "in", "a b c"), stylizer=stylizer))


def test_output_is_published_while_the_next_input_is_stylized(
    on_step: Callable[[Callable[[str], object]], None], tmp_path: Path
) -> None:
    milestones, folder = Milestones(), fill(tmp_path / "in", "a b c")

    def step(what: str) -> None:
        if what in ("publishing a", "publishing b"):
            milestones.wait_for({"publishing a": "frame b 2", "publishing b": "frame c 2"}[what])

    on_step(step)
    results(convert_folder(folder, RecordingReporter(milestones.reach)))
    assert output_stems(folder) == [*"abc"]


def test_at_most_three_files_are_open(on_step: Callable[[Callable[[str], object]], None], tmp_path: Path) -> None:
    """One is being published, one stylized, and the next one is open."""
    names = "abcdefgh"
    milestones, lock, open_now, most = Milestones(), threading.Lock(), set[str](), list[int]()

    def step(what: str) -> None:
        kind, name = what.split()
        with lock:
            if kind == "opening":
                open_now.add(name)
                most.append(len(open_now))
            elif kind == "closed":
                open_now.discard(name)
        milestones.reach(what)
        if kind == "publishing" and name < "g":  # as slow as possible without a deadlock
            milestones.wait_for(f"opened {chr(ord(name) + 2)}")

    on_step(step)
    results(convert_folder(fill(tmp_path / "in", " ".join(names)), RecordingReporter(milestones.reach)))
    assert max(most) == 3
    assert open_now == set()


# --- nothing is left behind


def test_nothing_is_left_after_success(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a b c d")
    with nothing_left(folder):
        results(convert_folder(folder))
        assert [job_result.skipped for job_result in convert_folder(folder)] == [FINISHED] * 4
    assert_complete(folder)


@pytest.mark.parametrize("broken", ["a", "b", "d", "a b", "c d", "a b c d"])
def test_nothing_is_left_after_bad_inputs(tmp_path: Path, broken: str) -> None:
    folder = fill(tmp_path / "in", "a b c d")
    for name in broken.split():
        (folder / f"{name}.mp4").write_bytes((folder / f"{name}.mp4").read_bytes()[:600])
    with nothing_left(folder):
        job_results = convert_folder(folder)
    assert [stem(job_result.job.input) for job_result in job_results if job_result.error] == broken.split()
    assert output_stems(folder) == sorted(set("abcd") - set(broken.split()))


def test_nothing_is_left_after_a_model_error(tmp_path: Path) -> None:
    """An error at any image fails only the file of that image."""
    for number in range(1, 3 * FRAMES + 1):
        folder = fill(tmp_path / f"{number}", "a b c")

        def fail(stylized: int, number: int = number) -> None:
            if stylized == number:
                raise StyleError("the model fails on this image")

        with nothing_left(folder):
            job_results = convert_folder(folder, stylizer=Inverting(fail))
        lost = [stem(job_result.job.input) for job_result in job_results if job_result.error]
        assert len(lost) == 1
        assert output_stems(folder) == sorted({*"abc"} - {*lost})
        assert_complete(folder)


def assert_one_unexpected(job_results: Sequence[JobResult]) -> None:
    """One job failed by an exception that nobody foresaw, and its error is a sentence with the name of the exception."""
    [error] = [job_result.error for job_result in job_results if job_result.error]
    assert isinstance(error, UnexpectedError)
    assert re.fullmatch(r"unexpected ZeroDivisionError \(.*\); please report it, with what VIDSTYLE_DEBUG=1 prints", str(error))
    assert "raise ZeroDivisionError" in error.traceback


def test_unexpected_error_in_the_stylizer_costs_one_file(tmp_path: Path) -> None:
    for number in range(1, 3 * FRAMES + 1, 2):
        folder = fill(tmp_path / f"{number}", "a b c")

        def fail(stylized: int, number: int = number) -> None:
            if stylized == number:
                raise ZeroDivisionError

        with nothing_left(folder):
            job_results = convert_folder(folder, stylizer=Inverting(fail))
        assert_one_unexpected(job_results)
        assert_complete(folder)


@pytest.mark.parametrize("when", ["opening", "publishing"])
@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_unexpected_error_while_opening_or_publishing_costs_one_file(
    on_step: Callable[[Callable[[str], object]], None], tmp_path: Path, when: str, name: str
) -> None:
    folder = fill(tmp_path / "in", "a b c")

    def step(what: str) -> None:
        if what == f"{when} {name}":
            raise ZeroDivisionError

    on_step(step)
    with nothing_left(folder):
        job_results = convert_folder(folder)
    assert_one_unexpected(job_results)
    assert output_stems(folder) == sorted({*"abc"} - {name})
    assert_complete(folder)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_nothing_is_left_after_a_full_disk_at_publishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    folder = fill(tmp_path / "in", "a b c")

    def full(path: Path) -> None:
        if f".{name}.tiny." in path.name:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("vidstyle.sinks.publish.fsync", full)
    with nothing_left(folder):
        job_results = convert_folder(folder)
    assert [type(job_result.error) for job_result in job_results if job_result.error] == [DiskError]
    assert output_stems(folder) == sorted({*"abc"} - {name})


@pytest.mark.parametrize(("names", "code"), [("a b c", DAMAGE), ("b", DISK), ("b d", FAILED)])
def test_nothing_is_left_after_a_full_disk(tmp_path: Path, names: str, code: int) -> None:
    fill(tmp_path, "a c")
    for name in ("b", "d"):
        write_clip(tmp_path / f"{name}.mp4", times=range(48), image=noise)
    run_result = run_limited(
        *(f"{n}.mp4" for n in names.split()), "--style", "tiny", "-o", "out/", cwd=tmp_path, file_size=30_000
    )
    assert run_result.code == code, run_result
    assert "no space left" in run_result.stderr
    assert "Traceback" not in run_result.stderr
    assert listing(tmp_path / "out") == [f"{name}.tiny.mp4" for name in names.split() if name in "ac"]


def _without_root() -> None:
    """Apply file permissions to root too, which runs tests in containers."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; fails for users without these capabilities


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        (["in/a.mp4"], DISK),
        (["in", "--include", "a.*"], DISK),
        (["in/b.mp4", "in/a.mp4"], FAILED),
        (["in"], FAILED),
        (["in", "mine"], DAMAGE),
    ],
)
def test_read_only_folder(tmp_path: Path, inputs: list[str], code: int) -> None:
    folder = fill(tmp_path / "in", "a b")
    fill(tmp_path / "mine", "c")
    folder.chmod(0o500)
    try:
        done = run_cli(*inputs, "--style", "tiny", cwd=tmp_path, preexec_fn=_without_root)
    finally:
        folder.chmod(0o700)
    assert done.returncode == code, done.stderr
    assert "no permission" in done.stderr
    assert "Traceback" not in done.stderr
    assert listing(folder) == ["a.mp4", "b.mp4"]
    assert output_stems(tmp_path / "mine") == (["c"] if "mine" in inputs else [])


def test_output_folder_that_cannot_be_created(run: Callable[..., RunResult], tmp_path: Path) -> None:
    fill(tmp_path / "in", "a b")
    (tmp_path / "out").write_text("precious")
    for output in ("out/{stem}{ext}", "out/deeper/{stem}{ext}"):
        run("in", "-o", output, code=FAILED)
    run("in", "-o", "/proc/none/{stem}{ext}", code=FAILED)
    assert (tmp_path / "out").read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


def test_nothing_is_left_after_an_interruption_at_any_point(tmp_path: Path) -> None:
    """The outputs that exist then are complete, and the next run makes only the others."""
    expected = fill(tmp_path / "expected", "a b c")
    undisturbed = RecordingReporter()
    results(convert_folder(expected, undisturbed))
    for number in range(1, len(undisturbed.log) + 1):
        folder = fill(tmp_path / f"{number}", "a b c")
        calls = count(1)

        def stop(entry: str, number: int = number, calls: Iterator[int] = calls) -> None:
            if next(calls) == number:
                raise KeyboardInterrupt

        with nothing_left(folder), pytest.raises(KeyboardInterrupt):
            convert_folder(folder, RecordingReporter(stop))
        assert_complete(folder)
        before, finished = snapshot(folder), output_stems(folder)
        with nothing_left(folder):
            job_results = convert_folder(folder)
        assert [stem(job_result.job.input) for job_result in job_results if job_result.skipped == FINISHED] == finished
        assert {name: snapshot(folder)[name] for name in before} == before
        for letter in "abc":
            assert (rgb_of(folder / f"{letter}.tiny.mp4") == rgb_of(expected / f"{letter}.tiny.mp4")).all()


@pytest.mark.usefixtures("handlers")
def test_signal_waits_for_the_current_frame(tmp_path: Path) -> None:
    """At any image, even if the signal comes in the middle of it, in another thread."""
    for number in range(1, 3 * FRAMES + 1):
        folder = fill(tmp_path / f"{number}", "a b c")
        signals, reporter, position = Signals(), RecordingReporter(), list[int]()

        def kill(
            stylized: int, number: int = number, reporter: RecordingReporter = reporter, position: list[int] = position
        ) -> None:
            if stylized == number:
                position.append(len(reporter.log))
                os.kill(os.getpid(), signal.SIGINT)

        signals.hold()
        with nothing_left(folder), pytest.raises(KeyboardInterrupt):
            convert_folder(folder, InterruptibleReporter(reporter, signals), Inverting(kill))
        assert len(reporter.log) > position[0]
        assert reporter.log[-1].split()[0] in ("frame", "done")
        assert_complete(folder)
