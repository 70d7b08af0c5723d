"""Planning: which inputs are included, where their outputs go, and what is refused in advance."""

from __future__ import annotations

import io
import logging
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from vidstyle.batch.planner import Planner, plan, read_list
from vidstyle.conversion.job import Job
from vidstyle.core.errors import InputError, OutputExistsError, UsageError
from vidstyle.core.options import Selection

RECURSIVE = Selection(recursive=True)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, so that tests can use relative paths."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    """Create files of one byte each, and their folders."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")


def inputs_of(*inputs: str, selection: Selection = Selection(), output: str | None = None) -> list[str]:
    return [job.input for job in plan(inputs, ["tiny"], output, selection)]


def outputs_of(
    *inputs: str, output: str | None = None, selection: Selection = RECURSIVE, styles: tuple[str, ...] = ("tiny",)
) -> list[str]:
    return [str(job.output) for job in plan(inputs, styles, output, selection)]


# --- files in folders


def test_folder_stands_for_its_videos_and_images(here: Path) -> None:
    touch("in/b.mp4", "in/a.JPG", "in/c.webm", "in/d.gif", "in/e.png", "in/notes.txt", "in/song.mp3", "in/noext")
    assert inputs_of("in") == ["in/a.JPG", "in/b.mp4", "in/c.webm", "in/d.gif", "in/e.png"]


def test_numbers_in_names_are_sorted_by_value(here: Path) -> None:
    touch("in/clip10.mp4", "in/clip2.mp4", "in/Clip1.mp4", "in/day10/a.mp4", "in/day9/b.mp4", "in/zoo.mp4")
    wanted = ["in/Clip1.mp4", "in/clip2.mp4", "in/clip10.mp4", "in/day9/b.mp4", "in/day10/a.mp4", "in/zoo.mp4"]
    assert inputs_of("in", selection=RECURSIVE) == wanted


def test_subfolders_are_searched_only_when_recursive(here: Path) -> None:
    touch("in/a.mp4", "in/day1/b.mp4", "in/day1/deep/er/c.jpg")
    assert inputs_of("in") == ["in/a.mp4"]
    assert inputs_of("in", selection=RECURSIVE) == ["in/a.mp4", "in/day1/b.mp4", "in/day1/deep/er/c.jpg"]


def test_hidden_files_and_folders_are_ignored(here: Path) -> None:
    touch("in/a.mp4", "in/.b.mp4", "in/.a.tiny.mp4.resume/0001.mkv", "in/.trash/c.mp4", "in/..d.mp4")
    assert inputs_of("in", selection=RECURSIVE) == ["in/a.mp4"]


def test_working_folders_are_ignored(here: Path) -> None:
    touch("in/a.mp4", "in/a.scream.mp4.keyframes/frames/000048.png", "in/sea.training/preview.jpg")
    assert inputs_of("in", selection=RECURSIVE) == ["in/a.mp4"]


def test_links_to_files_are_inputs_and_links_to_folders_are_not(here: Path) -> None:
    touch("in/a.mp4", "elsewhere/b.mp4", "elsewhere/sub/c.mp4")
    Path("in/link.mp4").symlink_to(here / "elsewhere/b.mp4")
    Path("in/elsewhere").symlink_to(here / "elsewhere/sub")
    Path("in/loop").symlink_to(here / "in")
    Path("in/broken.mp4").symlink_to(here / "nothing.mp4")
    Path("in/turning.mp4").symlink_to("turning.mp4")
    assert inputs_of("in", selection=RECURSIVE) == ["in/a.mp4", "in/link.mp4"]


def test_linked_folder_is_searched_when_it_is_an_input(here: Path) -> None:
    touch("elsewhere/b.mp4")
    Path("in").symlink_to("elsewhere")
    assert inputs_of("in") == ["in/b.mp4"]


def test_only_regular_files_are_inputs(here: Path) -> None:
    touch("in/a.mp4", "in/folder.mp4/inside.txt")
    os.mkfifo("in/pipe.mp4")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("in/socket.mp4")
        assert inputs_of("in", selection=RECURSIVE) == ["in/a.mp4"]


