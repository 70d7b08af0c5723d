"""Where live images go besides the screen: snapshots, a recording, a virtual camera."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from datetime import datetime
from pathlib import Path

from vidstyle.core.errors import DeviceError, VidstyleError
from vidstyle.core.frames import Frame
from vidstyle.core.options import LiveOptions
from vidstyle.live.recording.recorder import Recorder, numbered_name
from vidstyle.live.virtual_camera import VirtualCamera
from vidstyle.sinks.images import ImageSink


class Outputs:
    """Takes every image that is shown. What goes wrong here is told by `note`, and the image goes on."""

    def __init__(self, options: LiveOptions, background: Executor, note: Callable[[str], None]) -> None:
        self._options, self._background, self._note = options, background, note
        self._frame: Frame | None = None
        self._recorder: Recorder | None = None
        self._record_into = options.record
        self._told = False
        self._virtual: VirtualCamera | None = None
        self._virtual_wanted = options.virtual_camera

    @property
    def recording(self) -> float | None:
        """Seconds recorded so far; None while nothing is recorded."""
        return self._recorder.seconds if self._recorder else None

    def give(self, frame: Frame, fps: float) -> None:
        """The next image, as shown. Raises `DeviceError` if a virtual camera was asked for and there is none."""
        self._frame = frame
        if self._record_into is not None:
            into, self._record_into = self._record_into, None
            self._start(into)
        if self._recorder is not None:
            self._recorder.write(frame)
            if self._recorder.trouble is not None and not self._told:
                self._told = True  # it may be the audio only
                self._note(f"recording: {self._recorder.trouble}")
            if self._recorder.over:
                self.toggle_recording()
        if self._virtual_wanted:
            if self._virtual is None:
                self._virtual = VirtualCamera(frame.pixels.shape[1], frame.pixels.shape[0], fps)
                self._note(f"virtual camera: {self._virtual.name}")
            self._send(self._virtual, frame)

    def _send(self, camera: VirtualCamera, frame: Frame) -> None:
        try:
            camera.send(frame.pixels)
        except DeviceError as error:
            self._virtual_wanted = False
            self._note(str(error))

    def snapshot(self) -> None:
        """Save the last image as PNG, under a name of its own."""
        if self._frame is not None:
            self._background.submit(self._save, self._frame)

    def _save(self, frame: Frame) -> None:
        # Named here, where one is written after the other: two of one second get two names.
        path = numbered_name(self._options.folder, ".png", datetime.now())
        try:
            sink = ImageSink(path)
            try:
                sink.write(frame)
                sink.publish()
            finally:
                sink.close()
            self._note(f"saved {path}")
        except VidstyleError as error:
            self._note(f"no snapshot: {error}")

    def toggle_recording(self) -> None:
        """Begin a recording under a name of its own, or end the one that runs."""
        if self._recorder is not None:
            recorder, self._recorder = self._recorder, None
            self._background.submit(self._finish, recorder, self._told)
        elif self._frame is not None:
            self._start(numbered_name(self._options.folder, ".mkv", datetime.now()))

    def _start(self, path: Path) -> None:
        assert self._frame is not None
        h, w = self._frame.pixels.shape[:2]
        try:
            self._recorder, self._told = Recorder(path, w, h, microphone=self._options.microphone), False
            self._note(f"recording into {path}")
        except VidstyleError as error:
            self._note(f"no recording: {error}")

    def _finish(self, recorder: Recorder, told: bool) -> None:
        done = recorder.close()
        if done.frames:
            lost = f", {done.dropped} images did not get there in time" if done.dropped else ""
            audio = "with audio" if done.audio else "without audio"
            self._note(f"recorded {done.path}: {done.frames} images, {done.seconds:.1f} s, {audio}{lost}")
        if done.trouble and not told:
            self._note(f"recording: {done.trouble}")

    def close(self) -> None:
        """End the recording properly, whatever runs; let go of the virtual camera."""
        if self._recorder is not None:
            recorder, self._recorder = self._recorder, None
            self._finish(recorder, self._told)
        if self._virtual is not None:
            self._virtual.close()
