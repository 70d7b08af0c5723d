"""Photographs that live on the GPU, decoded once and cut there: a CPU that decodes cannot keep up with it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vidstyle.core.hardware import usable_cores
from vidstyle.core.options import TrainOptions
from vidstyle.studio.training.photos import PhotoCrops

log = logging.getLogger(__name__)

MOST_BYTES = 8 << 30
MOST_SHARE = 0.25
"""Photographs take at most so much of the GPU's free memory, else they are decoded as they are needed."""
MEASURED = 16


class ResidentCrops(PhotoCrops):
    """The crops of `PhotoCrops`, of photographs that are held on `device` as uint8."""

    def __init__(self, files: Sequence[Path], options: TrainOptions, device: torch.device) -> None:
        super().__init__(files, options)
        self._device = device
        with ThreadPoolExecutor(usable_cores()) as pool:
            self._images = list(pool.map(self._resident, range(len(self.files))))

    def _resident(self, index: int) -> Tensor | None:
        image = super()._load(index)
        return None if image is None else torch.from_numpy(image).to(self._device)

    def _load(self, index: int) -> Any:
        return self._images[index]

    def _cut(self, part: Any, flip: bool) -> Tensor:
        x = part.permute(2, 0, 1)[None].float()
        if part.shape[0] != self.size:
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", antialias=True)
        crop: Tensor = (x[0] + 0.5).clamp_(0, 255).byte().permute(1, 2, 0)
        return crop.flip(1) if flip else crop


def open_crops(files: Sequence[Path], options: TrainOptions, device: torch.device) -> PhotoCrops:
    """Crops of the photographs `files`, which are held on `device` if that is a GPU and has room for them."""
    streamed = PhotoCrops(files, options)
    if device.type != "cuda":
        return streamed
    room = min(MOST_BYTES, MOST_SHARE * torch.cuda.mem_get_info(device)[0])
    if _bytes_of(streamed) > room:
        log.info("the photographs are too many to be held on the GPU: they are decoded as they are needed")
        return streamed
    return ResidentCrops(files, options, device)


def _bytes_of(photos: PhotoCrops) -> float:
    """Of all photographs decoded, by a few of them."""
    few = range(0, len(photos.files), max(1, len(photos.files) // MEASURED))
    sizes = [int(image.nbytes) for image in map(photos._load, few) if image is not None]
    return sum(sizes) / max(1, len(sizes)) * len(photos.files)
