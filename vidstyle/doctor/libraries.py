"""The native libraries in packages: their versions and features as they report them."""

from __future__ import annotations

import re

from vidstyle.doctor.checks import Check, Inspection, run_inspection

_LIBRARIES = ("libavcodec", "libavformat", "libavutil")


def libraries() -> list[Check]:
    """A row for each, also for one that cannot be loaded."""
    rows = []
    for name in ("ffmpeg", "opencv", "providers"):
        rows += run_inspection(Inspection(name, f"{__name__}:{name}"))
    return rows


def ffmpeg() -> list[Check]:
    """The FFmpeg libraries of PyAV."""
    import av

    versions = ", ".join(f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in _LIBRARIES)
    return [Check("ffmpeg", "ok", f"{av.ffmpeg_version_info} in PyAV {av.__version__}: {versions}")]


def opencv() -> list[Check]:
    """OpenCV and its window toolkit."""
    import cv2

    build = re.search(r"GUI:\s+(\S+)", cv2.getBuildInformation())
    windows = build[1] if build else "unknown"
    if windows == "NONE":
        advice = "pip uninstall opencv-python-headless, then pip install --force-reinstall opencv-python"
        return [Check("opencv", "note", f"{cv2.__version__} without windows", advice)]
    return [Check("opencv", "ok", f"{cv2.__version__}, windows with {windows}")]


def providers() -> list[Check]:
    """The providers that ONNX Runtime was built with, whatever the hardware."""
    import onnxruntime as ort

    names = ", ".join(name.removesuffix("ExecutionProvider") for name in ort.get_available_providers())
    return [Check("onnx runtime", "ok", f"{ort.__version__}, built for {names}")]
