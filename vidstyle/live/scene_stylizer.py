"""What stylizes live: the styles that are shown, each with the statistics of the scene, and the switch between them."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace

import cv2
import numpy as np

from vidstyle.core.errors import VidstyleError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import StyleOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.stylizers import load_stylizer
from vidstyle.stylizers.guided_upsampling import scaled, upsample_guided

Mix = list[tuple[str, float]]
"""Styles and their shares, which add up to 1."""

SAMPLE_SECONDS = 0.25
SAMPLES = 4
"""The last images, so far apart, from which a style that is switched to takes its statistics."""
REFRESH_SECONDS = 0.5
REFRESH_SHARE = 0.02
"""Statistics move by this share towards each sample: two thirds of a change of light are taken over in 25 s, unseen."""


@dataclass
class _Scene:
    """A style that knows the scene: its statistics are the mean of `seen` samples at first, then follow slowly."""

    stylizer: Stylizer
    seen: int
    due: float
    coming: Future[Stylizer] | None = None
    """The same style with fresher statistics, being made."""


class Painter:
    """Stylizes images in one or two styles; the next style is made ready by `background` while the last one goes on.

    `paint` is for one thread, which alone changes anything here: `background` only computes. Raises `StyleError` and
    `DeviceError` for the first style at once; what is the matter with a later one is told by `trouble`, and the last one stays.
    """

    def __init__(self, first: str, options: StyleOptions, background: Executor) -> None:
        self._options, self._background = options, background
        self._first: dict[str, Stylizer] = {first: self._load(first)}
        self._scenes: dict[str, _Scene] = {}
        self._coming: dict[str, Future[_Scene]] = {}
        self._failed: dict[str, str] = {}
        self._shown: Mix = []
        self._samples: deque[Pixels] = deque(maxlen=SAMPLES)
        self._sampled = -np.inf
        self.description = self._first[first].describe()
        """Where it runs, in a few words."""

    def _load(self, name: str) -> Stylizer:
        return load_stylizer(replace(self._options, style=name, height=None), concurrency=1)

    def paint(self, image: Pixels, mix: Mix, height: int) -> tuple[Pixels, bool]:
        """`image` stylized at inference height `height`, at its own size; and whether `mix` is what was used already."""
        small = scaled(image, min(height, image.shape[0]))
        self._sample(small)
        wanted = self._make_ready(mix)
        for name, _ in self._shown:
            self._refresh(self._scenes[name])
        stylizers = [(self._scenes[name].stylizer, share) for name, share in self._shown]
        paintings = [(np.ascontiguousarray(stylizer.stylize([small])[0]), share) for stylizer, share in stylizers]
        stylized, share = paintings[0]
        if len(paintings) == 2:
            stylized = np.asarray(cv2.addWeighted(stylized, share, *paintings[1], 0), np.uint8)
        return upsample_guided(stylized, small, image) if small is not image else stylized, wanted

    def trouble(self, mix: Mix) -> str | None:
        """Why `mix` is not shown, a sentence; None if nothing is wrong with it."""
        return next((self._failed[name] for name, _ in mix if name in self._failed), None)

    def _sample(self, small: Pixels) -> None:
        now = time.monotonic()
        if now - self._sampled >= SAMPLE_SECONDS:
            self._sampled = now
            self._samples.append(small)

    def _make_ready(self, mix: Mix) -> bool:
        names = [name for name, _ in mix]
        if not self._shown:  # the very first image waits for its style
            self._scenes = {name: self._scene(name, [*self._samples]) for name in names}
        self._take_over()
        for name in names:
            if name not in self._scenes and name not in self._coming and name not in self._failed:
                self._coming[name] = self._background.submit(self._scene, name, [*self._samples])
        if not all(name in self._scenes for name in names):
            return False
        self._shown = mix
        # Sessions take memory; making one ready again takes a tenth of a second.
        self._scenes = {name: self._scenes[name] for name in names}
        return True

    def _take_over(self) -> None:
        """Let what `background` has made ready be used from now on."""
        for name in [name for name, coming in self._coming.items() if coming.done()]:
            try:
                self._scenes[name] = self._coming.pop(name).result()
            except VidstyleError as error:
                self._failed[name] = f"{name} cannot be used: {error}"

    def _scene(self, name: str, samples: list[Pixels]) -> _Scene:
        stylizer = (self._first.pop(name, None) or self._load(name)).for_shot(samples)
        stylizer.stylize([samples[-1]])  # the first run at a new size has preparations of its own
        return _Scene(stylizer, len(samples), time.monotonic() + SAMPLE_SECONDS)

    def _refresh(self, scene: _Scene) -> None:
        if scene.coming is None:
            if time.monotonic() >= scene.due:
                share = max(1 / (scene.seen + 1), REFRESH_SHARE)
                scene.coming = self._background.submit(_adapted, scene.stylizer, self._samples[-1], share)
        elif scene.coming.done():
            adapted, scene.coming = scene.coming.result(), None
            settled = 1 / (scene.seen + 1) <= REFRESH_SHARE
            scene.due = time.monotonic() + (REFRESH_SECONDS if settled else SAMPLE_SECONDS)
            if adapted is scene.stylizer:
                scene.due = np.inf  # has no statistics
            scene.stylizer, scene.seen = adapted, scene.seen + 1


def _adapted(stylizer: Stylizer, sample: Pixels, share: float) -> Stylizer:
    adapted = stylizer.adapted(sample, share)
    if adapted is not stylizer:
        adapted.stylize([sample])
    return adapted
