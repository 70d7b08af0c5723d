"""Capture: the newest frame of a camera, its measured rate, and a restart where the camera hangs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator

from vidstyle.core.concurrency import Newest
from vidstyle.core.frames import Frame
from vidstyle.live.protocols import Camera

SILENT_SECONDS = 1.5
"""Without a frame for this long, the screen shows a message."""
HUNG_SECONDS = 10.0
"""A camera that gives neither frames nor a reason for this long hangs in its driver: it is read again in a new thread."""
ASSUMED_RATE = 30.0
RATE_FRAMES = 30
"""The rate is measured over this many frames."""


class Capture:
    """Reads a camera in a background thread, and in a new one if that thread hangs."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._times: deque[float] = deque(maxlen=RATE_FRAMES)
        self._alive = time.monotonic()
        self.count = 0
        """Number of frames read from the camera, whether they were taken or not."""
        self._frames = Newest(self._counted(), "camera")

    def _counted(self) -> Generator[tuple[int, Frame], None, None]:
        for frame in self._camera.frames():
            self.count += 1
            self._times.append(float(frame.pts * frame.time_base))
            yield self.count, frame

    def take(self, timeout: float) -> tuple[int, Frame] | None:
        """The newest frame that was not taken yet, and its number, from 1; None if no frame came within `timeout` seconds.

        Raises `InputError`.
        """
        newest = self._frames.take(timeout)
        now = time.monotonic()
        if newest is not None or self._camera.trouble is not None:
            self._alive = now
        elif now - self._alive > HUNG_SECONDS:
            self._frames.close(timeout=0)
            self._frames = Newest(self._counted(), "camera")
            self._alive = now
        return newest

    @property
    def rate(self) -> float:
        """Measured frames per second, whatever the camera claims; `ASSUMED_RATE` until it is known."""
        return self.measured_rate or ASSUMED_RATE

    @property
    def measured_rate(self) -> float | None:
        """Frames per second over the last `RATE_FRAMES` frames; None until there are enough."""
        times = [*self._times]
        if len(times) < RATE_FRAMES or times[-1] <= times[0]:
            return None
        return (len(times) - 1) / (times[-1] - times[0])

    @property
    def trouble(self) -> str | None:
        """Why there is no image, as a sentence; None while frames come."""
        if self._camera.trouble is not None:
            return self._camera.trouble
        silence = time.monotonic() - (self._times[-1] if self._times else self._alive)
        if silence < SILENT_SECONDS:
            return None
        return f"no image from the camera for {silence:.0f} s" if self._times else "waiting for the camera"

    def close(self) -> None:
        """Release the camera; a thread that hangs in its driver is abandoned."""
        self._camera.close()
        self._frames.close(timeout=1.0)
