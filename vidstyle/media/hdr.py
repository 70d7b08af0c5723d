"""HDR video to SDR, because networks stylize only standard range, and stylized frames back to HDR: PQ and HLG of ITU-R BT.2100.

HDR to SDR: display luminance in cd/m2 (for HLG by its OOTF), to BT.709 primaries, the tone curve of Report ITU-R BT.2446-1
method C, to a BT.1886 signal. All of this depends only on a pixel's three values, so it is tabulated once and looked up by
FFmpeg's `lut3d` with tetrahedral interpolation. SDR to HDR is the inverse.

- Tone curve (BT.2446-1, 6.1.4): linear up to 80 % of the SDR signal, logarithmic above, so midtones keep their contrast. It
  is applied to the largest of R, G and B, and all three are scaled alike: chromaticity is kept and nothing exceeds white.
  The Report allows highlights above 100 %, which 8 bits cannot hold: here the video's peak becomes 100 %. The reference
  white of 203 cd/m2 (BT.2408) then lies at 90 % of the signal where the peak is 1000 cd/m2, at 84 % where it is 4000.
- Gamut: a colour outside BT.709 is mixed with the grey of its luminance until its lowest component is 0; colours within BT.709
  are not changed. At this edge the function has a kink, so the lowest component of a bright colour may be up to 40 of 255 too
  high, which is 1 % of the luminance; elsewhere 99 % of all colours are exact to 1 of 255.
- Back to HLG, whose brightest saturated colours are darker than its white: brighter colours are dimmed until HLG can hold them.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from vidstyle.core.frames import ColorTags, Pixels
from vidstyle.media.color import FULL, swscale_matrix
from vidstyle.media.lut import PLANAR, Colors, LookUpTables, planes

NOMINAL_PEAK = 1000.0
"""cd/m2: the nominal peak of HLG (BT.2100, table 5), also assumed for PQ without metadata."""

_HLG = 18  # H.273
_GAMMA = 2.4  # BT.1886, black 0
_WHITE = 255 * 256 / 65535
"""White in 16 bits in swscale, which multiplies 8 bits by 256 instead of 257: a difference of 0.4 %."""

_HEADROOM = (64 / 60) ** _GAMMA
"""By this factor luminance may exceed the peak before tone mapping; it puts the signal of the peak on a node of the table."""

# BT.2446-1, equations 5 to 9: skin at 70 % and the knee at 80 % of the SDR signal, reference white at 96 %, white 100 cd/m2.
_K1, _K3 = 0.83802, 0.74204
_KNEE = 100 * 0.8**_GAMMA
_K2 = _KNEE * (1 - _K3)
_K4 = _KNEE - _K2 * math.log(1 - _K3)

# x and y of red, green and blue by H.273's number of the primaries; white is always D65.
_BT709, _BT2020, _P3 = 1, 9, 12
_CHROMATICITIES = {
    _BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    _BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    _P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)


class ToneMap:
    """Converts between an HDR video with `tags` and 8-bit SDR (BT.709 primaries, BT.1886); not thread-safe.

    `peak_nits` is the peak luminance of a PQ video in cd/m2; anything brighter is clipped to it. HLG is relative: its peak is
    always `NOMINAL_PEAK`.
    """

    def __init__(self, tags: ColorTags, peak_nits: float | None = None) -> None:
        self._tags = tags
        self._peak = peak_nits if peak_nits and tags.transfer != _HLG else NOMINAL_PEAK
        to_xyz = _to_xyz(tags.primaries if tags.primaries in _CHROMATICITIES else _BT2020)
        self._luminance = to_xyz[1]
        self._to_bt709 = np.linalg.inv(_to_xyz(_BT709)) @ to_xyz
        self._from_bt709 = np.linalg.inv(self._to_bt709)
        self._sdr, self._hdr = LookUpTables(self._to_bt709_signal, self._tone_mapped), LookUpTables(self._inverse_tone_mapped)
        self._reformatter = VideoReformatter()

    def to_sdr(self, frame: VideoFrame) -> Pixels:
        """RGB uint8 (H, W, 3) of a frame of any size, format and bit depth; raises PyAV's errors, and `DiskError`."""
        planar = self._reformatter.reformat(
            frame,
            format=PLANAR,
            src_colorspace=swscale_matrix(self._tags),
            src_color_range=self._tags.range,
            dst_color_range=FULL,
            threads=1,
        )
        green, blue, red = (cv2.convertScaleAbs(plane, alpha=255 / 65535) for plane in planes(self._sdr.look_up(planar)))
        return np.asarray(cv2.merge([red, green, blue]), np.uint8)

    def to_hdr(self, pixels: Pixels, pix_fmt: str) -> VideoFrame:
        """The inverse: RGB uint8 (H, W, 3) as a YUV frame of `pix_fmt` (10 bits or more, to avoid banding), tagged like the
        source; raises PyAV's errors, and `DiskError`."""
        planar = VideoFrame(pixels.shape[1], pixels.shape[0], PLANAR)
        red, green, blue = cv2.split(pixels)
        for plane, channel in zip(planes(planar), (green, blue, red), strict=True):
            np.multiply(channel, np.uint16(257), out=plane, dtype=np.uint16)
        frame = self._reformatter.reformat(
            self._hdr.look_up(planar),
            format=pix_fmt,
            src_color_range=FULL,
            dst_colorspace=swscale_matrix(self._tags),
            dst_color_range=self._tags.range,
            threads=1,
        )
        frame.colorspace, frame.color_range = self._tags.matrix, self._tags.range
        frame.color_primaries, frame.color_trc = self._tags.primaries, self._tags.transfer
        return frame

    def _to_bt709_signal(self, planar: Colors) -> Colors:
        """HDR to BT.709 primaries, as a BT.1886 signal whose white is `_HEADROOM` times the peak."""
        signal = np.minimum(planar / _WHITE, 1)
        light = self._hlg_light(signal) if self._tags.transfer == _HLG else _pq_light(signal)
        light = _into_gamut(light @ self._to_bt709.T) / (_HEADROOM * self._peak)
        return np.asarray((light / np.maximum(light.max(-1, keepdims=True), 1)) ** (1 / _GAMMA))

    def _tone_mapped(self, signal: Colors) -> Colors:
        """The tone curve, for the result of `_to_bt709_signal`. The planes R = G, G = B and B = R, where another component
        becomes the largest, are faces of the tetrahedra; in one table with the primaries they would not be, at the cost of
        highlights."""
        brightest = signal.max(-1, keepdims=True)
        nits = self._peak * np.minimum(_HEADROOM * brightest**_GAMMA, 1)
        mapped = (_compressed(nits) / _compressed(np.float64(self._peak))) ** (1 / _GAMMA)
        return np.asarray(signal * mapped / np.maximum(brightest, 1e-9))

    def _inverse_tone_mapped(self, signal: Colors) -> Colors:
        light = signal**_GAMMA
        brightest = light.max(-1, keepdims=True)
        white = _compressed(np.float64(self._peak))
        light *= _expanded(brightest * white) / np.maximum(brightest, 1e-30)
        light = np.maximum(light @ self._from_bt709.T, 0)
        return _WHITE * (self._hlg_signal(light) if self._tags.transfer == _HLG else _pq_signal(light))

    # BT.2100, table 5. The OOTF's gamma is 1.2 at 1000 cd/m2.
    _OOTF, _A = 1.2, 0.17883277
    _B, _C = 1 - 4 * _A, 0.5 - _A * math.log(4 * _A)

    def _hlg_light(self, signal: Colors) -> Colors:
        scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - self._C) / self._A) + self._B) / 12)
        luminance = (scene @ self._luminance)[..., None]
        return np.asarray(self._peak * scene * luminance ** (self._OOTF - 1))

    def _hlg_signal(self, light: Colors) -> Colors:
        luminance = np.maximum(light @ self._luminance / self._peak, 1e-12)[..., None]
        scene = light / self._peak * luminance ** (1 / self._OOTF - 1)
        scene /= np.maximum(scene.max(-1, keepdims=True), 1)
        bright = self._A * np.log(np.maximum(12 * scene - self._B, 1e-9)) + self._C
        return np.asarray(np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright))


