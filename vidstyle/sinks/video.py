"""A painted video: encoded with PyAV, everything else of the input copied beside it, verified, then published."""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vidstyle.color import output_tags, swscale_matrix
from vidstyle.errors import OutputError, UsageError
from vidstyle.files import reason
from vidstyle.frames import Frame, VideoInfo
from vidstyle.media import main_video, open_media, writing
from vidstyle.options import EncodeOptions
from vidstyle.sinks.copying import Companion
from vidstyle.sinks.publish import Unpublished

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""Suffixes that can be written, and the muxer's name."""

_SPEED_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")


@dataclass(frozen=True)
class Encoder:
    """What is known of a video encoder: its name in FFmpeg, the default and range of its quality and speed controls."""

    name: str
    crf: int
    max_crf: int
    preset: str
    presets: tuple[str, ...]
    extra: tuple[tuple[str, str], ...] = ()


ENCODERS = {
    "h264": Encoder("libx264", 20, 51, "veryfast", _SPEED_PRESETS),
    "hevc": Encoder("libx265", 23, 51, "veryfast", _SPEED_PRESETS, (("x265-params", "log-level=error"),)),
    "av1": Encoder("libsvtav1", 30, 63, "10", tuple(str(n) for n in range(14))),
}


def find_encoder(encode: EncodeOptions) -> Encoder:
    """The encoder that `encode` asks for; raises `UsageError` where an option does not fit it."""
    encoder = ENCODERS.get(encode.codec) or next((e for e in ENCODERS.values() if e.name == encode.codec), None)
    if encoder is None:
        raise UsageError(f"expected one of {', '.join(ENCODERS)} as the codec, got {encode.codec}")
    if encode.preset is not None and encode.preset not in encoder.presets:
        raise UsageError(f"expected one of {', '.join(encoder.presets)} as the preset of {encode.codec}, got {encode.preset}")
    if encode.crf is not None and not 0 <= encode.crf <= encoder.max_crf:
        raise UsageError(f"expected a crf of 0 to {encoder.max_crf} for {encode.codec}, got {encode.crf}")
    try:
        formats = Codec(encoder.name, "w").video_formats or []
    except UnknownCodecError:
        raise UsageError(f"this installation of PyAV has no encoder {encoder.name}") from None
    names = [f.name for f in formats]
    if encode.pix_fmt not in names:
        raise UsageError(f"expected one of {', '.join(names)} as the pixel format of {encode.codec}, got {encode.pix_fmt}")
    return encoder


def check_container(path: Path) -> str:
    """The muxer for `path`; raises `UsageError` for a suffix that cannot be written."""
    name = FORMATS.get(path.suffix.lower())
    if name is None:
        raise UsageError(f"expected an output that ends in {', '.join(FORMATS)}, got {path.name}")
    return name


def _muxer_options(muxer: str, time_base: Fraction) -> dict[str, str]:
    if muxer not in ("mp4", "mov"):
        return {}
    # A late first frame is an edit in the movie's own clock: too coarse a clock would round its time.
    ticks = min(max(time_base.denominator, 1000), 1_000_000)
    return {"movflags": "+faststart", "movie_timescale": str(ticks)}


