"""Images stylized within the memory there is, and the paintings they are stylized after."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.temporal.test_flow import texture
from vidstyle.core.compositing import Masked, OwnColors
from vidstyle.core.errors import DeviceError, InputError, MemoryLimitError, StyleError, UsageError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import PaintOptions
from vidstyle.studio.optimize import multiscale
from vidstyle.studio.optimize.image_optimizer import Neighbour, Painter
from vidstyle.studio.perceptual.encoder import Encoder
from vidstyle.studio.perceptual.objective import Objective
from vidstyle.studio.style_images import Painting, find_paintings, label
from vidstyle.styles.catalog import add_style, find_exemplar, sha256

PHOTO = texture(48, 64, seed=1)
WIDE = texture(48, 300, seed=4)
PAINTINGS = [Painting(texture(64, 56, seed=2, softness=1))]
each_recipe = pytest.mark.parametrize("recipe", ["best", "gatys"])


def stylized(
    image: Pixels,
    options: PaintOptions,
    mask: np.ndarray | None = None,
    neighbour: Neighbour | None = None,
    painter: Painter | None = None,
) -> Pixels:
    painter = painter or Painter(PAINTINGS, options)
    *_, last = painter.paint(image, mask, neighbour)
    return painter.finished(image, last, mask)


def distance(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(int) - other).mean())


@pytest.fixture(autouse=True)
def few_steps_while_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiscale, "STEPS_SMALL", 2)


# What comes out


@each_recipe
@pytest.mark.parametrize("size", [(48, 64), (33, 51), (64, 40)], ids=str)
def test_the_painting_is_as_large_as_the_image(recipe: Any, size: tuple[int, int]) -> None:
    image = texture(*size, seed=1)
    before = image.copy()
    found = stylized(image, PaintOptions(recipe=recipe, steps=5))
    assert found.shape == (*size, 3)
    assert found.dtype == np.uint8
    assert distance(found, image) > 1
    assert (image == before).all(), "the image itself stays"


@each_recipe
@pytest.mark.parametrize("size", [(60, 600), (40, 1200), (700, 36)], ids=str)
def test_banners_and_towers_can_be_stylized(recipe: Any, size: tuple[int, int]) -> None:
    assert stylized(texture(*size), PaintOptions(recipe=recipe, steps=1)).shape == (*size, 3)


@pytest.mark.parametrize("size", [(31, 31), (16, 40), (8, 8), (2, 50), (1, 1)], ids=str)
def test_a_tiny_image_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"pixels.*{size[1]}x{size[0]}"):
        stylized(texture(*size), PaintOptions(steps=1))


@each_recipe
def test_the_smallest_image_is_stylized(recipe: Any) -> None:
    assert stylized(texture(32, 32), PaintOptions(recipe=recipe, steps=1)).shape == (32, 32, 3)


@each_recipe
@pytest.mark.parametrize("scale", [0.1, 0.3, 10])
def test_strokes_of_every_size_allowed_can_be_stylized(recipe: Any, scale: float) -> None:
    found = stylized(texture(96, 128), PaintOptions(recipe=recipe, steps=1, stroke_scale=scale))
    assert found.shape == (96, 128, 3)


@each_recipe
def test_the_same_image_is_stylized_the_same_again(recipe: Any) -> None:
    options = PaintOptions(recipe=recipe, steps=4, start="noise")
    assert (stylized(PHOTO, options) == stylized(PHOTO, options)).all()


@each_recipe
def test_painting_may_begin_on_noise(recipe: Any) -> None:
    from_content, from_noise = (stylized(PHOTO, PaintOptions(recipe=recipe, steps=1, start=s)) for s in ("content", "noise"))
    assert distance(from_content, PHOTO) < 12
    assert distance(from_noise, PHOTO) > 40


def chroma(image: Pixels) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[..., 1:].astype(int)


@each_recipe
def test_preserved_colours_are_the_images_own(recipe: Any) -> None:
    muted = (PHOTO // 2 + 64).astype(np.uint8)  # no colour that lightness alone would push out of range
    free, kept = (stylized(muted, PaintOptions(recipe=recipe, steps=12, preserve_color=p)) for p in (False, True))
    assert np.abs(chroma(kept) - chroma(muted)).max() <= 4
    assert np.abs(chroma(free) - chroma(muted)).mean() > 4
    light, before = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(int) for p in (kept, muted))
    assert np.abs(light - before).mean() > 2, "light and dark are stylized"


def box(soft: bool = False) -> np.ndarray:
    mask = np.zeros((48, 64), np.float32)
    mask[10:35, 20:50] = 1
    return cv2.GaussianBlur(mask, (0, 0), 4) if soft else mask


@each_recipe
@pytest.mark.parametrize("preserve_color", [False, True])
def test_outside_the_mask_every_pixel_stays(recipe: Any, preserve_color: bool) -> None:
    found = stylized(PHOTO, PaintOptions(recipe=recipe, steps=5, preserve_color=preserve_color), box())
    assert (found[box() == 0] == PHOTO[box() == 0]).all()
    assert distance(found[10:35, 20:50], PHOTO[10:35, 20:50]) > 1


def test_a_soft_mask_leads_softly_from_image_to_painting() -> None:
    mask = box(soft=True)
    painter = Painter(PAINTINGS, PaintOptions(steps=5))
    *_, last = painter.paint(PHOTO, mask)
    through, whole = painter.finished(PHOTO, last, mask), painter.finished(PHOTO, last)
    wanted = PHOTO + mask[..., None] * (whole.astype(float) - PHOTO)
    assert np.abs(through - wanted).max() <= 0.51


def test_frames_of_a_video_are_mixed_as_images_are() -> None:
    muted, other = (PHOTO // 2 + 64).astype(np.uint8), (texture(48, 64, seed=8) // 2 + 64).astype(np.uint8)
    assert np.abs(chroma(OwnColors().finish(muted, other, True)) - chroma(muted)).max() <= 4
    mixed = Masked(box()).finish(muted, other, False)
    assert (mixed[box() == 0] == muted[box() == 0]).all()
    assert (mixed[box() == 1] == other[box() == 1]).all()


@each_recipe
def test_a_neighbours_painting_is_taken_over_where_it_is_trusted(recipe: Any) -> None:
    trust = np.zeros((48, 64), np.float32)
    trust[:, :32] = 1
    neighbour = Neighbour(255 - PHOTO, trust)
    found = stylized(PHOTO, PaintOptions(recipe=recipe, steps=1), neighbour=neighbour)
    assert distance(found[:, :28], neighbour.pixels[:, :28]) < 12
    assert distance(found[:, 36:], PHOTO[:, 36:]) < 12


@each_recipe
def test_a_heavier_painting_shows_more(recipe: Any) -> None:
    options = PaintOptions(recipe=recipe, steps=12)

    def after(*shares: float) -> Pixels:
        pixels = PAINTINGS[0].pixels, texture(64, 64, seed=3, softness=6) // 3
        paintings = [Painting(p, weight=w) for p, w in zip(pixels, shares, strict=True) if w]
        return stylized(PHOTO, options, painter=Painter(paintings, options))

    one, other = after(1, 0), after(0, 1)
    for mixed, near, far in ((after(0.9, 0.1), one, other), (after(0.1, 0.9), other, one)):
        assert 0 < distance(mixed, near) < distance(mixed, far)


def test_a_better_painting_has_a_lower_gatys_loss() -> None:
    painter = Painter(PAINTINGS, PaintOptions(recipe="gatys", steps=25))
    found = stylized(PHOTO, PaintOptions(), painter=painter)
    assert painter.gatys_loss(PHOTO, found) < 0.6 * painter.gatys_loss(PHOTO, PHOTO)


@pytest.mark.parametrize("device", ["gpu", "cpu:one", ""])
def test_a_device_that_is_none_is_refused(device: str) -> None:
    with pytest.raises(DeviceError):
        Painter(PAINTINGS, PaintOptions(device=device))


# Memory


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The widths of whatever the encoder is given."""
    widths, forward = list[int](), Encoder.forward

    def noting(self: Encoder, image: torch.Tensor, layers: Any) -> Any:
        widths.append(max(image.shape[2:]))
        return forward(self, image, layers)

    monkeypatch.setattr(Encoder, "forward", noting)
    return widths


