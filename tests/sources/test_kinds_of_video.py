"""Videos that change their size, are transparent, rotated, HDR or tiny."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
import pytest

from tests.support.helpers import display_matrix_of, frames_of, imread, listing, moving_bar, rgb_of, times_of, write_clip
from tests.support.stylizers import Identity
from tools.bench.fidelity import orientations, remux
from vidstyle.conversion.convert import Result, convert
from vidstyle.core.errors import InputError, OutputError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import ConvertOptions, EncodeOptions
from vidstyle.sources.video import MAX_PIXELS

LOSSLESS = ConvertOptions(encode=EncodeOptions(codec="ffv1"))
MATRICES = list(orientations())


def stylized(clip: Path, name: str, options: ConvertOptions = ConvertOptions()) -> tuple[Path, Result]:
    output = clip.with_name(name)
    return output, convert(str(clip), output, Identity(), options)


def assert_rejected(clip: Path, name: str, kind: type[Exception], message: str) -> None:
    """The error is one sentence, raised before anything is written."""
    before = listing(clip.parent)
    with pytest.raises(kind, match=message) as raised:
        stylized(clip, name)
    assert len(str(raised.value).splitlines()) == 1
    assert listing(clip.parent) == before


# --- sizes


def white(index: int, width: int, height: int) -> Pixels:
    return np.full((height, width, 3), 255, np.uint8)


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        ((96, 32), range(13, 34), range(64)),  # 64x21
        ((32, 48), range(48), range(16, 48)),  # as high, half as wide
        ((128, 96), range(48), range(64)),  # the same shape
        ((16, 12), range(48), range(64)),
    ],
    ids=str,
)
def test_frames_of_another_size_are_letterboxed(tmp_path: Path, size: tuple[int, int], rows: range, columns: range) -> None:
    one = write_clip(tmp_path / "one.ts", image=white, options={"bf": "0"})
    two = write_clip(tmp_path / "two.ts", image=white, size=size, options={"bf": "0"})
    clip = tmp_path / "in.ts"
    clip.write_bytes(one.read_bytes() + two.read_bytes())
    output, result = stylized(clip, "out.mkv", LOSSLESS)
    assert "12 frames had another size and were fitted into 64x48" in result.warnings
    images = rgb_of(output)
    assert images.shape == (24, 48, 64, 3)
    assert images[:12].min() > 240
    expected = np.zeros((48, 64), bool)
    expected[np.ix_(rows, columns)] = True
    assert np.array_equal(images[-1].min(axis=2) > 240, expected)
    assert np.array_equal(images[-1].max(axis=2) > 10, expected), "the border is not black"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm", ".gif"])
@pytest.mark.parametrize("size", [(1, 1), (2, 2)], ids=str)
def test_the_smallest_images(tmp_path: Path, size: tuple[int, int], suffix: str) -> None:
    clip = write_clip(tmp_path / "in.mkv", codec="ffv1", pix_fmt="bgr0", size=size, times=range(3), image=white)
    output, result = stylized(clip, f"out{suffix}")
    images = rgb_of(output)
    warned = any("needs even sizes: the output is 2x2" in warning for warning in result.warnings)
    assert images.shape == (3, *((2, 2) if warned else size[::-1]), 3)
    assert warned == (size == (1, 1) and suffix not in (".webm", ".gif"))
    assert images.min() > 240


def test_huge_frame_size_is_rejected_before_decoding(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.gif", codec="gif", pix_fmt="rgb8", times=range(2))
    data = bytearray(clip.read_bytes())
    data[6:10] = struct.pack("<2H", 15000, 15000)
    clip.write_bytes(data)
    assert_rejected(clip, "out.mp4", InputError, f"at most {MAX_PIXELS} pixels, got 15000x15000")


# --- transparency


def layered(index: int) -> np.ndarray:
    """RGBA: the upper half transparent, the quarter below half transparent, the rest opaque."""
    opacity = np.full((48, 64), 255, np.uint8)
    opacity[:24], opacity[24:36] = 0, 128
    return np.dstack([moving_bar(index, 64, 48), opacity])


def opaque(index: int) -> np.ndarray:
    return np.dstack([moving_bar(index, 64, 48), np.full((48, 64), 255, np.uint8)])


def write_rgba(path: Path, codec: str, pix_fmt: str, image: Any = layered) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        for index in range(6):
            frame = av.VideoFrame.from_ndarray(image(index), "rgba").reformat(format=pix_fmt)
            frame.pts, frame.time_base = index, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def rgba_of(path: Path) -> np.ndarray:
    """All frames as RGBA, with the decoder that supports transparent VP9."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder: Any = stream.codec_context
        if decoder.name == "vp9":
            decoder = av.CodecContext.create("libvpx-vp9", "r")
        frames = [frame for packet in container.demux(stream) for frame in decoder.decode(packet if packet.size else None)]
        return np.stack([frame.to_ndarray(format="rgba") for frame in frames])


