"""Python, processor, memory and disk. Nothing heavy is imported here."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from vidstyle.core import hardware
from vidstyle.doctor.checks import Check

_GIB = 1 << 30
_MIN_MEMORY = 2 * _GIB
_MIN_DISK = _GIB
_CPUINFO, _MEMINFO, _GROUP, _GROUPS = (
    Path("/proc/cpuinfo"),
    Path("/proc/meminfo"),
    Path("/proc/self/cgroup"),
    Path("/sys/fs/cgroup"),
)


def python() -> list[Check]:
    """Version of Python and the operating system."""
    where = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.release()}"
    return [Check("python", "ok", f"{where}, {platform.machine()}")]


def processor() -> list[Check]:
    """Name and instruction sets of the processor, where known, and the number of cores that this process may use."""
    name, simd = hardware.processor(_CPUINFO)
    cores, all_cores = hardware.usable_cores(), os.cpu_count() or 1
    counted = f"{cores} of {all_cores} cores" if cores < all_cores else f"{cores} {'core' if cores == 1 else 'cores'}"
    found = ", ".join(part for part in (name, counted, " ".join(simd or [])) if part)
    if "no AVX2" in name:
        return [Check("processor", "note", found, "conversions will be slow: try --height 360")]
    if "amx_bf16" in (simd or []):
        return [Check("processor", "ok", found, "--backend torch is twice as fast on it (pip install 'vidstyle[torch]')")]
    return [Check("processor", "ok", found)]


def memory() -> list[Check]:
    """Total and free memory, and the limit of the control group, such as that of a container."""
    facts = {key: int(value.split()[0]) * 1024 for key, value in _colon_separated(_MEMINFO).items() if value.endswith("kB")}
    total = facts.get("MemTotal") or _physical_memory()
    if total is None:
        return [Check("memory", "note", "unknown on this system")]
    limit = memory_limit()
    found = f"{total / _GIB:.1f} GiB"
    if "MemAvailable" in facts:
        found += f", {facts['MemAvailable'] / _GIB:.1f} GiB free"
    if limit is not None and limit < total:
        found += f"; limited to {limit / _GIB:.1f} GiB"
    if min(total, limit or total) < _MIN_MEMORY:
        return [Check("memory", "note", found, "little for large videos: --height 720 or less needs less")]
    return [Check("memory", "ok", found)]


def memory_limit() -> int | None:
    """The lowest memory limit in bytes of the control groups of this process; None if there is none."""
    try:
        lines = [line.split(":", 2) for line in _GROUP.read_text().splitlines()]
    except OSError:
        return None
    limits = []
    for _, controllers, path in lines:
        top = _GROUPS if not controllers else _GROUPS / "memory" if "memory" in controllers.split(",") else None
        if top is None:
            continue
        inner = top / path.lstrip("/")
        # In a container the path may be that of the host, and the container's own group be at the top.
        for folder in dict.fromkeys((inner, *inner.parents, top)):
            if folder == top or top in folder.parents:
                limits += [_number(folder / name) for name in ("memory.max", "memory.limit_in_bytes")]
    return min((limit for limit in limits if limit is not None), default=None)


def disk() -> list[Check]:
    """Free space in the current folder and in the temporary folder."""
    rows = []
    for name, folder in (("disk", Path.cwd()), ("temporary folder", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        found = f"{free / _GIB:.1f} GiB free in {folder}"
        if not os.access(folder, os.W_OK):
            advice = "write outputs elsewhere with -o" if name == "disk" else "set TMPDIR to a writable folder"
            rows.append(Check(name, "note", f"{found}, which is not writable", advice))
        elif free < _MIN_DISK:
            rows.append(Check(name, "note", found, "free some space before converting long videos"))
        else:
            rows.append(Check(name, "ok", found))
    return rows


def _physical_memory() -> int | None:
    if sys.platform == "win32":
        return None
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _colon_separated(path: Path) -> dict[str, str]:
    """The first value of each key; empty if there is no such file."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for key, separator, value in (line.partition(":") for line in lines):
        if separator:
            found.setdefault(key.strip(), value.strip())
    return found


def _number(path: Path) -> int | None:
    """The number in a file; None for `max`, which means no limit, and if there is no such file."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
