"""Inputs that are replaced or written to while they are converted: no output is made from two files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.support.folder_runs import ObservedConversion
from tests.support.helpers import listing, moving_bar, noise, rgb_of, run_cli, write_clip
from tests.support.runs import DAMAGE, DONE, FAILED
from vidstyle.core.errors import InputChangedError
from vidstyle.core.file_identity import identity_of
from vidstyle.core.options import Trim
from vidstyle.media.container import local_files
from vidstyle.studio.keyframes.render import _frames

CHANGED = "to stay as it was, but it was replaced or written to during the run"

Change = Callable[[Path], object]


def replace(path: Path) -> None:
    """Another file takes the place, with another name for the old one."""
    os.rename(path, path.with_name("before"))
    shutil.copy2(path.with_name("other"), path)


def write_on(path: Path) -> None:
    """The file grows, as one that is still being copied."""
    with path.open("ab") as file:
        file.write(bytes(1000))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`in.mkv`, and another video of the same properties to take its place."""
    folder = tmp_path_factory.mktemp("clips")
    clip: dict[str, Any] = {"times": range(30), "time_base": Fraction(1, 2), "options": {"g": "10"}}
    write_clip(folder / "in.mkv", **clip, audio=["eng"])
    write_clip(folder / "other.mkv", **clip, audio=["deu"], image=noise).rename(folder / "other")
    return folder


@pytest.fixture
def folder(clips: Path, tmp_path: Path) -> Path:
    """A copy of the folder of the clips, and nothing else."""
    return Path(shutil.copytree(clips, tmp_path / "clips"))


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], object]], None]:
    """Does something once, when a conversion reaches a step such as `publishing in`."""
    monkeypatch.setattr("vidstyle.batch.runner.Conversion", ObservedConversion)

    def at(step: str, change: Callable[[], object]) -> None:
        changes = [change]
        monkeypatch.setattr(
            ObservedConversion, "on_step", staticmethod(lambda now: changes.pop()() if now == step and changes else None)
        )

    return at


@pytest.mark.parametrize("change", [replace, write_on])
def test_changed_input_is_reported_and_finished_segments_are_kept(folder: Path, at: Callable[..., None], change: Change) -> None:
    clip = folder / "in.mkv"
    before = clip.read_bytes(), clip.stat()
    command = [clip, "-o", folder / "out.mkv", "--style", "tiny", "--resume"]
    at("publishing in", lambda: change(clip))
    done = run_cli(*command)
    assert done.returncode == FAILED
    assert CHANGED in done.stderr
    assert not (folder / "out.mkv").exists()
    kept = listing(folder / ".out.mkv.resume")
    assert any(name.endswith(".nut") for name in kept)

    if change is replace:
        os.rename(folder / "before", clip)
    else:
        clip.write_bytes(before[0])
        os.utime(clip, ns=(before[1].st_atime_ns, before[1].st_mtime_ns))
    assert run_cli(*command).returncode == DONE
    assert run_cli(clip, "-o", folder / "whole.mkv", "--style", "tiny", "--resume").returncode == DONE
    assert (rgb_of(folder / "out.mkv") == rgb_of(folder / "whole.mkv")).all()


@pytest.mark.parametrize("step", ["opening in", "opened in"])
def test_input_that_is_replaced_early_is_reported(folder: Path, at: Callable[..., None], step: str) -> None:
    """Before the video is opened, when its fingerprint is taken already; and before it is opened again for the first shot."""
    at(step, lambda: replace(folder / "in.mkv"))
    done = run_cli(folder / "in.mkv", "-o", folder / "out.mkv", "--style", "tiny")
    assert (done.returncode, CHANGED in done.stderr) == (FAILED, True), done.stderr
    assert listing(folder) == ["before", "in.mkv", "other"]


def test_segment_of_another_file_is_not_kept(folder: Path, at: Callable[..., None]) -> None:
    at("opened in", lambda: write_on(folder / "in.mkv"))
    done = run_cli(folder / "in.mkv", "-o", folder / "out.mkv", "--style", "tiny", "--resume")
    assert (done.returncode, CHANGED in done.stderr) == (FAILED, True), done.stderr
    assert listing(folder) == ["in.mkv", "other"]


def test_changed_input_in_a_folder_costs_only_its_own_output(folder: Path, at: Callable[..., None]) -> None:
    write_clip(folder / "b.mkv", times=range(6))
    cv2.imwrite(str(folder / "c.png"), moving_bar(3, 64, 48))
    at("publishing in", lambda: replace(folder / "in.mkv"))
    done = run_cli(folder, "-o", folder / "out", "--style", "tiny")
    assert (done.returncode, CHANGED in done.stderr) == (DAMAGE, True), done.stderr
    assert listing(folder / "out") == ["b.tiny.mkv", "c.tiny.png"]


@pytest.mark.parametrize("mask", ["mask.png", "mask.mkv"])
def test_changed_mask_is_reported(folder: Path, at: Callable[..., None], mask: str) -> None:
    path = folder / mask
    cv2.imwrite(str(folder / "mask.png"), 255 - 0 * moving_bar(3, 64, 48))
    shutil.copy2(folder / "in.mkv", folder / "mask.mkv")
    at("opened in", lambda: replace(path))
    done = run_cli(folder / "in.mkv", "-o", folder / "out.mkv", "--style", "tiny", "--mask", path)
    assert (done.returncode, CHANGED in done.stderr) == (FAILED, True), done.stderr
    assert not (folder / "out.mkv").exists()


def test_changed_image_is_reported(folder: Path, at: Callable[..., None]) -> None:
    cv2.imwrite(str(folder / "in.png"), moving_bar(3, 64, 48))
    at("opening in", lambda: write_on(folder / "in.png"))
    done = run_cli(folder / "in.png", "-o", folder / "out.png", "--style", "tiny")
    assert (done.returncode, CHANGED in done.stderr) == (FAILED, True), done.stderr
    assert not (folder / "out.png").exists()


def test_input_that_is_removed_can_be_read_to_its_end(folder: Path, at: Callable[..., None]) -> None:
    at("publishing in", (folder / "in.mkv").unlink)
    assert run_cli(folder / "in.mkv", "-o", folder / "out.mkv", "--style", "tiny").returncode == DONE


def test_keyframes_come_from_one_file(folder: Path) -> None:
    clip = folder / "in.mkv"
    files = local_files(str(clip))
    frames = _frames(str(clip), Trim(), files)
    next(frames)
    replace(clip)
    with pytest.raises(InputChangedError):
        list(frames)
    with pytest.raises(InputChangedError):
        next(_frames(str(clip), Trim(), files))


def test_file_of_another_time_is_another_file(folder: Path) -> None:
    clip = folder / "in.mkv"
    file = identity_of(clip)
    file.check()
    os.utime(clip, ns=(0, file.modified_ns + 1))
    with pytest.raises(InputChangedError):
        file.check()
