"""Clips for measurements: generated from images that ship with vidstyle, scaled from a video, or a video as it is."""

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
from vidstyle.core.resizing import resized
from vidstyle.sinks import open_video_sink
from vidstyle.sources import is_image, open_source
from vidstyle.styles.catalog import shipped_folder

RATE = 25
"""Frame rate of generated clips."""

SHOT_SECONDS = 4
"""Seconds that the camera pans over one image."""

MAX_CLIP_BYTES = 3 << 29
"""Memory for the frames of a clip and their stylized images, which are kept while each stage is measured alone."""

MAX_SCALED_BYTES = 1 << 29
"""Memory for the images of a scaled video, which are repeated back and forth."""


@dataclass(frozen=True)
class Clip:
    """The first `seconds` of a video, with its size and frame rate."""

    input: str
    width: int
    height: int
    rate: Fraction
    seconds: float

    @property
    def name(self) -> str:
        """The size, such as `640x360`."""
        return f"{self.width}x{self.height}"

    @property
    def output_suffix(self) -> str:
        """File suffix of the default output."""
        return Path(default_name(self.input, "bench")).suffix


def fitting_seconds(size: Size, rate: Fraction, seconds: float) -> float:
    """`seconds`, or fewer if the frames and their stylized images would not fit into `MAX_CLIP_BYTES`; at least one frame."""
    frames = max(1, MAX_CLIP_BYTES // (6 * size[0] * size[1]))
    return min(seconds, float(frames / rate))


def existing_clip(input: str, seconds: float) -> Clip:
    """A video as it is; raises `InputError` if it is not a video."""
    if is_image(input):
        raise InputError(f"expected a video to measure with, got an image: {input}")
    with closing(open_source(input)) as source:
        info = source.info
    return Clip(input, info.width, info.height, info.frame_rate or Fraction(RATE), seconds)


def make_clip(folder: Path, size: Size, seconds: float, input: str | None = None) -> Clip:
    """Write a clip into `folder`: the video `input` scaled, and repeated if it is too short, or pans over images that ship.

    Raises `InputError`, and `DiskError` if the disk is full.
    """
    path = folder / f"{size[0]}x{size[1]}-{seconds:g}s.mp4"
    write_clip(path, islice(pans(size) if input is None else scaled(input, size), max(1, round(seconds * RATE))), size)
    return Clip(str(path), *size, Fraction(RATE), seconds)


def write_clip(path: Path, images: Iterable[Pixels], size: Size) -> None:
    """Write images (H, W, 3) as H.264 without audio, encoded like outputs of vidstyle."""
    tick = Fraction(1, RATE)
    with closing(open_video_sink(path, VideoInfo(*size, tick, Fraction(RATE)))) as sink:
        for number, image in enumerate(images):
            sink.write(Frame(image, number, tick, 1))
        sink.publish()


def pans(size: Size) -> Iterator[Pixels]:
    """Endless pans and zooms over the style images of the shipped styles, one after the other.

    The images are mirrored at their borders as often as necessary, so that a large frame has as fine a texture as a small one.
    """
    images = [read for path in sorted(shipped_folder().glob("*.jpg")) if (read := cv2.imread(str(path))) is not None]
    if not images:
        raise StyleError(f"expected style images to generate a clip from, found none in {shipped_folder()}; give a video instead")
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
    """The images of a video at `size`, endlessly back and forth; as many as fit into `MAX_SCALED_BYTES`."""
    limit = max(1, MAX_SCALED_BYTES // (3 * size[0] * size[1]))
    with closing(open_source(input)) as source:
        images = [resized(frame.pixels, *size) for frame in islice(source.frames(), limit)]
    return cycle(chain(images, reversed(images)))
