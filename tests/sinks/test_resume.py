"""`--resume`: finished segments are not stylized again, and the output is the same as without an interruption."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.helpers import audio_of, frames_of, listing, moving_bar, rgb_of, times_of, write_clip
from tests.support.judge import decode, hidden
from tests.support.resumable import SEGMENTS, VIDEOS, ResumableRun, VideoContent, assert_same, content_of, make_video
from tests.support.runs import DISK, DONE, FAILED, STOPPED, CommandRunner, finish, run_limited, start, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs signals as on Linux"),
    pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg as a judge"),
]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes each test video once."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = make_video(name, tmp_path_factory.mktemp(name))
        return made[name]

    return make


@pytest.fixture(scope="module")
def runner(styles: Path) -> Iterator[CommandRunner]:
    """One process for all runs that are not interrupted."""
    one = CommandRunner()
    yield one
    one.close()


@pytest.fixture(scope="module")
def uninterrupted(
    videos: Callable[[str], Path], runner: CommandRunner, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., VideoContent]:
    """The output of an uninterrupted run, made once for each set of options."""
    found: dict[tuple[Any, ...], VideoContent] = {}

    def stylize(name: str, style: str = "slow", options: Sequence[str] = (), resume: bool = True) -> VideoContent:
        key = (name, style, *options, resume)
        if key not in found:
            folder = tmp_path_factory.mktemp("uninterrupted")
            shutil.copy2(videos(name), folder)
            one = ResumableRun(folder, VIDEOS[name], style, options, runner)
            run_result = one.run(resume=resume)
            assert run_result.code == VIDEOS[name].code, run_result
            one.assert_clean()
            found[key] = content_of(one.output)
        return found[key]

    return stylize


@pytest.fixture
def resumable(tmp_path: Path, videos: Callable[[str], Path], runner: CommandRunner) -> Any:
    """Makes a `ResumableRun` for a video."""
    made: list[ResumableRun] = []

    def make(name: str = "plain", **options: Any) -> ResumableRun:
        shutil.copy2(videos(name), tmp_path)
        made.append(ResumableRun(tmp_path, VIDEOS[name], runner=runner, **options))
        return made[-1]

    yield make
    for one in made:
        for process in one.running:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def killed(
    videos: Callable[[str], Path], runner: CommandRunner, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., ResumableRun]:
    """Makes a run that was killed after three segments. It happens once for each clip; the folder is restored for each test."""
    copies: dict[str, tuple[Path, Path]] = {}

    def make(name: str = "plain") -> ResumableRun:
        if name in copies:
            folder, copy = copies[name]
            shutil.rmtree(folder)
            shutil.copytree(copy, folder)
        else:
            folder = tmp_path_factory.mktemp("killed")
            shutil.copy2(videos(name), folder)
            ResumableRun(folder, VIDEOS[name]).interrupt(3)
            copies[name] = folder, Path(shutil.copytree(folder, folder.with_name(f"{folder.name}-copy")))
        return ResumableRun(folder, VIDEOS[name], runner=runner)

    return make


# --- without an interruption


@pytest.mark.parametrize("name", ["plain", "steady"])
def test_output_equals_that_of_a_run_without_resume(videos: Any, tmp_path: Path, name: str) -> None:
    shutil.copy2(videos(name), tmp_path)
    # With nearly lossless encoding the first frame of a segment is like any other.
    one = ResumableRun(tmp_path, VIDEOS[name], "tiny", ["--crf", "1"])
    assert one.run().code == DONE
    one.assert_clean()
    resumable = one.output.rename(tmp_path / f"resumable{one.output.suffix}")
    assert one.run(resume=False).code == DONE
    assert decode(resumable).whole
    assert times_of(resumable) == times_of(one.output)
    assert audio_of(resumable) == audio_of(one.output)
    difference = np.abs(rgb_of(resumable).astype(int) - rgb_of(one.output)).mean(axis=(1, 2, 3))
    assert difference.max() < 2


@pytest.mark.parametrize("name", ["plain", "uneven", "mov"])
def test_times_and_audio_are_those_of_the_input(uninterrupted: Callable[..., VideoContent], videos: Any, name: str) -> None:
    facts = uninterrupted(name)
    assert [t for t, _ in facts.frames] == times_of(videos(name))
    assert facts.audio == audio_of(videos(name))


# --- after an interruption


@pytest.mark.parametrize("after", [1, 5])
def test_killed_run_is_resumed(resumable: Any, uninterrupted: Callable[..., VideoContent], after: int) -> None:
    one = resumable()
    one.interrupt(after)
    assert not one.output.exists()
    assert one.run().code == DONE
    assert_same(one.output, uninterrupted("plain"))
    one.assert_clean()


@pytest.mark.parametrize("name", [name for name in VIDEOS if name != "plain"])
def test_killed_run_of_any_kind_is_resumed(resumable: Any, uninterrupted: Callable[..., VideoContent], name: str) -> None:
    one = resumable(name)
    expected = uninterrupted(name)
    one.interrupt(2)
    run_result = one.run()
    assert run_result.code == VIDEOS[name].code, run_result  # damage in a segment that was finished before is reported too
    assert_same(one.output, expected)
    one.assert_clean()


@pytest.mark.parametrize("name", ["plain", "steady"])
def test_run_that_is_killed_repeatedly_is_resumed(resumable: Any, uninterrupted: Callable[..., VideoContent], name: str) -> None:
    one = resumable(name)
    for after in range(1, SEGMENTS):
        one.interrupt(after)
    assert one.run().code == DONE
    assert_same(one.output, uninterrupted(name))
    one.assert_clean()


def test_finished_segments_are_not_stylized_again(resumable: Any) -> None:
    one = resumable()
    one.interrupt(3)
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in one.segments()}
    one.interrupt(len(before) + 1)
    after = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in one.segments()}
    assert len(after) > len(before) >= 3
    assert {name: after.get(name) for name in before} == before


@pytest.mark.parametrize("number", STOPPED, ids=lambda number: number.name)
def test_interrupted_run_keeps_its_segments(
    resumable: Any, uninterrupted: Callable[..., VideoContent], number: signal.Signals
) -> None:
    one = resumable()
    one.interrupt(2, number)
    assert not one.output.exists()
    assert hidden(one.folder) == [one.work.name]
    assert one.run().code == DONE
    assert_same(one.output, uninterrupted("plain"))
    one.assert_clean()


def test_run_killed_before_the_first_segment_is_resumed(resumable: Any, uninterrupted: Callable[..., VideoContent]) -> None:
    one = resumable()
    process = one.start()
    wait_until(one.work.exists, process, "the folder for segments")
    process.kill()
    finish(process)
    assert one.run().code == DONE
    assert_same(one.output, uninterrupted("plain"))
    one.assert_clean()


def _stylized_or_ended(one: ResumableRun, process: subprocess.Popen[str]) -> bool:
    return len(one.segments()) == SEGMENTS or process.poll() is not None


def test_run_killed_before_joining_is_resumed(resumable: Any, uninterrupted: Callable[..., VideoContent]) -> None:
    one = resumable()
    for _ in range(10):  # joining is quick, so it may be missed
        process = one.start("--overwrite")
        wait_until(partial(_stylized_or_ended, one, process), process, "all segments")
        process.kill()
        finish(process)
        if len(one.segments()) == SEGMENTS:
            break
    else:
        pytest.fail("never killed just before joining")
    before = {p.name: p.stat().st_mtime_ns for p in one.segments()}
    assert len(before) == SEGMENTS
    assert one.run("--overwrite").code == DONE
    assert_same(one.output, uninterrupted("plain"))
    one.assert_clean()


def test_full_disk_while_joining_keeps_the_segments(resumable: Any, uninterrupted: Callable[..., VideoContent]) -> None:
    expected = uninterrupted("plain")
    one = resumable()
    assert one.run().code == DONE
    limit = one.output.stat().st_size * 2 // 3  # enough for each segment, not for the whole
    one.output.unlink()
    run_result = one.run("-q", file_size=limit)
    assert run_result.code == DISK, run_result
    assert run_result.stderr.startswith("error: ")
    assert "Traceback" not in run_result.stderr
    assert not one.output.exists()
    assert len(one.segments()) == SEGMENTS
    assert one.run().code == DONE
    assert_same(one.output, expected)
    one.assert_clean()


# --- when the segments cannot be used

STARTS_OVER = re.compile(r"anew|from the (start|beginning)|(start|begin)\w* (over|again)|done again|stylized again", re.I)


def _touch(one: ResumableRun) -> None:
    os.utime(one.clip, ns=(1, 1))


def _other_quality(one: ResumableRun) -> None:
    one.options += ["--crf", "35"]


def _other_style(one: ResumableRun) -> None:
    one.style = "tiny"


def _stabilized(one: ResumableRun) -> None:
    one.options += ["--stabilize", "light"]


def _shorter(one: ResumableRun) -> None:
    one.options += ["--end", "40"]


@pytest.mark.parametrize("change", [_touch, _other_quality, _other_style, _stabilized, _shorter], ids=lambda c: c.__name__)
def test_changed_input_or_options_start_over(
    killed: Callable[..., ResumableRun], uninterrupted: Callable[..., VideoContent], change: Callable[[ResumableRun], None]
) -> None:
    one = killed()
    change(one)
    run_result = one.run()
    assert run_result.code == DONE, run_result
    assert STARTS_OVER.search(run_result.stderr), run_result.stderr
    assert_same(one.output, uninterrupted("plain", one.style, one.options))
    one.assert_clean()


def test_another_input_of_the_same_name_starts_over(
    resumable: Any, uninterrupted: Callable[..., VideoContent], videos: Callable[[str], Path]
) -> None:
    one = resumable("mkv")
    one.interrupt(2)
    write_clip(one.clip, times=range(100), time_base=Fraction(1, 2), image=moving_bar)
    run_result = one.run()
    assert run_result.code == DONE, run_result
    assert STARTS_OVER.search(run_result.stderr), run_result.stderr
    assert len(frames_of(one.output)) == 100
    assert audio_of(one.output) == []
    one.assert_clean()


def test_another_model_of_the_same_name_starts_over(
    resumable: Any, uninterrupted: Callable[..., VideoContent], styles: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.onnx"
    one = resumable(style="./model.onnx")
    shutil.copy(styles / "slow.onnx", model)
    one.interrupt(2)
    shutil.copy(styles / "tiny.onnx", model)
    run_result = one.run()
    assert run_result.code == DONE, run_result
    assert STARTS_OVER.search(run_result.stderr), run_result.stderr
    assert_same(one.output, uninterrupted("plain", "tiny"))


def test_other_messages_do_not_start_over(killed: Callable[..., ResumableRun]) -> None:
    """Options that do not change the output keep the segments."""
    one = killed()
    run_result = one.run("--verbose", "--progress", "json")
    assert run_result.code == DONE, run_result
    assert not STARTS_OVER.search(run_result.stderr), run_result.stderr


# --- damaged segments


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _zero_a_block(path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 32] = bytes(32)
    path.write_bytes(data)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _fill_with_noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(5000))


@pytest.mark.parametrize(
    ("harm", "which"),
    [*((harm, 1) for harm in (_halve, _zero_a_block, Path.unlink)), (_empty, 0), (_fill_with_noise, -1)],
)
def test_damaged_segment_is_stylized_again(
    killed: Callable[..., ResumableRun], uninterrupted: Callable[..., VideoContent], harm: Callable[[Path], None], which: int
) -> None:
    one = killed()
    harm(one.segments()[which])
    run_result = one.run()
    assert run_result.code == DONE, run_result
    assert_same(one.output, uninterrupted("plain"))
    one.assert_clean()


@pytest.mark.parametrize("which", [0, -1], ids=["first", "last"])
def test_damaged_segment_of_a_stabilized_video_is_stylized_again(
    killed: Callable[..., ResumableRun], uninterrupted: Callable[..., VideoContent], which: int
) -> None:
    one = killed("steady")
    _zero_a_block(one.segments()[which])
    assert one.run().code == DONE
    assert_same(one.output, uninterrupted("steady"))
    one.assert_clean()


def test_swapped_segments_are_stylized_again(
    killed: Callable[..., ResumableRun], uninterrupted: Callable[..., VideoContent]
) -> None:
    one = killed("mkv")
    first, second, *_ = one.segments()
    whole = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(whole)
    assert one.run().code == DONE
    assert_same(one.output, uninterrupted("mkv"))


@pytest.mark.parametrize("name", ["plain", "steady"])
def test_only_manifest_and_segments_are_needed(
    killed: Callable[..., ResumableRun], uninterrupted: Callable[..., VideoContent], name: str
) -> None:
    one = killed(name)
    kept = {*one.segments(), one.work / "manifest.json"}
    for path in one.work.iterdir():
        if path not in kept:
            path.unlink()
    assert one.run().code == DONE
    assert_same(one.output, uninterrupted(name))
    one.assert_clean()


def _list_instead(path: Path) -> None:
    path.write_text("[]")


def _number_instead(path: Path) -> None:
    path.write_text("7")


def _one_level_emptied(path: Path) -> None:
    """The outermost keys are there, but without values."""
    path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()))))


def _names_elsewhere(path: Path) -> None:
    """A manipulated manifest must not lead to files outside its folder."""
    changed, count = re.subn(r'"([\w-]+\.(mkv|nut|mp4|ts))"', r'"../../\1"', path.read_text())
    assert count >= 3
    path.write_text(changed)


GARBLE = [_halve, _empty, _fill_with_noise, _list_instead, _number_instead, _one_level_emptied, _names_elsewhere, Path.unlink]


@pytest.mark.parametrize("harm", GARBLE, ids=lambda h: h.__name__)
def test_corrupted_manifest_is_no_error(
    killed: Callable[..., ResumableRun], uninterrupted: Callable[..., VideoContent], harm: Callable[[Path], None]
) -> None:
    one = killed()
    harm(one.work / "manifest.json")
    run_result = one.run()
    assert run_result.code == DONE, run_result
    assert "Traceback" not in run_result.stderr
    assert_same(one.output, uninterrupted("plain"))
    one.assert_clean()


@pytest.mark.parametrize("make", [Path.touch, partial(Path.symlink_to, target="/nowhere")], ids=["file", "link"])
def test_file_in_place_of_the_folder_is_an_error_message(resumable: Any, make: Callable[[Path], None]) -> None:
    one = resumable()
    make(one.work)
    run_result = one.run("-q")
    assert run_result.code in (FAILED, DISK), run_result
    assert run_result.stderr.startswith("error: ")
    assert "Traceback" not in run_result.stderr
    assert not one.output.exists()
    assert os.path.lexists(one.work)


# --- other runs and files


def test_second_run_at_the_same_time_is_rejected(resumable: Any, uninterrupted: Callable[..., VideoContent]) -> None:
    one = resumable()
    process = one.start()
    wait_until(lambda: len(one.segments()) >= 1, process, "a finished segment")
    process.send_signal(signal.SIGSTOP)
    try:
        before = listing(one.work)
        second = one.run("-q")
        assert second.code == FAILED, second
        assert second.stderr.startswith("error: ")
        assert len(second.stderr.splitlines()) == 1, second.stderr
        assert listing(one.work) == before
    finally:
        process.send_signal(signal.SIGCONT)
    run_result = finish(process)
    assert run_result.code == DONE, run_result
    assert_same(one.output, uninterrupted("plain"))
    one.assert_clean()


def test_existing_output_is_rejected_before_any_work(resumable: Any) -> None:
    one = resumable()
    one.output.write_text("precious")
    run_result = one.run("-q")
    assert run_result.code == FAILED, run_result
    assert "--overwrite" in run_result.stderr
    assert one.output.read_text() == "precious"
    one.assert_clean()


def test_old_output_stays_until_the_new_one_is_complete(resumable: Any, uninterrupted: Callable[..., VideoContent]) -> None:
    one = resumable()
    one.output.write_text("old")
    one.interrupt(3, signal.SIGKILL, "--overwrite")
    assert one.output.read_text() == "old"
    assert one.run("--overwrite").code == DONE
    assert_same(one.output, uninterrupted("plain"))
    one.assert_clean()


def test_segments_are_not_used_without_resume(
    killed: Callable[..., ResumableRun], uninterrupted: Callable[..., VideoContent]
) -> None:
    one = killed()
    for path in one.segments():
        _zero_a_block(path)
    run_result = one.run(resume=False)
    assert run_result.code == DONE, run_result
    assert_same(one.output, uninterrupted("plain", resume=False))


def test_several_inputs_are_resumed(tmp_path: Path, videos: Any, uninterrupted: Callable[..., VideoContent]) -> None:
    for name in ("one.mp4", "two.mp4"):
        shutil.copy2(videos("plain"), tmp_path / name)
    given = ("one.mp4", "two.mp4", "--style", "slow", "--resume", "--skip-existing")
    process = start(*given, cwd=tmp_path)
    work = tmp_path / ".two.slow.mp4.resume"
    wait_until(lambda: (work / "manifest.json").exists(), process, "a finished segment of the second video")
    process.kill()
    finish(process)
    visible = sorted(p.name for p in tmp_path.iterdir() if p.name[0] != ".")
    assert visible == ["one.mp4", "one.slow.mp4", "two.mp4"]
    run_result = run_limited(*given, cwd=tmp_path)
    assert run_result.code == DONE, run_result
    for name in ("one", "two"):
        assert_same(tmp_path / f"{name}.slow.mp4", uninterrupted("plain"))
    assert listing(tmp_path) == ["one.mp4", "one.slow.mp4", "two.mp4", "two.slow.mp4"]
