"""Images as they happen, with OpenCV: a camera, a network stream, or a file played in a loop.

PyAV is not used here: the process that shows a window must not import it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import cv2
import numpy as np

from vidstyle.core.errors import InputError, UsageError
from vidstyle.core.files import FORMATS, NETWORK_FORMATS, NETWORK_PROTOCOLS, check_regular_file, is_url
from vidstyle.core.frames import Frame, Pixels

CLOCK = Fraction(1, 1_000_000)
"""Time base of live frames: microseconds of `time.monotonic`."""
OPEN_SECONDS = 8.0
SILENT_SECONDS = 3.0
"""A camera that gives nothing for this long has failed."""
RETRY_SECONDS = (0.25, 8.0)
"""Wait before the first attempt to connect again, doubled from time to time, and at most."""
_SETTLED_SECONDS = 5.0
"""A connection that held this long was a good one: the next failure is tried again at once."""

_LIVE = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay|analyzeduration;500000"
"""Over TCP, since what UDP loses smears for seconds; half a second to look at a stream."""

Kind = Literal["device", "url", "file"]


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """Which camera: an index or device path, a URL, or a file; `label` is what a person calls it."""

    kind: Kind
    where: int | str
    label: str


def resolve_camera(input: str, allow_network: bool = False) -> CameraSpec:
    """What `input` names: an index, a device or its by-id path, a URL, a file to loop, or a part of a camera's name.

    Raises `UsageError` for a URL without `allow_network`, `InputError` for a file that cannot be read or a name that no camera
    has, or several.
    """
    if input.isdecimal():
        return CameraSpec("device", int(input), f"camera {input}")
    if is_url(input):
        if not allow_network:
            raise UsageError(f"expected a camera or file, {input} is a URL; give --allow-network to let vidstyle open it")
        return CameraSpec("url", input, _without_password(input))
    path = Path(input)
    if path.exists() or os.sep in input:
        if input.startswith("/dev/"):
            return CameraSpec("device", input, input)
        check_regular_file(path)
        return CameraSpec("file", str(path.resolve()), path.name)
    from vidstyle.live.devices import find_camera, list_cameras

    device = find_camera(input, list_cameras())
    return CameraSpec("device", device.stable_path or device.path or device.index, device.name)


def _without_password(url: str) -> str:
    """For the screen, and whoever looks at it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class OpenCvCamera:
    """A `Camera` (see `vidstyle.core.protocols`). What was lost is opened again, with growing pauses, for as long as it takes.

    Only the very first attempt raises: a camera that never gave an image is the person's to mend. `size` and `fps` are wishes.
    """

    def __init__(self, input: CameraSpec, size: tuple[int, int] | None = None, fps: float | None = None) -> None:
        self.input = input
        self.trouble: str | None = None
        self._size, self._fps = size, fps
        self._closed = threading.Event()
        self._reader = 0

    def frames(self) -> Generator[Frame, None, None]:
        """See `vidstyle.core.protocols.Camera`. Calling it again ends the generator before, even one that hangs in its driver."""
        self._reader += 1
        reader, pause, worked = self._reader, RETRY_SECONDS[0], False
        _quiet()

        def wanted() -> bool:
            return not self._closed.is_set() and self._reader == reader

        while wanted():
            opened = time.monotonic()
            try:
                with contextlib.closing(_opened(self.input, self._size, self._fps)) as capture:
                    for frame in self._read(capture, wanted):
                        self.trouble, worked = None, True
                        yield frame
                if not wanted():
                    return
                if not worked:
                    raise InputError(_no_image(self.input))
                lost = f"{self.input.label} gives no image any more"
            except InputError as error:
                if not worked:
                    raise
                lost = str(error)
            if self.input.kind == "file" and time.monotonic() - opened > 0.1:
                continue  # played to its end
            if time.monotonic() - opened > _SETTLED_SECONDS:
                pause = RETRY_SECONDS[0]
            self.trouble = f"{lost}; trying again"
            self._closed.wait(pause)
            pause = min(2 * pause, RETRY_SECONDS[1])

    def _read(self, capture: _Capture, wanted: Callable[[], bool]) -> Iterator[Frame]:
        first: tuple[float, float] | None = None
        due = interval = 0.0
        silent_since = time.monotonic()
        while wanted():
            grabbed = capture.grab()
            now = time.monotonic()
            pixels = capture.retrieve() if grabbed else None
            if pixels is None:
                if self.input.kind == "device" and now - silent_since < SILENT_SECONDS:
                    self._closed.wait(0.05)  # some cameras need a moment, or swallow a frame
                    continue
                break
            silent_since = now
            if self.input.kind == "file":
                shown = capture.seconds()
                first = first or (now, shown)
                before, due = due, first[0] + shown - first[1]
                interval = due - before if before else 0.0
                if self._closed.wait(max(0.0, due - now)):
                    return
                now = max(now, due)
            yield Frame(pixels, round(now / CLOCK), CLOCK)
        else:
            return
        if first is not None:
            self._closed.wait(interval)  # a file's last frame is shown as long as the others
        elif self.input.kind == "file" or now - silent_since > SILENT_SECONDS:
            raise InputError(_no_image(self.input))

    def close(self) -> None:
        self._closed.set()


