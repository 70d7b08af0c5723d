"""Blends, strength and stroke scale, in stylizers and in files."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import vidstyle
from tests.support.helpers import identity_model, moving_bar, rgb_of, write_clip
from vidstyle.cli import run_command_line
from vidstyle.core.errors import EXIT_DONE, EXIT_MODEL, StyleError, UsageError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import StyleOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.stylizers import load_stylizer

pytestmark = pytest.mark.usefixtures("relatives")

IMAGE = moving_bar(5, 64, 48)
ROUNDING = 1
"""Of 255: how far a blend may be off."""


def stylizer(style: str, **options: Any) -> Stylizer:
    return load_stylizer(StyleOptions(style, device="cpu", **options), cores=1)


@cache
def still(style: str, **options: object) -> Pixels:
    """`IMAGE` stylized with its own statistics."""
    stylized = stylizer(style, **options).for_shot([IMAGE]).stylize([IMAGE])
    assert stylized.shape == (1, *IMAGE.shape)
    assert stylized.dtype == np.uint8
    return stylized[0]


def mixture(*weighted: tuple[Pixels, float]) -> np.ndarray:
    return np.sum([pixels * np.float64(weight) for pixels, weight in weighted], axis=0)


def gap(first: np.ndarray, second: np.ndarray) -> float:
    """The largest difference, of 255."""
    return float(np.abs(first.astype(np.float64) - second).max())


def mean_gap(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(np.float64) - second).mean())


# --- blends


def test_unrelated_styles_are_blended_pixel_by_pixel() -> None:
    expected = mixture((still("tiny"), 0.7), (still("alien"), 0.3))
    assert mean_gap(still("tiny"), still("alien")) > 3, "any blend of them would look alike"
    assert gap(still("tiny:0.7,alien:0.3"), expected) <= ROUNDING
    assert gap(still("alien:0.3,tiny:0.7"), expected) <= ROUNDING


def test_equal_weights_are_the_default() -> None:
    three = mixture(*((still(name), 1 / 3) for name in ("tiny", "alien", "rough")))
    assert gap(still("tiny,alien,rough"), three) <= 2 * ROUNDING
    assert (still("tiny,alien") == still("tiny:0.5,alien:0.5")).all()


def test_related_styles_are_interpolated_into_one_network() -> None:
    for blend, between in (("rough:0.5,smooth:0.5", "halfway"), ("rough:0.8,smooth:0.2", "nearer")):
        assert mean_gap(still(blend), still(between)) < 0.5
        assert mean_gap(still(blend), still("rough")) > 2
    mixed_pixels = mixture((still("rough"), 0.5), (still("smooth"), 0.5))
    assert mean_gap(still("rough:0.5,smooth:0.5"), mixed_pixels) > 1, "the pixels may have been blended instead"


def test_a_blend_approaches_a_style_as_its_weight_grows() -> None:
    gaps = [mean_gap(still(f"rough:{weight},smooth:{1 - weight:g}"), still("rough")) for weight in (0.25, 0.75, 0.99)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < gaps[0] / 3


def test_only_unrelated_styles_need_a_network_each() -> None:
    assert "networks" not in stylizer("rough,smooth").describe()
    assert "2 networks" in stylizer("rough:0.3,alien:0.4,smooth:0.3").describe()


def test_weights_hold_for_a_mix_of_related_and_unrelated_styles() -> None:
    expected = mixture((still("halfway"), 0.6), (still("alien"), 0.4))
    assert mean_gap(still("rough:0.3,alien:0.4,smooth:0.3"), expected) < 0.5


def test_related_styles_of_different_architectures_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StyleError, match="built alike"):
        stylizer("rough:0.5,broad:0.5")
    clip = write_clip(tmp_path / "in.mp4", times=range(2))
    assert run_command_line([str(clip), "--style", "rough:0.5,broad:0.5"]) == EXIT_MODEL
    assert "built alike" in capfd.readouterr().err


def test_a_model_of_another_tool_can_be_part_of_a_blend(tmp_path: Path) -> None:
    other = identity_model(tmp_path / "other.onnx")
    assert gap(still(f"{other}:0.5,tiny:0.5"), mixture((IMAGE, 0.5), (still("tiny"), 0.5))) <= ROUNDING


@pytest.mark.parametrize("style", ["rough:0.3,smooth:0.7", "rough:0.3,alien:0.7"])
def test_blends_are_the_same_in_torch(style: str) -> None:
    assert mean_gap(still(style, backend="torch"), still(style)) < 1


@pytest.mark.parametrize(
    ("style", "options"),
    [
        ("rough:0.3,smooth:0.7", {}),
        ("rough:0.3,alien:0.7", {}),
        ("rough:0.3,alien:0.7", {"strength": 0.5}),
        ("rough:0.3,alien:0.7", {"stroke_scale": 2}),
    ],
    ids=str,
)
def test_statistics_of_a_shot_can_be_passed_to_another_stylizer(style: str, options: dict[str, float]) -> None:
    """As workers do."""
    statistics = stylizer(style, **options).for_shot([255 - IMAGE]).statistics()
    expected = stylizer(style, **options).for_shot([255 - IMAGE]).stylize([IMAGE])
    assert (stylizer(style, **options).with_statistics(statistics).stylize([IMAGE]) == expected).all()
    assert mean_gap(expected[0], still(style, **options)) > 0.5, "statistics make no difference"


# --- strength


@pytest.mark.parametrize("style", ["tiny", "rough", "tiny:0.6,alien:0.4", "rough:0.6,smooth:0.4"])
def test_strength_lies_between_the_original_and_the_style(style: str) -> None:
    full = still(style)
    assert (still(style, strength=0) == IMAGE).all()
    assert (still(style, strength=1) == full).all()
    gaps = [mean_gap(still(style, strength=strength), IMAGE) for strength in (0.1, 0.4, 0.8, 1)]
    assert gaps == sorted(gaps)
    assert 0 < gaps[0] < gaps[-1] / 2


def test_strength_is_the_weight_of_the_stylized_image() -> None:
    assert gap(still("tiny", strength=0.3), mixture((IMAGE, 0.7), (still("tiny"), 0.3))) <= ROUNDING


def test_strength_mixes_in_the_original_at_full_size() -> None:
    """Not the smaller image that the network stylizes."""
    assert (still("tiny", strength=0, height=16) == IMAGE).all()
    expected = mixture((IMAGE, 0.5), (still("tiny", height=16), 0.5))
    assert gap(still("tiny", strength=0.5, height=16), expected) <= ROUNDING


# --- strokes


@pytest.mark.parametrize("scale", [0.25, 0.75, 1.5, 2])
def test_stroke_scale_divides_the_inference_height(scale: float) -> None:
    assert (still("tiny", stroke_scale=scale) == still("tiny", height=round(48 / scale))).all()
    assert mean_gap(still("tiny", stroke_scale=scale), still("tiny")) > 1


def test_stroke_scale_applies_to_a_given_height() -> None:
    assert (still("tiny", stroke_scale=2, height=40) == still("tiny", height=20)).all()
    assert (still("tiny", stroke_scale=0.5, height=24) == still("tiny")).all()
    assert (still("tiny", stroke_scale=1) == still("tiny")).all()


def test_images_are_not_scaled_below_the_minimum_size() -> None:
    assert stylizer("tiny", stroke_scale=4).stylize([moving_bar(0, 40, 20)]).shape == (1, 20, 40, 3)


def test_a_scale_that_needs_too_much_memory_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^4096x2400 would be stylized at .*; use a larger stroke scale or"):
        stylizer("tiny", stroke_scale=0.25).stylize([np.zeros((2400, 4096, 3), np.uint8)])


# --- files


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A few frames without loss."""
    return write_clip(tmp_path / "in.mkv", times=range(6), codec="ffv1", pix_fmt="bgr0")


