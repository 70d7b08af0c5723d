"""Photographs to train on: decoded on demand, cropped to random squares."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from vidstyle.core.errors import TrainingError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import TrainOptions

log = logging.getLogger(__name__)

PREVIEW_PHOTOS = 5
CONTEXT = 32
"""Margin in pixels around each crop, which the net sees and the losses ignore, so that it does not overfit to borders."""


def read_image(path: Path) -> Pixels:
    """RGB uint8 (H, W, 3); raises `TrainingError` if it cannot be read."""
    try:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.is_file() and path.stat().st_size else None
    except (cv2.error, OSError):  # too large for OpenCV's limit, or unreadable
        image = None
    if image is None:
        raise TrainingError(f"could not read {path} as an image")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def fit_short_side(image: np.ndarray, size: int) -> np.ndarray:
    """`image` scaled so that its short side is `size`."""
    h, w = image.shape[:2]
    scale = size / min(h, w)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, (max(size, round(w * scale)), max(size, round(h * scale))), interpolation=interpolation)


class PhotoCrops:
    """Random square crops of the images `files`, decoded on demand.

    A crop covers at least half of the short side of its photograph, if the photograph has enough pixels. Files that cannot be
    decoded are skipped with a warning; if none is left, `TrainingError` is raised.
    """

    def __init__(self, files: Sequence[Path], options: TrainOptions) -> None:
        self.options = options
        self.files = list(files)
        self.size = options.crop + 2 * CONTEXT
        self.unreadable: set[int] = set()
        # The photos of the preview are spread over the whole list and not trained on.
        every = max(1, len(self.files) // PREVIEW_PHOTOS)
        self.preview = self.files[every // 2 :: every][:PREVIEW_PHOTOS]
        if len(self.files) > 2 * PREVIEW_PHOTOS:
            self.files = [p for p in self.files if p not in self.preview]

    def batches(self, first_step: int) -> Iterator[Tensor]:
        """Batches uint8 (N, S, S, 3), S = crop + 2 CONTEXT, from `first_step` on, endlessly."""
        step = first_step
        while True:
            rng = np.random.default_rng((self.options.seed, step))
            yield torch.stack([self._crop(rng) for _ in range(self.options.batch)])
            step += 1

    def _crop(self, rng: np.random.Generator) -> Tensor:
        image = self._pick(rng)
        h, w = image.shape[:2]
        side = int(rng.integers(self.size, min(h, w, 2 * self.size) + 1))
        y = int(rng.integers(h - side + 1))
        x = int(rng.integers(w - side + 1))
        return self._resize(image[y : y + side, x : x + side], flip=bool(rng.random() < 0.5))

    def _pick(self, rng: np.random.Generator) -> Any:
        while len(self.unreadable) < len(self.files):
            index = int(rng.integers(len(self.files)))
            image = None if index in self.unreadable else self._load(index)
            if image is not None:
                return image
        raise TrainingError(f"none of the {len(self.files)} photographs could be read, for example {self.files[0]}")

    def _load(self, index: int) -> Any:
        """The photograph (H, W, 3) with a short side of S to 2 S; None if it cannot be read."""
        try:
            image = read_image(self.files[index])
        except TrainingError as error:
            log.warning("skipped: %s", error)
            self.unreadable.add(index)
            return None
        short = min(image.shape[:2])
        wanted = min(max(short, self.size), 2 * self.size)
        return image if wanted == short else fit_short_side(image, wanted)

    def _resize(self, square: Any, flip: bool) -> Tensor:
        crop = cv2.resize(square, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return torch.from_numpy(np.ascontiguousarray(crop[:, ::-1] if flip else crop))
