"""From files to frames: `open_source` picks the reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vidstyle.core.errors import VidstyleError
from vidstyle.core.files import is_url
from vidstyle.core.options import Trim
from vidstyle.core.protocols import Source

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


def is_image(input: str) -> bool:
    """Whether `input` is a still image, judged by its suffix."""
    return not is_url(input) and Path(input).suffix.lower() in IMAGE_SUFFIXES


def open_source(
    input: str,
    trim: Trim = Trim(),
    allow_network: bool = False,
    gpu: str | None = None,
    check_size: Callable[[int, int], None] = lambda width, height: None,
) -> Source:
    """A `Source` for a file or URL; raises `InputError` or `UsageError` (see `media.container.open_media`).

    `gpu`: the number of the GPU that decodes the videos it supports; None: decode on the CPU. `check_size` is called with the
    width and height of the frames before one is decoded, and may raise.
    """
    if is_image(input):
        from vidstyle.sources.images import ImageSource

        return ImageSource(Path(input), check_size)
    from vidstyle.sources.video import VideoSource

    source = VideoSource(input, trim, allow_network, check_size=check_size)
    return source if gpu is None or is_url(input) else source.on_gpu(gpu)


def estimate_size(input: str) -> tuple[int, int] | None:
    """The number of frames of a file and of pixels per frame, by its header alone; None where unknown, or for a URL."""
    if is_url(input):
        return None
    from vidstyle.media.container import main_video, open_media

    try:
        with open_media(input) as container:
            stream = main_video(container)
            if stream is None:
                return None
            rate = stream.average_rate or stream.guessed_rate
            seconds = float(container.duration or 0) / 1_000_000
            frames = stream.frames or (round(seconds * rate) if rate else 0)
            return (1 if is_image(input) else frames, stream.width * stream.height) if frames or is_image(input) else None
    except VidstyleError:
        return None
