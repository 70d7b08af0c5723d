"""No command replaces a file that it reads, not even with --overwrite, and not under another name of that file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.helpers import moving_bar, noise, run_cli, write_clip
from tests.support.runs import FAILED


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video and images, some of them in working folders, and a list of inputs."""
    folder = tmp_path_factory.mktemp("files")
    write_clip(folder / "in.mp4")
    (folder / "list.mp4").write_text("in.mp4\n")
    for name in ("photo.png", "style.jpg", "mask.jpg"):
        cv2.imwrite(str(folder / name), 255 - 0 * moving_bar(0, 64, 48) if name == "mask.jpg" else noise(0, 80, 80))
    for name in ("work/preview.jpg", "work/preview.png", "work/stylized/000000.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), noise(1, 80, 80))
    (folder / "photos").mkdir()
    for number in range(24):
        cv2.imwrite(str(folder / f"photos/p{number}.jpg"), cv2.resize(noise(number, 6, 6), (96, 96)))
    cv2.imwrite(str(folder / "photos/mine.jpg"), np.ascontiguousarray(moving_bar(5, 96, 96)))
    return folder


@pytest.fixture
def folder(files: Path, tmp_path: Path) -> Path:
    copy = Path(shutil.copytree(files, tmp_path / "files"))
    os.link(copy / "style.jpg", copy / "hard.jpg")
    os.symlink("style.jpg", copy / "soft.jpg")
    return copy


PAINT = ["paint", "photo.png", "--steps", "1"]
KEYFRAMES = ["keyframes", "in.mp4", "--steps", "1", "-o", "out.mp4"]
TRAIN = ["train", "--name", "mine", "--photos", "photos", "--steps", "1", "--crop", "64"]


@pytest.mark.parametrize(
    ("what", "name", "command"),
    [
        ("input", "in.mp4", ["in.mp4", "--style", "tiny", "-o", "in.mp4"]),
        ("mask", "mask.jpg", ["photo.png", "--style", "tiny", "--mask", "mask.jpg", "-o", "mask.jpg"]),
        ("list of inputs", "list.mp4", ["-a", "list.mp4", "--style", "tiny", "-o", "list.mp4"]),
        ("input", "photo.png", [*PAINT, "--style", "style.jpg", "-o", "photo.png"]),
        ("style image", "style.jpg", [*PAINT, "--style", "style.jpg", "-o", "style.jpg"]),
        ("style image", "style.jpg", [*PAINT, "--style", "style.jpg:2,mask.jpg", "-o", "hard.jpg"]),
        ("style image", "style.jpg", [*PAINT, "--style", "style.jpg", "-o", "soft.jpg"]),
        ("mask", "mask.jpg", [*PAINT, "--style", "style.jpg", "--mask", "mask.jpg", "-o", "mask.jpg"]),
        ("input", "in.mp4", [*KEYFRAMES, "--style", "style.jpg", "-o", "in.mp4"]),
        ("style image", "work/preview.jpg", [*KEYFRAMES, "--style", "work/preview.jpg", "--work", "work"]),
        ("style image", "work/stylized/000000.png", [*KEYFRAMES, "--style", "work/stylized/000000.png", "--work", "work"]),
        ("input", "in.mp4", ["bench", "in.mp4", "--json", "in.mp4"]),
        ("input", "photo.png", ["styles", "--sheet", "photo.png", "--image", "photo.png"]),
        ("style image", "style.jpg", [*TRAIN, "style.jpg", "--name", "style", "--into", "."]),
        ("style image", "work/preview.png", [*TRAIN, "work/preview.png", "--into", "new", "--work", "work"]),
        ("photograph", "photos/mine.jpg", [*TRAIN, "style.jpg", "--style-size", "64", "--into", "photos"]),
    ],
)
def test_output_that_is_read_is_refused(folder: Path, what: str, name: str, command: list[str]) -> None:
    before = (folder / name).read_bytes()
    done = run_cli(*command, "--overwrite", cwd=folder)
    assert done.returncode == FAILED, done.stderr
    assert f"the output is the {what} itself" in done.stderr
    assert (folder / name).read_bytes() == before
    assert (folder / "soft.jpg").is_symlink()
