"""Random crops of photographs, decoded on demand or kept on a device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.support.textures import save_image, texture
from vidstyle.core.options import CROP_MULTIPLE, TrainOptions
from vidstyle.networks.transformer_net import MULTIPLE
from vidstyle.studio.training.gpu_photos import ResidentCrops
from vidstyle.studio.training.photos import CONTEXT, PhotoCrops

OPTIONS = TrainOptions(batch=2, crop=64)
SIZE = 64 + 2 * CONTEXT


def crops(folder: Path) -> PhotoCrops:
    return PhotoCrops(sorted(folder.rglob("*.png")), OPTIONS)


def test_small_and_narrow_photographs_are_enlarged(tmp_path: Path) -> None:
    batch = next(PhotoCrops([save_image(tmp_path / "small.png", texture(20, 300))], OPTIONS).batches(0))
    assert batch.shape == (2, SIZE, SIZE, 3)
    assert batch.dtype == torch.uint8


def test_crop_covers_at_least_half_of_a_large_photograph(tmp_path: Path) -> None:
    """The photograph is a ramp of luminance over its width; the range in a crop shows how much of it the crop covers."""
    ramp = np.repeat(np.linspace(0, 255, 2000).astype(np.uint8)[None, :, None], 2000, axis=0).repeat(3, axis=2)
    many = PhotoCrops([save_image(tmp_path / "large.png", ramp)], OPTIONS).batches(0)
    held = [int(crop.max()) - int(crop.min()) for _ in range(10) for crop in next(many)]
    assert min(held) > 120
    assert max(held) > 170


def test_same_step_uses_the_same_crops(photo_tree: Path) -> None:
    from_start = crops(photo_tree).batches(0)
    _, _, third = next(from_start), next(from_start), next(from_start)
    assert torch.equal(third, next(crops(photo_tree).batches(2)))
    assert not torch.equal(third, next(crops(photo_tree).batches(3)))


def test_crops_on_the_device_equal_those_decoded_on_demand(photo_tree: Path) -> None:
    save_image(photo_tree / "large.png", texture(400, 300, seed=99, softness=9))
    save_image(photo_tree / "small.png", texture(50, 60, seed=98))
    (photo_tree / "rubbish.png").write_bytes(b"rubbish")
    streamed = crops(photo_tree)
    resident = ResidentCrops(sorted(photo_tree.rglob("*.png")), OPTIONS, torch.device("cpu"))
    assert resident.preview == streamed.preview
    for step in range(20):
        one, other = next(streamed.batches(step)), next(resident.batches(step))
        assert other.dtype == torch.uint8
        assert other.shape == one.shape == (2, SIZE, SIZE, 3)
        assert (one.float() - other.float()).abs().mean() < 1.5
        assert torch.equal(other, next(resident.batches(step)))


def test_crops_suit_the_networks() -> None:
    assert CROP_MULTIPLE % MULTIPLE == 0
