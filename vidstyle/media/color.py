"""Colour tags: the numbers of PyAV (ITU-T H.273) and of swscale, and defaults for files without tags."""

from __future__ import annotations

from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace

from vidstyle.core.frames import ColorTags

LIMITED, FULL = 1, 2
_RESERVED, _UNSPECIFIED = 0, 2
_BT709, _BT470BG, _SMPTE170M, _BT2020 = 1, 5, 6, 9
_PQ, _HLG = 16, 18

# matrix of H.273 -> matrix of swscale
_SWSCALE = {_BT709: Colorspace.ITU709, 4: Colorspace.FCC, _BT470BG: Colorspace.ITU601, _SMPTE170M: Colorspace.ITU601}
_SWSCALE |= {7: Colorspace.SMPTE240M, _BT2020: Colorspace.BT2020}


def swscale_matrix(tags: ColorTags) -> Colorspace:
    """The matrix of `tags` for swscale."""
    return _SWSCALE[tags.matrix]


def tags_of(frame: VideoFrame, stream: VideoCodecContext | None = None) -> ColorTags:
    """The tags of a decoded frame, or of its stream where the frame has none.

    Unspecified tags are derived from the height, as players do (BT.709 from 720 lines on).
    """

    def tag(name: str) -> int:
        for carrier in (frame, stream):
            value = int(getattr(carrier, name, _UNSPECIFIED))
            if value not in (_RESERVED, _UNSPECIFIED):
                return value
        return _UNSPECIFIED

    by_height = _BT709 if frame.height >= 720 else _SMPTE170M
    if tag("color_trc") in (_PQ, _HLG):  # the only one of ITU-R BT.2100
        by_height = _BT2020
    matrix = tag("colorspace") if tag("colorspace") in _SWSCALE else by_height
    full = int(frame.color_range) == FULL or frame.format.name.startswith("yuvj") or frame.format.is_rgb
    primaries, transfer = tag("color_primaries"), tag("color_trc")
    return ColorTags(
        matrix=matrix,
        range=FULL if full else LIMITED,
        primaries=matrix if primaries == _UNSPECIFIED else primaries,
        transfer=_default_transfer(matrix) if transfer == _UNSPECIFIED else transfer,
    )


def output_tags(source: ColorTags | None, width: int, height: int) -> ColorTags:
    """The tags to encode with: those of the source, so that players treat both alike."""
    if source is None:
        matrix = _BT709 if height >= 720 else _SMPTE170M
        return ColorTags(matrix, LIMITED, matrix, _default_transfer(matrix))
    if is_hdr(source):  # networks stylize standard range
        return ColorTags(_BT709, LIMITED, _BT709, _BT709)
    return source


def is_hdr(tags: ColorTags) -> bool:
    """Whether the transfer is PQ or HLG."""
    return tags.transfer in (_PQ, _HLG)


def _default_transfer(matrix: int) -> int:
    return _BT709 if matrix in (_BT709, _BT2020) else _SMPTE170M
