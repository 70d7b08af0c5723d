"""Recording of the live view.

The process of the window must not import PyAV (see `files`), so another process encodes: `vidstyle.live.recording.writer`. This
module holds the queue of images to that process, and reads its events.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidstyle.core.child_process import start_module
from vidstyle.core.errors import DiskError, OutputExistsError, UsageError
from vidstyle.core.files import reason, writing
from vidstyle.core.frames import Frame, Pixels
from vidstyle.core.options import EncodeOptions
from vidstyle.core.resizing import letterboxed
from vidstyle.live.recording.wire import HEADER

_QUEUE_BYTES = 256 << 20
_PIPE_BYTES = 1 << 20
_CLOSE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Recording:
    """The result of a recording; there is no file at `path` if `frames` is 0 and nothing went wrong."""

    path: Path
    frames: int
    dropped: int
    """Images dropped because encoding could not keep up, or had ended."""
    seconds: float
    audio: bool
    trouble: str | None
    """What went wrong, as a sentence; the file holds what was recorded until then."""


class Recorder:
    """Records images to a new Matroska file at `path`; images of another size than `width` x `height` are letterboxed.

    `microphone` is None for no audio, "auto" for the default device (no audio and no error if there is none), or the name of
    a device. Raises `UsageError` for another suffix than .mkv, `OutputExistsError`, or `DiskError` if the folder is missing
    or not writable; later errors are reported by `trouble`.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        encode: EncodeOptions = EncodeOptions(),
        microphone: str | None = None,
    ) -> None:
        check_new_recording(path)
        self._path, self._size = path, (width, height)
        self._changed = threading.Condition()
        self._queue: deque[Frame] = deque()
        self._queued_bytes = 0
        self._ending = False
        self._first = self._last = 0.0
        self._sent = 0
        self._trouble: str | None = None
        self._audio: bool | None = None if microphone is not None else False
        self._statistics: dict[str, Any] = {}
        self._finished = self._killed = False
        self._alive = time.monotonic()
        self._result: Recording | None = None
        self._closing = threading.Lock()
        self.dropped = 0
        """Images dropped because encoding could not keep up, or had ended."""
        request = json.dumps({"path": str(path.absolute()), "encode": asdict(encode), "microphone": microphone})
        with writing(path):
            self._process = _start(request)
        self._sender = threading.Thread(target=self._send_images, name="recording images", daemon=True)
        self._event_reader = threading.Thread(target=self._read_events, name="recording events", daemon=True)
        self._sender.start()
        self._event_reader.start()

    @property
    def seconds(self) -> float:
        """Length of the recording so far."""
        return self._last - self._first

    @property
    def trouble(self) -> str | None:
        """What is wrong with the recording, as a sentence; None while nothing is. Any thread may read it.

        It may concern only the audio: see `over`.
        """
        return self._trouble

    @property
    def over(self) -> bool:
        """Whether the recording has ended, for whatever reason."""
        return self._ending

    @property
    def audio(self) -> bool | None:
        """Whether audio is recorded; None until that is known."""
        return self._audio

    def write(self, frame: Frame) -> None:
        """Record `frame` (see `Camera`), whose pixels must not change afterwards. Never blocks, never raises.

        If the queue is full (256 MiB), the image is dropped and counted.
        """
        size = frame.pixels.nbytes
        with self._changed:
            if self._ending or self._queued_bytes + size > _QUEUE_BYTES:
                self.dropped += 1
                return
            self._queue.append(frame)
            self._queued_bytes += size
            self._changed.notify()

    def close(self) -> Recording:
        """Finish the file; the process is killed after 15 seconds without an event. Closing again returns the same result."""
        with self._closing:
            if self._result is None:
                self._result = self._close()
            return self._result

    def _close(self) -> Recording:
        self._end()
        self._alive = time.monotonic()
        # Reading back a long recording takes a while; progress events show that it goes on.
        while self._event_reader.is_alive() and (left := self._alive + _CLOSE_SECONDS - time.monotonic()) > 0:
            self._event_reader.join(left)
        if self._event_reader.is_alive():
            self._killed = True
            self._process.kill()
            self._event_reader.join()
        self._sender.join()
        statistics = self._statistics
        return Recording(
            path=self._path,
            frames=statistics.get("frames", 0),
            dropped=self.dropped + statistics.get("dropped", 0),
            seconds=statistics.get("seconds", 0.0),
            audio=bool(self._audio),
            trouble=self._trouble,
        )

    def _end(self) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify()

    def _send_images(self) -> None:
        """Send images to the other process, until `close` or the end of that process."""
        pipe = self._process.stdin
        assert pipe is not None
        try:
            while (frame := self._next()) is not None:
                seconds = float(frame.pts * frame.time_base)
                image = _fit(frame.pixels, *self._size)
                pipe.write(HEADER.pack(round(seconds * 1e6), *self._size))
                pipe.write(image.data)
                pipe.flush()
                self._first = self._first if self._sent else seconds
                self._last = seconds
                self._sent += 1
                with self._changed:
                    self._queued_bytes -= frame.pixels.nbytes
        except BrokenPipeError:
            pass  # the other process is gone, and `_read_events` reports why
        except Exception as error:  # report an image that cannot be sent
            self._trouble = f"the recording ended early ({reason(error)}): {self._path}"
        finally:
            with self._changed:
                self._ending = True
                self.dropped += len(self._queue)
                self._queue.clear()
            with contextlib.suppress(OSError):
                pipe.close()

    def _next(self) -> Frame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._ending)
            return self._queue.popleft() if self._queue else None

    def _read_events(self) -> None:
        """Read the events of the other process, until it ends."""
        assert self._process.stdout is not None
        last_line = ""
        with self._process.stdout as lines:
            for line in lines:
                self._alive = time.monotonic()
                event = _parse_event(line)
                if event is None:
                    last_line = line.decode(errors="replace").strip() or last_line
                    continue
                self._audio = event.get("audio", self._audio)
                self._statistics |= {key: event[key] for key in ("frames", "dropped", "seconds") if key in event}
                self._finished = self._finished or event["event"] == "finished"
                self._trouble = event.get("trouble") or self._trouble
        code = self._process.wait()
        if self._killed:
            self._trouble = f"the recording hung for {_CLOSE_SECONDS:g} s and was cut off: {self._path}"
        elif not self._finished:
            why = f"signal {-code}" if code < 0 else last_line or f"exit code {code}"
            self._trouble = f"the recording broke off ({why}), what was recorded until then is kept: {self._path}"
        self._end()


