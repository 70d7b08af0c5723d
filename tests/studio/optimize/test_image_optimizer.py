"""Images stylized by optimization: sizes, options, masks, style weights and memory limits."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.support.textures import distance, texture
from vidstyle.core.compositing import ColorPreserver, MaskPostProcessor
from vidstyle.core.errors import DeviceError, InputError, MemoryLimitError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import PaintOptions
from vidstyle.studio.optimize import multiscale
from vidstyle.studio.optimize.image_optimizer import ImageOptimizer, WarpedResult
from vidstyle.studio.perceptual.encoder import Encoder
from vidstyle.studio.perceptual.objective import Objective
from vidstyle.studio.style_images import StyleImage, find_style_images

PHOTO = texture(48, 64, seed=1)
WIDE = texture(48, 300, seed=4)
STYLE_IMAGES = [StyleImage(texture(64, 56, seed=2, softness=1))]
each_recipe = pytest.mark.parametrize("recipe", ["best", "gatys"])


def stylized(
    image: Pixels,
    options: PaintOptions,
    mask: np.ndarray | None = None,
    previous: WarpedResult | None = None,
    optimizer: ImageOptimizer | None = None,
) -> Pixels:
    optimizer = optimizer or ImageOptimizer(STYLE_IMAGES, options)
    *_, last = optimizer.optimize(image, mask, previous)
    return optimizer.result(image, last, mask)


@pytest.fixture(autouse=True)
def few_steps_while_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiscale, "STEPS_SMALL", 2)


# The result


@each_recipe
@pytest.mark.parametrize("size", [(48, 64), (33, 51), (64, 40)], ids=str)
def test_result_has_the_size_of_the_image(recipe: Any, size: tuple[int, int]) -> None:
    image = texture(*size, seed=1)
    before = image.copy()
    result = stylized(image, PaintOptions(recipe=recipe, steps=5))
    assert result.shape == (*size, 3)
    assert result.dtype == np.uint8
    assert distance(result, image) > 1
    assert (image == before).all(), "the image is not modified"


@each_recipe
@pytest.mark.parametrize("size", [(60, 600), (40, 1200), (700, 36)], ids=str)
def test_very_wide_and_very_tall_images(recipe: Any, size: tuple[int, int]) -> None:
    assert stylized(texture(*size), PaintOptions(recipe=recipe, steps=1)).shape == (*size, 3)


@pytest.mark.parametrize("size", [(31, 31), (16, 40), (8, 8), (2, 50), (1, 1)], ids=str)
def test_tiny_image_is_rejected(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"pixels.*{size[1]}x{size[0]}"):
        stylized(texture(*size), PaintOptions(steps=1))


@each_recipe
def test_smallest_image_is_stylized(recipe: Any) -> None:
    assert stylized(texture(32, 32), PaintOptions(recipe=recipe, steps=1)).shape == (32, 32, 3)


@each_recipe
@pytest.mark.parametrize("scale", [0.1, 0.3, 10])
def test_all_stroke_scales_work(recipe: Any, scale: float) -> None:
    result = stylized(texture(96, 128), PaintOptions(recipe=recipe, steps=1, stroke_scale=scale))
    assert result.shape == (96, 128, 3)


@each_recipe
def test_result_is_deterministic(recipe: Any) -> None:
    options = PaintOptions(recipe=recipe, steps=4, start="noise")
    assert (stylized(PHOTO, options) == stylized(PHOTO, options)).all()


@each_recipe
def test_optimization_can_start_from_noise(recipe: Any) -> None:
    from_content, from_noise = (stylized(PHOTO, PaintOptions(recipe=recipe, steps=1, start=s)) for s in ("content", "noise"))
    assert distance(from_content, PHOTO) < 12
    assert distance(from_noise, PHOTO) > 40


def chroma(image: Pixels) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[..., 1:].astype(int)


@each_recipe
def test_preserve_color_keeps_the_colours_of_the_image(recipe: Any) -> None:
    muted = (PHOTO // 2 + 64).astype(np.uint8)  # no colour that a change of luminance alone pushes out of range
    free, kept = (stylized(muted, PaintOptions(recipe=recipe, steps=12, preserve_color=p)) for p in (False, True))
    assert np.abs(chroma(kept) - chroma(muted)).max() <= 4
    assert np.abs(chroma(free) - chroma(muted)).mean() > 4
    light, before = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(int) for p in (kept, muted))
    assert np.abs(light - before).mean() > 2, "luminance is stylized"


def box(soft: bool = False) -> np.ndarray:
    mask = np.zeros((48, 64), np.float32)
    mask[10:35, 20:50] = 1
    return cv2.GaussianBlur(mask, (0, 0), 4) if soft else mask


@each_recipe
@pytest.mark.parametrize("preserve_color", [False, True])
def test_pixels_outside_the_mask_are_unchanged(recipe: Any, preserve_color: bool) -> None:
    result = stylized(PHOTO, PaintOptions(recipe=recipe, steps=5, preserve_color=preserve_color), box())
    assert (result[box() == 0] == PHOTO[box() == 0]).all()
    assert distance(result[10:35, 20:50], PHOTO[10:35, 20:50]) > 1


def test_soft_mask_blends_image_and_result() -> None:
    mask = box(soft=True)
    optimizer = ImageOptimizer(STYLE_IMAGES, PaintOptions(steps=5))
    *_, last = optimizer.optimize(PHOTO, mask)
    through, whole = optimizer.result(PHOTO, last, mask), optimizer.result(PHOTO, last)
    wanted = PHOTO + mask[..., None] * (whole.astype(float) - PHOTO)
    assert np.abs(through - wanted).max() <= 0.51


def test_video_frames_are_composited_like_images() -> None:
    muted, other = (PHOTO // 2 + 64).astype(np.uint8), (texture(48, 64, seed=8) // 2 + 64).astype(np.uint8)
    assert np.abs(chroma(ColorPreserver().process(muted, other, True)) - chroma(muted)).max() <= 4
    mixed = MaskPostProcessor(box()).process(muted, other, False)
    assert (mixed[box() == 0] == muted[box() == 0]).all()
    assert (mixed[box() == 1] == other[box() == 1]).all()


@each_recipe
def test_previous_result_is_kept_where_confidence_is_high(recipe: Any) -> None:
    trust = np.zeros((48, 64), np.float32)
    trust[:, :32] = 1
    previous = WarpedResult(255 - PHOTO, trust)
    result = stylized(PHOTO, PaintOptions(recipe=recipe, steps=1), previous=previous)
    assert distance(result[:, :28], previous.pixels[:, :28]) < 12
    assert distance(result[:, 36:], PHOTO[:, 36:]) < 12


@each_recipe
def test_style_image_with_more_weight_has_more_effect(recipe: Any) -> None:
    options = PaintOptions(recipe=recipe, steps=12)

    def after(*weights: float) -> Pixels:
        pixels = STYLE_IMAGES[0].pixels, texture(64, 64, seed=3, softness=6) // 3
        style_images = [StyleImage(p, weight=w) for p, w in zip(pixels, weights, strict=True) if w]
        return stylized(PHOTO, options, optimizer=ImageOptimizer(style_images, options))

    one, other = after(1, 0), after(0, 1)
    for mixed, near, far in ((after(0.9, 0.1), one, other), (after(0.1, 0.9), other, one)):
        assert 0 < distance(mixed, near) < distance(mixed, far)


def test_optimization_lowers_the_gatys_loss() -> None:
    optimizer = ImageOptimizer(STYLE_IMAGES, PaintOptions(recipe="gatys", steps=25))
    result = stylized(PHOTO, PaintOptions(), optimizer=optimizer)
    assert optimizer.gatys_loss(PHOTO, result) < 0.6 * optimizer.gatys_loss(PHOTO, PHOTO)


@pytest.mark.parametrize("device", ["gpu", "cpu:one", ""])
def test_invalid_device_is_rejected(device: str) -> None:
    with pytest.raises(DeviceError):
        ImageOptimizer(STYLE_IMAGES, PaintOptions(device=device))


# Memory


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The widths of all inputs of the encoder."""
    widths, forward = list[int](), Encoder.forward

    def noting(self: Encoder, image: torch.Tensor, layers: Any) -> Any:
        widths.append(max(image.shape[2:]))
        return forward(self, image, layers)

    monkeypatch.setattr(Encoder, "forward", noting)
    return widths


