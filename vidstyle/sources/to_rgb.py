"""From decoded frames to the images that networks get: RGB, 8 bit, standard range, in the orientation of the file."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from vidstyle.core.frames import Opacity, Pixels
from vidstyle.core.resizing import letterboxed
from vidstyle.media.color import is_hdr, swscale_matrix, tags_of
from vidstyle.media.hdr import ToneMap
from vidstyle.media.hdr_metadata import peak_nits


class FrameConverter:
    """Converts the frames of one video to images of `width` x `height`; frames of another size are letterboxed."""

    def __init__(self, width: int, height: int, alpha: bool) -> None:
        self._size, self._alpha = (width, height), alpha
        self._reformatter = VideoReformatter()
        self._tone_map: ToneMap | None = None
        self.resized = self.flattened = 0
        """Frames of another size; frames with transparent parts where `alpha` is false."""

    def convert(self, frame: VideoFrame) -> tuple[Pixels, Opacity | None]:
        """RGB uint8 (H, W, 3), and if `alpha` is true the opacity, uint8 (H, W)."""
        fitted = self._rgba(frame)
        if (frame.width, frame.height) != self._size:
            self.resized += 1
            fitted = letterboxed(fitted, *self._size)
        if fitted.shape[2] == 3:
            return fitted, np.full(fitted.shape[:2], 255, np.uint8) if self._alpha else None
        rgb, alpha = np.ascontiguousarray(fitted[..., :3]), np.ascontiguousarray(fitted[..., 3])
        if self._alpha:
            return rgb, alpha
        if alpha.min() < 255:
            self.flattened += 1
            rgb = cv2.convertScaleAbs(rgb.astype(np.float32) * (alpha[..., None] / np.float32(255)))
        return np.asarray(rgb, np.uint8), None

    def _rgba(self, frame: VideoFrame) -> np.ndarray:
        color = tags_of(frame)
        if is_hdr(color):
            if self._tone_map is None:
                self._tone_map = ToneMap(color, peak_nits(frame))
            return self._tone_map.to_sdr(frame)
        has_alpha = may_be_transparent(frame)
        rgb = self._reformatter.reformat(
            frame,
            format="rgba" if has_alpha else "rgb24",
            src_colorspace=swscale_matrix(color),
            src_color_range=color.range,
            dst_color_range=2,
            threads=1,
        )
        plane, channels = rgb.planes[0], 4 if has_alpha else 3
        if plane.line_size != plane.width * channels:
            return np.asarray(rgb.to_ndarray(), np.uint8)
        return np.frombuffer(plane, np.uint8, plane.height * plane.line_size).reshape(plane.height, plane.width, channels)  # type: ignore[call-overload,no-any-return]


def may_be_transparent(frame: VideoFrame) -> bool:
    """Whether the frame's pixel format supports transparency."""
    return any(component.is_alpha for component in frame.format.components) or frame.format.name == "pal8"


def is_transparent(frame: VideoFrame) -> bool:
    """Whether any of the frame's pixels is not opaque."""
    if not may_be_transparent(frame):
        return False
    rgba: Any = VideoReformatter().reformat(frame, format="rgba")
    return bool(rgba.to_ndarray()[..., 3].min() < 255)
