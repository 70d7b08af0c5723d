"""Scenes that are flat, or mostly: title cards, slides, screen recordings, fades, black frames; all styles, all common sizes."""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.helpers import paint, rgb_of, write_clip
from tests.support.networks import soft_image
from vidstyle.core.frames import Pixels
from vidstyle.core.options import StyleOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.stylizers import load_stylizer
from vidstyle.stylizers.blends import StrengthStylizer
from vidstyle.stylizers.onnx import load_onnx_stylizer

MODELS = Path(__file__).resolve().parents[2] / "models"
STYLES = sorted(path.stem for path in MODELS.glob("*.onnx"))
SIZES = [(640, 360), (854, 480), (1280, 720), (1920, 1080), (2560, 1440)]
FLAT = {"black": 0, "grey": 128, "white": 255}


@cache
def shipped(style: str) -> Stylizer:
    return load_onnx_stylizer(MODELS / f"{style}.onnx", "cpu")


def flat(level: int, width: int, height: int) -> Pixels:
    return np.full((height, width, 3), level, np.uint8)


def written(image: Pixels, text: str, left: float, bottom: float, level: int) -> None:
    """Draw a line of `text` that begins at a fraction of the image's width and stands at one of its height."""
    height, width = image.shape[:2]
    place = (round(left * width), round(bottom * height))
    thickness = max(1, round(height / 240))
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, height / 500, (level,) * 3, thickness, cv2.LINE_AA)


def title(width: int, height: int) -> Pixels:
    image = flat(0, width, height)
    written(image, "THE END", 0.4, 0.5, 255)
    return image


