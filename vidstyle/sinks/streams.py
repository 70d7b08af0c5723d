"""How each stream of an input is carried over: decided before the work begins, and shown by `--dry-run`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import av
from av.container import InputContainer
from av.stream import AttachmentStream, Disposition, Stream

from vidstyle.media.av_errors import AV_ERRORS
from vidstyle.media.container import main_video

Action = Literal["stylize", "copy", "transcode", "attach", "rewrite", "leave"]
"""`rewrite`: the muxer writes an equivalent stream from metadata (time code, chapters)."""

_AUDIO_ENCODERS = {"mp4": "aac", "mov": "aac"}
"""By muxer, the encoder for audio that it cannot hold. All others use Opus, whose delay Matroska can store."""

_CODECS = {"aac": "AAC", "libopus": "Opus"}

_SUFFIXES = {"matroska": ".mkv", "mp4": ".mp4", "mov": ".mov"}
"""The suffixes to suggest for streams that another container cannot hold, the most capable one first."""


@dataclass(frozen=True)
class StreamPlan:
    """What is done with one stream of the input, and why if it is not simply copied."""

    stream: Stream
    action: Action
    reason: str = ""
    codec: str = ""
    """The codec that the stream is converted to, for messages."""

    def __str__(self) -> str:
        done = {
            "stylize": "stylized",
            "copy": "copied",
            "transcode": f"converted to {self.codec}",
            "attach": "copied",
            "rewrite": "copied",
        }
        return f"{describe(self.stream)}: {done.get(self.action, 'left out')}" + (f" ({self.reason})" if self.reason else "")


def plan_streams(container: InputContainer, muxer: str, audio: bool = True, subtitles: bool = True) -> list[StreamPlan]:
    """A plan for every stream of `container`, in its order, with `muxer` (FFmpeg's name) as the output's format."""
    video = main_video(container)
    plans = []
    for stream in container.streams:
        if stream is video:
            plans.append(StreamPlan(stream, "stylize"))
        elif stream.type == "audio" and not audio:
            plans.append(StreamPlan(stream, "leave", "--no-audio"))
        elif stream.type == "subtitle" and not subtitles:
            plans.append(StreamPlan(stream, "leave", "--no-subtitles"))
        else:
            plans.append(_plan(stream, muxer, container))
    return plans


def left_out(plans: Sequence[StreamPlan]) -> list[str]:
    """One sentence for each stream that is left out without an option for it, or that is converted."""
    found = []
    for plan in plans:
        if plan.action == "leave" and not plan.reason.startswith("--"):
            found.append(f"not carried over: {describe(plan.stream)}: {plan.reason}")
        elif plan.action == "transcode":
            found.append(f"{describe(plan.stream)} was converted to {plan.codec}: {plan.reason}")
    return found


def describe(stream: Stream) -> str:
    """A short description of a stream, such as `audio 2 (ac3, fra)`."""
    kind = "cover art" if stream.disposition & Disposition.attached_pic else stream.type
    words = [codec_of(stream), stream.metadata.get("language", ""), stream.metadata.get("handler_name", "")]
    if stream.type == "attachment":
        words = [stream.metadata.get("filename", "")]
    known = [word for word in words if word and word not in ("unknown", "und") and not word.endswith("Handler")]
    return f"{kind} {stream.index}" + (f" ({', '.join(known)})" if known else "")


def codec_of(stream: Stream) -> str:
    """The codec's canonical name, whichever decoder is used."""
    with contextlib.suppress(ValueError):  # an unknown codec
        if stream.codec_context is not None:
            return stream.codec_context.codec.canonical_name
    return (stream.name if stream.type == "data" else None) or "unknown"


def _plan(stream: Stream, muxer: str, container: InputContainer) -> StreamPlan:
    if stream.type == "data" and "timecode" in stream.metadata and muxer in _SUFFIXES:
        return StreamPlan(stream, "rewrite", "as the time code of the video")
    if stream.type == "data" and muxer in ("mp4", "mov") and codec_of(stream) == "bin_data" and container.chapters():
        return StreamPlan(stream, "rewrite", "as chapters")
    if action := _holds(muxer, stream):
        return StreamPlan(stream, action)
    if stream.type == "audio" and codec_of(stream) == "unknown":
        return StreamPlan(stream, "leave", "its codec is unknown")
    cannot = f"{_SUFFIXES.get(muxer, '.' + muxer)} cannot hold it"
    if stream.type == "audio" and stream.codec_context is not None and muxer != "gif":
        return StreamPlan(stream, "transcode", f"{cannot} as it is", _CODECS[audio_encoder(muxer)])
    others = (suffix for other, suffix in _SUFFIXES.items() if other != muxer and _holds(other, stream))
    way_out = next((f"; an output that ends in {suffix} (-o) can" for suffix in others), "")
    return StreamPlan(stream, "leave", cannot + way_out)


def _holds(muxer: str, stream: Stream) -> Action | None:
    """How `muxer` can store `stream` without converting it; None if it cannot."""
    cover = bool(stream.disposition & Disposition.attached_pic)
    if cover or isinstance(stream, AttachmentStream):
        if muxer == "matroska":
            return "attach"
        return "copy" if cover and muxer == "mp4" and accepts(muxer, stream) else None
    return "copy" if accepts(muxer, stream) else None


def audio_encoder(muxer: str) -> str:
    """FFmpeg's name of the encoder for audio that `muxer` cannot hold as it is."""
    return _AUDIO_ENCODERS.get(muxer, "libopus")


def accepts(muxer: str, stream: Stream) -> bool:
    """Whether `muxer` accepts packets of `stream`, found by writing a header into memory."""
    try:
        trial = av.open(io.BytesIO(), "w", format=muxer)
    except AV_ERRORS:
        return False
    try:
        add_copy(trial, stream)
        trial.start_encoding()
    except AV_ERRORS:
        return False
    finally:
        with contextlib.suppress(*AV_ERRORS):
            trial.close()
    return True


def add_copy(output: av.container.OutputContainer, stream: Stream) -> Stream:
    """A stream of `output` for the packets of `stream`."""
    if stream.codec_context is None:
        return output.add_stream_from_template(stream)
    return output.add_stream_from_template(stream, opaque=True)
