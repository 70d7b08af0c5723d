"""Metrics of the live view: rate, latency, gaps; in constant memory, however long it runs."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import numpy as np

RECENT = 60
"""Number of images that the displayed rate and latency are computed over."""
_MAX_MILLISECONDS = 5000


@dataclass(frozen=True, slots=True)
class Measurements:
    """Measurements over a period of time."""

    captured: int
    """Images read from the camera."""
    shown: int
    missed: int
    """Images skipped for a newer one."""
    seconds: float
    """Length of the period."""
    latency_median: float
    """Seconds from capture to display, as is `latency_p99`; nan if nothing was shown."""
    latency_p99: float
    longest_gap: float
    """Longest time between two images on the screen, seconds."""

    @property
    def fps(self) -> float:
        return self.shown / self.seconds if self.seconds > 0 else 0.0


class LiveMetrics:
    """Measures rate and latency of the images on the screen."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)
        self._histogram = np.zeros(_MAX_MILLISECONDS + 1, np.int64)
        self._before: float | None = None
        self._gap = 0.0
        self._began = time.monotonic()
        self._captured = self._number = self._missed = 0

    def shown(self, captured_at: float, number: int) -> None:
        """Record that image `number` of the camera, captured at `captured_at` (`time.monotonic`), is on the screen."""
        self._missed += max(0, number - self._number - 1) if self._number else 0
        self._number = number
        now = time.monotonic()
        latency = now - captured_at
        self._recent.append((now, latency))
        self._histogram[min(_MAX_MILLISECONDS, max(0, round(latency * 1000)))] += 1
        if self._before is not None:
            self._gap = max(self._gap, now - self._before)
        self._before = now

    def fps(self) -> float:
        """Images per second over the last `RECENT` images; 0 when they have stopped."""
        if len(self._recent) < 2:
            return 0.0
        return (len(self._recent) - 1) / max(time.monotonic() - self._recent[0][0], 1e-6)

    def latency(self) -> float:
        """Median latency of the last `RECENT` images, seconds; nan before the first."""
        return float(np.median([latency for _, latency in self._recent])) if self._recent else float("nan")

    def collect(self, captured: int) -> Measurements:
        """Measurements since the last call; `captured` is the number of images read from the camera in total."""
        now, counts = time.monotonic(), self._histogram
        measurements = Measurements(
            captured - self._captured,
            int(counts.sum()),
            self._missed,
            now - self._began,
            _percentile(counts, 0.5),
            _percentile(counts, 0.99),
            self._gap,
        )
        self._histogram, self._gap, self._missed = np.zeros_like(counts), 0.0, 0
        self._began, self._captured = now, captured
        return measurements


def _percentile(milliseconds: np.ndarray, fraction: float) -> float:
    total = milliseconds.cumsum()
    return float(np.searchsorted(total, fraction * total[-1])) / 1000 if total[-1] else float("nan")