def _compressed(nits: Colors | np.float64) -> Colors:
    """BT.2446-1, equation 5: HDR to SDR luminance, 100 where reference white is at 96 % of the signal."""
    above = _K2 * np.log(np.maximum(nits * (_K1 / _KNEE) - _K3, 1 - _K3)) + _K4
    return np.where(nits * _K1 < _KNEE, nits * _K1, above)


def _expanded(sdr: Colors) -> Colors:
    """The inverse of `_compressed`."""
    return np.where(sdr < _KNEE, sdr / _K1, (np.exp((sdr - _K4) / _K2) + _K3) * (_KNEE / _K1))


def _into_gamut(light: Colors) -> Colors:
    lowest = light.min(-1, keepdims=True)
    grey = np.maximum(light @ _to_xyz(_BT709)[1], 0)[..., None]
    kept = np.where(lowest < 0, grey / np.maximum(grey - lowest, 1e-12), 1)
    return np.asarray(np.maximum(grey + (light - grey) * kept, 0))


# BT.2100, table 4
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def _pq_light(signal: Colors) -> Colors:
    root = signal ** (1 / _M2)
    return np.asarray(10_000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1))


def _pq_signal(light: Colors) -> Colors:
    root = (np.minimum(light, 10_000) / 10_000) ** _M1
    return np.asarray(((_C1 + _C2 * root) / (1 + _C3 * root)) ** _M2)


def _to_xyz(primaries: int) -> NDArray[np.float64]:
    """The matrix (3, 3) from linear R, G, B to X, Y, Z, white having Y = 1 (SMPTE RP 177)."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in _CHROMATICITIES[primaries]]).T
    white = np.array([_D65[0] / _D65[1], 1, (1 - _D65[0] - _D65[1]) / _D65[1]])
    return np.asarray(columns * np.linalg.solve(columns, white))