TRANSPARENT = [("in.webm", "libvpx-vp9", "yuva420p"), ("in.mov", "prores_ks", "yuva444p10le"), ("in.mkv", "ffv1", "bgra")]


@pytest.mark.parametrize("output", ["out.mkv", "out.webm", "out.mov"])
@pytest.mark.parametrize("given", TRANSPARENT, ids=lambda given: given[0])
def test_transparency_is_kept(tmp_path: Path, given: tuple[str, str, str], output: str) -> None:
    name, codec, pix_fmt = given
    clip = write_rgba(tmp_path / name, codec, pix_fmt)
    path, result = stylized(clip, output)
    assert result.warnings == []
    before, after = rgba_of(clip).astype(int), rgba_of(path).astype(int)
    assert len(after) == 6
    for rows in (slice(2, 22), slice(26, 34), slice(38, 48)):  # blocks of the codec lie across the edges
        assert np.abs(after[:, rows, :, 3] - before[:, rows, :, 3]).mean() < 4
    assert np.abs(after[:, 40:, :, :3] - before[:, 40:, :, :3]).mean() < 12


def test_lossless_transparent_video_is_exact(tmp_path: Path) -> None:
    clip = write_rgba(tmp_path / "in.mkv", "ffv1", "bgra")
    path, _ = stylized(clip, "out.mkv", LOSSLESS)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "bgra"
    assert np.array_equal(rgba_of(path), rgba_of(clip))


@pytest.mark.parametrize("given", TRANSPARENT, ids=lambda given: given[0])
@pytest.mark.parametrize("suffix", [".mp4", ".m4v"])
def test_container_without_transparency_suggests_another(tmp_path: Path, given: tuple[str, str, str], suffix: str) -> None:
    name, codec, pix_fmt = given
    clip = write_rgba(tmp_path / name, codec, pix_fmt)
    assert_rejected(clip, f"out{suffix}", InputError, r"transparency.*-o NAME\.mkv")


def test_opaque_video_with_an_alpha_channel_is_accepted(tmp_path: Path) -> None:
    clip = write_rgba(tmp_path / "in.mkv", "ffv1", "bgra", image=opaque)
    path, result = stylized(clip, "out.mp4")
    assert result.warnings == []
    assert len(frames_of(path)) == 6


def test_later_transparency_is_put_on_black_with_a_warning(tmp_path: Path) -> None:
    clip = write_rgba(tmp_path / "in.mkv", "ffv1", "bgra", image=lambda i: layered(i) if i >= 4 else opaque(i))
    path, result = stylized(clip, "out.mkv", ConvertOptions(encode=EncodeOptions(codec="ffv1", pix_fmt="bgr0")))
    assert result.warnings == ["2 frames had transparent parts, which were put on black"]
    images, given = rgb_of(path), np.stack([opaque(i)[..., :3] for i in range(6)]).astype(float)
    assert np.array_equal(images[:4], given[:4])
    assert images[4:, :24].max() == 0
    assert np.abs(images[4:, 24:36] - given[4:, 24:36] * 128 / 255).max() <= 1
    assert np.array_equal(images[4:, 36:], given[4:, 36:])


def test_transparent_gif_stays_transparent(tmp_path: Path) -> None:
    clip, _ = stylized(write_rgba(tmp_path / "in.mkv", "ffv1", "bgra"), "in.gif")
    assert rgba_of(clip)[..., 3].min() == 0
    path, result = stylized(clip, "out.gif")
    assert result.warnings == []
    assert np.array_equal(rgba_of(path)[..., 3], rgba_of(clip)[..., 3])
    assert times_of(path) == times_of(clip)


# --- orientation


