"""`vidstyle train`, on tiny photographs with a tiny encoder."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import onnx
import pytest
import torch
from torch import Tensor

from tests.support.helpers import listing, paint, rgb_of, run_cli, write_clip
from tests.support.networks import soft_image
from vidstyle.cli import run_command_line
from vidstyle.networks.export import export_onnx
from vidstyle.studio.style_images import read_style_image
from vidstyle.studio.training import exemplar, new_style
from vidstyle.studio.training.trainer import Trainer
from vidstyle.styles.catalog import add_style, find_exemplar


@pytest.fixture
def arguments(tmp_path: Path, photos: Path, style_image: Path, encoder_file: Path) -> list[object]:
    """`vidstyle train` for seconds instead of hours, in `tmp_path` as the working folder."""
    sizes = ["--steps", 2, "--identity-steps", 1, "--batch", 1, "--crop", 64, "--style-size", 64, "--no-exemplar"]
    return [
        "train",
        style_image,
        "--photos",
        photos,
        "--encoder",
        encoder_file,
        "--painter",
        "Someone",
        "--licence",
        "CC0",
        *sizes,
    ]


def own(tmp_path: Path) -> dict[str, str]:
    return {"VIDSTYLE_STYLES": str(tmp_path / "own")}


def test_train_creates_a_usable_style(tmp_path: Path, arguments: list[object]) -> None:
    names = ["--name", "sea", "--title", "The Sea", "--into", tmp_path / "own"]
    done = run_cli(*arguments, *names, "--from", "none", cwd=tmp_path, env=own(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "step 3/3" in done.stderr
    assert "sea.training/preview.png" in done.stderr
    assert "--style sea" in done.stdout
    assert listing(tmp_path / "own") == ["catalog.json", "sea.onnx"]
    entry = json.loads((tmp_path / "own" / "catalog.json").read_text())["styles"]["sea"]
    assert (entry["title"], entry["painter"], entry["licence"]) == ("The Sea", "Someone", "CC0")
    facts = {p.key: p.value for p in onnx.load(tmp_path / "own" / "sea.onnx").metadata_props}
    assert re.fullmatch("[0-9a-f]{12}", facts["vidstyle.family"])
    assert entry["family"] == facts["vidstyle.family"]
    command = json.loads(facts["vidstyle.commands"])[0]["command"]
    assert "train style.png" in command
    assert "--name sea" in command
    assert str(tmp_path) not in command
    clip = write_clip(tmp_path / "in.mp4", times=range(3))
    paint(clip, style="sea", env=own(tmp_path))
    assert rgb_of(tmp_path / "in.sea.mp4").shape == (3, 48, 64, 3)
    assert "Someone" in run_cli("styles", env=own(tmp_path)).stdout


SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}

# In this process, because importing torch for each command takes longest


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Runs the command line in `tmp_path`; restores signal handlers and logging afterwards."""
    handlers, signals = logging.root.handlers[:], [(n, signal.getsignal(n)) for n in SIGNALS]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIDSTYLE_STYLES", str(tmp_path / "own"))
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # may be ignored where the tests run
    yield lambda *args: run_command_line([str(a) for a in args])
    logging.root.handlers[:] = handlers
    for number, handler in signals:
        signal.signal(number, handler)


def without(arguments: list[object], option: str) -> list[object]:
    """`arguments` without `option` and its value."""
    at = arguments.index(option)
    return arguments[:at] + arguments[at + 2 :]


Here = Callable[..., int]
Captured = pytest.CaptureFixture[str]


