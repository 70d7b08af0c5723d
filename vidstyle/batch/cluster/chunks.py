"""Divides a long video into chunks that can be stylized independently without a visible seam.

What the network and the stabiliser do with a frame depends on the frames before it: on where its shot begins, and on what was
stylized just before. So the video is first scanned for cuts, in several ranges; then it is divided at keyframes, at cuts where
possible, and each chunk carries what has to be known of the frames before it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

from vidstyle.core.frames import VideoInfo
from vidstyle.sources.video import FrameWindow
from vidstyle.temporal.shots import CutThreshold

OVERLAP_FRAMES = 8
"""Each scan also reads this many frames of the next range: they must be the same, wherever decoding began."""

WARM_UP_FRAMES = 24
"""This many frames before a chunk are stylized and discarded where the stabiliser needs them."""

_MANIFEST_NAMES = {"warm_up": "lead", "checksums": "marks", "shot_starts": "shots", "earlier_shot_start": "under_way"}
"""How fields of `Chunk` are called in manifests; runs of earlier versions are resumed too."""


@dataclass(frozen=True)
class Survey:
    """What is known of a video without decoding all of it; the other fields are as in `VideoSource`."""

    info: VideoInfo
    shift_seconds: Fraction
    keyframes: list[int] = field(default_factory=list)
    """Timestamps of the first frame and of all later keyframes, which is where the video may be divided."""
    last: int = 0
    """Timestamp of the last frame."""


@dataclass(frozen=True)
class ScanResult:
    """The frames of one range of a video, not stylized."""

    times: list[int]
    checksums: list[int]
    """One for each frame, to recognize it."""
    differences: list[float]
    """Of each frame, from the second on, to the one before; the last is that of the first frame after the range, if any."""
    following: list[tuple[int, int]]
    """Times and checksums of the first frames after the range."""
    is_plain: bool
    """See `VideoSource.is_plain`."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a video that one worker stylizes. Times are timestamps of its frames."""

    number: int
    window: FrameWindow
    """What is read: the warm-up frames and the chunk's own frames."""
    warm_up: int
    """How many frames at the beginning are stylized only to fill the stabiliser's memory."""
    times: list[int]
    checksums: list[int]
    shot_starts: list[int]
    """The frames with which a shot begins."""
    earlier_shot_start: int | None
    """The first frame of the shot that the first frame belongs to, where that shot begins before the window."""

    def to_json(self) -> dict[str, Any]:
        """The chunk as it is written into a manifest."""
        return {_MANIFEST_NAMES.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Chunk:
        """The chunk that `to_json` described; raises KeyError or TypeError for anything else."""
        names = {stored_name: name for name, stored_name in _MANIFEST_NAMES.items()}
        values = {names.get(name, name): value for name, value in stored.items()}
        return cls(**{**values, "window": FrameWindow(**stored["window"])})


def chunk_boundaries(keyframes: Sequence[int], ticks: int, last: int, preferred: Container[int] = ()) -> list[int]:
    """Keyframes about `ticks` apart, from the first one (which is not returned) to `last`, the end of the video.

    Up to a third more or less is accepted if the keyframe is in `preferred`; otherwise the nearest one is taken. The last chunk
    is at least half as long as the others.
    """
    found: list[int] = []
    begin = keyframes[0] if keyframes else last
    while last - begin > ticks * 3 // 2:
        low, high = begin + max(1, ticks * 2 // 3), min(begin + ticks * 4 // 3, last - ticks // 2)
        near = keyframes[bisect_left(keyframes, low) : bisect_right(keyframes, high)]
        if not near:
            near = [k for k in keyframes[bisect_right(keyframes, high) :][:1] if last - k >= ticks // 2]
        if not near:
            break
        target = begin + ticks
        begin = min(near, key=lambda k: (k not in preferred, abs(k - target)))
        found.append(begin)
    return found


def windows_between(boundaries: Sequence[int]) -> list[FrameWindow]:
    """The ranges between `boundaries`, which together are the whole video."""
    edges: list[int | None] = [None, *boundaries, None]
    return [FrameWindow(a, b) for a, b in pairwise(edges)]


def scans_agree(scans: Sequence[ScanResult]) -> bool:
    """Whether the video has the same frames when it is read in ranges and when it is read in one go: the frames that each scan
    read of the next range are those that the next scan, which began there, read itself."""
    if not all(scan.is_plain and scan.times for scan in scans):
        return False
    for scan, next_scan in pairwise(scans):
        found = list(zip(next_scan.times, next_scan.checksums, strict=True))[: len(scan.following)]
        if not scan.following or found != scan.following[: len(found)]:
            return False
    times = [time for scan in scans for time in scan.times]
    return all(a < b for a, b in pairwise(times))


def divide(scans: Sequence[ScanResult], survey: Survey, ticks: int, warm_up: int) -> list[Chunk]:
    """The chunks, each about `ticks` long, of a video whose `scans` agree; each has up to `warm_up` frames before it."""
    times = [time for scan in scans for time in scan.times]
    checksums = [checksum for scan in scans for checksum in scan.checksums]
    threshold = CutThreshold()
    differences = [difference for scan in scans for difference in scan.differences][: len(times) - 1]
    shots = [0, *(i for i, difference in enumerate(differences, 1) if threshold.is_cut(difference))]
    index = {time: i for i, time in enumerate(times)}
    keyframes = [k for k in survey.keyframes if k in index]
    boundaries = chunk_boundaries(keyframes, ticks, times[-1], {times[i] for i in shots})
    firsts = [0, *(index[boundary] for boundary in boundaries), len(times)]
    return list(_chunks(times, checksums, shots, firsts, warm_up))


def _chunks(times: list[int], checksums: list[int], shots: list[int], firsts: list[int], max_warm_up: int) -> Iterator[Chunk]:
    """`shots` and `firsts` are indices of the frames with which shots and chunks begin."""
    for number, (first, end) in enumerate(pairwise(firsts)):
        shot_start = shots[bisect_right(shots, first) - 1]
        begin = max(shot_start, first - max_warm_up)
        yield Chunk(
            number,
            FrameWindow(times[begin] if number else None, times[end] if end < len(times) else None),
            first - begin,
            times[begin:end],
            checksums[begin:end],
            [times[i] for i in shots[bisect_left(shots, begin) : bisect_left(shots, end)]],
            times[shot_start] if shot_start < begin else None,
        )
