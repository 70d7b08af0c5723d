"""HDR to standard range and back. The tests compute luminance, curves and matrices from the standards on their own."""

from __future__ import annotations

import functools
import math
import struct
import tempfile
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from vidstyle.core.errors import DiskError
from vidstyle.core.frames import ColorTags, Pixels
from vidstyle.media.hdr import ToneMap
from vidstyle.media.hdr_metadata import peak_nits

PQ, HLG = 16, 18
BT2020, LIMITED, FULL = 9, 1, 2
BOTH = pytest.mark.parametrize("transfer", [PQ, HLG], ids=["PQ", "HLG"])
FORMATS = ["yuv420p10le", "yuv422p10le", "yuv420p12le", "yuv444p10le", "p010le", "yuv420p"]
Triple = tuple[float, float, float]

# BT.2087, equations 1 and 3
FROM_709 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
LUMINANCE_2020 = np.array([0.2627, 0.6780, 0.0593])
LUMINANCE_709 = np.array([0.2126, 0.7152, 0.0722])

# cd/m2 of R, G, B with BT.709 primaries; the brightest are highlights.
COLORS: list[Triple] = [
    (5, 5, 5),
    (26, 26, 26),
    (90, 60, 40),
    (20, 60, 30),
    (30, 40, 90),
    (203, 203, 203),
    (300, 220, 150),
    (600, 600, 600),
    (800, 500, 300),
    (400, 500, 800),
    (980, 980, 980),
]

HIGHLIGHTS: list[Triple] = [(774, 781, 315), (674, 675, 235), (711, 590, 719), (325, 92, 324), (544, 470, 906)]
"""Saturated highlights with two nearly equal components."""


@functools.cache
def tone_map(transfer: int, peak: float | None = None) -> ToneMap:
    """Cached: most of a test's time is spent on the tables."""
    return ToneMap(tags(transfer), peak)


def tags(transfer: int, range_: int = LIMITED) -> ColorTags:
    return ColorTags(BT2020, range_, BT2020, transfer)


