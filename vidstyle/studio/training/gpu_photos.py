"""Photographs in GPU memory: decoded once and cropped there, because decoding on the CPU cannot keep up with the GPU."""

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

MAX_BYTES = 8 << 30
MAX_FRACTION = 0.25
"""Photographs may take this fraction of the GPU's free memory; if they need more, they are decoded on demand."""
MEASURED = 16
"""Number of photographs that the size of all is estimated from."""


class ResidentCrops(PhotoCrops):
    """The crops of `PhotoCrops`, from photographs that are kept on `device` as uint8."""

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

    def _resize(self, square: Any, flip: bool) -> Tensor:
        x = square.permute(2, 0, 1)[None].float()
        if square.shape[0] != self.size:
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", antialias=True)
        crop: Tensor = (x[0] + 0.5).clamp_(0, 255).byte().permute(1, 2, 0)
        return crop.flip(1) if flip else crop


def open_crops(files: Sequence[Path], options: TrainOptions, device: torch.device) -> PhotoCrops:
    """Crops of the photographs `files`, which are kept on `device` if it is a GPU with enough memory."""
    on_demand = PhotoCrops(files, options)
    if device.type != "cuda":
        return on_demand
    room = min(MAX_BYTES, MAX_FRACTION * torch.cuda.mem_get_info(device)[0])
    if _total_bytes(on_demand) > room:
        log.info("the photographs do not fit into GPU memory: they are decoded on demand")
        return on_demand
    return ResidentCrops(files, options, device)


def _total_bytes(photos: PhotoCrops) -> float:
    """The decoded size of all photographs, estimated from a sample."""
    sample = range(0, len(photos.files), max(1, len(photos.files) // MEASURED))
    sizes = [int(image.nbytes) for image in map(photos._load, sample) if image is not None]
    return sum(sizes) / max(1, len(sizes)) * len(photos.files)