@each_recipe
def test_a_small_memory_means_tiles(recipe: Any, seen: list[int]) -> None:
    whole = stylized(WIDE, PaintOptions(recipe=recipe, steps=3))
    assert max(seen) >= 300
    seen.clear()
    tiled = stylized(WIDE, PaintOptions(recipe=recipe, steps=3, memory=0.01))
    assert max(seen) < 300
    assert distance(tiled, whole) < 0.25 * distance(whole, WIDE), "and no other painting"


def fails(monkeypatch: pytest.MonkeyPatch, error: Exception, times: int) -> None:
    """Have the loss raise `error` so many times."""
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
def test_when_memory_runs_out_it_goes_on_in_tiles(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seen: list[int], error: Exception
) -> None:
    options = PaintOptions(recipe="gatys", steps=2)
    whole = stylized(WIDE, options)
    fails(monkeypatch, error, times=1)
    painter = Painter(PAINTINGS, options)
    with caplog.at_level(logging.WARNING):
        found = stylized(WIDE, options, painter=painter)
    (record,) = caplog.records
    assert "tiles of 150 pixels" in record.getMessage()
    assert distance(found, whole) < 1.5
    seen.clear()
    caplog.clear()
    stylized(WIDE, options, painter=painter)
    assert caplog.records == [], "the next image is stylized in tiles from the start"
    assert max(seen) < 300


