"""The hardware and the software versions of this machine. Nothing heavy is imported here."""

from __future__ import annotations

import contextlib
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
"""Packages in the details of a machine, and the distributions that may provide them."""

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
"""Instruction sets that speed up networks: the name in Linux -> the name in results."""


MAX_CONCURRENCY = 4

NVIDIA_DRIVER = (Path("/proc/driver/nvidia/version"), Path("/usr/lib/wsl/lib/libcuda.so.1"))
"""Files that exist if NVIDIA's driver is loaded: on Linux, and on Linux within Windows (WSL)."""


def usable_cores() -> int:
    """Number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def concurrency_on(cores: int) -> int:
    """The number of images to stylize concurrently for the highest throughput: threads that work on the same image wait for each
    other. It is limited, because each image needs memory.
    """
    return min(cores, MAX_CONCURRENCY)


def memory_bytes() -> int | None:
    """The memory that this process may use: the machine's, or less where its control group or a limit of the process allows
    less; None where it is not known."""
    found = [*_cgroup_limits(), *_own_limits()]
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found, default=None)


def _own_limits() -> list[int]:
    try:
        import resource
    except ImportError:  # on Windows
        return []
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return [] if limit == resource.RLIM_INFINITY else [limit]


def _cgroup_limits(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """The limits of the control groups that this process is in, of both versions; a container sees its own one as the root."""
    limits = []
    try:
        entries = [line.split(":", 2) for line in groups.read_text().splitlines()]
    except OSError:
        return []
    for _, controllers, name in (entry for entry in entries if len(entry) == 3):
        if controllers and "memory" not in controllers.split(","):
            continue
        top, file = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        group = top / name.lstrip("/")
        for folder in (group, *group.parents):  # a group is limited by those around it too
            with contextlib.suppress(OSError, ValueError):  # "max", or a file that is not there
                limits.append(int((folder / file).read_text()))
            if folder == top:
                break
    return limits


def has_nvidia() -> bool:
    """Whether an NVIDIA driver is loaded; initializing CUDA without one prints errors."""
    if os.name == "nt":  # there, nvidia-smi comes with the driver
        return shutil.which("nvidia-smi") is not None
    return any(path.exists() for path in NVIDIA_DRIVER)


def machine_details(cores: int, cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """The machine and versions that results were measured with, on `cores` of its cores; None for missing packages."""
    model, simd = processor(cpuinfo)
    return {
        "cpu": model,
        "simd": simd,
        "cores": cores,
        "gpu": gpu_details(),
        "system": platform.system(),
        "release": platform.release(),
        "python": platform.python_version(),
        **{name: installed_version(distributions) for name, distributions in PACKAGES.items()},
        "vidstyle": vidstyle.__version__,
    }


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, list[str] | None]:
    """The name of the processor with its widest vector instructions, and those of `SIMD` that it supports (None: unknown)."""
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


def installed_version(distributions: tuple[str, ...]) -> str | None:
    """The version of the first of `distributions` that is installed."""
    for name in distributions:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def gpu_details() -> dict[str, str] | None:
    """Name and driver version of the first NVIDIA GPU; None if there is none, or no nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        query = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
        output = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):  # nvidia-smi without a driver
        return None
    name, _, driver = output.partition("\n")[0].partition(", ")
    return {"name": name, "driver": driver} if name else None
