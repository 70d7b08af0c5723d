"""The clips that conversions are measured on: made of images that ship with vidstyle, of a video, or a video as it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, cycle, islice
from pathlib import Path

import cv2
import numpy as np

from vidstyle.bench.options import Size
from vidstyle.conversion.output_name import default_name
from vidstyle.core.errors import InputError, StyleError
from vidstyle.core.frames import Frame, Pixels, VideoInfo
from vidstyle.sinks import open_video_sink
from vidstyle.sources import is_image, open_source
from vidstyle.styles.catalog import shipped_folder

RATE = 25
"""Frames a second of the clips that are made."""

SHOT_SECONDS = 4
"""So long the camera pans over one image."""

HELD_BYTES = 3 << 29
"""A clip's frames and its paintings are held in so much memory while its stages are measured alone."""

STORED_BYTES = 1 << 29
"""Images of a video that is scaled are kept in so much memory at most, to be repeated back and forth."""


@dataclass(frozen=True)
class Clip:
    """The first `seconds` of a video, whose size and rate are these."""

    input: str
    width: int
    height: int
    rate: Fraction
    seconds: float

    @property
    def name(self) -> str:
        """As in `640x360`."""
        return f"{self.width}x{self.height}"

    @property
    def output_suffix(self) -> str:
        """Of the container that its painting goes into by default."""
        return Path(default_name(self.input, "bench")).suffix


def fitting_seconds(size: Size, rate: Fraction, seconds: float) -> float:
    """At most `seconds`, and no more than can be held before and after painting; one frame at least."""
    frames = max(1, HELD_BYTES // (6 * size[0] * size[1]))
    return min(seconds, float(frames / rate))


def given_clip(input: str, seconds: float) -> Clip:
    """A video as it is; raises `InputError` where it is none."""
    if is_image(input):
        raise InputError(f"expected a video to measure with, got an image: {input}")
    with closing(open_source(input)) as source:
        info = source.info
    return Clip(input, info.width, info.height, info.frame_rate or Fraction(RATE), seconds)


def made_clip(folder: Path, size: Size, seconds: float, input: str | None = None) -> Clip:
    """A new clip in `folder`: the video `input` scaled, and repeated if it is too short, or pans over images that ship.

    Raises `InputError`, and `DiskError` where there is no room for it.
    """
    path = folder / f"{size[0]}x{size[1]}-{seconds:g}s.mp4"
    write_clip(path, islice(pans(size) if input is None else scaled(input, size), max(1, round(seconds * RATE))), size)
    return Clip(str(path), *size, Fraction(RATE), seconds)


def write_clip(path: Path, images: Iterable[Pixels], size: Size) -> None:
    """Images (H, W, 3) as H.264 without audio, encoded as outputs of vidstyle are."""
    tick = Fraction(1, RATE)
    with closing(open_video_sink(path, VideoInfo(*size, tick, Fraction(RATE)))) as sink:
        for number, image in enumerate(images):
            sink.write(Frame(image, number, tick, 1))
        sink.publish()


def pans(size: Size) -> Iterator[Pixels]:
    """A camera that goes over the exemplars of the shipped styles, one after the other, and nears and leaves them, for ever.

    They are mirrored at their borders as often as it takes, so that a large image has as fine a texture as a small one.
    """
    images = [read for path in sorted(shipped_folder().glob("*.jpg")) if (read := cv2.imread(str(path))) is not None]
    if not images:
        raise StyleError(f"expected images of the styles to make a clip of, found none in {shipped_folder()}; give a video")
    frames = SHOT_SECONDS * RATE
    for bgr in cycle(images):
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        for number in range(frames):
            angle = 2 * math.pi * number / frames
            zoom = 1.0 + 0.1 * math.sin(angle)
            shift = (150 * math.sin(angle / 2), 1.3 * number)
            move = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
            yield np.asarray(cv2.warpAffine(rgb, move, size, borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def scaled(input: str, size: Size) -> Iterator[Pixels]:
    """The images of a video at `size`, back and forth for ever; as much of it as fits into `STORED_BYTES`."""
    limit = max(1, STORED_BYTES // (3 * size[0] * size[1]))
    with closing(open_source(input)) as source:
        images = [_resized(frame.pixels, size) for frame in islice(source.frames(), limit)]
    return cycle(chain(images, reversed(images)))


def _resized(image: Pixels, size: Size) -> Pixels:
    how = cv2.INTER_AREA if image.shape[1] > size[0] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)
