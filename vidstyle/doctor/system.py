"""The machine: Python, processor, memory, disk. Nothing heavy is imported here."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from vidstyle.core import hardware as machine
from vidstyle.doctor.checks import Check

_GIB = 1 << 30
_LEAST_MEMORY = 2 * _GIB
_LEAST_DISK = _GIB
_CPUINFO, _MEMINFO, _GROUP, _GROUPS = (
    Path("/proc/cpuinfo"),
    Path("/proc/meminfo"),
    Path("/proc/self/cgroup"),
    Path("/sys/fs/cgroup"),
)


def python() -> list[Check]:
    """Which Python, on what."""
    where = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.release()}"
    return [Check("python", "ok", f"{where}, {platform.machine()}")]


def processor() -> list[Check]:
    """Its name and instructions, where the system tells them, and how many of its cores this process may use."""
    name, simd = machine.processor(_CPUINFO)
    cores, all_cores = machine.usable_cores(), os.cpu_count() or 1
    counted = f"{cores} of {all_cores} cores" if cores < all_cores else f"{cores} {'core' if cores == 1 else 'cores'}"
    found = ", ".join(part for part in (name, counted, " ".join(simd or [])) if part)
    if "no AVX2" in name:
        return [Check("processor", "note", found, "expect little speed: try --height 360")]
    if "amx_bf16" in (simd or []):
        return [Check("processor", "ok", found, "with --backend torch nets take half the time (pip install 'vidstyle[torch]')")]
    return [Check("processor", "ok", found)]


def memory() -> list[Check]:
    """How much there is, how much is free, and the limit of the control group, such as a container's."""
    told = {key: int(value.split()[0]) * 1024 for key, value in _colon_separated(_MEMINFO).items() if value.endswith("kB")}
    total = told.get("MemTotal") or _physical_memory()
    if total is None:
        return [Check("memory", "note", "this system does not tell")]
    limit = memory_limit()
    found = f"{total / _GIB:.1f} GiB"
    if "MemAvailable" in told:
        found += f", {told['MemAvailable'] / _GIB:.1f} GiB free"
    if limit is not None and limit < total:
        found += f"; limited to {limit / _GIB:.1f} GiB"
    if min(total, limit or total) < _LEAST_MEMORY:
        return [Check("memory", "note", found, "little for large videos: --height 720 or less takes less of it")]
    return [Check("memory", "ok", found)]


def memory_limit() -> int | None:
    """The least limit in bytes of the control groups that this process is in; None where there is none."""
    try:
        lines = [line.split(":", 2) for line in _GROUP.read_text().splitlines()]
    except OSError:
        return None
    limits = []
    for _, kinds, path in lines:
        top = _GROUPS if not kinds else _GROUPS / "memory" if "memory" in kinds.split(",") else None
        if top is None:
            continue
        inner = top / path.lstrip("/")
        # In a container the path may be the host's, and the container's own group lie on top.
        for folder in dict.fromkeys((inner, *inner.parents, top)):
            if folder == top or top in folder.parents:
                limits += [_number(folder / name) for name in ("memory.max", "memory.limit_in_bytes")]
    return min((limit for limit in limits if limit is not None), default=None)


def disk() -> list[Check]:
    """Room in the current folder and in the temporary one."""
    rows = []
    for name, folder in (("disk", Path.cwd()), ("temporary folder", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        found = f"{free / _GIB:.1f} GiB free in {folder}"
        if not os.access(folder, os.W_OK):
            advice = "write outputs elsewhere with -o" if name == "disk" else "set TMPDIR to a folder that can be written to"
            rows.append(Check(name, "note", f"{found}, which cannot be written to", advice))
        elif free < _LEAST_DISK:
            rows.append(Check(name, "note", found, "make room before painting long videos"))
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
    """The first value of each key; empty where there is no such file."""
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
    """None for `max`, which is no limit, and where there is no such file."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
