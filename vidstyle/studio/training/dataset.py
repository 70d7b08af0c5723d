"""Folders of images and videos -> images to train on, without near-duplicates."""

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
from vidstyle.core.files import beside, writing
from vidstyle.core.frames import Pixels
from vidstyle.core.options import Selection, Trim
from vidstyle.media.orientation import to_display_orientation
from vidstyle.sources import is_image, open_source
from vidstyle.sources.discovery import find_inputs
from vidstyle.studio.training.duplicates import first_of_each, hashes

log = logging.getLogger(__name__)

MIN_IMAGES = 20
"""Minimum number of images to train on: with fewer, a net memorises them."""
MAX_FRAMES_PER_VIDEO = 40
MIN_FRAME_INTERVAL = 1.0
"""Minimum number of seconds between two frames of a video."""


def gather_images(folders: Sequence[Path], frames_folder: Path, check: Callable[[], None] = lambda: None) -> list[Path]:
    """The images in `folders` and their subfolders, and frames of the videos there, which are saved in `frames_folder`.

    Of near-duplicates the largest file is used. Unreadable files are skipped with a warning. `check` is called between files
    and may raise. Raises `TrainingError` for a folder that is missing or empty, and if fewer than `MIN_IMAGES` images are left.
    """
    images: list[Path] = []
    for folder in folders:
        for path in _media_files(folder):
            check()
            images += [path] if is_image(str(path)) else _sample_frames(path, frames_folder, check)
    values = hashes(images, check)
    readable = [(path, value) for path, value in zip(images, values, strict=True) if value is not None]
    for path in sorted(set(images) - {path for path, _ in readable}):
        log.warning("skipped: could not read %s as an image", path)
    readable.sort(key=lambda item: item[0].stat().st_size, reverse=True)
    kept = sorted(readable[i][0] for i in first_of_each([value for _, value in readable]))
    if len(kept) < len(readable):
        log.info("skipped %d near-duplicates of other images", len(readable) - len(kept))
    if len(kept) < MIN_IMAGES:
        raise TrainingError(
            f"expected at least {MIN_IMAGES} photographs to train on, found {len(kept)} that are readable and different "
            f"in {', '.join(map(str, folders))}"
        )
    return kept


def _media_files(folder: Path) -> list[Path]:
    if not os.path.isdir(folder):
        raise TrainingError(f"expected a folder of photographs or videos, found none: {folder}")

    def unreadable(path: str, error: OSError) -> None:
        log.warning("skipped: could not read %s (%s)", path, error.strerror)

    try:
        found = find_inputs(str(folder), Selection(recursive=True), (), None, unreadable).files
    except OSError as error:
        raise TrainingError(f"could not read {folder} as a folder of photographs or videos ({error.strerror})") from None
    if not found:
        raise TrainingError(f"expected photographs or videos in {folder}, found none")
    return [Path(file.input) for file in found]


def _sample_frames(video: Path, frames_folder: Path, check: Callable[[], None]) -> list[Path]:
    """Files of frames spread evenly over a video, in its own folder in `frames_folder`; none if the video cannot be read."""
    status = video.stat()
    identity = f"{video.resolve()} {status.st_size} {status.st_mtime_ns}"
    folder = beside(frames_folder / video.stem, "", f"-{hashlib.sha256(os.fsencode(identity)).hexdigest()[:8]}")
    if not folder.is_dir():
        temporary = beside(folder, ".", f".{os.getpid()}.tmp")
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
    files = sorted(folder.iterdir())
    if not files:
        log.warning("skipped: no frame of %s could be read", video)
    return files


def _frames_of(input: str) -> Iterator[Pixels]:
    """Frames of a video, each found by seeking; unreadable ones are skipped."""
    try:
        with closing(open_source(input)) as source:
            seconds = source.info.duration_seconds or 0.0
    except VidstyleError:
        return
    count = max(1, min(MAX_FRAMES_PER_VIDEO, int(seconds / MIN_FRAME_INTERVAL)))
    for number in range(count):
        try:
            with closing(open_source(input, Trim(start=seconds * (number + 0.5) / count))) as source:
                frame = next(iter(source.frames()), None)
                if frame is not None:
                    yield to_display_orientation(frame, source.info.display_matrix).pixels
        except VidstyleError:
            continue