def test_unreadable_subfolder_is_skipped_with_a_warning(
    here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    touch("in/a.mp4", "in/locked/b.mp4", "in/z.mp4")
    lock(monkeypatch, "in/locked")
    assert inputs_of("in", selection=RECURSIVE) == ["in/a.mp4", "in/z.mp4"]
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "in/locked" in caplog.text
    assert "Permission denied" in caplog.text


def test_unreadable_folder_is_an_error(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch("in/a.mp4")
    lock(monkeypatch, "in")
    with pytest.raises(InputError, match=r"in \(Permission denied\)"):
        plan(["in"], ["tiny"])


def lock(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """Make `folder` unreadable, also for root, which runs tests in containers."""
    scandir = os.scandir

    def refusing(path: str) -> Any:
        if os.fspath(path) == folder:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)


# --- patterns


TREE = ("in/A.MP4", "in/b.mov", "in/c.jpg", "in/day1/a.mp4", "in/day1/raw/d.mp4", "in/day2/e.png")


@pytest.mark.parametrize(
    ("include", "exclude", "wanted"),
    [
        ((), (), "A.MP4 b.mov c.jpg day1/a.mp4 day1/raw/d.mp4 day2/e.png"),
        (("*.mp4",), (), "A.MP4 day1/a.mp4 day1/raw/d.mp4"),
        (("a.*",), (), "A.MP4 day1/a.mp4"),
        (("A.mp4", "*.PNG"), (), "A.MP4 day1/a.mp4 day2/e.png"),
        (("day1/*",), (), "day1/a.mp4 day1/raw/d.mp4"),
        (("DAY?/?.*",), (), "day1/a.mp4 day2/e.png"),
        (("*.mp4",), ("day1/*",), "A.MP4"),
        ((), ("raw",), "A.MP4 b.mov c.jpg day1/a.mp4 day2/e.png"),
        ((), ("raw/", "c.jpg/"), "A.MP4 b.mov c.jpg day1/a.mp4 day2/e.png"),
        ((), ("day1/raw",), "A.MP4 b.mov c.jpg day1/a.mp4 day2/e.png"),
        ((), ("day*", "*.m[op][v4]"), "c.jpg"),
        (("*.mov",), ("*.jpg",), "b.mov"),
    ],
)
def test_patterns(here: Path, include: tuple[str, ...], exclude: tuple[str, ...], wanted: str) -> None:
    touch(*TREE)
    found = inputs_of("in", selection=Selection(True, include, exclude))
    assert found == [f"in/{name}" for name in wanted.split()]


def test_excluded_folder_is_not_opened(here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    touch("in/a.mp4", "in/locked/b.mp4")
    lock(monkeypatch, "in/locked")
    assert inputs_of("in", selection=Selection(True, exclude=("locked",))) == ["in/a.mp4"]
    assert caplog.text == ""


def test_patterns_apply_only_to_files_in_folders(here: Path) -> None:
    touch("a.mp4", "in/b.mp4", "in/c.mov")
    assert inputs_of("a.mp4", "in", selection=Selection(include=("*.mov",), exclude=("a*",))) == ["a.mp4", "in/c.mov"]


# --- outputs of earlier runs


def test_outputs_of_an_earlier_run_are_no_inputs(here: Path) -> None:
    touch("in/a.mp4", "in/a.tiny.mp4", "in/a.slow.mp4", "in/b.webm", "in/b.tiny.mkv", "in/c.gif", "in/c.tiny.mp4", "in/d.jpg",
          "in/d.tiny.jpg", "in/day1/e.mp4", "in/day1/e.tiny.mp4")  # fmt: skip
    assert inputs_of("in", selection=RECURSIVE) == ["in/a.mp4", "in/b.webm", "in/c.gif", "in/d.jpg", "in/day1/e.mp4"]


def test_outputs_in_the_style_of_a_model_file_are_no_inputs(here: Path) -> None:
    touch("in/a.mp4", "in/a.mine.mp4", "in/a.yours.mp4")
    assert [job.input for job in plan(["in"], ["models/mine.onnx"])] == ["in/a.mp4", "in/a.yours.mp4"]


def test_name_with_a_style_is_an_input_if_there_is_no_original(here: Path) -> None:
    touch("in/sea.tiny.mp4", "in/a.mp4", "in/tiny.mp4")
    assert inputs_of("in") == ["in/a.mp4", "in/sea.tiny.mp4", "in/tiny.mp4"]


def test_output_of_an_excluded_file_is_no_input(here: Path) -> None:
    touch("in/a.mp4", "in/a.tiny.mp4", "in/b.mp4")
    assert inputs_of("in", selection=Selection(exclude=("a.mp4",))) == ["in/b.mp4"]


@pytest.mark.parametrize("output", ["in/stylized/", "in/stylized", "in/stylized/{name}", None])
def test_outputs_in_a_nested_output_folder_are_no_inputs(here: Path, output: str | None) -> None:
    touch("in/a.mp4", "in/day1/b.mp4", "in/stylized/a.tiny.mp4", "in/stylized/day1/b.tiny.mp4")
    assert inputs_of("in", selection=RECURSIVE, output=output) == ["in/a.mp4", "in/day1/b.mp4"]


def test_nothing_in_a_nested_output_folder_is_an_input(here: Path) -> None:
    touch("in/a.mp4", "in/stylized/whatever.mp4", "in/other/b.mp4")
    Path("way").symlink_to("in")
    assert inputs_of("in", selection=RECURSIVE, output="way/stylized/") == ["in/a.mp4", "in/other/b.mp4"]


def test_output_folder_around_the_input_hides_nothing(here: Path) -> None:
    touch("in/a.mp4", "in/day1/b.mp4")
    for output in ("in", ".", "in/../in/"):
        assert inputs_of("in", selection=RECURSIVE, output=output) == ["in/a.mp4", "in/day1/b.mp4"]


@pytest.mark.parametrize("template", ["{stem}_stylized{ext}", "in/{folder}/{stem}_stylized{ext}"])
def test_outputs_named_by_a_template_are_no_inputs_of_the_next_run(here: Path, template: str) -> None:
    touch("in/a.mp4", "in/day1/b.jpg")
    jobs = plan(["in"], ["tiny"], template, RECURSIVE)
    assert [str(job.output) for job in jobs] == ["in/a_stylized.mp4", "in/day1/b_stylized.jpg"]
    touch(*(str(job.output) for job in jobs))
    assert plan(["in"], ["tiny"], template, RECURSIVE) == jobs


@pytest.mark.parametrize("suffixes", [(".mkv", ".mp4"), (".mkv", ".avi")])
def test_original_with_the_name_of_an_output_is_not_ignored(here: Path, suffixes: tuple[str, str]) -> None:
    touch(*(f"in/a{suffix}" for suffix in suffixes))
    with pytest.raises(OutputExistsError, match=r"the output is the input itself: in/a.mkv"):
        plan(["in"], ["tiny"], "{stem}.mkv", Selection(include=("*.mkv",)))
    with pytest.raises((UsageError, OutputExistsError), match=r"in/a.mkv"):
        plan(["in"], ["tiny"], "{stem}.mkv")


def test_output_of_an_earlier_run_is_stylized_when_it_is_an_input(here: Path) -> None:
    touch("a.mp4", "a.tiny.mp4")
    assert outputs_of("a.tiny.mp4") == ["a.tiny.tiny.mp4"]


# --- missing inputs


def test_missing_inputs_are_named_in_the_error(here: Path) -> None:
    touch("a.mp4")
    with pytest.raises(InputError, match=r"no such file or folder: b.mp4$"):
        plan(["a.mp4", "b.mp4"], ["tiny"])
    with pytest.raises(InputError, match=r"no such file or folder: 1.mp4, 2.mp4, 3.mp4 and 2 more$"):
        plan([f"{n}.mp4" for n in (1, 2, 1, 3, 4, 5)], ["tiny"])


def test_no_input_is_a_usage_error(here: Path) -> None:
    with pytest.raises(UsageError, match="expected a video, an image or a folder"):
        plan([], ["tiny"])


@pytest.mark.parametrize(
    ("files", "selection", "message"),
    [
        ((), Selection(), r"found none in in$"),
        (("notes.txt",), Selection(), r"found none in in$"),
        (("a.mp4", "b.mp4"), Selection(include=("*.mov",)), r"besides 2 excluded by --include or --exclude$"),
        (("day1/a.mp4",), Selection(), r"found none in in; use --recursive to search its subfolders$"),
        (("day1/a.mp4",), Selection(recursive=True, exclude=("day1",)), r"found none in in$"),
        (
            ("a.jpg", "a.tiny.jpg"),
            Selection(exclude=("a.jpg",)),
            r"besides 1 excluded by .* and 1 stylized by an earlier run$",
        ),
    ],
)
def test_error_for_a_folder_without_inputs_gives_the_reason(
    here: Path, files: tuple[str, ...], selection: Selection, message: str
) -> None:
    Path("in").mkdir()
    touch(*(f"in/{name}" for name in files))
    with pytest.raises(InputError, match=message):
        plan(["in"], ["tiny"], selection=selection)


def test_each_of_several_folders_must_have_inputs(here: Path) -> None:
    touch("in/a.mp4")
    Path("empty").mkdir()
    with pytest.raises(InputError, match="found none in empty"):
        plan(["in", "empty"], ["tiny"])


# --- output paths


def test_outputs_are_beside_their_inputs(here: Path) -> None:
    touch("in/a.mp4", "in/day1/b.webm", "c.avi")
    assert outputs_of("in", "c.avi") == ["in/a.tiny.mp4", "in/day1/b.tiny.mkv", "c.tiny.mkv"]


@pytest.mark.parametrize("output", ["out", "out/", "new/out/"])
def test_output_folder_mirrors_the_inputs(here: Path, output: str) -> None:
    touch("in/a.mp4", "in/day1/sub/b.mp4", "far/away/c.mp4")
    wanted = ["a.tiny.mp4", "day1/sub/b.tiny.mp4", "c.tiny.mp4"]
    assert outputs_of("in", "far/away/c.mp4", output=output) == [str(Path(output, name)) for name in wanted]


def test_output_of_one_file_is_a_file_unless_the_folder_exists(here: Path) -> None:
    touch("a.mp4")
    assert outputs_of("a.mp4", output="out") == ["out"]
    assert outputs_of("a.mp4", "./a.mp4", output="new/b.mp4") == ["new/b.mp4"]
    assert outputs_of("a.mp4", output="out/") == ["out/a.tiny.mp4"]
    Path("out").mkdir()
    assert outputs_of("a.mp4", output="out") == ["out/a.tiny.mp4"]
    Path("folder.mp4").mkdir()
    assert outputs_of("a.mp4", output="folder.mp4") == ["folder.mp4/a.tiny.mp4"]


@pytest.mark.parametrize("output", ["out.mp4", "out/b.JPG", "there.txt"])
@pytest.mark.parametrize(
    ("inputs", "styles"), [(["a.mp4", "b.mp4"], ["tiny"]), (["in"], ["tiny"]), (["a.mp4"], ["tiny", "slow"])]
)
def test_several_outputs_need_a_folder(here: Path, inputs: list[str], styles: list[str], output: str) -> None:
    touch("a.mp4", "b.mp4", "in/c.mp4", "there.txt")
    with pytest.raises(UsageError, match=f"expected a folder .* got the name of a file: {output}"):
        plan(inputs, styles, output)


def test_urls(here: Path) -> None:
    touch("a.mp4")
    url = "https://example.com/videos/sea.webm?token=1"
    assert outputs_of(url) == ["sea.tiny.mkv"]
    assert outputs_of(url, "a.mp4", output="out") == ["out/sea.tiny.mkv", "out/a.tiny.mp4"]
    assert outputs_of(url, output="{stem}-{name}{ext}") == ["sea-sea.webm.mkv"]
    assert len(outputs_of(url, url, "https://example.com/videos/sky.webm")) == 2


def test_gif_becomes_mp4_unless_it_is_transparent(here: Path) -> None:
    frame = np.zeros((8, 8, 4), np.uint8)
    for name, alpha in (("solid", 255), ("clear", 0)):
        frame[:4, :, 3], frame[4:, :, 3] = 255, alpha
        animation = cv2.Animation()
        animation.frames, animation.durations = [frame, frame], [100, 100]
        assert cv2.imwriteanimation(f"{name}.gif", animation)
    assert outputs_of("solid.gif", "clear.gif") == ["solid.tiny.mp4", "clear.tiny.gif"]


# --- templates


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ("{stem}.{style}{ext}", ["in/a.tiny.mkv", "in/day1/b.tiny.jpg", "far/c.tiny.mp4"]),
        ("{stem}_x.mp4", ["in/a_x.mp4", "in/day1/b_x.mp4", "far/c_x.mp4"]),
        ("{style}-{name}.mkv", ["in/tiny-a.webm.mkv", "in/day1/tiny-b.jpg.mkv", "far/tiny-c.mp4.mkv"]),
        ("./{stem}{ext}", ["a.mkv", "b.jpg", "c.mp4"]),
        ("out/{folder}/{name}", ["out/a.webm", "out/day1/b.jpg", "out/c.mp4"]),
        ("{folder}/{stem}.new{ext}", ["a.new.mkv", "day1/b.new.jpg", "c.new.mp4"]),
        ("{style}/x/{stem}{ext}", ["tiny/x/a.mkv", "tiny/x/b.jpg", "tiny/x/c.mp4"]),
        ("../{stem}{ext}", ["../a.mkv", "../b.jpg", "../c.mp4"]),
        ("{{{stem}}}{ext}", ["in/{a}.mkv", "in/day1/{b}.jpg", "far/{c}.mp4"]),
        ("o{{}}/{stem}{ext}", ["o{}/a.mkv", "o{}/b.jpg", "o{}/c.mp4"]),
    ],
)
def test_templates(here: Path, template: str, wanted: list[str]) -> None:
    touch("in/a.webm", "in/day1/b.jpg", "far/c.mp4")
    assert outputs_of("in", "far/c.mp4", output=template) == wanted


def test_absolute_template(here: Path) -> None:
    touch("in/day1/b.jpg")
    assert outputs_of("in", output=f"{here}/out/{{folder}}/{{name}}") == [f"{here}/out/day1/b.jpg"]


def test_fields_are_inserted_literally(here: Path) -> None:
    touch("in/{style}/{x} %s.mp4")
    assert outputs_of("in", output="out/{folder}/{stem}!{ext}") == ["out/{style}/{x} %s!.mp4"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{stm}{ext}", r"{stem}, {ext}, {name}, {style}, {folder} in braces in -o, got {stm}{ext}; write {{ and }}"),
        ("{stem}-{n}{ext}", "expected only"),
        ("out/{}/{stem}{ext}", "expected only"),
        ("{0}{ext}", "expected only"),
        ("{stem.__class__}{ext}", "expected only"),
        ("{stem[0]}{ext}", "expected only"),
        ("{stem!r}{ext}", "expected only"),
        ("{stem:>90}{ext}", "expected only"),
        ("{stem", "matching braces"),
        ("{stem}}{ext}", "matching braces"),
        ("{stem}/{oops/a{ext}", "matching braces"),
        ("out/{style}/", "end in a file name"),
        ("out/{style}/{ext}", "end in a file name"),
        ("{folder}", "separate folder"),
        ("out/{folder}", "separate folder"),
        ("{folder}-{stem}{ext}", "separate folder"),
        ("a{folder}/{stem}{ext}", "separate folder"),
    ],
)
def test_invalid_templates_are_refused(here: Path, template: str, message: str) -> None:
    touch("a.mp4")
    with pytest.raises(UsageError, match=message):
        plan(["a.mp4"], ["tiny"], template)


