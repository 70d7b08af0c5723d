"""The table of supported video encoders, and one quality scale for all of them. A new encoder is a new row.

Quality goes from 0 to 100 (best). The points of each row's `quality_scale` were chosen so that the same quality looks alike:
over four styles and the original sample, at the default presets, the luma PSNR of H.264, HEVC, AV1 and VP9 differs by at most
1.4 dB at 40 and 60. At 75, which keeps the defaults of version 0.1, it differs by 2.2 dB, and at 90 by 2.9 dB, where AV1's fast
presets gain much on brush strokes and little on smooth images. Below 40 AV1 and VP9 do not get as bad as the others. Hardware
encoders use the points of the software encoder with the most similar scale; these were not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2

_CPU_AVX_512F = 13  # OpenCV's number, which has no name in Python

Points = tuple[tuple[int, int], ...]
Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class VideoEncoder:
    """A video encoder and its options. A codec with other formats or containers for transparency has a second row for them."""

    codec: str
    """The codec's name, which several encoders share."""
    name: str
    """The encoder's name in FFmpeg."""
    suffixes: tuple[str, ...]
    """File name suffixes of the containers that support the codec."""
    formats: tuple[str, ...]
    """Pixel formats in order of preference; those with 10 bits or transparency come last."""
    quality_options: tuple[str, ...] = ()
    """FFmpeg's options that set the quality, all to the same value; empty if the quality cannot be set."""
    quality_scale: Points = ()
    """Pairs of a quality (0 to 100) and the value of the quality options there; values between are interpolated linearly."""
    crf_range: tuple[int, int] | None = None
    """The lowest and highest value of the quality options; None: `EncodeOptions.crf` is not supported."""
    unit: int = 1
    """The factor by which a value is multiplied for FFmpeg."""
    preset: str = ""
    """The default preset."""
    presets: tuple[str, ...] = ()
    """All presets; empty if the encoder has none."""
    preset_option: str = "preset"
    """FFmpeg's name of the option for the preset."""
    extra: Options = ()
    """Options that are always set."""
    low_latency: Options = ()
    """Additional options for live video: the encoder must not delay frames to look ahead."""
    codec_tag: str | None = None
    """Codec tag in MP4 and MOV; None: the muxer's default."""
    hardware: bool = False


