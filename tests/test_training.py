"""Training, on tiny photographs with a tiny encoder: it learns, it resumes, it fails plainly."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from helpers import listing, paint, rgb_of, run_cli, write_clip
from test_networks import soft_picture
from test_perceptual import random_convs
from torch import Tensor

from vidstyle.errors import TrainingError
from vidstyle.options import TrainOptions
from vidstyle.studio import training
from vidstyle.studio.export import load_net
from vidstyle.studio.perceptual import Encoder, load_encoder
from vidstyle.studio.photos import PhotoCrops
from vidstyle.studio.training import Progress, Trainer

QUICK = TrainOptions(steps=4, identity_steps=2, batch=1, crop=64, style_size=64, checkpoint_every=3)


class PowerCutError(Exception):
    """Ends a training in the middle."""


@pytest.fixture(autouse=True)
def few_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "STATISTICS_BATCHES", 2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(3):
        cv2.imwrite(str(folder / f"{seed}.png"), soft_picture(140, 150, seed))
    return folder


@pytest.fixture
def painting(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "painting.png"), soft_picture(80, 90, 77)[:, :, ::-1] // 2)
    return tmp_path / "painting.png"


@pytest.fixture
def encoder_file(tmp_path: Path) -> Path:
    torch.save(random_convs("conv{}".format), tmp_path / "encoder.pth")
    return tmp_path / "encoder.pth"


def make_trainer(
    folder: Path, photos: PhotoCrops, encoder: Encoder, options: TrainOptions = QUICK, start: torch.nn.Module | None = None
) -> Trainer:
    return Trainer(encoder, [soft_picture(80, 90, 77)], photos, folder, options, start)


def train(trainer: Trainer) -> list[Progress]:
    return list(trainer.run())


class CutShort(PhotoCrops):
    """Photographs that end with a power cut after three batches."""

    def batches(self, first_step: int) -> Iterator[np.ndarray]:
        for count, batch in enumerate(super().batches(first_step)):
            if count == 3:
                raise PowerCutError
            yield batch


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {k: v for k, v in trainer.net.state_dict().items() if v.is_floating_point()}


def test_it_runs_to_the_end(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    trainer = make_trainer(tmp_path / "work", PhotoCrops([photos], QUICK), load_encoder(encoder_file))
    last = train(trainer)[-1]
    assert last.step == last.steps == 6
    assert {"loss", "identity", "style", "content", "tone", "tv", "border", "unsteady", "range"} <= set(last.losses)
    assert not trainer.net.training
    assert all(value.isfinite().all() for value in weights(trainer).values())
    assert listing(tmp_path / "work") == ["checkpoint.pt", "preview.png"]
    assert cv2.imread(str(tmp_path / "work" / "preview.png")) is not None


@pytest.mark.parametrize(("kind", "loss"), [({"steps": 1, "identity_steps": 59}, "identity"),
                                            ({"steps": 60, "identity_steps": 0}, "style")])  # fmt: skip
def test_it_learns(tmp_path: Path, photos: Path, encoder_file: Path, kind: dict[str, int], loss: str) -> None:
    options = replace(QUICK, **kind, learning_rate=1e-2, checkpoint_every=1000)
    reports = train(make_trainer(tmp_path / "work", PhotoCrops([photos], options), load_encoder(encoder_file), options))
    assert [r.step for r in reports] == [50, 60]
    assert reports[1].losses[loss] < reports[0].losses[loss]


def test_steadiness_comes_in_by_and_by(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    """In a net that hardly learns, the loss grows as its weight does."""
    encoder, losses = load_encoder(encoder_file), {}
    for steps, ramp in ((1, 1.0), (60, 1.0), (60, 0.0)):
        options = replace(QUICK, steps=steps, identity_steps=0, steadiness_ramp=ramp, learning_rate=1e-9, checkpoint_every=1000)
        crops = PhotoCrops([photos], options)
        reports = train(make_trainer(tmp_path / f"{steps}-{ramp}", crops, encoder, options))
        losses[steps, ramp] = [report.losses["unsteady"] for report in reports]
    assert losses[1, 1.0] == [0], "nothing at the first step"
    first, last = losses[60, 1.0]
    first_at_once, last_at_once = losses[60, 0.0]
    assert first / first_at_once == pytest.approx(24.5 / 60, rel=0.3)
    assert last / last_at_once == pytest.approx(54.5 / 60, rel=0.05)


@pytest.mark.parametrize("identity_steps", [2, 3, 1], ids=["before the freeze", "in the identity", "at the freeze"])
def test_a_resumed_training_ends_like_an_uninterrupted_one(
    tmp_path: Path, photos: Path, encoder_file: Path, identity_steps: int
) -> None:
    options = replace(QUICK, identity_steps=identity_steps)
    whole = make_trainer(tmp_path / "whole", PhotoCrops([photos], options), load_encoder(encoder_file), options)
    train(whole)
    with pytest.raises(PowerCutError):
        train(make_trainer(tmp_path / "cut", CutShort([photos], options), load_encoder(encoder_file), options))
    assert listing(tmp_path / "cut") == ["checkpoint.pt"]
    resumed = make_trainer(tmp_path / "cut", PhotoCrops([photos], options), load_encoder(encoder_file), options)
    assert train(resumed)[-1].step == resumed.steps
    assert resumed.steps > 3
    for key, value in weights(whole).items():
        torch.testing.assert_close(weights(resumed)[key], value, rtol=1e-4, atol=1e-5)


def test_a_finished_training_is_not_begun_anew(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    first, again = (make_trainer(tmp_path / "work", PhotoCrops([photos], QUICK), load_encoder(encoder_file)) for _ in range(2))
    train(first)
    assert train(again) == []
    assert all(torch.equal(value, weights(again)[key]) for key, value in weights(first).items())


def test_a_finished_training_goes_on_when_more_steps_are_asked_for(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    longer = replace(QUICK, steps=6)
    train(make_trainer(tmp_path / "work", PhotoCrops([photos], QUICK), load_encoder(encoder_file)))
    again = make_trainer(tmp_path / "work", PhotoCrops([photos], longer), load_encoder(encoder_file), longer)
    before = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)
    assert train(again)[-1].step == 8
    after = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)
    assert (before["step"], after["step"]) == (6, 8)
    assert any(not torch.equal(value, after["net"][key]) for key, value in before["net"].items())


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    train(make_trainer(tmp_path / "work", PhotoCrops([photos], QUICK), load_encoder(encoder_file)))
    other = replace(QUICK, content_weight=3.0)
    with pytest.raises(TrainingError, match="remove it"):
        train(make_trainer(tmp_path / "work", PhotoCrops([photos], other), load_encoder(encoder_file), other))


def test_going_on_from_a_style_skips_the_identity(tmp_path: Path, photos: Path, encoder_file: Path, styles: Path) -> None:
    net, _ = load_net(styles / "tiny.onnx")
    options = replace(QUICK, steps=1, learning_rate=1e-9)
    trainer = make_trainer(tmp_path / "work", PhotoCrops([photos], options), load_encoder(encoder_file), options, net)
    last = train(trainer)[-1]
    assert last.steps == 1
    assert "style" in last.losses
    before = load_net(styles / "tiny.onnx")[0].state_dict()
    torch.testing.assert_close(trainer.net.state_dict()["paint.0.weight"], before["paint.0.weight"], rtol=0, atol=1e-6)


class FailsLater(Encoder):
    """An encoder that gives no numbers after its first use, on the painting."""

    def forward(self, image: Tensor, layers: object) -> dict[str, Tensor]:
        used, self.used = getattr(self, "used", False), True
        return {k: v * float("nan") if used else v for k, v in super().forward(image, layers).items()}  # type: ignore[arg-type]


def test_a_loss_that_is_no_number_stops_it_and_the_checkpoint_stays(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    options = replace(QUICK, identity_steps=3)
    encoder = load_encoder(encoder_file)
    encoder.__class__ = FailsLater
    with pytest.raises(TrainingError, match="nan at step 3"):
        train(make_trainer(tmp_path / "work", PhotoCrops([photos], options), encoder, options))
    state = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 3
    assert all(v.isfinite().all() for v in state["net"].values())


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_an_unreadable_photograph_is_left_out(
    tmp_path: Path, photos: Path, encoder_file: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    for name in ("0.png", "1.png"):
        (photos / name).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        train(make_trainer(tmp_path / "work", PhotoCrops([photos], QUICK), load_encoder(encoder_file)))
    said = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert said
    assert len(said) == len(set(said)) <= 2, "each file is named once"


def test_photographs_of_which_none_can_be_read(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    for path in photos.iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(TrainingError, match="none of 3 files"):
        train(make_trainer(tmp_path / "work", PhotoCrops([photos], QUICK), load_encoder(encoder_file)))


def test_small_and_narrow_photographs_are_enlarged(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "small.png"), soft_picture(20, 300))
    batch = next(PhotoCrops([tmp_path], QUICK).batches(0))
    assert batch.shape == (1, 128, 128, 3)


def test_the_same_step_sees_the_same_crops(photos: Path) -> None:
    from_start = PhotoCrops([photos], QUICK).batches(0)
    _, _, third = next(from_start), next(from_start), next(from_start)
    assert (third == next(PhotoCrops([photos], QUICK).batches(2))).all()


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: folder.mkdir()], ids=["missing", "empty"])
def test_no_photographs_at_all(tmp_path: Path, make: object) -> None:
    make(tmp_path / "none")  # type: ignore[operator]
    with pytest.raises(TrainingError, match="none"):
        PhotoCrops([tmp_path / "none"], QUICK)


# The command line


@pytest.fixture
def arguments(tmp_path: Path, photos: Path, painting: Path, encoder_file: Path) -> list[object]:
    """`vidstyle train` for seconds instead of hours, in `tmp_path` as the working folder."""
    sizes = ["--steps", 2, "--identity-steps", 1, "--batch", 1, "--crop", 64, "--style-size", 64]
    return ["train", painting, "--photos", photos, "--encoder", encoder_file, "--painter", "Someone", "--licence", "CC0", *sizes]


def own(tmp_path: Path) -> dict[str, str]:
    return {"VIDSTYLE_STYLES": str(tmp_path / "own")}


def test_train_makes_a_style_that_can_be_used(tmp_path: Path, arguments: list[object]) -> None:
    done = run_cli(*arguments, "--name", "sea", "--title", "The Sea", cwd=tmp_path, env=own(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "--style sea" in done.stdout
    assert listing(tmp_path / "own") == ["catalog.json", "sea.onnx"]
    entry = json.loads((tmp_path / "own" / "catalog.json").read_text())["styles"]["sea"]
    assert (entry["title"], entry["painter"], entry["licence"]) == ("The Sea", "Someone", "CC0")
    facts = {p.key: p.value for p in onnx.load(tmp_path / "own" / "sea.onnx").metadata_props}
    command = json.loads(facts["vidstyle.commands"])[0]["command"]
    assert "train painting.png" in command
    assert "--name sea" in command
    assert str(tmp_path) not in command
    clip = write_clip(tmp_path / "in.mp4", times=range(3))
    paint(clip, style="sea", env=own(tmp_path))
    assert rgb_of(tmp_path / "in.sea.mp4").shape == (3, 48, 64, 3)
    assert "Someone" in run_cli("styles", env=own(tmp_path)).stdout


def test_train_goes_on_from_another_style(tmp_path: Path, arguments: list[object]) -> None:
    run_cli(*arguments, "--name", "sea", cwd=tmp_path, env=own(tmp_path))
    done = run_cli(*arguments, "--name", "storm", "--from", "sea", cwd=tmp_path, env=own(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "step 2/2" in done.stderr, "no identity steps when there is a style to begin with"
    facts = {p.key: p.value for p in onnx.load(tmp_path / "own" / "storm.onnx").metadata_props}
    assert len(json.loads(facts["vidstyle.commands"])) == 2
    assert set(json.loads((tmp_path / "own" / "catalog.json").read_text())["styles"]) == {"sea", "storm"}


def test_train_does_not_replace_a_style_unless_told_to(tmp_path: Path, arguments: list[object]) -> None:
    run_cli(*arguments, "--name", "sea", cwd=tmp_path, env=own(tmp_path))
    before = (tmp_path / "own" / "catalog.json").read_text()
    done = run_cli(*arguments, "--name", "sea", "--title", "Anew", cwd=tmp_path, env=own(tmp_path))
    assert done.returncode == 1
    assert "--overwrite" in done.stderr
    assert (tmp_path / "own" / "catalog.json").read_text() == before
    assert run_cli(*arguments, "--name", "sea", "--title", "Anew", "--overwrite", cwd=tmp_path, env=own(tmp_path)).returncode == 0
    assert "Anew" in (tmp_path / "own" / "catalog.json").read_text()


@pytest.mark.parametrize(
    ("change", "code"),
    [(["--name", "Bad Name"], 1), (["--name", "../evil"], 1), (["--name", "sea", "--crop", "65"], 1),
     (["--name", "sea", "--photos", "nowhere"], 1), (["--name", "sea", "--encoder", "nowhere.pth"], 4),
     (["--name", "sea", "--encoder", "painting.png"], 4), (["--name", "sea", "--from", "no-such-style"], 4),
     (["--name", "sea", "--steadiness-ramp", "2"], 2), (["--name", "sea", "nowhere.png"], 1), ([], 2)],
)  # fmt: skip
def test_train_refuses_what_cannot_work(tmp_path: Path, arguments: list[object], change: list[str], code: int) -> None:
    done = run_cli(*arguments, *change, cwd=tmp_path, env=own(tmp_path))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "error" in done.stderr.lower()
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [("--style-layers", "relu9_1:1", "relu9_1"), ("--style-layers", "relu1_1:much", "much"), ("--style-layers", "relu1_1", "''"),
     ("--style-layers", "relu1_1:1,", "''"), ("--style-layers", "relu3_1/0:1", "relu3_1/0"), ("--content-layers", "sky", "sky"),
     ("--content-layers", "", "''"), ("--content-layers", "relu3_1;relu4_1", "relu3_1;relu4_1"),
     ("--style-layers", "relu1_1:0", "'0'"), ("--style-layers", "relu1_1:nan", "nan"), ("--style-layers", "relu1_1:-1", "-1"),
     ("--style-layers", "relu1_1/1:1", "relu1_1/1"), ("--content-layers", "relu3_1:2", "relu3_1:2")],
)  # fmt: skip
def test_layers_that_cannot_be_are_named(tmp_path: Path, arguments: list[object], option: str, value: str, named: str) -> None:
    done = run_cli(*arguments, "--name", "sea", option, value, cwd=tmp_path, env=own(tmp_path))
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: expected")
    assert named in done.stderr
    assert not (tmp_path / "own").exists()


def test_train_takes_layers_of_smaller_pictures(tmp_path: Path, arguments: list[object]) -> None:
    layers = ["--style-layers", "relu1_1:1, relu2_1/2:0.5", "--content-layers", "relu2_1/2"]
    done = run_cli(*arguments, *layers, "--name", "sea", cwd=tmp_path, env=own(tmp_path))
    assert done.returncode == 0, done.stderr
    assert listing(tmp_path / "own") == ["catalog.json", "sea.onnx"]
