"""Training, on tiny photographs with a tiny encoder: learning, resuming, and errors."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.helpers import listing
from tests.support.networks import soft_image
from tests.support.textures import texture
from vidstyle.core.errors import DiskError, TrainingError
from vidstyle.core.options import TrainOptions
from vidstyle.networks.export import load_net
from vidstyle.studio.perceptual.encoder import Encoder, load_encoder
from vidstyle.studio.style_images import StyleImage
from vidstyle.studio.training.photos import PhotoCrops
from vidstyle.studio.training.schedule import Schedule
from vidstyle.studio.training.style_losses import StyleLosses
from vidstyle.studio.training.trainer import Progress, StartNet, Trainer

STYLE_IMAGE = StyleImage(soft_image(80, 90, 77))
QUICK = TrainOptions(steps=4, identity_steps=2, batch=1, crop=64, style_size=64, checkpoint_every=3)


class PowerCutError(Exception):
    """Interrupts a training."""


def make_trainer(
    folder: Path, photos: PhotoCrops, encoder: Encoder, options: TrainOptions = QUICK, start: torch.nn.Module | None = None
) -> Trainer:
    return Trainer(encoder, [STYLE_IMAGE], photos, folder, options, StartNet(start))


def crops_of(folder: Path, options: TrainOptions = QUICK) -> PhotoCrops:
    return PhotoCrops(sorted(folder.iterdir()), options)


def train(trainer: Trainer) -> list[Progress]:
    return list(trainer.run())


class CutShort(PhotoCrops):
    """Photographs that raise `PowerCutError` after three batches."""

    def batches(self, first_step: int) -> Iterator[Tensor]:
        for count, batch in enumerate(super().batches(first_step)):
            if count == 3:
                raise PowerCutError
            yield batch


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {k: v for k, v in trainer.net.state_dict().items() if v.is_floating_point()}


def test_training_runs_to_the_end(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    trainer = make_trainer(tmp_path / "work", crops_of(photos), load_encoder(encoder_file))
    last = train(trainer)[-1]
    assert last.step == last.steps == 6
    assert last.fraction == 1
    assert {"loss", "identity", "style", "content", "tone", "tv", "border", "unsteady", "range"} <= set(last.losses)
    assert not trainer.net.training
    assert all(value.isfinite().all() for value in weights(trainer).values())
    assert listing(tmp_path / "work") == ["checkpoint.pt", "preview.png"]
    assert cv2.imread(str(tmp_path / "work" / "preview.png")) is not None


@pytest.mark.parametrize(("kind", "loss"), [({"steps": 1, "identity_steps": 23}, "identity"),
                                            ({"steps": 24, "identity_steps": 0}, "style")])  # fmt: skip
def test_losses_fall(
    tmp_path: Path, photos: Path, encoder_file: Path, monkeypatch: pytest.MonkeyPatch, kind: dict[str, Any], loss: str
) -> None:
    monkeypatch.setattr("vidstyle.studio.training.trainer.REPORT_EVERY", 16)
    options = replace(QUICK, **kind, learning_rate=1e-2, checkpoint_every=1000)
    reports = train(make_trainer(tmp_path / "work", crops_of(photos, options), load_encoder(encoder_file), options))
    assert [r.step for r in reports] == [16, 24]
    assert reports[1].losses[loss] < reports[0].losses[loss]


@pytest.mark.parametrize(
    ("options", "from_scratch"),
    [(TrainOptions(steps=100, identity_steps=25), True), (TrainOptions(steps=100), False), (TrainOptions(minutes=10), False)],
    ids=["from scratch", "steps", "minutes"],
)
def test_learning_rate_rises_and_falls(options: TrainOptions, from_scratch: bool) -> None:
    """It does so once for the identity phase, once for the style phase."""
    schedule = Schedule(options, from_scratch)
    fractions = [n / 1000 for n in range(1000)]
    for phase in (True, False) if from_scratch else (False,):
        rates = [schedule.learning_rate(fraction) for fraction in fractions if schedule.in_identity(fraction) == phase]
        peak = int(np.argmax(rates))
        assert 0 < rates[0] < 0.1
        assert 0.95 < rates[peak] <= 1
        assert peak < len(rates) / 10
        assert rates[peak:] == sorted(rates[peak:], reverse=True)
        assert 0 < rates[-1] < 0.05


@pytest.mark.parametrize(
    ("ramp", "at"), [(1.0, {0.2: 0, 0.6: 0.5}), (0.5, {0.2: 0, 0.4: 0.5, 0.6: 1, 1: 1}), (0, {0.2: 1, 1: 1})]
)
def test_temporal_consistency_is_ramped_up(ramp: float, at: dict[float, float]) -> None:
    """Over a fraction of the style phase, which follows an identity phase of a fifth here."""
    schedule = Schedule(TrainOptions(steps=80, identity_steps=20, consistency_ramp=ramp), from_scratch=True)
    for fraction, factor in at.items():
        assert schedule.consistency(fraction) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("minutes", "startup", "seconds"),
    [(10, 0, 540), (10, 100, 440), (10, 500, 300), (1, 0, 30)],
    ids=["keeps time to finish", "the start-up counts", "half is trained in", "half is trained in, however short"],
)
def test_minutes_limit_the_whole_command(minutes: float, startup: float, seconds: float) -> None:
    schedule = Schedule(TrainOptions(minutes=minutes), False, startup)
    assert schedule.fraction(10**6, seconds - 1) == pytest.approx(1 - 1 / seconds)
    assert schedule.fraction(1, seconds) == 1


class Ticking:
    """A clock that advances by a second whenever it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def test_training_by_time_resumes_with_the_remaining_time(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    options = replace(QUICK, minutes=0.2)  # 6 seconds of which are for training

    def trainer(folder: str, kind: type[PhotoCrops]) -> Trainer:
        crops = kind(sorted(photos.iterdir()), options)
        return Trainer(load_encoder(encoder_file), [STYLE_IMAGE], crops, tmp_path / folder, options, elapsed=Ticking())

    whole = trainer("whole", PhotoCrops)
    assert [(p.step, p.steps, p.fraction) for p in train(whole)] == [(6, None, 1)]
    with pytest.raises(PowerCutError):
        train(trainer("cut", CutShort))
    resumed = trainer("cut", PhotoCrops)
    assert [(p.step, p.fraction) for p in train(resumed)] == [(6, 1)]
    assert resumed.seconds == whole.seconds == 6
    for key, value in weights(whole).items():
        torch.testing.assert_close(weights(resumed)[key], value, rtol=1e-4, atol=1e-5)


def test_interrupted_training_resumes_at_the_same_step(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
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


def test_transparent_pixels_do_not_count(encoder_file: Path) -> None:
    encoder, stylized = load_encoder(encoder_file), texture(96, 256, softness=2)
    hidden, opacity = stylized.copy(), np.full((96, 256), 255, np.uint8)
    hidden[:, 128:], opacity[:, 128:] = np.random.default_rng(0).integers(0, 256, (96, 128, 3)), 0
    options = replace(QUICK, style_size=96)

    def grams(style_image: StyleImage) -> dict[str, Tensor]:
        return StyleLosses(encoder, [style_image], options, torch.device("cpu")).grams

    expected, masked, unmasked = (
        grams(p) for p in (StyleImage(np.ascontiguousarray(stylized[:, :128])), StyleImage(hidden, opacity), StyleImage(hidden))
    )
    for layer in ("relu1_1", "relu2_1", "relu3_1/2"):
        error, without = ((g[layer] - expected[layer]).norm() / expected[layer].norm() for g in (masked, unmasked))
        assert error < 0.2
        assert error < 0.5 * without


@pytest.mark.parametrize("identity_steps", [2, 3, 1], ids=["before the freeze", "in the identity", "at the freeze"])
def test_resumed_training_equals_an_uninterrupted_one(
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


def test_finished_training_is_not_repeated(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    first, again = (make_trainer(tmp_path / "work", crops_of(photos), load_encoder(encoder_file)) for _ in range(2))
    train(first)
    assert train(again) == []
    assert all(torch.equal(value, weights(again)[key]) for key, value in weights(first).items())


def test_finished_training_continues_with_more_steps(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    longer = replace(QUICK, steps=6)
    train(make_trainer(tmp_path / "work", crops_of(photos), load_encoder(encoder_file)))
    again = make_trainer(tmp_path / "work", crops_of(photos, longer), load_encoder(encoder_file), longer)
    before = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)
    assert train(again)[-1].step == 8
    after = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)
    assert (before["step"], after["step"]) == (6, 8)
    assert any(not torch.equal(value, after["net"][key]) for key, value in before["net"].items())


def test_checkpoint_of_another_training_is_rejected(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    train(make_trainer(tmp_path / "work", crops_of(photos), load_encoder(encoder_file)))
    other = replace(QUICK, content_weight=3.0)
    with pytest.raises(TrainingError, match="remove it"):
        train(make_trainer(tmp_path / "work", crops_of(photos, other), load_encoder(encoder_file), other))


def test_corrupt_checkpoint_is_named_in_the_error(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "checkpoint.pt").write_bytes(b"rubbish")
    with pytest.raises(TrainingError, match=r"checkpoint\.pt as a checkpoint; remove it"):
        train(make_trainer(tmp_path / "work", crops_of(photos), load_encoder(encoder_file)))


def test_folder_that_cannot_be_created_is_named_in_the_error(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    (tmp_path / "work").write_bytes(b"a file")
    with pytest.raises(DiskError, match="work"):
        train(make_trainer(tmp_path / "work", crops_of(photos), load_encoder(encoder_file)))


def test_starting_from_a_style_skips_the_identity_phase(tmp_path: Path, photos: Path, encoder_file: Path, styles: Path) -> None:
    net, _ = load_net(styles / "tiny.onnx")
    options = replace(QUICK, steps=1, learning_rate=1e-9)
    trainer = make_trainer(tmp_path / "work", crops_of(photos, options), load_encoder(encoder_file), options, net)
    last = train(trainer)[-1]
    assert last.steps == 1
    assert "style" in last.losses
    before = load_net(styles / "tiny.onnx")[0].state_dict()
    torch.testing.assert_close(trainer.net.state_dict()["paint.0.weight"], before["paint.0.weight"], rtol=0, atol=1e-6)


class FailsLater(Encoder):
    """An encoder whose features are NaN after its first use, on the style image."""

    def forward(self, image: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        used, self.used = getattr(self, "used", False), True
        return {k: v * float("nan") if used else v for k, v in super().forward(image, layers).items()}


def test_nan_loss_stops_training_and_keeps_the_checkpoint(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    options = replace(QUICK, identity_steps=3)
    encoder = load_encoder(encoder_file)
    encoder.__class__ = FailsLater
    with pytest.raises(TrainingError, match="nan at step 3"):
        train(make_trainer(tmp_path / "work", crops_of(photos, options), encoder, options))
    state = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 3
    assert all(v.isfinite().all() for v in state["net"].values())


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_unreadable_photograph_is_skipped(
    tmp_path: Path, photos: Path, encoder_file: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    crops = crops_of(photos)
    for path in crops.files[2:]:
        path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        train(make_trainer(tmp_path / "work", crops, load_encoder(encoder_file)))
    warnings = [record.getMessage() for record in caplog.records if "skipped" in record.getMessage()]
    assert warnings
    assert len(warnings) == len(set(warnings)), "each file is named once"


def test_only_unreadable_photographs_are_an_error(tmp_path: Path, photos: Path, encoder_file: Path) -> None:
    for path in photos.iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(TrainingError, match="none of the 15 photographs"):
        train(make_trainer(tmp_path / "work", crops_of(photos), load_encoder(encoder_file)))
