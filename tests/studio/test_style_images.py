"""Style images: found by file or name, read in any format, mixed by weight."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.support.textures import texture
from vidstyle.core.errors import InputError, StyleError, UsageError
from vidstyle.studio import style_images
from vidstyle.studio.style_images import find_style_images, label, read_style_image
from vidstyle.styles.catalog import add_style, find_exemplar, sha256


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with style images `a.png` and `b.png`."""
    cv2.imwrite(str(tmp_path / "a.png"), texture(40, 60, seed=1))
    cv2.imwrite(str(tmp_path / "b.png"), texture(50, 50, seed=2))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_style_image_from_a_file(folder: Path) -> None:
    for name in ("a.png", str(folder / "a.png")):
        (style_image,) = find_style_images(name)
        assert (style_image.pixels == texture(40, 60, seed=1)[..., ::-1]).all()
        assert style_image.opacity is None
        assert style_image.weight == 1


def test_weights_of_several_style_images_sum_to_one(folder: Path) -> None:
    first, second = find_style_images("a.png:3,b.png:1")
    assert (first.weight, second.weight) == (0.75, 0.25)
    assert first.pixels.shape == (40, 60, 3)
    assert second.pixels.shape == (50, 50, 3)
    assert [p.weight for p in find_style_images("a.png,b.png,a.png:2")] == [0.25, 0.25, 0.5]


def test_file_may_have_commas_and_colons_in_its_name(folder: Path) -> None:
    for name in ("sea, storm.png", "a:2"):
        (folder / name).write_bytes((folder / "a.png").read_bytes())
        (style_image,) = find_style_images(name)
        assert style_image.pixels.shape == (40, 60, 3)
        assert style_image.weight == 1


@pytest.mark.parametrize(
    ("style", "name"),
    [("a.png", "a"), ("a.png:3,b.png:1", "a-b"), ("mosaic", "mosaic"), ("mosaic:0.5,/some/where/b.jpg", "mosaic-b")],
)
def test_style_has_a_short_label(folder: Path, style: str, name: str) -> None:
    assert label(style) == name


def test_label_contains_no_path(folder: Path) -> None:
    (folder / "x.y").mkdir()
    cv2.imwrite(str(folder / "x.y" / "star.ry,night.png"), texture(40, 60))
    assert label("x.y/star.ry,night.png") == "star.ry,night"


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf"])
def test_invalid_weight_is_rejected(folder: Path, weight: str) -> None:
    with pytest.raises(UsageError, match="above 0"):
        find_style_images(f"a.png,b.png:{weight}")


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
def test_grey_style_image_of_any_depth_is_read(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    (style_image,) = find_style_images(str(make(tmp_path)))
    assert style_image.opacity is None
    assert np.abs(style_image.pixels.astype(int) - texture(40, 60)[..., :1]).max() <= 1


def with_alpha(depth: type) -> np.ndarray:
    """Opaque on the right, transparent and white on the left."""
    image = np.dstack((texture(40, 60), np.full((40, 60), 255, np.uint8)))
    image[:, :20] = (255, 255, 255, 0)
    return image.astype(depth) * (257 if depth is np.uint16 else 1)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_transparency_is_kept(tmp_path: Path, depth: type) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), with_alpha(depth))
    (style_image,) = find_style_images(str(tmp_path / "p.png"))
    assert style_image.opacity is not None
    assert style_image.opacity.shape == (40, 60)
    assert (style_image.opacity[:, :20] == 0).all()
    assert (style_image.opacity[:, 20:] == 255).all()
    assert np.abs(style_image.pixels[:, 20:].astype(int) - texture(40, 60)[:, 20:, ::-1]).max() <= 1


def test_opaque_alpha_channel_is_dropped(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), np.dstack((texture(40, 60), np.full((40, 60), 255, np.uint8))))
    assert find_style_images(str(tmp_path / "p.png"))[0].opacity is None


def test_transparency_is_rotated_with_its_image(tmp_path: Path) -> None:
    """Cameras and phones store rotated images with the EXIF orientation, here 6."""
    data = cv2.imencode(".png", with_alpha(np.uint8))[1].tobytes()
    exif = b"eXIf" + b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    chunk = struct.pack(">I", len(exif) - 4) + exif + struct.pack(">I", zlib.crc32(exif))
    (tmp_path / "p.png").write_bytes(data[:33] + chunk + data[33:])
    (style_image,) = find_style_images(str(tmp_path / "p.png"))
    assert style_image.opacity is not None
    assert style_image.pixels.shape[:2] == style_image.opacity.shape
    assert (style_image.pixels[style_image.opacity == 0] == 255).all()


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


def huge(folder: Path) -> str:
    """The header of a PNG of 20000x20000: with its data, such a file of 1.2 MB takes 1.2 GB in memory."""
    cv2.imwrite(str(folder / "p.png"), texture(64, 64))
    data = bytearray((folder / "p.png").read_bytes())
    data[16:24] = struct.pack("!II", 20000, 20000)
    data[29:33] = struct.pack("!I", zlib.crc32(data[12:29]))
    (folder / "p.png").write_bytes(data)
    return "p.png"


