"""A network in torch on a CPU: norms fused, channels last, bfloat16 if that is fast.

bfloat16 is only used with AMX, where it takes less than half the time of float32; elsewhere it is slower. Several images in
parallel, each on a few threads, are faster than one image on all threads.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn

from vidstyle.core.frames import Pixels
from vidstyle.networks.device import has_amx
from vidstyle.networks.fusion import fused
from vidstyle.stylizers.finite import check_finite


class CpuNetwork:
    """Runs networks (float RGB in 0..255 / `scale`, (N, 3, H, W)) on `concurrency` threads that share `cores`."""

    def __init__(self, scale: float, concurrency: int, cores: int) -> None:
        self._scale = scale
        self._dtype = torch.bfloat16 if has_amx() else torch.float32
        # A separate executor, because torch's number of threads is set per thread.
        self._executor = ThreadPoolExecutor(concurrency, "vidstyle-torch", _use_threads, (max(1, cores // concurrency),))

    @property
    def precision(self) -> str:
        """`float32` or `bfloat16`."""
        return str(self._dtype).removeprefix("torch.")

    def prepared(self, net: nn.Module) -> nn.Module:
        """`net` as `stylize` takes it."""
        return fused(net, torch.device("cpu"), self._dtype)

    def stylize(self, net: nn.Module, images: Pixels) -> Pixels:
        """Images (N, H, W, 3) uint8 -> the same, stylized by a network from `prepared`. torch's exceptions are passed on."""
        return self._executor.submit(self._stylized, net, images).result()

    def _stylized(self, net: nn.Module, images: Pixels) -> Pixels:
        with torch.inference_mode():
            x = torch.from_numpy(images).permute(0, 3, 1, 2).to(self._dtype) / self._scale
            y = net(x).float()
            check_finite("images", y.sum().numpy())
            y = y.mul_(self._scale).add_(0.5).clamp_(0, 255).to(torch.uint8)
            return np.asarray(y.permute(0, 2, 3, 1).contiguous().numpy())


def _use_threads(count: int) -> None:
    """Set torch's number of threads for the calling thread; other threads, and later ones, keep theirs."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    restoring = threading.Thread(target=torch.set_num_threads, args=(before,))
    restoring.start()
    restoring.join()
