"""Runs on folders: what is stylized, skipped and told; one file beside the next; several runs side by side; however it ends."""

from __future__ import annotations

import ctypes
import errno
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.faults import clip_bytes, truncate
from tests.support.helpers import events, frames_of, listing, moving_bar, noise, paint, rgb_of, run_cli, write_clip
from tests.support.judge import decode, snapshot
from tests.support.resumable import assert_same, content_of
from tests.support.runs import (
    DAMAGE,
    DISK,
    DONE,
    FAILED,
    STOPPED,
    CommandRunner,
    RunResult,
    finish,
    run_limited,
    start,
    wait_until,
)
from vidstyle.batch.claims import FINISHED, Claim, claim_path
from vidstyle.batch.planner import plan
from vidstyle.batch.runner import run_jobs
from vidstyle.cli import run_command_line
from vidstyle.cli.signals import Signals
from vidstyle.conversion.convert import Conversion, Result
from vidstyle.conversion.interrupts import InterruptibleReporter
from vidstyle.conversion.job import Job, Reporter
from vidstyle.conversion.job import JobResult as JobOutcome
from vidstyle.core.errors import DiskError, StyleError
from vidstyle.core.frames import Pixels, VideoInfo
from vidstyle.core.options import ConvertOptions

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs signals as on Linux"),
    pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg as a judge"),
]

PATIENCE = 60.0
"""Seconds after which what is waited for will not come any more."""

FRAMES = 4


class Inverting:
    """Stylizes negatives; `before` is told of each image first, and how many there were with it."""

    concurrency = 1

    def __init__(self, before: Callable[[int], object] = lambda stylized: None) -> None:
        self.stylized, self._before = 0, before

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        for _ in images:
            self.stylized += 1
            self._before(self.stylized)
        return 255 - np.stack(images)

    def at(self, seconds: float) -> Inverting:
        return self

    def for_shot(self, images: object) -> Inverting:
        return self

    def statistics(self) -> dict[str, np.ndarray]:
        return {}

    def with_statistics(self, statistics: object) -> Inverting:
        return self

    def adapted(self, image: Pixels, share: float) -> Inverting:
        return self

    def describe(self) -> str:
        return "in a test"


class Notes:
    """A reporter that keeps what it is told by and by, as `start a`; `then` is told after it."""

    def __init__(self, then: Callable[[str], object] = lambda told: None) -> None:
        self.told: list[str] = []
        self._then = then

    def _note(self, *words: str) -> None:
        self.told.append(" ".join(words))
        self._then(self.told[-1])

    def stage(self, what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        self._note(what)

    def expect(self, jobs: Sequence[Job]) -> None:
        self._note("expect", str(len(jobs)))

    def estimate(self, job: Job, frames: int, pixels: int) -> None:
        """Comes when it comes, from a thread of its own."""

    def start(self, job: Job, info: VideoInfo) -> None:
        self._note("start", stem(job.input))

    def frame(self, job: Job, count: int) -> None:
        self._note("frame", stem(job.input), str(count))

    def done(self, job_result: JobOutcome) -> None:
        how = "failed" if job_result.error else "done" if job_result.result else "skipped"
        self._note(how, stem(job_result.job.input))


def stem(name: object) -> str:
    return Path(str(name)).stem


@cache
def clip_of(number: int, frames: int, audio: bool) -> bytes:
    """A clip, made once: encoded anew it may differ in a bit. No two numbers have the same images."""

    def image(index: int, width: int, height: int) -> Pixels:
        return moving_bar(index + 3 * number, width, height)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip.mp4")
        return write_clip(path, times=range(frames), image=image, audio=["eng"] if audio else []).read_bytes()


def fill(folder: Path, names: str, frames: int = FRAMES, audio: bool = False) -> Path:
    """A folder with a clip for each of the names."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names.split()):
        (folder / f"{name}.mp4").write_bytes(clip_of(number, frames, audio))
    return folder


def work_off(
    folder: Path, reporter: Reporter | None = None, stylizer: Inverting | None = None, shared: bool = False, **options: Any
) -> list[JobOutcome]:
    """Paint all of a folder in this process."""
    options = ConvertOptions(**options)  # type: ignore[assignment]
    return run_jobs(plan([str(folder)], ["tiny"]), {"tiny": stylizer or Inverting()}, options, reporter or Notes(), shared)


def results(job_results: Sequence[JobOutcome]) -> list[Result]:
    """Of outcomes that must all have one."""
    assert [job_result.error for job_result in job_results] == [None] * len(job_results)
    return [job_result.result for job_result in job_results if job_result.result is not None]


def stylized(folder: Path) -> list[str]:
    """The stems of the clips that have a painting."""
    return sorted(path.name.split(".")[0] for path in folder.iterdir() if ".tiny." in path.name and path.name[0] != ".")


def hidden_in(folder: Path) -> list[str]:
    """Everything hidden in a tree."""
    return [name for name in listing(folder) if any(part.startswith(".") for part in Path(name).parts)]


def open_in(folder: Path) -> list[str]:
    """Files in `folder` that this process has open, those without a name too."""
    found = []
    for handle in Path("/proc/self/fd").iterdir():
        try:
            found.append(os.readlink(handle))
        except OSError:  # the listing's own
            continue
    return [name for name in found if name.startswith(f"{folder.resolve()}/")]


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Inside, threads may run and files be open or hidden; not after it."""
    before = set(threading.enumerate())
    yield
    assert [thread.name for thread in threading.enumerate() if thread not in before] == []
    assert open_in(folder) == []
    assert hidden_in(folder) == []


def assert_whole(folder: Path, frames: int = FRAMES) -> None:
    """Whatever paintings are there have all their frames."""
    for path in folder.glob("*.tiny.*"):
        assert len(frames_of(path)) == frames, path


class Watched(Conversion):
    """A conversion whose steps are told to `on_step`, such as `opening a`, before they are taken."""

    on_step: Callable[[str], object] = staticmethod(lambda step: None)  # type: ignore[assignment]

    def __init__(self, input: str, *given: Any, **named: Any) -> None:
        self._stem = stem(input)
        Watched.on_step(f"opening {self._stem}")
        super().__init__(input, *given, **named)
        Watched.on_step(f"opened {self._stem}")

    def publish(self) -> Result:
        Watched.on_step(f"publishing {self._stem}")
        return super().publish()

    def close(self) -> None:
        super().close()
        Watched.on_step(f"closed {self._stem}")


@pytest.fixture
def on_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], object]], None]:
    """Says who is told of the steps of conversions."""
    monkeypatch.setattr("vidstyle.batch.runner.Conversion", Watched)
    return lambda told: monkeypatch.setattr(Watched, "on_step", staticmethod(told))


