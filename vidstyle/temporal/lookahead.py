"""The frames behind one, of frames that come only once: for the statistics of a shot that has just begun."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator

from vidstyle.core.frames import Frame, Pixels

MOST_FRAMES = 48
MOST_BYTES = 256 << 20
"""So far is read ahead, and no further; a single frame is always."""


class LookAhead:
    """Passes `frames` on, and knows what comes behind those that it gave last.

    `following` finds a frame while no more than `behind` others were given after it. It may be called by another thread than
    the one that runs `frames`, which alone reads on.
    """

    def __init__(self, frames: Generator[Frame, None, None], behind: int) -> None:
        self._frames, self._behind = frames, behind
        self._lock = threading.Lock()
        self._window: deque[Frame] = deque()

    def frames(self) -> Generator[Frame, None, None]:
        """All frames, once, each when those ahead of it were read. Closes them however it ends."""
        waiting = deque[Frame]()
        try:
            for frame in self._frames:
                ahead = max(1, min(MOST_FRAMES, MOST_BYTES // frame.pixels.nbytes))
                with self._lock:
                    self._window.append(frame)
                    while len(self._window) > self._behind + ahead + 1:
                        self._window.popleft()
                waiting.append(frame)
                while len(waiting) > ahead:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            self._frames.close()

    def following(self, first: Frame) -> list[Pixels]:
        """The images from `first` on, as far as they were read; `first` alone where it is too long ago."""
        with self._lock:
            known = list(self._window)
        begin = next((i for i, frame in enumerate(known) if frame is first), None)
        return [first.pixels] if begin is None else [frame.pixels for frame in known[begin:]]