def quarters(index: int, width: int, height: int) -> Pixels:
    """Four corners of different colours."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[: height // 2, : width // 2] = 240
    image[: height // 2, width // 2 :] = (220, 40, 40)
    image[height // 2 :, : width // 2] = (40, 200, 40)
    return image


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    folder = tmp_path_factory.mktemp("rotated")
    unrotated = write_clip(folder / "unrotated.mp4", image=quarters, times=range(3), options={"crf": "4"})

    def make(number: int) -> Path:
        path = folder / f"{number}.mp4"
        if not path.exists():
            remux(unrotated, path, matrix=MATRICES[number])
        return path

    return make


def shown(image: np.ndarray, matrix: tuple[int, ...]) -> np.ndarray:
    """As a player shows it: each point is moved by the matrix, then all are moved so that coordinates begin at 0."""
    height, width = image.shape[:2]
    a, b, _, c, d, *_ = (value // 65536 for value in matrix)
    places = {(a * x + c * y, b * x + d * y): image[y, x] for x in range(width) for y in range(height)}
    left, top = (min(place[axis] for place in places) for axis in (0, 1))
    size = (height, width) if a else (width, height)
    result = np.zeros((*size, 3), np.uint8)
    for (x, y), pixel in places.items():
        result[y - top, x - left] = pixel
    return result


@pytest.mark.parametrize("number", range(8))
def test_gif_is_rotated_to_display_orientation(tmp_path: Path, rotated: Callable[[int], Path], number: int) -> None:
    clip = rotated(number)
    convert(str(clip), tmp_path / "out.gif", Identity())
    expected = shown(rgb_of(clip)[0], MATRICES[number]).astype(int)
    found = rgb_of(tmp_path / "out.gif")
    assert found.shape == (3, *expected.shape)
    assert np.abs(found[0] - expected).mean() < 6
    assert np.abs(found[0][::-1, ::-1] - expected).mean() > 30, "the image does not show how it is rotated"


@pytest.mark.parametrize(
    ("number", "suffix"), [*((number, ".mp4") for number in range(8)), *((n, s) for n in (0, 1, 6) for s in (".mov", ".mkv"))]
)
def test_display_matrix_is_kept(tmp_path: Path, rotated: Callable[[int], Path], number: int, suffix: str) -> None:
    clip, output = rotated(number), tmp_path / f"out{suffix}"
    convert(str(clip), output, Identity())

    def matrix(path: Path) -> bytes | None:
        return display_matrix_of(frames_of(path)[0])

    assert matrix(output) == matrix(clip)
    assert (matrix(clip) is None) == (number == 0)
    assert np.abs(rgb_of(output).astype(int) - rgb_of(clip)).mean() < 8


# --- HDR

BT709, BT2020, PQ, HLG = 1, 9, 16, 18


def greys(index: int, width: int, height: int) -> Pixels:
    return np.broadcast_to(np.linspace(30, 150, width).astype(np.uint8)[None, :, None], (height, width, 3)).copy()


def luma(path: Path) -> float:
    """The mean of the 10-bit luma."""
    frames = frames_of(path)
    assert {frame.format.name for frame in frames} == {"yuv420p10le"}
    return float(np.mean([np.frombuffer(cast(Any, frame.planes[0]), np.uint16).mean() for frame in frames]))


@pytest.fixture(params=["smpte2084", "arib-std-b67"])
def hdr(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    tags = {"colorspace": "bt2020nc", "color_primaries": "bt2020", "color_trc": request.param, "color_range": "tv"}
    options = {"x265-params": "log-level=error", "crf": "8", **tags}
    clip = write_clip(tmp_path / "in.mkv", codec="libx265", pix_fmt="yuv420p10le", image=greys, times=range(4), options=options)
    assert frames_of(clip)[0].color_trc == (PQ if request.param == "smpte2084" else HLG)
    return clip


def tags_of(path: Path) -> tuple[str, str, int, int, int, int]:
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context.name
    frame = frames_of(path)[0]
    return codec, frame.format.name, frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range


def test_hdr_is_converted_to_sdr_with_a_warning(hdr: Path) -> None:
    path, result = stylized(hdr, "out.mp4")
    assert tags_of(path) == ("h264", "yuv420p", BT709, BT709, BT709, 1)
    assert result.warnings == ["the input is HDR; it was converted to standard range for stylizing"]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_hdr_can_be_kept(hdr: Path, suffix: str) -> None:
    path, _ = stylized(hdr, f"out{suffix}", ConvertOptions(encode=EncodeOptions(keep_hdr=True, quality=90)))
    transfer = frames_of(hdr)[0].color_trc
    assert tags_of(path) == ("hevc", "yuv420p10le", BT2020, BT2020, transfer, 1)
    assert times_of(path) == times_of(hdr)
    assert luma(path) == pytest.approx(luma(hdr), rel=0.02)


def test_10_bit_sdr_is_not_hdr(tmp_path: Path) -> None:
    options = {"x265-params": "log-level=error"}
    clip = write_clip(tmp_path / "in.mkv", codec="libx265", pix_fmt="yuv420p10le", image=greys, options=options)
    path, result = stylized(clip, "out.mp4")
    assert result.warnings == []
    assert np.abs(rgb_of(path).astype(int) - rgb_of(clip)).mean() < 4
    kept, _ = stylized(clip, "kept.mp4", ConvertOptions(encode=EncodeOptions(keep_hdr=True)))
    assert tags_of(kept)[1] == "yuv420p10le"
    assert tags_of(kept)[4] not in (PQ, HLG)


def test_transparent_image_stays_transparent(tmp_path: Path) -> None:
    image = np.dstack([np.full((16, 24, 3), 90, np.uint8), np.tile(np.arange(0, 240, 10, dtype=np.uint8), (16, 1))])
    cv2.imwrite(str(tmp_path / "in.png"), image)
    convert(str(tmp_path / "in.png"), tmp_path / "out.png", Identity())
    assert (imread(tmp_path / "out.png", cv2.IMREAD_UNCHANGED) == image).all()
    with pytest.raises(OutputError, match=r"\.png"):
        convert(str(tmp_path / "in.png"), tmp_path / "out.jpg", Identity())
    assert listing(tmp_path) == ["in.png", "out.png"]
