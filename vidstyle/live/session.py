"""The live session: camera -> stylizer -> screen, the newest frame wins.

Three threads run concurrently: one reads the camera (`capture`), one stylizes the newest frame (`loop`), and the caller's
shows the newest stylized image (`run`; windows need the main thread).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

import numpy as np

from vidstyle.core.concurrency import Newest, background_executor
from vidstyle.core.frames import Pixels
from vidstyle.core.options import LiveOptions
from vidstyle.live.capture import Capture
from vidstyle.live.loop import LiveImage, StylizeLoop
from vidstyle.live.metrics import LiveMetrics, Measurements
from vidstyle.live.outputs import Outputs
from vidstyle.live.protocols import Camera, Screen
from vidstyle.live.scene_stylizer import SceneStylizer
from vidstyle.live.state import ACTIONS, Action, KeyPress, LiveState, Status, adjust, press

POLL_SECONDS = 0.008
"""Interval between two looks at the user's input while no image comes."""
MESSAGE_SECONDS = 4.0
UNCHANGED_SECONDS = 0.25
"""Without a new image the last one is shown again after this time, because the status may have changed."""
WAITING_SECONDS = 1.5
"""Without a first image for this long, an empty one is shown with a message that says why."""
PROGRESS_SECONDS = 1.0
_EMPTY = (360, 640, 3)


@dataclass(frozen=True, slots=True)
class LiveProgress:
    """Progress over the last second."""

    measurements: Measurements
    style: str
    height: int
    """Inference height."""
    rate: float
    """Measured frame rate of the camera."""


class LiveReporter(Protocol):
    """Receives events of a live session."""

    def note(self, text: str) -> None:
        """A message for the user."""

    def first(self) -> None:
        """The first image is on the screen."""

    def progress(self, progress: LiveProgress) -> None:
        """Called once a second."""

    def total(self, measurements: Measurements) -> None:
        """Called at the end, with measurements over the whole session."""


def run(
    camera: Camera,
    screen: Screen,
    state: LiveState,
    options: LiveOptions,
    reporter: LiveReporter,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Stylize `camera` and show it on `screen` until the user quits.

    `check` is called about a hundred times a second and may raise an exception to end the session. However the session ends,
    a recording is finished and camera and screen are closed. Raises `InputError` if the camera never gave an image, and
    `StyleError` or `DeviceError` if the style or the device is not available.
    """
    with ExitStack() as stack:
        stack.callback(screen.close)
        stack.callback(camera.close)
        session = _Session(stack, camera, screen, state, options, reporter)
        try:
            while session.step():
                check()
        finally:
            screen.close()  # at once, though a recording may take a moment to finish
            reporter.total(session.total_metrics.collect(session.capture.count))


class _Session:
    def __init__(
        self,
        stack: ExitStack,
        camera: Camera,
        screen: Screen,
        state: LiveState,
        options: LiveOptions,
        reporter: LiveReporter,
    ) -> None:
        executor = stack.enter_context(background_executor())
        self.capture = stack.enter_context(closing(Capture(camera)))  # the camera warms up while the style is loaded
        scene_stylizer = SceneStylizer(state.mix()[0][0], options.style, executor)
        reporter.note(f"style {state.describe()}: {scene_stylizer.description}")
        self._loop = StylizeLoop(self.capture, scene_stylizer, state, options.fps)
        self._images = stack.enter_context(closing(Newest(self._loop.images(), "loop")))
        stack.callback(self._loop.close)
        self._notes: SimpleQueue[str] = SimpleQueue()
        stack.callback(self._show_notes)  # at the very end: results of recordings
        # Finishing a long recording takes a while; the next style must not wait for it.
        self._outputs = Outputs(options, stack.enter_context(background_executor()), self._notes.put)
        stack.enter_context(closing(self._outputs))
        self._screen, self._scene_stylizer, self._reporter, self._fps = screen, scene_stylizer, reporter, options.fps
        self._recent_metrics, self.total_metrics = LiveMetrics(), LiveMetrics()
        self._progress_reported_at = self._shown_at = time.monotonic()
        self._message, self._message_until = "", 0.0
        self._image: Pixels | None = None
        self._height = 0
        self._first_reported = self._rate_reported = False
        self._camera, self._camera_trouble = camera, camera.trouble

    def step(self) -> bool:
        """Show the newest image, if there is one, and handle the user's input; False once the user has quit."""
        image = self._images.take(POLL_SECONDS)
        if image is not None:
            self._show_new(image)
        elif time.monotonic() - self._shown_at > (UNCHANGED_SECONDS if self._image is not None else WAITING_SECONDS):
            self._show(self._image if self._image is not None else np.full(_EMPTY, 24, np.uint8))
        running = self._handle_events()  # a window draws the image when it is polled for keys: only then is it visible
        if image is not None and not image.frozen:
            if not self._first_reported:
                self._first_reported = True
                self._reporter.first()
            for metrics in (self._recent_metrics, self.total_metrics):
                metrics.shown(float(image.frame.pts * image.frame.time_base), image.number)
        self._report_progress()
        return running

    def _show_new(self, image: LiveImage) -> None:
        self._image = image.frame.pixels
        if image.height != self._height:
            if self._height:
                self._show_message(f"inference height {image.height}")
            self._height = image.height
        self._show(self._image)
        self._outputs.write(image.frame, self._fps or self.capture.rate)

    def _show(self, image: Pixels) -> None:
        self._show_notes()
        now, state = time.monotonic(), self._loop.state
        trouble = self._scene_stylizer.trouble(state.mix()) or (None if state.frozen else self.capture.trouble)
        message = self._message if now < self._message_until else trouble or ""
        fps, latency = self._recent_metrics.fps(), self._recent_metrics.latency()
        status = Status(fps, latency, self._height, self._outputs.recording, message)
        self._screen.show(image, status, state)
        self._shown_at = now

    def _handle_events(self) -> bool:
        for event in self._screen.events():
            if isinstance(event, KeyPress):
                action = ACTIONS.get(event.key)
                if action is None:
                    self._loop.state = press(self._loop.state, event.key, self._loop.height)
                elif not self._act(action):
                    return False
            else:
                self._loop.state = adjust(self._loop.state, event)
        return True

    def _act(self, action: Action) -> bool:
        match action:
            case "quit":
                return False
            case "snapshot":
                self._outputs.snapshot()
            case "record":
                self._outputs.toggle_recording()
        return True

    def _show_notes(self) -> None:
        while True:
            try:
                self._show_message(self._notes.get_nowait())
            except Empty:
                return

    def _show_message(self, text: str) -> None:
        self._message, self._message_until = text, time.monotonic() + MESSAGE_SECONDS
        self._reporter.note(text)

    def _report_progress(self) -> None:
        if time.monotonic() - self._progress_reported_at >= PROGRESS_SECONDS:
            self._progress_reported_at = time.monotonic()
            self._report_camera()
            measurements = self._recent_metrics.collect(self.capture.count)
            self._reporter.progress(LiveProgress(measurements, self._loop.state.describe(), self._height, self.capture.rate))

    def _report_camera(self) -> None:
        if not self._rate_reported and self._image is not None and (rate := self.capture.measured_rate):
            self._rate_reported = True
            h, w = self._image.shape[:2]
            self._reporter.note(f"camera: {w}x{h}, {rate:.1f} fps measured")
        trouble = self._camera.trouble
        if trouble != self._camera_trouble:
            self._camera_trouble = trouble
            self._reporter.note(trouble or "the camera works again")
