"""The loop that stylizes live images: it takes the newest frame and stylizes it with the current settings."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from vidstyle.core.frames import Frame
from vidstyle.live.capture import Capture
from vidstyle.live.compose import compose
from vidstyle.live.resolution import ResolutionControl
from vidstyle.live.scene_stylizer import SceneStylizer
from vidstyle.live.state import LiveState

EARLY = 0.3
"""A frame may come early by this fraction of the requested interval: cameras jitter."""


@dataclass(frozen=True, slots=True)
class LiveImage:
    """A stylized image to show, with the time of its capture."""

    frame: Frame
    number: int
    """Number of the frame among those of the camera, from 1."""
    height: int
    """Inference height."""
    frozen: bool
    """Whether the camera's image is frozen: the same frame was stylized again."""


class StylizeLoop:
    """Stylizes in the thread that runs `images`; another thread may replace `state` at any time."""

    def __init__(self, capture: Capture, scene_stylizer: SceneStylizer, state: LiveState, fps: float | None = None) -> None:
        self._capture, self._scene_stylizer, self._fps = capture, scene_stylizer, fps
        self.state = state
        self._resolution: ResolutionControl | None = None
        self._full_height = 0
        self._due = 0.0
        self._closed = threading.Event()

    @property
    def height(self) -> int:
        """The inference height; 0 before the first image."""
        return self._resolution.height if self._resolution else 0

    def images(self) -> Generator[LiveImage, None, None]:
        """Stylized images, until `close`."""
        frame: Frame | None = None
        number = 0
        done: LiveState | None = None
        while not self._closed.is_set():
            newest, state = self._capture.take(0.1), self.state
            if state.frozen and frame is not None:
                if done == state:
                    continue  # stylized already
            elif newest is None or self._is_early(newest[1]):
                continue
            else:
                number, frame = newest
            image, height, settled = self._stylize(frame, state)
            done = state if settled else None
            yield LiveImage(image, number, height, state.frozen)

    def _is_early(self, frame: Frame) -> bool:
        """Whether to skip this frame, because it comes too early for the requested rate."""
        if self._fps is None:
            return False
        at, interval = float(frame.pts * frame.time_base), 1 / self._fps
        if at < self._due - EARLY * interval:
            return True
        self._due = max(self._due, at - interval) + interval
        return False

    def _stylize(self, frame: Frame, state: LiveState) -> tuple[Frame, int, bool]:
        began = time.perf_counter()
        original = np.asarray(cv2.flip(frame.pixels, 1), np.uint8) if state.mirror else frame.pixels
        resolution = self._resolution_for(original.shape[0], state)
        height = resolution.height
        stylized, settled = self._scene_stylizer.stylize(original, state.mix(), height)
        image = compose(original, stylized, state)
        if not state.frozen:
            resolution.add_time(time.perf_counter() - began)
        return replace(frame, pixels=image), height, settled

    def _resolution_for(self, full: int, state: LiveState) -> ResolutionControl:
        rate = min(self._fps or self._capture.rate, self._capture.rate)
        if self._resolution is None or self._full_height != full:
            self._resolution, self._full_height = ResolutionControl(full, rate, state.height), full
        self._resolution.fps = rate
        self._resolution.fix(state.height)
        return self._resolution

    def close(self) -> None:
        """End `images` after the image in progress."""
        self._closed.set()
