"""The architecture in one short file: frames go from a `Source` through a `Stylizer` into a `Sink`.

`conversion.pipeline.run` joins the three. Whoever opens one of them closes it; closing twice is harmless.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

from vidstyle.core.frames import Frame, Pixels, VideoInfo

ENGINE_NAMES = {"onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT"}
"""How engines are called in messages, where not by the name of their package."""


class Source(Protocol):
    """Reads frames in display order."""

    info: VideoInfo

    @property
    def shift_seconds(self) -> Fraction:
        """How much earlier the frames' timestamps are than those in the file, in seconds."""

    def frames(self) -> Iterator[Frame]:
        """All frames, once. Raises `InputError` if not a single one can be decoded."""

    def following(self, first: Frame, seconds: float) -> Generator[Pixels, None, None]:
        """The images of about `seconds` from `first` on, a frame that `frames` yielded; read independently of `frames`."""

    def warnings(self) -> list[str]:
        """What users should know about this input and is no damage; a sentence each. Complete once `frames` has ended."""

    def damage(self) -> list[str]:
        """What was lost or repaired while reading; a sentence each. Complete once `frames` has ended."""

    def close(self) -> None:
        """Release the file."""


@dataclass(frozen=True)
class Engine:
    """What runs a network, and where."""

    name: str
    """`onnxruntime`, `tensorrt`, `torch`, or another; two joined by ` or ` until the faster one is known."""
    device: str = "cpu"
    """`cpu`, or `cuda:N` for a GPU."""
    precision: str = "float32"
    """The type of most of the arithmetic: `float32`, `float16` or `bfloat16`."""

    def __str__(self) -> str:
        names = " or ".join(ENGINE_NAMES.get(name, name) for name in self.name.split(" or "))
        return f"{names} on {'CPU' if self.device == 'cpu' else self.device} ({self.precision})"


class Stylizer(ABC):
    """Stylizes images, each independently of those before it. The defaults fit a stylizer that treats all shots alike."""

    concurrency: int = 1
    """How many threads should call `stylize` at once for the highest throughput."""

    @property
    def engine(self) -> Engine:
        """What the network runs on. Device and precision never change during the stylizer's life."""
        return Engine("custom")

    @abstractmethod
    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        """Images of one size (H, W, 3) uint8 RGB -> (N, H, W, 3) uint8 RGB."""

    def for_shot(self, images: Iterable[Pixels]) -> Stylizer:
        """A stylizer with statistics measured on a few images of one shot; itself where they make no difference."""
        return self

    def statistics(self) -> Mapping[str, np.ndarray]:
        """What `for_shot` measured; empty where it measures nothing."""
        return {}

    def with_statistics(self, statistics: Mapping[str, np.ndarray]) -> Stylizer:
        """A stylizer with the `statistics` that another one of the same style measured."""
        return self

    def adapted(self, image: Pixels, weight: float) -> Stylizer:
        """A stylizer whose statistics have moved by `weight` (0..1) towards those of `image`; itself where it has none."""
        return self

    def at(self, seconds: float) -> Stylizer:
        """The stylizer of a frame shown `seconds` into the input; itself where the time makes no difference."""
        return self

    def describe(self) -> str:
        """Engine and device in a few words, for messages."""
        return str(self.engine)


class PostProcessor(Protocol):
    """Sees every frame before and after it is stylized, in order, and may change the result."""

    def process(self, source: Pixels, stylized: Pixels, begins_shot: bool) -> Pixels:
        """What to show instead of `stylized`; all (H, W, 3) uint8 RGB."""


class StatefulPostProcessor(PostProcessor, Protocol):
    """A post-processor whose results depend on earlier frames; its state can be saved and restored."""

    def state(self) -> Mapping[str, np.ndarray]:
        """The state after the last frame; empty before the first."""

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue after the frame after which `state` was saved."""


class Sink(Protocol):
    """Writes frames; nothing is visible under the final name before `publish`."""

    def write(self, frame: Frame) -> None:
        """Write the next frame; raises `OutputError` or `DiskError`."""

    def warnings(self) -> list[str]:
        """What the output lacks of the input, a sentence each."""

    def damage(self) -> list[str]:
        """What was lost because the input is damaged, a sentence each. Complete after `publish`."""

    def publish(self) -> None:
        """Finish, verify, and give the file its name; raises `OutputExistsError`, `OutputError` or `DiskError`."""

    def close(self) -> None:
        """Release everything; what was not published is removed."""
