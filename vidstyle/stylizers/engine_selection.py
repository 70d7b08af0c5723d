"""Selects the engine that stylizes on a GPU, ONNX Runtime or torch: the faster one, measured once.

Both stylize the first batch several times, and the result of the faster one is used. The choice is remembered in the user's
cache folder by GPU, package versions and architecture, so that later runs load only one engine: loading torch takes seconds.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

import numpy as np
import onnx

from vidstyle.core.errors import DeviceError, MissingExtraError, VidstyleError
from vidstyle.core.frames import Pixels
from vidstyle.core.model_metadata import metadata_of
from vidstyle.core.protocols import Engine, Stylizer
from vidstyle.core.user_cache import remember, remembered

log = logging.getLogger(__name__)

WARM_RUNS = 3
"""The engines pick algorithms in the first run, and capture graphs in the third."""
TIMED_RUNS = 5

_FILE = "engines.json"
"""In the user's cache folder: the engines that were selected."""

NAMES = {"onnx": "ONNX Runtime", "torch": "torch"}

Load = Callable[[str], Stylizer]
"""Loads a stylizer for a device."""


def may_choose(model: onnx.ModelProto) -> bool:
    """Whether both engines could run the model on a GPU, as far as can be known without loading them."""
    from vidstyle.core.hardware import has_nvidia

    return bool(architecture_of(model)) and has_nvidia() and find_spec("torch") is not None


def architecture_of(model: onnx.ModelProto) -> str:
    """The architecture of a model that `vidstyle train` made; empty for others, which torch cannot run."""
    return metadata_of(model).get("architecture", "")


def select_engine(loaders: Mapping[str, Load], device: str, architecture: str) -> Stylizer:
    """The faster of the engines on a GPU, or the only one that runs there; with `auto` and none, the first on the CPU.

    Raises `DeviceError` if `device` is a GPU that no engine can use, and the errors of the engines.
    """
    key = f"{_gpu()}, {architecture}, onnxruntime {_version('onnxruntime-gpu')}, torch {_version('torch')}"
    known = remembered(_FILE, key)
    wanted = [known] if known in loaders else list(loaders)
    gpu = "cuda" if device == "auto" else device
    stylizers: dict[str, Stylizer] = {}
    first_error: VidstyleError | None = None
    for name in [*wanted, *(other for other in loaders if other not in wanted)]:
        if stylizers and name not in wanted:
            break
        try:
            stylizers[name] = loaders[name](gpu)
        except (DeviceError, MissingExtraError) as error:
            first_error = first_error or error
            log.debug("%s does not run on the GPU: %s", NAMES.get(name, name), error)
    if len(stylizers) == 1:
        return next(iter(stylizers.values()))
    if stylizers:
        return SelectingStylizer(stylizers, Selection(lambda name: remember(_FILE, key, name)))
    if device != "auto" and first_error is not None:
        raise first_error
    return next(iter(loaders.values()))("auto")


class Selection:
    """The engine that was selected, None until it is measured; shared by all stylizers made from one `SelectingStylizer`."""

    def __init__(self, on_selected: Callable[[str], None] = lambda name: None) -> None:
        self.name: str | None = None
        self.lock = Lock()
        self.on_selected = on_selected


class SelectingStylizer(Stylizer):
    """The same network in several engines; the first batch decides which of them stylizes from then on."""

    def __init__(self, stylizers: Mapping[str, Stylizer], selection: Selection) -> None:
        self._stylizers, self._selection = dict(stylizers), selection
        self.concurrency = max(stylizer.concurrency for stylizer in stylizers.values())

    @property
    def engine(self) -> Engine:
        if self._selection.name is not None:
            return self._selected().engine
        engines = [stylizer.engine for stylizer in self._stylizers.values()]
        return replace(engines[0], name=" or ".join(engine.name for engine in engines))

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        if self._selection.name is None:
            with self._selection.lock:
                if self._selection.name is None:
                    return self._measure(images)
        return self._selected().stylize(images)

    def _measure(self, images: Sequence[Pixels]) -> Pixels:
        """Select an engine by stylizing `images`; returns the result of the fastest."""
        stylized, seconds = dict[str, Pixels](), dict[str, float]()
        first_error: VidstyleError | None = None
        for name, stylizer in self._stylizers.items():
            try:
                times = []
                for _ in range(WARM_RUNS + TIMED_RUNS):
                    began = time.perf_counter()
                    stylized[name] = stylizer.stylize(images)
                    times.append(time.perf_counter() - began)
                seconds[name] = statistics.median(times[WARM_RUNS:])
            except VidstyleError as error:
                first_error = first_error or error
                log.warning("%s cannot stylize: %s", NAMES.get(name, name), error)
        if not seconds:
            assert first_error is not None
            raise first_error
        best = min(seconds, key=lambda name: seconds[name])
        figures = ", ".join(f"{NAMES.get(name, name)} {1000 * took / len(images):.2f} ms" for name, took in seconds.items())
        log.info("%s stylizes: an image takes %s", NAMES.get(best, best), figures)
        if len(seconds) == len(self._stylizers):
            self._selection.on_selected(best)
        self._selection.name = best
        return stylized[best]

    def _selected(self) -> Stylizer:
        assert self._selection.name is not None
        return self._stylizers[self._selection.name]

    def for_shot(self, images: Iterable[Pixels]) -> Stylizer:
        samples = images if self._selection.name is not None else list(images)
        return self._each(lambda stylizer: stylizer.for_shot(samples))

    def statistics(self) -> Mapping[str, np.ndarray]:
        return (self._selected() if self._selection.name is not None else next(iter(self._stylizers.values()))).statistics()

    def with_statistics(self, statistics: Mapping[str, np.ndarray]) -> Stylizer:
        return self._each(lambda stylizer: stylizer.with_statistics(statistics))

    def adapted(self, image: Pixels, weight: float) -> Stylizer:
        return self._each(lambda stylizer: stylizer.adapted(image, weight))

    def _each(self, change: Callable[[Stylizer], Stylizer]) -> Stylizer:
        if self._selection.name is not None:
            return change(self._selected())
        return SelectingStylizer({name: change(stylizer) for name, stylizer in self._stylizers.items()}, self._selection)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _gpu() -> str:
    """The names of the GPUs, from the driver's files, without CUDA."""
    models = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with suppress(OSError):
            models += [line.split(":", 1)[1].strip() for line in path.read_text().splitlines() if line.startswith("Model:")]
    return " and ".join(models) or "a GPU"