def transparent(folder: Path) -> str:
    cv2.imwrite(str(folder / "p.png"), np.dstack((texture(64, 64), np.zeros((64, 64), np.uint8))))
    return "p.png"


def directory(folder: Path) -> str:
    (folder / "p.png").mkdir()
    return "p.png"


@pytest.mark.parametrize("make", [nothing, text, empty, cut_short, tiny, narrow, huge, transparent, directory])
def test_invalid_style_image_is_named_in_the_error(folder: Path, make: Callable[[Path], str]) -> None:
    with pytest.raises(InputError) as error:
        find_style_images(make(folder))
    assert make.__name__ == "nothing" or "p.png" in str(error.value)
    with pytest.raises(InputError):
        find_style_images(f"a.png,./{'missing' if make is nothing else 'p'}.png:2")


def test_unknown_style_is_named_in_the_error(folder: Path) -> None:
    with pytest.raises(StyleError, match="no-such-style"):
        find_style_images("no-such-style")
    with pytest.raises(StyleError, match="did you mean"):
        find_style_images("mosiac")


def test_style_without_an_exemplar_asks_for_the_file(folder: Path) -> None:
    with pytest.raises(StyleError, match="give an image file"):
        find_style_images("tiny")


@pytest.fixture
def exemplar(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The exemplar of the style `sea`."""
    own = folder / "own"
    own.mkdir()
    cv2.imwrite(str(own / "sea.png"), texture(40, 60, seed=7))
    add_style(own, "sea", {"title": "Sea", "exemplar": {"file": "sea.png", "sha256": sha256(own / "sea.png")}})
    monkeypatch.setenv("VIDSTYLE_STYLES", str(own))
    return own / "sea.png"


def test_style_uses_its_exemplar(exemplar: Path) -> None:
    assert find_exemplar("sea") == exemplar
    sea, other = find_style_images("sea:3,a.png:1")
    assert (sea.pixels == texture(40, 60, seed=7)[..., ::-1]).all()
    assert (sea.weight, other.weight) == (0.75, 0.25)


@pytest.mark.parametrize("harm", ["altered", "removed"])
def test_exemplar_with_a_wrong_hash_is_rejected(exemplar: Path, harm: str) -> None:
    if harm == "altered":
        exemplar.write_bytes(exemplar.read_bytes() + b"\0")
    else:
        exemplar.unlink()
    with pytest.raises(StyleError, match=r"exemplar.*'sea'"):
        find_style_images("sea")


def test_exemplar_outside_the_catalogue_folder_is_rejected(exemplar: Path, folder: Path) -> None:
    facts = {"exemplar": {"file": "../a.png", "sha256": sha256(folder / "a.png")}}
    add_style(exemplar.parent, "away", facts)
    with pytest.raises(StyleError, match="away"):
        find_exemplar("away")


def test_cmyk_jpeg_has_its_colours(tmp_path: Path) -> None:
    stylized = texture(90, 120, seed=3, softness=8)
    Image.fromarray(stylized).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    style_image = read_style_image(tmp_path / "cmyk.jpg")
    assert np.abs(style_image.pixels.astype(int) - stylized).mean() < 4
    assert style_image.opacity is None


def test_deep_and_grey_style_images_become_8_bit_rgb(tmp_path: Path) -> None:
    stylized = texture(90, 120, seed=4)
    cv2.imwrite(str(tmp_path / "deep.png"), cv2.cvtColor(stylized, cv2.COLOR_RGB2BGR).astype(np.uint16) * 257)
    assert np.abs(read_style_image(tmp_path / "deep.png").pixels.astype(int) - stylized).max() <= 1
    cv2.imwrite(str(tmp_path / "grey.png"), stylized[..., 0])
    grey = read_style_image(tmp_path / "grey.png").pixels
    assert all((grey[..., channel] == stylized[..., 0]).all() for channel in range(3))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_huge_style_image_is_read_at_a_reduced_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    stylized = texture(160, 240, seed=5, softness=9)
    layers = np.dstack((stylized[..., ::-1], np.where(np.arange(240) < 120, 255, 0).astype(np.uint8)[None].repeat(160, 0)))
    cv2.imwrite(str(tmp_path / f"huge{suffix}"), layers if suffix == ".png" else layers[..., :3])
    monkeypatch.setattr(style_images, "MAX_PIXELS", 10_000)
    style_image = read_style_image(tmp_path / f"huge{suffix}")
    assert style_image.pixels.shape == (80, 120, 3)
    smaller = cv2.resize(stylized, (120, 80), interpolation=cv2.INTER_AREA)
    assert np.abs(style_image.pixels.astype(int) - smaller).mean() < 3
    if suffix == ".png":
        assert style_image.opacity is not None
        assert (style_image.opacity[:, :59] == 255).all()
        assert (style_image.opacity[:, 61:] == 0).all()


def test_almost_transparent_style_image_is_rejected(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "empty.png"), np.zeros((90, 120, 4), np.uint8))
    with pytest.raises(InputError, match="almost completely transparent"):
        read_style_image(tmp_path / "empty.png")
