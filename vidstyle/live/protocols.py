"""Protocols of the live view: a `Camera` captures frames and a `Screen` shows them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from vidstyle.core.frames import Frame, Pixels
from vidstyle.live.state import Event, LiveState, Status


class Camera(Protocol):
    """Captures frames until it is closed. `pts * time_base` is the time of capture by `time.monotonic`."""

    @property
    def trouble(self) -> str | None:
        """The reason why there are no new frames, as a sentence; None while frames arrive. Thread-safe."""

    def frames(self) -> Generator[Frame, None, None]:
        """Frames in order of capture, until `close`. Reconnects until it succeeds. Raises `InputError`."""

    def close(self) -> None:
        """Make `frames` end soon, also if it runs in another thread."""


class Screen(Protocol):
    """Shows images and collects the user's input."""

    def show(self, image: Pixels, status: Status, state: LiveState) -> None:
        """Show `image`, RGB uint8 (H, W, 3), with `status`. Never blocks."""

    def events(self) -> list[Event]:
        """The user's input since the last call, in order. Never blocks; called about a hundred times a second."""

    def close(self) -> None:
        """Close the window or the port."""