@each_recipe
def test_small_memory_limit_uses_tiles(recipe: Any, seen: list[int]) -> None:
    whole = stylized(WIDE, PaintOptions(recipe=recipe, steps=3))
    assert max(seen) >= 300
    seen.clear()
    tiled = stylized(WIDE, PaintOptions(recipe=recipe, steps=3, memory=0.01))
    assert max(seen) < 300
    assert distance(tiled, whole) < 0.25 * distance(whole, WIDE), "the result is the same"


def fails(monkeypatch: pytest.MonkeyPatch, error: Exception, times: int) -> None:
    """Make the objective raise `error` for a number of times."""
    evaluate, left = Objective.evaluate, [times]

    def failing(self: Objective, x: torch.Tensor) -> dict[str, float]:
        if left[0]:
            left[0] -= 1
            raise error
        return evaluate(self, x)

    monkeypatch.setattr(Objective, "evaluate", failing)


FULL = "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
each_shortage = pytest.mark.parametrize(
    "error", [RuntimeError(FULL), MemoryError(), torch.OutOfMemoryError("CUDA out of memory")], ids=["cpu", "python", "cuda"]
)


@each_shortage
def test_out_of_memory_restarts_in_tiles(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seen: list[int], error: Exception
) -> None:
    options = PaintOptions(recipe="gatys", steps=2)
    whole = stylized(WIDE, options)
    fails(monkeypatch, error, times=1)
    optimizer = ImageOptimizer(STYLE_IMAGES, options)
    with caplog.at_level(logging.WARNING):
        result = stylized(WIDE, options, optimizer=optimizer)
    (record,) = caplog.records
    assert "tiles of 150 pixels" in record.getMessage()
    assert distance(result, whole) < 1.5
    seen.clear()
    caplog.clear()
    stylized(WIDE, options, optimizer=optimizer)
    assert caplog.records == [], "the next image is stylized in tiles from the start"
    assert max(seen) < 300