@pytest.mark.parametrize("template", ["out/{stem}/x.mp4", "{stem}/../{name}", "out/{stem}"])
def test_field_cannot_lead_out_of_the_folder(here: Path, template: str) -> None:
    touch("in/...mp4")
    with pytest.raises(UsageError, match=r"expected a file name from {stem} in -o, got '..' for in/...mp4"):
        plan(["in/...mp4"], ["tiny"], template)


def test_existing_names_with_braces_are_no_templates(here: Path) -> None:
    touch("in/c.mp4", "a{b}/there", "old{.mp4")
    assert outputs_of("in", output="a{b}") == ["a{b}/c.tiny.mp4"]
    assert outputs_of("in", output="a{b}/new/") == ["a{b}/new/c.tiny.mp4"]
    assert outputs_of("in", output="a{b}/{stem}{ext}") == ["a{b}/c.mp4"]
    assert outputs_of("in/c.mp4", output="old{.mp4") == ["old{.mp4"]


def test_doubled_braces_are_literal_braces(here: Path) -> None:
    touch("in/c.mp4", "in/d.mp4")
    assert outputs_of("in/c.mp4", output="x{{1}}.mp4") == ["x{1}.mp4"]
    assert outputs_of("in", output="x{{1}}/") == ["x{1}/c.tiny.mp4", "x{1}/d.tiny.mp4"]