def test_train_starts_from_another_style(here: Here, arguments: list[object], tmp_path: Path, capsys: Captured) -> None:
    assert here(*arguments, "--name", "sea", "--from", "none") == 0
    capsys.readouterr()
    assert here(*arguments, "--name", "storm", "--from", "sea") == 0
    assert "step 2/2" in capsys.readouterr().err, "no identity steps when training starts from a style"
    facts = {p.key: p.value for p in onnx.load(tmp_path / "own" / "storm.onnx").metadata_props}
    assert len(json.loads(facts["vidstyle.commands"])) == 2
    entries = json.loads((tmp_path / "own" / "catalog.json").read_text())["styles"]
    assert set(entries) == {"sea", "storm"}
    assert entries["sea"]["family"] == entries["storm"]["family"] == facts["vidstyle.family"]


def test_existing_style_is_kept_without_overwrite(here: Here, arguments: list[object], tmp_path: Path, capsys: Captured) -> None:
    assert here(*arguments, "--name", "sea") == 0
    before = (tmp_path / "own" / "catalog.json").read_text()
    assert here(*arguments, "--name", "sea", "--title", "Anew") == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "own" / "catalog.json").read_text() == before
    assert here(*arguments, "--name", "sea", "--title", "Anew", "--overwrite") == 0
    assert "Anew" in (tmp_path / "own" / "catalog.json").read_text()


@pytest.mark.parametrize(
    ("change", "code"),
    [(["--name", "Bad Name"], 1), (["--name", "../evil"], 1), (["--name", "sea", "--crop", "65"], 2),
     (["--name", "sea", "--photos", "nowhere"], 1), (["--name", "sea", "--encoder", "nowhere.pth"], 4),
     (["--name", "sea", "--encoder", "style.png"], 4), (["--name", "sea", "--from", "no-such-style"], 4),
     (["--name", "sea", "--consistency-ramp", "2"], 2), (["--name", "sea", "nowhere.png"], 1), ([], 2),
     (["--name", "sea", "--minutes", "3"], 2), (["--name", "sea", "--architecture", "full", "--from", "udnie"], 2),
     (["--name", "none"], 1)],
)  # fmt: skip
def test_train_rejects_invalid_arguments(
    here: Here, arguments: list[object], tmp_path: Path, change: list[str], code: int, capsys: Captured
) -> None:
    assert here(*arguments, *change) == code
    assert "error" in capsys.readouterr().err.lower()
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [("--style-layers", "relu9_1:1", "relu9_1"), ("--style-layers", "relu1_1:much", "much"), ("--style-layers", "relu1_1", "''"),
     ("--style-layers", "relu1_1:1,", "''"), ("--style-layers", "relu3_1/0:1", "relu3_1/0"), ("--content-layers", "sky", "sky"),
     ("--content-layers", "", "''"), ("--content-layers", "relu3_1;relu4_1", "relu3_1;relu4_1"),
     ("--style-layers", "relu1_1:0", "relu1_1 above 0, got 0"), ("--style-layers", "relu1_1:nan", "nan"),
     ("--style-layers", "relu1_1:-1", "-1"),
     ("--style-layers", "relu1_1/1:1", "relu1_1/1"), ("--content-layers", "relu3_1:2", "relu3_1:2")],
)  # fmt: skip
def test_invalid_layers_are_named_in_the_error(
    here: Here, arguments: list[object], tmp_path: Path, option: str, value: str, named: str, capsys: Captured
) -> None:
    assert here(*arguments, "--name", "sea", option, value) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.startswith("error: expected")
    assert named in error
    assert not (tmp_path / "own").exists()


def test_train_accepts_layers_of_smaller_images(here: Here, arguments: list[object], tmp_path: Path) -> None:
    layers = ["--style-layers", "relu1_1:1, relu2_1/2:0.5", "--content-layers", "relu2_1/2"]
    assert here(*arguments, *layers, "--name", "sea") == 0
    assert listing(tmp_path / "own") == ["catalog.json", "sea.onnx"]


