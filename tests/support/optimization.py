"""Commands that optimize images: inputs, and command lines that must succeed or be refused."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.helpers import listing, run_cli
from tests.support.textures import texture
from vidstyle.cli import run_command_line

FAILED, USAGE, MODEL = 1, 2, 4

Refuses = Callable[..., None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `photo.png` of 64x48, the style image `sea.png`, and `mask.png`, whose left half is white."""
    cv2.imwrite(str(tmp_path / "photo.png"), texture(48, 64, seed=1))
    cv2.imwrite(str(tmp_path / "sea.png"), texture(64, 80, seed=2, softness=1))
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :32] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    return tmp_path


@pytest.fixture
def refuses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refuses:
    """A check that a command line is refused, run in this process: importing torch in one of its own takes long."""

    def refuses(folder: Path, code: int, *args: object, message: str = "") -> None:
        """`vidstyle ARGS` prints one line that contains `message`, and leaves `folder` as it was."""
        monkeypatch.chdir(folder)
        before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        names = listing(folder)
        assert run_command_line([*map(str, args), "-q"]) == code
        out, err = capsys.readouterr()
        assert len(err.splitlines()) == 1, err
        assert err.startswith("error: ")
        assert message in err
        assert out == ""
        assert listing(folder) == names
        assert all(p.read_bytes() == data for p, data in before.items())

    return refuses


def run_successfully(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    done = run_cli(*args, **options)
    assert done.returncode == 0, done.stderr
    return done
