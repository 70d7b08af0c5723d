"""The Python examples of README.md and docs/python.md run and write what they announce."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.helpers import ROOT, audio_of, environment, frames_of, listing, moving_bar, write_clip

PAGES = ("README.md", "docs/python.md")
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_ANNOUNCED = re.compile(r"# -> (\S+)$", re.MULTILINE)


def examples() -> Sequence[object]:
    """Every Python block of the pages, with the page and its first line as the id."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text("utf-8")
        for block in _BLOCK.finditer(text):
            line = text.count("\n", 0, block.start()) + 1
            found.append(pytest.param(block[1], id=f"{page}:{line}"))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the inputs of the examples."""
    image = moving_bar(5, 96, 64)[..., ::-1]
    for name in ("clips", "photos"):
        (tmp_path / name).mkdir()
    write_clip(tmp_path / "holiday.mp4", size=(96, 64), times=range(24), audio=["eng"])
    write_clip(tmp_path / "clips" / "beach.mp4", times=range(6))
    (tmp_path / "clips" / "broken.mp4").write_bytes(b"no video" * 20)
    for name in ("photo.jpg", "photos/first.jpg", "photos/second.jpg"):
        cv2.imwrite(str(tmp_path / name), np.ascontiguousarray(image))
    return tmp_path


@pytest.mark.parametrize("code", examples())
def test_an_example_runs_and_writes_what_it_announces(code: str, folder: Path) -> None:
    before = listing(folder)
    env = environment(VIDSTYLE_STYLES=str(folder / "none"))
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    announced = _ANNOUNCED.findall(code)
    assert announced or done.stdout
    assert {*announced} <= {*listing(folder)} - {*before}
    for name in announced:
        assert frames_of(folder / name)
    if 'like="holiday.mp4"' in code:
        assert len(audio_of(folder / announced[0])) == 1


def test_the_table_of_options_is_complete() -> None:
    from vidstyle.api.options_from import names_of
    from vidstyle.core.options import ConvertOptions, Selection

    page = (ROOT / "docs/python.md").read_text("utf-8")
    table = page[page.index("| network |") : page.index("## Progress")]
    assert {*re.findall(r"`(\w+)`", table)} == names_of(ConvertOptions) | names_of(Selection)
