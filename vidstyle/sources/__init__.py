"""Where frames come from: `open_source` picks the fitting reader."""

from __future__ import annotations

from pathlib import Path

from vidstyle.files import is_url
from vidstyle.options import Trim
from vidstyle.stages import Source

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
VIDEO_SUFFIXES = {
    ".3g2",
    ".3gp",
    ".asf",
    ".avi",
    ".flv",
    ".gif",
    ".m2ts",
    ".m4v",
    ".mkv",
    ".mov",
    ".mp4",
    ".mpeg",
    ".mpg",
    ".mts",
    ".mxf",
    ".ogv",
    ".ts",
    ".vob",
    ".webm",
    ".wmv",
}


def is_image(spec: str) -> bool:
    """Whether `spec` names a still picture, by its suffix."""
    return not is_url(spec) and Path(spec).suffix.lower() in IMAGE_SUFFIXES


def open_source(spec: str, trim: Trim = Trim(), allow_network: bool = False) -> Source:
    """A `Source` for a file or URL; raises `InputError` or `UsageError` (see `media.open_media`)."""
    if is_image(spec):
        from vidstyle.sources.images import ImageSource

        return ImageSource(Path(spec))
    from vidstyle.sources.video import VideoSource

    return VideoSource(spec, trim, allow_network)
