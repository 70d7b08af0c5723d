"""The architecture in one short file: frames go from a `Source` through a `Stylizer` into a `Sink`.

`pipeline.run` joins the three. Live they go from a `Camera` through stylizers onto a `Screen`, and `live.run` joins those.
All are closed by whoever opened them; closing twice is harmless.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from vidstyle.core.frames import Frame, Pixels, VideoInfo


class Source(Protocol):
    """Gives frames in the order they are shown."""

    info: VideoInfo

    def frames(self) -> Iterator[Frame]:
        """All frames, once. Raises `InputError` if not a single one can be had."""

    def following(self, first: Frame, seconds: float) -> Generator[Pixels, None, None]:
        """The images of about `seconds` from `first` on, which `frames` gave; read ahead, apart from `frames`."""

    def warnings(self) -> list[str]:
        """What a person should know of this input and is no damage; a sentence each. Complete once `frames` has ended."""

    def damage(self) -> list[str]:
        """What was lost or mended while reading; a sentence each. Complete once `frames` has ended."""

    def close(self) -> None:
        """Let go of the file."""


class Stylizer(Protocol):
    """Stylizes images; each on its own, whatever was stylized before."""

    concurrency: int
    """How many threads may call `stylize` at once, to gain by it."""

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        """Images of one size (H, W, 3) uint8 RGB -> (N, H, W, 3) uint8 RGB."""

    def for_shot(self, images: Iterable[Pixels]) -> Stylizer:
        """A stylizer made for one shot, after a few of its images; itself where they make no difference."""

    def statistics(self) -> Mapping[str, np.ndarray]:
        """What `for_shot` learnt of the shot; empty where nothing is."""

    def with_statistics(self, statistics: Mapping[str, np.ndarray]) -> Stylizer:
        """A stylizer made for the shot that another one, of the same style, learnt `statistics` of."""

    def adapted(self, image: Pixels, share: float) -> Stylizer:
        """A stylizer whose idea of the scene has moved by `share` (0..1) towards `image`; itself where there is none."""

    def at(self, seconds: float) -> Stylizer:
        """What stylizes a frame that is shown `seconds` into the input; itself where the time makes no difference."""

    def describe(self) -> str:
        """Where it runs, in a few words."""


class PostProcessor(Protocol):
    """Sees every frame before and after painting, in order, and has the last word on it."""

    def finish(self, source: Pixels, stylized: Pixels, begins_shot: bool) -> Pixels:
        """What to show instead of `stylized`; all (H, W, 3) uint8 RGB."""


class StatefulPostProcessor(PostProcessor, Protocol):
    """A finisher to whom it matters what came before, and who can be told that by another one's memory."""

    def memory(self) -> Mapping[str, np.ndarray]:
        """What it knows after the last frame; empty before the first."""

    def recall(self, memory: Mapping[str, np.ndarray]) -> None:
        """Go on after the frame that `memory` was taken after."""


class Sink(Protocol):
    """Takes frames; nothing is visible under the final name before `publish`."""

    def write(self, frame: Frame) -> None:
        """Take the next frame; raises `OutputError` or `DiskError`."""

    def warnings(self) -> list[str]:
        """What the output lacks of the input, a sentence each."""

    def damage(self) -> list[str]:
        """What was lost of the input because it is damaged, a sentence each. Complete after `publish`."""

    def publish(self) -> None:
        """Finish, verify, and give the file its name; raises `OutputExistsError`, `OutputError` or `DiskError`."""

    def close(self) -> None:
        """Let go of everything; what was not published is removed."""