@pytest.fixture
def handlers() -> Iterator[None]:
    """What signals did before is what they do after the test."""
    before = [(number, signal.getsignal(number)) for number in STOPPED]
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.fixture
def command_line(handlers: None) -> Iterator[Callable[..., int]]:
    """Runs the command line in this process, where it can be watched."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield lambda *args: run_command_line([*map(str, args)])
    root.handlers[:] = before[0]
    root.setLevel(before[1])


@pytest.fixture(scope="module")
def worker() -> Iterator[CommandRunner]:
    one = CommandRunner()
    yield one
    one.close()


@pytest.fixture
def run(worker: CommandRunner, tmp_path: Path) -> Callable[..., RunResult]:
    """Runs the command line as a user does, in the folder of the test."""

    def run(*args: object, code: int = DONE, style: str = "tiny") -> RunResult:
        job_result = worker.run(*args, "--style", style, cwd=tmp_path)
        assert job_result.code == code, job_result
        assert "Traceback" not in job_result.stderr
        return job_result

    return run


class Run:
    """A run in the background, and the events that it has told so far."""

    def __init__(self, log: Path, folder: Path, *args: object) -> None:
        self._log = log
        with log.open("w") as stderr:
            self.process = start(*args, "--progress", "json", cwd=folder, stderr=stderr)

    def events(self) -> list[dict[str, Any]]:
        text = self._log.read_text()
        return events(text[: text.rfind("\n") + 1])

    def done(self, status: str = "done") -> list[str]:
        """The stems of the files that are over, in this way."""
        return [stem(e["input"]) for e in self.events() if e["event"] == "file_done" and e["status"] == status]

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(condition, self.process, f"{what}; it said: {self._log.read_text()}")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """How it ended, by itself."""
        job_result = finish(self.process)
        assert job_result.code is not None, self._log.read_text()
        assert "Traceback" not in self._log.read_text()
        return job_result.code


@pytest.fixture
def launch(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts runs in the folder of the test; none outlives it."""
    logs, running = tmp_path_factory.mktemp("logs"), list[Run]()

    def launch(*args: object) -> Run:
        running.append(Run(logs / f"{len(running)}.json", tmp_path, *args))
        return running[-1]

    yield launch
    for one in running:
        one.process.kill()
        one.process.communicate()


# --- what becomes of the files


def rows(job_result: RunResult, status: str) -> dict[str, str]:
    """The table's rows of that status: what stands for the file, and why."""
    found: list[list[str]] = []
    for line in job_result.stderr.split(" files: ")[1].splitlines()[1:]:
        words = line.split(maxsplit=2)
        if words and words[0] in ("failed", "damaged"):
            found.append(words)
        elif found and line.startswith(" "):
            found[-1][2] += f" {line.strip()}"
    return {words[1]: words[2] for words in found if words[0] == status}


