"""Frozen option dataclasses.

Their defaults and ranges are written here, once: a value out of range raises `UsageError` when the options are made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vidstyle.core.errors import UsageError

Stabilize = Literal["off", "light", "strong"]
Backend = Literal["auto", "onnx", "torch"]
ColorOrder = Literal["rgb", "bgr"]
Recipe = Literal["best", "gatys"]
Propagation = Literal["warp", "net"]

DEFAULT_QUALITY = 75
QUALITY_RANGE = (0, 100)
STRENGTH_RANGE = (0.0, 1.0)
STROKE_SCALE_RANGE = (0.25, 4.0)
"""For networks."""
PAINT_STROKE_SCALE_RANGE = (0.1, 10.0)
"""For optimization, which takes any size of strokes from the style image."""
MIN_HEIGHT = 16
"""Pixels; networks do not work at smaller heights."""
MAX_BATCH_SIZE = 64
MEMORY_FRACTION = 0.5
"""Of the machine's memory, what a conversion may take by default."""
FPS_RANGE = (1.0, 240.0)
PORT_RANGE = (0, 65535)
"""0: any free port."""
MIN_TRAINING_SIZE = 64
"""Of training crops and style images, in pixels."""
CROP_MULTIPLE = 8
"""Training crops are divisible by this, because the networks halve them three times."""


def _check_range(name: str, value: float | None, low: float, high: float = math.inf, *, above: bool = False) -> None:
    """Raise `UsageError` unless `value` is None, or a finite number from `low` to `high`; `above`: and not `low` itself."""
    if value is None or (low <= value <= high and math.isfinite(value) and not (above and value == low)):
        return
    limits = f"above {low:g}" if above else f"of at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
    raise UsageError(f"expected {name} {limits}, got {f'{value:g}' if isinstance(value, float) else value}")


MAX_SECONDS = 1e9
"""Largest time of a frame: later ones would overflow the 64 bits of a time in nanoseconds."""


@dataclass(frozen=True)
class Trim:
    """The time range of a video, in seconds from its beginning; `end` None means to the end."""

    start: float = 0.0
    end: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start <= MAX_SECONDS:
            raise UsageError(f"expected a start of 0 to {MAX_SECONDS:g} seconds, got {self.start:g}")
        if self.end is not None and not self.end > self.start:
            raise UsageError(f"expected an end after the start, got {self.start:g} to {self.end:g} s")


@dataclass(frozen=True)
class Selection:
    """Which videos and images of a folder are inputs."""

    recursive: bool = False
    """Search subfolders too."""
    include: tuple[str, ...] = ()
    """Only files that match one of these shell patterns, in upper or lower case: of file names, or, with a `/`, of paths in the
    folder. Empty: all files."""
    exclude: tuple[str, ...] = ()
    """Not the files that match one of these patterns, or whose folder matches one."""


@dataclass(frozen=True)
class EncodeOptions:
    """How video is encoded (see `sinks.encoder_table`)."""

    codec: str | None = None
    """`h264`, or an encoder's name in FFmpeg such as `libx264`; None: the codec that suits the container best."""
    quality: int | None = None
    """From 0 to 100 (best), on a scale that all encoders share. None: `DEFAULT_QUALITY`, or what `crf` sets."""
    crf: int | None = None
    """The quality on the encoder's own scale, instead of `quality`."""
    preset: str | None = None
    """The encoder's speed preset, such as `veryfast`; None: the encoder's default."""
    pix_fmt: str | None = None
    """FFmpeg's name of a pixel format; None: the encoder's first one that keeps transparency and HDR."""
    hardware: bool = False
    """Encode on the GPU, with the first encoder that works."""
    keep_hdr: bool = False
    """Encode with 10 bits or more, as HDR needs."""

    def __post_init__(self) -> None:
        _check_range("a quality", self.quality, *QUALITY_RANGE)


