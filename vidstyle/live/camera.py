"""Live video with OpenCV: a camera, a network stream, or a file played in a loop.

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
from urllib.parse import urlunsplit

import cv2
import numpy as np

from vidstyle.core.errors import InputError, UsageError
from vidstyle.core.files import FORMATS, NETWORK_FORMATS, NETWORK_PROTOCOLS, check_regular_file, is_url, split_url
from vidstyle.core.frames import Frame, Pixels

CLOCK = Fraction(1, 1_000_000)
"""Time base of live frames: microseconds of `time.monotonic`."""
OPEN_SECONDS = 8.0
SILENT_SECONDS = 3.0
"""A camera that gives no image for this long has failed."""
RETRY_SECONDS = (0.25, 8.0)
"""First and longest pause before an attempt to reconnect; the pause doubles each time."""
_SETTLED_SECONDS = 5.0
"""After a connection that lasted this long, the pause starts again from the shortest."""

_LIVE = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay|analyzeduration;500000"
"""TCP, because packets lost by UDP smear the image for seconds; half a second to analyse the stream."""

Kind = Literal["device", "url", "file"]


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """A camera by index or device path, a URL, or a file; `label` is its name for the user."""

    kind: Kind
    where: int | str
    label: str


def resolve_camera(input: str, allow_network: bool = False) -> CameraSpec:
    """The camera that `input` names: an index, a device or its by-id path, a URL, a file to loop, or a part of a camera's name.

    Raises `UsageError` for a URL without `allow_network`, and `InputError` for a file that cannot be read and for a name that
    fits no camera or several.
    """
    if input.isdecimal():
        return CameraSpec("device", int(input), f"camera {input}")
    if is_url(input):
        if not allow_network:
            raise UsageError(f"{input} is a URL; use --allow-network to open it")
        return CameraSpec("url", input, _without_password(input))
    path = Path(input)
    if os.path.exists(path) or os.sep in input:
        if input.startswith("/dev/"):
            return CameraSpec("device", input, input)
        check_regular_file(path)
        return CameraSpec("file", str(path.resolve()), path.name)
    from vidstyle.live.devices import find_camera, list_cameras

    device = find_camera(input, list_cameras())
    return CameraSpec("device", device.stable_path or device.path or device.index, device.name)


def _without_password(url: str) -> str:
    """The URL as it may be displayed."""
    parts = split_url(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class OpenCvCamera:
    """A `Camera` (see `vidstyle.live.protocols`). A lost camera is reopened, with growing pauses, for as long as it takes.

    Only the first attempt raises an error, if the camera never gave an image. `size` and `fps` are requests, which the camera
    may not honour.
    """

    def __init__(self, input: CameraSpec, size: tuple[int, int] | None = None, fps: float | None = None) -> None:
        self.input = input
        self.trouble: str | None = None
        self._size, self._fps = size, fps
        self._closed = threading.Event()
        self._reader = 0

    def frames(self) -> Generator[Frame, None, None]:
        """See `Camera`. A new call ends the previous generator, even if that hangs in the driver."""
        self._reader += 1
        reader, pause, worked = self._reader, RETRY_SECONDS[0], False
        _silence_opencv()

        def is_current() -> bool:
            return not self._closed.is_set() and self._reader == reader

        while is_current():
            opened = time.monotonic()
            try:
                with contextlib.closing(_open(self.input, self._size, self._fps)) as capture:
                    for frame in self._read(capture, is_current):
                        self.trouble, worked = None, True
                        yield frame
                if not is_current():
                    return
                if not worked:
                    raise InputError(_no_image(self.input))
                lost = f"{self.input.label} stopped giving images"
            except InputError as error:
                if not worked:
                    raise
                lost = str(error)
            if self.input.kind == "file" and time.monotonic() - opened > 0.1:
                continue  # the file was played to its end
            if time.monotonic() - opened > _SETTLED_SECONDS:
                pause = RETRY_SECONDS[0]
            self.trouble = f"{lost}; trying again"
            self._closed.wait(pause)
            pause = min(2 * pause, RETRY_SECONDS[1])

    def _read(self, capture: _OpenCvCapture, is_current: Callable[[], bool]) -> Iterator[Frame]:
        first: tuple[float, float] | None = None
        due = interval = 0.0
        silent_since = time.monotonic()
        while is_current():
            grabbed = capture.grab()
            now = time.monotonic()
            pixels = capture.retrieve() if grabbed else None
            if pixels is None:
                if self.input.kind == "device" and now - silent_since < SILENT_SECONDS:
                    self._closed.wait(0.05)  # some cameras need a moment, or skip a frame
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
            self._closed.wait(interval)  # the last frame of a file is shown as long as the others
        elif self.input.kind == "file" or now - silent_since > SILENT_SECONDS:
            raise InputError(_no_image(self.input))

    def close(self) -> None:
        self._closed.set()


class _OpenCvCapture:
    """`cv2.VideoCapture` that gives RGB."""

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
        except cv2.error:  # a corrupt image
            return None

    def seconds(self) -> float:
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000

    def close(self) -> None:
        self._capture.release()


def _open(input: CameraSpec, size: tuple[int, int] | None, fps: float | None) -> _OpenCvCapture:
    if input.kind == "device":
        capture = _open_device(input, size, fps)
    else:
        # Packets that are read to analyse a stream are discarded (nobuffer); otherwise all images would be late by that much.
        network = f"protocol_whitelist;{NETWORK_PROTOCOLS}|format_whitelist;{NETWORK_FORMATS}|{_LIVE}"
        local = f"protocol_whitelist;file|format_whitelist;{FORMATS}"
        with _ffmpeg_options(network if input.kind == "url" else local):
            settings = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(OPEN_SECONDS * 1000)]
            settings += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(SILENT_SECONDS * 1000)]
            settings += [cv2.CAP_PROP_N_THREADS, 1]  # each further thread delays the images by one frame
            capture = cv2.VideoCapture(str(input.where), cv2.CAP_FFMPEG, settings)
    if not capture.isOpened():
        capture.release()
        raise InputError(_not_open(input))
    return _OpenCvCapture(capture)


def _open_device(input: CameraSpec, size: tuple[int, int] | None, fps: float | None) -> cv2.VideoCapture:
    backend = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}.get(sys.platform, cv2.CAP_ANY)
    # Resolved at every opening: a camera that is plugged in again may have another number behind the same by-id path.
    where = os.path.realpath(input.where) if isinstance(input.where, str) else input.where
    if isinstance(where, str) and (number := where.removeprefix("/dev/video")).isdecimal():
        where = int(number)
    # USB cameras give large raw images at only 5 to 10 fps; MJPG must be set before the size.
    settings = [cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")]
    if size is not None:
        settings += [cv2.CAP_PROP_FRAME_WIDTH, size[0], cv2.CAP_PROP_FRAME_HEIGHT, size[1]]
    if fps is not None:
        settings += [cv2.CAP_PROP_FPS, round(fps)]
    capture = cv2.VideoCapture(where, backend)
    for prop, value in zip(settings[::2], settings[1::2], strict=True):
        capture.set(prop, value)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _not_open(input: CameraSpec) -> str:
    if input.kind == "url":
        return f"could not open {input.label}: the stream must be running, and the address must be correct"
    if input.kind == "file":
        return f"could not read {input.label} as a video"
    if sys.platform == "linux":
        path = os.path.realpath(input.where) if isinstance(input.where, str) else f"/dev/video{input.where}"
        try:
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                return f"no permission to open {input.label}: add yourself to the group video, then log in again ({path})"
            if error.errno == errno.EBUSY:
                return f"{input.label} is busy: close the other program that uses it ({path})"
            return f"no such camera: {path} ({error.strerror}); `vidstyle devices` lists the cameras"
    return f"{input.label} could not be opened: another program may use it; `vidstyle devices` lists the cameras"


def _no_image(input: CameraSpec) -> str:
    if input.kind == "file":
        return f"no image could be decoded: {input.label}"
    if input.kind == "url":
        return f"{input.label} was opened but gives no image"
    return f"{input.label} was opened but gives no image: another program may use it, or its lens is switched off"


def _silence_opencv() -> None:
    """Suppress OpenCV's and FFmpeg's own error output; errors are raised or reported by `trouble` instead."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # The default timeout of V4L2 is 10 s.
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(round(SILENT_SECONDS)))


@contextlib.contextmanager
def _ffmpeg_options(options: str) -> Iterator[None]:
    """OpenCV passes the options in this variable to FFmpeg; the user's own come last and take precedence."""
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
