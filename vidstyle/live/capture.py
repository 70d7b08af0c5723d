"""The newest frame of a camera, its real rate, and what to do about one that hangs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator

from vidstyle.core.concurrency import Newest
from vidstyle.core.frames import Frame
from vidstyle.live.protocols import Camera

SILENT_SECONDS = 1.5
"""Without a frame for this long, the person is told."""
HUNG_SECONDS = 10.0
"""A camera that neither gives frames nor says why for this long hangs in its driver: a new attempt is made beside it."""
ASSUMED_RATE = 30.0
RATE_OVER = 30
"""Frames that the rate is measured over."""


class Feed:
    """Runs a camera in a thread of its own, and again in a new one where that hangs."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._times: deque[float] = deque(maxlen=RATE_OVER)
        self._alive = time.monotonic()
        self.count = 0
        """How many frames the camera has given, taken or not."""
        self._frames = Newest(self._counted(), "camera")

    def _counted(self) -> Generator[tuple[int, Frame], None, None]:
        for frame in self._camera.frames():
            self.count += 1
            self._times.append(float(frame.pts * frame.time_base))
            yield self.count, frame

    def take(self, timeout: float) -> tuple[int, Frame] | None:
        """The newest frame that was not taken yet, and its number from 1 on; None if none came within `timeout` seconds.

        Raises `InputError`.
        """
        newest = self._frames.take(timeout)
        now = time.monotonic()
        if newest is not None or self._camera.trouble is not None:
            self._alive = now
        elif now - self._alive > HUNG_SECONDS:
            self._frames.close(patience=0)
            self._frames = Newest(self._counted(), "camera")
            self._alive = now
        return newest

    @property
    def rate(self) -> float:
        """Frames a second as measured, whatever the camera claims; `ASSUMED_RATE` until that is known."""
        return self.measured_rate or ASSUMED_RATE

    @property
    def measured_rate(self) -> float | None:
        """Frames a second, over the last ones; None until there are enough."""
        times = [*self._times]
        if len(times) < RATE_OVER or times[-1] <= times[0]:
            return None
        return (len(times) - 1) / (times[-1] - times[0])

    @property
    def trouble(self) -> str | None:
        """Why there is no image, a sentence; None while all is well."""
        if self._camera.trouble is not None:
            return self._camera.trouble
        silence = time.monotonic() - (self._times[-1] if self._times else self._alive)
        if silence < SILENT_SECONDS:
            return None
        return f"no image from the camera for {silence:.0f} s" if self._times else "waiting for the camera"

    def close(self) -> None:
        """Let go of the camera; one that hangs is left behind."""
        self._camera.close()
        self._frames.close(patience=1.0)
