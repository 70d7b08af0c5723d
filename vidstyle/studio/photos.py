"""Photographs to train on: found in folders, decoded as needed, cut into random squares."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from vidstyle.errors import TrainingError
from vidstyle.options import TrainOptions

log = logging.getLogger(__name__)

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
PREVIEW_PHOTOS = 5
CONTEXT = 32
"""Pixels of photograph around each crop that the net sees and the losses do not: no border to learn tricks at."""


def read_image(path: Path) -> np.ndarray:
    """RGB uint8 (H, W, 3); raises `TrainingError` if it cannot be read."""
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.is_file() and path.stat().st_size else None
    if image is None:
        raise TrainingError(f"expected a picture, could not read {path}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def fit_short_side(image: np.ndarray, size: int) -> np.ndarray:
    """`image` scaled so that its short side is `size`."""
    h, w = image.shape[:2]
    scale = size / min(h, w)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, (max(size, round(w * scale)), max(size, round(h * scale))), interpolation=how)


class PhotoCrops:
    """Random square crops of the photographs in some folders, decoded as they are needed.

    Raises `TrainingError` for a folder that is missing or holds no picture. A file that cannot be decoded is left out with
    a warning; when none is left, that is an error.
    """

    def __init__(self, folders: Sequence[Path], options: TrainOptions) -> None:
        self.options = options
        self.files: list[Path] = []
        for folder in folders:
            if not folder.is_dir():
                raise TrainingError(f"expected a folder of photographs, found none: {folder}")
            found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PHOTO_SUFFIXES and p.is_file())
            if not found:
                raise TrainingError(f"expected photographs ({', '.join(sorted(PHOTO_SUFFIXES))}) in {folder}, found none")
            self.files += found
        self.unreadable: set[Path] = set()
        # The photos of the preview strip are spread over the folders and not trained on.
        every = max(1, len(self.files) // PREVIEW_PHOTOS)
        self.preview = self.files[every // 2 :: every][:PREVIEW_PHOTOS]
        if len(self.files) > 2 * PREVIEW_PHOTOS:
            self.files = [p for p in self.files if p not in self.preview]

    def batches(self, first_step: int) -> Iterator[np.ndarray]:
        """Batches uint8 (N, S, S, 3), S = crop + 2 CONTEXT, from `first_step` on, without end."""
        step = first_step
        while True:
            rng = np.random.default_rng((self.options.seed, step))
            yield np.stack([self._crop(rng) for _ in range(self.options.batch)])
            step += 1

    def _crop(self, rng: np.random.Generator) -> np.ndarray:
        size = self.options.crop + 2 * CONTEXT
        image = self._read(rng)
        if min(image.shape[:2]) < size:
            image = fit_short_side(image, size)
        side = int(rng.integers(size, max(size, min(min(image.shape[:2]), 2 * size)) + 1))
        y = int(rng.integers(image.shape[0] - side + 1))
        x = int(rng.integers(image.shape[1] - side + 1))
        crop = cv2.resize(image[y : y + side, x : x + side], (size, size), interpolation=cv2.INTER_AREA)
        return crop[:, ::-1] if rng.random() < 0.5 else crop

    def _read(self, rng: np.random.Generator) -> np.ndarray:
        while len(self.unreadable) < len(self.files):
            path = self.files[int(rng.integers(len(self.files)))]
            if path in self.unreadable:
                continue
            try:
                return read_image(path)
            except TrainingError as error:
                log.warning("left out: %s", error)
                self.unreadable.add(path)
        raise TrainingError(f"expected photographs, none of {len(self.files)} files could be read, such as {self.files[0]}")
