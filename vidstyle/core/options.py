"""Frozen option dataclasses. Every default is written once, here; the command line reads it from the dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Stabilize = Literal["off", "light", "strong"]
Backend = Literal["auto", "onnx", "torch"]
ColorOrder = Literal["rgb", "bgr"]
Recipe = Literal["best", "gatys"]
Propagation = Literal["warp", "net"]

STROKE_SCALES = (0.25, 4.0)
"""Between these a net's strokes may be made smaller and larger."""


@dataclass(frozen=True)
class Trim:
    """The part of a video to take, in seconds from its beginning; `end` None means to the end."""

    start: float = 0.0
    end: float | None = None


@dataclass(frozen=True)
class Selection:
    """Which files of a folder are inputs, among its videos and images."""

    recursive: bool = False
    """Those of its subfolders too."""
    include: tuple[str, ...] = ()
    """Shell patterns, whatever the case, of names, or with a `/` of paths in the folder; only what fits one. Empty: all."""
    exclude: tuple[str, ...] = ()
    """Not what fits one of these, or lies in a folder that does."""


@dataclass(frozen=True)
class EncodeOptions:
    """How video is encoded (see `sinks.encoders`)."""

    codec: str | None = None
    """`h264`, or an encoder's name in FFmpeg such as `libx264`; None: what the container holds and fits best."""
    quality: int | None = None
    """0 to 100, best, on a scale that all encoders share. None: 75."""
    crf: int | None = None
    """The quality on the encoder's own scale instead."""
    preset: str | None = None
    """The encoder's name for its speed; None: the encoder's default."""
    pix_fmt: str | None = None
    """FFmpeg's name of a pixel format; None: the encoder's first that holds what has to be held."""
    hardware: bool = False
    """Encode on the GPU, with the first encoder that works."""
    keep_hdr: bool = False
    """Encode with 10 bits or more, as HDR needs."""


@dataclass(frozen=True)
class StyleOptions:
    """What stylizes, how, and where."""

    style: str = "mosaic"
    """A name or model file, a blend (`mosaic:0.6,scream:0.4`) or a timeline (`0:mosaic,10:scream`); see `vidstyle.styles.spec`."""
    device: str = "auto"
    backend: Backend = "auto"
    height: int | None = None
    """Height at which the net works; the output keeps the input's size. None: the input's."""
    model_color: ColorOrder = "rgb"
    """Channel order of a foreign model."""
    strength: float = 1.0
    """From 0, the original, to 1, the style."""
    stroke_scale: float = 1.0
    """Size of the strokes, whatever the size of the output: 2 doubles them."""
    fade: float = 1.0
    """Seconds that a change of style takes."""


@dataclass(frozen=True)
class ConvertOptions:
    """Everything about converting inputs, besides their names."""

    style: StyleOptions = field(default_factory=StyleOptions)
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    trim: Trim = field(default_factory=Trim)
    batch_size: int = 1
    stabilize: Stabilize = "off"
    """How much of the last frame's painting is carried along into the next."""
    preserve_color: bool = False
    """Paint light and dark only; colours stay the input's."""
    mask: str | None = None
    """An image, or a video as long as the input: white is stylized, black left as it was."""
    report: bool = False
    """Measure how steady the output is."""
    audio: bool = True
    subtitles: bool = True
    resume: bool | Literal["long"] = False
    """Keep finished segments, and go on from those of an interrupted run; `long`: where there will be several."""
    overwrite: bool = False
    skip_existing: bool = False
    allow_network: bool = False


@dataclass(frozen=True)
class ClusterOptions:
    """Who does the work, where it is more than this process."""

    workers: int | None = None
    """How many; None: as many as there is room for, on a cluster."""
    address: str | None = None
    """A Ray cluster: `local`, `auto` or `ray://HOST:PORT`; None: processes of this machine."""
    chunk_seconds: float = 20.0
    """Videos are divided into parts of about this length."""


@dataclass(frozen=True)
class LiveOptions:
    """How a camera is stylized live, besides which."""

    style: StyleOptions = field(default_factory=StyleOptions)
    """Its `height` None: as large as the machine manages at the wished rate."""
    fps: float | None = None
    """Images a second; None: the camera's."""
    folder: Path = Path()
    """Where snapshots and recordings go."""
    record: Path | None = None
    """Record into this file from the start."""
    microphone: str | None = "auto"
    """Whose audio is recorded: `auto` is the system's, where there is one; None: no audio."""
    virtual_camera: bool = False


@dataclass(frozen=True)
class WebOptions:
    """Where the page with the live image is. Another host than loopback needs a token."""

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = None


@dataclass(frozen=True)
class PaintOptions:
    """How the pixels of an image are optimised (`vidstyle.studio.optimize.gatys`, `vidstyle.studio.optimize.multiscale`)."""

    recipe: Recipe = "best"
    """`gatys` is the paper's, `best` ours."""
    encoder: str = "compact"
    content_weight: float | None = None
    """Of the content over the style; None: the recipe's own."""
    stroke_scale: float = 1.0
    """Size of the painting beside the image, and so of its strokes: at 1 both have as many pixels."""
    steps: int | None = None
    """At most so many at full size; None: the recipe's own."""
    optimizer: Literal["adam", "lbfgs"] = "adam"
    """Of the recipe `gatys`."""
    start: Literal["content", "noise"] = "content"
    preserve_color: bool = False
    """Paint light and dark only; colours stay the photograph's."""
    memory: float = 4.0
    """GiB to stay within: larger images are stylized in tiles."""
    device: str = "auto"


@dataclass(frozen=True)
class KeyframeOptions:
    """How keyframes are chosen and carried over the clip, besides how they are stylized."""

    every: int | None = None
    """A keyframe every so many frames; None: where the motion asks for one."""
    keyframes: tuple[int, ...] | None = None
    """Their numbers, from 0; None: as `every` says."""
    propagation: Propagation = "warp"
    """`net`: a net fine-tuned on the keyframes stylizes every frame; `warp`: the keyframes are warped over its paintings."""
    net_steps: int = 400
    """Steps of that net's fine-tuning."""
    device: str = "auto"


@dataclass(frozen=True)
class TrainOptions:
    """How a style is trained. Sizes in pixels, weights relative (see `vidstyle.studio.perceptual.encoder`)."""

    architecture: str = "compact"
    steps: int = 3000
    minutes: float | None = None
    """Train for as many steps as fit, so that the whole command takes about so long; None: for `steps`."""
    identity_steps: int = 600
    """Steps of reconstruction before style sets in; none when training goes on from another style."""
    batch: int = 1
    crop: int = 384
    style_size: int = 400
    """Short side of the painting: strokes in the video are as large as here."""
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
    """Colours are held to the photograph's on the average over squares of this size: about one stroke."""
    tv_weight: float = 0.02
    border_weight: float = 0.5
    consistency_weight: float = 30.0
    consistency_ramp: float = 0.2
    """Part of the training over which the temporal consistency comes in."""
    learning_rate: float = 2e-3
    seed: int = 0
    checkpoint_every: int = 250
