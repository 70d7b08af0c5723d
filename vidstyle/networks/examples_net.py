"""The TransformerNet of pytorch/examples, whose `.pth` files many tools produce."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidstyle.core.errors import StyleError
from vidstyle.core.files import reason

MAX_BASE_CHANNELS = 256
"""A file that claims a wider network is refused before memory is allocated for it; the widest known has 32."""


class ExamplesTransformerNet(nn.Module):
    """The network of pytorch/examples `fast_neural_style`, of any width; submodules are named as in its state dicts.

    Reflection padding around every convolution, instance norm per image, nearest upsampling, RGB 0..255 in and out.
    """

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv1, self.in1 = _Padded(3, c, 9), nn.InstanceNorm2d(c, affine=True)
        self.conv2, self.in2 = _Padded(c, 2 * c, 3, 2), nn.InstanceNorm2d(2 * c, affine=True)
        self.conv3, self.in3 = _Padded(2 * c, 4 * c, 3, 2), nn.InstanceNorm2d(4 * c, affine=True)
        self.res1, self.res2, self.res3 = (_ExamplesResidual(4 * c) for _ in range(3))
        self.res4, self.res5 = (_ExamplesResidual(4 * c) for _ in range(2))
        self.deconv1, self.in4 = _Padded(4 * c, 2 * c, 3), nn.InstanceNorm2d(2 * c, affine=True)
        self.deconv2, self.in5 = _Padded(2 * c, c, 3), nn.InstanceNorm2d(c, affine=True)
        self.deconv3 = _Padded(c, 3, 9)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.in1(self.conv1(x)))
        x = F.relu(self.in2(self.conv2(x)))
        x = F.relu(self.in3(self.conv3(x)))
        x = self.res5(self.res4(self.res3(self.res2(self.res1(x)))))
        x = F.relu(self.in4(self.deconv1(F.interpolate(x, scale_factor=2, mode="nearest"))))
        x = F.relu(self.in5(self.deconv2(F.interpolate(x, scale_factor=2, mode="nearest"))))
        y: Tensor = self.deconv3(x)
        return y


class _Padded(nn.Module):
    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.reflection_pad = nn.ReflectionPad2d(kernel // 2)
        self.conv2d = nn.Conv2d(c_in, c_out, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2d(self.reflection_pad(x))
        return y


class _ExamplesResidual(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv1, self.in1 = _Padded(c, c, 3), nn.InstanceNorm2d(c, affine=True)
        self.conv2, self.in2 = _Padded(c, c, 3), nn.InstanceNorm2d(c, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.in2(self.conv2(F.relu(self.in1(self.conv1(x)))))
        return y


def load_examples_net(path: Path) -> nn.Module:
    """The network in the `.pth` file `path`; raises `StyleError` for anything but its tensors."""
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except EOFError as error:
        raise StyleError(f"expected the weights of a network, found an empty or incomplete file: {path}") from error
    except Exception as error:  # torch.load raises many kinds for a broken or unsafe file
        raise StyleError(f"could not read {path} as a .pth of tensors only: {reason(error)}") from error
    if isinstance(state, Mapping) and "conv1.conv2d.weight" in state:
        with contextlib.suppress(RuntimeError, IndexError, AttributeError, TypeError, ValueError):
            # Files of torch 0.4 and older carry running statistics that the net never used.
            state = {k: v for k, v in state.items() if not k.endswith(("running_mean", "running_var", "num_batches_tracked"))}
            channels = state["conv1.conv2d.weight"].shape[0]
            if channels <= MAX_BASE_CHANNELS:
                net = ExamplesTransformerNet(channels)
                net.load_state_dict(state)
                return net
    raise StyleError(f"expected the TransformerNet of pytorch/examples, found other weights: {path}")
