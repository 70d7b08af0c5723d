"""The libraries that packages bring along: what they say of themselves once they are loaded."""

from __future__ import annotations

import re

from vidstyle.doctor.checks import Check, Inspection, ask

_LIBRARIES = ("libavcodec", "libavformat", "libavutil")


def libraries() -> list[Check]:
    """A row each, also where one of them cannot be loaded."""
    rows = []
    for name in ("ffmpeg", "opencv", "providers"):
        rows += ask(Inspection(name, f"{__name__}:{name}"))
    return rows


def ffmpeg() -> list[Check]:
    """PyAV's FFmpeg."""
    import av

    versions = ", ".join(f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in _LIBRARIES)
    return [Check("ffmpeg", "ok", f"{av.ffmpeg_version_info} in PyAV {av.__version__}: {versions}")]


def opencv() -> list[Check]:
    """OpenCV, and what it opens windows with."""
    import cv2

    facts = re.search(r"GUI:\s+(\S+)", cv2.getBuildInformation())
    windows = facts[1] if facts else "unknown"
    if windows == "NONE":
        advice = "pip uninstall opencv-python-headless, then pip install --force-reinstall opencv-python"
        return [Check("opencv", "note", f"{cv2.__version__} without windows", advice)]
    return [Check("opencv", "ok", f"{cv2.__version__}, windows with {windows}")]


def providers() -> list[Check]:
    """What ONNX Runtime was built for, which says nothing of the hardware."""
    import onnxruntime as ort

    names = ", ".join(name.removesuffix("ExecutionProvider") for name in ort.get_available_providers())
    return [Check("onnx runtime", "ok", f"{ort.__version__}, built for {names}")]