@each_shortage
def test_when_not_even_the_smallest_tile_fits_it_says_so(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    fails(monkeypatch, error, times=-1)
    with pytest.raises(MemoryLimitError, match=r"not enough memory.*tiles of 150 pixels"):
        stylized(WIDE, PaintOptions(recipe="gatys", steps=2))


def test_other_troubles_are_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    fails(monkeypatch, RuntimeError("mat1 and mat2 shapes cannot be multiplied"), times=1)
    with pytest.raises(RuntimeError, match="shapes"):
        stylized(WIDE, PaintOptions(recipe="gatys", steps=2))


# Paintings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with paintings `a.png` and `b.png`."""
    cv2.imwrite(str(tmp_path / "a.png"), texture(40, 60, seed=1))
    cv2.imwrite(str(tmp_path / "b.png"), texture(50, 50, seed=2))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_is_a_painting(folder: Path) -> None:
    for name in ("a.png", str(folder / "a.png")):
        (painting,) = find_paintings(name)
        assert (painting.pixels == texture(40, 60, seed=1)[..., ::-1]).all()
        assert painting.opacity is None
        assert painting.weight == 1


def test_weights_of_several_paintings_sum_to_one(folder: Path) -> None:
    first, second = find_paintings("a.png:3,b.png:1")
    assert (first.weight, second.weight) == (0.75, 0.25)
    assert first.pixels.shape == (40, 60, 3)
    assert second.pixels.shape == (50, 50, 3)
    assert [p.weight for p in find_paintings("a.png,b.png,a.png:2")] == [0.25, 0.25, 0.5]


def test_a_file_may_have_commas_and_colons_in_its_name(folder: Path) -> None:
    for name in ("sea, storm.png", "a:2"):
        (folder / name).write_bytes((folder / "a.png").read_bytes())
        (painting,) = find_paintings(name)
        assert painting.pixels.shape == (40, 60, 3)
        assert painting.weight == 1


@pytest.mark.parametrize(
    ("style", "name"),
    [("a.png", "a"), ("a.png:3,b.png:1", "a-b"), ("mosaic", "mosaic"), ("mosaic:0.5,/some/where/b.jpg", "mosaic-b")],
)
def test_a_style_has_a_short_label(folder: Path, style: str, name: str) -> None:
    assert label(style) == name


def test_a_label_is_no_path(folder: Path) -> None:
    (folder / "x.y").mkdir()
    cv2.imwrite(str(folder / "x.y" / "star.ry,night.png"), texture(40, 60))
    assert label("x.y/star.ry,night.png") == "star.ry,night"


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf"])
def test_a_weight_that_is_none_is_refused(folder: Path, weight: str) -> None:
    with pytest.raises(UsageError, match="above 0"):
        find_paintings(f"a.png,b.png:{weight}")


def grey8(folder: Path) -> Path:
    cv2.imwrite(str(folder / "p.png"), texture(40, 60)[..., 0])
    return folder / "p.png"


def grey16(folder: Path) -> Path:
    cv2.imwrite(str(folder / "p.png"), texture(40, 60)[..., 0].astype(np.uint16) * 257)
    return folder / "p.png"


def grey_tiff(folder: Path) -> Path:
    cv2.imwrite(str(folder / "p.tif"), texture(40, 60)[..., 0].astype(np.uint16) * 257)
    return folder / "p.tif"


@pytest.mark.parametrize("make", [grey8, grey16, grey_tiff])
def test_a_grey_painting_of_any_depth_is_read(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    (painting,) = find_paintings(str(make(tmp_path)))
    assert painting.opacity is None
    assert np.abs(painting.pixels.astype(int) - texture(40, 60)[..., :1]).max() <= 1


def with_alpha(depth: type) -> np.ndarray:
    """Opaque on the right, transparent and white on the left."""
    image = np.dstack((texture(40, 60), np.full((40, 60), 255, np.uint8)))
    image[:, :20] = (255, 255, 255, 0)
    return image.astype(depth) * (257 if depth is np.uint16 else 1)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_transparency_is_kept(tmp_path: Path, depth: type) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), with_alpha(depth))
    (painting,) = find_paintings(str(tmp_path / "p.png"))
    assert painting.opacity is not None
    assert painting.opacity.shape == (40, 60)
    assert (painting.opacity[:, :20] == 0).all()
    assert (painting.opacity[:, 20:] == 255).all()
    assert np.abs(painting.pixels[:, 20:].astype(int) - texture(40, 60)[:, 20:, ::-1]).max() <= 1


