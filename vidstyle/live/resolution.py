"""How large the net may work so that the machine holds the rate."""

from __future__ import annotations

import statistics

from vidstyle.live.state import HEIGHTS

FIRST_HEIGHT = 240
AIM = 0.65
"""Part of a frame's time that painting should take: the rest is for capture, display, and whatever else runs."""
TOO_MUCH, ROOM = 0.85, 0.6
"""Above the one a smaller size is taken, and a larger one while that is foreseen to stay below the other."""
WINDOW_SECONDS = 1.0
STEADY_WINDOWS = 4
"""So many windows with room before a larger size is tried; twice as many after each time it was too much, up to..."""
MAX_STEADY_WINDOWS = 64
_TRIAL_IMAGES = 6


class Pace:
    """The inference height, changed as seldom as can be: strokes change their size with it.

    Painting takes about time per pixel, which is measured while painting. `full` is the images' own height.
    """

    def __init__(self, full: int, fps: float, fixed: int | None = None) -> None:
        self.fps = fps
        self._full = full
        self._times: list[float] = []
        self._spent = 0.0
        self._trial, self._calm, self._patience = True, 0, STEADY_WINDOWS
        self.automatic = fixed is None
        self.height = min(full, fixed or FIRST_HEIGHT)

    def fix(self, height: int | None) -> None:
        """Hold this height; None: choose again."""
        if self.automatic != (height is None):
            self._calm, self._patience, self._times = 0, STEADY_WINDOWS, []
        self.automatic = height is None
        if height is not None:
            self.height = min(self._full, height)

    def stylized(self, seconds: float) -> None:
        """Note how long an image took at `height`, and choose anew where that says so."""
        self._times.append(seconds)
        self._spent += max(seconds, 1 / self.fps)
        if not self.automatic:
            self._times, self._spent = [], 0.0
        elif self._trial:
            if len(self._times) == _TRIAL_IMAGES:
                # The first images come with the net's own preparations.
                self._trial, took = False, min(self._times)
                self._change(self._largest(took, AIM))
        elif self._spent >= WINDOW_SECONDS:
            self._reconsider(statistics.median(self._times))

    def _reconsider(self, took: float) -> None:
        if took * self.fps > TOO_MUCH:
            self._patience = min(2 * self._patience, MAX_STEADY_WINDOWS)
            self._change(min(self._largest(took, AIM), self._smaller()))
            return
        larger = min((h for h in self._heights() if h > self.height), default=self.height)
        self._calm = self._calm + 1 if larger > self.height and self._foreseen(took, larger) * self.fps < ROOM else 0
        self._times, self._spent = [], 0.0
        if self._calm >= self._patience:
            self._change(larger)

    def _heights(self) -> list[int]:
        return [h for h in HEIGHTS if h < self._full] + [self._full]

    def _smaller(self) -> int:
        return max((h for h in self._heights() if h < self.height), default=self.height)

    def _foreseen(self, took: float, height: int) -> float:
        return took * (height / self.height) ** 2

    def _largest(self, took: float, part: float) -> int:
        heights = self._heights()
        return max((h for h in heights if self._foreseen(took, h) * self.fps <= part), default=heights[0])

    def _change(self, height: int) -> None:
        self.height, self._times, self._spent, self._calm = height, [], 0.0, 0
