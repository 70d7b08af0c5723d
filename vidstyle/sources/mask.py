"""Masks: images or videos that are white where the video is stylized and black where it stays as it is."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from vidstyle.core.damage import Damage
from vidstyle.core.errors import InputError
from vidstyle.core.file_identity import identity_of
from vidstyle.core.frames import Frame, Mask, Pixels, VideoInfo
from vidstyle.core.options import Trim
from vidstyle.core.protocols import Source
from vidstyle.media.orientation import display_info, to_display_orientation, to_stored_orientation
from vidstyle.sources import is_image, open_source
from vidstyle.sources.images import read_image

ASPECT_TOLERANCE = 0.01
"""A mask's aspect ratio may differ from the image's by this fraction: rounding in a copy of another size."""
DURATION_TOLERANCE = 0.5
"""A mask video may end this many seconds before or after the video."""
SAME_MOMENT = 1e-3
"""Times of two files that differ by less, in seconds, are equal: each file rounds to its own time base."""
STEPS_BACK = (0.5, 10.0)
"""A mask video is read from the first of these times, in seconds before the first frame, at which it has a frame; else from its
beginning."""


def read_mask(path: Path, image: Pixels) -> Mask:
    """The mask in the file `path`, scaled to `image`. Raises `InputError` for another aspect ratio, or if all of it is black."""
    h, w = image.shape[:2]
    return _not_black(fitted(read_image(path), w, h, str(path)), str(path))


def fitted(image: Pixels, width: int, height: int, name: str, pixel_aspect: float = 1.0) -> Mask:
    """The mask `image` (RGB) at this size. It may also have the aspect ratio of the image on a screen, with pixels of
    `pixel_aspect`. Raises `InputError` for any other aspect ratio."""
    h, w = image.shape[:2]
    stretch = w / h / (width / height)
    if min(abs(stretch - 1), abs(stretch / pixel_aspect - 1)) > ASPECT_TOLERANCE:
        raise InputError(f"expected a mask of the image's shape, {width}x{height}, got {w}x{h}: {name}")
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    how = cv2.INTER_AREA if h > height else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (width, height), interpolation=how) / np.float32(255), np.float32)


class MaskedSource:
    """A `Source` that adds the masks of the image or video `mask` to the frames of `source`.

    Of a mask video each frame gets the mask that is shown at its time. Masks are in display orientation, as players show them.
    Raises `InputError` for a mask that cannot be read, has another aspect ratio or duration, or changes while it is read.
    """

    def __init__(self, source: Source, mask: str, trim: Trim) -> None:
        self._source, self._mask = source, mask
        self._file = identity_of(Path(mask))
        self.info = source.info
        self._still = _not_black(_mask_for(self.info, read_image(Path(mask)), mask), mask) if is_image(mask) else None
        if self._still is None:
            with closing(MaskVideo(mask, self.info)) as video:
                self._check_duration(video.source.info, trim)
                video.mask_at(0.0)
        self._file.check()

    @property
    def shift_seconds(self) -> Fraction:
        return self._source.shift_seconds

    def _check_duration(self, info: VideoInfo, trim: Trim) -> None:
        if self.info.duration_seconds is None or info.duration_seconds is None:
            return
        ends, masked_until = trim.start + self.info.duration_seconds, info.duration_seconds
        too_long = trim == Trim() and masked_until > ends + DURATION_TOLERANCE
        if masked_until < ends - DURATION_TOLERANCE or too_long:
            raise InputError(f"expected a mask as long as the video, {ends:.1f} s, got {masked_until:.1f} s: {self._mask}")

    def frames(self) -> Iterator[Frame]:
        video: MaskVideo | None = None
        try:
            for frame in self._source.frames():
                if self._still is not None:
                    yield replace(frame, mask=self._still)
                    continue
                seconds = float(frame.pts * frame.time_base - self.info.start_time)
                if video is None:
                    video = MaskVideo(self._mask, self.info, _read_from(self._mask, seconds))
                    self._file.check()
                yield replace(frame, mask=video.mask_at(seconds))
        finally:
            if video is not None:
                video.close()

    def following(self, first: Frame, seconds: float) -> Generator[Pixels, None, None]:
        return self._source.following(first, seconds)

    def warnings(self) -> list[str]:
        return self._source.warnings()

    def damage(self) -> list[str]:
        return self._source.damage()

    def damage_so_far(self) -> Damage:
        return self._source.damage_so_far()

    def restore_damage(self, earlier: Damage) -> None:
        self._source.restore_damage(earlier)

    def close(self) -> None:
        self._source.close()


class MaskVideo:
    """The masks of the video file `input`, from `start` seconds on, for frames of a video described by `info`."""

    def __init__(self, input: str, info: VideoInfo, start: float = 0.0) -> None:
        self.source = open_source(input, Trim(start))
        self._input, self._info = input, info
        self._frames = self.source.frames()
        self._mask: Mask | None = None
        self._coming: tuple[float, Mask] | None = None

    def mask_at(self, seconds: float) -> Mask:
        """The mask that is shown at `seconds`, which must not be earlier than in the call before. The last one stays."""
        if self._mask is None:
            _, self._mask = self._read(next(self._frames))
            self._advance()
        while self._coming is not None and self._coming[0] <= seconds + SAME_MOMENT:
            self._mask = self._coming[1]
            self._advance()
        return self._mask

    def _advance(self) -> None:
        frame = next(self._frames, None)
        self._coming = None if frame is None else self._read(frame)

    def _read(self, frame: Frame) -> tuple[float, Mask]:
        """When the mask is first shown, in seconds, and the mask."""
        own = self.source.info
        image = to_display_orientation(frame, own.display_matrix).pixels
        return float(frame.pts * frame.time_base - own.start_time), _mask_for(self._info, image, self._input)

    def close(self) -> None:
        self.source.close()


def _not_black(mask: Mask, name: str) -> Mask:
    if not mask.any():
        raise InputError(f"expected a mask with white parts, found only black: {name}")
    return mask


def _mask_for(info: VideoInfo, image: Pixels, name: str) -> Mask:
    """The mask `image`, in display orientation, for frames as the video described by `info` stores them."""
    shown = display_info(info)
    mask = fitted(image, shown.width, shown.height, name, float(shown.sample_aspect_ratio or 1))
    return to_stored_orientation(mask, info.display_matrix)


def _read_from(mask: str, begin: float) -> float:
    """From which second on the mask video has to be read for the mask that is shown at `begin`."""
    for start in (begin - back for back in STEPS_BACK if begin > back):
        with suppress(InputError), closing(open_source(mask, Trim(start))) as video:  # it may end before
            first = next(video.frames())
            if first.pts * first.time_base - video.info.start_time <= begin:
                return start
    return 0.0