def pq_signal(nits: float) -> float:
    """BT.2100, table 4."""
    y = (nits / 10000) ** 0.1593017578125
    return float(((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375)


def pq_light(signal: float) -> float:
    e = signal ** (1 / 78.84375)
    return float(10000 * (max(e - 0.8359375, 0) / (18.8515625 - 18.6875 * e)) ** (1 / 0.1593017578125))


def hlg_signal(scene: float) -> float:
    """BT.2100, table 5."""
    return math.sqrt(3 * scene) if scene <= 1 / 12 else 0.17883277 * math.log(12 * scene - 0.28466892) + 0.55991073


def hlg_scene(signal: float) -> float:
    return signal**2 / 3 if signal <= 0.5 else (math.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12


def signal_of(light: Triple | np.ndarray, transfer: int) -> np.ndarray:
    """R'G'B' with BT.2020 primaries of light in cd/m2 with BT.709's, shown at 1000 cd/m2."""
    wide = FROM_709 @ np.asarray(light, float)
    if transfer == PQ:
        return np.array([pq_signal(x) for x in wide])
    luminance = float(LUMINANCE_2020 @ wide) / 1000
    return np.array([hlg_signal(x / 1000 * luminance ** (1 / 1.2 - 1) if x else 0) for x in wide])


def light_of(signal: np.ndarray, transfer: int) -> np.ndarray:
    """The inverse of `signal_of`."""
    if transfer == PQ:
        return TO_709 @ np.array([pq_light(x) for x in signal])
    scene = np.array([hlg_scene(x) for x in signal])
    return TO_709 @ (1000 * scene * float(LUMINANCE_2020 @ scene) ** 0.2)


def tone(nits: float, peak: float = 1000) -> float:
    """BT.2446-1, equation 5 with the Report's numbers, as a fraction of its value at the peak."""

    def curve(x: float) -> float:
        inflection = 58.5 / 0.83802
        return 0.83802 * x if x < inflection else 15.09968 * math.log(x / inflection - 0.74204) + 78.99439

    return curve(nits) / curve(peak)


def sdr_of(light: Triple, peak: float = 1000) -> np.ndarray:
    """8-bit R'G'B', BT.1886."""
    scale = tone(max(light), peak) / max(light)
    return 255 * (np.asarray(light) * scale) ** (1 / 2.4)


def to_yuv(signal: np.ndarray, bits: int = 10, range_: int = LIMITED) -> list[int]:
    """BT.2100, tables 6 and 9."""
    y = float(LUMINANCE_2020 @ signal)
    cb, cr = (signal[2] - y) / 1.8814, (signal[0] - y) / 1.4746
    one = 1 << bits - 8
    if range_ == FULL:
        return [round((256 * one - 1) * x + c) for x, c in ((y, 0), (cb, 128 * one), (cr, 128 * one))]
    return [round(one * x) for x in (219 * y + 16, 224 * cb + 128, 224 * cr + 128)]


def to_signal(yuv: list[float]) -> np.ndarray:
    """The inverse of `to_yuv`, for 10 bits and limited range."""
    y, cb, cr = (yuv[0] - 64) / 876, (yuv[1] - 512) / 896, (yuv[2] - 512) / 896
    r, b = y + 1.4746 * cr, y + 1.8814 * cb
    return np.array([r, (y - 0.2627 * r - 0.0593 * b) / 0.6780, b])


def flat(signal: np.ndarray, pix_fmt: str = "yuv420p10le", size: tuple[int, int] = (64, 48), range_: int = LIMITED) -> VideoFrame:
    """A frame of one colour, its planes filled directly."""
    frame = VideoFrame(*size, pix_fmt)
    bits = frame.format.components[0].bits
    yuv = to_yuv(signal, bits, range_)
    for index, plane in enumerate(frame.planes):
        data: Any = np.frombuffer(cast(Any, plane), np.uint8 if bits == 8 else np.uint16)
        if pix_fmt == "p010le":  # Cb and Cr take turns; the ten bits are the upper ones
            for shift in range(index + 1):
                data[shift :: index + 1] = yuv[index + shift] << 6
        else:
            data[:] = yuv[index]
    return frame


def yuv_of(frame: VideoFrame) -> list[float]:
    """The mean of each plane, of 10 bits."""
    found = []
    for plane in frame.planes:
        data = np.frombuffer(cast(Any, plane), np.uint16).reshape(plane.height, -1)
        found.append(float(data[:, : plane.width].mean()))
    return found


def image(color: Triple | np.ndarray, size: tuple[int, int] = (64, 48)) -> Pixels:
    return np.full((size[1], size[0], 3), np.round(color), np.uint8)


def shown(light: Triple | np.ndarray, transfer: int, peak: float | None = None) -> np.ndarray:
    """The colour that flat light becomes; it must be flat too."""
    pixels = tone_map(transfer, peak).to_sdr(flat(signal_of(light, transfer)))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (48, 64, 3)
    assert np.ptp(pixels, axis=(0, 1)).max() == 0
    return pixels[0, 0].astype(int)


@BOTH
@pytest.mark.parametrize("light", COLORS)
def test_colours_match_the_standards(transfer: int, light: Triple) -> None:
    assert np.abs(shown(light, transfer) - sdr_of(light)).max() <= 2


@BOTH
@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_every_format_shows_the_same_colour(transfer: int, pix_fmt: str) -> None:
    light = (120, 80, 40)
    pixels = tone_map(transfer).to_sdr(flat(signal_of(light, transfer), pix_fmt))
    tolerance = 5 if pix_fmt == "yuv420p" else 2  # 8 bits are coarse
    assert np.abs(pixels - sdr_of(light)).max() <= tolerance


@BOTH
def test_full_range_is_respected(transfer: int) -> None:
    light = (120, 80, 40)
    pixels = ToneMap(tags(transfer, FULL)).to_sdr(flat(signal_of(light, transfer), range_=FULL))
    assert np.abs(pixels - sdr_of(light)).max() <= 2


@BOTH
def test_black_is_black_and_the_peak_is_white(transfer: int) -> None:
    assert shown((0, 0, 0), transfer).tolist() == [0, 0, 0]
    assert shown((1000, 1000, 1000), transfer).min() >= 254
    assert tone_map(transfer).to_sdr(flat(np.zeros(3), "yuv444p10le")).max() == 0


@BOTH
def test_reference_white_is_nearly_white(transfer: int) -> None:
    """203 cd/m2 (BT.2408): as light as paper in an SDR image, with room for highlights above."""
    assert 225 <= shown((203, 203, 203), transfer).min() <= 232


@pytest.mark.parametrize(("peak", "low", "high"), [(203, 253, 255), (4000, 208, 217), (10000, 200, 210)])
def test_reference_white_stays_light_whatever_the_peak(peak: float, low: int, high: int) -> None:
    assert low <= shown((203, 203, 203), PQ, peak).min() <= high
    assert shown((peak, peak, peak), PQ, peak).min() == 255
    assert np.abs(shown((90, 60, 40), PQ, peak) - sdr_of((90, 60, 40), peak)).max() <= 2


def test_the_peak_of_hlg_is_nominal() -> None:
    light = (300, 220, 150)
    assert np.array_equal(shown(light, HLG, 4000), shown(light, HLG))


@BOTH
def test_brighter_light_is_never_darker_and_stays_grey(transfer: int) -> None:
    pixels = tone_map(transfer).to_sdr(_ramp(np.arange(64, 941)))
    greys = pixels[0].astype(int)
    assert np.ptp(greys, axis=1).max() <= 1
    assert np.diff(greys.max(1)).min() >= 0
    assert greys[0].max() == 0
    assert greys[-1].min() == 255


@BOTH
def test_highlights_keep_their_detail(transfer: int) -> None:
    levels = [int(shown((x, x, x), transfer)[1]) for x in (203, 400, 600, 800, 1000)]
    assert np.diff(levels).min() >= 3
    assert levels[4] - levels[2] >= 7


@BOTH
def test_the_brightness_of_a_colour_does_not_change_its_chromaticity(transfer: int) -> None:
    for color in ((1.0, 0.5, 0.3), (0.3, 1.0, 0.4), (0.35, 0.5, 1.0)):
        for nits in (40, 200, 800):
            light = (shown(nits * np.array(color), transfer) / 255) ** 2.4
            assert np.abs(light / light.max() - color).max() <= 0.03


@BOTH
def test_a_colour_out_of_gamut_keeps_its_luminance(transfer: int) -> None:
    for wide in ((40.0, 2.0, 2.0), (2.0, 40.0, 2.0), (2.0, 2.0, 40.0)):
        light = TO_709 @ np.array(wide)
        assert light.min() < 0
        sdr = shown(light, transfer)
        assert sdr.argmax() == light.argmax()
        assert sdr.min() <= 40
        # Below the knee the curve is linear.
        assert LUMINANCE_709 @ (sdr / 255) ** 2.4 == pytest.approx(LUMINANCE_709 @ light * tone(1), rel=0.06)


@BOTH
@pytest.mark.parametrize("light", [*COLORS, *HIGHLIGHTS])
def test_round_trip(transfer: int, light: Triple) -> None:
    """8 bits between cost at most this much of the 10, all of it in luma: near white a step of 8 bits is 8 of HLG's, 6 of
    PQ's."""
    frame = flat(signal_of(light, transfer))
    back = tone_map(transfer).to_hdr(tone_map(transfer).to_sdr(frame), "yuv420p10le")
    luma, *chroma = np.abs(np.subtract(yuv_of(back), yuv_of(frame)))
    assert luma <= (4 if max(light) <= 800 or transfer == PQ else 8)
    assert max(chroma) <= 2


@BOTH
def test_stylized_colours_match_the_standards(transfer: int) -> None:
    for light in COLORS:
        stylized = np.round(sdr_of(light))
        linear = (stylized / 255) ** 2.4
        level = np.interp(linear.max(), [tone(x) for x in np.arange(0, 1000.5, 0.25)], np.arange(0, 1000.5, 0.25))
        expected = to_yuv(signal_of(linear / linear.max() * level, transfer))
        assert np.abs(np.subtract(yuv_of(tone_map(transfer).to_hdr(image(stylized), "yuv420p10le")), expected)).max() <= 2, light


@BOTH
def test_stylized_black_and_white(transfer: int) -> None:
    assert yuv_of(tone_map(transfer).to_hdr(image((0, 0, 0)), "yuv420p10le")) == [64, 512, 512]
    white = round(64 + 876 * (pq_signal(1000) if transfer == PQ else 1))
    assert (
        np.abs(np.subtract(yuv_of(tone_map(transfer).to_hdr(image((255, 255, 255)), "yuv420p10le")), [white, 512, 512])).max()
        <= 1
    )


@pytest.mark.parametrize("color", [(0, 0, 255), (255, 0, 255)])
def test_a_stylized_colour_too_bright_for_hlg_keeps_its_hue(color: tuple[int, int, int]) -> None:
    light = light_of(to_signal(yuv_of(tone_map(HLG).to_hdr(image(color), "yuv444p10le"))), HLG)
    assert 600 <= light.max() <= 900
    assert np.abs(light / light.max() - np.array(color) / 255).max() <= 0.015


@BOTH
def test_a_gradient_has_all_its_steps(transfer: int) -> None:
    ramp = np.ascontiguousarray(np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (8, 256, 3)))
    frame = tone_map(transfer).to_hdr(ramp, "yuv420p10le")
    luma = np.frombuffer(cast(Any, frame.planes[0]), np.uint16).reshape(8, -1)[0, :256].astype(int)
    assert np.diff(luma).min() >= 1
    assert np.diff(luma).max() <= 12


@BOTH
@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv422p10le", "yuv444p10le", "p010le"])
def test_hdr_frame_is_tagged_like_the_source(transfer: int, pix_fmt: str) -> None:
    frame = tone_map(transfer).to_hdr(image((120, 80, 40)), pix_fmt)
    assert (frame.format.name, frame.width, frame.height) == (pix_fmt, 64, 48)
    assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (BT2020, LIMITED, BT2020, transfer)


def test_size_and_format_may_change_at_any_time() -> None:
    light = (300, 220, 150)
    signal = signal_of(light, HLG)
    own = ToneMap(tags(HLG))
    for size, pix_fmt in [((64, 48), "yuv420p10le"), ((33, 17), "yuv420p10le"), ((33, 17), "p010le"), ((64, 48), "yuv420p10le")]:
        pixels = own.to_sdr(flat(signal, pix_fmt, size))
        assert pixels.shape == (size[1], size[0], 3)
        assert np.abs(pixels - sdr_of(light)).max() <= 2
        back = own.to_hdr(pixels, "yuv420p10le")
        assert (back.width, back.height) == size


def test_every_pixel_is_converted_independently() -> None:
    """An image of many colours, whose width fits no vector register."""
    pixels = np.random.default_rng(0).integers(60, 200, (23, 37, 3), np.uint8)
    own = ToneMap(tags(PQ))
    back = own.to_sdr(own.to_hdr(pixels, "yuv444p12le"))
    assert np.abs(back.astype(int) - pixels).max() <= 8  # the lowest component of a saturated colour
    assert np.abs(back.astype(int) - pixels).mean() <= 0.25


def test_primaries_of_the_source_are_used() -> None:
    """PQ with the primaries of Display P3: its white is white, its red is not BT.2020's."""
    p3 = ToneMap(ColorTags(BT2020, LIMITED, 12, PQ))
    red = np.array([pq_signal(60), pq_signal(20), pq_signal(20)])
    expected = np.array([[1.2249, -0.2249, 0], [-0.0420, 1.0420, 0], [-0.0196, -0.0786, 1.0983]]) @ (60, 20, 20)
    assert np.abs(p3.to_sdr(flat(red))[0, 0] - sdr_of(tuple(expected))).max() <= 2
    assert np.ptp(p3.to_sdr(flat(np.full(3, pq_signal(203))))[0, 0].astype(int)) <= 1


def test_no_file_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    make = tempfile.mkdtemp

    def spy(**options: Any) -> str:
        path = make(**options)
        modes.append(Path(path).stat().st_mode & 0o077)
        return path

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "mkdtemp", spy)
    own = ToneMap(tags(PQ))
    own.to_hdr(own.to_sdr(flat(np.full(3, 0.5))), "yuv420p10le")
    assert modes == [0, 0, 0]
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_a_disk_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(DiskError, match="temporary folder"):
        ToneMap(tags(PQ)).to_sdr(flat(np.full(3, 0.5)))


def mastering(maximum: tuple[int, int] = (4000, 1), has_luminance: int = 1) -> bytes:
    """An `AVMasteringDisplayMetadata`."""
    return struct.pack("16i", *(1, 2) * 8) + struct.pack("6i", 1, 10000, *maximum, 1, has_luminance)


def peak_of(**side_data: bytes) -> float | None:
    return peak_nits(cast(VideoFrame, SimpleNamespace(side_data=side_data)))


def test_peak_is_that_of_the_content_or_else_of_the_display() -> None:
    assert peak_of(CONTENT_LIGHT_LEVEL=struct.pack("2I", 800, 200), MASTERING_DISPLAY_METADATA=mastering()) == 800
    assert peak_of(CONTENT_LIGHT_LEVEL=struct.pack("2I", 0, 0), MASTERING_DISPLAY_METADATA=mastering()) == 4000
    assert peak_of(MASTERING_DISPLAY_METADATA=mastering((10_000_000, 10_000))) == 1000
    assert peak_of() is None


@pytest.mark.parametrize(
    "data",
    [b"", b"\x01", b"\xff" * 7, mastering()[:80], mastering((4000, 0)), mastering((-4000, 1)), mastering((1, 100)),
     mastering((2**31 - 1, 1)), mastering(has_luminance=0), b"\xff" * 88, b"\x00" * 88],
)  # fmt: skip
def test_invalid_peak_is_none(data: bytes) -> None:
    assert peak_of(MASTERING_DISPLAY_METADATA=data) is None
    assert peak_of(CONTENT_LIGHT_LEVEL=data[:3]) is None
    assert peak_of(CONTENT_LIGHT_LEVEL=b"\xff" * 8, MASTERING_DISPLAY_METADATA=data) is None


def test_peak_is_read_from_a_file(tmp_path: Path) -> None:
    """As an encoder writes it and FFmpeg reads it."""
    screen = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(20000000,50)"
    for light, expected in (("", 2000.0), (":max-cll=900,300", 900.0)):
        with av.open(str(tmp_path / "clip.mkv"), "w") as container:
            parameters = f"log-level=none:pools=1:frame-threads=1:hdr10=1:master-display={screen}{light}"
            stream = container.add_stream("libx265", rate=24, options={"x265-params": parameters, "preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p10le"
            frame = flat(np.full(3, 0.5), size=(64, 64))
            frame.pts, frame.time_base = 0, Fraction(1, 24)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        with av.open(str(tmp_path / "clip.mkv")) as container:
            assert peak_nits(next(container.decode(video=0))) == expected


@BOTH
def test_round_trip_of_8_bit_greys_is_exact(transfer: int) -> None:
    """Nothing on the way is coarser than 8 bits."""
    ramp = np.ascontiguousarray(np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (8, 256, 3)))
    assert np.abs(tone_map(transfer).to_sdr(tone_map(transfer).to_hdr(ramp, "yuv420p10le")).astype(int) - ramp).max() <= 1


def _ramp(luma: np.ndarray) -> VideoFrame:
    """A grey frame with these codes from left to right."""
    frame = VideoFrame(len(luma), 8, "yuv444p10le")
    for index, plane in enumerate(frame.planes):
        data: Any = np.frombuffer(cast(Any, plane), np.uint16).reshape(8, -1)
        data[:, : len(luma)] = 512 if index else luma
    return frame
