"""Frozen option dataclasses.

Every default and every range is written once, here: a value out of range raises `UsageError` when the options are made.
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

STROKE_SCALES = (0.25, 4.0)
"""The smallest and the largest stroke scale of a network."""

LEAST_HEIGHT = 16
"""Pixels; networks do not work at smaller heights."""


@dataclass(frozen=True)
class Trim:
    """The time range of a video, in seconds from its beginning; `end` None means to the end."""

    start: float = 0.0
    end: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start < math.inf:
            raise UsageError(f"expected a start of 0 seconds or more, got {self.start:g}")
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
    """No files that match one of these patterns, or that lie in a folder that does."""


@dataclass(frozen=True)
class EncodeOptions:
    """How video is encoded (see `sinks.encoder_table`)."""

    codec: str | None = None
    """`h264`, or an encoder's name in FFmpeg such as `libx264`; None: the codec that suits the container best."""
    quality: int | None = None
    """0 to 100 (best), on a scale that all encoders share. None: 75."""
    crf: int | None = None
    """The quality on the encoder's own scale, instead of `quality`."""
    preset: str | None = None
    """The encoder's name for its speed; None: the encoder's default."""
    pix_fmt: str | None = None
    """FFmpeg's name of a pixel format; None: the encoder's first that fits (transparency, HDR)."""
    hardware: bool = False
    """Encode on the GPU, with the first encoder that works."""
    keep_hdr: bool = False
    """Encode with 10 bits or more, as HDR needs."""

    def __post_init__(self) -> None:
        if self.quality is not None and not 0 <= self.quality <= 100:
            raise UsageError(f"expected a quality of 0 to 100, got {self.quality}")


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
    """Size of the strokes, whatever the size of the output: 2 doubles them."""
    fade: float = 1.0
    """Seconds that a change of style takes in a timeline."""

    def __post_init__(self) -> None:
        if self.height is not None and self.height < LEAST_HEIGHT:
            raise UsageError(f"expected an inference height of at least {LEAST_HEIGHT} pixels, got {self.height}")
        if not 0 <= self.strength <= 1:
            raise UsageError(f"expected a strength from 0 to 1, got {self.strength:g}")
        least, most = STROKE_SCALES
        if not least <= self.stroke_scale <= most:
            raise UsageError(f"expected a stroke scale from {least:g} to {most:g}, got {self.stroke_scale:g}")
        if not 0 <= self.fade < math.inf:
            raise UsageError(f"expected a fade of 0 seconds or more, got {self.fade:g}")


@dataclass(frozen=True)
class ConvertOptions:
    """Everything about the conversion of an input, besides its name."""

    style: StyleOptions = field(default_factory=StyleOptions)
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    trim: Trim = field(default_factory=Trim)
    batch_size: int = 1
    stabilize: Stabilize = "off"
    """How much of the last stylized frame is warped into the next one, against flicker."""
    preserve_color: bool = False
    """Stylize the luminance only; colours stay the input's."""
    mask: str | None = None
    """An image, or a video as long as the input: white is stylized, black stays as it is."""
    report: bool = False
    """Measure the warping error: how much the output flickers."""
    audio: bool = True
    subtitles: bool = True
    resume: bool | Literal["long"] = False
    """Keep finished segments, and resume from those of an interrupted run; `long`: only where there will be several."""
    overwrite: bool = False
    skip_existing: bool = False
    allow_network: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"expected a batch_size of at least 1, got {self.batch_size}")


