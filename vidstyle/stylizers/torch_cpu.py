"""A net of ours in torch on the processor: norms folded, channels last, bfloat16 where that is fast.

Only with AMX tiles does bfloat16 pay: there the net takes less than half the time, elsewhere longer than in float32. Several
images side by side, each on few threads, waste less time than all threads on one image.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from vidstyle.core.frames import Pixels
from vidstyle.networks.device import has_tiles
from vidstyle.stylizers.torch_cuda import plain


class CpuNet:
    """Runs nets (float RGB in 0..255 / `scale`, (N, 3, H, W)) on `concurrency` threads that have `cores` between them."""

    def __init__(self, scale: float, concurrency: int, cores: int) -> None:
        self._scale = scale
        self._dtype = torch.bfloat16 if has_tiles() else torch.float32
        # Threads of its own, since how many threads torch uses is set for a thread.
        self._concurrency = ThreadPoolExecutor(concurrency, "vidstyle-torch", _use_threads, (max(1, cores // concurrency),))

    @property
    def precision(self) -> str:
        """In which it computes, for people."""
        return str(self._dtype).removeprefix("torch.")

    def ready(self, net: nn.Module) -> nn.Module:
        """What `paint` needs of a net."""
        made: Any = plain(net)
        return cast(nn.Module, made.to(self._dtype, memory_format=torch.channels_last))

    def paint(self, net: nn.Module, images: Pixels) -> Pixels:
        """Images (N, H, W, 3) uint8 -> the same, stylized by a net that `ready` made. What torch raises goes through."""
        return self._concurrency.submit(self._stylized, net, images).result()

    def _stylized(self, net: nn.Module, images: Pixels) -> Pixels:
        with torch.inference_mode():
            x = torch.from_numpy(images).permute(0, 3, 1, 2).to(self._dtype) / self._scale
            y = net(x).float().mul_(self._scale).add_(0.5).clamp_(0, 255).to(torch.uint8)
            return np.asarray(y.permute(0, 2, 3, 1).contiguous().numpy())


def _use_threads(count: int) -> None:
    """Let torch use `count` threads for what the calling thread asks; other threads, also those to come, keep theirs."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    restoring = threading.Thread(target=torch.set_num_threads, args=(before,))
    restoring.start()
    restoring.join()
