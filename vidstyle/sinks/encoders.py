"""Chooses the encoder and its options for a request from `encoder_table`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from av.codec import Codec, CodecContext
from av.codec.codec import UnknownCodecError
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from vidstyle.core.errors import DeviceError, UsageError
from vidstyle.core.options import DEFAULT_QUALITY, EncodeOptions
from vidstyle.media.av_errors import AV_ERRORS
from vidstyle.sinks.encoder_table import ENCODERS, VideoEncoder

# The AV1 encoder has no option for its log level, only this variable; 1: errors only.
os.environ.setdefault("SVT_LOG", "1")

# The codecs that are tried if none is given.
_AUTOMATIC = ("h264", "vp9", "prores", "gif")
_AUTOMATIC_HDR = ("hevc", "av1", "prores", "ffv1")


def choose_encoder(encode: EncodeOptions, suffix: str = ".mp4", alpha: bool = False) -> VideoEncoder:
    """The encoder for the options `encode` and a file that ends in `suffix` (lower case), with transparency if `alpha`.

    Raises `UsageError` if codec, container and options do not fit together, and `DeviceError` if a hardware encoder is
    requested and none works on this machine.
    """
    if encode.quality is not None and encode.crf is not None:
        raise UsageError("expected either --quality or --crf, which is the encoder's own scale of it, got both")
    rows = _matching_rows(encode)
    built = [row for row in rows if _formats_of(row.name)]
    if not built:
        names = ", ".join(dict.fromkeys(row.name for row in rows))
        raise (DeviceError if rows[0].hardware else UsageError)(f"this installation of PyAV has no encoder {names}")
    fitting = [row for row in built if _fitting(row, encode, alpha)]
    usable = [row for row in fitting if suffix in row.suffixes]
    if not usable:
        raise UsageError(_refusal(built, fitting, encode, suffix, alpha))
    if usable[0].hardware:
        encoder = _first_working([row for row in usable if row.codec == usable[0].codec], encode, alpha)
    else:
        encoder = max(usable, key=lambda row: encode.pix_fmt in row.formats)
    _check_quality_options(encoder, encode)
    return encoder


def pixel_format(encoder: VideoEncoder, encode: EncodeOptions, alpha: bool = False) -> str:
    """The pixel format to encode with, `alpha`: with transparency. `choose_encoder` must have chosen `encoder` for the same."""
    return _fitting(encoder, encode, alpha)[0]


def encoder_options(encoder: VideoEncoder, encode: EncodeOptions) -> dict[str, str]:
    """FFmpeg's options for `encoder`, by name. `choose_encoder` must have chosen it for the same `encode`."""
    value = encode.crf
    if value is None and encoder.quality_options:
        quality = DEFAULT_QUALITY if encode.quality is None else encode.quality
        value = round(float(np.interp(quality, [q for q, _ in encoder.quality_scale], [v for _, v in encoder.quality_scale])))
    options = {} if value is None else dict.fromkeys(encoder.quality_options, str(value * encoder.unit))
    if encoder.presets:
        options[encoder.preset_option] = encode.preset or encoder.preset
    return options | dict(encoder.extra)


def subsampling(pix_fmt: str) -> tuple[int, int]:
    """How many columns and rows share a chroma sample: (2, 2) for yuv420p, (1, 1) for RGB."""
    form = VideoFormat(pix_fmt)
    return 4 // form.chroma_width(4), 4 // form.chroma_height(4)


def _matching_rows(encode: EncodeOptions) -> list[VideoEncoder]:
    """The rows that match the codec and `hardware`, in order of preference; never empty. Whether they fit is not checked."""
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
        raise UsageError(f"{encode.codec} cannot be encoded in hardware; use one of {codecs_there}, or leave out --hardware")
    return found


def _codecs(rows: Iterable[VideoEncoder]) -> str:
    return ", ".join(dict.fromkeys(row.codec for row in rows))