def test_train_creates_an_exemplar_for_paint(
    here: Here, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exemplar, "SIZE", 64)
    monkeypatch.setattr(exemplar, "STEPS", 3)
    arguments.remove("--no-exemplar")
    assert here(*arguments, "--name", "sea") == 0
    assert listing(tmp_path / "own") == ["catalog.json", "sea.jpg", "sea.onnx"]
    assert read_style_image(find_exemplar("sea")).pixels.shape == (64, 64, 3)
    assert here("paint", "photos/00.png", "--style", "sea", "--steps", 2, "-q") == 0
    assert (tmp_path / "photos" / "00.sea.png").exists()


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_interrupted_command_resumes(
    here: Here,
    arguments: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
    number: signal.Signals,
) -> None:
    """Also after several signals."""
    step = Trainer._train_step

    def interrupted(self: Trainer, batch: Tensor) -> dict[str, Tensor]:
        if self.step == 1:
            for _ in range(3):
                os.kill(os.getpid(), number)
        return step(self, batch)

    arguments += ["--steps", 5, "--name", "sea"]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_step", interrupted)
        assert here(*arguments) == SIGNALS[number]
    assert "run the same command to continue" in capsys.readouterr().err
    assert torch.load(tmp_path / "sea.training" / "checkpoint.pt", weights_only=True)["step"] == 2
    assert not (tmp_path / "own").exists()
    assert here(*arguments) == 0
    assert "resuming after step 2" in capsys.readouterr().err
    assert listing(tmp_path / "own") == ["catalog.json", "sea.onnx"]


def test_model_that_differs_from_its_net_is_not_published(
    here: Here,
    arguments: list[object],
    tmp_path: Path,
    nets: dict[str, torch.nn.Module],
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.setattr(new_style, "export_onnx", lambda net, *rest: export_onnx(nets["compact"], *rest))
    assert here(*arguments, "--name", "sea") == 1
    assert "of 255 levels" in capsys.readouterr().err
    assert not (tmp_path / "own").exists()


def test_missing_photos_option_suggests_a_dataset(here: Here, arguments: list[object], capsys: Captured) -> None:
    assert here(*without(arguments, "--photos"), "--name", "sea") == 2
    error = capsys.readouterr().err
    assert "COCO val2017" in error
    assert len(error.splitlines()) == 1


def test_too_few_photographs_are_an_error(here: Here, arguments: list[object], photos: Path, capsys: Captured) -> None:
    (photos / "00.png").unlink()
    assert here(*arguments, "--name", "sea") == 1
    assert "expected at least 20 photographs" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mosaic", "sea", "spot"])
def test_existing_name_is_rejected_before_any_work(
    here: Here, arguments: list[object], tmp_path: Path, name: str, capsys: Captured
) -> None:
    """A shipped style, one of the user's, and a file in the folder of styles."""
    (tmp_path / "own").mkdir()
    add_style(tmp_path / "own", "sea", {"file": "sea.onnx"})
    (tmp_path / "own" / "spot.jpg").write_bytes(b"an image")
    before = listing(tmp_path)
    assert here(*arguments, "--name", name) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert listing(tmp_path) == before


def test_style_image_is_never_overwritten(here: Here, arguments: list[object], tmp_path: Path, capsys: Captured) -> None:
    cv2.imwrite(str(tmp_path / "sea.jpg"), soft_image(80, 90))
    before = (tmp_path / "sea.jpg").read_bytes()
    assert here("train", "sea.jpg", *arguments[2:], "--name", "sea", "--into", ".", "--overwrite") == 1
    assert "sea.jpg" in capsys.readouterr().err
    assert (tmp_path / "sea.jpg").read_bytes() == before


@pytest.mark.parametrize(("height", "code"), [(40, 1), (70, 0)], ids=["tiny", "small"])
def test_small_style_images(
    here: Here, arguments: list[object], tmp_path: Path, height: int, code: int, capsys: Captured
) -> None:
    cv2.imwrite(str(tmp_path / "style.png"), soft_image(height, 120))
    assert here(*arguments, "--name", "sea", "--style-size", 160) == code
    assert ("at least 64 pixels" if code else "is small") in capsys.readouterr().err
