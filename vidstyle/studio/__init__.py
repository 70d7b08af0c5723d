"""Offline work on styles: networks, losses, training, export. Everything here needs the extra `torch`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vidstyle.errors import MissingExtraError
from vidstyle.options import TrainOptions


def train_style(
    paintings: Sequence[Path],
    name: str,
    photos: Sequence[Path],
    encoder: str = "compact",
    options: TrainOptions = TrainOptions(),
    start: str | None = None,
    into: Path | None = None,
    work: Path | None = None,
    title: str = "",
    painter: str = "unknown",
    year: str = "unknown",
    licence: str = "unknown",
    overwrite: bool = False,
    command: str = "",
) -> Path:
    """Train a style, export it and enter it in a catalogue; returns the model file. See `studio.new_style`."""
    try:
        from vidstyle.studio.new_style import NewStyle
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors"):
            raise
        raise MissingExtraError("training", "torch") from error
    facts = {"title": title or name, "painter": painter, "year": year, "licence": licence}
    style = NewStyle(name, into, overwrite, facts)
    return style.train(paintings, photos, encoder, options, start, work, command)
