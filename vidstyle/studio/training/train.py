"""A new style: paintings in; out comes a model that was checked, in a catalogue, with an image to paint from."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vidstyle.core.errors import TrainingError, UsageError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import TrainOptions
from vidstyle.studio.optimize.paint import needing_studio
from vidstyle.studio.training.dataset import gather
from vidstyle.stylizers.onnx import OnnxStylizer

log = logging.getLogger(__name__)

CHECKED = 2
"""Photographs that are stylized to check a model."""
MOST_DIFFERENT = 4
"""Grey levels by which a pixel may differ from the net's: its weights are rounded to half precision in the file."""


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
    exemplar: bool = True,
    check: Callable[[], None] = lambda: None,
) -> Path:
    """Train the style `name` on folders of photographs and videos and enter it in a catalogue; returns the model file.

    `start`: the style whose weights it begins with, `none`, or None for the default; `work`: where checkpoints, previews and
    sampled frames are, by default `NAME.training`; `exemplar`: whether the style gets an image from which `vidstyle paint` can
    paint. `check` is called every now and then; when it raises KeyboardInterrupt, the same call goes on later.
    Raises the kinds of `vidstyle.core.errors`.
    """
    began = time.monotonic()
    if not photos:
        raise UsageError(
            "expected --photos with a folder of photographs or videos; a good set is COCO val2017 (cocodataset.org, 5,000 "
            "photographs, 1 GB): unpack http://images.cocodataset.org/zips/val2017.zip and give --photos val2017"
        )
    with needing_studio("training"):
        from vidstyle.studio.training.exemplar import paint_exemplar
        from vidstyle.studio.training.new_style import NewStyle
    facts = {"title": title or name, "painter": painter, "year": year, "licence": licence}
    style = NewStyle(name, paintings, into, overwrite, facts)
    folder = work or Path(f"{name}.training")
    trained = style.train(
        lambda: gather(photos, folder / "frames", check), encoder, options, start, folder, command, began, check
    )
    check_model(trained.model, trained.paint, trained.photos[:CHECKED])
    log.info("the model stylizes in ONNX Runtime as it was trained")
    image = paint_exemplar(trained.paintings, check=check) if exemplar else None
    return style.publish(trained, image)


def check_model(model: Path, paint: Callable[[Pixels], Pixels], photos: Sequence[Pixels]) -> None:
    """Raises `TrainingError` unless `model` stylizes `photos` in ONNX Runtime as `paint` does, and not all in one colour."""
    stylizer = OnnxStylizer(model, "cpu")
    for photo in photos:
        stylized = stylizer.stylize([photo])[0]
        difference = int(np.abs(stylized.astype(int) - paint(photo)).max())
        if difference > MOST_DIFFERENT:
            raise TrainingError(
                f"expected {model} to paint as the trained net, it differs by {difference} grey levels; please report this"
            )
        if stylized.max() == stylized.min():
            raise TrainingError("expected paintings, the trained net gives one colour only; try a smaller learning rate")