@each_shortage
def test_out_of_memory_in_the_smallest_tiles_is_an_error(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    fails(monkeypatch, error, times=-1)
    with pytest.raises(MemoryLimitError, match=r"not enough memory.*tiles of 150 pixels"):
        stylized(WIDE, PaintOptions(recipe="gatys", steps=2))


def test_other_errors_do_not_count_as_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    fails(monkeypatch, RuntimeError("mat1 and mat2 shapes cannot be multiplied"), times=1)
    with pytest.raises(RuntimeError, match="shapes"):
        stylized(WIDE, PaintOptions(recipe="gatys", steps=2))


def test_transparent_pixels_do_not_affect_the_result(tmp_path: Path) -> None:
    """A third of the style image is bright red rather than grey, which affects the result only where it is opaque."""

    def redness(red: bool, alpha: int) -> float:
        image = np.dstack((STYLE_IMAGES[0].pixels, np.full(STYLE_IMAGES[0].pixels.shape[:2], 255, np.uint8)))
        image[:, :20] = (0, 0, 255, alpha) if red else (128, 128, 128, alpha)
        cv2.imwrite(str(tmp_path / "p.png"), image)
        options = PaintOptions(recipe="gatys", steps=30)
        result = stylized(PHOTO, options, optimizer=ImageOptimizer(find_style_images(str(tmp_path / "p.png")), options))
        return float((result[..., 0].astype(int) - result[..., 1]).mean())

    seen, unseen = (redness(True, alpha) - redness(False, alpha) for alpha in (255, 0))
    assert seen > 10
    assert abs(unseen) < 0.4 * seen