class _Capture:
    """OpenCV's capture, in RGB."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture

    def grab(self) -> bool:
        try:
            return self._capture.grab()
        except cv2.error:
            return False

    def retrieve(self) -> Pixels | None:
        try:
            done, bgr = self._capture.retrieve()
            if not done or bgr is None or bgr.ndim != 3 or bgr.size == 0:
                return None
            return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
        except cv2.error:  # a broken image
            return None

    def seconds(self) -> float:
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000

    def close(self) -> None:
        self._capture.release()


def _opened(input: CameraSpec, size: tuple[int, int] | None, fps: float | None) -> _Capture:
    if input.kind == "device":
        capture = _open_device(input, size, fps)
    else:
        # What is read to find out about a stream is thrown away (nobuffer), or everything after it would come late by as much.
        network = f"protocol_whitelist;{NETWORK_PROTOCOLS}|format_whitelist;{NETWORK_FORMATS}|{_LIVE}"
        local = f"protocol_whitelist;file|format_whitelist;{FORMATS}"
        with _ffmpeg_options(network if input.kind == "url" else local):
            wishes = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(OPEN_SECONDS * 1000)]
            wishes += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(SILENT_SECONDS * 1000)]
            wishes += [cv2.CAP_PROP_N_THREADS, 1]  # each more holds one frame back
            capture = cv2.VideoCapture(str(input.where), cv2.CAP_FFMPEG, wishes)
    if not capture.isOpened():
        capture.release()
        raise InputError(_not_opened(input))
    return _Capture(capture)


def _open_device(input: CameraSpec, size: tuple[int, int] | None, fps: float | None) -> cv2.VideoCapture:
    backend = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}.get(sys.platform, cv2.CAP_ANY)
    # Resolved at every opening: a camera plugged in again may be another number behind the same by-id path.
    where = os.path.realpath(input.where) if isinstance(input.where, str) else input.where
    if isinstance(where, str) and (number := where.removeprefix("/dev/video")).isdecimal():
        where = int(number)
    # Raw images of a USB camera's larger sizes come at 5 to 10 a second; MJPG must be asked for before the size is.
    wishes = [cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")]
    if size is not None:
        wishes += [cv2.CAP_PROP_FRAME_WIDTH, size[0], cv2.CAP_PROP_FRAME_HEIGHT, size[1]]
    if fps is not None:
        wishes += [cv2.CAP_PROP_FPS, round(fps)]
    capture = cv2.VideoCapture(where, backend)
    for wish, value in zip(wishes[::2], wishes[1::2], strict=True):
        capture.set(wish, value)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _not_opened(input: CameraSpec) -> str:
    if input.kind == "url":
        return f"expected a video stream, could not open {input.label}: it must be running, and the address right"
    if input.kind == "file":
        return f"expected a video, could not read {input.label}"
    if sys.platform == "linux":
        path = os.path.realpath(input.where) if isinstance(input.where, str) else f"/dev/video{input.where}"
        try:
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                return f"no permission to open {input.label}: add yourself to the group video, then log in again ({path})"
            if error.errno == errno.EBUSY:
                return f"{input.label} is busy: close the other program that uses it ({path})"
            return f"expected a camera, found none: {path} ({error.strerror}); `vidstyle devices` lists what there is"
    return f"{input.label} could not be opened: another program may use it; `vidstyle devices` lists what there is"


def _no_image(input: CameraSpec) -> str:
    if input.kind == "file":
        return f"expected a video, found no image in {input.label}"
    if input.kind == "url":
        return f"{input.label} was opened but gives no image"
    return f"{input.label} was opened but gives no image: another program may use it, or its lens is switched off"


def _quiet() -> None:
    """What goes wrong is told in our own words."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # V4L2's own limit is 10 s.
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(round(SILENT_SECONDS)))


@contextlib.contextmanager
def _ffmpeg_options(options: str) -> Iterator[None]:
    """OpenCV hands FFmpeg what this variable holds; the user's own come last and win."""
    name = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    own = os.environ.get(name)
    os.environ[name] = options + (f"|{own}" if own else "")
    try:
        yield
    finally:
        if own is None:
            del os.environ[name]
        else:
            os.environ[name] = own
