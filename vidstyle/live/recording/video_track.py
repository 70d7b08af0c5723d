"""A Matroska file that is written in real time: after a crash it is playable."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vidstyle.core.errors import OutputError, OutputExistsError, VidstyleError
from vidstyle.core.files import reason
from vidstyle.core.frames import Pixels
from vidstyle.core.options import EncodeOptions
from vidstyle.live.recording.microphone import RATE, Microphone, Samples
from vidstyle.media.av_errors import AV_ERRORS
from vidstyle.media.color import output_tags, swscale_matrix
from vidstyle.media.container import main_video, open_media, writing
from vidstyle.sinks.encoder_table import VideoEncoder
from vidstyle.sinks.encoders import choose_encoder, encoder_options, pixel_format, subsampling

_TICK = Fraction(1, 1000)  # of Matroska
_KEYFRAME_EVERY = 60

_MUXER = {
    # A cluster is written when it is complete: a killed process loses at most this much (milliseconds).
    "cluster_time_limit": "500",
    "flush_packets": "1",
    # Images wait at most this long for audio that does not come (microseconds).
    "max_interleave_delta": "300000",
}


class _NewFile(io.FileIO):
    """A new file for PyAV; a write is complete or raises."""

    def __init__(self, path: Path) -> None:
        try:
            super().__init__(path, "xb")
        except FileExistsError:
            raise OutputExistsError(f"{path} exists, and a recording never replaces anything; give another name") from None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        while view:
            view = view[super().write(view) :]
        return size


class VideoTrack:
    """The file of a recording, which grows with each image; audio is cut to start and end with the images."""

    def __init__(self, path: Path, encode: EncodeOptions, microphone: Microphone | None) -> None:
        self._encoder, self._microphone = choose_encoder(encode, ".mkv"), microphone
        # Encoders delay images to look ahead; a killed process would lose them.
        self._options = encoder_options(self._encoder, encode) | dict(self._encoder.low_latency)
        self._pix_fmt = pixel_format(self._encoder, encode)
        self._path = path
        with writing(path):
            self._file = _NewFile(path)
            self._status = os.fstat(self._file.fileno())
        self._container: OutputContainer | None = None
        self._video: VideoStream | None = None
        self._audio: AudioStream | None = None
        self._reformatter = VideoReformatter()
        self._size = (0, 0)
        self._first_us = self._audio_samples = 0
        self._last = -1
        self.frames = self.dropped = 0

    @property
    def seconds(self) -> float:
        """From the first image to the last."""
        return float(max(self._last, 0) * _TICK)

    def write(self, microseconds: int, pixels: Pixels) -> None:
        """Add the image captured at `microseconds`; it is dropped unless it is at least a millisecond later than the last."""
        with writing(self._path):
            if self._container is None:
                self._begin(microseconds, pixels)
            assert self._container is not None
            assert self._video is not None
            pts = round((microseconds - self._first_us) / 1000)
            if pts <= self._last:
                self.dropped += 1
                return
            if pixels.shape[1::-1] != self._size:
                raise OutputError(f"expected images of {self._size}, got {pixels.shape[1::-1]}: {self._path}")
            self._container.mux(self._video.encode(self._to_video_frame(pixels, pts)))
            self._last = pts
            self.frames += 1
            self._add_audio(microseconds / 1e6)

    def _begin(self, microseconds: int, pixels: Pixels) -> None:
        self._first_us = microseconds
        self._size = pixels.shape[1::-1]
        self._container = av.open(self._file, "w", format="matroska", container_options=_MUXER)
        self._video = self._add_video(self._encoder, *self._size)
        if self._microphone is not None:
            self._microphone.begin(microseconds / 1e6)
            self._audio = self._container.add_stream(
                "aac", rate=RATE, layout="mono" if self._microphone.channels == 1 else "stereo"
            )

    def _add_video(self, encoder: VideoEncoder, width: int, height: int) -> VideoStream:
        assert self._container is not None
        self._color = color = output_tags(None, width, height)
        columns, rows = subsampling(self._pix_fmt)
        self._pad = (-width % columns, -height % rows)
        stream = self._container.add_stream(encoder.name, rate=30, options=self._options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = width + self._pad[0], height + self._pad[1]
        stream.pix_fmt = self._pix_fmt
        context = stream.codec_context
        context.time_base = stream.time_base = _TICK
        context.gop_size = _KEYFRAME_EVERY
        context.colorspace, context.color_range = color.matrix, color.range
        context.color_primaries, context.color_trc = color.primaries, color.transfer
        return stream

    def _to_video_frame(self, pixels: Pixels, pts: int) -> VideoFrame:
        color = self._color
        if any(self._pad):
            pixels = np.pad(pixels, ((0, self._pad[1]), (0, self._pad[0]), (0, 0)), mode="edge")
        converted = self._reformatter.reformat(
            VideoFrame.from_numpy_buffer(np.ascontiguousarray(pixels), "rgb24"),
            format=self._pix_fmt,
            src_color_range=2,
            dst_colorspace=swscale_matrix(color),
            dst_color_range=color.range,
            threads=1,
        )
        converted.pts, converted.time_base = pts, _TICK
        converted.colorspace, converted.color_range = color.matrix, color.range
        converted.color_primaries, converted.color_trc = color.primaries, color.transfer
        return converted

    def _add_audio(self, until: float) -> None:
        if self._microphone is not None:
            for samples in self._microphone.take(until):
                self._encode_audio(samples)

    def _encode_audio(self, samples: Samples) -> None:
        assert self._container is not None
        assert self._audio is not None
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", "mono" if samples.shape[1] == 1 else "stereo")
        frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), self._audio_samples
        self._audio_samples += len(samples)
        self._container.mux(self._audio.encode(frame))

    def close(self, on_packet: Callable[[], None] = lambda: None) -> None:
        """Finish the file and read it back, or remove it if no image was written; raises `OutputError`, `DiskError`.

        `on_packet` is called for each packet that is read, which takes a while for a long recording.
        """
        container, self._container = self._container, None
        try:
            if container is not None:
                with writing(self._path):
                    try:
                        for stream in (self._video, self._audio):
                            if stream is not None:
                                container.mux(stream.encode(None))
                    finally:
                        container.close()
                    os.fsync(self._file.fileno())
        finally:
            self._file.close()
        if not self.frames:
            self._remove()
            return
        count, _ = _read_back(self._path, on_packet)
        if count != self.frames:
            raise OutputError(f"expected {self.frames} images in the recording, read back {count}: {self._path}")

    def salvage(self) -> None:
        """After an error: keep what is in the file, and count its images."""
        with contextlib.suppress(VidstyleError):
            self.close()
        self.frames, self._last = 0, -1
        with contextlib.suppress(VidstyleError):
            self.frames, self._last = _read_back(self._path)
        if not self.frames:
            self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            if os.path.samestat(self._status, self._path.lstat()):  # not another file of that name
                self._path.unlink()


def _read_back(path: Path, on_packet: Callable[[], None] = lambda: None) -> tuple[int, int]:
    """The number of images in the file, and the time of the last in ms; raises `OutputError` unless one can be decoded."""
    try:
        with open_media(str(path)) as container:
            video = main_video(container)
            if video is None:
                return 0, -1
            count, last, decoded = 0, -1, False
            for packet in container.demux(video):
                on_packet()
                if packet.size:
                    count, last = count + 1, max(last, packet.pts or 0)
                decoded = decoded or bool(packet.decode())
        if decoded or not count:
            return count, last
    except AV_ERRORS as error:
        raise OutputError(f"the recording could not be read back ({reason(error)}): {path}") from error
    raise OutputError(f"no image in the recording could be decoded: {path}")
