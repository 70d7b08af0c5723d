"""Reports of a run over many files, while it runs and at its end: time left, bars, lines, events and the table."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from tests.support.helpers import events
from vidstyle.cli.eta import ProgressTracker
from vidstyle.cli.progress_bar import BarReporter
from vidstyle.cli.reporters import JsonReporter, LineReporter, QuietReporter
from vidstyle.cli.summary import MAX_ROWS
from vidstyle.conversion.convert import Result
from vidstyle.conversion.job import Job, JobResult
from vidstyle.core.errors import InputError
from vidstyle.core.frames import VideoInfo
from vidstyle.core.text import printable, shortened


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def job(name: str, style: str = "mosaic") -> Job:
    return Job(f"videos/{name}.mp4", Path(f"out/{name}.{style}.mp4"), style)


A, B, C, D = JOBS = [job(name) for name in "abcd"]


def info(frames: int | None, width: int = 10, height: int = 10) -> VideoInfo:
    return VideoInfo(width, height, frame_count_estimate=frames)


def done(job: Job, frames: int = 100, damage: Sequence[str] = (), seconds: float = 2.0) -> JobResult:
    return JobResult(job, Result(job.output, frames, seconds, damage=list(damage)))


def failed(job: Job, why: str = "expected a video stream, got only audio") -> JobResult:
    return JobResult(job, error=InputError(why))


def report_frames(tracker: ProgressTracker, clock: Clock, job: Job, frames: int, fps: float, first: int = 0) -> None:
    """Report one frame after the other."""
    for count in range(first + 1, frames + 1):
        clock.now += 1 / fps
        tracker.frame(job, count)


# Time left and totals


def test_time_left_is_estimated_from_the_pixels_of_all_files(clock: Clock) -> None:
    tracker = ProgressTracker(clock)
    tracker.expect([A, B])
    tracker.estimate(B, 100, 400)
    tracker.start(A, 100, 100)
    report_frames(tracker, clock, A, 50, fps=10)
    total = tracker.total_progress()
    assert (total.files, total.ended, total.frames, total.total) == (2, 0, 50, 200)
    assert total.fps == pytest.approx(10)
    assert total.fraction == pytest.approx(0.1)
    assert total.seconds_left == pytest.approx(5 + 40), "a frame of four times the pixels takes four times as long"


def test_files_of_unknown_length_count_as_the_mean_of_the_others(clock: Clock) -> None:
    tracker = ProgressTracker(clock)
    tracker.expect(JOBS)
    assert tracker.total_progress().total is None
    assert tracker.total_progress().seconds_left is None
    tracker.start(A, 100, 100)
    tracker.estimate(B, 300, 100)
    report_frames(tracker, clock, A, 50, fps=10)
    assert tracker.total_progress().total == 100 + 300 + 200 + 200
    assert tracker.total_progress().seconds_left == pytest.approx(75)


def test_without_any_known_length_the_fraction_is_that_of_the_files(clock: Clock) -> None:
    tracker = ProgressTracker(clock)
    tracker.expect(JOBS)
    tracker.start(A, None, 100)
    report_frames(tracker, clock, A, 50, fps=10)
    assert (tracker.total_progress().frames, tracker.total_progress().total, tracker.total_progress().fraction) == (50, None, 0)
    tracker.skip(A)
    assert tracker.total_progress().fraction == pytest.approx(0.25)


def test_wrong_frame_counts_of_headers_are_corrected(clock: Clock) -> None:
    tracker = ProgressTracker(clock)
    tracker.expect([A, B])
    tracker.start(A, 10, 100)
    report_frames(tracker, clock, A, 30, fps=10)
    assert tracker.total_progress().total == 30 + 10
    tracker.finish(A, 30)
    tracker.start(B, 500, 100)
    tracker.finish(B, 20)
    total = tracker.total_progress()
    assert (total.ended, total.frames, total.total, total.fraction, total.seconds_left) == (2, 50, 50, 1, 0)


def test_skipped_files_do_not_count_for_the_time_left(clock: Clock) -> None:
    tracker = ProgressTracker(clock)
    tracker.expect(JOBS)
    for other in JOBS:
        tracker.estimate(other, 100, 100)
    tracker.skip(A)
    tracker.skip(B)
    tracker.estimate(B, 999, 100)  # the thread that reads headers may be late
    tracker.start(C, 100, 100)
    report_frames(tracker, clock, C, 50, fps=10)
    total = tracker.total_progress()
    assert (total.ended, total.frames, total.total) == (2, 50, 200)
    assert total.seconds_left == pytest.approx(15)


def test_failed_file_adds_no_time_left(clock: Clock) -> None:
    tracker = ProgressTracker(clock)
    tracker.expect([A, B])
    for other in (A, B):
        tracker.start(other, 100, 100)
    report_frames(tracker, clock, A, 50, fps=10)
    tracker.fail(A)
    total = tracker.total_progress()
    assert (total.ended, total.frames, total.total) == (1, 50, 150)
    assert total.seconds_left == pytest.approx(10)


def test_frames_of_an_interrupted_run_do_not_count_for_the_frame_rate(clock: Clock) -> None:
    tracker = ProgressTracker(clock)
    tracker.start(A, 1000, 100)
    tracker.frame(A, 900)
    report_frames(tracker, clock, A, 950, fps=10, first=900)
    assert tracker.total_progress().fraction == pytest.approx(0.95)
    assert tracker.total_progress().seconds_left == pytest.approx(5)
    assert tracker.file_progress(A).seconds_left == pytest.approx(5)


def test_frames_may_be_reported_several_at_a_time(clock: Clock) -> None:
    tracker = ProgressTracker(clock)
    tracker.start(A, 100, 100)
    clock.now += 5
    tracker.frame(A, 50)
    assert tracker.total_progress().seconds_left == pytest.approx(5)


def test_time_left_follows_a_slower_rate(clock: Clock) -> None:
    tracker = ProgressTracker(clock)
    tracker.start(A, 100_000, 100)
    report_frames(tracker, clock, A, 50_000, fps=100)
    assert tracker.total_progress().seconds_left == pytest.approx(500)
    report_frames(tracker, clock, A, 56_000, fps=10, first=50_000)
    left = tracker.total_progress().seconds_left
    assert left is not None
    assert 4000 < left < 4500, "after ten minutes only the new rate counts"


def test_rates_of_concurrent_files_are_added_up(clock: Clock) -> None:
    tracker = ProgressTracker(clock)
    tracker.expect([A, B])
    tracker.start(A, 100, 100)
    tracker.start(B, 100, 100)
    for count in range(1, 51):
        clock.now += 0.1
        tracker.frame(A, count)
        tracker.frame(B, count)
    assert tracker.active_jobs() == [A, B]
    assert tracker.total_progress().fps == pytest.approx(20)
    assert tracker.total_progress().seconds_left == pytest.approx(5)
    tracker.finish(B, 50)
    assert tracker.active_jobs() == [A]


def test_file_may_be_stylized_again(clock: Clock) -> None:
    tracker = ProgressTracker(clock)
    for _ in range(2):
        tracker.expect([A])
        tracker.start(A, 100, 100)
        assert not tracker.all_ended
        report_frames(tracker, clock, A, 100, fps=10)
        tracker.finish(A, 100)
        assert tracker.all_ended
    assert tracker.total_progress().fps == pytest.approx(10)


# Lines


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_line_of_one_file_has_frame_rate_and_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    lines = LineReporter(clock)
    lines.expect([A])
    lines.start(A, info(600))
    for count in range(1, 101):
        clock.now += 0.125
        lines.frame(A, count)
    assert lines_of(capsys) == ["frame 80 of about 600, 8.0 fps, 65 s left"]


def test_line_of_several_files_has_the_file_and_the_total_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    lines = LineReporter(clock)
    lines.expect(JOBS)
    for other in JOBS:
        lines.estimate(other, 10_000, 100)
    lines.start(A, info(100))
    lines.done(failed(A))
    lines.start(B, info(10_000))
    for count in range(1, 101):
        clock.now += 0.125
        lines.frame(B, count)
    assert lines_of(capsys)[1:] == ["file 2 of 4 (b.mosaic.mp4: frame 80 of about 10000), 8.0 fps, 1:02:20 left"]
    lines.start(C, info(10_000))
    clock.now += 10
    lines.frame(B, 101)
    assert "(b.mosaic.mp4: frame 101 of about 10000) and 1 more, " in lines_of(capsys)[0]


def test_many_short_files_do_not_delay_the_lines(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    lines = LineReporter(clock)
    lines.expect(JOBS)
    for other in JOBS:
        lines.start(other, info(2))
        clock.now += 4
        lines.frame(other, 1)
        lines.done(done(other, 2))
    assert sum(line.startswith("file ") for line in lines_of(capsys)) == 1


# The bar


class Screen:
    """A terminal and the bars drawn on it."""

    def __init__(self, clock: Clock, width: int = 100) -> None:
        self._file = io.StringIO()
        console = Console(file=self._file, force_terminal=True, width=width, color_system=None, legacy_windows=False)
        self.bar = BarReporter(clock, console)

    @property
    def sent(self) -> str:
        """Everything that was written to the terminal."""
        return self._file.getvalue()

    def lines(self) -> list[str]:
        """The last lines drawn, without the bars themselves; closes the reporter."""
        self.bar.close(0)
        drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", self.sent)
        return [re.sub(r"[━╸╺ ]+", " ", line).strip() for line in drawn.splitlines() if line.strip()]


@pytest.fixture
def screen(clock: Clock) -> Screen:
    return Screen(clock)


def test_one_file_has_one_bar(clock: Clock, screen: Screen) -> None:
    screen.bar.expect([A])
    screen.bar.start(A, info(600))
    for count in range(1, 101):
        clock.now += 0.125
        screen.bar.frame(A, count)
    assert screen.lines()[-1] == "a.mosaic.mp4 100/600 8.0 fps 0:01:02"


def test_several_files_have_a_total_bar_and_some_bars_of_active_files(clock: Clock, screen: Screen) -> None:
    jobs = [job(f"video{n}") for n in range(10)]
    screen.bar.expect(jobs)
    for other in jobs:
        screen.bar.estimate(other, 1000, 100)
    screen.bar.done(JobResult(jobs[0], skipped="is finished already"))
    for other in jobs[1:8]:
        screen.bar.start(other, info(1000))
    for count in range(1, 101):
        clock.now += 0.125
        screen.bar.frame(jobs[1], count)
    assert screen.lines()[-6:] == [
        "files 1/10 100/9000 8.0 fps 0:18:32",
        "video1.mosaic.mp4 100/1000",
        "video2.mosaic.mp4 0/1000",
        "video3.mosaic.mp4 0/1000",
        "video4.mosaic.mp4 0/1000",
        "and 3 more",
    ]


def test_file_of_unknown_length_has_a_bar_too(clock: Clock, screen: Screen) -> None:
    screen.bar.start(A, info(None))
    clock.now += 1
    screen.bar.frame(A, 1)
    assert screen.lines()[-1] == "a.mosaic.mp4 1 1.0 fps"


def test_bar_of_a_stage_is_replaced_by_that_of_the_frames(clock: Clock, screen: Screen) -> None:
    screen.bar.stage("stylizing keyframe 1 of 2", 3, 40, 90.0)
    screen.bar.start(A, info(10))
    assert screen.lines()[-1] == "a.mosaic.mp4 0/10 0.0 fps -:--:--"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_long_names_leave_room_for_the_numbers(clock: Clock, width: int) -> None:
    screen = Screen(clock, width)
    name = "[bold]" + "長い映画" * 40
    screen.bar.expect([job(name), B])
    screen.bar.start(job(name), info(100_000))
    drawn = screen.lines()[-1]
    assert re.fullmatch(r"\[bold\]長?\S*….*saic.mp4 0/100000", drawn)
    assert cell_len(drawn) <= width


def test_control_characters_in_names_are_escaped(clock: Clock, screen: Screen) -> None:
    evil = job("\x1b]0;gotcha\x07\n\x9b2J\u202e")
    screen.bar.expect([evil, B])
    screen.bar.start(evil, info(10))
    screen.bar.done(failed(evil, f"expected a video: {evil.input}"))
    screen.bar.start(B, info(10))
    screen.bar.done(done(B, damage=[f"cut off: {evil.input}"]))
    screen.bar.summary([failed(evil), done(B, damage=["\x1b[31mcut off"])])
    screen.bar.close(0)
    assert not re.search("\x1b]|\x07|\x9b|\u202e|gotcha\n", screen.sent)
    assert r"\x1b]0;gotcha\x07" in screen.sent


def test_harmless_names_are_shown_unchanged() -> None:
    for name in ("holiday.mp4", "été 2024\u202f.mov", "映画.mkv", "👩‍👧.mp4", ":smile:[red].mp4"):
        assert printable(name) == name
    assert printable("bad\udcff\x85.mp4") == r"bad\udcff\x85.mp4"


def test_shortened_name_keeps_both_ends() -> None:
    assert shortened("holiday.mosaic.mp4", 18) == "holiday.mosaic.mp4"
    assert shortened("a-very-long-holiday.mosaic.mp4", 18) == "a-very-l…osaic.mp4"
    assert cell_len(shortened("映画" * 50, 18)) in (17, 18)


# Events


def test_events_of_several_files_have_the_file_and_the_total_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    json = JsonReporter(clock)
    json.expect(JOBS)
    for other in JOBS:
        json.estimate(other, 100, 100)
    json.done(JobResult(A, skipped="is finished already"))
    json.start(B, info(100))
    json.start(C, info(100))
    clock.now += 1
    json.frame(B, 8)
    json.frame(C, 1)
    found = events(capsys.readouterr().err)
    assert found[0] == {"v": 1, "event": "expect", "files": 4}
    skipped = {"input": A.input, "output": str(A.output), "status": "skipped", "reason": "is finished already"}
    assert found[1] == {"v": 1, "event": "file_done", **skipped}
    facts = [event for event in found if event["event"] == "progress"]
    assert [event["input"] for event in facts] == [B.input, C.input], "every file is reported"
    assert all((event["files_done"], event["files"]) == (1, 4) for event in facts)
    assert [event["seconds_left"] for event in facts] == [11.5, 99.0]
    assert [event["total_seconds_left"] for event in facts] == [36.5, 36.4]


def test_events_of_one_file_have_no_totals(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    json = JsonReporter(clock)
    json.expect([A])
    json.start(A, info(100))
    for count in range(1, 9):
        clock.now += 0.125
        json.frame(A, count)
    progress = [event for event in events(capsys.readouterr().err) if event["event"] == "progress"]
    facts = {"input": A.input, "output": str(A.output), "frames": 100, "fps": 8.0}
    assert progress == [
        {"v": 1, "event": "progress", **facts, "frame": 4, "seconds_left": 12.0},
        {"v": 1, "event": "progress", **facts, "frame": 8, "seconds_left": 11.5},
    ]


# The table at the end


MIXED = [
    done(A, 300),
    done(B, 100, damage=["the video ends early, after 4 s", "2 frames were concealed"]),
    JobResult(C, skipped="is finished already"),
    JobResult(job("e"), skipped="is finished already"),
    failed(D, "expected a video stream, got only audio: videos/d.mp4"),
]


def test_table_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    LineReporter().summary(MIXED)
    assert lines_of(capsys) == [
        "5 files: 1 done, 1 damaged, 2 skipped, 1 failed",
        "400 frames in 0:04, 100.0 fps",
        "2 skipped: is finished already",
        "failed   videos/d.mp4  expected a video stream, got only audio: videos/d.mp4",
        "damaged  videos/b.mp4  the video ends early, after 4 s (and 1 more)",
    ]


def test_time_of_concurrent_files_is_that_of_the_run(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    lines = LineReporter(clock)
    lines.start(A, info(300))
    lines.start(B, info(300))
    clock.now += 10
    job_results = [done(A, 300, seconds=10), done(B, 300, seconds=10)]
    for job_result in job_results:
        lines.done(job_result)
    lines.summary(job_results)
    assert lines_of(capsys)[-2:] == ["2 files: 2 done", "600 frames in 0:10, 60.0 fps"]


def test_table_on_a_terminal(screen: Screen) -> None:
    screen.bar.summary(MIXED)
    assert "2 skipped: is finished already" in screen.sent
    for status, name, why in (("failed", D.input, "got only audio"), ("damaged", B.input, "ends early")):
        assert re.search(f"{status} .*{name} .*{why}", screen.sent)


def test_summary_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    JsonReporter().summary(MIXED)
    (facts,) = events(capsys.readouterr().err)
    assert {"event": "summary", "done": 1, "damaged": 1, "skipped": 2, "failed": 1, "frames": 400}.items() <= facts.items()
    assert [other["status"] for other in facts["others"]] == ["damaged", "skipped", "skipped", "failed"]
    assert facts["others"][-1]["input"] == D.input
    assert facts["others"][-1]["reason"] == "expected a video stream, got only audio: videos/d.mp4"


def test_table_names_the_styles_where_there_are_several(capsys: pytest.CaptureFixture[str]) -> None:
    LineReporter().summary([failed(job("a", "mosaic")), failed(job("a", "candy"))])
    found = capsys.readouterr().err
    assert "videos/a.mp4 (mosaic)" in found
    assert "videos/a.mp4 (candy)" in found


def test_quiet_prints_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    QuietReporter().summary(MIXED)
    assert capsys.readouterr().err == ""
    QuietReporter(quiet=False).summary(MIXED)
    assert "1 failed" in capsys.readouterr().err


def test_long_table_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    LineReporter().summary([failed(job(f"video{n}")) for n in range(MAX_ROWS + 7)])
    found = lines_of(capsys)
    assert found[0] == f"{MAX_ROWS + 7} files: {MAX_ROWS + 7} failed"
    assert len(found) == 1 + MAX_ROWS + 1
    assert found[-1] == "failed  and 7 more"


@pytest.mark.parametrize("name", ["x" * 300, "映画" * 100, "a b\n\x1b[2J"], ids=["long", "wide", "evil"])
def test_long_names_and_reasons_keep_the_table_within_a_log(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    LineReporter().summary([failed(job(name), f"expected something else\n than {name} " * 20), failed(A)])
    found = lines_of(capsys)
    assert max(map(cell_len, found)) <= 100
    assert len(found) < 15
    assert all(line.startswith(("failed ", " " * 9)) for line in found[1:])
    assert "\x1b" not in "".join(found)


@pytest.mark.parametrize(
    ("facts", "line"),
    [(("stylizing keyframe 2 of 9", 30, 300, 90.4), "stylizing keyframe 2 of 9: 30 of 300, about 1:30 left"),
     (("fine-tuning the network", 1, 400, 7322.0), "fine-tuning the network: 1 of 400, about 2:02:02 left"),
     (("looking for cuts", 7, None, None), "looking for cuts: 7")],
)  # fmt: skip
def test_stages_are_lines_in_a_log(capsys: pytest.CaptureFixture[str], facts: tuple[Any, ...], line: str) -> None:
    lines = LineReporter()
    for _ in range(3):
        lines.stage(*facts)
    assert capsys.readouterr().err == f"{line}\n", "one line per interval, not one per step"
