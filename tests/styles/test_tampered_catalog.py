"""A catalogue that somebody has tampered with: one sentence, exit code 4, and no file but a style's own is read or removed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.helpers import listing, run_cli

COMMANDS = [
    ["in.mp4", "--style", "tiny"],
    ["in.mp4", "--style", "tiny", "--dry-run"],
    ["paint", "in.png", "--style", "tiny"],
    ["styles"],
    ["styles", "--json"],
    ["styles", "verify", "tiny"],
    ["styles", "remove", "tiny"],
]

BROKEN = {
    "list": "[]",
    "styles null": '{"styles": null}',
    "style as text": '{"styles": {"tiny": "tiny.onnx"}}',
    "style as pairs": '{"styles": {"tiny": [["file", "tiny.onnx"]]}}',
    "exemplar as a list": '{"styles": {"tiny": {"file": "tiny.onnx", "exemplar": ["tiny.jpg"]}}}',
    "nested": "[" * 100_000,
    "cut": '{"styles": {"tiny": {"fi',
}

WRONG_FILES: list[Any] = [None, ["a"], "", "..", "../secret.onnx", "/dev/zero", "a\0.onnx", "x" * 300 + ".onnx", "catalog.json"]


@pytest.fixture
def own(tmp_path: Path, styles: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's styles, with the style `tiny`."""
    own = tmp_path / "mine" / "styles"
    own.mkdir(parents=True)
    shutil.copy(styles / "tiny.onnx", own)
    shutil.copy(styles / "tiny.onnx", own.parent / "secret.onnx")
    shutil.copy(styles / "catalog.json", own)
    monkeypatch.setenv("VIDSTYLE_STYLES", str(own))
    return own


def run(clip: Path, *args: str) -> tuple[int, str]:
    """The exit code and the one line of stderr."""
    clip.with_suffix(".png").write_bytes(b"no image")
    done = run_cli(*args, cwd=clip.parent)
    lines = done.stderr.splitlines()
    assert len(lines) <= 1, done.stderr
    return done.returncode, (lines or done.stdout.splitlines() or [""])[0]


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_catalogue_of_wrong_types(clip: Path, own: Path, content: str) -> None:
    (own / "catalog.json").write_text(content)
    for args in COMMANDS:
        code, line = run(clip, *args)
        assert code == 4, args
        assert f"could not read the catalogue of styles {own / 'catalog.json'}" in line
    assert (own / "catalog.json").read_text() == content


def test_catalogue_that_is_a_pipe(clip: Path, own: Path) -> None:
    (own / "catalog.json").unlink()
    os.mkfifo(own / "catalog.json")
    assert run(clip, "styles") == (4, f"error: could not read the catalogue of styles {own / 'catalog.json'} (it is not a file)")


@pytest.mark.parametrize("file", WRONG_FILES, ids=lambda file: repr(file)[:20])
def test_style_whose_file_is_no_model_of_the_catalogue(clip: Path, own: Path, file: Any) -> None:
    facts = {"file": file, "sha256": 3, "title": [1], "painter": None, "exemplar": {"file": file, "sha256": None}}
    (own / "catalog.json").write_text(json.dumps({"styles": {"tiny": facts}}))
    before = set(listing(own.parent))
    for args in (["in.mp4", "--style", "tiny"], ["styles", "verify", "tiny"]):
        code, line = run(clip, *args)
        assert code == 4
        assert "the model of style 'tiny'" in line
    for args in (["styles"], ["styles", "--json"], ["styles", "remove", "tiny"]):
        assert run(clip, *args)[0] == 0
    assert set(listing(own.parent)) == before
    assert json.loads((own / "catalog.json").read_text()) == {"styles": {}}
