"""The recording process: reads images from standard input, encodes them, and writes events to standard output.

`recorder.Recorder` runs it as `python -m vidstyle.live.recording.writer REQUEST`, with the request in JSON. Each line of its
output is an object whose `event` is `started`, `progress` or `finished`. It ends with its input, however that ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vidstyle.core.errors import VidstyleError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import EncodeOptions
from vidstyle.live.recording.microphone import Microphone
from vidstyle.live.recording.video_track import VideoTrack
from vidstyle.live.recording.wire import HEADER

_READ_AHEAD = 2
_MICROPHONE_SECONDS = 2.0
_PROGRESS_SECONDS = 1.0


class ImageReader:
    """Reads images from the pipe, a few ahead, until it ends or `end` is called."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        # SimpleQueue, because a signal handler may safely put into it.
        self._queue: queue.SimpleQueue[tuple[int, Pixels] | None] = queue.SimpleQueue()
        self._free = threading.Semaphore(_READ_AHEAD)
        threading.Thread(target=self._read, name="images", daemon=True).start()

    def __iter__(self) -> Iterator[tuple[int, Pixels] | None]:
        """Each image with its time in microseconds; None about once a second while no image comes."""
        while True:
            try:
                item = self._queue.get(timeout=_PROGRESS_SECONDS)
            except queue.Empty:
                yield None
                continue
            if item is None:
                return
            yield item
            self._free.release()

    def end(self) -> None:
        """End the iteration after the images that have arrived."""
        self._queue.put(None)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while len(header := self._stream.read(HEADER.size)) == HEADER.size:
                microseconds, width, height = HEADER.unpack(header)
                size = width * height * 3
                data = self._stream.read(size)
                if len(data) < size:  # the recorder died in the middle of an image
                    break
                self._free.acquire()
                self._queue.put((microseconds, np.frombuffer(data, np.uint8).reshape(height, width, 3)))
        self.end()


class EventWriter:
    """Writes events for the recorder, if it is still there."""

    def __init__(self) -> None:
        self._due = 0.0

    def write(self, event: str, **facts: Any) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
            sys.stdout.flush()

    def progress(self, video: VideoTrack, microphone: Microphone | None) -> None:
        """Write progress about once a second."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _PROGRESS_SECONDS
            trouble = microphone.trouble if microphone is not None else None
            self.write("progress", trouble=trouble, **_statistics(video))


def _statistics(video: VideoTrack) -> dict[str, Any]:
    """The statistics of the recording so far."""
    return {"frames": video.frames, "dropped": video.dropped, "seconds": video.seconds}


def record(request: dict[str, Any], images: ImageReader, events: EventWriter) -> None:
    """Record until `images` end; errors are reported as events, and what was written is kept."""
    microphone = Microphone(request["microphone"]) if request["microphone"] is not None else None
    video = None
    trouble = None
    try:
        audio = microphone is not None and microphone.wait(_MICROPHONE_SECONDS)
        events.write("started", audio=audio, trouble=microphone.trouble if microphone is not None else None)
        video = VideoTrack(Path(request["path"]), EncodeOptions(**request["encode"]), microphone if audio else None)
        for item in images:
            if item is not None:
                video.write(*item)
            events.progress(video, microphone)
        video.close(lambda: events.progress(video, microphone))
    except VidstyleError as error:
        trouble = str(error)
        if video is not None:
            video.salvage()
            trouble = f"{error}; the first {video.seconds:.0f} s are kept" if video.frames else trouble
    statistics = _statistics(video) if video is not None else {}
    events.write("finished", trouble=trouble or (microphone.trouble if microphone is not None else None), **statistics)
    if microphone is not None:
        microphone.close()


def main() -> None:
    """Record as requested in `sys.argv[1]`, and end the process."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        images = ImageReader(sys.stdin.buffer)
        signal.signal(signal.SIGTERM, lambda *_: images.end())
        record(json.loads(sys.argv[1]), images, EventWriter())
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        # A normal exit would wait for the threads that read.
        os._exit(code)


if __name__ == "__main__":
    main()