# --- styles


def test_every_input_is_stylized_in_every_style(here: Path) -> None:
    touch("a.mp4", "b.jpg", "models/mine.onnx")
    jobs = plan(["b.jpg", "a.mp4"], ["tiny", "models/mine.onnx", "slow", "tiny"])
    assert [(job.input, str(job.output), job.style) for job in jobs] == [
        ("b.jpg", "b.tiny.jpg", "tiny"),
        ("b.jpg", "b.mine.jpg", "models/mine.onnx"),
        ("b.jpg", "b.slow.jpg", "slow"),
        ("a.mp4", "a.tiny.mp4", "tiny"),
        ("a.mp4", "a.mine.mp4", "models/mine.onnx"),
        ("a.mp4", "a.slow.mp4", "slow"),
    ]


def test_one_folder_per_style(here: Path) -> None:
    touch("in/day1/a.mp4")
    outputs = outputs_of("in", output="out/{style}/{folder}/{name}", styles=("tiny", "slow"))
    assert outputs == ["out/tiny/day1/a.mp4", "out/slow/day1/a.mp4"]


# --- the same file twice


def test_file_found_twice_is_planned_once(here: Path) -> None:
    touch("in/a.mp4", "in/b.mp4", "in/day1/c.mp4")
    Path("in/again.mp4").symlink_to("b.mp4")
    Path("way").symlink_to("in")
    inputs = ["in/b.mp4", "in", "./in/../in/a.mp4", f"{here}/in/day1/c.mp4", "way/a.mp4", "in/day1", "way"]
    assert inputs_of(*inputs, selection=RECURSIVE) == ["in/b.mp4", "in/a.mp4", "in/day1/c.mp4"]


