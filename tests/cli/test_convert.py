"""Conversions from the command line: what users get for their files."""

from __future__ import annotations

import os
import re
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.support.helpers import (
    audio_of,
    display_matrix_of,
    events,
    frames_of,
    identity_model,
    imread,
    languages_of,
    listing,
    messages,
    moving_bar,
    noise,
    paint,
    rgb_of,
    run_cli,
    times_of,
    write_audio,
    write_clip,
)
from vidstyle.cli.reporters import JsonReporter
from vidstyle.conversion.job import Job
from vidstyle.core.frames import VideoInfo

MILLISECOND = Fraction(1, 1000)
UNEVEN = [0, 1, 2, 5, 6, 11, 12, 13, 20, 22]


def test_output_is_named_after_the_style_and_lies_beside_the_input(clip: Path) -> None:
    paint(clip)
    assert listing(clip.parent) == ["in.mp4", "in.tiny.mp4"]


def test_the_image_is_stylized(clip: Path) -> None:
    paint(clip, "--crf", 4)
    before, after = rgb_of(clip).astype(int), rgb_of(clip.with_name("in.tiny.mp4")).astype(int)
    assert before.shape == after.shape
    assert np.abs(before - after).mean() > 10


def test_frames_stay_in_order(tmp_path: Path) -> None:
    def brighter(index: int, width: int, height: int) -> np.ndarray:
        return np.full((height, width, 3), 20 * index, np.uint8)

    clip = write_clip(tmp_path / "in.mp4", image=brighter, times=range(10))
    model = identity_model(tmp_path / "identity.onnx")
    paint(clip, "-o", tmp_path / "out.mp4", "--batch-size", 3, style=str(model))
    assert np.allclose(rgb_of(tmp_path / "out.mp4").mean((1, 2, 3)), 20 * np.arange(10), atol=4)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_audio_is_copied_packet_for_packet(tmp_path: Path, suffix: str) -> None:
    clip = write_clip(tmp_path / f"in{suffix}", audio=["eng", "ger"], times=range(24))
    paint(clip)
    output = tmp_path / f"in.tiny{suffix}"
    before, after = audio_of(clip), audio_of(output)
    assert len(before) == len(after) == 2
    for old, new in zip(before, after, strict=True):
        assert [data for data, _ in old] == [data for data, _ in new]
        assert max(abs(a - b) for (_, a), (_, b) in zip(old, new, strict=True)) <= MILLISECOND
    assert languages_of(output) == languages_of(clip) == ["eng", "ger"]


def test_no_audio_drops_audio_streams(clip: Path) -> None:
    paint(clip, "--no-audio")
    assert audio_of(clip.with_name("in.tiny.mp4")) == []


def test_title_and_chapters_are_kept(tmp_path: Path) -> None:
    chapters = [{"id": n, "start": 250 * n, "end": 250 * n + 250, "time_base": MILLISECOND, "metadata": {"title": f"part {n}"}}
                for n in range(2)]  # fmt: skip
    clip = write_clip(tmp_path / "in.mkv", metadata={"title": "Sea"}, chapters=chapters)
    paint(clip)
    with av.open(str(tmp_path / "in.tiny.mkv")) as container:
        assert container.metadata["title"] == "Sea"
        assert [c["metadata"]["title"] for c in container.chapters()] == ["part 0", "part 1"]


@pytest.mark.parametrize("offset", [0, 12, 7], ids=["from zero", "half a second late", "odd offset"])
@pytest.mark.parametrize("base", [Fraction(1, 24), Fraction(1001, 30000), Fraction(1, 90000)], ids=["24", "29.97", "90k"])
def test_mp4_timestamps_are_exact(tmp_path: Path, base: Fraction, offset: int) -> None:
    scale = 3003 if base == Fraction(1, 90000) else 1
    clip = write_clip(tmp_path / "in.mp4", times=[(offset + n) * scale for n in UNEVEN], time_base=base)
    paint(clip)
    assert times_of(tmp_path / "in.tiny.mp4") == times_of(clip)


