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
    """Receives every image that is shown. Errors are reported through `note`, and the live view goes on."""

    def __init__(self, options: LiveOptions, background: Executor, note: Callable[[str], None]) -> None:
        self._options, self._background, self._note = options, background, note
        self._frame: Frame | None = None
        self._recorder: Recorder | None = None
        self._record_path = options.record
        self._trouble_noted = False
        self._virtual_camera: VirtualCamera | None = None
        self._virtual_camera_enabled = options.virtual_camera

    @property
    def recording(self) -> float | None:
        """Length of the current recording in seconds; None while nothing is recorded."""
        return self._recorder.seconds if self._recorder else None

    def write(self, frame: Frame, fps: float) -> None:
        """Send on the next image, as shown. Raises `DeviceError` if a virtual camera was requested and cannot be opened."""
        self._frame = frame
        if self._record_path is not None:
            path, self._record_path = self._record_path, None
            self._start(path)
        if self._recorder is not None:
            self._recorder.write(frame)
            if self._recorder.trouble is not None and not self._trouble_noted:
                self._trouble_noted = True  # it may be the audio only
                self._note(f"recording: {self._recorder.trouble}")
            if self._recorder.over:
                self.toggle_recording()
        if self._virtual_camera_enabled:
            if self._virtual_camera is None:
                self._virtual_camera = VirtualCamera(frame.pixels.shape[1], frame.pixels.shape[0], fps)
                self._note(f"virtual camera: {self._virtual_camera.name}")
            self._send(self._virtual_camera, frame)

    def _send(self, camera: VirtualCamera, frame: Frame) -> None:
        try:
            camera.send(frame.pixels)
        except DeviceError as error:
            self._virtual_camera_enabled = False
            self._note(str(error))

    def snapshot(self) -> None:
        """Save the last image as PNG under a new name."""
        if self._frame is not None:
            self._background.submit(self._save, self._frame)

    def _save(self, frame: Frame) -> None:
        # Named in the background thread, which writes one after the other: two within one second get two names.
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
        """Start a recording under a new name, or finish the current one."""
        if self._recorder is not None:
            recorder, self._recorder = self._recorder, None
            self._background.submit(self._finish, recorder, self._trouble_noted)
        elif self._frame is not None:
            self._start(numbered_name(self._options.folder, ".mkv", datetime.now()))

    def _start(self, path: Path) -> None:
        assert self._frame is not None
        h, w = self._frame.pixels.shape[:2]
        try:
            self._recorder, self._trouble_noted = Recorder(path, w, h, microphone=self._options.microphone), False
            self._note(f"recording to {path}")
        except VidstyleError as error:
            self._note(f"no recording: {error}")

    def _finish(self, recorder: Recorder, trouble_noted: bool) -> None:
        recording = recorder.close()
        if recording.frames:
            lost = f", {recording.dropped} images dropped because encoding was too slow" if recording.dropped else ""
            audio = "with audio" if recording.audio else "without audio"
            self._note(f"recorded {recording.path}: {recording.frames} images, {recording.seconds:.1f} s, {audio}{lost}")
        if recording.trouble and not trouble_noted:
            self._note(f"recording: {recording.trouble}")

    def close(self) -> None:
        """Finish the current recording and release the virtual camera."""
        if self._recorder is not None:
            recorder, self._recorder = self._recorder, None
            self._finish(recorder, self._trouble_noted)
        if self._virtual_camera is not None:
            self._virtual_camera.close()