def test_first_path_to_a_file_names_its_output(here: Path) -> None:
    touch("in/day1/c.mp4")
    assert outputs_of("in/day1/c.mp4", "in", output="out/") == ["out/c.tiny.mp4"]
    assert outputs_of("in", "in/day1/c.mp4", output="out/") == ["out/day1/c.tiny.mp4"]


# --- collisions


@pytest.mark.parametrize(
    ("inputs", "output", "styles", "message"),
    [
        (
            ["in/a.avi", "in/a.webm"],
            None,
            ["tiny"],
            r"in/a.avi and in/a.webm would both be written to in/a.tiny.mkv; add {name} to -o",
        ),
        (["in"], "out/{name}", ["tiny"], r"in/b.mp4 and in/day1/b.mp4 would both be written to out/b.mp4; add {folder}/ to -o"),
        (["in/b.mp4"], "{stem}-x{ext}", ["tiny", "slow"], r"b.mp4 in the styles tiny and slow would both .*; add {style} to -o"),
        (["in/b.mp4"], None, ["x/m.onnx", "y/m.onnx"], r"styles x/m.onnx and y/m.onnx .*; run vidstyle once for each"),
        (["in/day1", "in/day2"], "out", ["tiny"], r"in/day1/b.mp4 and in/day2/b.mp4 would .*; run vidstyle once for each"),
        (["in/day1", "in/day2"], "way/../out/{name}", ["tiny"], r"both be written to way/../out/b.mp4; run vidstyle once"),
    ],
)
def test_two_jobs_with_one_output_are_refused(
    here: Path, inputs: list[str], output: str | None, styles: list[str], message: str
) -> None:
    touch("in/a.avi", "in/a.webm", "in/b.mp4", "in/day1/b.mp4", "in/day2/b.mp4")
    with pytest.raises(UsageError, match=message):
        plan(inputs, styles, output, Selection(True, exclude=("a.*", "day2")))