@pytest.mark.parametrize("offset", [0, 12])
def test_mkv_timestamps_are_exact_to_the_millisecond(tmp_path: Path, offset: int) -> None:
    clip = write_clip(tmp_path / "in.mp4", times=[offset + n for n in UNEVEN], time_base=Fraction(1001, 30000))
    paint(clip, "-o", tmp_path / "out.mkv")
    before, after = times_of(clip), times_of(tmp_path / "out.mkv")
    assert len(before) == len(after)
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) <= MILLISECOND


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_kept(tmp_path: Path, rotation: int) -> None:
    clip = write_clip(tmp_path / "in.mp4", rotation=rotation)
    paint(clip)
    before, after = frames_of(clip)[0], frames_of(tmp_path / "in.tiny.mp4")[0]
    assert before.rotation != 0
    assert after.rotation == before.rotation
    assert display_matrix_of(after) == display_matrix_of(before) is not None
    assert (after.width, after.height) == (before.width, before.height)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pixel_aspect_ratio_is_kept(tmp_path: Path, suffix: str) -> None:
    clip = write_clip(tmp_path / f"in{suffix}", aspect=Fraction(4, 3))
    paint(clip)
    with av.open(str(tmp_path / f"in.tiny{suffix}")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize(("size", "even"), [((63, 47), (64, 48)), ((64, 47), (64, 48)), ((63, 48), (64, 48))])
def test_odd_sizes_are_padded_to_even_ones_with_a_message(tmp_path: Path, size: tuple[int, int], even: tuple[int, int]) -> None:
    clip = write_clip(tmp_path / "in.mkv", size=size, codec="ffv1", pix_fmt="bgr0")
    done = paint(clip)
    frame = frames_of(tmp_path / "in.tiny.mkv")[0]
    assert (frame.width, frame.height) == even
    assert f"{even[0]}x{even[1]}" in done.stderr


def test_odd_sizes_are_kept_where_the_pixel_format_allows_them(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mkv", size=(63, 47), codec="ffv1", pix_fmt="bgr0")
    paint(clip, "--pix-fmt", "yuv444p")
    frame = frames_of(tmp_path / "in.tiny.mkv")[0]
    assert (frame.width, frame.height, frame.format.name) == (63, 47, "yuv444p")


def test_a_time_range_includes_its_audio(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", times=range(48), audio=["eng"], options={"g": "12"})
    paint(clip, "--start", "0.5", "--end", "1.5")
    output = tmp_path / "in.tiny.mp4"
    assert times_of(output) == [Fraction(n, 24) for n in range(24)]
    whole, part = audio_of(clip)[0], audio_of(output)[0]
    bodies = [data for data, _ in part]
    first = [data for data, _ in whole].index(bodies[0])
    assert bodies == [data for data, _ in whole][first : first + len(bodies)]
    assert 0.9 < len(bodies) * 1024 / 44100 < 1.1
    assert abs((whole[first][1] - Fraction(1, 2)) - part[0][1]) <= MILLISECOND, "audio and image went out of step"


@pytest.mark.parametrize("options", [("--start", "1", "--duration", "0.25"), ("--start", "0:00:01", "--end", "1.25")])
def test_a_duration_counts_from_the_start(tmp_path: Path, options: tuple[str, ...]) -> None:
    clip = write_clip(tmp_path / "in.mp4", times=range(48), image=_brightness)
    model = identity_model(tmp_path / "identity.onnx")
    paint(clip, "-o", tmp_path / "out.mp4", *options, style=str(model))
    assert np.allclose(rgb_of(tmp_path / "out.mp4").mean((1, 2, 3)), 5 * np.arange(24, 30), atol=4)


def _brightness(index: int, width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), 5 * index, np.uint8)


def test_a_sample_is_the_first_seconds(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", times=range(48), audio=["eng"])
    paint(clip, "--sample", 0.5)
    output = tmp_path / "in.tiny.mp4"
    assert times_of(output) == times_of(clip)[:12]
    assert audio_of(output)[0] == audio_of(clip)[0][: len(audio_of(output)[0])]


def test_a_time_range_of_a_late_video_counts_from_its_beginning(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", times=range(24, 72), options={"g": "12"})
    paint(clip, "--sample", 0.5)
    assert len(frames_of(tmp_path / "in.tiny.mp4")) == 12


@pytest.mark.parametrize("height", [24, 96])
def test_height_changes_the_style_and_not_the_size(clip: Path, height: int) -> None:
    paint(clip, "-o", clip.with_name("plain.mp4"))
    paint(clip, "-o", clip.with_name("scaled.mp4"), "--height", height)
    plain, scaled = rgb_of(clip.with_name("plain.mp4")), rgb_of(clip.with_name("scaled.mp4"))
    assert plain.shape == scaled.shape
    assert np.abs(plain.astype(int) - scaled).mean() > 1


def flickering(index: int, width: int, height: int) -> np.ndarray:
    """A still scene with fresh grain in every frame."""
    grain = np.random.default_rng(index).integers(-12, 13, (height, width, 3))
    return np.clip(moving_bar(0, width, height) + grain, 0, 255).astype(np.uint8)


def test_stabilize_reduces_flicker_as_reported(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", image=flickering, options={"crf": "8"})
    model = identity_model(tmp_path / "identity.onnx")
    errors = {}
    for stabilize in ("off", "strong"):
        output = tmp_path / f"{stabilize}.mp4"
        done = paint(clip, "-o", output, "--crf", 4, "--stabilize", stabilize, "--report", style=str(model))
        assert len(frames_of(output)) == 12
        number = r"(\d\.\d\de-\d\d)"
        line = rf"{re.escape(str(output))}: warping error {number}, warping error of the input {number}\n"
        figures = re.fullmatch(line, done.stdout)
        assert figures, done.stdout
        errors[stabilize], of_input = float(figures[1]), float(figures[2])
        assert 0 < of_input == errors["off"], "unpainted and not steadied it is the input"
    assert errors["strong"] < 0.7 * errors["off"]
    plain, steadied = (np.diff(rgb_of(tmp_path / f"{name}.mp4").astype(int), axis=0) for name in ("off", "strong"))
    assert np.abs(steadied).mean() < 0.8 * np.abs(plain).mean()


def test_without_a_report_nothing_is_printed(clip: Path) -> None:
    assert paint(clip, "--stabilize", "light").stdout == ""


def test_the_report_of_an_image_has_no_measurements(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), moving_bar(3, 61, 43))
    done = paint(tmp_path / "photo.png", "--report", "--progress", "json", "--stabilize", "strong")
    assert done.stdout.startswith(f"{tmp_path / 'photo.tiny.png'}: too few frames")
    assert len(done.stdout.splitlines()) == 1
    file_done = next(e for e in events(done.stderr) if e["event"] == "file_done")
    assert file_done["report"] == {"warping error": None, "warping error of the input": None}


def test_the_report_is_part_of_json_progress(clip: Path) -> None:
    done = paint(clip, "--report", "--progress", "json")
    file_done = next(e for e in events(done.stderr) if e["event"] == "file_done")
    assert set(file_done["report"]) == {"warping error", "warping error of the input"}
    assert all(value > 0 for value in file_done["report"].values())


@pytest.mark.parametrize(("codec", "name"), [("h264", "h264"), ("hevc", "hevc"), ("av1", "av1")])
def test_codec_is_selected(tmp_path: Path, codec: str, name: str) -> None:
    clip = write_clip(tmp_path / "in.mp4", times=range(5), size=(80, 64))
    paint(clip, "--codec", codec, "-o", tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == name
    assert len(frames_of(tmp_path / "out.mkv")) == 5


def test_a_smaller_crf_makes_a_larger_file(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", image=noise)
    for crf in (5, 45):
        paint(clip, "--crf", crf, "--preset", "ultrafast", "-o", tmp_path / f"{crf}.mp4")
    assert (tmp_path / "5.mp4").stat().st_size > 2 * (tmp_path / "45.mp4").stat().st_size


@pytest.mark.parametrize(
    "options",
    [("--crf", "99"), ("--preset", "hasty"), ("--codec", "theora"), ("--pix-fmt", "rgb565"), ("--start", "2", "--end", "1"),
     ("--end", "1", "--sample", "1"), ("--height", "3"), ("--start", "soon"), ("--stabilize", "wildly"), ("--no-such-option",)],
)  # fmt: skip
def test_invalid_options_are_usage_errors(clip: Path, options: tuple[str, ...]) -> None:
    done = run_cli(clip, "--style", "tiny", *options)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert listing(clip.parent) == ["in.mp4"]


def test_overwrite_replaces(clip: Path) -> None:
    output = clip.with_name("in.tiny.mp4")
    output.write_text("an old one")
    paint(clip, "--overwrite")
    assert len(frames_of(output)) == 12
    assert listing(clip.parent) == ["in.mp4", "in.tiny.mp4"]


def test_skip_existing_keeps_an_existing_output(clip: Path) -> None:
    output = clip.with_name("in.tiny.mp4")
    output.write_text("an old one")
    done = paint(clip, "--skip-existing")
    assert output.read_text() == "an old one"
    assert "skipped" in done.stderr


def test_dry_run_writes_nothing(clip: Path) -> None:
    done = paint(clip, "--dry-run", "-o", clip.parent / "new" / "out.mp4")
    assert listing(clip.parent) == ["in.mp4"]
    assert "out.mp4" in done.stdout
    assert "64x48" in done.stdout
    assert "12 frames" in done.stdout


def test_dry_run_of_a_bad_file_fails(tmp_path: Path) -> None:
    bad = tmp_path / "in.mp4"
    bad.write_text("no video")
    done = run_cli(bad, "--style", "tiny", "--dry-run")
    assert done.returncode == 1
    assert str(bad) in done.stderr


def test_json_progress_covers_start_to_exit(clip: Path) -> None:
    done = paint(clip, "--progress", "json")
    found = events(done.stderr)
    assert {event["v"] for event in found} == {1}
    kinds = [event["event"] for event in found]
    assert kinds.index("start") < kinds.index("file_done") < kinds.index("exit") == len(kinds) - 1
    start = next(e for e in found if e["event"] == "start")
    assert (start["input"], start["width"], start["height"], start["frames"]) == (str(clip), 64, 48, 12)
    file_done = next(e for e in found if e["event"] == "file_done")
    assert (file_done["status"], file_done["frames"]) == ("done", 12)
    assert found[-1]["code"] == 0
    assert done.stdout == ""


def test_json_progress_reports_failures(tmp_path: Path) -> None:
    bad = tmp_path / "in.mp4"
    bad.write_text("no video")
    done = run_cli(bad, "--style", "tiny", "--progress", "json")
    found = events(done.stderr)
    failed = next(e for e in found if e["event"] == "file_done")
    assert failed["status"] == "failed"
    assert str(bad) in failed["error"]
    assert found[-1] == {"v": 1, "event": "exit", "code": 1} == {**found[-1], "code": done.returncode}


def test_json_progress_of_a_usage_error_is_json(clip: Path) -> None:
    done = run_cli(clip, "--style", "tiny", "--progress", "json", "--crf", "99")
    found = events(done.stderr)
    assert done.returncode == found[-1]["code"] == 2
    assert "crf" in messages(found)


def test_progress_events_have_frame_total_and_rate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("vidstyle.cli.reporters.JSON_EVERY_SECONDS", 0.0)
    reporter, job = JsonReporter(), Job("in.mp4", Path("out.mp4"))
    reporter.start(job, VideoInfo(64, 48, frame_count_estimate=3))
    for count in (1, 2, 3):
        reporter.frame(job, count)
    found = [event for event in events(capsys.readouterr().err) if event["event"] == "progress"]
    assert [event["frame"] for event in found] == [1, 2, 3]
    assert all(event["frames"] == 3 and event["fps"] > 0 for event in found)
    assert found[-1]["seconds_left"] == 0


def test_quiet_prints_nothing_in_a_good_run(clip: Path) -> None:
    done = paint(clip, "-q")
    assert done.stdout == done.stderr == ""


def test_several_files(tmp_path: Path) -> None:
    clips = [write_clip(tmp_path / name, times=range(4)) for name in ("a.mp4", "b.mkv")]
    paint(*clips)
    assert listing(tmp_path) == ["a.mp4", "a.tiny.mp4", "b.mkv", "b.tiny.mkv"]


def test_several_files_into_a_folder(tmp_path: Path) -> None:
    clips = [write_clip(tmp_path / name, times=range(4)) for name in ("a.mp4", "b.mp4")]
    paint(*clips, "-o", tmp_path / "out")
    assert listing(tmp_path / "out") == ["a.tiny.mp4", "b.tiny.mp4"]


def test_two_inputs_with_one_output_name_are_refused_up_front(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_clip(tmp_path / folder / "in.mp4", times=range(4))
    done = run_cli(tmp_path / "one" / "in.mp4", tmp_path / "two" / "in.mp4", "-o", tmp_path / "out", "--style", "tiny")
    assert done.returncode == 2
    assert not (tmp_path / "out").exists()


def test_a_folder_does_not_convert_its_earlier_outputs(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mov", "c.txt", ".hidden.mp4"):
        write_clip(tmp_path / name, times=range(4)) if name != "c.txt" else (tmp_path / name).write_text("no video")
    paint(tmp_path)
    made = [".hidden.mp4", "a.mp4", "a.tiny.mp4", "b.mov", "b.tiny.mov", "c.txt"]
    assert listing(tmp_path) == made
    paint(tmp_path, "--skip-existing")
    assert listing(tmp_path) == made


def test_a_tree_of_videos_and_images_into_another(tmp_path: Path) -> None:
    (tmp_path / "in" / "day1").mkdir(parents=True)
    write_clip(tmp_path / "in" / "a.mp4", times=range(4))
    write_clip(tmp_path / "in" / "day1" / "b.mkv", times=range(4))
    cv2.imwrite(str(tmp_path / "in" / "day1" / "c.png"), moving_bar(0, 32, 32))
    paint("in", "--recursive", "--exclude", "*.mkv", "-o", "in/out/", cwd=tmp_path)
    assert [name for name in listing(tmp_path / "in" / "out") if "." in name] == ["a.tiny.mp4", "day1/c.tiny.png"]
    paint("in", "-r", "--include", "*.mkv", "-o", "in/out/{folder}/{style}-{name}", cwd=tmp_path)
    assert len(frames_of(tmp_path / "in" / "out" / "day1" / "tiny-b.mkv")) == 4


def test_several_styles(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), moving_bar(0, 32, 32))
    paint(tmp_path / "in.png", "--style", "slow", style="tiny")
    assert listing(tmp_path) == ["in.png", "in.slow.png", "in.tiny.png"]
    tiny, slow = (imread(tmp_path / f"in.{style}.png").astype(int) for style in ("tiny", "slow"))
    assert np.abs(tiny - slow).mean() > 1


def test_dry_run_prints_the_style_of_each_output(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), moving_bar(0, 32, 32))
    lines = paint(tmp_path / "in.png", "--style", "slow", "--dry-run").stdout.splitlines()
    assert [("in.slow.png" in line, line.endswith("style slow")) for line in lines] == [(True, True), (False, False)]
    assert run_cli(tmp_path / "in.png", "--style", "tiny", "--style", "nobodys", "--dry-run").returncode == 4


def test_inputs_from_lists(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c d.png", "e.png"):
        cv2.imwrite(str(tmp_path / name), moving_bar(0, 32, 32))
    (tmp_path / "list.txt").write_text("# of today\n\nb.png\na.png\n")
    paint("e.png", "-a", "list.txt", "--list", "-", "-o", "out", cwd=tmp_path, input="c d.png\r\n")
    assert listing(tmp_path / "out") == ["a.tiny.png", "b.tiny.png", "c d.tiny.png", "e.tiny.png"]


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/k\xfcste.mp4"
    os.rename(write_clip(tmp_path / "in.mp4", times=range(4)), name)
    (tmp_path / "list.txt").write_bytes(name + b"\n")
    paint("--list", tmp_path / "list.txt", "--dry-run", env={"PYTHONIOENCODING": "utf-8:strict"})
    paint("--list", tmp_path / "list.txt")
    assert os.path.exists(os.fsencode(tmp_path) + b"/k\xfcste.tiny.mp4")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 2, "expected a video, an image or a folder"),
        (["--list", "empty.txt"], 2, "expected inputs in empty.txt"),
        (["--list", "none.txt"], 1, "none.txt"),
        (["in.mp4", "b.mp4", "--list", "list.txt"], 1, "no such file or folder: b.mp4, c.mp4"),
        (["in.mp4", "--style", "slow", "-o", "out.mp4"], 2, "out.mp4"),
        (["in.mp4", "-o", "{stm}.mp4"], 2, "{stem}"),
        (["in.mp4", "--style", "slow", "-o", "{stem}_new.mp4"], 2, "{style}"),
        ([".", "--include", "*.mov"], 1, "besides 1"),
        (["in.mp4", "--watch"], 2, "--watch"),
        ([".", "--watch", "--dry-run"], 2, "--dry-run"),
    ],
)
def test_what_cannot_be_planned_is_refused_before_any_work(clip: Path, options: list[str], code: int, message: str) -> None:
    (clip.parent / "empty.txt").write_text("# nothing yet\n")
    (clip.parent / "list.txt").write_text("c.mp4\n")
    done = run_cli("--style", "tiny", *options, cwd=clip.parent)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert listing(clip.parent) == ["empty.txt", "in.mp4", "list.txt"]


def test_one_bad_file_in_a_folder_does_not_stop_the_others(tmp_path: Path) -> None:
    for name in ("a.mp4", "c.mp4"):
        write_clip(tmp_path / name, times=range(4))
    (tmp_path / "b.mp4").write_text("no video")
    done = run_cli(tmp_path, "--style", "tiny")
    assert done.returncode == 3
    assert listing(tmp_path) == ["a.mp4", "a.tiny.mp4", "b.mp4", "c.mp4", "c.tiny.mp4"]
    assert "3 files: 2 done, 1 failed" in done.stderr.splitlines()
    assert f"error: could not read {tmp_path / 'b.mp4'} as a video or image" in done.stderr


def test_all_bad_files_in_a_folder_are_a_failure(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_text("no video")
    assert run_cli(tmp_path, "--style", "tiny").returncode == 1


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_an_image_becomes_an_image(tmp_path: Path, suffix: str) -> None:
    photo = tmp_path / f"photo{suffix}"
    cv2.imwrite(str(photo), moving_bar(3, 61, 43))
    paint(photo)
    stylized = imread(tmp_path / f"photo.tiny{suffix}")
    assert stylized.shape == (43, 61, 3)
    assert np.abs(stylized.astype(int) - moving_bar(3, 61, 43)).mean() > 5


def test_an_image_keeps_its_channel_order(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "red.png"), np.full((16, 16, 3), (10, 20, 200), np.uint8))  # BGR
    paint(tmp_path / "red.png", "-o", tmp_path / "out.png", style=str(identity_model(tmp_path / "identity.onnx")))
    assert (imread(tmp_path / "out.png") == (10, 20, 200)).all()


def test_a_gif_becomes_a_video(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.gif", codec="gif", pix_fmt="rgb8", times=range(5), time_base=Fraction(1, 10))
    paint(clip)
    assert len(frames_of(tmp_path / "in.tiny.mp4")) == 5


def test_a_webm_becomes_an_mkv_with_its_own_audio(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.webm", codec="libvpx", times=range(5))
    paint(clip)
    assert times_of(tmp_path / "in.tiny.mkv") == times_of(clip)


def test_cover_art_is_not_the_video(tmp_path: Path) -> None:
    song = write_audio(tmp_path / "song.m4a")
    cv2.imwrite(str(tmp_path / "cover.png"), moving_bar(0, 32, 32))
    both = tmp_path / "song.mp4"
    if not _attach_cover(song, tmp_path / "cover.png", both):
        pytest.skip("no ffmpeg to attach a cover with")
    done = run_cli(both, "--style", "tiny", "-q")
    assert done.returncode == 1
    assert "cover art" in done.stderr


def _attach_cover(song: Path, cover: Path, output: Path) -> bool:
    options = ["-i", song, "-i", cover, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic", output]
    try:
        subprocess.run(["ffmpeg", "-v", "error", *map(str, options)], check=True)
    except FileNotFoundError:
        return False
    return True


def test_a_file_named_like_a_subcommand(tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mp4", times=range(4))
    os.rename(tmp_path / "in.mp4", tmp_path / "train")
    paint("./train", "-o", "out.mp4", cwd=tmp_path)
    assert len(frames_of(tmp_path / "out.mp4")) == 4


def test_styles_are_listed(styles: Path) -> None:
    done = run_cli("styles")
    assert done.returncode == 0
    assert "tiny" in done.stdout
    assert "Nobody" in done.stdout


def test_the_batch_size_does_not_change_the_result(clip: Path) -> None:
    for size in (1, 5):
        paint(clip, "--batch-size", size, "--crf", 0, "-o", clip.with_name(f"{size}.mp4"))
    assert np.abs(rgb_of(clip.with_name("1.mp4")).astype(int) - rgb_of(clip.with_name("5.mp4"))).max() <= 4


def test_the_library_does_what_the_command_line_does(clip: Path) -> None:
    import vidstyle

    result = vidstyle.stylize(clip, style="tiny")
    assert result.output == clip.with_name("in.tiny.mp4")
    assert result.frames == len(frames_of(result.output)) == 12
    assert result.warnings == result.damage == []


def test_a_long_name_in_another_script(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / f"{'影' * 76}.mp4", times=range(4))
    assert run_cli(clip, "--style", "tiny").returncode == 0
    assert listing(tmp_path) == sorted([clip.name, f"{clip.stem}.tiny.mp4"])