@dataclass(frozen=True)
class StyleOptions:
    """The style, how strongly it is applied, and the device it runs on."""

    style: str = "mosaic"
    """A name, a model file, a blend (`mosaic:0.6,scream:0.4`) or a timeline (`0:mosaic,10:scream`); see `styles.spec`."""
    device: str = "auto"
    backend: Backend = "auto"
    height: int | None = None
    """Inference height in pixels; the output keeps the input's size. None: the input's height."""
    model_color: ColorOrder = "rgb"
    """Channel order of a model that was not made by vidstyle."""
    strength: float = 1.0
    """From 0, the original, to 1, the style."""
    stroke_scale: float = 1.0
    """Scale of the strokes, 2 doubles their size; the output keeps its size."""
    fade: float = 1.0
    """Seconds that a change of style takes in a timeline."""

    def __post_init__(self) -> None:
        if self.height is not None and self.height < MIN_HEIGHT:
            raise UsageError(f"expected an inference height of at least {MIN_HEIGHT} pixels, got {self.height}")
        _check_range("a strength", self.strength, *STRENGTH_RANGE)
        _check_range("a stroke scale", self.stroke_scale, *STROKE_SCALE_RANGE)
        if not 0 <= self.fade < math.inf:
            raise UsageError(f"expected a fade of 0 seconds or more, got {self.fade:g}")


@dataclass(frozen=True)
class ConvertOptions:
    """How an input is converted."""

    style: StyleOptions = field(default_factory=StyleOptions)
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    trim: Trim = field(default_factory=Trim)
    batch_size: int = 1
    memory: float | None = None
    """Limit in GiB; what needs more is stylized with fewer frames at once, then at a smaller height. None: `MEMORY_FRACTION` of
    the machine's memory."""
    stabilize: Stabilize = "off"
    """How much of the previous stylized frame is warped into the next one, to reduce flicker."""
    preserve_color: bool = False
    """Stylize the luminance only; colours stay the input's."""
    mask: str | None = None
    """An image, or a video as long as the input: white areas are stylized, black ones are not."""
    report: bool = False
    """Measure the warping error: how much the output flickers."""
    audio: bool = True
    subtitles: bool = True
    resume: bool | Literal["long"] = False
    """Keep finished segments, and continue an interrupted run from them; `long`: only for long videos."""
    overwrite: bool = False
    skip_existing: bool = False
    allow_network: bool = False

    def __post_init__(self) -> None:
        _check_range("a batch size", self.batch_size, 1, MAX_BATCH_SIZE)
        _check_range("a memory limit", self.memory, 0, above=True)


@dataclass(frozen=True)
class ClusterOptions:
    """The workers of a run. By default there are none, and everything runs in this process."""

    workers: int | None = None
    """Number of workers; None: as many as the cluster has room for, or none without a cluster."""
    address: str | None = None
    """A Ray cluster: `local`, `auto` or `ray://HOST:PORT`; None: processes on this machine."""
    chunk_seconds: float = 20.0
    """Videos are divided into chunks of about this length."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"expected at least one worker, got {self.workers}")
        if not 0 <= self.chunk_seconds < math.inf:
            raise UsageError(f"expected a chunk length of 0 seconds or more, got {self.chunk_seconds:g}")


@dataclass(frozen=True)
class BatchOptions:
    """The inputs of a run over several of them, the outputs, and the workers."""

    output: str | None = None
    """A file, a folder, or a template such as `{folder}/{stem}.{style}{ext}`; None: next to each input."""
    selection: Selection = field(default_factory=Selection)
    lists: tuple[str, ...] = ()
    """Text files with more inputs, one per line; `-` is stdin."""
    cluster: ClusterOptions = field(default_factory=ClusterOptions)


@dataclass(frozen=True)
class LiveOptions:
    """How the frames of a camera are stylized, shown and recorded."""

    style: StyleOptions = field(default_factory=StyleOptions)
    """`height` None: the largest height at which the machine reaches the frame rate."""
    fps: float | None = None
    """Frames per second; None: the camera's rate."""
    folder: Path = Path()
    """The folder for snapshots and recordings."""
    record: Path | None = None
    """Record into this file from the start."""
    microphone: str | None = "auto"
    """The microphone to record; `auto`: the system's default, if it has one; None: no audio."""
    virtual_camera: bool = False

    def __post_init__(self) -> None:
        _check_range("a frame rate", self.fps, *FPS_RANGE)


@dataclass(frozen=True)
class WebOptions:
    """The address of the web page with the live video. A host other than a loopback address requires a token."""

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = None

    def __post_init__(self) -> None:
        _check_range("a port", self.port, *PORT_RANGE)


