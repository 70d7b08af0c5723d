"""Stylizing live: the styles that are shown, each with the statistics of the scene, and switching between them."""

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
from vidstyle.core.resizing import scaled
from vidstyle.stylizers import load_stylizer
from vidstyle.stylizers.guided_upsampling import upsample_guided
from vidstyle.stylizers.norm_statistics import has_contrast

Mix = list[tuple[str, float]]
"""Styles and their weights, which add up to 1."""

SAMPLE_SECONDS = 0.25
SAMPLES = 4
"""A style that is switched to takes its statistics from the last `SAMPLES` images, `SAMPLE_SECONDS` apart."""
REFRESH_SECONDS = 0.5
REFRESH_WEIGHT = 0.02
"""Weight of each new sample in the statistics: two thirds of a change of light are followed within 25 s, imperceptibly."""


@dataclass
class _AdaptedStyle:
    """A style adapted to the scene: its statistics are the mean of `sample_count` samples at first, then follow slowly.

    Samples without contrast, as of a covered camera, do not count.
    """

    stylizer: Stylizer
    sample_count: int
    due: float
    """When to refresh the statistics, by `time.monotonic`; infinite if the style has none."""
    pending: Future[Stylizer] | None = None
    """The same style with newer statistics, being prepared."""


class SceneStylizer:
    """Stylizes images in one or two styles; the next style is prepared in `background` while the current one goes on.

    `stylize` is for one thread, the only one that changes the state of this object: `background` only computes. Raises
    `StyleError` and `DeviceError` for the first style at once; errors of later ones are reported by `trouble`, and the
    current style stays.
    """

    def __init__(self, first: str, options: StyleOptions, background: Executor) -> None:
        self._options, self._background = options, background
        self._first: dict[str, Stylizer] = {first: self._load(first)}
        self._styles: dict[str, _AdaptedStyle] = {}
        self._pending: dict[str, Future[_AdaptedStyle]] = {}
        self._failed: dict[str, str] = {}
        self._shown: Mix = []
        self._samples: deque[Pixels] = deque(maxlen=SAMPLES)
        self._sampled = -np.inf
        self.description = self._first[first].describe()
        """The engine and the device, in a few words."""

    def _load(self, name: str) -> Stylizer:
        return load_stylizer(replace(self._options, style=name, height=None), concurrency=1)

    def stylize(self, image: Pixels, mix: Mix, height: int) -> tuple[Pixels, bool]:
        """`image` stylized at inference height `height`, in its own size; and whether `mix` was ready to be used."""
        small = scaled(image, min(height, image.shape[0]))
        self._sample(small)
        ready = self._select(mix)
        for name, _ in self._shown:
            self._refresh(self._styles[name])
        stylizers = [(self._styles[name].stylizer, weight) for name, weight in self._shown]
        stylized_images = [(np.ascontiguousarray(stylizer.stylize([small])[0]), weight) for stylizer, weight in stylizers]
        stylized, weight = stylized_images[0]
        if len(stylized_images) == 2:
            stylized = np.asarray(cv2.addWeighted(stylized, weight, *stylized_images[1], 0), np.uint8)
        return upsample_guided(stylized, small, image) if small is not image else stylized, ready

    def trouble(self, mix: Mix) -> str | None:
        """Why `mix` cannot be shown, as a sentence; None if nothing is wrong with it."""
        return next((self._failed[name] for name, _ in mix if name in self._failed), None)

    def _sample(self, small: Pixels) -> None:
        now = time.monotonic()
        if now - self._sampled >= SAMPLE_SECONDS:
            self._sampled = now
            self._samples.append(small)

    def _select(self, mix: Mix) -> bool:
        names = [name for name, _ in mix]
        if not self._shown:  # the first image waits for its style
            self._styles = {name: self._prepare(name, [*self._samples]) for name in names}
        self._use_prepared_styles()
        for name in names:
            if name not in self._styles and name not in self._pending and name not in self._failed:
                self._pending[name] = self._background.submit(self._prepare, name, [*self._samples])
        if not all(name in self._styles for name in names):
            return False
        self._shown = mix
        # Sessions take memory; preparing one again takes a tenth of a second.
        self._styles = {name: self._styles[name] for name in names}
        return True

    def _use_prepared_styles(self) -> None:
        """Use what `background` has prepared from now on."""
        for name in [name for name, pending in self._pending.items() if pending.done()]:
            try:
                self._styles[name] = self._pending.pop(name).result()
            except VidstyleError as error:
                self._failed[name] = f"{name} cannot be used: {error}"

    def _prepare(self, name: str, samples: list[Pixels]) -> _AdaptedStyle:
        stylizer = (self._first.pop(name, None) or self._load(name)).for_shot(samples)
        stylizer.stylize([samples[-1]])  # the first run at a new size includes its initialization
        due = time.monotonic() + SAMPLE_SECONDS if stylizer.statistics() else np.inf
        return _AdaptedStyle(stylizer, sum(map(has_contrast, samples)), due)

    def _refresh(self, style: _AdaptedStyle) -> None:
        if style.pending is None:
            if time.monotonic() >= style.due:
                weight = max(1 / (style.sample_count + 1), REFRESH_WEIGHT)
                style.pending = self._background.submit(_adapted, style.stylizer, self._samples[-1], weight)
        elif style.pending.done():
            adapted, style.pending = style.pending.result(), None
            settled = 1 / (style.sample_count + 1) <= REFRESH_WEIGHT
            style.due = time.monotonic() + (REFRESH_SECONDS if settled else SAMPLE_SECONDS)
            if adapted is not style.stylizer:
                style.stylizer, style.sample_count = adapted, style.sample_count + 1


def _adapted(stylizer: Stylizer, sample: Pixels, weight: float) -> Stylizer:
    adapted = stylizer.adapted(sample, weight)
    if adapted is not stylizer:
        adapted.stylize([sample])
    return adapted