class VideoSink:
    """Encodes frames with their own timestamps.

    Size, shape of pixels, rotation and colour tags are those of `info`, but for an odd width or height, which 4:2:0
    cannot hold: the last column or row is repeated once.
    """

    def __init__(
        self,
        path: Path,
        info: VideoInfo,
        encode: EncodeOptions,
        companion: Companion | None = None,
        overwrite: bool = False,
    ) -> None:
        self._info, self._companion = info, companion
        self._color = output_tags(info.color, info.width, info.height)
        self._pad = (info.width % 2, info.height % 2) if "420" in encode.pix_fmt else (0, 0)
        self._pix_fmt = encode.pix_fmt
        self._count = 0
        self._first_seconds = self._last_seconds = Fraction(0)
        self._reformatter = VideoReformatter()
        encoder, muxer = find_encoder(encode), check_container(path)
        self._file = Unpublished(path, overwrite)
        self._container: OutputContainer | None = None
        try:
            with writing(path):
                os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder's own log, which no option quiets: errors only
                self._container = av.open(
                    str(self._file.path), "w", format=muxer, container_options=_muxer_options(muxer, info.time_base)
                )
                self._stream = self._add_video(encoder, encode)
                if companion is not None:
                    companion.attach(self._container, path)
        except BaseException:
            self.close()
            raise

    def _add_video(self, encoder: Encoder, encode: EncodeOptions) -> VideoStream:
        assert self._container is not None
        info, color = self._info, self._color
        options = {"crf": str(encode.crf if encode.crf is not None else encoder.crf)}
        options |= {"preset": encode.preset or encoder.preset, **dict(encoder.extra)}
        stream = self._container.add_stream(encoder.name, rate=info.frame_rate or Fraction(25), options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = info.width + self._pad[0], info.height + self._pad[1]
        stream.pix_fmt = encode.pix_fmt
        context = stream.codec_context
        context.time_base = stream.time_base = info.time_base
        if info.sample_aspect_ratio:
            context.sample_aspect_ratio = info.sample_aspect_ratio
        context.colorspace, context.color_range = color.matrix, color.range
        context.color_primaries, context.color_trc = color.primaries, color.transfer
        if encoder.name == "libx265":
            stream.codec_tag = "hvc1"  # Apple's players want this one
        if info.display_matrix:
            stream.set_display_matrix(info.display_matrix)
        return stream

    def write(self, frame: Frame) -> None:
        assert self._container is not None
        pixels = frame.pixels
        if any(self._pad):
            pixels = np.pad(pixels, ((0, self._pad[1]), (0, self._pad[0]), (0, 0)), mode="edge")
        seconds = frame.pts * frame.time_base
        self._first_seconds = seconds if not self._count else self._first_seconds
        self._last_seconds = seconds
        with writing(self._file.target):
            self._copy_until(float(seconds))
            self._container.mux(self._stream.encode(self._to_video_frame(frame, np.ascontiguousarray(pixels))))
        self._count += 1

    def _to_video_frame(self, frame: Frame, pixels: np.ndarray) -> VideoFrame:
        color = self._color
        converted = self._reformatter.reformat(
            VideoFrame.from_numpy_buffer(pixels, "rgb24"),
            format=self._pix_fmt,
            src_color_range=2,
            dst_colorspace=swscale_matrix(color),
            dst_color_range=color.range,
            threads=1,
        )
        converted.pts, converted.time_base, converted.duration = frame.pts, frame.time_base, frame.duration
        converted.colorspace, converted.color_range = color.matrix, color.range
        converted.color_primaries, converted.color_trc = color.primaries, color.transfer
        return converted

    def _copy_until(self, seconds: float) -> None:
        if self._companion is not None and self._container is not None:
            for packet in self._companion.until(seconds):
                self._container.mux(packet)

    def warnings(self) -> list[str]:
        """What the output lacks of the input, a sentence each."""
        found = self._companion.left_out() if self._companion is not None else []
        if any(self._pad):
            w, h = self._stream.width, self._stream.height
            found.append(f"{self._pix_fmt} needs even sizes: the output is {w}x{h}")
        return found

    def publish(self) -> None:
        with writing(self._file.target):
            assert self._container is not None
            self._container.mux(self._stream.encode(None))
            self._copy_until(math.inf)
            container, self._container = self._container, None
            container.close()  # may be where a full disk shows
        self._verify()
        self._file.publish()

    def _verify(self) -> None:
        """Read the file back: every frame must be there, its first one decodable, its time right, every audio packet too."""
        expected_audio = sorted(self._companion.copied_packets.values()) if self._companion is not None else []
        try:
            with open_media(str(self._file.path)) as container:
                video = main_video(container)
                assert video is not None
                assert video.time_base is not None
                counts: dict[int, int] = {}
                first = last = None
                decoded = False
                for packet in container.demux():
                    if packet.size == 0:
                        continue
                    counts[packet.stream.index] = counts.get(packet.stream.index, 0) + 1
                    if packet.stream is video:
                        pts = packet.pts or 0
                        first = pts if first is None else min(first, pts)
                        last = pts if last is None else max(last, pts)
                        decoded = decoded or bool(packet.decode())
                decoded = decoded or bool(video.decode(None))
                found = counts.pop(video.index, 0)
                span = float(((last or 0) - (first or 0)) * video.time_base)
        except (av.error.FFmpegError, OSError, ValueError, AssertionError) as error:
            raise OutputError(
                f"the output could not be read back, nothing was published: {self._file.target} ({reason(error)})"
            ) from error
        if found != self._count or not decoded:
            raise OutputError(
                f"expected {self._count} frames in the output, read back {found}; nothing was published: {self._file.target}"
            )
        if abs(span - float(self._last_seconds - self._first_seconds)) > 0.05:
            raise OutputError(f"the output's timestamps came back wrong, nothing was published: {self._file.target}")
        audio = sorted(counts.values())
        if audio != [n for n in expected_audio if n]:
            raise OutputError(
                f"expected {sum(expected_audio)} audio packets in the output, read back {sum(audio)}; "
                f"nothing was published: {self._file.target}"
            )

    def close(self) -> None:
        if self._container is not None:
            container, self._container = self._container, None
            with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):  # it is about to be removed
                container.close()
        self._file.discard()
        if self._companion is not None:
            self._companion.close()
