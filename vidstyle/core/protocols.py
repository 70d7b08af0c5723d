"""The architecture in one short file: frames go from a `Source` through a `Stylizer` into a `Sink`.

`conversion.pipeline.run` joins the three. The caller that opens one of them closes it; closing twice is harmless.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

from vidstyle.core.damage import Damage
from vidstyle.core.frames import Frame, Pixels, VideoInfo

ENGINE_NAMES = {"onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT"}
"""What engines are called in messages; others by the name of their package."""


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
        """Remarks about this input other than damage, one sentence each. Complete once `frames` has ended."""

    def damage(self) -> list[str]:
        """What was lost or repaired while reading, one sentence each. Complete once `frames` has ended."""

    def damage_so_far(self) -> Damage:
        """What was lost or repaired in the frames read so far."""

    def restore_damage(self, earlier: Damage) -> None:
        """Count at least what an earlier run found in the same input."""

    def close(self) -> None:
        """Release the file."""


@dataclass(frozen=True)
class Engine:
    """The library that runs a network, and the device."""

    name: str
    """`onnxruntime`, `tensorrt`, `torch` or another; two joined by ` or ` until the faster one is known."""
    device: str = "cpu"
    """`cpu`, or `cuda:N` for a GPU."""
    precision: str = "float32"
    """The type of most of the arithmetic: `float32`, `float16` or `bfloat16`."""

    def __str__(self) -> str:
        names = " or ".join(ENGINE_NAMES.get(name, name) for name in self.name.split(" or "))
        return f"{names} on {'CPU' if self.device == 'cpu' else self.device} ({self.precision})"


class Stylizer(ABC):
    """Stylizes images, each independently of the others. The default methods suit a stylizer that treats all shots alike."""

    concurrency: int = 1
    """The number of threads that should call `stylize` at once for the highest throughput."""

    @property
    def pixel_bytes(self) -> int:
        """About how much memory `stylize` takes for each pixel of an image, on the CPU."""
        return 60

    @property
    def engine(self) -> Engine:
        """The engine of the network. Its device and precision never change."""
        return Engine("custom")

    @abstractmethod
    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        """Images of one size (H, W, 3) uint8 RGB -> (N, H, W, 3) uint8 RGB."""

    def for_shot(self, images: Iterable[Pixels]) -> Stylizer:
        """A stylizer with statistics measured on a few images of one shot, those without contrast left out; itself if that makes
        no difference. Raises `StyleError` if the statistics are not finite."""
        return self

    def statistics(self) -> Mapping[str, np.ndarray]:
        """The statistics that `for_shot` measured, or those of training; empty if it measures none."""
        return {}

    def with_statistics(self, statistics: Mapping[str, np.ndarray]) -> Stylizer:
        """A stylizer with the `statistics` that another one of the same style measured."""
        return self

    def adapted(self, image: Pixels, weight: float) -> Stylizer:
        """A stylizer whose statistics have moved by `weight` (0..1) towards those of `image`; itself if it has none, or `image`
        no contrast."""
        return self

    def at(self, seconds: float) -> Stylizer:
        """The stylizer of a frame shown `seconds` into the input; itself if the time makes no difference."""
        return self

    def describe(self) -> str:
        """Engine and device in a few words, for messages."""
        return str(self.engine)


class PostProcessor(Protocol):
    """Sees every frame before and after it is stylized, in order, and may change the result."""

    def process(self, source: Pixels, stylized: Pixels, begins_shot: bool) -> Pixels:
        """The image to use instead of `stylized`; all are (H, W, 3) uint8 RGB."""


class StatefulPostProcessor(PostProcessor, Protocol):
    """A post-processor whose results depend on earlier frames; its state can be saved and restored."""

    def state(self) -> Mapping[str, np.ndarray]:
        """The state after the last frame; empty before the first."""

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue with the frame that follows the one after which `state` was saved."""


class Sink(Protocol):
    """Writes frames; nothing is visible under the final name before `publish`."""

    def write(self, frame: Frame) -> None:
        """Write the next frame; raises `OutputError` or `DiskError`."""

    def warnings(self) -> list[str]:
        """What is missing from the output, one sentence each."""

    def damage(self) -> list[str]:
        """What was lost because the input is damaged, one sentence each. Complete after `publish`."""

    def publish(self) -> None:
        """Finish, verify, and give the file its name; raises `OutputExistsError`, `OutputError` or `DiskError`."""

    def close(self) -> None:
        """Release all resources, and remove an output that was not published."""
