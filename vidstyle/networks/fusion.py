"""Norms with fixed statistics, fused into the convolutions before them."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from vidstyle.core.errors import StyleError


def fused(net: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A copy of `net` without the norms that use tracked statistics: they are fused into the convolutions before them.

    It is on `device`, with weights of type `dtype` and channels last. Raises `StyleError` if a weight is not finite.
    """
    result = copy.deepcopy(net)
    for parent in result.modules():
        children = list(parent.named_children()) if isinstance(parent, nn.Sequential) else []
        for (_, conv), (name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.InstanceNorm2d) and _is_fixed(norm):
                mean, var = norm.running_mean, norm.running_var
                assert mean is not None
                assert var is not None
                conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, mean, var, norm.eps, norm.weight, norm.bias)
                setattr(parent, name, nn.Identity())
    moved: Any = result.requires_grad_(False)
    moved.to(device, dtype, memory_format=torch.channels_last)
    if not all(parameter.isfinite().all() for parameter in result.parameters()):
        raise StyleError("expected finite weights from the model, got NaN or infinity")
    return result


def _is_fixed(norm: nn.InstanceNorm2d) -> bool:
    return bool(norm.track_running_stats) and not norm.training
