"""The video encoders that are known, a row of a table each, and one scale of quality for all of them.

Quality goes from 0 to 100, best. The points of each row's `scale` were chosen so that the same quality looks alike: over four
styles and the unpainted sample, at the default presets, luma differs by 1.4 dB of PSNR at most between H.264, HEVC, AV1 and
VP9 at 40 and 60. At 75, where version 0.1's defaults are kept, it is 2.2 dB, and 2.9 dB at 90, where AV1's fast presets gain
much on strokes and little on smooth images. Below 40 AV1 and VP9 do not get as bad as the others. Hardware encoders have the
points of the software encoder whose scale theirs is akin to: not measured.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import av.error
import cv2
import numpy as np
from av.codec import Codec, CodecContext
from av.codec.codec import UnknownCodecError
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from vidstyle.core.errors import DeviceError, UsageError
from vidstyle.core.options import EncodeOptions

# The AV1 encoder's own log, which no option quiets: errors only.
os.environ.setdefault("SVT_LOG", "1")

DEFAULT_QUALITY = 75

_CPU_AVX_512F = 13  # OpenCV's number, which has no name in Python

Points = tuple[tuple[int, int], ...]
Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Encoder:
    """What is known of a video encoder. A codec that is held otherwise with transparency has another row for that."""

    codec: str
    """The codec's name, which several encoders share."""
    name: str
    """The encoder's name in FFmpeg."""
    suffixes: tuple[str, ...]
    """Of the containers that can hold it."""
    formats: tuple[str, ...]
    """Pixel formats, the first that suits is taken; 10 bit and transparent ones behind the others."""
    controls: tuple[str, ...] = ()
    """The options that set the quality, all to the same value; none: there is nothing to set."""
    scale: Points = ()
    """Quality and the controls' value there, straight lines between."""
    crf: tuple[int, int] | None = None
    """The controls' least and greatest value; None: not for `EncodeOptions.crf`."""
    unit: int = 1
    """The controls count in steps of one of this many."""
    preset: str = ""
    presets: tuple[str, ...] = ()
    """Speeds to choose from, and the default one; none: there is no choice."""
    preset_option: str = "preset"
    extra: Options = ()
    prompt: Options = ()
    """Besides, where an image must not be held back to look ahead."""
    tag: str | None = None
    """Codec tag in MP4 and MOV; None: the muxer's choice."""
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


def _nvenc(codec: str, suffixes: tuple[str, ...], formats: tuple[str, ...], scale: Points, top: int, tag: str | None) -> Encoder:
    return Encoder(
        codec, f"{codec}_nvenc", suffixes, formats, ("cq",), scale, (1, top), preset="p4", presets=_NVENC_SPEEDS,
        extra=(("rc", "vbr"), ("b", "0")), prompt=(("tune", "ll"), ("delay", "0"), ("bf", "0")), tag=tag, hardware=True,
    )  # fmt: skip


def _qsv(codec: str, suffixes: tuple[str, ...], formats: tuple[str, ...], scale: Points, tag: str | None = None) -> Encoder:
    return Encoder(
        codec, f"{codec}_qsv", suffixes, formats, ("global_quality",), scale, (1, 51), preset="medium", presets=_QSV_SPEEDS,
        prompt=(("async_depth", "1"), ("bf", "0")), tag=tag, hardware=True,
    )  # fmt: skip


def _amf(
    codec: str,
    suffixes: tuple[str, ...],
    formats: tuple[str, ...],
    controls: str,
    scale: Points,
    top: int,
    tag: str | None = None,
) -> Encoder:
    return Encoder(
        codec, f"{codec}_amf", suffixes, formats, tuple(controls.split()), scale, (0, top), preset="balanced",
        presets=_AMF_SPEEDS, preset_option="quality", extra=(("rc", "cqp"),), prompt=(("async_depth", "1"),), tag=tag,
        hardware=True,
    )  # fmt: skip


def _videotoolbox(codec: str, formats: tuple[str, ...], tag: str | None) -> Encoder:
    return Encoder(  # whose quality counts in FFmpeg's lambda, 118 to one step
        codec, f"{codec}_videotoolbox", _MP4 + _MOV + _MKV, formats, ("global_quality",), _VIDEOTOOLBOX, (1, 100), unit=118,
        extra=(("flags", "+qscale"),), prompt=(("realtime", "1"),), tag=tag, hardware=True,
    )  # fmt: skip


