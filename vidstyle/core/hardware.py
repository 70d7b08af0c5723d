"""The machine: what it can compute with, and what figures measured on it belong to. Nothing heavy is imported to tell it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import vidstyle

PACKAGES = {
    "av": ("av",),
    "numpy": ("numpy",),
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime"),
    "torch": ("torch",),
    "opencv": ("opencv-python", "opencv-python-headless", "opencv-contrib-python"),
}
"""What is told of, and the distributions that it may come from."""

SIMD = {
    "avx2": "avx2",
    "avx512f": "avx512",
    "avx512_vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni",
    "amx_int8": "amx_int8",
    "amx_bf16": "amx_bf16",
    "asimd": "neon",
    "i8mm": "i8mm",
    "sve": "sve",
}
"""Linux' names of what makes nets fast, and ours."""


MAX_CONCURRENCY = 4

NVIDIA_DRIVER = (Path("/proc/driver/nvidia/version"), Path("/usr/lib/wsl/lib/libcuda.so.1"))
"""Where Linux shows NVIDIA's driver; the other where Linux runs within Windows."""


def usable_cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def concurrency_on(cores: int) -> int:
    """As many images side by side as make the most frames a second: threads that share an image wait for one another. Each
    takes memory, so there is a limit."""
    return min(cores, MAX_CONCURRENCY)


def has_nvidia() -> bool:
    """Whether an NVIDIA driver is loaded; asking CUDA without one only prints errors."""
    if os.name == "nt":  # where its tool comes with the driver
        return shutil.which("nvidia-smi") is not None
    return any(path.exists() for path in NVIDIA_DRIVER)


def machine(cores: int, cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """What figures were measured on, with `cores` of its cores; None for a package that is not installed."""
    model, simd = processor(cpuinfo)
    return {
        "cpu": model,
        "simd": simd,
        "cores": cores,
        "gpu": gpu_name(),
        "system": platform.system(),
        "release": platform.release(),
        "python": platform.python_version(),
        **{name: installed(distributions) for name, distributions in PACKAGES.items()},
        "vidstyle": vidstyle.__version__,
    }


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, list[str] | None]:
    """The processor's name with the widest instructions that it has, and all of `SIMD`; None where the system does not tell."""
    if not cpuinfo.exists():
        return platform.processor() or platform.machine(), None
    facts = dict(_split(line) for line in reversed(cpuinfo.read_text("utf-8", "replace").splitlines()))  # of the first core
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    simd = [ours for theirs, ours in SIMD.items() if theirs in flags]
    model = facts.get("model name") or platform.machine()
    if "flags" in facts:
        model += ", " + ("AVX-512" if "avx512" in simd else "AVX2" if "avx2" in simd else "no AVX2")
    return model, simd


def _split(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    return key.strip(), value.strip()


def installed(distributions: tuple[str, ...]) -> str | None:
    """The version of the first of the `distributions` that is installed."""
    for name in distributions:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def gpu_name() -> dict[str, str] | None:
    """Name and driver of the first NVIDIA GPU; None where there is none, or nobody to ask."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        query = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
        told = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):  # a program without its driver
        return None
    name, _, driver = told.partition("\n")[0].partition(", ")
    return {"name": name, "driver": driver} if name else None