@pytest.mark.parametrize("how", ["name", "symbolic link", "hard link", "linked folder"])
def test_output_that_is_also_an_input_is_refused(here: Path, how: str) -> None:
    touch("a.mp4", "in/b.mp4")
    output = "out.mp4"
    if how == "symbolic link":
        Path(output).symlink_to("in/b.mp4")
    elif how == "hard link":
        Path(output).hardlink_to("in/b.mp4")
    else:
        Path("way").symlink_to("in")
        output = "in/b.mp4" if how == "name" else "way/b.mp4"
    template = output.replace("b", "{style}").replace("out", "{style}")
    with pytest.raises(UsageError, match=f"the output of a.mp4 would replace {output}, which is also an input"):
        plan(["a.mp4", "in/b.mp4"], ["models/b.onnx" if "b" in output else "models/out.onnx"], f"./{template}")


@pytest.mark.parametrize("output", ["a.mp4", "{name}", "./in/../{name}", "link.mp4"])
def test_output_that_is_its_own_input_is_refused(here: Path, output: str) -> None:
    touch("a.mp4", "in/b.mp4")
    Path("link.mp4").hardlink_to("a.mp4")
    with pytest.raises(OutputExistsError, match="the output is the input itself"):
        plan(["a.mp4"], ["tiny"], output)


