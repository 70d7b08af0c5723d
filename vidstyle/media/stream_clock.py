"""All packets of a file on one clock, also where it was glued together from several recordings."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Stream

from vidstyle.media.av_errors import DAMAGE_ERRORS

BACKWARD_SECONDS = 0.1
"""A stream whose decoding times go back by more has been joined to another."""

FORWARD_SECONDS = 10.0
"""So has one that leaps ahead of everything by more (as FFmpeg's -dts_delta_threshold)."""


class StreamClock:
    """Times of packets without the jumps of joined transport streams.

    Where a stream's decoding times jump, the part behind the jump is moved so that it goes on where the part before ended.
    Every stream changes to the next part on its own: its packets come in order, but not at the same moment as the others'.
    Only formats that are known for such jumps are changed.
    """

    def __init__(self, container: InputContainer) -> None:
        self._jumps = may_jump(container)
        self._offsets = [Fraction(0)]
        self._latest = [0.0]  # raw end of each part, of all streams
        self._end = Fraction(0)
        self._part: dict[int, int] = {}
        self._last: dict[int, float] = {}
        self.joins = 0

    def place(self, packet: Packet[Stream]) -> bool:
        """Move `packet`'s times onto the common clock; returns whether its stream's next part begins with it."""
        ticks = packet.dts if packet.dts is not None else packet.pts
        if not self._jumps or ticks is None or not packet.time_base:
            return False
        index, raw = packet.stream.index, float(ticks * packet.time_base)
        part, joined = self._part.get(index, 0), False
        if packet.stream.type not in ("video", "audio"):  # too sparse to tell
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
    """Whether the format is one whose clock may jump: recordings of broadcasts, which are also joined by mere copying."""
    return bool(container.format.flags & Flags.ts_discont.value)  # type: ignore[operator]  # an int, whatever the stub says


def read_packets(container: InputContainer, timeline: StreamClock) -> Iterator[tuple[Packet[Stream], bool]]:
    """Every packet that holds something, of all streams in the order of the file, and whether a joined part begins with it.

    A file that cannot be read any further just ends: whoever needs to know compares lengths.
    """
    try:
        for packet in container.demux():
            if packet.size:
                yield packet, timeline.place(packet)
    except DAMAGE_ERRORS:
        return
