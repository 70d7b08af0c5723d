"""Puts all packets of a file on one clock, even if it consists of several recordings."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Stream

from vidstyle.media.av_errors import DAMAGE_ERRORS

BACKWARD_SECONDS = 0.1
"""A stream whose decoding times go back by more than this was joined from two recordings."""

FORWARD_SECONDS = 10.0
"""The same holds for a stream that jumps ahead of all others by more than this (FFmpeg's -dts_delta_threshold)."""


class StreamClock:
    """Removes the jumps from the timestamps of joined transport streams.

    Where a stream's decoding times jump, the part after the jump is moved to follow the part before it. Each stream enters the
    next part separately, because the packets of different streams are interleaved. Only formats that can have such
    jumps are changed.
    """

    def __init__(self, container: InputContainer) -> None:
        self._jumps = may_jump(container)
        self._offsets = [Fraction(0)]
        self._latest = [0.0]  # latest raw time of each part over all streams
        self._end = Fraction(0)
        self._part: dict[int, int] = {}
        self._last: dict[int, float] = {}
        self.joins = 0

    def place(self, packet: Packet[Stream]) -> bool:
        """Move the timestamps of `packet` to the common clock; returns whether its stream's next part begins with it."""
        ticks = packet.dts if packet.dts is not None else packet.pts
        if not self._jumps or ticks is None or not packet.time_base:
            return False
        index, raw = packet.stream.index, float(ticks * packet.time_base)
        part, joined = self._part.get(index, 0), False
        if packet.stream.type not in ("video", "audio"):  # too sparse to find jumps
            part = len(self._offsets) - 1
        elif index in self._last and self._jumped(raw, index, part):
            joined, part = True, part + 1
            if part == len(self._offsets):
                self._offsets.append(self._end - ticks * packet.time_base)
                self._latest.append(raw)
                self.joins += 1
        self._part[index] = part
        duration = (packet.duration or 0) * packet.time_base
        if packet.stream.type in ("video", "audio"):
            self._last[index] = raw
            self._latest[part] = max(self._latest[part], raw)
            self._end = max(self._end, ticks * packet.time_base + duration + self._offsets[part])
        moved = round(self._offsets[part] / packet.time_base)
        if moved:
            packet.pts = packet.pts + moved if packet.pts is not None else None
            packet.dts = packet.dts + moved if packet.dts is not None else None
        return joined

    def _jumped(self, raw: float, index: int, part: int) -> bool:
        return raw < self._last[index] - BACKWARD_SECONDS or raw > self._latest[part] + FORWARD_SECONDS


def may_jump(container: InputContainer) -> bool:
    """Whether timestamps may jump in this format: recordings of broadcasts can be joined by concatenating files."""
    return bool(container.format.flags & Flags.ts_discont.value)  # type: ignore[operator]  # an int, despite the stub


def read_packets(container: InputContainer, clock: StreamClock) -> Iterator[tuple[Packet[Stream], bool]]:
    """All non-empty packets of all streams in the order of the file, and whether a joined part begins with each.

    If the file cannot be read any further, the packets end without an error: callers compare durations.
    """
    try:
        for packet in container.demux():
            if packet.size:
                yield packet, clock.place(packet)
    except DAMAGE_ERRORS:
        return
