"""Runs on folders by the command line: stopped and resumed, events, watching, lists, templates."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from tests.support.faults import clip_bytes, truncate
from tests.support.folder_runs import (
    FRAMES,
    BackgroundRun,
    Inverting,
    RecordingReporter,
    assert_complete,
    convert_folder,
    fill,
    hidden_in,
    nothing_left,
    output_stems,
    results,
    stem,
)
from tests.support.helpers import events, frames_of, listing, paint, run_cli, write_clip
from tests.support.judge import decode, snapshot
from tests.support.resumable import assert_same, content_of
from tests.support.runs import (
    DAMAGE,
    DONE,
    STOPPED,
    RunResult,
    finish,
)
from vidstyle.batch.claims import FINISHED, Claim

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs signals as on Linux"),
    pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg as a judge"),
]

# --- runs that were killed or stopped


def segments(folder: Path, name: str) -> dict[str, tuple[int, bytes]]:
    """The finished segments of an unfinished output: those that its manifest lists."""
    work = folder / f".{name}.resume"
    try:
        listed = json.loads((work / "manifest.json").read_text())["segments"].values()
        return {s["file"]: ((work / s["file"]).stat().st_mtime_ns, (work / s["file"]).read_bytes()) for s in listed}
    except FileNotFoundError:
        return {}


def test_killed_run_resumes_its_current_file(launch: Callable[..., BackgroundRun], tmp_path: Path) -> None:
    for folder in (tmp_path / "undisturbed", tmp_path / "in"):
        fill(folder, "a z", frames=12)
    video = write_clip(tmp_path / "in" / "video.mp4", times=range(60), time_base=Fraction(1), audio=["eng"])
    shutil.copy(video, tmp_path / "undisturbed")
    assert launch("undisturbed", "--style", "slow").end() == DONE

    folder, name = tmp_path / "in", "video.slow.mp4"
    kept: dict[str, tuple[int, bytes]] = {}
    for number in (1, 2):  # of three
        one = launch("in", "--style", "slow")

        def has_segments(number: int = number) -> bool:
            return len(segments(folder, name)) == number

        one.wait_until(has_segments, "a finished segment")
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


def test_finished_frames_of_a_long_video_are_not_stylized_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidstyle.conversion.convert.LONG_SECONDS", 2.0)
    monkeypatch.setattr("vidstyle.sinks.segments.SEGMENT_SECONDS", 1)
    folder = fill(tmp_path / "in", "a", frames=12)
    write_clip(folder / "video.mp4", times=range(60))

    def stop(entry: str) -> None:
        if entry == "frame video 50":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_folder(folder, RecordingReporter(stop))
    assert [name for name in hidden_in(folder) if "/" not in name] == [".video.tiny.mp4.resume"]
    stylizer, reporter = Inverting(), RecordingReporter()
    with nothing_left(folder):
        results(convert_folder(folder, reporter, stylizer))
    assert reporter.log[1:4] == ["skipped a", "start video", "frame video 48"]
    assert stylizer.stylized == 60 - 48
    assert len(frames_of(folder / "video.tiny.mp4")) == 60


def test_short_video_has_no_segments(tmp_path: Path) -> None:
    """Segments would cost more time than they save."""
    folder, seen = fill(tmp_path / "in", "a b", frames=30), set[str]()
    results(convert_folder(folder, RecordingReporter(lambda entry: seen.update(hidden_in(folder)))))
    assert seen
    assert not any(".resume" in name for name in seen)


@pytest.mark.parametrize("number", STOPPED, ids=lambda number: number.name)
def test_stopped_run_is_completed_by_the_next(
    launch: Callable[..., BackgroundRun], tmp_path: Path, number: signal.Signals
) -> None:
    folder = fill(tmp_path / "in", "a", frames=4)
    fill(folder, "b c", frames=400)
    one = launch("in", "--style", "slow")
    one.wait_until(lambda: any(e["event"] == "start" and stem(e["input"]) == "b" for e in one.events()), "the second file")
    one.signal(number)
    assert one.end() == STOPPED[number]
    assert one.events()[-1] == {"v": 1, "event": "exit", "code": STOPPED[number]}
    assert listing(folder) == ["a.mp4", "a.slow.mp4", "b.mp4", "c.mp4"]
    finished = snapshot(folder)
    for name in ("b", "c"):  # shorter, to save time
        fill(folder, name)
    another = launch("in", "--style", "slow")
    assert another.end() == DONE
    assert (another.done("skipped"), another.done()) == (["a"], ["b", "c"])
    assert snapshot(folder)["a.slow.mp4"] == finished["a.slow.mp4"]
    assert hidden_in(folder) == []


# --- events


def test_json_events_describe_the_whole_run(
    command_line: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidstyle.cli.reporters.JSON_EVERY_SECONDS", 0.0)
    folder = fill(tmp_path / "in", "a c e")
    assert command_line(folder / "c.mp4", "--style", "tiny", "-q") == DONE
    (folder / "b.mp4").write_text("no video")
    (folder / "d.mkv").write_bytes(truncate(clip_bytes("mkv"), 0.6))
    (folder / "e.tiny.mp4").write_text("foreign")
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


def test_new_files_in_a_watched_folder_are_stylized(launch: Callable[..., BackgroundRun], tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "first")
    others = fill(tmp_path / "others", "slow quick")
    one = launch("in", "--style", "tiny", "--watch")
    one.wait_until(lambda: one.done() == ["first"], "the existing file")

    # A copy that takes longer than the run takes to find, wait for and stylize another file.
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
        assert 0 < written < len(data) // 2, "the copy was not finished before"
        assert one.done() == ["first", "quick"]
        assert "slow" not in " ".join(hidden_in(folder))
        file.write(data[written:])
    one.wait_until(lambda: "slow" in one.done(), "the slow file")
    one.signal(signal.SIGINT)
    assert one.end() == STOPPED[signal.SIGINT]
    over = [(stem(e["input"]), e["status"]) for e in one.events() if e["event"] == "file_done"]
    assert over == [(name, "done") for name in ("first", "quick", "slow")]
    assert listing(folder) == sorted(f"{name}{suffix}" for name, _ in over for suffix in (".mp4", ".tiny.mp4"))
    assert_complete(folder)


# --- lists, templates, trees


def test_list_from_stdin(tmp_path: Path) -> None:
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


def test_list_of_one_file_waits_for_other_runs(launch: Callable[..., BackgroundRun], tmp_path: Path) -> None:
    """Two runs with lists may have a file in common."""
    fill(tmp_path, "a")
    (tmp_path / "list.txt").write_text("a.mp4\n")
    claim = Claim(tmp_path / "a.tiny.mp4")
    one = launch("--list", "list.txt", "--style", "tiny")
    one.wait_until(lambda: any("another run" in e.get("stage", "") for e in one.events()), "waiting for another run")
    claim.close()
    assert one.end() == DONE
    assert output_stems(tmp_path) == ["a"]


def tree(folder: Path) -> Path:
    """A tree of clips with the same name in several folders."""
    for place in ("", "day1", "day2/late"):
        (folder / place).mkdir(parents=True, exist_ok=True)
        fill(folder / place, "a")
    return folder


def test_output_folder_mirrors_the_input_tree(run: Callable[..., RunResult], tmp_path: Path) -> None:
    tree(tmp_path / "in")
    before = snapshot(tmp_path / "in")
    run("in", "-r", "-o", "out/")
    wanted = ["a.tiny.mp4", "day1", "day1/a.tiny.mp4", "day2", "day2/late", "day2/late/a.tiny.mp4"]
    assert listing(tmp_path / "out") == wanted
    assert snapshot(tmp_path / "in") == before
    (tmp_path / "out" / "day1" / "a.tiny.mp4").unlink()
    assert "3 files: 1 done, 2 skipped" in run("in", "-r", "-o", "out/").stderr
    assert listing(tmp_path / "out") == wanted


def test_template_with_styles_and_folders(run: Callable[..., RunResult], tmp_path: Path) -> None:
    tree(tmp_path / "in")
    args = ("in", "--recursive", "--style", "slow", "-o", "out/{style}/{folder}/stylized {name}")
    run(*args)
    outputs = [name for name in listing(tmp_path / "out") if name.endswith(".mp4")]
    assert outputs == [f"{s}/{f}stylized a.mp4" for s in ("slow", "tiny") for f in ("day1/", "day2/late/", "")]
    assert all(decode(tmp_path / "out" / name).whole for name in outputs)
    assert hidden_in(tmp_path) == []
    before = snapshot(tmp_path)
    assert "6 files: 6 skipped" in run(*args).stderr
    assert snapshot(tmp_path) == before
