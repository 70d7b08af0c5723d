"""Automatic inference resolution: as large as the machine manages at the camera's rate."""

from __future__ import annotations

import statistics

from vidstyle.live.state import HEIGHTS

FIRST_HEIGHT = 240
TARGET_LOAD = 0.65
"""Fraction of a frame's time that stylizing should take: the rest is for capture, display, and whatever else runs."""
MAX_LOAD, LOAD_TO_GROW = 0.85, 0.6
"""Above the first load a smaller height is chosen; a larger one only if it is predicted to stay below the second."""
WINDOW_SECONDS = 1.0
STEADY_WINDOWS = 4
"""Number of windows with load to spare before a larger height is tried; doubled each time that was too much."""
MAX_STEADY_WINDOWS = 64
_TRIAL_IMAGES = 6


class ResolutionControl:
    """Chooses the inference height, and changes it as rarely as possible, because the size of strokes changes with it.

    The time to stylize an image is about proportional to its pixels. `full` is the height of the camera's images.
    """

    def __init__(self, full: int, fps: float, fixed: int | None = None) -> None:
        self.fps = fps
        self._full = full
        self._times: list[float] = []
        self._spent = 0.0
        self._in_trial, self._steady_windows, self._windows_to_grow = True, 0, STEADY_WINDOWS
        self.automatic = fixed is None
        self.height = min(full, fixed or FIRST_HEIGHT)

    def fix(self, height: int | None) -> None:
        """Use this height; None: choose automatically."""
        if self.automatic != (height is None):
            self._steady_windows, self._windows_to_grow, self._times = 0, STEADY_WINDOWS, []
        self.automatic = height is None
        if height is not None:
            self.height = min(self._full, height)

    def add_time(self, seconds: float) -> None:
        """Record how long an image took at `height`, and choose a new height if necessary."""
        self._times.append(seconds)
        self._spent += max(seconds, 1 / self.fps)
        if not self.automatic:
            self._times, self._spent = [], 0.0
        elif self._in_trial:
            if len(self._times) == _TRIAL_IMAGES:
                # The first runs of a network include its initialization.
                self._in_trial, took = False, min(self._times)
                self._set_height(self._largest(took, TARGET_LOAD))
        elif self._spent >= WINDOW_SECONDS:
            self._adjust(statistics.median(self._times))

    def _adjust(self, took: float) -> None:
        if took * self.fps > MAX_LOAD:
            self._windows_to_grow = min(2 * self._windows_to_grow, MAX_STEADY_WINDOWS)
            self._set_height(min(self._largest(took, TARGET_LOAD), self._smaller()))
            return
        larger = min((h for h in self._heights() if h > self.height), default=self.height)
        can_grow = larger > self.height and self._predicted(took, larger) * self.fps < LOAD_TO_GROW
        self._steady_windows = self._steady_windows + 1 if can_grow else 0
        self._times, self._spent = [], 0.0
        if self._steady_windows >= self._windows_to_grow:
            self._set_height(larger)

    def _heights(self) -> list[int]:
        return [h for h in HEIGHTS if h < self._full] + [self._full]

    def _smaller(self) -> int:
        return max((h for h in self._heights() if h < self.height), default=self.height)

    def _predicted(self, took: float, height: int) -> float:
        return took * (height / self.height) ** 2

    def _largest(self, took: float, load: float) -> int:
        heights = self._heights()
        return max((h for h in heights if self._predicted(took, h) * self.fps <= load), default=heights[0])

    def _set_height(self, height: int) -> None:
        self.height, self._times, self._spent, self._steady_windows = height, [], 0.0, 0
