"""Photographs, a style image and an encoder, all small enough to train on within seconds."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import torch

from tests.support.networks import soft_image
from tests.support.perceptual import random_convs
from tests.support.textures import save_image, texture
from vidstyle.studio.training.dataset import MIN_IMAGES


@pytest.fixture(autouse=True)
def few_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidstyle.studio.training.trainer.STATISTICS_BATCHES", 2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(20):
        cv2.imwrite(str(folder / f"{seed:02}.png"), texture(140, 150, seed))
    return folder


@pytest.fixture
def photo_tree(tmp_path: Path) -> Path:
    """A folder with just enough photographs, two of them in a subfolder."""
    for seed in range(MIN_IMAGES):
        folder = tmp_path / "photos" / ("more" if seed > MIN_IMAGES - 3 else "")
        save_image(folder / f"{seed:02}.png", texture(120, 160, seed))
    return tmp_path / "photos"


@pytest.fixture
def style_image(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "style.png"), soft_image(80, 90, 77)[:, :, ::-1] // 2)
    return tmp_path / "style.png"


@pytest.fixture
def encoder_file(tmp_path: Path) -> Path:
    torch.save(random_convs("conv{}".format), tmp_path / "encoder.pth")
    return tmp_path / "encoder.pth"
