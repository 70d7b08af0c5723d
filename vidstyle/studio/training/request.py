"""A request for a new style: what it is learned from, what is known about it, and where it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StyleFacts:
    """The facts that the catalogue and the model's metadata hold about a style. An empty `title` stands for the name."""

    name: str
    title: str = ""
    painter: str = "unknown"
    year: str = "unknown"
    licence: str = "unknown"


@dataclass(frozen=True)
class TrainingSources:
    """What a style is learned from."""

    style_images: Sequence[Path]
    photos: Sequence[Path]
    """Folders of photographs and videos."""
    encoder: str = "compact"
    """`compact`, `vgg19` or a file of weights."""
    start: str | None = None
    """The style, by name or file, that training starts from; `none`: random weights; None: the architecture's default."""


@dataclass(frozen=True)
class TrainingPaths:
    """Where a training writes."""

    into: Path | None = None
    """The folder of the new style; None: the user's own styles."""
    work: Path | None = None
    """The folder of checkpoints, previews and sampled frames; None: `NAME.training`."""
    overwrite: bool = False
    """Whether a style of the same name may be replaced."""