def stylized(video: Path, *args: object, name: str = "out.mkv") -> Pixels:
    """The output of the command line."""
    output = video.with_name(name)
    arguments = [video, "-o", output, "--codec", "ffv1", "--device", "cpu", "--overwrite", "-q", *args]
    assert run_command_line([*map(str, arguments)]) == EXIT_DONE
    return rgb_of(output)


def test_a_video_is_stylized_in_a_blend(video: Path) -> None:
    size = ["--batch-size", 4]
    first, second = (stylized(video, "--style", name, *size) for name in ("tiny", "alien"))
    assert gap(stylized(video, "--style", "tiny:0.25,alien:0.75", *size), mixture((first, 0.25), (second, 0.75))) <= ROUNDING
    between = stylized(video, "--style", "halfway", *size)
    assert mean_gap(stylized(video, "--style", "rough,smooth", *size), between) < 0.5


def test_a_video_is_stylized_at_partial_strength(video: Path) -> None:
    before, full = rgb_of(video), stylized(video, "--style", "tiny")
    assert (stylized(video, "--style", "tiny", "--strength", 0) == before).all()
    assert (stylized(video, "--style", "tiny", "--strength", 1) == full).all()
    assert gap(stylized(video, "--style", "tiny", "--strength", 0.25), mixture((before, 0.75), (full, 0.25))) <= ROUNDING


