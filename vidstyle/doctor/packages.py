"""Python packages: what is installed, what vidstyle asks for, what does not go together. Nothing is imported here."""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any

import vidstyle
from vidstyle.doctor.checks import Check

_TOLD = ("av", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "opencv-python")
"""Required packages with a row of their own; the others have one when something is wrong with them."""

_RUNTIMES = ("onnxruntime-gpu", "onnxruntime", "onnxruntime-directml", "onnxruntime-openvino")
_OPENCVS = ("opencv-python", "opencv-contrib-python", "opencv-python-headless", "opencv-contrib-python-headless")
_SAME_FILES = (_RUNTIMES, _OPENCVS)
"""Packages that install the same files; the first that is there is the one to keep."""

_EXTRAS = (
    ("torch", ("torch", "torchvision", "safetensors", "scenedetect"), "train, paint, keyframes and --backend torch"),
    ("ray", ("ray",), "--cluster"),
    ("web", ("aiohttp", "aiortc"), "live --web"),
    ("watch", ("watchfiles",), "--watch"),
    ("virtualcam", ("pyvirtualcam",), "live --virtual-camera"),
    ("cameras", ("linuxpy",) if sys.platform == "linux" else (), "the sizes and rates of cameras"),
)
"""Name, packages, and what they are for."""

_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_REQUIREMENT = re.compile(r"([\w.-]+)\s*(?:\[[^]]*\])?\s*([^;]*)")
_CLAUSE = re.compile(r"(>=|<=|==|!=|<|>)\s*([\d.]+)")


def packages() -> list[Check]:
    """vidstyle, and whether what it needs is there in a version that it can use."""
    try:
        required = _required()
        rows = [Check("vidstyle", "ok", vidstyle.__version__)]
    except metadata.PackageNotFoundError:
        required = dict.fromkeys(_TOLD, "")
        advice = "pip install . in its folder, so that its packages come along"
        rows = [Check("vidstyle", "note", f"{vidstyle.__version__}, which is not installed", advice)]
    runtimes = {name: required.pop(name) for name in _RUNTIMES if name in required}
    # Which one is asked for depends on the system; any of them will do.
    present = [name for name in _RUNTIMES if installed(name)] or list(runtimes)[:1]
    for name, wanted in [*required.items(), *((name, runtimes.get(name, "")) for name in present)]:
        row = _package(name, wanted)
        if row.state != "ok" or name in (*_TOLD, *_RUNTIMES):
            rows.append(row)
    return rows


def conflicts() -> list[Check]:
    """Packages that have overwritten one another."""
    rows = []
    for group in _SAME_FILES:
        found = [name for name in group if installed(name)]
        if len(found) > 1:
            keep, others = found[0], found[1:]
            advice = f"pip uninstall {' '.join(others)}, then pip install --force-reinstall --no-deps {keep}"
            rows.append(Check("conflicts", "note", f"{' and '.join(found)} overwrite one another's files", advice))
    return rows or [Check("conflicts", "ok", "none")]


def extras() -> list[Check]:
    """Which of vidstyle's extras are installed, and what the others would be for."""
    rows = []
    for extra, names, purpose in _EXTRAS:
        if not names:
            continue
        there = [f"{name} {version}" for name in names if (version := installed(name))]
        missing = [name for name in names if not installed(name)]
        if missing:
            found = f"not installed: {', '.join(missing)}, for {purpose}"
            rows.append(Check(f"extra {extra}", "note", found, f"pip install 'vidstyle[{extra}]'"))
        else:
            rows.append(Check(f"extra {extra}", "ok", ", ".join(there)))
    return rows


def installed(name: str) -> str | None:
    """The version of a package; None where there is none."""
    try:
        return metadata.version(name) or "of unknown version"
    except metadata.PackageNotFoundError:
        return None


def within(version: str, wanted: str) -> bool:
    """Whether a version is in a range such as `<19,>=18.1`."""
    return all(_COMPARED[sign](_numbers(version), _numbers(bound)) for sign, bound in _CLAUSE.findall(wanted))


def _package(name: str, wanted: str) -> Check:
    version = installed(name)
    advice = f"pip install '{name}{wanted}'"
    if version is None:
        return Check(name, "note", "not installed, and vidstyle needs it", advice)
    if not within(version, wanted):
        return Check(name, "note", f"{version}, expected {wanted}", advice)
    return Check(name, "ok", version)


def _required() -> dict[str, str]:
    """Package -> range of versions, without those of extras; raises `PackageNotFoundError` where vidstyle is not installed."""
    found = {}
    for line in metadata.requires("vidstyle") or ():
        if "extra ==" not in line and (match := _REQUIREMENT.match(line)):
            found[match[1]] = match[2].strip()
    return found


def _numbers(version: str) -> tuple[int, ...]:
    """`18.1` -> (18, 1, 0, 0)."""
    numbers = [int(part) for part in re.findall(r"\d+", re.split(r"[^\d.]", version)[0])]
    return tuple((numbers + [0] * 4)[:4])