def test_names_that_differ_only_in_case_collide_on_such_systems(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch("A.mp4", "a.mp4")
    assert len(plan(["A.mp4", "a.mp4"], ["tiny"], "{stem}.x.mp4")) == 2
    touch("one/B.mp4", "two/b.mp4")
    assert len(plan(["one/B.mp4", "two/b.mp4"], ["tiny"], "out/")) == 2
    monkeypatch.setattr(os.path, "normcase", str.lower)
    with pytest.raises(UsageError, match="would both be written"):
        plan(["one/B.mp4", "two/b.mp4"], ["tiny"], "out/")


# --- lists


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"a.mp4\nb c.mp4\n", ["a.mp4", "b c.mp4"]),
        (b"\n# not this\na.mp4\n \n\n./#this.mp4\n", ["a.mp4", "./#this.mp4"]),
        (b"a.mp4\r\nb.mp4\r\n\r\n# c\r\n", ["a.mp4", "b.mp4"]),
        (b"\xef\xbb\xbfa.mp4\nb.mp4", ["a.mp4", "b.mp4"]),
        (b"\xef\xbb\xbf# not this\na.mp4", ["a.mp4"]),
        ("k\u00fcste.mp4\n".encode(), ["k\u00fcste.mp4"]),
        ("line\u2028separator.mp4\nform\x0cfeed.mp4".encode(), ["line\u2028separator.mp4", "form\x0cfeed.mp4"]),
        (b"  spaces .mp4 \n", ["  spaces .mp4 "]),
        (b"", []),
    ],
)
def test_list_has_one_input_per_line(here: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, names: list[str]) -> None:
    Path("list.txt").write_bytes(data)
    assert read_list("list.txt") == names
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert read_list("-") == names


def test_list_may_contain_names_that_are_not_utf8(here: Path) -> None:
    name = b"k\xfcste.mp4"  # Latin-1
    Path(os.fsdecode(name)).write_bytes(b"x")
    Path("list.txt").write_bytes(name + b"\n")
    [job] = plan(read_list("list.txt"), ["tiny"])
    assert os.fsencode(job.input) == name
    assert os.fsencode(job.output) == b"k\xfcste.tiny.mp4"


def test_closed_stdin_is_an_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert read_list("-") == []


