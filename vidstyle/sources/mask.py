"""Masks: images or videos that say where to paint, white, and where not, black."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from vidstyle.core.errors import InputError
from vidstyle.core.frames import Frame, Mask, Pixels, VideoInfo
from vidstyle.core.options import Trim
from vidstyle.core.protocols import Source
from vidstyle.media.orientation import display_info, to_display_orientation, to_stored_orientation
from vidstyle.sources import is_image, open_source
from vidstyle.sources.images import read_image

SHAPE_TOLERANCE = 0.01
"""A mask's shape may differ from the image's by this share: rounding in a copy of another size."""
LENGTH_TOLERANCE = 0.5
"""A mask video may end so many seconds before or behind the video."""
SAME_MOMENT = 1e-3
"""Times of two files that differ by less, in seconds, are the same: each rounds to its own time base."""
STEPS_BACK = (0.5, 10.0)
"""A mask video is read from so many seconds before it is wanted, if a frame of it is shown by then; else from its beginning."""


def read_mask(path: Path, image: Pixels) -> Mask:
    """A mask for `image`; scaled if it has the same shape, else an `InputError`; so is one that is black all over."""
    h, w = image.shape[:2]
    mask = fitted(read_image(path), w, h, str(path))
    if not mask.any():
        raise InputError(f"expected a mask with something white in it to paint, found only black: {path}")
    return mask


def fitted(image: Pixels, width: int, height: int, name: str, pixel_aspect: float = 1.0) -> Mask:
    """The mask that `image` (RGB) is, at this size; it may also be of the shape that pixels of this aspect ratio give the
    image on a screen. Raises `InputError` for any other shape."""
    h, w = image.shape[:2]
    stretch = w / h / (width / height)
    if min(abs(stretch - 1), abs(stretch / pixel_aspect - 1)) > SHAPE_TOLERANCE:
        raise InputError(f"expected a mask of the image's shape, {width}x{height}, got {w}x{h}: {name}")
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    how = cv2.INTER_AREA if h > height else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (width, height), interpolation=how) / np.float32(255), np.float32)


class MaskedSource:
    """A `Source` whose frames carry their masks, from the image or video `mask`.

    A video's mask for a frame is the one that is shown at its time. Masks are for upright images, as players show them.
    Raises `InputError` for a mask that cannot be read, or is of another shape or length.
    """

    def __init__(self, source: Source, mask: str, trim: Trim) -> None:
        self._source, self._mask = source, mask
        self.info = source.info
        self._still = self._of_image(read_image(Path(mask))) if is_image(mask) else None
        if self._still is not None and not self._still.any():
            raise InputError(f"expected a mask with something white in it to paint, found only black: {mask}")
        if self._still is None:
            with closing(open_source(mask)) as video:
                self._check_length(video.info, trim)
                next(self._of_video(video))

    @property
    def shift_seconds(self) -> Fraction:
        """That of the source, see `sources.video.VideoSource`."""
        return self._source.shift_seconds

    def _of_image(self, image: Pixels) -> Mask:
        shown = display_info(self.info)
        mask = fitted(image, shown.width, shown.height, self._mask, float(shown.sample_aspect_ratio or 1))
        return to_stored_orientation(mask, self.info.display_matrix)

    def _of_video(self, video: Source) -> Iterator[tuple[Fraction, Mask]]:
        """Each mask with the time from which on it is shown."""
        for frame in video.frames():
            mask = self._of_image(to_display_orientation(frame, video.info.display_matrix).pixels)
            yield frame.pts * frame.time_base - video.info.start_time, mask

    def _check_length(self, info: VideoInfo, trim: Trim) -> None:
        if self.info.duration_seconds is None or info.duration_seconds is None:
            return
        ends, masked_until = trim.start + self.info.duration_seconds, info.duration_seconds
        too_long = trim == Trim() and masked_until > ends + LENGTH_TOLERANCE
        if masked_until < ends - LENGTH_TOLERANCE or too_long:
            raise InputError(f"expected a mask as long as the video, {ends:.1f} s, got {masked_until:.1f} s: {self._mask}")

    def frames(self) -> Iterator[Frame]:
        if self._still is not None:
            for frame in self._source.frames():
                yield replace(frame, mask=self._still)
            return
        masks: Generator[Mask, float, None] | None = None
        try:
            for frame in self._source.frames():
                seconds = float(frame.pts * frame.time_base - self.info.start_time)
                if masks is None:
                    masks = self._masks(seconds)
                    next(masks)
                yield replace(frame, mask=masks.send(seconds))
        finally:
            if masks is not None:
                masks.close()

    def _masks(self, begin: float) -> Generator[Mask, float, None]:
        """Is sent times, each later than the last, and gives the mask that is shown then; the last one stays."""
        seconds = yield  # type: ignore[misc]  # there is no time yet
        with closing(open_source(self._mask, Trim(self._start(begin)))) as video:
            masks = self._of_video(video)
            _, mask = next(masks)
            coming = next(masks, None)
            while True:
                while coming is not None and float(coming[0]) <= seconds + SAME_MOMENT:
                    mask, coming = coming[1], next(masks, None)
                seconds = yield mask

    def _start(self, begin: float) -> float:
        """From when on, in seconds, the mask video has to be read to know what it shows at `begin`."""
        for start in (begin - back for back in STEPS_BACK if begin > back):
            with suppress(InputError), closing(open_source(self._mask, Trim(start))) as video:  # it may end before
                first = next(video.frames())
                if first.pts * first.time_base - video.info.start_time <= begin:
                    return start
        return 0.0

    def following(self, first: Frame, seconds: float) -> Generator[Pixels, None, None]:
        return self._source.following(first, seconds)

    def warnings(self) -> list[str]:
        return self._source.warnings()

    def damage(self) -> list[str]:
        return self._source.damage()

    def close(self) -> None:
        self._source.close()
