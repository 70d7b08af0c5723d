"""The stylized video as a file: encoded with PyAV, with the input's other streams, verified, then published."""

from __future__ import annotations

import contextlib
import math
from array import array
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer
from av.packet import Packet

from vidstyle.core.errors import UsageError
from vidstyle.core.frames import Frame, VideoInfo
from vidstyle.core.options import EncodeOptions
from vidstyle.media.av_errors import AV_ERRORS
from vidstyle.media.container import writing
from vidstyle.sinks.encoding import FrameEncoder, encoder_for
from vidstyle.sinks.publish import UnpublishedFile
from vidstyle.sinks.stream_copy import STAMP_TAG, StreamCopier
from vidstyle.sinks.verify import Expected, ranks, verify

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".gif": "gif"}
"""The muxer for each suffix that can be written."""

# The tags that the iTunes metadata list supports; any other needs the QuickTime list.
_ITUNES_TAGS = frozenset((
    "title", "artist", "album_artist", "composer", "album", "date", "comment", "genre", "copyright", "grouping", "lyrics",
    "description", "synopsis", "show", "episode_id", "network", "keywords", "track", "disc", "creation_time", "location",
    "timecode", "encoding_tool",
))  # fmt: skip
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description'
    ' rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="{}"/></rdf:RDF></x:xmpmeta>'
)
_MAX_TIMESCALE = 2**31 - 1


def check_container(path: Path) -> str:
    """The muxer for `path`; raises `UsageError` for a suffix that cannot be written."""
    name = FORMATS.get(path.suffix.lower())
    if name is None:
        raise UsageError(f"expected an output that ends in {', '.join(FORMATS)}, got {path.name}")
    return name


def _unplaced(muxer: str, stream_copier: StreamCopier | None) -> list[str]:
    """Tags that only the QuickTime list supports, if the iTunes list is needed for cover art."""
    if muxer != "mp4" or stream_copier is None or not stream_copier.has_cover:
        return []
    return sorted(key for key in stream_copier.metadata if key.lower() not in _ITUNES_TAGS)


def _needs_quicktime_tags(muxer: str, stream_copier: StreamCopier | None) -> bool:
    """Whether metadata is written to the QuickTime list, which supports tags with any name."""
    if muxer not in ("mp4", "mov") or stream_copier is None:
        return False
    if muxer == "mp4" and stream_copier.has_cover:  # only the iTunes list supports it, and MOV not at all
        return False
    return bool({key.lower() for key in stream_copier.metadata} - _ITUNES_TAGS)


def _stamp_tags(muxer: str, quicktime_tags: bool, stamp: str | None) -> dict[str, str]:
    """The metadata that describes what the file was made from, where it disturbs neither players nor other metadata. It is read
    by `vidstyle.conversion.provenance`."""
    if stamp is None or muxer == "gif":  # GIF has no metadata
        return {}
    if quicktime_tags or muxer in ("matroska", "webm"):
        return {STAMP_TAG: stamp}
    if muxer == "mp4":
        return {"encoding_tool": stamp}  # read back as `encoder`
    return {"xmp": _XMP.format(stamp)}  # FFmpeg writes its own name into the encoder tag of MOV


def _muxer_options(muxer: str, time_base: Fraction, stream_copier: StreamCopier | None) -> dict[str, str]:
    if muxer == "matroska":
        return {"default_mode": "passthrough"}  # copies which track is the default one
    if muxer not in ("mp4", "mov"):
        return {}
    # A late beginning is an edit list entry in the movie's time scale: a coarse one would round its time.
    beginnings = stream_copier.beginnings if stream_copier is not None else [time_base]
    exact = math.lcm(1000, *(seconds.denominator for seconds in beginnings))
    flags = "+faststart" + ("+use_metadata_tags" if _needs_quicktime_tags(muxer, stream_copier) else "")
    timescale = exact if exact <= _MAX_TIMESCALE else min(max(time_base.denominator, 1000), 1_000_000)
    return {"movflags": flags, "movie_timescale": str(timescale)}


