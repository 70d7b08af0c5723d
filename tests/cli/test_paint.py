"""`vidstyle paint` on the command line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.helpers import (
    events,
    imread,
    listing,
)
from tests.support.optimization import FAILED, MODEL, USAGE, Refuses, run_successfully
from tests.support.textures import texture
from vidstyle.cli import run_command_line
from vidstyle.studio.optimize.image_optimizer import ImageOptimizer


def test_image_is_stylized_beside_itself_and_not_overwritten(folder: Path, refuses: Refuses) -> None:
    before = listing(folder)
    run_successfully("paint", "photo.png", "--style", "sea.png", "--steps", 3, cwd=folder)
    assert listing(folder) == sorted([*before, "photo.sea.png"])
    photo, stylized = (imread(folder / name).astype(int) for name in ("photo.png", "photo.sea.png"))
    assert stylized.shape == photo.shape
    assert np.abs(stylized - photo).mean() > 1
    refuses(folder, FAILED, "paint", "photo.png", "--style", "sea.png", "--steps", 3, message="--overwrite")
    again = ["--overwrite", "--mask", "mask.png", "--recipe", "gatys"]
    run_successfully("paint", "photo.png", "--style", "sea.png", "--steps", 3, *again, cwd=folder)
    masked = imread(folder / "photo.sea.png").astype(int)
    assert (masked[:, 32:] == photo[:, 32:]).all()
    assert np.abs(masked[:, :32] - photo[:, :32]).mean() > 1


def test_progress_is_json_events(folder: Path) -> None:
    style = "sea.png:3,photo.png:1"
    done = run_successfully(
        "paint", "photo.png", "--style", style, "--steps", 3, "--progress", "json", "-o", "out.jpg", cwd=folder
    )
    found = events(done.stderr)
    kinds = [event["event"] for event in found]
    assert set(kinds[:-2]) == {"stage"}
    assert kinds[-2:] == ["file_done", "exit"]
    assert {"stage": "stylizing out.jpg", "done": 1, "total": 3}.items() <= found[0].items()
    assert found[0]["seconds_left"] >= 0
    assert {"input": "photo.png", "output": "out.jpg", "status": "done", "frames": 1}.items() <= found[-2].items()
    assert found[-1] == {"v": 1, "event": "exit", "code": 0}
    assert imread(folder / "out.jpg").shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("code", "args", "message"),
    [(USAGE, ["clip.mp4", "--style", "sea.png"], "vidstyle keyframes"),
     (FAILED, ["missing.png", "--style", "sea.png"], "missing.png"),
     (FAILED, ["photo.png", "--style", "missing.png"], "missing.png"),
     (MODEL, ["photo.png", "--style", "no-such-style"], "no-such-style"),
     (MODEL, ["photo.png", "--style", "tiny"], "give an image file"),
     (FAILED, ["photo.png", "--style", "sea.png", "--mask", "sea.png"], "64x48"),
     (FAILED, ["photo.png", "--style", "sea.png", "--mask", "night.png"], "white"),
     (FAILED, ["small.png", "--style", "sea.png"], "8x8"),
     (MODEL, ["photo.png", "--style", "sea.png", "--device", "gpu"], "gpu"),
     (FAILED, ["photo.png", "--style", "sea.png", "-o", "photo.png", "--overwrite"], "input itself")],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_invalid_arguments_are_refused(folder: Path, refuses: Refuses, code: int, args: list[str], message: str) -> None:
    cv2.imwrite(str(folder / "night.png"), np.zeros((48, 64), np.uint8))
    cv2.imwrite(str(folder / "small.png"), texture(8, 8))
    (folder / "clip.mp4").write_bytes(b"not looked at")
    refuses(folder, code, "paint", *args, message=message)


@pytest.mark.parametrize("option", ["--memory", "--stroke-scale", "--content-weight"])
def test_nan_is_an_error_of_usage(folder: Path, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    monkeypatch.chdir(folder)
    assert run_command_line(["paint", "photo.png", "--style", "sea.png", "--steps", "1", option, "nan"]) == USAGE
    assert not (folder / "photo.sea.png").exists()


def test_unsupported_output_format_is_refused_before_optimization(
    folder: Path, refuses: Refuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageOptimizer, "optimize", lambda *args: pytest.fail("stylized in vain"))
    refuses(folder, FAILED, "paint", "photo.png", "--style", "sea.png", "-o", "out.xyz", message=".xyz")
