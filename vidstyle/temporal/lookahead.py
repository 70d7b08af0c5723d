"""Read-ahead in a stream of frames, for the statistics of a shot that has just begun."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator

from vidstyle.core.frames import Frame, Pixels

MAX_FRAMES = 48
MAX_BYTES = 256 << 20
"""Maximum number of frames and bytes that are read ahead; one frame is read ahead even if it is larger."""


class LookAhead:
    """Yields `frames`, and gives access to those that follow recent ones.

    `following` finds a frame until more than `history` others have been yielded after it. It may be called in another thread
    than the one that iterates over `frames`; it never reads frames itself.
    """

    def __init__(self, frames: Generator[Frame, None, None], history: int) -> None:
        self._frames, self._history = frames, history
        self._lock = threading.Lock()
        self._window: deque[Frame] = deque()

    def frames(self) -> Generator[Frame, None, None]:
        """All frames, once, each after those ahead of it have been read. Always closes `frames` at the end."""
        waiting = deque[Frame]()
        try:
            for frame in self._frames:
                ahead = max(1, min(MAX_FRAMES, MAX_BYTES // frame.pixels.nbytes))
                with self._lock:
                    self._window.append(frame)
                    while len(self._window) > self._history + ahead + 1:
                        self._window.popleft()
                waiting.append(frame)
                while len(waiting) > ahead:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            self._frames.close()

    def following(self, first: Frame) -> list[Pixels]:
        """The images that have been read, from `first` on; only `first` if it was yielded too long ago."""
        with self._lock:
            known = list(self._window)
        begin = next((i for i, frame in enumerate(known) if frame is first), None)
        return [first.pixels] if begin is None else [frame.pixels for frame in known[begin:]]