# With AVX-512 its macroblock tree reads memory that nobody wrote, and now and then the same frames give other packets.
_X264_EXTRA: Options = (("x264-params", "asm=AVX2"),) if cv2.checkHardwareSupport(_CPU_AVX_512F) else ()

# No VA-API: it takes only images that are on the GPU already, and PyAV cannot bring them there.
ENCODERS = (
    Encoder(
        "h264", "libx264", _MP4 + _MOV + _MKV, ("yuv420p",), ("crf",), _X264, (0, 51),
        preset="veryfast", presets=_SPEEDS, extra=_X264_EXTRA, prompt=(("tune", "zerolatency"),),
    ),
    Encoder(
        "hevc", "libx265", _MP4 + _MOV + _MKV, ("yuv420p", "yuv420p10le"), ("crf",), _X265, (0, 51),
        preset="veryfast", presets=_SPEEDS, extra=(("x265-params", "log-level=error"),), prompt=(("tune", "zerolatency"),),
        tag="hvc1",  # Apple's players want this one
    ),
    Encoder(
        "av1", "libsvtav1", _MP4 + _MKV + _WEBM, ("yuv420p", "yuv420p10le"), ("crf",), _AV1, (0, 63),
        preset="10", presets=tuple(str(n) for n in range(14)), prompt=(("svtav1-params", "pred-struct=1:lookahead=0"),),
    ),
    *(
        Encoder(
            "vp9", "libvpx-vp9", suffixes, formats, ("crf",), _VP9, (0, 63),
            preset="4", presets=tuple(str(n) for n in range(6)), preset_option="cpu-used",
            extra=(("deadline", "good"), ("row-mt", "1"), ("b", "0")), prompt=(("deadline", "realtime"), ("lag-in-frames", "0")),
        )
        for suffixes, formats in ((_MP4 + _MKV + _WEBM, ("yuv420p", "yuv420p10le")), (_MKV + _WEBM, ("yuva420p",)))
    ),
    # Its quality is the profile: proxy, LT, standard, HQ; with transparency, or all of the colour, 4444 and 4444 XQ.
    Encoder("prores", "prores_ks", _MOV + _MKV, ("yuv422p10le",), ("profile",), ((0, 0), (75, 3), (100, 3))),
    Encoder("prores", "prores_ks", _MOV + _MKV, ("yuva444p10le", "yuv444p10le"), ("profile",), ((0, 4), (75, 4), (100, 5))),
    Encoder(  # lossless, RGB as it was stylized
        "ffv1", "ffv1", _MKV, ("bgr0", "yuv444p10le", "bgra", "yuva444p10le"), extra=(("level", "3"), ("slicecrc", "1")),
    ),
    Encoder("gif", "gif", _GIF, ("pal8",)),
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
"""Every encoder; of a codec's hardware encoders the first that works is taken."""

# What is tried where no codec is named.
_AUTOMATIC = ("h264", "vp9", "prores", "gif")
_AUTOMATIC_HDR = ("hevc", "av1", "prores", "ffv1")


def find_encoder(encode: EncodeOptions, suffix: str = ".mp4", alpha: bool = False) -> Encoder:
    """The encoder that `encode` asks for, for a file that ends in `suffix` (lower case), with transparency if `alpha`.

    Raises `UsageError` where codec, container and options do not go together, and `DeviceError` where a hardware encoder is
    asked for and none works here.
    """
    if encode.quality is not None and encode.crf is not None:
        raise UsageError("expected a quality or a crf, which is the encoder's own scale of it, got both")
    rows = _rows_asked_for(encode)
    built = [row for row in rows if _formats_of(row.name)]
    if not built:
        names = ", ".join(dict.fromkeys(row.name for row in rows))
        raise (DeviceError if rows[0].hardware else UsageError)(f"this installation of PyAV has no encoder {names}")
    fitting = [row for row in built if _fitting(row, encode, alpha)]
    held = [row for row in fitting if suffix in row.suffixes]
    if not held:
        raise UsageError(_refusal(built, fitting, encode, suffix, alpha))
    if held[0].hardware:
        encoder = _first_working([row for row in held if row.codec == held[0].codec], encode, alpha)
    else:
        encoder = max(held, key=lambda row: encode.pix_fmt in row.formats)
    _check_controls(encoder, encode)
    return encoder


def pixel_format(encoder: Encoder, encode: EncodeOptions, alpha: bool = False) -> str:
    """The pixel format to encode with; `alpha`: with transparency. `encoder` is what `find_encoder` gave for the same."""
    return _fitting(encoder, encode, alpha)[0]


def encoder_options(encoder: Encoder, encode: EncodeOptions) -> dict[str, str]:
    """FFmpeg's options for `encoder`, by name. `encoder` is what `find_encoder` gave for the same."""
    value = encode.crf
    if value is None and encoder.controls:
        quality = DEFAULT_QUALITY if encode.quality is None else encode.quality
        value = round(float(np.interp(quality, [q for q, _ in encoder.scale], [v for _, v in encoder.scale])))
    options = {} if value is None else dict.fromkeys(encoder.controls, str(value * encoder.unit))
    if encoder.presets:
        options[encoder.preset_option] = encode.preset or encoder.preset
    return options | dict(encoder.extra)


def subsampling(pix_fmt: str) -> tuple[int, int]:
    """How many columns, and how many rows, share a colour: (2, 2) for yuv420p, (1, 1) for RGB."""
    form = VideoFormat(pix_fmt)
    return 4 // form.chroma_width(4), 4 // form.chroma_height(4)


def _rows_asked_for(encode: EncodeOptions) -> list[Encoder]:
    """In order of preference, never none; whether they fit is another matter."""
    if encode.codec is None:
        codecs = _AUTOMATIC_HDR if encode.keep_hdr else _AUTOMATIC
        return [row for codec in codecs for row in ENCODERS if row.codec == codec and row.hardware == encode.hardware]
    named = [row for row in ENCODERS if row.name == encode.codec and (row.hardware or row.name != row.codec)]
    rows = named or [row for row in ENCODERS if row.codec == encode.codec]
    if not rows:
        raise UsageError(f"expected one of {_codecs(ENCODERS)} as the codec, got {encode.codec}")
    if named and not encode.hardware:
        return named
    found = [row for row in rows if row.hardware == encode.hardware]
    if not found:
        codecs_there = _codecs(row for row in ENCODERS if row.hardware)
        raise UsageError(f"expected one of {codecs_there} for encoding in hardware, got {encode.codec}; or leave hardware out")
    return found


def _codecs(rows: Iterable[Encoder]) -> str:
    return ", ".join(dict.fromkeys(row.codec for row in rows))


@cache
def _formats_of(name: str) -> tuple[str, ...]:
    """Pixel formats that the encoder takes; none where this installation of PyAV lacks it."""
    try:
        return tuple(form.name for form in Codec(name, "w").video_formats or ())
    except UnknownCodecError:
        return ()


def _taken(encoder: Encoder) -> tuple[str, ...]:
    """Pixel formats that may be asked for: transparent ones only where containers keep it, which the row's formats tell."""
    keeps_alpha = any(map(_has_alpha, encoder.formats))
    return tuple(name for name in _formats_of(encoder.name) if keeps_alpha or not _has_alpha(name))


def _fitting(encoder: Encoder, encode: EncodeOptions, alpha: bool) -> list[str]:
    """Pixel formats that hold what has to be held."""
    names = encoder.formats if encode.pix_fmt is None else (encode.pix_fmt,)
    return [
        name
        for name in names
        if name in _taken(encoder)
        and (not alpha or _has_alpha(name))
        and (not encode.keep_hdr or VideoFormat(name).components[0].bits >= 10)
    ]


def _has_alpha(name: str) -> bool:
    form = VideoFormat(name)
    return form.has_palette or any(component.is_alpha for component in form.components)


def _refusal(built: list[Encoder], fitting: list[Encoder], encode: EncodeOptions, suffix: str, alpha: bool) -> str:
    """Why none of `built` will do; `fitting` are those that would in another container."""
    taken = dict.fromkeys(name for row in built if row.codec == built[0].codec for name in _taken(row))
    if encode.pix_fmt is not None and encode.pix_fmt not in taken and not fitting:
        return f"expected one of {', '.join(taken)} as the pixel format of {built[0].codec}, got {encode.pix_fmt}"
    needs = " and ".join(["transparency"] * alpha + ["10 bits of colour"] * encode.keep_hdr)
    if fitting:
        of = (encode.codec or "a video") + (f" with {needs}" if needs else "")
        suffixes = list(dict.fromkeys(s for row in fitting for s in row.suffixes))
        way = ".mkv" if ".mkv" in suffixes else suffixes[0]
        return f"expected an output that ends in {', '.join(suffixes)} for {of}, got {suffix or 'no suffix'}: -o NAME{way}"
    if encode.pix_fmt is not None:
        return f"expected a pixel format with {needs}, got {encode.pix_fmt}; leave it out to get one that fits"
    others = [row for row in ENCODERS if row.hardware == built[0].hardware and _fitting(row, encode, alpha)]
    if not others:
        return f"expected a video without {needs} for encoding in hardware; or leave hardware out"
    held = "; ".join(f"{row.codec} ({', '.join(row.suffixes)})" for row in {row.codec: row for row in others}.values())
    return f"expected a codec that holds {needs}, got {encode.codec or _codecs(built)}; these do: {held}"


def _check_controls(encoder: Encoder, encode: EncodeOptions) -> None:
    if encode.quality is not None and not encoder.controls:
        why = "is lossless" if encoder.codec == "ffv1" else "has 256 colours always"
        raise UsageError(f"expected no quality for {encoder.codec}, which {why}, got {encode.quality}")
    if encode.crf is not None and encoder.crf is None:
        way = "; give a quality instead" if encoder.controls else ""
        raise UsageError(f"expected no crf for {encoder.codec}, which has none, got {encode.crf}{way}")
    if encode.crf is not None and encoder.crf is not None and not encoder.crf[0] <= encode.crf <= encoder.crf[1]:
        low, high = encoder.crf
        raise UsageError(f"expected a crf of {low} to {high} for {encoder.codec} ({encoder.name}), got {encode.crf}")
    if encode.preset is not None and encode.preset not in encoder.presets:
        presets = f"one of {', '.join(encoder.presets)} as the" if encoder.presets else "no"
        raise UsageError(f"expected {presets} preset of {encoder.codec} ({encoder.name}), got {encode.preset}")


def _first_working(encoders: list[Encoder], encode: EncodeOptions, alpha: bool) -> Encoder:
    for encoder in encoders:
        if works(encoder, pixel_format(encoder, encode, alpha)):
            return encoder
    tried = ", ".join(encoder.name for encoder in encoders)
    raise DeviceError(
        f"expected a hardware encoder for {encoders[0].codec}, none works here (tried {tried}); leave hardware out for the CPU's"
    )


@cache
def works(encoder: Encoder, pix_fmt: str) -> bool:
    """Whether a few frames can be encoded with it here: that FFmpeg lists a hardware encoder says nothing of the hardware."""
    try:
        context = CodecContext.create(encoder.name, "w")
        assert isinstance(context, VideoCodecContext)
        context.width = context.height = 256
        context.pix_fmt, context.framerate, context.time_base = pix_fmt, Fraction(25), Fraction(1, 25)
        context.options = encoder_options(encoder, EncodeOptions())
        packets: list[Any] = []
        for pts in range(4):
            frame = VideoFrame.from_ndarray(np.full((256, 256, 3), 60 * pts, np.uint8), "rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = pts, context.time_base
            packets += context.encode(frame)
        packets += context.encode(None)
    except (av.error.FFmpegError, OSError, ValueError):
        return False
    return bool(packets)


class GifPalette:
    """Turns frames into those of a GIF, each with up to 256 colours of its own.

    GIF counts hundredths of a second, and the muxer rounds each timestamp to them: a frame of 24 a second is up to 5 ms off
    its time (the error does not add up), and frames that are less than 1/100 s apart fall on one tick, so all but one must be
    left out. Browsers show what lasts 1/100 s as if it lasted 10/100 s: 50 a second are the most that play as meant.
    """

    def convert(self, frame: VideoFrame) -> VideoFrame:
        """`frame` (rgb24 or rgba) as pal8, its time kept; what is less than half opaque becomes transparent."""
        graph = Graph()  # a new one each time: a filter with two inputs holds its last frame back until its inputs end
        graph.threads = 1
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 100))
        split, sink = graph.add("split"), graph.add("buffersink")
        transparent = int(_has_alpha(frame.format.name))
        generate = graph.add("palettegen", f"stats_mode=single:reserve_transparent={transparent}")
        # Bayer's pattern stays where it is; diffused errors would flicker all over the image with every change.
        use = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=3:alpha_threshold=128")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(generate, 1, 0)
        generate.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        pts, time_base, duration = frame.pts, frame.time_base, frame.duration
        frame.pts, frame.time_base = 0, Fraction(1, 100)
        graph.vpush(frame)
        graph.vpush(None)
        converted = graph.vpull()
        for each in (frame, converted):
            each.pts, each.duration = pts, duration
            if time_base is not None:
                each.time_base = time_base
        return converted
