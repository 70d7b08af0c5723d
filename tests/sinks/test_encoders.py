"""The table of encoders: every row encodes into its formats; the quality scale, errors, hardware encoders and GIF."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.codec import CodecContext

from tests.support.helpers import ROOT, environment
from vidstyle.core.errors import DeviceError, UsageError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import DEFAULT_QUALITY, EncodeOptions
from vidstyle.sinks import encoders
from vidstyle.sinks.encoder_table import ENCODERS, VideoEncoder
from vidstyle.sinks.encoders import choose_encoder, encoder_options, pixel_format, subsampling, works
from vidstyle.sinks.gif import GifPalette

MUXERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".gif": "gif"}
SOFTWARE = [row for row in ENCODERS if not row.hardware]
HARDWARE = [row for row in ENCODERS if row.hardware]
SIZE = (160, 96)


def name_of(row: VideoEncoder) -> str:
    """The test ID: the encoder and its first pixel format."""
    return f"{row.name} {row.formats[0]}"


def stylized(index: int, size: tuple[int, int] = SIZE) -> Pixels:
    """Soft, moving strokes with grain, similar to a stylized frame."""
    width, height = size
    rng = np.random.default_rng(7)
    image = np.zeros((height, width + 60, 3), np.uint8)
    for _ in range(400):
        x, y = int(rng.integers(width + 60)), int(rng.integers(height))
        angle = rng.uniform(0, np.pi)
        end = (round(x + 18 * np.cos(angle)), round(y + 18 * np.sin(angle)))
        cv2.line(image, (x, y), end, [int(c) for c in rng.integers(0, 256, 3)], int(rng.integers(2, 7)), cv2.LINE_AA)
    grain = np.random.default_rng(index).normal(0, 3, (height, width, 3))
    return np.clip(image[:, 2 * index : 2 * index + width] + grain, 0, 255).astype(np.uint8)


def opacity(size: tuple[int, int] = SIZE) -> np.ndarray:
    """Transparent on the left, opaque on the right."""
    mask = np.full(size[::-1], 255, np.uint8)
    mask[:, : size[0] // 2] = 0
    return mask


def encode_frames(row: VideoEncoder, encode: EncodeOptions, muxer: str, count: int = 5, alpha: bool = False) -> io.BytesIO:
    """`count` stylized frames in a file."""
    pix_fmt, target, palette = pixel_format(row, encode, alpha), io.BytesIO(), GifPalette()
    with av.open(target, "w", format=muxer) as container:
        stream = container.add_stream(row.name, rate=25, options=encoder_options(row, encode))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *SIZE, pix_fmt
        stream.time_base = stream.codec_context.time_base = Fraction(1, 25)
        if row.codec_tag and muxer in ("mp4", "mov"):
            stream.codec_tag = row.codec_tag
        for index in range(count):
            pixels = np.dstack([stylized(index), opacity()]) if alpha else stylized(index)
            frame = av.VideoFrame.from_ndarray(pixels, "rgba" if alpha else "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            converted = palette.convert(frame) if pix_fmt == "pal8" else frame.reformat(format=pix_fmt)
            converted.pts, converted.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
        assert stream.codec_context.options == {}, "options that the encoder does not have"
    target.seek(0)
    return target


def combinations() -> Iterator[tuple[VideoEncoder, str, str]]:
    """Every software encoder with each of its suffixes and pixel formats."""
    for row in SOFTWARE:
        for suffix in row.suffixes:
            for pix_fmt in row.formats:
                yield row, suffix, pix_fmt


def test_every_software_encoder_is_in_this_pyav() -> None:
    assert all(encoders._formats_of(row.name) for row in SOFTWARE)


@pytest.mark.parametrize(
    ("row", "suffix", "pix_fmt"), [pytest.param(*c, id=f"{c[0].name} {c[1]} {c[2]}") for c in combinations()]
)
def test_every_encoder_encodes_into_every_suffix_of_its_row(row: VideoEncoder, suffix: str, pix_fmt: str) -> None:
    if pix_fmt not in encoders._formats_of(row.name):
        pytest.skip(f"{row.name} of this PyAV takes no {pix_fmt}")
    alpha = pix_fmt.startswith(("yuva", "bgra"))
    encode = EncodeOptions(codec=row.codec, pix_fmt=pix_fmt)
    assert choose_encoder(encode, suffix, alpha) is row
    written = encode_frames(row, encode, MUXERS[suffix], alpha=alpha)
    with av.open(written, "r") as container:
        stream = container.streams.video[0]
        assert stream.codec_context.codec.canonical_name == row.codec
        time_base = stream.time_base
        decoder: Any = CodecContext.create("libvpx-vp9", "r") if (row.codec, alpha) == ("vp9", True) else stream.codec_context
        frames = [frame for packet in container.demux(stream) for frame in decoder.decode(packet if packet.size else None)]
    assert len(frames) == 5
    assert [frame.pts * time_base for frame in frames] == [Fraction(n, 25) for n in range(5)]
    found = {"prores": pix_fmt.replace("444p10", "444p12"), "gif": "bgra"}.get(row.codec, pix_fmt)
    assert frames[0].format.name == found
    image = frames[-1].to_ndarray(format="rgba" if alpha else "rgb24")
    if alpha:
        assert np.abs(image[..., 3].astype(int) - opacity())[:, np.r_[0:72, 88:160]].max() <= 4
    error = np.abs(image[:, 88:, :3].astype(int) - stylized(4)[:, 88:]).mean()
    assert error == 0 if row.codec == "ffv1" and pix_fmt.startswith("bgr") else error < 20


@pytest.mark.parametrize("row", ENCODERS, ids=name_of)
def test_every_option_and_value_exists_in_the_encoder(row: VideoEncoder) -> None:
    if not encoders._formats_of(row.name):
        pytest.skip(f"this PyAV has no {row.name}")
    known = CodecContext.create(row.name, "w").supported_options
    private = {option.name: option for option in known.private}
    options = encoder_options(row, EncodeOptions()) | dict(row.low_latency)
    assert not options.keys() - private.keys() - {option.name for option in known.generic}
    named = [(name, value) for name, value in options.items() if not value.lstrip("+-").isdigit() and name in private]
    named += [(row.preset_option, preset) for preset in row.presets if not preset.isdigit()]
    for name, value in named:
        choices = {choice.name for choice in private[name].choices}
        assert not choices or value in choices, (name, value, choices)
    for name in row.quality_options:
        if name in private:
            assert (
                private[name].min
                <= min(v for _, v in row.quality_scale)
                <= max(v for _, v in row.quality_scale)
                <= private[name].max
            )


@pytest.mark.parametrize("row", ENCODERS, ids=name_of)
def test_every_quality_scale_is_monotonic_and_within_the_crf_range(row: VideoEncoder) -> None:
    values = [value for _, value in row.quality_scale]
    assert values in (sorted(values), sorted(values, reverse=True))
    if row.quality_scale:
        assert (row.quality_scale[0][0], row.quality_scale[-1][0]) == (0, 100)
    if row.crf_range:
        assert row.crf_range[0] <= min(values) <= max(values) <= row.crf_range[1]


@pytest.mark.parametrize(
    ("codec", "expected"),
    [("h264", {"crf": "20", "preset": "veryfast"}), ("libx265", {"crf": "23", "preset": "veryfast"}),
     ("av1", {"crf": "30", "preset": "10"})],
)  # fmt: skip
def test_the_defaults_are_those_of_version_0_1(codec: str, expected: dict[str, str]) -> None:
    encode = EncodeOptions(codec=codec)
    options = encoder_options(choose_encoder(encode), encode)
    assert options.items() >= expected.items()
    assert options == encoder_options(choose_encoder(encode), replace(encode, quality=DEFAULT_QUALITY))


def test_crf_and_preset_are_passed_on() -> None:
    encode = EncodeOptions(codec="vp9", crf=17, preset="2")
    assert encoder_options(choose_encoder(encode), encode).items() >= {"crf": "17", "cpu-used": "2"}.items()


@pytest.mark.parametrize("row", [row for row in SOFTWARE if row.quality_options], ids=name_of)
def test_a_higher_quality_makes_a_larger_file(row: VideoEncoder) -> None:
    alpha = row.formats[0].startswith("yuva")
    qualities = [quality for quality, _ in row.quality_scale] if row.codec == "prores" else [0, 40, 60, 75, 90, 100]
    sizes = []
    for quality in qualities:
        encode = EncodeOptions(codec=row.codec, quality=quality)
        sizes.append(len(encode_frames(row, encode, "matroska", alpha=alpha).getvalue()))
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0] or row.codec == "prores", "both 4444 profiles encode images this small at their best quality"


@pytest.mark.parametrize("quality", [40, 75, 90])
def test_same_quality_looks_alike_for_every_codec(quality: int) -> None:
    with av.open(str(ROOT / "samples" / "boat.mp4")) as container:
        frames = [frame for _, frame in zip(range(12), container.decode(video=0), strict=False)]
    found = {}
    for codec in ("h264", "hevc", "av1", "vp9"):
        target, encode = io.BytesIO(), EncodeOptions(codec=codec, quality=quality)
        row = choose_encoder(encode)
        with av.open(target, "w", format="matroska") as output:
            stream = output.add_stream(row.name, rate=25, options=encoder_options(row, encode))
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
            for index, frame in enumerate(frames):
                frame.pts, frame.time_base = index, Fraction(1, 25)
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        target.seek(0)
        with av.open(target, "r") as container:
            pairs = zip(frames, container.decode(video=0), strict=True)
            found[codec] = 10 * np.log10(255**2 / np.mean([np.mean((luma(a) - luma(b)) ** 2) for a, b in pairs]))
    assert max(found.values()) - min(found.values()) < 3, found


def luma(frame: av.VideoFrame) -> np.ndarray:
    """The first plane."""
    plane = frame.planes[0]
    return np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, -1)[:, : plane.width].astype(float)


@pytest.mark.parametrize(
    ("encode", "suffix", "alpha", "name"),
    [
        (EncodeOptions(), ".mp4", False, "libx264"),
        (EncodeOptions(), ".webm", False, "libvpx-vp9"),
        (EncodeOptions(), ".gif", False, "gif"),
        (EncodeOptions(), ".gif", True, "gif"),
        (EncodeOptions(), ".mkv", True, "libvpx-vp9"),
        (EncodeOptions(), ".webm", True, "libvpx-vp9"),
        (EncodeOptions(), ".mov", True, "prores_ks"),
        (EncodeOptions(keep_hdr=True), ".mp4", False, "libx265"),
        (EncodeOptions(keep_hdr=True), ".webm", False, "libsvtav1"),
        (EncodeOptions(keep_hdr=True), ".mkv", True, "prores_ks"),
        (EncodeOptions(pix_fmt="yuv444p"), ".mp4", False, "libx264"),
        (EncodeOptions(codec="libx265"), ".mp4", False, "libx265"),
        (EncodeOptions(codec="ffv1"), ".mkv", True, "ffv1"),
    ],
)
def test_without_a_codec_a_suitable_one_is_chosen(encode: EncodeOptions, suffix: str, alpha: bool, name: str) -> None:
    row = choose_encoder(encode, suffix, alpha)
    assert row.name == name
    pix_fmt = pixel_format(row, encode, alpha)
    assert encoders.has_alpha(pix_fmt) == alpha or name == "gif"
    assert not encode.keep_hdr or pix_fmt.endswith("10le")


def test_prores_profile_fits_the_pixel_format() -> None:
    for pix_fmt, profile in (("yuv422p10le", "3"), ("yuv444p10le", "4"), ("yuva444p10le", "4")):
        encode = EncodeOptions(codec="prores", pix_fmt=pix_fmt)
        assert encoder_options(choose_encoder(encode, ".mov"), encode)["profile"] == profile
    for quality, alpha, tag in ((0, False, "apco"), (75, False, "apch"), (75, True, "ap4h"), (100, True, "ap4x")):
        encode = EncodeOptions(codec="prores", quality=quality)
        with av.open(encode_frames(choose_encoder(encode, ".mov", alpha), encode, "mov", alpha=alpha)) as container:
            assert container.streams.video[0].codec_context.codec_tag == tag


@pytest.mark.parametrize(
    ("encode", "suffix", "alpha", "parts"),
    [
        (EncodeOptions(codec="theora"), ".mp4", False, ["h264, hevc, av1, vp9, prores, ffv1, gif", "theora"]),
        (EncodeOptions(quality=50, crf=20), ".mp4", False, ["quality", "crf", "both"]),
        (EncodeOptions(crf=52), ".mp4", False, ["0 to 51", "52"]),
        (EncodeOptions(codec="av1", crf=64), ".mp4", False, ["0 to 63", "64"]),
        (EncodeOptions(codec="prores", crf=3), ".mov", False, ["prores", "--quality instead"]),
        (EncodeOptions(codec="ffv1", quality=50), ".mkv", False, ["ffv1 is lossless and takes no --quality (got 50)"]),
        (EncodeOptions(codec="ffv1", crf=1), ".mkv", False, ["ffv1 takes no --crf (got 1)"]),
        (EncodeOptions(codec="ffv1", preset="fast"), ".mkv", False, ["ffv1 (ffv1) takes no --preset (got fast)"]),
        (EncodeOptions(quality=50), ".gif", False, ["256 colours"]),
        (EncodeOptions(preset="hasty"), ".mp4", False, ["ultrafast", "hasty"]),
        (EncodeOptions(codec="vp9", preset="fast"), ".webm", False, ["0, 1, 2, 3, 4, 5", "fast"]),
        (EncodeOptions(pix_fmt="rgb565"), ".mp4", False, ["yuv420p", "rgb565"]),
        (EncodeOptions(codec="hevc", pix_fmt="yuva420p"), ".mp4", False, ["pixel format of hevc", "yuva420p"]),
        (EncodeOptions(), ".avi", False, [".mp4", ".mkv", ".avi"]),
        (EncodeOptions(codec="h264"), ".webm", False, ["h264", ".mp4", ".webm", "-o NAME.mkv"]),
        (EncodeOptions(codec="h264"), ".gif", False, ["h264", "-o NAME.mkv"]),
        (EncodeOptions(codec="gif"), ".mp4", False, ["-o NAME.gif"]),
        (EncodeOptions(codec="ffv1"), ".mp4", False, ["-o NAME.mkv"]),
        (EncodeOptions(codec="prores"), ".mp4", False, [".mov", "-o NAME.mkv"]),
        (EncodeOptions(codec="av1"), ".mov", False, ["-o NAME.mkv"]),
        (EncodeOptions(), ".mp4", True, ["transparency", ".mkv", ".webm", ".mov", "-o NAME.mkv"]),
        (EncodeOptions(codec="h264"), ".mkv", True, ["transparency", "h264", "vp9", "prores", "ffv1", ".mkv", ".mov"]),
        (EncodeOptions(codec="vp9"), ".mp4", True, ["vp9", "transparency", ".mkv", ".webm"]),
        (EncodeOptions(codec="vp9", pix_fmt="yuva420p"), ".mp4", True, ["transparency", "-o NAME.mkv"]),
        (EncodeOptions(codec="vp9", pix_fmt="yuv420p"), ".mkv", True, ["pixel format with transparency", "yuv420p"]),
        (EncodeOptions(keep_hdr=True, pix_fmt="yuv420p"), ".mp4", False, ["10 bits", "yuv420p"]),
        (EncodeOptions(codec="h264", keep_hdr=True), ".mp4", False, ["10 bits", "h264", "hevc", "av1"]),
        (EncodeOptions(keep_hdr=True), ".gif", False, ["10 bits", ".gif", "-o NAME.mkv"]),
        (EncodeOptions(codec="prores", hardware=True), ".mov", False, ["h264, hevc, av1, vp9", "prores"]),
        (EncodeOptions(codec="libx264", hardware=True), ".mp4", False, ["hardware", "libx264"]),
        (EncodeOptions(hardware=True), ".mkv", True, ["transparency", "hardware"]),
    ],
)
def test_incompatible_options_are_rejected(encode: EncodeOptions, suffix: str, alpha: bool, parts: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        choose_encoder(encode, suffix, alpha)
    message = str(caught.value)
    assert "\n" not in message
    assert [part for part in parts if part not in message] == [], message


@pytest.fixture
def _fresh() -> Iterator[None]:
    works.cache_clear()
    yield
    works.cache_clear()


BROKEN = VideoEncoder("h264", "libx264", (".mp4",), ("yuv420p",), extra=(("crf", "not a number"),), hardware=True)
WORKING = VideoEncoder(
    "h264", "libx264", (".mp4",), ("yuv420p",), ("crf",), ((0, 50), (100, 10)), (0, 51), preset="fast", presets=("fast", "slow"),
    hardware=True,
)  # fmt: skip


@pytest.mark.usefixtures("_fresh")
def test_first_working_hardware_encoder_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = replace(WORKING, name="h264_of_tomorrow")
    monkeypatch.setattr(encoders, "ENCODERS", (*SOFTWARE, missing, BROKEN, WORKING))
    assert choose_encoder(EncodeOptions(hardware=True)) is WORKING
    assert choose_encoder(EncodeOptions(codec="h264", hardware=True, preset="slow")) is WORKING
    with pytest.raises(UsageError, match="fast, slow"):
        choose_encoder(EncodeOptions(hardware=True, preset="p4"))


@pytest.mark.usefixtures("_fresh")
def test_encoder_without_packets_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av.VideoCodecContext, "encode", lambda *_: [], raising=False)
    assert not works(WORKING, "yuv420p")


@pytest.mark.usefixtures("_fresh")
def test_hardware_is_probed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "ENCODERS", (*SOFTWARE, BROKEN, WORKING))
    for _ in range(3):
        choose_encoder(EncodeOptions(hardware=True))
    assert works.cache_info().misses == 2


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize("rows", [(BROKEN,), (replace(BROKEN, name="h264_of_tomorrow"),)])
def test_no_working_hardware_is_a_device_error(monkeypatch: pytest.MonkeyPatch, rows: tuple[VideoEncoder, ...]) -> None:
    monkeypatch.setattr(encoders, "ENCODERS", (*SOFTWARE, *rows))
    with pytest.raises(DeviceError, match=rows[0].name):
        choose_encoder(EncodeOptions(hardware=True))


def test_probing_is_silent() -> None:
    program = "from vidstyle.sinks.encoders import *\nfor e in ENCODERS:\n    for f in e.formats: works(e, f)"
    done = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("row", HARDWARE, ids=name_of)
def test_hardware_encodes(row: VideoEncoder) -> None:
    encode = EncodeOptions(codec=row.name)
    try:
        found = choose_encoder(encode, row.suffixes[0])
    except DeviceError as error:
        pytest.skip(f"no such hardware: {error}")
    with av.open(encode_frames(found, encode, "matroska"), "r") as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == row.codec
        assert len(list(container.decode(video=0))) == 5


@pytest.mark.parametrize(
    ("pix_fmt", "step"),
    [("yuv420p", (2, 2)), ("nv12", (2, 2)), ("p010le", (2, 2)), ("yuv422p10le", (2, 1)), ("yuv411p", (4, 1)),
     ("yuv444p", (1, 1)), ("bgr0", (1, 1)), ("yuva420p", (2, 2)), ("pal8", (1, 1))],
)  # fmt: skip
def test_subsampling(pix_fmt: str, step: tuple[int, int]) -> None:
    assert subsampling(pix_fmt) == step


def test_palette_keeps_colours_and_timestamps() -> None:
    palette = GifPalette()
    for index in range(3):
        frame = av.VideoFrame.from_ndarray(stylized(index), "rgb24")
        frame.pts, frame.time_base, frame.duration = 1001 * index, Fraction(1, 24000), 1001
        converted = palette.convert(frame)
        assert converted.format.name == "pal8"
        for each in (frame, converted):
            assert (each.pts, each.time_base, each.duration) == (1001 * index, Fraction(1, 24000), 1001)
        found = converted.to_ndarray(format="rgb24").astype(int)
        assert np.abs(found - stylized(index)).mean() < 12
        assert np.abs(blocks(found) - blocks(stylized(index))).mean() < 4


def blocks(pixels: np.ndarray) -> np.ndarray:
    """Means of 8 x 8 pixels, which average out the dithering."""
    return pixels.reshape(SIZE[1] // 8, 8, SIZE[0] // 8, 8, 3).mean((1, 3))


def test_few_colours_are_exact() -> None:
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:24, :, 0], pixels[:, 32:, 1], pixels[10:20, 10:20] = 200, 99, (1, 2, 3)
    converted = GifPalette().convert(av.VideoFrame.from_ndarray(pixels, "rgb24"))
    assert np.abs(converted.to_ndarray(format="rgb24").astype(int) - pixels).max() <= 4


@pytest.mark.parametrize(("alpha", "shown"), [(0, 0), (127, 0), (128, 255), (255, 255)])
def test_palette_keeps_transparency(alpha: int, shown: int) -> None:
    pixels = np.dstack([stylized(0), np.full(SIZE[::-1], 255, np.uint8)])
    pixels[:40, :60, 3] = alpha
    found = GifPalette().convert(av.VideoFrame.from_ndarray(pixels, "rgba")).to_ndarray(format="rgba")
    assert (found[:40, :60, 3] == shown).all()
    assert (found[40:, :, 3] == 255).all()


def test_transparent_gif_is_read_back_transparent() -> None:
    row = choose_encoder(EncodeOptions(), ".gif", alpha=True)
    with av.open(encode_frames(row, EncodeOptions(), "gif", alpha=True), "r") as container:
        for frame in container.decode(video=0):
            assert (frame.to_ndarray(format="rgba")[..., 3] == opacity()).all()


def test_hevc_has_the_codec_tag_for_apple_players() -> None:
    row = choose_encoder(EncodeOptions(codec="hevc"))
    for suffix in (".mp4", ".mov"):
        with av.open(encode_frames(row, EncodeOptions(codec="hevc"), MUXERS[suffix])) as container:
            assert container.streams.video[0].codec_context.codec_tag == "hvc1"