def check_new_recording(path: Path) -> None:
    """Raise unless a recording can be started at `path`; see `Recorder`."""
    if path.suffix.lower() != ".mkv":
        raise UsageError(f"expected a recording that ends in .mkv, because an .mp4 would be lost in a crash, got {path.name}")
    if os.path.lexists(path):
        raise OutputExistsError(f"{path} exists, and a recording never replaces anything; give another name")
    if not os.path.isdir(path.parent):
        raise DiskError(f"no such folder for the recording: {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise DiskError(f"no permission to write into {path.parent}")


def numbered_name(folder: Path, suffix: str, now: datetime) -> Path:
    """An unused path in `folder` with the time in its name, such as `vidstyle-2026-11-24-14.03.22.mkv`."""
    stem = now.strftime("vidstyle-%Y-%m-%d-%H.%M.%S")
    path, number = folder / f"{stem}{suffix}", 1
    while os.path.lexists(path):
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


def _start(request: str) -> subprocess.Popen[bytes]:
    # The terminal's Ctrl-C does not reach it: the end of its input is what ends it.
    return start_module(
        "vidstyle.live.recording.writer",
        request,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pipesize=_PIPE_BYTES,
    )


def _fit(pixels: Pixels, width: int, height: int) -> Pixels:
    """`pixels` scaled to this size, letterboxed to keep the aspect ratio."""
    h, w = pixels.shape[:2]
    if (w, h) == (width, height):
        return np.ascontiguousarray(pixels)
    return letterboxed(pixels, width, height, enlarging=cv2.INTER_LINEAR)


def _parse_event(line: bytes) -> dict[str, Any] | None:
    """The event in a line of output; None for any other line, such as a warning of a library."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None