_MP4, _MOV, _MKV, _WEBM, _GIF = (".mp4", ".m4v"), (".mov",), (".mkv",), (".webm",), (".gif",)
_SPEEDS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
_QSV_SPEEDS = ("veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
_AMF_SPEEDS = ("speed", "balanced", "quality")
_NVENC_SPEEDS = tuple(f"p{n}" for n in range(1, 8))

_X264: Points = ((0, 50), (100, 10))
_X265: Points = ((0, 51), (20, 46), (40, 37), (60, 28), (75, 23), (90, 15), (100, 11))
_AV1: Points = ((0, 63), (40, 62), (50, 56), (60, 45), (75, 30), (90, 11), (100, 6))
_VP9: Points = ((0, 63), (40, 59), (60, 43), (75, 31), (90, 17), (100, 10))
_VIDEOTOOLBOX: Points = ((0, 20), (75, 65), (100, 90))
_AV1_INDEX: Points = tuple((quality, 4 * value) for quality, value in _AV1)


def _nvenc(
    codec: str, suffixes: tuple[str, ...], formats: tuple[str, ...], scale: Points, top: int, codec_tag: str | None
) -> VideoEncoder:
    return VideoEncoder(
        codec, f"{codec}_nvenc", suffixes, formats, ("cq",), scale, (1, top), preset="p4", presets=_NVENC_SPEEDS,
        extra=(("rc", "vbr"), ("b", "0")), low_latency=(("tune", "ll"), ("delay", "0"), ("bf", "0")),
        codec_tag=codec_tag, hardware=True,
    )  # fmt: skip


def _qsv(
    codec: str, suffixes: tuple[str, ...], formats: tuple[str, ...], scale: Points, codec_tag: str | None = None
) -> VideoEncoder:
    return VideoEncoder(
        codec, f"{codec}_qsv", suffixes, formats, ("global_quality",), scale, (1, 51), preset="medium", presets=_QSV_SPEEDS,
        low_latency=(("async_depth", "1"), ("bf", "0")), codec_tag=codec_tag, hardware=True,
    )  # fmt: skip


def _amf(
    codec: str,
    suffixes: tuple[str, ...],
    formats: tuple[str, ...],
    quality_options: str,
    scale: Points,
    top: int,
    codec_tag: str | None = None,
) -> VideoEncoder:
    return VideoEncoder(
        codec, f"{codec}_amf", suffixes, formats, tuple(quality_options.split()), scale, (0, top), preset="balanced",
        presets=_AMF_SPEEDS, preset_option="quality", extra=(("rc", "cqp"),), low_latency=(("async_depth", "1"),),
        codec_tag=codec_tag, hardware=True,
    )  # fmt: skip


def _videotoolbox(codec: str, formats: tuple[str, ...], codec_tag: str | None) -> VideoEncoder:
    return VideoEncoder(  # its quality is in FFmpeg's lambda units, 118 per step
        codec, f"{codec}_videotoolbox", _MP4 + _MOV + _MKV, formats, ("global_quality",), _VIDEOTOOLBOX, (1, 100), unit=118,
        extra=(("flags", "+qscale"),), low_latency=(("realtime", "1"),), codec_tag=codec_tag, hardware=True,
    )  # fmt: skip


# With AVX-512, x264's macroblock tree reads uninitialized memory, so that the same frames occasionally give different packets.
_X264_EXTRA: Options = (("x264-params", "asm=AVX2"),) if cv2.checkHardwareSupport(_CPU_AVX_512F) else ()

# No VA-API: it only takes frames in GPU memory, and PyAV cannot upload them.
ENCODERS = (
    VideoEncoder(
        "h264", "libx264", _MP4 + _MOV + _MKV, ("yuv420p",), ("crf",), _X264, (0, 51),
        preset="veryfast", presets=_SPEEDS, extra=_X264_EXTRA, low_latency=(("tune", "zerolatency"),),
    ),
    VideoEncoder(
        "hevc", "libx265", _MP4 + _MOV + _MKV, ("yuv420p", "yuv420p10le"), ("crf",), _X265, (0, 51),
        preset="veryfast", presets=_SPEEDS, extra=(("x265-params", "log-level=error"),), low_latency=(("tune", "zerolatency"),),
        codec_tag="hvc1",  # required by Apple's players
    ),
    VideoEncoder(
        "av1", "libsvtav1", _MP4 + _MKV + _WEBM, ("yuv420p", "yuv420p10le"), ("crf",), _AV1, (0, 63),
        preset="10", presets=tuple(str(n) for n in range(14)), low_latency=(("svtav1-params", "pred-struct=1:lookahead=0"),),
    ),
    *(
        VideoEncoder(
            "vp9", "libvpx-vp9", suffixes, formats, ("crf",), _VP9, (0, 63),
            preset="4", presets=tuple(str(n) for n in range(6)), preset_option="cpu-used",
            extra=(("deadline", "good"), ("row-mt", "1"), ("b", "0")),
            low_latency=(("deadline", "realtime"), ("lag-in-frames", "0")),
        )
        for suffixes, formats in ((_MP4 + _MKV + _WEBM, ("yuv420p", "yuv420p10le")), (_MKV + _WEBM, ("yuva420p",)))
    ),
    # Its quality is the profile: proxy, LT, standard, HQ; with transparency or full chroma resolution 4444 and 4444 XQ.
    VideoEncoder("prores", "prores_ks", _MOV + _MKV, ("yuv422p10le",), ("profile",), ((0, 0), (75, 3), (100, 3))),
    VideoEncoder("prores", "prores_ks", _MOV + _MKV, ("yuva444p10le", "yuv444p10le"), ("profile",), ((0, 4), (75, 4), (100, 5))),
    VideoEncoder(  # lossless, stores RGB without conversion
        "ffv1", "ffv1", _MKV, ("bgr0", "yuv444p10le", "bgra", "yuva444p10le"), extra=(("level", "3"), ("slicecrc", "1")),
    ),
    VideoEncoder("gif", "gif", _GIF, ("pal8",)),
    _nvenc("h264", _MP4 + _MOV + _MKV, ("yuv420p",), _X264, 51, None),
    _videotoolbox("h264", ("yuv420p",), None),
    _qsv("h264", _MP4 + _MOV + _MKV, ("nv12",), _X264),
    _amf("h264", _MP4 + _MOV + _MKV, ("yuv420p",), "qp_i qp_p qp_b", _X264, 51),
    _nvenc("hevc", _MP4 + _MOV + _MKV, ("yuv420p", "p010le"), _X265, 51, "hvc1"),
    _videotoolbox("hevc", ("yuv420p", "p010le"), "hvc1"),
    _qsv("hevc", _MP4 + _MOV + _MKV, ("nv12", "p010le"), _X265, "hvc1"),
    _amf("hevc", _MP4 + _MOV + _MKV, ("yuv420p", "p010le"), "qp_i qp_p", _X265, 51, "hvc1"),
    _nvenc("av1", _MP4 + _MKV + _WEBM, ("yuv420p", "p010le"), _AV1, 63, None),
    _qsv("av1", _MP4 + _MKV + _WEBM, ("nv12", "p010le"), _X264),
    _amf("av1", _MP4 + _MKV + _WEBM, ("yuv420p", "p010le"), "qp_i qp_p qp_b", _AV1_INDEX, 255),
    _qsv("vp9", _MP4 + _MKV + _WEBM, ("nv12", "p010le"), _X264),
)  # fmt: skip
"""All encoders. Of a codec's hardware encoders the first one that works is used."""
