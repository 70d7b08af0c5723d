"""How a long video is divided, so that its parts can be stylized apart and nobody sees where.

What the net and the stabiliser do with a frame depends on the frames before it: on where its shot began, and what was stylized
just before. So the video is first looked through, in stretches, for its cuts; then it is divided at keyframes, at cuts where
there are some, and each chunk is told what it has to know of the frames before it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

from vidstyle.core.frames import VideoInfo
from vidstyle.sources.video import Window
from vidstyle.temporal.shots import Cuts

OVERLAP = 8
"""So many frames of the next stretch are looked at too: they must be the same however they are come to."""

LEAD = 24
"""So many frames before a chunk are stylized and thrown away where the stabiliser has to remember them."""


@dataclass(frozen=True)
class Survey:
    """What is known of a video without decoding it all. `keyframes`: the timestamps of its first frame and of the keyframes behind
    it, where it may be divided at all, and `last` that of its last frame; the rest as `VideoSource` has it."""

    info: VideoInfo
    shift_seconds: Fraction
    keyframes: list[int] = field(default_factory=list)
    last: int = 0


@dataclass(frozen=True)
class Stretch:
    """What looking through a part of a video gave. `marks` tell images apart. `differences`: of each frame, from the second
    on, to the one before; the last belongs to the first frame beyond the stretch, if there is one."""

    times: list[int]
    marks: list[int]
    differences: list[float]
    beyond: list[tuple[int, int]]
    """Time and mark of the first frames behind the end."""
    is_plain: bool
    """See `VideoSource.is_plain`."""


@dataclass(frozen=True)
class Chunk:
    """A part of a video that is stylized by one worker. Times are timestamps of its frames."""

    number: int
    window: Window
    """What is read: `lead` and the chunk's own frames."""
    lead: int
    """So many frames at the beginning are stylized for the stabiliser's memory only."""
    times: list[int]
    marks: list[int]
    shots: list[int]
    """The frames with which a shot begins."""
    under_way: int | None
    """The first frame of the shot to which the first frame belongs, where that began before."""

    def stored(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def restored(cls, stored: dict[str, Any]) -> Chunk:
        """From what `stored` gave; raises KeyError or TypeError for something else."""
        return cls(**{**stored, "window": Window(**stored["window"])})


def boundaries(keyframes: Sequence[int], ticks: int, last: int, preferred: Container[int] = ()) -> list[int]:
    """Keyframes about `ticks` apart, from the first one (which is none of them) to `last`, the video's end.

    A third more or less is allowed for one that is `preferred`, or nearer. The last part is no shorter than half of the others.
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


def windows(bounds: Sequence[int]) -> list[Window]:
    """The parts between `bounds`, of a whole video."""
    edges: list[int | None] = [None, *bounds, None]
    return [Window(a, b) for a, b in pairwise(edges)]


def fit_together(stretches: Sequence[Stretch]) -> bool:
    """Whether the frames of the video are the same read in stretches as read in one go: what each saw of the next, coming from
    before, is what the next saw itself, beginning there."""
    if not all(s.is_plain and s.times for s in stretches):
        return False
    for this, following in pairwise(stretches):
        seen = list(zip(following.times, following.marks, strict=True))[: len(this.beyond)]
        if not this.beyond or seen != this.beyond[: len(seen)]:
            return False
    times = [t for s in stretches for t in s.times]
    return all(a < b for a, b in pairwise(times))


def divide(stretches: Sequence[Stretch], survey: Survey, ticks: int, lead: int) -> list[Chunk]:
    """The chunks of a video whose `stretches` fit together, about `ticks` long; `lead` frames before each are stylized too."""
    times = [t for s in stretches for t in s.times]
    marks = [m for s in stretches for m in s.marks]
    cuts = Cuts()
    differences = [d for s in stretches for d in s.differences][: len(times) - 1]
    shots = [0, *(i for i, d in enumerate(differences, 1) if cuts.is_cut(d))]
    index = {t: i for i, t in enumerate(times)}
    keyframes = [k for k in survey.keyframes if k in index]
    bounds = boundaries(keyframes, ticks, times[-1], {times[i] for i in shots})
    firsts = [0, *(index[b] for b in bounds), len(times)]
    return list(_chunks(times, marks, shots, firsts, lead))


def _chunks(times: list[int], marks: list[int], shots: list[int], firsts: list[int], lead: int) -> Iterator[Chunk]:
    for number, (first, end) in enumerate(pairwise(firsts)):
        began = shots[bisect_right(shots, first) - 1]  # the shot of the first frame
        begin = max(began, first - lead)
        yield Chunk(
            number,
            Window(times[begin] if number else None, times[end] if end < len(times) else None),
            first - begin,
            times[begin:end],
            marks[begin:end],
            [times[i] for i in shots[bisect_left(shots, begin) : bisect_left(shots, end)]],
            times[began] if began < begin else None,
        )