@dataclass(frozen=True)
class PaintOptions:
    """How the pixels of an image are optimized (`vidstyle.studio.optimize.gatys`, `vidstyle.studio.optimize.multiscale`)."""

    recipe: Recipe = "best"
    """`gatys` is the method of Gatys et al.; `best` gives better images."""
    encoder: str = "compact"
    content_weight: float | None = None
    """Weight of the content relative to the style; None: the recipe's default."""
    stroke_scale: float = 1.0
    """Scale of the style image, and so of its strokes; at 1 it has as many pixels as the image."""
    steps: int | None = None
    """Maximum number of steps at full size; None: the recipe's default."""
    optimizer: Literal["adam", "lbfgs"] = "adam"
    """For the recipe `gatys`."""
    start: Literal["content", "noise"] = "content"
    preserve_color: bool = False
    """Stylize the luminance only; colours stay the photograph's."""
    memory: float = 4.0
    """Limit in GiB; images that need more are optimized in tiles."""
    device: str = "auto"

    def __post_init__(self) -> None:
        _check_range("a content weight", self.content_weight, 0)
        _check_range("a stroke scale", self.stroke_scale, *PAINT_STROKE_SCALE_RANGE)
        _check_range("a number of steps", self.steps, 1)
        _check_range("a memory limit", self.memory, 0, above=True)


@dataclass(frozen=True)
class KeyframeOptions:
    """How keyframes are chosen and propagated over the clip."""

    every: int | None = None
    """Interval between keyframes, in frames; None: as the motion requires."""
    keyframes: tuple[int, ...] | None = None
    """Frame numbers of the keyframes, from 0; None: chosen by `every`."""
    propagation: Propagation = "warp"
    """`net`: a network that is fine-tuned on the keyframes stylizes every frame; `warp`: in addition, the keyframes are warped
    over its output."""
    net_steps: int = 400
    """Fine-tuning steps of that network."""
    device: str = "auto"

    def __post_init__(self) -> None:
        _check_range("an interval between keyframes", self.every, 1)
        _check_range("a number of fine-tuning steps", self.net_steps, 1)


@dataclass(frozen=True)
class TrainOptions:
    """How a style is trained. Sizes in pixels, weights relative (see `vidstyle.studio.perceptual.losses`)."""

    architecture: str = "compact"
    steps: int = 3000
    minutes: float | None = None
    """Train for as many steps as fit if the whole command is to take about this long; None: for `steps`."""
    identity_steps: int = 600
    """Steps of reconstruction before the style loss is added; skipped when training starts from another style."""
    batch: int = 1
    crop: int = 384
    style_size: int = 400
    """Short side of the style image: strokes in the video become as large as they are in it."""
    style_layers: tuple[tuple[str, float], ...] = (
        ("relu1_1", 1.0),
        ("relu2_1", 1.0),
        ("relu3_1", 2.0),
        ("relu3_1/2", 1.5),
        ("relu3_1/4", 1.0),
        ("relu2_1/2", 0.5),
        ("relu2_1/4", 0.5),
        ("relu4_1/2", 0.5),
    )
    """Layers and weights; `relu3_1/2` is relu3_1 of the image at half its size."""
    content_layers: tuple[str, ...] = ("relu3_1/2", "relu3_1/4")
    content_weight: float = 0.1
    tone_weight: float = 0.2
    tone_size: int = 16
    """The tone loss compares colours averaged over squares of this size, which is about that of a stroke."""
    tv_weight: float = 0.02
    border_weight: float = 0.5
    consistency_weight: float = 30.0
    consistency_ramp: float = 0.2
    """Fraction of the training over which the consistency weight rises to its full value."""
    learning_rate: float = 2e-3
    seed: int = 0
    checkpoint_every: int = 250

    def __post_init__(self) -> None:
        _check_range("a number of steps", self.steps, 1)
        _check_range("a time for training in minutes", self.minutes, 0, above=True)
        _check_range("a number of identity steps", self.identity_steps, 0)
        _check_range("a batch size", self.batch, 1)
        _check_range("a crop size", self.crop, MIN_TRAINING_SIZE)
        if self.crop % CROP_MULTIPLE:
            raise UsageError(f"expected a crop size divisible by {CROP_MULTIPLE}, got {self.crop}")
        _check_range("a style size", self.style_size, MIN_TRAINING_SIZE)
        for layer, weight in self.style_layers:
            _check_range(f"a weight of {layer}", weight, 0, above=True)
        for loss in ("content", "tone", "tv", "border", "consistency"):
            _check_range(f"a {loss} weight", getattr(self, f"{loss}_weight"), 0)
        _check_range("a tone size", self.tone_size, 1)
        _check_range("a consistency ramp", self.consistency_ramp, 0, 1)
        _check_range("a learning rate", self.learning_rate, 0, above=True)
        _check_range("a number of steps between checkpoints", self.checkpoint_every, 1)