def test_an_alpha_channel_that_is_opaque_is_none(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), np.dstack((texture(40, 60), np.full((40, 60), 255, np.uint8))))
    assert find_paintings(str(tmp_path / "p.png"))[0].opacity is None


def test_transparency_turns_with_its_image(tmp_path: Path) -> None:
    """Cameras and phones store images on their side, and a note beside of how to turn them: EXIF orientation, here 6."""
    data = cv2.imencode(".png", with_alpha(np.uint8))[1].tobytes()
    exif = b"eXIf" + b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    chunk = struct.pack(">I", len(exif) - 4) + exif + struct.pack(">I", zlib.crc32(exif))
    (tmp_path / "p.png").write_bytes(data[:33] + chunk + data[33:])
    (painting,) = find_paintings(str(tmp_path / "p.png"))
    assert painting.opacity is not None
    assert painting.pixels.shape[:2] == painting.opacity.shape
    assert (painting.pixels[painting.opacity == 0] == 255).all()


def test_what_is_transparent_is_not_stylized_after(tmp_path: Path) -> None:
    """A third of the painting is bright red rather than grey: that shows only where it is opaque."""

    def redness(red: bool, alpha: int) -> float:
        image = np.dstack((PAINTINGS[0].pixels, np.full(PAINTINGS[0].pixels.shape[:2], 255, np.uint8)))
        image[:, :20] = (0, 0, 255, alpha) if red else (128, 128, 128, alpha)
        cv2.imwrite(str(tmp_path / "p.png"), image)
        options = PaintOptions(recipe="gatys", steps=30)
        found = stylized(PHOTO, options, painter=Painter(find_paintings(str(tmp_path / "p.png")), options))
        return float((found[..., 0].astype(int) - found[..., 1]).mean())

    seen, unseen = (redness(True, alpha) - redness(False, alpha) for alpha in (255, 0))
    assert seen > 10
    assert abs(unseen) < 0.4 * seen


