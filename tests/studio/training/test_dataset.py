"""Images to train on: found in folders and videos, without near-duplicates."""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.helpers import imread, write_clip
from tests.support.textures import save_image, texture
from vidstyle.core.errors import TrainingError
from vidstyle.core.frames import Pixels
from vidstyle.studio.training.dataset import MIN_IMAGES, gather_images
from vidstyle.studio.training.duplicates import MAX_DIFFERENT_BITS, difference_hash, first_of_each


def shots(index: int, width: int, height: int) -> Pixels:
    """A new scene every second."""
    return texture(height, width, seed=1000 + index // 10)


def test_photographs_of_subfolders_are_included(photo_tree: Path, tmp_path: Path) -> None:
    found = gather_images([photo_tree], tmp_path / "frames")
    assert sorted(p.name for p in found) == [f"{seed:02}.png" for seed in range(MIN_IMAGES)]
    assert not (tmp_path / "frames").exists()


def test_near_duplicates_are_skipped_and_counted(photo_tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = texture(240, 320, 50, softness=24)
    save_image(photo_tree / "burst0.png", first)
    save_image(photo_tree / "burst1.jpg", np.clip(first.astype(int) + 12, 0, 255).astype(np.uint8))
    save_image(photo_tree / "burst2.jpg", first[1:, 2:])
    smaller = np.asarray(cv2.resize(first, (160, 120), interpolation=cv2.INTER_AREA), np.uint8)
    save_image(tmp_path / "other" / "smaller.jpg", smaller)
    with caplog.at_level(logging.INFO):
        found = gather_images([tmp_path / "other", photo_tree], tmp_path / "frames")
    assert len(found) == MIN_IMAGES + 1
    assert [p.name for p in found if p.stem in ("burst0", "burst1", "burst2", "smaller")] == ["burst0.png"], "the largest file"
    assert "skipped 3 near-duplicates" in caplog.text


def test_too_few_photographs_are_an_error(photo_tree: Path, tmp_path: Path) -> None:
    save_image(photo_tree / "00.png", texture(120, 160, 1))
    with pytest.raises(TrainingError, match=f"at least {MIN_IMAGES} photographs.*found {MIN_IMAGES - 1}"):
        gather_images([photo_tree], tmp_path / "frames")


def test_unreadable_files_are_skipped_with_a_warning(photo_tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("empty.jpg", "rubbish.png", "rubbish.mp4"):
        (photo_tree / name).write_bytes(b"" if "empty" in name else b"rubbish" * 50)
    with caplog.at_level(logging.WARNING):
        assert len(gather_images([photo_tree], tmp_path / "frames")) == MIN_IMAGES
    for name in ("empty.jpg", "rubbish.png", "rubbish.mp4"):
        assert sum(name in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: folder.mkdir(), lambda folder: folder.write_text("")],
                         ids=["missing", "empty", "a file"])  # fmt: skip
def test_missing_or_empty_folder_is_an_error(photo_tree: Path, tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "none")
    with pytest.raises(TrainingError, match="found none"):
        gather_images([photo_tree, tmp_path / "none"], tmp_path / "frames")


def test_frames_of_videos_are_sampled_every_second_and_saved(photo_tree: Path, tmp_path: Path) -> None:
    clip = write_clip(photo_tree / "clip.mp4", size=(160, 120), times=range(60), time_base=Fraction(1, 10), image=shots)
    found = gather_images([photo_tree], tmp_path / "frames")
    frames = [path for path in found if tmp_path / "frames" in path.parents]
    assert len(frames) == 6
    for second, path in enumerate(sorted(frames)):
        shown = cv2.cvtColor(imread(path), cv2.COLOR_BGR2RGB).astype(int)
        assert np.abs(shown - shots(10 * second + 5, 160, 120)).mean() < 8
    before = {path: path.stat().st_mtime_ns for path in frames}
    assert gather_images([photo_tree], tmp_path / "frames") == found
    assert {path: path.stat().st_mtime_ns for path in frames} == before, "not sampled twice"
    write_clip(clip, size=(160, 120), times=range(20), time_base=Fraction(1, 10), image=shots)
    again = gather_images([photo_tree], tmp_path / "frames")
    assert len(again) == MIN_IMAGES + 2, "a different video of the same name"


def test_still_frames_of_a_video_count_once(photo_tree: Path, tmp_path: Path) -> None:
    still = texture(120, 160, seed=500)
    write_clip(photo_tree / "still.mp4", size=(160, 120), times=range(50), time_base=Fraction(1, 10), image=lambda *_: still)
    assert len(gather_images([photo_tree], tmp_path / "frames")) == MIN_IMAGES + 1


def test_interrupted_sampling_leaves_no_partial_folder(photo_tree: Path, tmp_path: Path) -> None:
    write_clip(photo_tree / "clip.mp4", size=(160, 120), times=range(60), time_base=Fraction(1, 10), image=shots)
    calls = 0

    def interrupt() -> None:
        nonlocal calls
        calls += 1
        if calls == MIN_IMAGES + 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gather_images([photo_tree], tmp_path / "frames", interrupt)
    assert list((tmp_path / "frames").iterdir()) == []


def test_hashes_distinguish_images(tmp_path: Path) -> None:
    values = [difference_hash(save_image(tmp_path / f"{seed}.png", texture(100, 130, seed))) for seed in range(12)]
    assert first_of_each([v for v in values if v is not None]) == list(range(12))
    few, many = (1 << MAX_DIFFERENT_BITS) - 1, (1 << MAX_DIFFERENT_BITS + 1) - 1
    assert first_of_each([0, few, many, 0, (1 << 64) - 1]) == [0, 2, 4]


def test_thousands_of_hashes_are_compared() -> None:
    values = [int(v) for v in np.random.default_rng(0).integers(0, 1 << 63, 3000)]
    assert first_of_each(values + values) == list(range(3000))
