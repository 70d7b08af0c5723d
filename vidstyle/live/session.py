"""Camera -> painting -> screen, newest frame wins.

Three things go on side by side: the camera is read (`feed`), the newest frame is stylized (`easel`), the newest painting is
shown (`run`, in the thread that calls it: windows want the main one).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

import numpy as np

from vidstyle.core.concurrency import Newest, background
from vidstyle.core.frames import Pixels
from vidstyle.core.options import LiveOptions
from vidstyle.live.capture import Feed
from vidstyle.live.loop import Easel, Painted
from vidstyle.live.metrics import Figures, Meter
from vidstyle.live.outputs import Outputs
from vidstyle.live.protocols import Camera, Screen
from vidstyle.live.scene_stylizer import Painter
from vidstyle.live.state import ACTIONS, Action, Controls, KeyPress, Status, adjust, press

LOOK_SECONDS = 0.008
"""Keys are looked at this often where no image comes."""
MESSAGE_SECONDS = 4.0
UNCHANGED_SECONDS = 0.25
"""Without a new image the last one is shown again this often: what is told beside it may have changed."""
WAITING_SECONDS = 1.5
"""Without a first image for this long an empty one is shown, so that the person is told why."""
LAP_SECONDS = 1.0
_EMPTY = (360, 640, 3)


@dataclass(frozen=True, slots=True)
class Lap:
    """How a second went."""

    figures: Figures
    style: str
    height: int
    rate: float
    """Frames a second that the camera gives, measured."""


class Reporter(Protocol):
    """Is told how it goes."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def first(self) -> None:
        """The first image is on the screen."""

    def lap(self, lap: Lap) -> None:
        """Once a second."""

    def total(self, figures: Figures) -> None:
        """At the end: figures of the whole."""


def run(
    camera: Camera,
    screen: Screen,
    controls: Controls,
    options: LiveOptions,
    reporter: Reporter,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Paint `camera` onto `screen` until the person quits.

    `check` is called about a hundred times a second and may raise to end it. However it ends, a recording is finished and
    camera and screen are let go. Raises `InputError` for a camera that never gave an image, `StyleError` or `DeviceError` for
    a style or device that cannot be had.
    """
    with ExitStack() as stack:
        stack.callback(screen.close)
        stack.callback(camera.close)
        session = _Session(stack, camera, screen, controls, options, reporter)
        try:
            while session.step():
                check()
        finally:
            screen.close()  # at once, though a recording may take a moment to finish
            reporter.total(session.total.lap(session.feed.count))


class _Session:
    def __init__(
        self,
        stack: ExitStack,
        camera: Camera,
        screen: Screen,
        controls: Controls,
        options: LiveOptions,
        reporter: Reporter,
    ) -> None:
        aside = stack.enter_context(background())
        self.feed = stack.enter_context(closing(Feed(camera)))  # the camera warms up while the style is loaded
        painter = Painter(controls.mix()[0][0], options.style, aside)
        reporter.note(f"style {controls.describe()}: {painter.description}")
        self._easel = Easel(self.feed, painter, controls, options.fps)
        self._stylized = stack.enter_context(closing(Newest(self._easel.images(), "easel")))
        stack.callback(self._easel.close)
        self._notes: SimpleQueue[str] = SimpleQueue()
        stack.callback(self._tell)  # at the very end: what became of recordings
        # Finishing a long recording takes a while; the next style must not wait for it.
        self._outputs = Outputs(options, stack.enter_context(background()), self._notes.put)
        stack.enter_context(closing(self._outputs))
        self._screen, self._painter, self._reporter, self._fps = screen, painter, reporter, options.fps
        self._meter, self.total = Meter(), Meter()
        self._lap_began = self._shown_at = time.monotonic()
        self._message, self._message_until = "", 0.0
        self._image: Pixels | None = None
        self._height = 0
        self._begun = self._rate_told = False
        self._camera, self._camera_trouble = camera, camera.trouble

    def step(self) -> bool:
        """One look at images and keys; False once the person has quit."""
        stylized = self._stylized.take(LOOK_SECONDS)
        if stylized is not None:
            self._show_new(stylized)
        elif time.monotonic() - self._shown_at > (UNCHANGED_SECONDS if self._image is not None else WAITING_SECONDS):
            self._show(self._image if self._image is not None else np.full(_EMPTY, 24, np.uint8))
        on = self._obey()  # a window draws what it was given when it is asked for keys: only then is it shown
        if stylized is not None and not stylized.still:
            if not self._begun:
                self._begun = True
                self._reporter.first()
            for metric in (self._meter, self.total):
                metric.shown(float(stylized.frame.pts * stylized.frame.time_base), stylized.number)
        self._lap()
        return on

    def _show_new(self, stylized: Painted) -> None:
        self._image = stylized.frame.pixels
        if stylized.height != self._height:
            if self._height:
                self._say(f"inference height {stylized.height}")
            self._height = stylized.height
        self._show(self._image)
        self._outputs.give(stylized.frame, self._fps or self.feed.rate)

    def _show(self, image: Pixels) -> None:
        self._tell()
        now, controls = time.monotonic(), self._easel.controls
        trouble = self._painter.trouble(controls.mix()) or (None if controls.frozen else self.feed.trouble)
        message = self._message if now < self._message_until else trouble or ""
        status = Status(self._meter.fps(), self._meter.latency(), self._height, self._outputs.recording, message)
        self._screen.show(image, status, controls)
        self._shown_at = now

    def _obey(self) -> bool:
        for event in self._screen.events():
            if isinstance(event, KeyPress):
                action = ACTIONS.get(event.key)
                if action is None:
                    self._easel.controls = press(self._easel.controls, event.key, self._easel.height)
                elif not self._act(action):
                    return False
            else:
                self._easel.controls = adjust(self._easel.controls, event)
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

    def _tell(self) -> None:
        while True:
            try:
                self._say(self._notes.get_nowait())
            except Empty:
                return

    def _say(self, text: str) -> None:
        self._message, self._message_until = text, time.monotonic() + MESSAGE_SECONDS
        self._reporter.note(text)

    def _lap(self) -> None:
        if time.monotonic() - self._lap_began >= LAP_SECONDS:
            self._lap_began = time.monotonic()
            self._tell_of_camera()
            figures = self._meter.lap(self.feed.count)
            self._reporter.lap(Lap(figures, self._easel.controls.describe(), self._height, self.feed.rate))

    def _tell_of_camera(self) -> None:
        if not self._rate_told and self._image is not None and (rate := self.feed.measured_rate):
            self._rate_told = True
            h, w = self._image.shape[:2]
            self._reporter.note(f"camera: {w}x{h}, {rate:.1f} images a second as measured")
        trouble = self._camera.trouble
        if trouble != self._camera_trouble:
            self._camera_trouble = trouble
            self._reporter.note(trouble or "the camera gives images")
