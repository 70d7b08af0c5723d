"""What the live loop needs: a `Camera` that gives frames and a `Screen` that shows them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from vidstyle.core.frames import Frame, Pixels
from vidstyle.live.state import Controls, Event, Status


class Camera(Protocol):
    """Gives frames as they happen, for as long as they are wanted; `pts * time_base` is when on `time.monotonic`'s clock."""

    @property
    def trouble(self) -> str | None:
        """What is the matter while no frames come, a sentence; None while all is well. Any thread may read it."""

    def frames(self) -> Generator[Frame, None, None]:
        """Frames, newest last; ends after `close`. Mends what can be mended, for ever. Raises `InputError` for the rest."""

    def close(self) -> None:
        """End `frames` soon, whichever thread runs it."""


class Screen(Protocol):
    """Shows images as they come, and tells what the person does meanwhile."""

    def show(self, image: Pixels, status: Status, controls: Controls) -> None:
        """Show `image`, RGB uint8 (H, W, 3), and what is worth telling beside it. Does not wait for anybody."""

    def events(self) -> list[Event]:
        """What the person did since the last call, in order; does not wait. Called about a hundred times a second."""

    def close(self) -> None:
        """Let go of window or port."""