def slide(width: int, height: int) -> Pixels:
    image = flat(255, width, height)
    image[: height // 6] = (20, 60, 140)
    for line in range(4):
        written(image, f"- point number {line}", 0.1, 0.35 + 0.15 * line, 30)
    return image


def screen(width: int, height: int) -> Pixels:
    image = flat(32, width, height)
    image[:, : width // 5] = 48
    for line in range(12):
        written(image, f"def f{line}(x): return x", 0.25, 0.1 + 0.07 * line, 200)
    return image


def pale(width: int, height: int) -> Pixels:
    """Two bright greys that hardly differ."""
    image = flat(230, width, height)
    image[:, width // 2 :] = 238
    return image


def stylized(stylizer: Stylizer, image: Pixels) -> Pixels:
    return stylizer.for_shot([image]).stylize([image])[0]


def tone(image: Pixels) -> np.ndarray:
    """The mean colour of the middle, far from the borders."""
    height, width = image.shape[:2]
    return np.asarray(image[height // 3 : -height // 3, width // 3 : -width // 3].mean((0, 1)))


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).max())


@pytest.mark.parametrize("style", STYLES)
def test_flat_scenes_keep_their_tone(style: str) -> None:
    """The tones that the network was trained to give; and a little noise changes nothing."""
    tones = {}
    for name, level in FLAT.items():
        image = flat(level, *SIZES[0])
        noisy = np.clip(image + np.random.default_rng(level).integers(-2, 3, image.shape), 0, 255).astype(np.uint8)
        found = stylized(shipped(style), image)
        assert (found == shipped(style).stylize([image])[0]).all()
        assert difference(tone(found), tone(stylized(shipped(style), noisy))) < 12
        tones[name] = tone(found)
    assert tones["black"].max() > 0
    assert tones["black"].mean() + 20 < tones["grey"].mean() < tones["white"].mean() - 20


@pytest.mark.parametrize("size", SIZES[1:], ids=lambda size: f"{size[1]}p")
@pytest.mark.parametrize("style", STYLES)
def test_flat_scenes_look_alike_at_all_sizes(style: str, size: tuple[int, int]) -> None:
    level = 0 if size == (854, 480) else 128
    [small, large] = (tone(stylized(shipped(style), flat(level, *s))) for s in (SIZES[0], size))
    assert small.max() > 0
    assert difference(small, large) <= 1


@pytest.mark.parametrize("scene", [pale, *(pytest.param(s, marks=pytest.mark.slow) for s in (title, slide, screen))])
@pytest.mark.parametrize("style", STYLES)
def test_scenes_with_large_flat_areas_look_alike_at_hd(style: str, scene: Any) -> None:
    found, smaller = (stylized(shipped(style), scene(*size)) for size in (SIZES[3], SIZES[0]))
    assert found.mean() > 30
    assert found.std() > 5
    assert np.abs(found.mean((0, 1)) - smaller.mean((0, 1))).max() < 40


@pytest.mark.slow
@pytest.mark.parametrize("scene", [title, slide, screen, pale])
@pytest.mark.parametrize("style", STYLES[::3])
def test_scenes_with_large_flat_areas_have_variances_at_1440p(style: str, scene: Any) -> None:
    for name, values in shipped(style).for_shot([scene(*SIZES[4])]).statistics().items():
        assert np.isfinite(values).all()
        assert not name.endswith("var") or (values > 0).all()


@pytest.mark.slow
def test_the_engines_agree_on_a_pale_scene_at_hd() -> None:
    image, options = pale(*SIZES[3]), StyleOptions("water-lilies", device="cpu", backend="torch")
    in_torch = load_stylizer(options, find=lambda name: MODELS / f"{name}.onnx")
    found, expected = (stylized(stylizer, image).astype(int) for stylizer in (shipped("water-lilies"), in_torch))
    assert np.abs(found - expected).mean() < 1


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_images_without_contrast_change_no_statistics(backend: Any) -> None:
    stylizer = load_stylizer(StyleOptions("tiny", device="cpu", backend=backend))
    scene, black, white = soft_image(61, 83), flat(0, 83, 61), flat(255, 83, 61)
    for without in (stylizer, StrengthStylizer(stylizer, 0.5)):
        assert without.for_shot([black, white]) is without
        assert without.adapted(black, 0.5) is without
    mixed = stylizer.for_shot([black, scene, black])
    assert (mixed.stylize([scene]) == stylizer.for_shot([scene]).stylize([scene])).all()
    assert mixed.adapted(white, 1.0) is mixed


def blinking(scene: Pixels, black: Collection[int], index: int, width: int, height: int) -> Pixels:
    """`scene`, with black frames at some positions."""
    return scene * (index not in black)


def boat(size: tuple[int, int]) -> Pixels:
    return cv2.resize(rgb_of(MODELS.parent / "samples" / "boat.mp4")[0], size, interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("style", ["scream", "starry-night"])
def test_a_video_that_begins_black_shows_what_follows(tmp_path: Path, style: str) -> None:
    """The shot's statistics come from its first four seconds, which are black."""
    scene = boat((320, 180))
    brightness = [*[0.0] * 6, 0.2, 0.4, 0.6, 0.8, 1.0]
    faded = lambda i, w, h: np.asarray(scene * brightness[i], np.uint8)  # noqa: E731
    clip = write_clip(tmp_path / "in.mp4", size=(320, 180), times=range(11), time_base=Fraction(1), image=faded)
    paint(clip, "-o", tmp_path / "out.mkv", "--codec", "ffv1", style=style)
    frames = rgb_of(tmp_path / "out.mkv")
    expected = stylized(shipped(style), rgb_of(clip)[-1])
    means = frames.mean((1, 2, 3))
    assert (np.diff(means[5:]) > 0).all(), "it gets brighter"
    assert np.abs(frames[-1].astype(int) - expected).mean() < 25


def test_a_grey_video_in_hd_is_not_black(tmp_path: Path) -> None:
    grey = write_clip(tmp_path / "in.mp4", size=SIZES[3], times=range(2), image=lambda i, w, h: flat(128, w, h))
    done = paint(grey, "-o", tmp_path / "out.mp4", style="scream")
    assert "Warning" not in done.stderr
    for frame in rgb_of(tmp_path / "out.mp4"):
        assert difference(tone(frame), tone(shipped("scream").stylize([flat(128, 320, 180)])[0])) < 6


def test_black_frames_amid_a_video_hardly_change_what_follows(tmp_path: Path) -> None:
    scene, size = boat((320, 180)), (320, 180)
    outputs = []
    positions: list[list[int]] = [[], [5], [4, 5, 6, 7]]
    for black in positions:
        clip = tmp_path / f"{len(black)}.mp4"
        write_clip(clip, size=size, image=partial(blinking, scene, black))
        paint(clip, "-o", tmp_path / "out.mkv", "--codec", "ffv1", "--overwrite", style="starry-night")
        outputs.append(rgb_of(tmp_path / "out.mkv"))
    for output, black in zip(outputs[1:], positions[1:], strict=True):
        around = [i for i in range(12) if i not in black]
        assert np.abs(output[around].astype(int) - outputs[0][around]).mean() < 20
        assert 0 < output[black].mean() < 40
