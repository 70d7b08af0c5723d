"""Images to train on, and paintings to learn from: found, told apart, cut, whatever they are stored as."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.helpers import write_clip
from tests.temporal.test_flow import texture
from vidstyle.core.errors import InputError, TrainingError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import TrainOptions
from vidstyle.studio import style_images as paintings
from vidstyle.studio.style_images import read_painting
from vidstyle.studio.training.dataset import FEWEST, gather
from vidstyle.studio.training.duplicates import NEAR, difference_hash, first_of_each
from vidstyle.studio.training.gpu_photos import ResidentCrops
from vidstyle.studio.training.photos import CONTEXT, PhotoCrops

OPTIONS = TrainOptions(batch=2, crop=64)
SIZE = 64 + 2 * CONTEXT


def save(path: Path, image: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of as many photographs as are needed, two of them in a subfolder."""
    for seed in range(FEWEST):
        save(tmp_path / "photos" / ("more" if seed > FEWEST - 3 else "") / f"{seed:02}.png", texture(120, 160, seed))
    return tmp_path / "photos"


def shots(index: int, width: int, height: int) -> Pixels:
    """Another scene every second."""
    return texture(height, width, seed=1000 + index // 10)


# Found in folders


def test_all_photographs_of_a_folder_and_its_subfolders_are_taken(photos: Path, tmp_path: Path) -> None:
    found = gather([photos], tmp_path / "frames")
    assert sorted(p.name for p in found) == [f"{seed:02}.png" for seed in range(FEWEST)]
    assert not (tmp_path / "frames").exists()


def test_near_duplicates_are_left_out_and_counted(photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = texture(240, 320, 50, softness=24)
    save(photos / "burst0.png", first)
    save(photos / "burst1.jpg", np.clip(first.astype(int) + 12, 0, 255).astype(np.uint8))
    save(photos / "burst2.jpg", first[1:, 2:])
    save(tmp_path / "other" / "smaller.jpg", cv2.resize(first, (160, 120), interpolation=cv2.INTER_AREA))
    with caplog.at_level(logging.INFO):
        found = gather([tmp_path / "other", photos], tmp_path / "frames")
    assert len(found) == FEWEST + 1
    assert [p.name for p in found if p.stem in ("burst0", "burst1", "burst2", "smaller")] == ["burst0.png"], "the largest file"
    assert "left out 3 near-duplicates" in caplog.text


def test_too_few_photographs_are_refused(photos: Path, tmp_path: Path) -> None:
    save(photos / "00.png", texture(120, 160, 1))
    with pytest.raises(TrainingError, match=f"at least {FEWEST} photographs.*found {FEWEST - 1}"):
        gather([photos], tmp_path / "frames")


def test_what_cannot_be_read_is_left_out_and_named(photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("empty.jpg", "rubbish.png", "rubbish.mp4"):
        (photos / name).write_bytes(b"" if "empty" in name else b"rubbish" * 50)
    with caplog.at_level(logging.WARNING):
        assert len(gather([photos], tmp_path / "frames")) == FEWEST
    for name in ("empty.jpg", "rubbish.png", "rubbish.mp4"):
        assert sum(name in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: folder.mkdir(), lambda folder: folder.write_text("")],
                         ids=["missing", "empty", "a file"])  # fmt: skip
def test_no_folder_of_photographs(photos: Path, tmp_path: Path, make: object) -> None:
    make(tmp_path / "none")  # type: ignore[operator]
    with pytest.raises(TrainingError, match="found none"):
        gather([photos, tmp_path / "none"], tmp_path / "frames")


def test_frames_of_videos_are_taken_a_second_apart_and_kept(photos: Path, tmp_path: Path) -> None:
    clip = write_clip(photos / "clip.mp4", size=(160, 120), times=range(60), time_base=Fraction(1, 10), image=shots)
    found = gather([photos], tmp_path / "frames")
    frames = [path for path in found if tmp_path / "frames" in path.parents]
    assert len(frames) == 6
    for second, path in enumerate(sorted(frames)):
        shown = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(int)
        assert np.abs(shown - shots(10 * second + 5, 160, 120)).mean() < 8
    before = {path: path.stat().st_mtime_ns for path in frames}
    assert gather([photos], tmp_path / "frames") == found
    assert {path: path.stat().st_mtime_ns for path in frames} == before, "not sampled twice"
    write_clip(clip, size=(160, 120), times=range(20), time_base=Fraction(1, 10), image=shots)
    again = gather([photos], tmp_path / "frames")
    assert len(again) == FEWEST + 2, "another video by the same name"


def test_still_frames_of_a_video_count_once(photos: Path, tmp_path: Path) -> None:
    still = texture(120, 160, seed=500)
    write_clip(photos / "still.mp4", size=(160, 120), times=range(50), time_base=Fraction(1, 10), image=lambda *_: still)
    assert len(gather([photos], tmp_path / "frames")) == FEWEST + 1


def test_an_interruption_while_sampling_leaves_no_half_folder(photos: Path, tmp_path: Path) -> None:
    write_clip(photos / "clip.mp4", size=(160, 120), times=range(60), time_base=Fraction(1, 10), image=shots)
    calls = 0

    def interrupt() -> None:
        nonlocal calls
        calls += 1
        if calls == FEWEST + 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gather([photos], tmp_path / "frames", interrupt)
    assert list((tmp_path / "frames").iterdir()) == []


def test_hashes_tell_images_apart(tmp_path: Path) -> None:
    values = [difference_hash(save(tmp_path / f"{seed}.png", texture(100, 130, seed))) for seed in range(12)]
    assert first_of_each([v for v in values if v is not None]) == list(range(12))
    few, many = (1 << NEAR) - 1, (1 << NEAR + 1) - 1
    assert first_of_each([0, few, many, 0, (1 << 64) - 1]) == [0, 2, 4]


def test_thousands_of_hashes_are_compared_in_one_go() -> None:
    values = [int(v) for v in np.random.default_rng(0).integers(0, 1 << 63, 3000)]
    assert first_of_each(values + values) == list(range(3000))


# Cut into squares


def crops(folder: Path) -> PhotoCrops:
    return PhotoCrops(sorted(folder.rglob("*.png")), OPTIONS)


def test_small_and_narrow_photographs_are_enlarged(tmp_path: Path) -> None:
    batch = next(PhotoCrops([save(tmp_path / "small.png", texture(20, 300))], OPTIONS).batches(0))
    assert batch.shape == (2, SIZE, SIZE, 3)
    assert batch.dtype == torch.uint8


def test_of_a_large_photograph_a_crop_shows_at_least_half(tmp_path: Path) -> None:
    """A ramp of light over its width: how much of that a crop holds."""
    ramp = np.repeat(np.linspace(0, 255, 2000).astype(np.uint8)[None, :, None], 2000, axis=0).repeat(3, axis=2)
    many = PhotoCrops([save(tmp_path / "large.png", ramp)], OPTIONS).batches(0)
    held = [int(crop.max()) - int(crop.min()) for _ in range(10) for crop in next(many)]
    assert min(held) > 120
    assert max(held) > 170


def test_the_same_step_sees_the_same_crops(photos: Path) -> None:
    from_start = crops(photos).batches(0)
    _, _, third = next(from_start), next(from_start), next(from_start)
    assert torch.equal(third, next(crops(photos).batches(2)))
    assert not torch.equal(third, next(crops(photos).batches(3)))


def test_photographs_on_a_device_are_cut_as_those_that_are_decoded(photos: Path) -> None:
    save(photos / "large.png", texture(400, 300, seed=99, softness=9))
    save(photos / "small.png", texture(50, 60, seed=98))
    (photos / "rubbish.png").write_bytes(b"rubbish")
    streamed = crops(photos)
    resident = ResidentCrops(sorted(photos.rglob("*.png")), OPTIONS, torch.device("cpu"))
    assert resident.preview == streamed.preview
    for step in range(20):
        one, other = next(streamed.batches(step)), next(resident.batches(step))
        assert other.dtype == torch.uint8
        assert other.shape == one.shape == (2, SIZE, SIZE, 3)
        assert (one.float() - other.float()).abs().mean() < 1.5
        assert torch.equal(other, next(resident.batches(step)))


# Paintings


def test_a_cmyk_jpeg_has_its_colours(tmp_path: Path) -> None:
    stylized = texture(90, 120, seed=3, softness=8)
    Image.fromarray(stylized).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    found = read_painting(tmp_path / "cmyk.jpg")
    assert np.abs(found.pixels.astype(int) - stylized).mean() < 4
    assert found.opacity is None


def test_deep_and_grey_paintings_become_eight_bit_colours(tmp_path: Path) -> None:
    stylized = texture(90, 120, seed=4)
    cv2.imwrite(str(tmp_path / "deep.png"), cv2.cvtColor(stylized, cv2.COLOR_RGB2BGR).astype(np.uint16) * 257)
    assert np.abs(read_painting(tmp_path / "deep.png").pixels.astype(int) - stylized).max() <= 1
    cv2.imwrite(str(tmp_path / "grey.png"), stylized[..., 0])
    grey = read_painting(tmp_path / "grey.png").pixels
    assert all((grey[..., channel] == stylized[..., 0]).all() for channel in range(3))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_huge_painting_is_read_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    stylized = texture(160, 240, seed=5, softness=9)
    layers = np.dstack((stylized[..., ::-1], np.where(np.arange(240) < 120, 255, 0).astype(np.uint8)[None].repeat(160, 0)))
    cv2.imwrite(str(tmp_path / f"huge{suffix}"), layers if suffix == ".png" else layers[..., :3])
    monkeypatch.setattr(paintings, "MOST_PIXELS", 10_000)
    found = read_painting(tmp_path / f"huge{suffix}")
    assert found.pixels.shape == (80, 120, 3)
    smaller = cv2.resize(stylized, (120, 80), interpolation=cv2.INTER_AREA)
    assert np.abs(found.pixels.astype(int) - smaller).mean() < 3
    if suffix == ".png":
        assert found.opacity is not None
        assert (found.opacity[:, :59] == 255).all()
        assert (found.opacity[:, 61:] == 0).all()


def test_a_painting_that_is_hardly_there_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "empty.png"), np.zeros((90, 120, 4), np.uint8))
    with pytest.raises(InputError, match="transparency"):
        read_painting(tmp_path / "empty.png")