class VideoFile:
    """The output as a hidden file: takes packets of the stylized video, adds those of the stream copier, is verified and
    published. `encoder` encodes for it, or describes the packets for `mux` if they were encoded by workers. `stamp` is written
    into the metadata."""

    def __init__(
        self,
        path: Path,
        info: VideoInfo,
        encode: EncodeOptions,
        stream_copier: StreamCopier | None = None,
        overwrite: bool = False,
        stamp: str | None = None,
    ) -> None:
        muxer = check_container(path)
        self._stream_copier = stream_copier
        self._unplaced = _unplaced(muxer, stream_copier)
        self._times = array("q")
        encoder = encoder_for(path, info, encode)
        self._file = UnpublishedFile(path, overwrite)
        self._container: OutputContainer | None = None
        try:
            with writing(path):
                options = _muxer_options(muxer, info.time_base, stream_copier)
                self._container = container = av.open(str(self._file.path), "w", format=muxer, container_options=options)

                def add_video() -> Any:
                    self.encoder = FrameEncoder(container, encoder, info, encode)
                    return self.encoder.stream

                if stream_copier is None:
                    add_video()
                else:
                    stream_copier.attach(container, add_video)
                container.metadata.update(_stamp_tags(muxer, _needs_quicktime_tags(muxer, stream_copier), stamp))
                container.start_encoding()
        except BaseException:
            self.close()
            raise

    def mux(self, packets: list[Packet[Any]]) -> None:
        """Write packets of the stylized video, and the other streams up to them; raises `DiskError` or `OutputError`."""
        with writing(self._file.target):
            assert self._container is not None
            for packet in packets:
                ticks = packet.dts if packet.dts is not None else packet.pts
                self._times.append(round(packet.pts * packet.time_base * Expected.PER_SECOND))  # type: ignore[operator]
                if self._stream_copier is not None and ticks is not None:
                    self._stream_copier.mux_until(self._container, float(ticks * packet.time_base))
                packet.stream = self.encoder.stream
                self._container.mux_one(packet)

    def publish(self) -> None:
        """Copy the rest of the other streams, close the file, read it back, and give it its name."""
        with writing(self._file.target):
            assert self._container is not None
            index = self.encoder.stream.index
            if self._stream_copier is not None:
                self._stream_copier.mux_until(self._container)
            rank = ranks(self._container.streams)
            container, self._container = self._container, None
            container.close()  # a full disk may only be noticed here
        others = dict(self._stream_copier.written) if self._stream_copier is not None else {}
        loose = self._stream_copier.subtitle_indices if self._stream_copier is not None else set()
        packets = {rank[i]: count for i, count in others.items()}
        verify(self._file.path, self._file.target, Expected(rank[index], self._times, packets, {rank[i] for i in loose}))
        self._file.publish()

    def warnings(self) -> list[str]:
        """What the output lacks of the input, one sentence each."""
        found = self._stream_copier.warnings() if self._stream_copier is not None else []
        if self._unplaced:
            names = ", ".join(self._unplaced)
            found.append(f"not carried over: metadata {names}, for which .mp4 has no place beside cover art; .mkv has (-o)")
        return found + self.encoder.warnings()

    def damage(self) -> list[str]:
        """What was lost of the input's other streams because they are damaged, one sentence each."""
        return self._stream_copier.damage() if self._stream_copier is not None else []

    def close(self) -> None:
        """Release everything; an unpublished file is removed."""
        if self._container is not None:
            container, self._container = self._container, None
            with contextlib.suppress(*AV_ERRORS):  # the file is removed anyway
                container.close()
        self._file.discard()
        if self._stream_copier is not None:
            self._stream_copier.close()


class VideoSink:
    """Encodes frames into `output`, which becomes `path`. See `vidstyle.core.protocols.Sink`."""

    def __init__(self, path: Path, output: VideoFile) -> None:
        self._path, self._output = path, output

    def write(self, frame: Frame) -> None:
        with writing(self._path):
            packets = self._output.encoder.encode(frame)
        self._output.mux(packets)

    def warnings(self) -> list[str]:
        return self._output.warnings()

    def damage(self) -> list[str]:
        return self._output.damage()

    def publish(self) -> None:
        with writing(self._path):
            packets = self._output.encoder.flush()
        self._output.mux(packets)
        self._output.publish()

    def close(self) -> None:
        self._output.close()
