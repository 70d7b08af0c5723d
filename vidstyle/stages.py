"""The architecture in one short file: frames go from a `Source` through a `Stylizer` into a `Sink`.

`pipeline.run` joins the three. All are closed by whoever opened them; closing twice is harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from vidstyle.frames import Frame, Pixels, VideoInfo


class Source(Protocol):
    """Gives frames in the order they are shown."""

    info: VideoInfo

    def frames(self) -> Iterator[Frame]:
        """All frames, once. Raises `InputError` if not a single one can be had."""

    def warnings(self) -> list[str]:
        """What a person should know of this input and is no damage; a sentence each. Complete once `frames` has ended."""

    def damage(self) -> list[str]:
        """What was lost or mended while reading; a sentence each. Complete once `frames` has ended."""

    def close(self) -> None:
        """Let go of the file."""


class Stylizer(Protocol):
    """Paints pictures; holds no state between calls."""

    lanes: int
    """How many threads may call `stylize` at once, to gain by it."""

    def stylize(self, pictures: Sequence[Pixels]) -> Pixels:
        """Pictures of one size (H, W, 3) uint8 RGB -> (N, H, W, 3) uint8 RGB."""

    def describe(self) -> str:
        """Where it runs, in a few words."""


class Sink(Protocol):
    """Takes frames; nothing is visible under the final name before `publish`."""

    def write(self, frame: Frame) -> None:
        """Take the next frame; raises `OutputError` or `DiskError`."""

    def warnings(self) -> list[str]:
        """What the output lacks of the input, a sentence each."""

    def publish(self) -> None:
        """Finish, verify, and give the file its name; raises `OutputExistsError`, `OutputError` or `DiskError`."""

    def close(self) -> None:
        """Let go of everything; what was not published is removed."""
