"""Which engine stylizes on a GPU, ONNX Runtime or torch: the faster one, measured once.

The first batch that a machine stylizes is stylized by both, several times, and shown as the faster one stylized it. What came of
that is remembered in the user's cache folder for the GPU, the versions and the kind of net, so that later runs load one only:
loading torch takes seconds.
"""

from __future__ import annotations

import json
import logging
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

import numpy as np
import onnx
import platformdirs

from vidstyle.core.errors import DeviceError, MissingExtraError, VidstyleError
from vidstyle.core.files import replaced
from vidstyle.core.frames import Pixels
from vidstyle.core.protocols import Stylizer

log = logging.getLogger(__name__)

WARM_RUNS = 3
"""Algorithms are chosen in the first run, graphs captured in the third."""
TIMED_RUNS = 5

NAMES = {"onnx": "ONNX Runtime", "torch": "torch"}

Make = Callable[[str], Stylizer]
"""Loads a stylizer for a device."""


def may_choose(model: onnx.ModelProto) -> bool:
    """Whether both engines could run the net on a GPU, as far as that can be told without loading them."""
    from vidstyle.core.hardware import has_nvidia

    return bool(architecture_of(model)) and has_nvidia() and find_spec("torch") is not None


def architecture_of(model: onnx.ModelProto) -> str:
    """The kind of a net that `vidstyle train` made; empty for others, which torch cannot run."""
    return next((p.value for p in model.metadata_props if p.key == "vidstyle.architecture"), "")


def fastest(makers: Mapping[str, Make], device: str, architecture: str) -> Stylizer:
    """The faster of the engines on a GPU, or the one that runs there; with `auto` and none, the first on the CPU.

    Raises `DeviceError` where `device` is a GPU that none of them gets, and what else the engines raise.
    """
    key = f"{_gpu()}, {architecture}, onnxruntime {_version('onnxruntime-gpu')}, torch {_version('torch')}"
    known = remembered(key)
    wanted = [known] if known in makers else list(makers)
    gpu = "cuda" if device == "auto" else device
    stylizers: dict[str, Stylizer] = {}
    trouble: VidstyleError | None = None
    for name in [*wanted, *(other for other in makers if other not in wanted)]:
        if stylizers and name not in wanted:
            break
        try:
            stylizers[name] = makers[name](gpu)
        except (DeviceError, MissingExtraError) as error:
            trouble = trouble or error
            log.debug("%s does not run on the GPU: %s", NAMES.get(name, name), error)
    if len(stylizers) == 1:
        return next(iter(stylizers.values()))
    if stylizers:
        return Choosing(stylizers, Choice(lambda name: remember(key, name)))
    if device != "auto" and trouble is not None:
        raise trouble
    return next(iter(makers.values()))("auto")


class Choice:
    """Which of several engines stylizes, None until it was measured; one for all that are made of a `Choosing`."""

    def __init__(self, on_choice: Callable[[str], None] = lambda name: None) -> None:
        self.name: str | None = None
        self.lock = Lock()
        self.on_choice = on_choice


class Choosing:
    """Several engines with the same net; the first batch tells which of them stylizes from then on."""

    def __init__(self, stylizers: Mapping[str, Stylizer], choice: Choice) -> None:
        self._stylizers, self._choice = dict(stylizers), choice
        self.concurrency = max(stylizer.concurrency for stylizer in stylizers.values())

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        if self._choice.name is None:
            with self._choice.lock:
                if self._choice.name is None:
                    return self._measure(images)
        return self._chosen().stylize(images)

    def _measure(self, images: Sequence[Pixels]) -> Pixels:
        """Choose by painting `images`; returns them as the fastest stylized them."""
        stylized, seconds = dict[str, Pixels](), dict[str, float]()
        trouble: VidstyleError | None = None
        for name, stylizer in self._stylizers.items():
            try:
                times = []
                for _ in range(WARM_RUNS + TIMED_RUNS):
                    began = time.perf_counter()
                    stylized[name] = stylizer.stylize(images)
                    times.append(time.perf_counter() - began)
                seconds[name] = statistics.median(times[WARM_RUNS:])
            except VidstyleError as error:
                trouble = trouble or error
                log.warning("%s cannot paint: %s", NAMES.get(name, name), error)
        if not seconds:
            assert trouble is not None
            raise trouble
        best = min(seconds, key=lambda name: seconds[name])
        told = ", ".join(f"{NAMES.get(name, name)} {1000 * took / len(images):.2f} ms" for name, took in seconds.items())
        log.info("%s stylizes: an image takes %s", NAMES.get(best, best), told)
        if len(seconds) == len(self._stylizers):
            self._choice.on_choice(best)
        self._choice.name = best
        return stylized[best]

    def _chosen(self) -> Stylizer:
        assert self._choice.name is not None
        return self._stylizers[self._choice.name]

    def for_shot(self, images: Iterable[Pixels]) -> Stylizer:
        if self._choice.name is not None:
            return self._chosen().for_shot(images)
        seen = list(images)
        return self._each(lambda stylizer: stylizer.for_shot(seen))

    def statistics(self) -> Mapping[str, np.ndarray]:
        return (self._chosen() if self._choice.name is not None else next(iter(self._stylizers.values()))).statistics()

    def with_statistics(self, statistics: Mapping[str, np.ndarray]) -> Stylizer:
        return self._each(lambda stylizer: stylizer.with_statistics(statistics))

    def adapted(self, image: Pixels, share: float) -> Stylizer:
        return self._each(lambda stylizer: stylizer.adapted(image, share))

    def _each(self, change: Callable[[Stylizer], Stylizer]) -> Stylizer:
        if self._choice.name is not None:
            return change(self._chosen())
        return Choosing({name: change(stylizer) for name, stylizer in self._stylizers.items()}, self._choice)

    def at(self, seconds: float) -> Stylizer:
        return self

    def describe(self) -> str:
        if self._choice.name is not None:
            return self._chosen().describe()
        return "CUDA, by " + " or ".join(NAMES.get(name, name) for name in self._stylizers)


def remembered(key: str) -> str | None:
    """What was chosen before under `key`; None where nothing was."""
    try:
        found = json.loads(_memory().read_text("utf-8")).get(key)
        return found if isinstance(found, str) else None
    except (OSError, ValueError, AttributeError):
        return None


def remember(key: str, name: str) -> None:
    """Note what was chosen; where that cannot be written, it is measured again next time."""
    path = _memory()
    known: dict[str, str] = {}
    with suppress(OSError, ValueError, TypeError):
        known = dict(json.loads(path.read_text("utf-8")))
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as temporary:
            temporary.write_text(json.dumps({**known, key: name}, indent=1) + "\n", "utf-8")


def _memory() -> Path:
    return platformdirs.user_cache_path("vidstyle") / "engines.json"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _gpu() -> str:
    """What the GPUs are called, as far as the driver says so without being asked through CUDA."""
    models = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with suppress(OSError):
            models += [line.split(":", 1)[1].strip() for line in path.read_text().splitlines() if line.startswith("Model:")]
    return " and ".join(models) or "a GPU"
