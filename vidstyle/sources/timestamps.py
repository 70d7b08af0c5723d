"""Timestamps that rise from frame to frame, whatever the file says."""

from __future__ import annotations

from fractions import Fraction

from vidstyle.sources.decoding import DecodedFrame


class TimestampRepair:
    """Gives each frame of a video a timestamp later than the one before, and counts what it had to change.

    `time_base`: seconds per tick; `frame_rate`: the video's, by its header.
    """

    def __init__(self, time_base: Fraction, frame_rate: Fraction | None) -> None:
        self._default_step = round(1 / (frame_rate or Fraction(25)) / time_base)
        self._millisecond = max(1, round(Fraction(1, 1000) / time_base))
        self._last: int | None = None
        self.untimed = self.moved = self.mistimed = self.dropped = 0
        """Frames without a timestamp, frames with that of the one before, frames with a wrong one, frames to leave out."""

    @property
    def is_unused(self) -> bool:
        """Whether all timestamps were right so far."""
        return not (self.untimed or self.moved or self.mistimed or self.dropped)

    def timestamp(self, decoded: DecodedFrame, coming: DecodedFrame | None) -> int | None:
        """The timestamp of `decoded`, which `coming` follows; None if it comes well before the last one and is to be left out."""
        pts = self._repaired(decoded, coming, self._last)
        self._last = self._last if pts is None else pts
        return pts

    def _repaired(self, decoded: DecodedFrame, coming: DecodedFrame | None, last: int | None) -> int | None:
        step = max(1, decoded.duration or self._default_step)
        if decoded.pts is None:
            self.untimed += 1
            return 0 if last is None else last + step
        before = last if last is not None else -(2**62)
        if coming is not None and coming.pts is not None and before + 1 < coming.pts < decoded.pts - 2 * step:
            self.mistimed += 1  # only this one: the frames before and after it agree
            return min(before + step, coming.pts - 1) if last is not None else coming.pts - step
        if last is None or decoded.pts > last:
            return decoded.pts
        if last - decoded.pts <= 2 * step:  # two recordings overlap a little where they were joined
            self.moved += 1
            return last + self._millisecond
        self.dropped += 1
        return None
