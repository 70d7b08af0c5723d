"""The machine's own camera, until somebody on the page turns theirs on."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import ExitStack

from vidstyle.core.concurrency import Newest
from vidstyle.core.frames import Frame
from vidstyle.live.protocols import Camera
from vidstyle.web.camera import BrowserCamera

_LOOK_SECONDS = 0.1
"""How soon it is noticed that a browser's camera came or went."""


class SwitchedCamera:
    """A `Camera` that gives the frames of `theirs` while it is active and those of `own` otherwise."""

    def __init__(self, theirs: BrowserCamera, own: Camera) -> None:
        self._theirs, self._own = theirs, own
        self._closed = threading.Event()

    @property
    def trouble(self) -> str | None:
        """That of the camera in use."""
        return None if self._theirs.active else self._own.trouble

    def frames(self) -> Generator[Frame, None, None]:
        """See `vidstyle.core.protocols.Camera`."""
        with ExitStack() as stack:
            theirs, own = (Newest(camera.frames(), "camera") for camera in (self._theirs, self._own))
            stack.callback(lambda: theirs.close(1.0))
            stack.callback(lambda: own.close(1.0))
            while not self._closed.is_set():
                frame = (theirs if self._theirs.active else own).take(_LOOK_SECONDS)
                if frame is not None:
                    yield frame

    def close(self) -> None:
        self._closed.set()
        self._theirs.close()
        self._own.close()
