"""Training, on tiny photographs with a tiny encoder: it learns, it resumes, it fails plainly."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from tests.networks.test_networks import soft_image
from tests.studio.test_perceptual import random_convs
from tests.support.helpers import listing, paint, rgb_of, run_cli, write_clip
from tests.temporal.test_flow import texture
from vidstyle.cli import run_command_line
from vidstyle.core.errors import DiskError, TrainingError
from vidstyle.core.options import TrainOptions
from vidstyle.networks.export import export_onnx, load_net
from vidstyle.studio.perceptual.encoder import Encoder, load_encoder
from vidstyle.studio.perceptual.losses import StyleLosses
from vidstyle.studio.style_images import Painting, read_painting
from vidstyle.studio.training import exemplar, new_style
from vidstyle.studio.training import trainer as training
from vidstyle.studio.training.photos import PhotoCrops
from vidstyle.studio.training.schedule import Schedule
from vidstyle.studio.training.trainer import Progress, Trainer
from vidstyle.styles.catalog import add_style, find_exemplar

PAINTING = Painting(soft_image(80, 90, 77))
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
    for seed in range(20):
        cv2.imwrite(str(folder / f"{seed:02}.png"), texture(140, 150, seed))
    return folder


@pytest.fixture
def painting(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "painting.png"), soft_image(80, 90, 77)[:, :, ::-1] // 2)
    return tmp_path / "painting.png"


@pytest.fixture
def encoder_file(tmp_path: Path) -> Path:
    torch.save(random_convs("conv{}".format), tmp_path / "encoder.pth")
    return tmp_path / "encoder.pth"


def make_trainer(
    folder: Path, photos: PhotoCrops, encoder: Encoder, options: TrainOptions = QUICK, start: torch.nn.Module | None = None
) -> Trainer:
    return Trainer(encoder, [PAINTING], photos, folder, options, start)


def crops_of(folder: Path, options: TrainOptions = QUICK) -> PhotoCrops:
    return PhotoCrops(sorted(folder.iterdir()), options)


def train(trainer: Trainer) -> list[Progress]:
    return list(trainer.run())


class CutShort(PhotoCrops):
    """Photographs that end with a power cut after three batches."""

    def batches(self, first_step: int) -> Iterator[Tensor]:
        for count, batch in enumerate(super().batches(first_step)):
            if count == 3:
                raise PowerCutError
            yield batch


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {k: v for k, v in trainer.net.state_dict().items() if v.is_floating_point()}


def test_it_runs_to_the_end(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    trainer = make_trainer(tmp_path / "work", crops_of(photos), load_encoder(encoder_file))
    last = train(trainer)[-1]
    assert last.step == last.steps == 6
    assert last.part == 1
    assert {"loss", "identity", "style", "content", "tone", "tv", "border", "unsteady", "range"} <= set(last.losses)
    assert not trainer.net.training
    assert all(value.isfinite().all() for value in weights(trainer).values())
    assert listing(tmp_path / "work") == ["checkpoint.pt", "preview.png"]
    assert cv2.imread(str(tmp_path / "work" / "preview.png")) is not None


@pytest.mark.parametrize(("kind", "loss"), [({"steps": 1, "identity_steps": 59}, "identity"),
                                            ({"steps": 60, "identity_steps": 0}, "style")])  # fmt: skip
def test_it_learns(tmp_path: Path, photos: Path, encoder_file: Path, kind: dict[str, int], loss: str) -> None:
    options = replace(QUICK, **kind, learning_rate=1e-2, checkpoint_every=1000)
    reports = train(make_trainer(tmp_path / "work", crops_of(photos, options), load_encoder(encoder_file), options))
    assert [r.step for r in reports] == [50, 60]
    assert reports[1].losses[loss] < reports[0].losses[loss]


@pytest.mark.parametrize(
    ("options", "from_scratch"),
    [(TrainOptions(steps=100, identity_steps=25), True), (TrainOptions(steps=100), False), (TrainOptions(minutes=10), False)],
    ids=["from scratch", "steps", "minutes"],
)
def test_the_learning_rate_rises_and_falls(options: TrainOptions, from_scratch: bool) -> None:
    """Once for the identity, once for the style."""
    schedule = Schedule(options, from_scratch)
    parts = [n / 1000 for n in range(1000)]
    for phase in (True, False) if from_scratch else (False,):
        rates = [schedule.learning_rate(part) for part in parts if schedule.in_identity(part) == phase]
        peak = int(np.argmax(rates))
        assert 0 < rates[0] < 0.1
        assert 0.95 < rates[peak] <= 1
        assert peak < len(rates) / 10
        assert rates[peak:] == sorted(rates[peak:], reverse=True)
        assert 0 < rates[-1] < 0.05


@pytest.mark.parametrize(
    ("ramp", "at"), [(1.0, {0.2: 0, 0.6: 0.5}), (0.5, {0.2: 0, 0.4: 0.5, 0.6: 1, 1: 1}), (0, {0.2: 1, 1: 1})]
)
def test_steadiness_comes_in_by_and_by(ramp: float, at: dict[float, float]) -> None:
    """Over a part of the style, which a fifth of identity precedes here."""
    schedule = Schedule(TrainOptions(steps=80, identity_steps=20, consistency_ramp=ramp), from_scratch=True)
    for part, factor in at.items():
        assert schedule.consistency(part) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("minutes", "startup", "seconds"),
    [(10, 0, 540), (10, 100, 440), (10, 500, 300), (1, 0, 30)],
    ids=["keeps time to finish", "the start-up counts", "half is trained in", "half is trained in, however short"],
)
def test_minutes_are_those_of_the_whole_command(minutes: float, startup: float, seconds: float) -> None:
    schedule = Schedule(TrainOptions(minutes=minutes), False, startup)
    assert schedule.part(10**6, seconds - 1) == pytest.approx(1 - 1 / seconds)
    assert schedule.part(1, seconds) == 1


class Ticking:
    """A clock that goes on by a second whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def test_a_training_by_time_goes_on_with_what_is_left(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    options = replace(QUICK, minutes=0.2)  # of which 6 seconds are for training

    def trainer(folder: str, kind: type[PhotoCrops]) -> Trainer:
        crops, clock = kind(sorted(photos.iterdir()), options), Ticking()
        return Trainer(load_encoder(encoder_file), [PAINTING], crops, tmp_path / folder, options, clock=clock)

    whole = trainer("whole", PhotoCrops)
    assert [(p.step, p.steps, p.part) for p in train(whole)] == [(6, None, 1)]
    with pytest.raises(PowerCutError):
        train(trainer("cut", CutShort))
    resumed = trainer("cut", PhotoCrops)
    assert [(p.step, p.part) for p in train(resumed)] == [(6, 1)]
    assert resumed.seconds == whole.seconds == 6
    for key, value in weights(whole).items():
        torch.testing.assert_close(weights(resumed)[key], value, rtol=1e-4, atol=1e-5)


def test_an_interrupted_training_goes_on_from_the_step_it_was_at(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    calls = 0

    def interrupt() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    options = replace(QUICK, checkpoint_every=1000)
    whole, cut, resumed = (
        make_trainer(tmp_path / folder, crops_of(photos, options), load_encoder(encoder_file), options)
        for folder in ("whole", "cut", "cut")
    )
    train(whole)
    with pytest.raises(KeyboardInterrupt):
        list(cut.run(interrupt))
    assert torch.load(tmp_path / "cut" / "checkpoint.pt", weights_only=True)["step"] == 2
    train(resumed)
    for key, value in weights(whole).items():
        torch.testing.assert_close(weights(resumed)[key], value, rtol=1e-4, atol=1e-5)
    assert resumed.family == cut.family != whole.family


def test_what_is_transparent_of_a_painting_does_not_count(encoder_file: Path) -> None:
    encoder, stylized = load_encoder(encoder_file), texture(96, 256, softness=2)
    hidden, opacity = stylized.copy(), np.full((96, 256), 255, np.uint8)
    hidden[:, 128:], opacity[:, 128:] = np.random.default_rng(0).integers(0, 256, (96, 128, 3)), 0
    options = replace(QUICK, style_size=96)

    def grams(painting: Painting) -> dict[str, Tensor]:
        return StyleLosses(encoder, [painting], options, torch.device("cpu")).grams

    wanted, found, plain = (
        grams(p) for p in (Painting(np.ascontiguousarray(stylized[:, :128])), Painting(hidden, opacity), Painting(hidden))
    )
    for layer in ("relu1_1", "relu2_1", "relu3_1/2"):
        error, without = ((g[layer] - wanted[layer]).norm() / wanted[layer].norm() for g in (found, plain))
        assert error < 0.2
        assert error < 0.5 * without


@pytest.mark.parametrize("identity_steps", [2, 3, 1], ids=["before the freeze", "in the identity", "at the freeze"])
def test_a_resumed_training_ends_like_an_uninterrupted_one(
    tmp_path: Path, photos: Path, encoder_file: Path, identity_steps: int
) -> None:
    options = replace(QUICK, identity_steps=identity_steps)
    whole = make_trainer(tmp_path / "whole", crops_of(photos, options), load_encoder(encoder_file), options)
    train(whole)
    with pytest.raises(PowerCutError):
        train(make_trainer(tmp_path / "cut", CutShort(sorted(photos.iterdir()), options), load_encoder(encoder_file), options))
    assert listing(tmp_path / "cut") == ["checkpoint.pt"]
    resumed = make_trainer(tmp_path / "cut", crops_of(photos, options), load_encoder(encoder_file), options)
    assert train(resumed)[-1].step == 4 + identity_steps
    for key, value in weights(whole).items():
        torch.testing.assert_close(weights(resumed)[key], value, rtol=1e-4, atol=1e-5)


def test_a_finished_training_is_not_begun_anew(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    first, again = (make_trainer(tmp_path / "work", crops_of(photos), load_encoder(encoder_file)) for _ in range(2))
    train(first)
    assert train(again) == []
    assert all(torch.equal(value, weights(again)[key]) for key, value in weights(first).items())


def test_a_finished_training_goes_on_when_more_steps_are_asked_for(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    longer = replace(QUICK, steps=6)
    train(make_trainer(tmp_path / "work", crops_of(photos), load_encoder(encoder_file)))
    again = make_trainer(tmp_path / "work", crops_of(photos, longer), load_encoder(encoder_file), longer)
    before = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)
    assert train(again)[-1].step == 8
    after = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)
    assert (before["step"], after["step"]) == (6, 8)
    assert any(not torch.equal(value, after["net"][key]) for key, value in before["net"].items())


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    train(make_trainer(tmp_path / "work", crops_of(photos), load_encoder(encoder_file)))
    other = replace(QUICK, content_weight=3.0)
    with pytest.raises(TrainingError, match="remove it"):
        train(make_trainer(tmp_path / "work", crops_of(photos, other), load_encoder(encoder_file), other))


def test_a_broken_checkpoint_is_named(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "checkpoint.pt").write_bytes(b"rubbish")
    with pytest.raises(TrainingError, match=r"checkpoint\.pt; remove it"):
        train(make_trainer(tmp_path / "work", crops_of(photos), load_encoder(encoder_file)))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    (tmp_path / "work").write_bytes(b"a file")
    with pytest.raises(DiskError, match="work"):
        train(make_trainer(tmp_path / "work", crops_of(photos), load_encoder(encoder_file)))


def test_going_on_from_a_style_skips_the_identity(tmp_path: Path, photos: Path, encoder_file: Path, styles: Path) -> None:
    net, _ = load_net(styles / "tiny.onnx")
    options = replace(QUICK, steps=1, learning_rate=1e-9)
    trainer = make_trainer(tmp_path / "work", crops_of(photos, options), load_encoder(encoder_file), options, net)
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
        train(make_trainer(tmp_path / "work", crops_of(photos, options), encoder, options))
    state = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 3
    assert all(v.isfinite().all() for v in state["net"].values())


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_an_unreadable_photograph_is_left_out(
    tmp_path: Path, photos: Path, encoder_file: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    crops = crops_of(photos)
    for path in crops.files[2:]:
        path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        train(make_trainer(tmp_path / "work", crops, load_encoder(encoder_file)))
    said = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert said
    assert len(said) == len(set(said)), "each file is named once"


def test_photographs_of_which_none_can_be_read(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    for path in photos.iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(TrainingError, match="none of 15 files"):
        train(make_trainer(tmp_path / "work", crops_of(photos), load_encoder(encoder_file)))


# The command line


@pytest.fixture
def arguments(tmp_path: Path, photos: Path, painting: Path, encoder_file: Path) -> list[object]:
    """`vidstyle train` for seconds instead of hours, in `tmp_path` as the working folder."""
    sizes = ["--steps", 2, "--identity-steps", 1, "--batch", 1, "--crop", 64, "--style-size", 64, "--no-exemplar"]
    return ["train", painting, "--photos", photos, "--encoder", encoder_file, "--painter", "Someone", "--licence", "CC0", *sizes]


def own(tmp_path: Path) -> dict[str, str]:
    return {"VIDSTYLE_STYLES": str(tmp_path / "own")}


def test_train_makes_a_style_that_can_be_used(tmp_path: Path, arguments: list[object]) -> None:
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
    assert "train painting.png" in command
    assert "--name sea" in command
    assert str(tmp_path) not in command
    clip = write_clip(tmp_path / "in.mp4", times=range(3))
    paint(clip, style="sea", env=own(tmp_path))
    assert rgb_of(tmp_path / "in.sea.mp4").shape == (3, 48, 64, 3)
    assert "Someone" in run_cli("styles", env=own(tmp_path)).stdout


# The same in this process: importing torch for each command would take longest


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """The command line in `tmp_path`; signals and the log are as they were afterwards."""
    handlers, signals = logging.root.handlers[:], [(n, signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIDSTYLE_STYLES", str(tmp_path / "own"))
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


def test_train_goes_on_from_another_style(here: Here, arguments: list[object], tmp_path: Path, capsys: Captured) -> None:
    assert here(*arguments, "--name", "sea", "--from", "none") == 0
    capsys.readouterr()
    assert here(*arguments, "--name", "storm", "--from", "sea") == 0
    assert "step 2/2" in capsys.readouterr().err, "no identity steps when there is a style to begin with"
    facts = {p.key: p.value for p in onnx.load(tmp_path / "own" / "storm.onnx").metadata_props}
    assert len(json.loads(facts["vidstyle.commands"])) == 2
    entries = json.loads((tmp_path / "own" / "catalog.json").read_text())["styles"]
    assert set(entries) == {"sea", "storm"}
    assert entries["sea"]["family"] == entries["storm"]["family"] == facts["vidstyle.family"]


def test_train_does_not_replace_a_style_unless_told_to(
    here: Here, arguments: list[object], tmp_path: Path, capsys: Captured
) -> None:
    assert here(*arguments, "--name", "sea") == 0
    before = (tmp_path / "own" / "catalog.json").read_text()
    assert here(*arguments, "--name", "sea", "--title", "Anew") == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "own" / "catalog.json").read_text() == before
    assert here(*arguments, "--name", "sea", "--title", "Anew", "--overwrite") == 0
    assert "Anew" in (tmp_path / "own" / "catalog.json").read_text()


@pytest.mark.parametrize(
    ("change", "code"),
    [(["--name", "Bad Name"], 1), (["--name", "../evil"], 1), (["--name", "sea", "--crop", "65"], 1),
     (["--name", "sea", "--photos", "nowhere"], 1), (["--name", "sea", "--encoder", "nowhere.pth"], 4),
     (["--name", "sea", "--encoder", "painting.png"], 4), (["--name", "sea", "--from", "no-such-style"], 4),
     (["--name", "sea", "--consistency-ramp", "2"], 2), (["--name", "sea", "nowhere.png"], 1), ([], 2),
     (["--name", "sea", "--minutes", "3"], 2), (["--name", "sea", "--architecture", "full", "--from", "udnie"], 2),
     (["--name", "none"], 1)],
)  # fmt: skip
def test_train_refuses_what_cannot_work(
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
     ("--style-layers", "relu1_1:0", "'0'"), ("--style-layers", "relu1_1:nan", "nan"), ("--style-layers", "relu1_1:-1", "-1"),
     ("--style-layers", "relu1_1/1:1", "relu1_1/1"), ("--content-layers", "relu3_1:2", "relu3_1:2")],
)  # fmt: skip
def test_layers_that_cannot_be_are_named(
    here: Here, arguments: list[object], tmp_path: Path, option: str, value: str, named: str, capsys: Captured
) -> None:
    assert here(*arguments, "--name", "sea", option, value) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert said.startswith("error: expected")
    assert named in said
    assert not (tmp_path / "own").exists()


def test_train_takes_layers_of_smaller_images(here: Here, arguments: list[object], tmp_path: Path) -> None:
    layers = ["--style-layers", "relu1_1:1, relu2_1/2:0.5", "--content-layers", "relu2_1/2"]
    assert here(*arguments, *layers, "--name", "sea") == 0
    assert listing(tmp_path / "own") == ["catalog.json", "sea.onnx"]


def test_a_style_comes_with_a_image_to_paint_from(
    here: Here, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exemplar, "SIZE", 64)
    monkeypatch.setattr(exemplar, "STEPS", 3)
    arguments.remove("--no-exemplar")
    assert here(*arguments, "--name", "sea") == 0
    assert listing(tmp_path / "own") == ["catalog.json", "sea.jpg", "sea.onnx"]
    assert read_painting(find_exemplar("sea")).pixels.shape == (64, 64, 3)
    assert here("paint", "photos/00.png", "--style", "sea", "--steps", 2, "-q") == 0
    assert (tmp_path / "photos" / "00.sea.png").exists()


def test_an_interrupted_command_goes_on(
    here: Here, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    step = Trainer._train_step

    def interrupted(self: Trainer, batch: Tensor) -> dict[str, Tensor]:
        if self.step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch)

    arguments += ["--steps", 5, "--name", "sea"]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_step", interrupted)
        assert here(*arguments) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert torch.load(tmp_path / "sea.training" / "checkpoint.pt", weights_only=True)["step"] == 2
    assert not (tmp_path / "own").exists()
    assert here(*arguments) == 0
    assert "going on after step 2" in capsys.readouterr().err
    assert listing(tmp_path / "own") == ["catalog.json", "sea.onnx"]


def test_a_model_that_paints_otherwise_than_its_net_is_not_published(
    here: Here,
    arguments: list[object],
    tmp_path: Path,
    nets: dict[str, torch.nn.Module],
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.setattr(new_style, "export_onnx", lambda net, *rest: export_onnx(nets["compact"], *rest))
    assert here(*arguments, "--name", "sea") == 1
    assert "grey levels" in capsys.readouterr().err
    assert not (tmp_path / "own").exists()


def test_without_photographs_it_says_where_there_are_some(here: Here, arguments: list[object], capsys: Captured) -> None:
    assert here(*without(arguments, "--photos"), "--name", "sea") == 2
    said = capsys.readouterr().err
    assert "COCO val2017" in said
    assert len(said.splitlines()) == 1


def test_too_few_photographs_are_refused(here: Here, arguments: list[object], photos: Path, capsys: Captured) -> None:
    (photos / "00.png").unlink()
    assert here(*arguments, "--name", "sea") == 1
    assert "expected at least 20 photographs" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mosaic", "sea", "spot"])
def test_a_name_that_is_taken_is_refused_before_anything_is_done(
    here: Here, arguments: list[object], tmp_path: Path, name: str, capsys: Captured
) -> None:
    """One that shipped, one's own, and that of a file in the styles' folder."""
    (tmp_path / "own").mkdir()
    add_style(tmp_path / "own", "sea", {"file": "sea.onnx"})
    (tmp_path / "own" / "spot.jpg").write_bytes(b"an image")
    before = listing(tmp_path)
    assert here(*arguments, "--name", name) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert listing(tmp_path) == before


def test_the_painting_itself_is_never_replaced(here: Here, arguments: list[object], tmp_path: Path, capsys: Captured) -> None:
    cv2.imwrite(str(tmp_path / "sea.jpg"), soft_image(80, 90))
    before = (tmp_path / "sea.jpg").read_bytes()
    assert here("train", "sea.jpg", *arguments[2:], "--name", "sea", "--into", ".", "--overwrite") == 1
    assert "sea.jpg" in capsys.readouterr().err
    assert (tmp_path / "sea.jpg").read_bytes() == before


@pytest.mark.parametrize(("height", "code"), [(40, 1), (70, 0)], ids=["tiny", "small"])
def test_small_paintings(here: Here, arguments: list[object], tmp_path: Path, height: int, code: int, capsys: Captured) -> None:
    cv2.imwrite(str(tmp_path / "painting.png"), soft_image(height, 120))
    assert here(*arguments, "--name", "sea", "--style-size", 160) == code
    assert ("at least 64 pixels" if code else "is small") in capsys.readouterr().err
