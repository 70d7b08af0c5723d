"""Folders of images and videos -> images to train on, none of them twice."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import cv2

from vidstyle.core.errors import TrainingError, VidstyleError
from vidstyle.core.files import writing
from vidstyle.core.frames import Pixels
from vidstyle.core.options import Selection, Trim
from vidstyle.media.orientation import to_display_orientation
from vidstyle.sources import is_image, open_source
from vidstyle.sources.discovery import search
from vidstyle.studio.training.duplicates import first_of_each, hashes

log = logging.getLogger(__name__)

FEWEST = 20
"""Images to train on; of fewer a net learns the images."""
FRAMES = 40
"""Of a video at most..."""
APART = 1.0
"""...and at least so many seconds apart."""


def gather(folders: Sequence[Path], frames: Path, check: Callable[[], None] = lambda: None) -> list[Path]:
    """The images in `folders` and their subfolders, and frames of the videos there, which are kept in the folder `frames`.

    Of near-duplicates the largest file is taken. What cannot be read is left out with a warning. `check` is called between files
    and may raise. Raises `TrainingError` for a folder that is missing or holds nothing, and where fewer than `FEWEST` images
    are left.
    """
    images: list[Path] = []
    for folder in folders:
        for path in _media(folder):
            check()
            images += [path] if is_image(str(path)) else _sampled(path, frames, check)
    values = hashes(images, check)
    readable = [(path, value) for path, value in zip(images, values, strict=True) if value is not None]
    for path in sorted(set(images) - {path for path, _ in readable}):
        log.warning("left out: expected an image, could not read %s", path)
    readable.sort(key=lambda one: one[0].stat().st_size, reverse=True)
    kept = sorted(readable[i][0] for i in first_of_each([value for _, value in readable]))
    if len(kept) < len(readable):
        log.info("left out %d near-duplicates of other images", len(readable) - len(kept))
    if len(kept) < FEWEST:
        raise TrainingError(
            f"expected at least {FEWEST} photographs to train on, found {len(kept)} that can be read and differ "
            f"in {', '.join(map(str, folders))}"
        )
    return kept


def _media(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise TrainingError(f"expected a folder of photographs or videos, found none: {folder}")

    def unreadable(path: str, error: OSError) -> None:
        log.warning("left out: could not look into %s (%s)", path, error.strerror)

    try:
        found = search(str(folder), Selection(recursive=True), (), None, unreadable).files
    except OSError as error:
        raise TrainingError(f"expected a folder of photographs or videos, could not read {folder} ({error.strerror})") from None
    if not found:
        raise TrainingError(f"expected photographs or videos in {folder}, found none")
    return [Path(one.input) for one in found]


def _sampled(video: Path, frames: Path, check: Callable[[], None]) -> list[Path]:
    """Frames spread evenly over a video, as files in a folder of its own in `frames`; none of a video that cannot be read."""
    status = video.stat()
    identity = f"{video.resolve()} {status.st_size} {status.st_mtime_ns}"
    folder = frames / f"{video.stem}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
    if not folder.is_dir():
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        try:
            with writing(folder):
                temporary.mkdir(parents=True)
                for number, pixels in enumerate(_frames_of(str(video))):
                    check()
                    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
                    (temporary / f"{number:02}.jpg").write_bytes(data.tobytes())
                os.replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    found = sorted(folder.iterdir())
    if not found:
        log.warning("left out: no frame of %s could be read", video)
    return found


def _frames_of(input: str) -> Iterator[Pixels]:
    """By seeking to each; those that cannot be read are left out."""
    try:
        with closing(open_source(input)) as source:
            seconds = source.info.duration_seconds or 0.0
    except VidstyleError:
        return
    count = max(1, min(FRAMES, int(seconds / APART)))
    for number in range(count):
        try:
            with closing(open_source(input, Trim(start=seconds * (number + 0.5) / count))) as source:
                frame = next(iter(source.frames()), None)
                if frame is not None:
                    yield to_display_orientation(frame, source.info.display_matrix).pixels
        except VidstyleError:
            continue
