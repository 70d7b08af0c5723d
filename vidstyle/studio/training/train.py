"""Train a new style: from style images and photographs to a verified model in a catalogue, with an exemplar image."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vidstyle.conversion.interrupts import Interrupts, NoInterrupts
from vidstyle.core.errors import TrainingError, UsageError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import TrainOptions
from vidstyle.studio.optimize.paint import requires_torch
from vidstyle.studio.training.dataset import gather_images
from vidstyle.studio.training.request import StyleFacts, TrainingPaths, TrainingSources
from vidstyle.stylizers.onnx import load_onnx_stylizer

log = logging.getLogger(__name__)

CHECKED_PHOTOS = 2
"""Number of photographs that are stylized to check a model."""
MAX_DIFFERENCE = 4
"""Levels of 255 by which a pixel may differ from the net's, because the file stores weights in half precision."""


def train_style(
    style: StyleFacts,
    sources: TrainingSources,
    options: TrainOptions = TrainOptions(),
    paths: TrainingPaths = TrainingPaths(),
    command: str = "",
    exemplar: bool = True,
    interrupts: Interrupts = NoInterrupts(),
) -> Path:
    """Train a style and add it to a catalogue; returns the model file.

    `command` is recorded in the model's metadata. `exemplar`: whether the style gets an image that `vidstyle paint` can use.
    `interrupts` is checked regularly; after it raised KeyboardInterrupt, the same call resumes the training. Raises the errors
    of `vidstyle.core.errors`.
    """
    began = time.monotonic()
    if not sources.photos:
        raise UsageError(
            "expected --photos with a folder of photographs or videos; a good set is COCO val2017 (cocodataset.org, 5,000 "
            "photographs, 1 GB): unpack http://images.cocodataset.org/zips/val2017.zip and give --photos val2017"
        )
    with requires_torch("training"):
        from vidstyle.studio.training.exemplar import synthesize_exemplar
        from vidstyle.studio.training.new_style import NewStyle
    new_style = NewStyle(style, sources, paths)

    def find_photos() -> list[Path]:
        interrupts.hold()
        return gather_images(sources.photos, new_style.work / "frames", interrupts.check)

    trained = new_style.train(find_photos, options, command, began, interrupts.check)
    check_model(trained.model, trained.stylize, trained.photos[:CHECKED_PHOTOS])
    log.info("verified: the model's output in ONNX Runtime matches the trained net's")
    image = synthesize_exemplar(trained.style_images, check=interrupts.check) if exemplar else None
    return new_style.publish(trained, image)


def check_model(model: Path, stylize: Callable[[Pixels], Pixels], photos: Sequence[Pixels]) -> None:
    """Raises `TrainingError` unless `model` stylizes `photos` in ONNX Runtime as `stylize` does, and not all in one colour."""
    stylizer = load_onnx_stylizer(model, "cpu")
    for photo in photos:
        stylized = stylizer.stylize([photo])[0]
        difference = int(np.abs(stylized.astype(int) - stylize(photo)).max())
        if difference > MAX_DIFFERENCE:
            raise TrainingError(
                f"{model} does not stylize as the trained net does, it differs by {difference} of 255 levels; please report this"
            )
        if stylized.max() == stylized.min():
            raise TrainingError("the trained net outputs a single colour; try a smaller learning rate")