@cache
def _formats_of(name: str) -> tuple[str, ...]:
    """The pixel formats of an encoder; none if this installation of PyAV does not have it."""
    try:
        return tuple(form.name for form in Codec(name, "w").video_formats or ())
    except UnknownCodecError:
        return ()


def _supported_formats(encoder: VideoEncoder) -> tuple[str, ...]:
    """The pixel formats to choose from; those with transparency only if the row has one, because else no container
    keeps it."""
    keeps_alpha = any(map(has_alpha, encoder.formats))
    return tuple(name for name in _formats_of(encoder.name) if keeps_alpha or not has_alpha(name))


def _fitting(encoder: VideoEncoder, encode: EncodeOptions, alpha: bool) -> list[str]:
    """The pixel formats that keep transparency and HDR as required."""
    names = encoder.formats if encode.pix_fmt is None else (encode.pix_fmt,)
    return [
        name
        for name in names
        if name in _supported_formats(encoder)
        and (not alpha or has_alpha(name))
        and (not encode.keep_hdr or VideoFormat(name).components[0].bits >= 10)
    ]


def has_alpha(name: str) -> bool:
    form = VideoFormat(name)
    return form.has_palette or any(component.is_alpha for component in form.components)


def _refusal(built: list[VideoEncoder], fitting: list[VideoEncoder], encode: EncodeOptions, suffix: str, alpha: bool) -> str:
    """Why no row of `built` can be used, as a message; those in `fitting` could be used in another container."""
    taken = dict.fromkeys(name for row in built if row.codec == built[0].codec for name in _supported_formats(row))
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
        return f"no hardware encoder supports {needs}; leave out --hardware"
    supporting = "; ".join(f"{row.codec} ({', '.join(row.suffixes)})" for row in {row.codec: row for row in others}.values())
    return f"expected a codec that supports {needs}, got {encode.codec or _codecs(built)}; use one of these: {supporting}"


def _check_quality_options(encoder: VideoEncoder, encode: EncodeOptions) -> None:
    if encode.quality is not None and not encoder.quality_options:
        why = "is lossless" if encoder.codec == "ffv1" else "always has 256 colours"
        raise UsageError(f"{encoder.codec} {why} and takes no --quality (got {encode.quality})")
    if encode.crf is not None and encoder.crf_range is None:
        remedy = "; use --quality instead" if encoder.quality_options else ""
        raise UsageError(f"{encoder.codec} takes no --crf (got {encode.crf}){remedy}")
    if (
        encode.crf is not None
        and encoder.crf_range is not None
        and not encoder.crf_range[0] <= encode.crf <= encoder.crf_range[1]
    ):
        low, high = encoder.crf_range
        raise UsageError(f"expected a crf of {low} to {high} for {encoder.codec} ({encoder.name}), got {encode.crf}")
    if encode.preset is not None and not encoder.presets:
        raise UsageError(f"{encoder.codec} ({encoder.name}) takes no --preset (got {encode.preset})")
    if encode.preset is not None and encode.preset not in encoder.presets:
        presets = ", ".join(encoder.presets)
        raise UsageError(f"expected one of {presets} as the preset of {encoder.codec} ({encoder.name}), got {encode.preset}")


def _first_working(encoders: list[VideoEncoder], encode: EncodeOptions, alpha: bool) -> VideoEncoder:
    for encoder in encoders:
        if works(encoder, pixel_format(encoder, encode, alpha)):
            return encoder
    tried = ", ".join(encoder.name for encoder in encoders)
    raise DeviceError(
        f"no hardware encoder for {encoders[0].codec} works on this machine (tried {tried}); leave out --hardware to use the CPU"
    )


@cache
def works(encoder: VideoEncoder, pix_fmt: str) -> bool:
    """Whether a few frames can be encoded on this machine: FFmpeg lists hardware encoders even without the hardware."""
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
    except AV_ERRORS:
        return False
    return bool(packets)