def test_a_folder_of_all_sorts(run: Callable[..., RunResult], tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a b c d e")
    cv2.imwrite(str(folder / "photo.jpg"), moving_bar(0, 61, 43))
    cv2.imwrite(str(folder / "photo.png"), moving_bar(5, 32, 32))
    (folder / "text.mp4").write_text("no video")
    (folder / "empty.mkv").touch()
    before = snapshot(folder)
    job_result = run("in", "-o", "out", code=DAMAGE)
    assert listing(tmp_path / "out") == sorted([f"{s}.tiny.mp4" for s in "abcde"] + ["photo.tiny.jpg", "photo.tiny.png"])
    for letter in "abcde":
        assert decode(tmp_path / "out" / f"{letter}.tiny.mp4").whole
        assert len(frames_of(tmp_path / "out" / f"{letter}.tiny.mp4")) == FRAMES
    assert cv2.imread(str(tmp_path / "out" / "photo.tiny.jpg")).shape == (43, 61, 3)
    assert snapshot(folder) == before
    assert "9 files: 7 done, 2 failed" in job_result.stderr
    reasons = rows(job_result, "failed")
    assert list(reasons) == ["in/empty.mkv", "in/text.mp4"]
    assert "found an empty file" in reasons["in/empty.mkv"]
    assert "could not read" in reasons["in/text.mp4"]
    assert rows(job_result, "damaged") == {}


def test_nothing_but_bad_files(run: Callable[..., RunResult], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.mp4", "b.png", "c.mkv"):
        (tmp_path / "in" / name).write_text("neither video nor image")
    job_result = run("in", code=FAILED)
    assert listing(tmp_path / "in") == ["a.mp4", "b.png", "c.mkv"]
    assert list(rows(job_result, "failed")) == ["in/a.mp4", "in/b.png", "in/c.mkv"]


def test_a_damaged_file_among_whole_ones(run: Callable[..., RunResult], tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a c")
    (folder / "b.mkv").write_bytes(truncate(clip_bytes("mkv"), 0.6))
    job_result = run("in", code=DAMAGE)
    assert "3 files: 2 done, 1 damaged" in job_result.stderr
    assert list(rows(job_result, "damaged")) == ["in/b.mkv"]
    assert "cut off" in rows(job_result, "damaged")["in/b.mkv"]
    assert decode(folder / "b.tiny.mkv").whole


def test_an_input_that_vanishes_costs_only_itself(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a b c")

    def then(told: str) -> None:
        if told == "expect 3":
            (folder / "b.mp4").unlink()

    job_results = work_off(folder, Notes(then))
    assert [bool(job_result.result) for job_result in job_results] == [True, False, True]
    assert "b.mp4" in str(job_results[1].error)


@pytest.mark.parametrize("length", [240, 248], ids=["for anything longer", "for the output"])
def test_a_name_that_is_too_long_costs_only_itself(run: Callable[..., RunResult], tmp_path: Path, length: int) -> None:
    """A folder allows names of 255 bytes; hidden files beside an output have longer ones than it."""
    folder = fill(tmp_path / "in", "a z")
    long = folder / f"{'n' * length}.mp4"
    shutil.copy(folder / "a.mp4", long)
    fits = length + len(".tiny.mp4") <= 255
    job_result = run("in", code=DONE if fits else DAMAGE)
    assert stylized(folder) == ["a", *(["n" * length] if fits else []), "z"]
    assert hidden_in(folder) == []
    assert fits or "name too long" in job_result.stderr.lower()


def test_a_dry_run_of_a_name_that_is_too_long(run: Callable[..., RunResult], tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a")
    shutil.copy(folder / "a.mp4", folder / f"{'n' * 248}.mp4")
    job_result = run("in", "--dry-run", code=DAMAGE)
    assert "in/a.tiny.mp4" in job_result.stdout
    assert "name too long" in job_result.stderr.lower()


def test_outcomes_come_in_the_order_of_the_jobs_whatever_becomes_of_them(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a c e")
    (folder / "b.mp4").write_text("no video")
    (folder / "d.mp4").write_text("no video")
    notes = Notes()
    shutil.copy(folder / "a.mp4", folder / "f.mp4")
    (folder / "f.tiny.mp4").write_text("not ours")
    job_results = work_off(folder, notes)
    assert [stem(job_result.job.input) for job_result in job_results] == [*"abcdef"]
    over = [told for told in notes.told if told.split()[0] in ("done", "failed", "skipped")]
    assert over == ["done a", "failed b", "done c", "failed d", "done e", "failed f"]


# --- a second run


def test_what_is_finished_is_skipped(run: Callable[..., RunResult], tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a b c")
    cv2.imwrite(str(folder / "photo.jpg"), moving_bar(0, 32, 32))
    run("in")
    before = snapshot(folder)
    job_result = run("in")
    assert snapshot(folder) == before
    assert job_result.stderr.count("is finished already, skipped") == 4
    assert "4 files: 4 skipped" in job_result.stderr


def test_one_file_that_is_finished_is_skipped(run: Callable[..., RunResult], tmp_path: Path) -> None:
    fill(tmp_path, "a")
    run("a.mp4")
    before = snapshot(tmp_path)
    assert "is finished already" in run("a.mp4").stderr
    assert snapshot(tmp_path) == before


def test_a_dry_run_says_what_is_finished(run: Callable[..., RunResult], tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a b")
    run("in/a.mp4")
    lines = run("in", "--dry-run").stdout.splitlines()
    assert "in/a.tiny.mp4: is finished already" in lines[0]
    assert "in/b.mp4 -> in/b.tiny.mp4" in lines[1]
    assert "in/a.mp4 -> in/a.tiny.mp4" in run("in", "--dry-run", "--overwrite").stdout
    assert "already exists" in run("in", "--dry-run", "--skip-existing", "--crf", "40").stdout
    run("in/a.mp4", "--dry-run", "--crf", "40", code=FAILED)
    run("in", "--dry-run", "--crf", "40", code=DAMAGE)
    assert stylized(folder) == ["a"]


def _touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def _copy(path: Path) -> None:
    path.rename(path.with_suffix(".old"))
    shutil.copy(path.with_suffix(".old"), path)


@pytest.mark.parametrize("change", [_touch, _copy])
def test_an_input_that_is_the_same_in_another_guise_is_finished(
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


def test_a_folder_that_was_moved_with_its_paintings_is_finished(run: Callable[..., RunResult], tmp_path: Path) -> None:
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
def test_what_was_made_otherwise_is_told_and_left(run: Callable[..., RunResult], tmp_path: Path, change: Change) -> None:
    fill(tmp_path, "a b")
    run("a.mp4")
    options = change(tmp_path / "a.mp4")
    old = snapshot(tmp_path)
    job_result = run("a.mp4", *options, "-q", code=FAILED)
    assert "made from another input or with other options" in job_result.stderr
    assert "--overwrite" in job_result.stderr
    assert len(job_result.stderr.splitlines()) == 1
    assert snapshot(tmp_path) == old
    assert list(rows(run(".", *options, code=DAMAGE), "failed")) == ["a.mp4"]
    assert stylized(tmp_path) == ["a", "b"]
    assert {name: facts for name, facts in snapshot(tmp_path).items() if name != "b.tiny.mp4"} == old


def test_what_another_model_of_the_same_name_made_is_told_and_left(
    run: Callable[..., RunResult], tmp_path: Path, styles: Path
) -> None:
    folder = fill(tmp_path / "in", "a")
    shutil.copy(styles / "tiny.onnx", tmp_path / "model.onnx")
    run("in", style="./model.onnx")
    before = snapshot(folder)
    assert "is finished already" in run("in", style="./model.onnx").stderr
    shutil.copy(styles / "slow.onnx", tmp_path / "model.onnx")
    job_result = run("in", style="./model.onnx", code=FAILED)
    assert "with other options" in job_result.stderr
    assert snapshot(folder) == before


@pytest.mark.parametrize("change", CHANGES)
def test_overwrite_replaces_and_skip_existing_leaves(run: Callable[..., RunResult], tmp_path: Path, change: Change) -> None:
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
def test_what_is_not_ours_is_told_and_left(run: Callable[..., RunResult], tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = fill(tmp_path / "in", "a b c")
    make(folder / "b.tiny.mp4")
    status, before = os.lstat(folder / "b.tiny.mp4"), snapshot(folder)
    job_result = run("in", code=DAMAGE)
    assert list(rows(job_result, "failed")) == ["in/b.mp4"]
    assert "in/b.tiny.mp4" in rows(job_result, "failed")["in/b.mp4"]
    after = os.lstat(folder / "b.tiny.mp4")
    assert (after.st_ino, after.st_mode, after.st_mtime_ns) == (status.st_ino, status.st_mode, status.st_mtime_ns)
    assert {name: facts for name, facts in snapshot(folder).items() if name[0] not in "ac" or name in before} == before
    assert stylized(folder) == ["a", "b", "c"]
    assert hidden_in(folder) == []


# --- one net for all


def test_a_net_is_loaded_once_for_all_files_of_a_style(
    command_line: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    class Counted(Inverting):
        def __init__(self, path: Path, *given: Any) -> None:
            super().__init__()
            loaded.append(path.stem)

    monkeypatch.setattr("vidstyle.stylizers.onnx.load_onnx_stylizer", Counted)
    folder = fill(tmp_path / "in", "a b c")
    assert command_line(folder, "--style", "tiny", "--style", "slow", "--style", "tiny", "-q") == DONE
    assert sorted(loaded) == ["slow", "tiny"]
    assert listing(folder) == sorted(f"{letter}{style}.mp4" for letter in "abc" for style in ("", ".tiny", ".slow"))


def test_each_painting_is_in_its_own_style(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a b")
    jobs = plan([str(folder)], ["tiny", "slow"])
    tiny, slow = Inverting(), Inverting()
    results(run_jobs(jobs, {"tiny": tiny, "slow": slow}, ConvertOptions(), Notes()))
    assert (tiny.stylized, slow.stylized) == (2 * FRAMES, 2 * FRAMES)
    again = run_jobs(jobs, {"tiny": tiny, "slow": slow}, ConvertOptions(), Notes())
    assert [job_result.skipped for job_result in again] == [FINISHED] * 4


def test_a_run_on_a_folder_paints_as_a_run_on_each_file(run: Callable[..., RunResult], tmp_path: Path) -> None:
    fill(tmp_path / "in", "a b", frames=12, audio=True)
    run("in", "-o", "together/")
    for letter in "ab":
        run(f"in/{letter}.mp4", "-o", "apart/")
        assert_same(tmp_path / "together" / f"{letter}.tiny.mp4", content_of(tmp_path / "apart" / f"{letter}.tiny.mp4"))


# --- one file beside the next


class Moments:
    """What has happened so far, for others to wait for."""

    def __init__(self) -> None:
        self._state, self._seen = threading.Condition(), set[str]()

    def come(self, what: str) -> None:
        with self._state:
            self._seen.add(what)
            self._state.notify_all()

    def await_(self, what: str) -> None:
        with self._state:
            assert self._state.wait_for(lambda: what in self._seen, PATIENCE), f"waited in vain for: {what}"


def test_the_next_input_is_opened_while_one_is_stylized(
    on_step: Callable[[Callable[[str], object]], None], tmp_path: Path
) -> None:
    moments = Moments()
    on_step(moments.come)
    stylizer = Inverting(lambda number: moments.await_({1: "opened b", FRAMES + 1: "opened c"}.get(number, "opened a")))
    results(work_off(fill(tmp_path / "in", "a b c"), stylizer=stylizer))


def test_an_output_is_verified_and_named_while_the_next_is_stylized(
    on_step: Callable[[Callable[[str], object]], None], tmp_path: Path
) -> None:
    moments, folder = Moments(), fill(tmp_path / "in", "a b c")

    def step(what: str) -> None:
        if what in ("publishing a", "publishing b"):
            moments.await_({"publishing a": "frame b 2", "publishing b": "frame c 2"}[what])

    on_step(step)
    results(work_off(folder, Notes(moments.come)))
    assert stylized(folder) == [*"abc"]


def test_at_most_three_files_are_open(on_step: Callable[[Callable[[str], object]], None], tmp_path: Path) -> None:
    """One is published, one stylized, one is there to be next."""
    names = "abcdefgh"
    moments, lock, open_now, most = Moments(), threading.Lock(), set[str](), list[int]()

    def step(what: str) -> None:
        kind, name = what.split()
        with lock:
            if kind == "opening":
                open_now.add(name)
                most.append(len(open_now))
            elif kind == "closed":
                open_now.discard(name)
        moments.come(what)
        if kind == "publishing" and name < "g":  # as slow as can be, without holding up everything
            moments.await_(f"opened {chr(ord(name) + 2)}")

    on_step(step)
    results(work_off(fill(tmp_path / "in", " ".join(names)), Notes(moments.come)))
    assert max(most) == 3
    assert open_now == set()


# --- nothing is left, however it ends


def test_nothing_is_left_after_success(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a b c d")
    with nothing_left(folder):
        results(work_off(folder))
        assert [job_result.skipped for job_result in work_off(folder)] == [FINISHED] * 4
    assert_whole(folder)


@pytest.mark.parametrize("broken", ["a", "b", "d", "a b", "c d", "a b c d"])
def test_nothing_is_left_after_bad_inputs(tmp_path: Path, broken: str) -> None:
    folder = fill(tmp_path / "in", "a b c d")
    for name in broken.split():
        (folder / f"{name}.mp4").write_bytes((folder / f"{name}.mp4").read_bytes()[:600])
    with nothing_left(folder):
        job_results = work_off(folder)
    assert [stem(job_result.job.input) for job_result in job_results if job_result.error] == broken.split()
    assert stylized(folder) == sorted(set("abcd") - set(broken.split()))


def test_nothing_is_left_after_a_model_fails(tmp_path: Path) -> None:
    """At any image; it costs the file that it is of."""
    for number in range(1, 3 * FRAMES + 1):
        folder = fill(tmp_path / f"{number}", "a b c")

        def fail(stylized: int, number: int = number) -> None:
            if stylized == number:
                raise StyleError("the net does not like this image")

        with nothing_left(folder):
            job_results = work_off(folder, stylizer=Inverting(fail))
        lost = [stem(job_result.job.input) for job_result in job_results if job_result.error]
        assert len(lost) == 1
        assert stylized(folder) == sorted({*"abc"} - {*lost})
        assert_whole(folder)


def test_nothing_is_left_after_a_mistake_in_the_program(tmp_path: Path) -> None:
    for number in range(1, 3 * FRAMES + 1, 2):
        folder = fill(tmp_path / f"{number}", "a b c")

        def fail(stylized: int, number: int = number) -> None:
            if stylized == number:
                raise ZeroDivisionError

        with nothing_left(folder), pytest.raises(ZeroDivisionError):
            work_off(folder, stylizer=Inverting(fail))
        assert_whole(folder)


@pytest.mark.parametrize("when", ["opening", "publishing"])
@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_nothing_is_left_after_a_mistake_beside_the_painting(
    on_step: Callable[[Callable[[str], object]], None], tmp_path: Path, when: str, name: str
) -> None:
    folder = fill(tmp_path / "in", "a b c")

    def step(what: str) -> None:
        if what == f"{when} {name}":
            raise ZeroDivisionError

    on_step(step)
    with nothing_left(folder), pytest.raises(ZeroDivisionError):
        work_off(folder)
    assert_whole(folder)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_nothing_is_left_after_the_disk_was_full_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    folder = fill(tmp_path / "in", "a b c")

    def full(path: Path) -> None:
        if f".{name}.tiny." in path.name:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("vidstyle.sinks.publish.fsync", full)
    with nothing_left(folder):
        job_results = work_off(folder)
    assert [type(job_result.error) for job_result in job_results if job_result.error] == [DiskError]
    assert stylized(folder) == sorted({*"abc"} - {name})


@pytest.mark.parametrize(("names", "code"), [("a b c", DAMAGE), ("b", DISK), ("b d", FAILED)])
def test_nothing_is_left_after_the_disk_was_full(tmp_path: Path, names: str, code: int) -> None:
    fill(tmp_path, "a c")
    for name in ("b", "d"):
        write_clip(tmp_path / f"{name}.mp4", times=range(48), image=noise)
    job_result = run_limited(
        *(f"{n}.mp4" for n in names.split()), "--style", "tiny", "-o", "out/", cwd=tmp_path, file_size=30_000
    )
    assert job_result.code == code, job_result
    assert "no space left" in job_result.stderr
    assert "Traceback" not in job_result.stderr
    assert listing(tmp_path / "out") == [f"{name}.tiny.mp4" for name in names.split() if name in "ac"]


def _without_root() -> None:
    """What is forbidden is forbidden to root too, who runs tests in containers."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; whoever may not has them not


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
def test_a_folder_that_is_read_only(tmp_path: Path, inputs: list[str], code: int) -> None:
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
    assert stylized(tmp_path / "mine") == (["c"] if "mine" in inputs else [])


def test_an_output_folder_that_cannot_be_made(run: Callable[..., RunResult], tmp_path: Path) -> None:
    fill(tmp_path / "in", "a b")
    (tmp_path / "out").write_text("precious")
    for output in ("out/{stem}{ext}", "out/deeper/{stem}{ext}"):
        run("in", "-o", output, code=FAILED)
    run("in", "-o", "/proc/none/{stem}{ext}", code=FAILED)
    assert (tmp_path / "out").read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


def test_nothing_is_left_after_an_interruption_at_any_point(tmp_path: Path) -> None:
    """Whatever is there then is whole, and the next run does the rest and no more."""
    expected = fill(tmp_path / "expected", "a b c")
    undisturbed = Notes()
    results(work_off(expected, undisturbed))
    for number in range(1, len(undisturbed.told) + 1):
        folder = fill(tmp_path / f"{number}", "a b c")
        calls = count(1)

        def stop(told: str, number: int = number, calls: Iterator[int] = calls) -> None:
            if next(calls) == number:
                raise KeyboardInterrupt

        with nothing_left(folder), pytest.raises(KeyboardInterrupt):
            work_off(folder, Notes(stop))
        assert_whole(folder)
        before, finished = snapshot(folder), stylized(folder)
        with nothing_left(folder):
            job_results = work_off(folder)
        assert [stem(job_result.job.input) for job_result in job_results if job_result.skipped == FINISHED] == finished
        assert {name: snapshot(folder)[name] for name in before} == before
        for letter in "abc":
            assert (rgb_of(folder / f"{letter}.tiny.mp4") == rgb_of(expected / f"{letter}.tiny.mp4")).all()


@pytest.mark.usefixtures("handlers")
def test_a_signal_lets_the_frame_in_flight_be_finished(tmp_path: Path) -> None:
    """Whichever image is stylized when it comes, from a thread in the middle of it."""
    for number in range(1, 3 * FRAMES + 1):
        folder = fill(tmp_path / f"{number}", "a b c")
        signals, notes, told = Signals(), Notes(), list[int]()

        def kill(stylized: int, number: int = number, notes: Notes = notes, told: list[int] = told) -> None:
            if stylized == number:
                told.append(len(notes.told))
                os.kill(os.getpid(), signal.SIGINT)

        with nothing_left(folder), pytest.raises(KeyboardInterrupt), signals.held():
            work_off(folder, InterruptibleReporter(notes, signals), Inverting(kill))
        assert len(notes.told) > told[0]
        assert notes.told[-1].split()[0] in ("frame", "done")
        assert_whole(folder)


# --- several runs side by side


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidstyle.batch.runner.WAIT_SECONDS", 0.01)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("other", ["finishes", "gives up"])
def test_what_another_run_is_at_is_left_to_it(tmp_path: Path, other: str) -> None:
    elsewhere = fill(tmp_path / "elsewhere", "a b c")
    results(work_off(elsewhere))
    folder = fill(tmp_path / "in", "a b c")
    claim = Claim(folder / "b.tiny.mp4")

    def then(told: str) -> None:
        if "another run" in told and notes.told.count(told) == 3:
            assert stylized(folder) == ["a", "c"]
            if other == "finishes":
                shutil.copy(elsewhere / "b.tiny.mp4", folder)
            claim.close()

    notes = Notes(then)
    with nothing_left(folder):
        job_results = work_off(folder, notes)
    assert [job_result.skipped for job_result in job_results] == ["", FINISHED if other == "finishes" else "", ""]
    assert "frame b 1" not in notes.told or other == "gives up"
    assert stylized(folder) == [*"abc"]


@pytest.mark.usefixtures("impatient")
def test_waiting_for_another_run_can_be_interrupted(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a b c")

    def stop(told: str) -> None:
        if "another run" in told:
            raise KeyboardInterrupt

    claim = Claim(folder / "b.tiny.mp4")
    try:
        with pytest.raises(KeyboardInterrupt):
            work_off(folder, Notes(stop))
        assert hidden_in(folder) == [claim_path(Path("b.tiny.mp4")).name]
    finally:
        claim.close()
    assert stylized(folder) == ["a", "c"]


@pytest.mark.parametrize("finished", [False, True])
def test_a_claim_that_nobody_holds_is_taken_over(tmp_path: Path, finished: bool) -> None:
    """Of a run that was killed; at the very end perhaps, when the output had its name already."""
    folder = fill(tmp_path / "in", "a b")
    if finished:
        results(work_off(folder))
    claim_path(folder / "b.tiny.mp4").touch()
    with nothing_left(folder):
        job_results = work_off(folder)
    assert [job_result.skipped for job_result in job_results] == [FINISHED if finished else ""] * 2
    assert stylized(folder) == ["a", "b"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP], ids=["no lock", "not supported"])
def test_where_files_cannot_be_locked_there_are_no_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*given: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    folder = fill(tmp_path / "in", "a b c")
    with nothing_left(folder):
        results(work_off(folder))
    assert stylized(folder) == [*"abc"]


NAMES = "a b c d e f g h"


def of(folder: Path, what: str) -> list[str]:
    """The stems of the outputs of which such a hidden file is there: `claim` or `part.mp4`."""
    return sorted({name.split(".")[1] for name in hidden_in(folder) if name.endswith(f".{what}")})


def two_at_work(launch: Callable[..., Run], folder: Path) -> tuple[Run, Run]:
    """Two runs on one folder, the first of which stands still while it is at some file."""
    fill(folder, NAMES, frames=12)
    first = launch("in", "--style", "tiny")
    first.wait_until(lambda: of(folder, "part.mp4") != [], "a file being stylized")
    first.signal(signal.SIGSTOP)
    theirs = of(folder, "claim")
    second = launch("in", "--style", "tiny")
    second.wait_until(lambda: second.done() != [] or any(e["event"] == "stage" for e in second.events()), "its first file")
    assert not {*second.done()} & {*theirs}
    return first, second


def test_two_runs_share_the_work(launch: Callable[..., Run], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    first, second = two_at_work(launch, folder)
    first.signal(signal.SIGCONT)
    assert (first.end(), second.end()) == (DONE, DONE)
    assert sorted(first.done() + second.done()) == NAMES.split()
    for one in (first, second):
        assert sorted(one.done() + one.done("skipped")) == NAMES.split()
        [summary] = [e for e in one.events() if e["event"] == "summary"]
        assert (summary["done"], summary["skipped"], summary["failed"]) == (len(one.done()), 8 - len(one.done()), 0)
    assert stylized(folder) == NAMES.split()
    assert all(decode(folder / f"{name}.tiny.mp4").whole for name in NAMES.split())
    assert hidden_in(folder) == []


def test_what_a_killed_run_was_at_is_taken_over(launch: Callable[..., Run], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    first, second = two_at_work(launch, folder)
    second.wait_until(lambda: any("another run" in e.get("stage", "") for e in second.events()), "waiting for the first")
    finished, theirs = snapshot(folder), of(folder, "claim")
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


def test_whoever_waits_for_another_run_can_be_stopped(launch: Callable[..., Run], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    first, second = two_at_work(launch, folder)
    second.wait_until(lambda: any("another run" in e.get("stage", "") for e in second.events()), "waiting for the first")
    before = hidden_in(folder)
    second.signal(signal.SIGINT)
    assert second.end() == STOPPED[signal.SIGINT]
    assert hidden_in(folder) == before
    first.signal(signal.SIGCONT)
    assert first.end() == DONE
    assert sorted(first.done() + second.done()) == NAMES.split()
    assert hidden_in(folder) == []


# --- killed or stopped, and started again


def segments(folder: Path, name: str) -> dict[str, tuple[int, bytes]]:
    """The finished segments of an output in the making: those that its manifest lists."""
    work = folder / f".{name}.resume"
    try:
        listed = json.loads((work / "manifest.json").read_text())["segments"].values()
        return {s["file"]: ((work / s["file"]).stat().st_mtime_ns, (work / s["file"]).read_bytes()) for s in listed}
    except FileNotFoundError:
        return {}


def test_a_killed_run_goes_on_with_the_file_that_it_was_at(launch: Callable[..., Run], tmp_path: Path) -> None:
    for folder in (tmp_path / "undisturbed", tmp_path / "in"):
        fill(folder, "a z", frames=12)
    video = write_clip(tmp_path / "in" / "video.mp4", times=range(60), time_base=Fraction(1), audio=["eng"])
    shutil.copy(video, tmp_path / "undisturbed")
    assert launch("undisturbed", "--style", "slow").end() == DONE

    folder, name = tmp_path / "in", "video.slow.mp4"
    kept: dict[str, tuple[int, bytes]] = {}
    for number in (1, 2):  # of three
        one = launch("in", "--style", "slow")
        one.wait_until(lambda number=number: len(segments(folder, name)) == number, "a finished segment")
        one.signal(signal.SIGKILL)
        finish(one.process)
        assert not (folder / name).exists()
        now = segments(folder, name)
        assert {file: now.get(file) for file in kept} == kept
        kept, finished = now, snapshot(folder)["a.slow.mp4"]

    last = launch("in", "--style", "slow")
    assert last.end() == DONE
    assert (last.done("skipped"), last.done()) == (["a"], ["video", "z"])
    assert snapshot(folder)["a.slow.mp4"] == finished
    assert hidden_in(folder) == []
    for clip in ("a", "video", "z"):
        assert_same(folder / f"{clip}.slow.mp4", content_of(tmp_path / "undisturbed" / f"{clip}.slow.mp4"))


def test_frames_of_a_long_video_are_not_stylized_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidstyle.conversion.convert.LONG_SECONDS", 2.0)
    monkeypatch.setattr("vidstyle.sinks.segments.SEGMENT_SECONDS", 1)
    folder = fill(tmp_path / "in", "a", frames=12)
    write_clip(folder / "video.mp4", times=range(60))

    def stop(told: str) -> None:
        if told == "frame video 50":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work_off(folder, Notes(stop))
    assert [name for name in hidden_in(folder) if "/" not in name] == [".video.tiny.mp4.resume"]
    stylizer, notes = Inverting(), Notes()
    with nothing_left(folder):
        results(work_off(folder, notes, stylizer))
    assert notes.told[1:4] == ["skipped a", "start video", "frame video 48"]
    assert stylizer.stylized == 60 - 48
    assert len(frames_of(folder / "video.tiny.mp4")) == 60


def test_a_short_video_has_no_segments(tmp_path: Path) -> None:
    """They would cost more than they save."""
    folder, seen = fill(tmp_path / "in", "a b", frames=30), set[str]()
    results(work_off(folder, Notes(lambda told: seen.update(hidden_in(folder)))))
    assert seen
    assert not any(".resume" in name for name in seen)


@pytest.mark.parametrize("number", STOPPED, ids=lambda number: number.name)
def test_a_stopped_run_is_completed_by_the_next(launch: Callable[..., Run], tmp_path: Path, number: signal.Signals) -> None:
    folder = fill(tmp_path / "in", "a", frames=4)
    fill(folder, "b c", frames=400)
    one = launch("in", "--style", "slow")
    one.wait_until(lambda: any(e["event"] == "start" and stem(e["input"]) == "b" for e in one.events()), "the second file")
    one.signal(number)
    assert one.end() == STOPPED[number]
    assert one.events()[-1] == {"v": 1, "event": "exit", "code": STOPPED[number]}
    assert listing(folder) == ["a.mp4", "a.slow.mp4", "b.mp4", "c.mp4"]
    finished = snapshot(folder)
    for name in ("b", "c"):  # shorter, for the test's sake
        fill(folder, name)
    another = launch("in", "--style", "slow")
    assert another.end() == DONE
    assert (another.done("skipped"), another.done()) == (["a"], ["b", "c"])
    assert snapshot(folder)["a.slow.mp4"] == finished["a.slow.mp4"]
    assert hidden_in(folder) == []


# --- events


def test_events_tell_all_of_a_run(
    command_line: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidstyle.cli.reporters.JSON_EVERY_SECONDS", 0.0)
    folder = fill(tmp_path / "in", "a c e")
    assert command_line(folder / "c.mp4", "--style", "tiny", "-q") == DONE
    (folder / "b.mp4").write_text("no video")
    (folder / "d.mkv").write_bytes(truncate(clip_bytes("mkv"), 0.6))
    (folder / "e.tiny.mp4").write_text("not ours")
    capfd.readouterr()
    assert command_line(folder, "--style", "tiny", "--progress", "json") == DAMAGE
    out, err = capfd.readouterr()
    assert out == ""
    found = events(err)
    assert {event["v"] for event in found} == {1}
    assert found[0] == {"v": 1, "event": "expect", "files": 5}
    statuses = {stem(e["input"]): e["status"] for e in found if e["event"] == "file_done"}
    assert statuses == {"a": "done", "b": "failed", "c": "skipped", "d": "damaged", "e": "failed"}
    assert sum(e["event"] == "file_done" for e in found) == 5
    assert all(e["output"] == str(folder / f"{stem(e['input'])}.tiny{Path(e['input']).suffix}") for e in found if "output" in e)
    for name in ("a", "d"):
        kinds = [e["event"] for e in found if stem(e.get("input", "")) == name and e["event"] != "warning"]
        assert kinds[0] == "start"
        assert kinds[-1] == "file_done"
        assert set(kinds[1:-1]) == {"progress"}
    progress = [e for e in found if e["event"] == "progress"]
    assert [e["frame"] for e in progress if stem(e["input"]) == "a"] == [*range(1, FRAMES + 1)]
    assert {e["files"] for e in progress} == {5}
    by_kind = {e["event"]: e for e in found}
    done = next(e for e in found if e["event"] == "file_done" and stem(e["input"]) == "a")
    assert done["frames"] == FRAMES
    assert next(e for e in found if e["event"] == "file_done" and stem(e["input"]) == "c")["reason"] == FINISHED
    assert "could not read" in next(e for e in found if e["event"] == "file_done" and stem(e["input"]) == "b")["error"]
    summary = by_kind["summary"]
    assert {k: summary[k] for k in ("done", "damaged", "skipped", "failed")} == {
        "done": 1, "damaged": 1, "skipped": 1, "failed": 2,
    }  # fmt: skip
    assert [(stem(o["input"]), o["status"]) for o in summary["others"]] == [
        ("b", "failed"), ("c", "skipped"), ("d", "damaged"), ("e", "failed"),
    ]  # fmt: skip
    assert [e["event"] for e in found[-2:]] == ["summary", "exit"]
    assert found[-1]["code"] == DAMAGE


# --- watching


def test_what_arrives_in_a_watched_folder(launch: Callable[..., Run], tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "first")
    others = fill(tmp_path / "others", "slow quick")
    one = launch("in", "--style", "tiny", "--watch")
    one.wait_until(lambda: one.done() == ["first"], "what was there already")

    # A copy that takes longer than the run takes to find, wait for and paint another file.
    data = (others / "slow.mp4").read_bytes()
    written = 0
    with (folder / "slow.mp4").open("wb", buffering=0) as file:

        def write_on() -> bool:
            nonlocal written
            if written < len(data) // 2:
                written += file.write(data[written : written + 1])
                threading.Event().wait(0.05)
            return "quick" in one.done()

        write_on()
        shutil.copy(others / "quick.mp4", folder)
        one.wait_until(write_on, "another file")
        assert 0 < written < len(data) // 2, "it did stand still for a while"
        assert one.done() == ["first", "quick"]
        assert "slow" not in " ".join(hidden_in(folder))
        file.write(data[written:])
    one.wait_until(lambda: "slow" in one.done(), "the slow file")
    one.signal(signal.SIGINT)
    assert one.end() == STOPPED[signal.SIGINT]
    over = [(stem(e["input"]), e["status"]) for e in one.events() if e["event"] == "file_done"]
    assert over == [(name, "done") for name in ("first", "quick", "slow")]
    assert listing(folder) == sorted(f"{name}{suffix}" for name, _ in over for suffix in (".mp4", ".tiny.mp4"))
    assert_whole(folder)


# --- lists, templates, trees


def test_a_list_from_another_program(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a b c")
    (folder / "c.mp4").write_text("no video")
    names = "# found\nin/a.mp4\n\nin/c.mp4\n"
    done = run_cli("-a", "-", "--style", "tiny", "-o", "out", cwd=tmp_path, input=names)
    assert done.returncode == DAMAGE, done.stderr
    assert listing(tmp_path / "out") == ["a.tiny.mp4"]
    assert "2 files: 1 done, 1 failed" in done.stderr
    again = paint("-a", "-", "-o", "out", cwd=tmp_path, input="in/a.mp4\nin/b.mp4\n")
    assert "2 files: 1 done, 1 skipped" in again.stderr
    assert listing(tmp_path / "out") == ["a.tiny.mp4", "b.tiny.mp4"]


def test_a_list_of_one_is_shared_as_any_other(launch: Callable[..., Run], tmp_path: Path) -> None:
    """Two runs that work off lists may meet at a file."""
    fill(tmp_path, "a")
    (tmp_path / "list.txt").write_text("a.mp4\n")
    claim = Claim(tmp_path / "a.tiny.mp4")
    one = launch("--list", "list.txt", "--style", "tiny")
    one.wait_until(lambda: any("another run" in e.get("stage", "") for e in one.events()), "waiting for another run")
    claim.close()
    assert one.end() == DONE
    assert stylized(tmp_path) == ["a"]


def tree(folder: Path) -> Path:
    """A tree of clips with names that come again."""
    for place in ("", "day1", "day2/late"):
        (folder / place).mkdir(parents=True, exist_ok=True)
        fill(folder / place, "a")
    return folder


def test_a_tree_is_mirrored(run: Callable[..., RunResult], tmp_path: Path) -> None:
    tree(tmp_path / "in")
    before = snapshot(tmp_path / "in")
    run("in", "-r", "-o", "out/")
    wanted = ["a.tiny.mp4", "day1", "day1/a.tiny.mp4", "day2", "day2/late", "day2/late/a.tiny.mp4"]
    assert listing(tmp_path / "out") == wanted
    assert snapshot(tmp_path / "in") == before
    (tmp_path / "out" / "day1" / "a.tiny.mp4").unlink()
    assert "3 files: 1 done, 2 skipped" in run("in", "-r", "-o", "out/").stderr
    assert listing(tmp_path / "out") == wanted


def test_a_template_for_styles_and_folders(run: Callable[..., RunResult], tmp_path: Path) -> None:
    tree(tmp_path / "in")
    given = ("in", "--recursive", "--style", "slow", "-o", "out/{style}/{folder}/stylized {name}")
    run(*given)
    outputs = [name for name in listing(tmp_path / "out") if name.endswith(".mp4")]
    assert outputs == [f"{s}/{f}stylized a.mp4" for s in ("slow", "tiny") for f in ("day1/", "day2/late/", "")]
    assert all(decode(tmp_path / "out" / name).whole for name in outputs)
    assert hidden_in(tmp_path) == []
    before = snapshot(tmp_path)
    assert "6 files: 6 skipped" in run(*given).stderr
    assert snapshot(tmp_path) == before