@dataclass(frozen=True)
class ClusterOptions:
    """The workers of a run; with the defaults it stays in this process."""

    workers: int | None = None
    """How many; None: as many as the cluster has room for, or no workers without a cluster."""
    address: str | None = None
    """A Ray cluster: `local`, `auto` or `ray://HOST:PORT`; None: processes of this machine."""
    chunk_seconds: float = 20.0
    """Videos are divided into chunks of about this length."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"expected at least one worker, got {self.workers}")
        if not 0 <= self.chunk_seconds < math.inf:
            raise UsageError(f"expected a chunk length of 0 seconds or more, got {self.chunk_seconds:g}")


@dataclass(frozen=True)
class BatchOptions:
    """Which inputs a run over several takes, where their outputs go, and which workers do the work."""

    output: str | None = None
    """A file, a folder, or a template such as `{folder}/{stem}.{style}{ext}`; None: beside each input."""
    selection: Selection = field(default_factory=Selection)
    lists: tuple[str, ...] = ()
    """Text files with more inputs, one a line; `-` is stdin."""
    cluster: ClusterOptions = field(default_factory=ClusterOptions)


@dataclass(frozen=True)
class LiveOptions:
    """How the frames of a camera are stylized, shown and recorded."""

    style: StyleOptions = field(default_factory=StyleOptions)
    """Its `height` None: as large as the machine manages at the wanted frame rate."""
    fps: float | None = None
    """Frames per second; None: the camera's rate."""
    folder: Path = Path()
    """The folder for snapshots and recordings."""
    record: Path | None = None
    """Record into this file from the start."""
    microphone: str | None = "auto"
    """The microphone to record; `auto`: the system's default, where there is one; None: no audio."""
    virtual_camera: bool = False


@dataclass(frozen=True)
class WebOptions:
    """The address of the page with the live video. A host other than loopback needs a token."""

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = None


@dataclass(frozen=True)
class PaintOptions:
    """How the pixels of an image are optimised (`vidstyle.studio.optimize.gatys`, `vidstyle.studio.optimize.multiscale`)."""

    recipe: Recipe = "best"
    """`gatys` is the paper's method, `best` the one that gives the better images."""
    encoder: str = "compact"
    content_weight: float | None = None
    """Weight of the content relative to the style; None: the recipe's default."""
    stroke_scale: float = 1.0
    """Size of the style image relative to the image, and so of its strokes: at 1 both have as many pixels."""
    steps: int | None = None
    """At most this many at full size; None: the recipe's default."""
    optimizer: Literal["adam", "lbfgs"] = "adam"
    """For the recipe `gatys`."""
    start: Literal["content", "noise"] = "content"
    preserve_color: bool = False
    """Stylize the luminance only; colours stay the photograph's."""
    memory: float = 4.0
    """Limit in GiB: larger images are optimised in tiles."""
    device: str = "auto"


@dataclass(frozen=True)
class KeyframeOptions:
    """How keyframes are chosen and propagated over the clip."""

    every: int | None = None
    """Interval between keyframes, in frames; None: where the motion requires one."""
    keyframes: tuple[int, ...] | None = None
    """Frame numbers of the keyframes, from 0; None: chosen by `every`."""
    propagation: Propagation = "warp"
    """`net`: a network fine-tuned on the keyframes stylizes every frame; `warp`: they are warped over its output, too."""
    net_steps: int = 400
    """Fine-tuning steps of that network."""
    device: str = "auto"


@dataclass(frozen=True)
class TrainOptions:
    """How a style is trained. Sizes in pixels, weights relative (see `vidstyle.studio.perceptual.losses`)."""

    architecture: str = "compact"
    steps: int = 3000
    minutes: float | None = None
    """Train for as many steps as fit, so that the whole command takes about this long; None: for `steps`."""
    identity_steps: int = 600
    """Steps of reconstruction before the style loss sets in; none when training starts from another style."""
    batch: int = 1
    crop: int = 384
    style_size: int = 400
    """Short side of the style image: strokes in the video are as large as in it."""
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
    """The tone loss compares colours averaged over squares of this size: about one stroke."""
    tv_weight: float = 0.02
    border_weight: float = 0.5
    consistency_weight: float = 30.0
    consistency_ramp: float = 0.2
    """Fraction of the training over which the consistency weight rises to its full value."""
    learning_rate: float = 2e-3
    seed: int = 0
    checkpoint_every: int = 250