@pytest.mark.parametrize("name", ["none.txt", "folder", "nul\0"])
def test_unreadable_list_is_an_error(here: Path, name: str) -> None:
    Path("folder").mkdir()
    with pytest.raises(InputError, match="expected a readable list of inputs, got"):
        read_list(name)


def test_binary_list_is_a_list_of_missing_files(here: Path) -> None:
    Path("list.txt").write_bytes(b"a\0b\n\xff\xfe\n" + b"x" * 5000)
    with pytest.raises(InputError, match="no such file or folder: a"):
        plan(read_list("list.txt"), ["tiny"])


# --- watched folders


MakePlanner = Callable[..., Planner]


@pytest.fixture
def watched(here: Path) -> MakePlanner:
    """Planners for the folder `in`, which may be empty."""
    Path("in").mkdir()
    return lambda output=None, *more: Planner(["in", *more], ["tiny"], output, RECURSIVE)


@pytest.mark.parametrize("output", [None, "out/", "in/out", "{stem}_x{ext}", "out/{folder}/{name}"])
def test_new_files_get_the_jobs_of_a_full_plan(watched: MakePlanner, output: str | None) -> None:
    planner = watched(output)
    assert planner.files_in_folders() == []
    assert planner.plan_for([]) == []
    touch("in/a.mp4", "in/day1/b.webm")
    first = planner.plan_for(planner.files_in_folders())
    assert first == planner.plan()
    touch(*(str(job.output) for job in first), "in/day1/c.mp4", "in/notes.txt")
    assert planner.files_in_folders() == ["in/a.mp4", "in/day1/b.webm", "in/day1/c.mp4"]
    assert planner.plan_for(["in/day1/c.mp4"]) == planner.plan()[2:]


def test_deleted_file_has_no_job(watched: MakePlanner) -> None:
    assert watched().plan_for(["in/gone.mp4"]) == []


def test_direct_inputs_can_be_planned_alone(watched: MakePlanner) -> None:
    touch("x.mp4")
    planner = watched("out", "x.mp4")
    assert planner.folders == ["in"]
    assert planner.direct_inputs == ["x.mp4"]
    assert planner.plan_for(planner.direct_inputs) == [Job("x.mp4", Path("out/x.tiny.mp4"), "tiny")]
    assert planner.files_in_folders() == []


@pytest.mark.parametrize(("old", "new"), [("a.mp4", "a.mov"), ("a.mov", "a.mp4")])
def test_new_file_with_a_colliding_output_is_skipped_with_a_warning(
    watched: MakePlanner, caplog: pytest.LogCaptureFixture, old: str, new: str
) -> None:
    planner = watched("{stem}.x.mp4")
    touch(f"in/{old}")
    [job] = planner.plan_for([f"in/{old}"])
    touch(f"in/{new}", "in/b.mp4")
    assert [job.input for job in planner.plan_for([f"in/{new}", "in/b.mp4"])] == ["in/b.mp4"]
    assert "would both be written" in caplog.text
    assert f"skipping in/{new}" in caplog.text
    caplog.clear()
    assert planner.plan_for([f"in/{old}"]) == [job], "a file planned earlier keeps its output, also when it changes"
    assert caplog.text == ""


def test_incomplete_file_reserves_no_output(watched: MakePlanner, caplog: pytest.LogCaptureFixture) -> None:
    planner = watched("{stem}.x.mp4")
    touch("in/a.mkv", "in/a.mov", "in/a.mp4")
    assert [job.input for job in planner.plan_for(["in/a.mov"])] == ["in/a.mov"]
    assert caplog.text == ""


def test_missing_watched_folder_is_reported_once(watched: MakePlanner, caplog: pytest.LogCaptureFixture) -> None:
    planner = watched()
    touch("in/a.mp4")
    os.rename("in", "elsewhere")
    assert [planner.files_in_folders() for _ in range(3)] == [[], [], []]
    assert [(r.levelno, "in (No such file or directory)" in r.message) for r in caplog.records] == [(logging.WARNING, True)]
    os.rename("elsewhere", "in")
    assert planner.files_in_folders() == ["in/a.mp4"]
