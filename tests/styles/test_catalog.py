"""The shipped styles: the catalogue, the files and their metadata."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.support.helpers import moving_bar, run_cli
from vidstyle.core.options import StyleOptions
from vidstyle.styles.catalog import read_catalog, shipped_folder
from vidstyle.stylizers import load_stylizer

SHIPPED = read_catalog(shipped_folder())
each_style = pytest.mark.parametrize(("name", "entry"), SHIPPED.items(), ids=SHIPPED.keys())


@pytest.fixture(autouse=True)
def only_shipped_styles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDSTYLE_STYLES", str(tmp_path / "none"))


def test_the_default_style_ships() -> None:
    assert StyleOptions.style == "mosaic"
    assert "mosaic" in SHIPPED


@each_style
def test_the_file_is_the_one_that_the_catalogue_names(name: str, entry: dict[str, Any]) -> None:
    path = shipped_folder() / entry["file"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
    assert path.stat().st_size < 10 << 20


def test_every_model_file_is_in_the_catalogue() -> None:
    files = {p.name for p in shipped_folder().glob("*.onnx")}
    assert files == {facts["file"] for facts in SHIPPED.values()}


@each_style
def test_the_metadata_contain_the_training_commands(name: str, entry: dict[str, Any]) -> None:
    model = onnx.load(shipped_folder() / entry["file"])
    facts = {p.key: p.value for p in model.metadata_props}
    commands = [step["command"] for step in json.loads(facts["vidstyle.commands"])]
    assert commands
    assert all("train" in command and "--photos" in command for command in commands)
    for fact in ("painter", "year", "licence", "title"):
        assert facts[f"vidstyle.{fact}"] == entry[fact]
        assert entry[fact] not in ("", "unknown")
    assert not any("/home" in value or "/root" in value for value in facts.values())


@each_style
def test_every_shipped_style_stylizes(name: str, entry: dict[str, Any]) -> None:
    image = moving_bar(3, 83, 61)
    stylized = load_stylizer(StyleOptions(name, device="cpu")).stylize([image, image])
    assert stylized.shape == (2, 61, 83, 3)
    assert stylized.dtype == np.uint8
    assert stylized.std() > 10
    assert np.abs(stylized[0].astype(int) - image).mean() > 5


def test_every_shipped_style_is_listed() -> None:
    printed = run_cli("styles").stdout
    assert [name for name, entry in SHIPPED.items() if name not in printed or entry["painter"] not in printed] == []
