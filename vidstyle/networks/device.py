"""The devices of torch, and their precision."""

from __future__ import annotations

import os

import torch

from vidstyle.core.errors import DeviceError, UsageError

_process: int | None = None
"""The process whose threads torch uses."""


def find_device(name: str) -> torch.device:
    """The device of `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`; raises `DeviceError` if it is unavailable.

    Raises `UsageError` in a process that was forked from one that used torch: it would wait forever for threads of the other.
    """
    global _process
    if _process not in (None, os.getpid()):
        raise UsageError("torch was used before this process was forked; start processes by multiprocessing's method spawn")
    _process = os.getpid()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise DeviceError(f"expected to run on {name}, but this torch has no CUDA support; try --device cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"expected auto, cpu, cuda or cuda:N as the device, got {name}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"expected to run on {name}, but there are {torch.cuda.device_count()} GPUs, numbered from 0")
    return device


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 natively; elsewhere it is slower than float32."""
    return device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()


def has_amx() -> bool:
    """Whether the CPU multiplies bfloat16 matrices with AMX."""
    return torch.cpu._is_amx_tile_supported() and torch.cpu._is_avx512_bf16_supported()


def autocast(device: torch.device) -> torch.autocast:
    """A context in which `device` computes in bfloat16, where that is fast."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_is_fast(device))