def test_a_video_is_stylized_with_large_strokes(video: Path) -> None:
    large = stylized(video, "--style", "tiny", "--stroke-scale", 2)
    assert (large == stylized(video, "--style", "tiny", "--height", 24)).all()
    assert mean_gap(large, stylized(video, "--style", "tiny")) > 1


def test_a_video_keeps_its_colours(video: Path) -> None:
    before, full, own = rgb_of(video), stylized(video, "--style", "tiny"), stylized(video, "--style", "tiny", "--preserve-color")

    def planes(images: Pixels) -> np.ndarray:
        return np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb) for image in images]).astype(int)

    gamut = ((own > 2) & (own < 253)).all(-1)  # elsewhere luminance and colour are out of gamut together
    assert gamut.mean() > 0.2
    assert np.abs(planes(own) - planes(before))[gamut][:, 1:].max() <= 2
    assert np.abs(planes(own) - planes(full))[gamut][:, 0].max() <= 2


def test_outputs_of_a_blend_are_named_after_it_and_are_not_inputs_of_a_later_run(video: Path) -> None:
    for styles, files in (
        (["tiny:0.5,alien:0.5"], ["in.mkv", "in.tiny+alien.mkv"]),
        (["rough"], ["in.mkv", "in.rough.mkv", "in.tiny+alien.mkv"]),
    ):
        arguments = [video.parent, *(word for style in styles for word in ("--style", style)), "-q"]
        assert run_command_line([*map(str, arguments)]) == EXIT_DONE
        assert sorted(path.name for path in video.parent.iterdir()) == files


def test_several_mixtures_of_one_video_in_one_run(video: Path) -> None:
    words = [str(video), "--style", "tiny", "--style", "tiny:0.5,alien:0.5", "--strength", "0.5", "--codec", "ffv1", "-q"]
    assert run_command_line(words) == EXIT_DONE
    expected = stylized(video, "--style", "tiny,alien", "--strength", 0.5)
    assert (rgb_of(video.with_name("in.tiny+alien.mkv")) == expected).all()
    assert (rgb_of(video.with_name("in.tiny.mkv")) == stylized(video, "--style", "tiny", "--strength", 0.5)).all()


# --- Python


def test_the_python_api_has_the_same_options(video: Path) -> None:
    options: dict[str, Any] = {"style": "tiny:0.5,alien:0.5", "strength": 0.5, "stroke_scale": 1.5, "device": "cpu"}
    words = ["--style", "tiny:0.5,alien:0.5", "--strength", 0.5, "--stroke-scale", 1.5]
    expected = stylized(video, *words)
    result = vidstyle.stylize(video, video.with_name("call.mkv"), codec="ffv1", **options)
    assert (rgb_of(result.output) == expected).all()
    net = vidstyle.Stylizer(**options)
    assert (np.stack([frame.pixels for frame in net.frames(video)]) == expected).all()
    own = np.stack([frame.pixels for frame in net.frames(video, preserve_color=True)])
    assert (own == stylized(video, *words, "--preserve-color")).all()
    assert (net(IMAGE) == still("tiny,alien", strength=0.5, stroke_scale=1.5)).all()
