"""Python packages: installed versions, requirements of vidstyle, and conflicts. The packages are not imported here."""

from __future__ import annotations

import sys
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion

import vidstyle
from vidstyle.doctor.checks import Check

_ALWAYS_LISTED = ("av", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "opencv-python")
"""Required packages that always have a row; the others have one only if something is wrong."""

_RUNTIMES = ("onnxruntime-gpu", "onnxruntime", "onnxruntime-directml", "onnxruntime-openvino")
_OPENCVS = ("opencv-python", "opencv-contrib-python", "opencv-python-headless", "opencv-contrib-python-headless")
_SAME_FILES = (_RUNTIMES, _OPENCVS)
"""Groups of packages that install the same files; the first installed one is the one to keep."""

_EXTRAS = (
    ("torch", ("torch", "torchvision", "safetensors", "scenedetect"), "train, paint, keyframes and --backend torch"),
    ("ray", ("ray",), "--cluster"),
    ("web", ("aiohttp", "aiortc"), "live --web"),
    ("watch", ("watchfiles",), "--watch"),
    ("virtualcam", ("pyvirtualcam",), "live --virtual-camera"),
    ("cameras", ("linuxpy",) if sys.platform == "linux" else (), "sizes and rates of cameras"),
)
"""Name, packages, and purpose of each extra."""


def packages() -> list[Check]:
    """The version of vidstyle, and whether its required packages are installed in suitable versions."""
    try:
        requirements = _requirements()
        rows = [Check("vidstyle", "ok", vidstyle.__version__)]
    except metadata.PackageNotFoundError:
        requirements = [Requirement(name) for name in _ALWAYS_LISTED]
        advice = "run pip install . in its folder, which installs its packages too"
        rows = [Check("vidstyle", "note", f"{vidstyle.__version__}, which is not installed", advice)]
    needed = {r.name: r.specifier for r in requirements if r.marker is None or r.marker.evaluate()}
    # The markers choose one of ONNX Runtime's packages, but any of them will do.
    runtimes = {r.name: r.specifier for r in requirements if r.name in _RUNTIMES}
    if present := {name: runtimes.get(name, SpecifierSet()) for name in _RUNTIMES if installed(name)}:
        needed = {name: range_ for name, range_ in needed.items() if name not in _RUNTIMES} | present
    for name, versions in needed.items():
        row = _package(name, versions)
        if row.state != "ok" or name in (*_ALWAYS_LISTED, *_RUNTIMES):
            rows.append(row)
    return rows


def conflicts() -> list[Check]:
    """Packages that overwrite one another's files."""
    rows = []
    for group in _SAME_FILES:
        found = [name for name in group if installed(name)]
        if len(found) > 1:
            keep, others = found[0], found[1:]
            advice = f"pip uninstall {' '.join(others)}, then pip install --force-reinstall --no-deps {keep}"
            rows.append(Check("conflicts", "note", f"{' and '.join(found)} overwrite one another's files", advice))
    return rows or [Check("conflicts", "ok", "none")]


def extras() -> list[Check]:
    """The extras of vidstyle: which are installed, and the purpose of the others."""
    rows = []
    for extra, names, purpose in _EXTRAS:
        if not names:
            continue
        present = [f"{name} {version}" for name in names if (version := installed(name))]
        missing = [name for name in names if not installed(name)]
        if missing:
            details = f"not installed: {', '.join(missing)}, for {purpose}"
            rows.append(Check(f"extra {extra}", "note", details, f"pip install 'vidstyle[{extra}]'"))
        else:
            rows.append(Check(f"extra {extra}", "ok", ", ".join(present)))
    return rows


def installed(name: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return metadata.version(name) or "of unknown version"
    except metadata.PackageNotFoundError:
        return None


def within(version: str, versions: SpecifierSet) -> bool:
    """Whether a version is in a range such as `<19,>=18.1`."""
    try:
        return versions.contains(version, prereleases=True)
    except InvalidVersion:
        return not versions


def _package(name: str, versions: SpecifierSet) -> Check:
    version = installed(name)
    advice = f"pip install '{name}{versions}'"
    if version is None:
        return Check(name, "note", "not installed, and vidstyle needs it", advice)
    if not within(version, versions):
        return Check(name, "note", f"{version}, expected {versions}", advice)
    return Check(name, "ok", version)


def _requirements() -> list[Requirement]:
    """The requirements of vidstyle without those of extras; raises `PackageNotFoundError` if it is not installed."""
    requirements = map(Requirement, metadata.requires("vidstyle") or ())
    return [r for r in requirements if r.marker is None or "extra" not in str(r.marker)]
