"""From interlaced frames, which hold two fields, to progressive ones."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from av.filter import Graph
from av.video.frame import VideoFrame

from vidstyle.media.av_errors import NO_OUTPUT_YET
from vidstyle.sources.decoding import DecodedFrame


class Deinterlacer:
    """Deinterlaces frames with FFmpeg's bwdif (Bob Weaver, with the filters of Weston and BBC R&D); others stay as they are."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._like: tuple[int, int, str] | None = None
        self._sink: Any = None
        self._source: Any = None
        self._waiting: list[DecodedFrame] = []
        self.used = False

    def frames(self, decoded: Iterator[DecodedFrame]) -> Iterator[DecodedFrame]:
        for item in decoded:
            frame = item.frame
            like = (frame.width, frame.height, frame.format.name)
            if self._graph is not None and like != self._like:
                yield from self._flush()
            if self._graph is None:
                if not frame.interlaced_frame:
                    yield item
                    continue
                self._build(frame, like)
            self._waiting.append(item)
            if item.held:  # the same image again, which the filter would reject
                continue
            self._source.push(frame)
            yield from self._ready()
        if self._graph is not None:
            yield from self._flush()

    def _build(self, frame: VideoFrame, like: tuple[int, int, str]) -> None:
        self.used = True
        self._like, self._graph = like, Graph()
        self._source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
        )
        bwdif = self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        self._sink = self._graph.add("buffersink")
        self._graph.link_nodes(self._source, bwdif, self._sink).configure()

    def _flush(self) -> Iterator[DecodedFrame]:
        self._source.push(None)
        yield from self._ready()
        self._graph = None

    def _ready(self) -> Iterator[DecodedFrame]:
        """The frames that the filter, which is one frame behind, has finished; with the timestamps of its input."""
        while True:
            try:
                whole = self._sink.pull()
            except NO_OUTPUT_YET:
                return
            item = self._waiting.pop(0)
            yield DecodedFrame(whole, item.pts, item.duration)
            while self._waiting and self._waiting[0].held:
                held = self._waiting.pop(0)
                yield DecodedFrame(whole, held.pts, held.duration, held=True)
