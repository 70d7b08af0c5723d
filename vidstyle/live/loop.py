"""Where live images are stylized: takes the newest frame, stylizes it as the controls say."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from vidstyle.core.frames import Frame
from vidstyle.live.capture import Feed
from vidstyle.live.compose import compose
from vidstyle.live.resolution import Pace
from vidstyle.live.scene_stylizer import Painter
from vidstyle.live.state import Controls

EARLY = 0.3
"""By this part of the wished interval a frame may come early and still count: cameras are not clocks."""


@dataclass(frozen=True, slots=True)
class Painted:
    """An image to show: `frame` holds it with the time of its capture and `number` tells which of the camera's it was;
    `still` is a frozen one, stylized again."""

    frame: Frame
    number: int
    height: int
    still: bool


class Easel:
    """Stylizes in whichever thread runs `images`; `controls` may be exchanged by another at any time."""

    def __init__(self, feed: Feed, painter: Painter, controls: Controls, fps: float | None = None) -> None:
        self._feed, self._painter, self._fps = feed, painter, fps
        self.controls = controls
        self._pace: Pace | None = None
        self._pace_for = 0
        self._due = 0.0
        self._closed = threading.Event()

    @property
    def height(self) -> int:
        """The inference height; 0 before the first image."""
        return self._pace.height if self._pace else 0

    def images(self) -> Generator[Painted, None, None]:
        """Stylized images, until `close`."""
        frame: Frame | None = None
        number = 0
        done: Controls | None = None
        while not self._closed.is_set():
            newest, controls = self._feed.take(0.1), self.controls
            if controls.frozen and frame is not None:
                if done == controls:
                    continue  # stylized already
            elif newest is None or self._early(newest[1]):
                continue
            else:
                number, frame = newest
            image, height, settled = self._paint(frame, controls)
            done = controls if settled else None
            yield Painted(image, number, height, controls.frozen)

    def _early(self, frame: Frame) -> bool:
        """Whether the wished rate asks to leave this one out."""
        if self._fps is None:
            return False
        at, interval = float(frame.pts * frame.time_base), 1 / self._fps
        if at < self._due - EARLY * interval:
            return True
        self._due = max(self._due, at - interval) + interval
        return False

    def _paint(self, frame: Frame, controls: Controls) -> tuple[Frame, int, bool]:
        began = time.perf_counter()
        original = np.asarray(cv2.flip(frame.pixels, 1), np.uint8) if controls.mirror else frame.pixels
        pace = self._pace_of(original.shape[0], controls)
        height = pace.height
        stylized, settled = self._painter.paint(original, controls.mix(), height)
        image = compose(original, stylized, controls)
        if not controls.frozen:
            pace.stylized(time.perf_counter() - began)
        return replace(frame, pixels=image), height, settled

    def _pace_of(self, full: int, controls: Controls) -> Pace:
        rate = min(self._fps or self._feed.rate, self._feed.rate)
        if self._pace is None or self._pace_for != full:
            self._pace, self._pace_for = Pace(full, rate, controls.height), full
        self._pace.fps = rate
        self._pace.fix(controls.height)
        return self._pace

    def close(self) -> None:
        """End `images` after the one in work."""
        self._closed.set()
