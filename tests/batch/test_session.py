"""A session converts, watches and describes; it neither prints nor exits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.helpers import listing, write_clip
from vidstyle.batch import Session
from vidstyle.batch.session import SilentReporter
from vidstyle.conversion.interrupts import NoInterrupts
from vidstyle.conversion.job import Job, JobResult
from vidstyle.core.errors import InputError, OutputExistsError, StyleError, UsageError
from vidstyle.core.options import BatchOptions, ConvertOptions, EncodeOptions, Selection


class Notes(SilentReporter):
    """Remembers what is reported."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.frames: list[tuple[Job, int]] = []
        self.results: list[JobResult] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def frame(self, job: Job, count: int) -> None:
        self.frames.append((job, count))

    def done(self, job_result: JobResult) -> None:
        self.results.append(job_result)


class Interrupt:
    """Requests a stop at the check number `at`; remembers whether it had to wait for each check."""

    def __init__(self, at: int) -> None:
        self._at, self._held = at, False
        self.held_at_checks: list[bool] = []

    def check(self) -> None:
        self.held_at_checks.append(self._held)
        if len(self.held_at_checks) >= self._at:
            raise KeyboardInterrupt

    def hold(self) -> None:
        self._held = True


@pytest.fixture
def folder(clip: Path, styles: Path) -> Path:
    """A folder with a video, an unreadable video and a subfolder with a video."""
    (clip.parent / "broken.mp4").write_text("no video")
    (clip.parent / "sub").mkdir()
    write_clip(clip.parent / "sub" / "b.mkv", times=range(4))
    return clip.parent


def test_results_are_in_the_order_of_inputs_and_styles(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    notes = Notes()
    batch = BatchOptions(str(folder / "out"), Selection(recursive=True))
    results = Session([str(folder)], ["tiny", "slow"], ConvertOptions(), batch, notes).run()
    assert [(Path(r.job.input).name, r.job.style, type(r.error)) for r in results] == [
        ("broken.mp4", "tiny", InputError),
        ("broken.mp4", "slow", InputError),
        ("in.mp4", "tiny", type(None)),
        ("in.mp4", "slow", type(None)),
        ("b.mkv", "tiny", type(None)),
        ("b.mkv", "slow", type(None)),
    ]
    assert [(job.style, count) for job, count in notes.frames if job.input.endswith("b.mkv")] == [
        (style, n) for style in ("tiny", "slow") for n in range(1, 5)
    ]
    assert {id(result) for result in notes.results} == {id(result) for result in results}
    assert [note.split(":")[0] for note in notes.notes] == ["style tiny", "style slow"]
    assert capfd.readouterr() == ("", "")


def test_lists_add_inputs(folder: Path) -> None:
    (folder / "list.txt").write_text(f"{folder / 'in.mp4'}\n")
    [result] = Session([], ["tiny"], batch=BatchOptions(lists=(str(folder / "list.txt"),))).run()
    assert result.result is not None
    (folder / "list.txt").write_text("# nothing\n")
    with pytest.raises(UsageError, match="expected inputs in"):
        Session([], ["tiny"], batch=BatchOptions(lists=(str(folder / "list.txt"),)))


def test_a_description_says_what_a_run_would_do(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Session([str(folder / "sub")], ["tiny"]).run()
    (folder / "in.tiny.mp4").write_text("mine")
    before = listing(folder)
    inputs = [str(folder / name) for name in ("in.mp4", "broken.mp4", "sub/b.mkv")]
    existing, broken, finished = Session(inputs, ["tiny"]).describe()
    assert isinstance(existing.error, OutputExistsError)
    assert isinstance(broken.error, InputError)
    assert finished.error is None
    assert finished.summary.endswith("b.tiny.mkv: is finished already, would be skipped")
    [plain] = Session(inputs[:1], ["tiny"], ConvertOptions(overwrite=True)).describe()
    assert plain.summary == f"{inputs[0]} -> {folder / 'in.tiny.mp4'}: 64x48, 12 frames at 24.00 fps, style tiny"
    assert any("video" in line for line in plain.streams)
    assert listing(folder) == before
    assert capfd.readouterr() == ("", "")


def test_what_fails_for_all_jobs_is_raised_at_once(folder: Path) -> None:
    clip = [str(folder / "in.mp4")]
    with pytest.raises(StyleError, match="nobody"):
        Session(clip, ["nobody"]).describe()
    with pytest.raises(StyleError, match="nobody"):
        Session(clip, ["nobody"]).run()
    with pytest.raises(UsageError, match="crf"):
        Session(clip, ["tiny"], ConvertOptions(encode=EncodeOptions(crf=99))).run()
    with pytest.raises(UsageError, match="--watch"):
        Session(clip, ["tiny"]).watch()
    with pytest.raises(InputError, match="no such file or folder"):
        Session(["none.mp4"], ["tiny"])


def test_an_interrupt_ends_a_run_between_frames_and_leaves_nothing(folder: Path) -> None:
    notes, interrupt, before = Notes(), Interrupt(at=5), listing(folder)
    with pytest.raises(KeyboardInterrupt):
        Session([str(folder / "in.mp4")], ["tiny"], reporter=notes, interrupts=interrupt).run()
    assert len(notes.frames) == 3
    assert interrupt.held_at_checks == [True] * 5  # before the job and after each frame
    assert listing(folder) == before


def test_watching_converts_what_is_there_until_it_is_interrupted(folder: Path) -> None:
    class UntilDone(NoInterrupts):
        def check(self) -> None:
            if len(notes.results) == 2:
                raise KeyboardInterrupt

    notes = Notes()
    with pytest.raises(KeyboardInterrupt):
        Session([str(folder / "in.mp4"), str(folder / "sub")], ["tiny"], reporter=notes, interrupts=UntilDone()).watch()
    assert [result.job.output.name for result in notes.results] == ["in.tiny.mp4", "b.tiny.mkv"]
    assert notes.notes[-1] == f"watching {folder / 'sub'}; Ctrl-C ends it"