def nothing(folder: Path) -> str:
    return "missing.png"


def text(folder: Path) -> str:
    (folder / "p.png").write_text("no image " * 50)
    return "p.png"


def empty(folder: Path) -> str:
    (folder / "p.png").touch()
    return "p.png"


def cut_short(folder: Path) -> str:
    (folder / "p.png").write_bytes((folder / "a.png").read_bytes()[:60])
    return "p.png"


def tiny(folder: Path) -> str:
    cv2.imwrite(str(folder / "p.png"), texture(20, 20))
    return "p.png"


def narrow(folder: Path) -> str:
    cv2.imwrite(str(folder / "p.png"), texture(300, 31))
    return "p.png"


def transparent(folder: Path) -> str:
    cv2.imwrite(str(folder / "p.png"), np.dstack((texture(64, 64), np.zeros((64, 64), np.uint8))))
    return "p.png"


def directory(folder: Path) -> str:
    (folder / "p.png").mkdir()
    return "p.png"


@pytest.mark.parametrize("make", [nothing, text, empty, cut_short, tiny, narrow, transparent, directory])
def test_what_is_no_painting_is_refused_by_name(folder: Path, make: Callable[[Path], str]) -> None:
    with pytest.raises(InputError) as found:
        find_paintings(make(folder))
    assert make.__name__ == "nothing" or "p.png" in str(found.value)
    with pytest.raises(InputError):
        find_paintings(f"a.png,./{'missing' if make is nothing else 'p'}.png:2")


def test_an_unknown_style_is_named(folder: Path) -> None:
    with pytest.raises(StyleError, match="no-such-style"):
        find_paintings("no-such-style")
    with pytest.raises(StyleError, match="did you mean"):
        find_paintings("mosiac")


def test_a_style_without_an_exemplar_asks_for_the_painting(folder: Path) -> None:
    with pytest.raises(StyleError, match="give the painting's file"):
        find_paintings("tiny")


@pytest.fixture
def exemplar(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The image of the style `sea`."""
    own = folder / "own"
    own.mkdir()
    cv2.imwrite(str(own / "sea.png"), texture(40, 60, seed=7))
    add_style(own, "sea", {"title": "Sea", "exemplar": {"file": "sea.png", "sha256": sha256(own / "sea.png")}})
    monkeypatch.setenv("VIDSTYLE_STYLES", str(own))
    return own / "sea.png"


def test_a_style_is_stylized_after_its_exemplar(exemplar: Path) -> None:
    assert find_exemplar("sea") == exemplar
    sea, other = find_paintings("sea:3,a.png:1")
    assert (sea.pixels == texture(40, 60, seed=7)[..., ::-1]).all()
    assert (sea.weight, other.weight) == (0.75, 0.25)


@pytest.mark.parametrize("harm", ["altered", "removed"])
def test_an_exemplar_that_is_not_the_catalogues_is_refused(exemplar: Path, harm: str) -> None:
    if harm == "altered":
        exemplar.write_bytes(exemplar.read_bytes() + b"\0")
    else:
        exemplar.unlink()
    with pytest.raises(StyleError, match=r"exemplar.*'sea'"):
        find_paintings("sea")


def test_an_exemplar_lies_in_its_catalogues_folder(exemplar: Path, folder: Path) -> None:
    facts = {"exemplar": {"file": "../a.png", "sha256": sha256(folder / "a.png")}}
    add_style(exemplar.parent, "away", facts)
    with pytest.raises(StyleError, match="away"):
        find_exemplar("away")
