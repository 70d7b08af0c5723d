"""Switching between the machine's camera and that of a browser."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import ExitStack

from vidstyle.core.concurrency import Newest
from vidstyle.core.frames import Frame
from vidstyle.live.protocols import Camera
from vidstyle.web.camera import BrowserCamera

_POLL_SECONDS = 0.1
"""Interval at which the state of the browser's camera is checked."""


class SwitchedCamera:
    """A `Camera` that gives the frames of the browser's camera while that is active, otherwise those of the machine's `own`."""

    def __init__(self, browser: BrowserCamera, own: Camera) -> None:
        self._browser, self._own = browser, own
        self._closed = threading.Event()

    @property
    def trouble(self) -> str | None:
        """The trouble of the camera in use."""
        return None if self._browser.active else self._own.trouble

    def frames(self) -> Generator[Frame, None, None]:
        """See `Camera`."""
        with ExitStack() as stack:
            browser, own = (Newest(camera.frames(), "camera") for camera in (self._browser, self._own))
            stack.callback(lambda: browser.close(1.0))
            stack.callback(lambda: own.close(1.0))
            while not self._closed.is_set():
                frame = (browser if self._browser.active else own).take(_POLL_SECONDS)
                if frame is not None:
                    yield frame

    def close(self) -> None:
        self._closed.set()
        self._browser.close()
        self._own.close()
