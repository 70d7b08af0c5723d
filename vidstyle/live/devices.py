"""The cameras of this machine and their modes. PyAV is not used here: the process of the live window must not import it."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from vidstyle.core.errors import InputError
from vidstyle.core.files import reason

_NODES = Path("/dev")
_NAMES = Path("/sys/class/video4linux")
_NOT_A_CAMERA = {errno.ENODEV, errno.ENXIO, errno.ENOENT, errno.ENOTTY, errno.EINVAL}
_NOTES = {
    errno.EACCES: "permission denied: add yourself to the group video",
    errno.EPERM: "permission denied: add yourself to the group video",
    errno.EBUSY: "busy: another program uses it",
}


@dataclass(frozen=True, slots=True)
class Mode:
    """A size in pixels, the highest frame rate at that size (0 if unknown), and the format, such as MJPG or YUYV."""

    width: int
    height: int
    fps: Fraction | float
    format: str


@dataclass(frozen=True, slots=True)
class CameraDevice:
    """A camera. `modes` is empty where the system reports none; `note` may say why."""

    index: int
    """Its index in OpenCV."""
    path: str | None
    name: str
    modes: tuple[Mode, ...] = ()
    note: str | None = None
    stable_path: str | None = None
    """Another path, which stays the same when other cameras are plugged in."""


def list_cameras() -> list[CameraDevice]:
    """All cameras, by index. Modes are known only on Linux with linuxpy installed."""
    found = _linux_cameras() if sys.platform == "linux" else _named_cameras()
    return sorted(found, key=lambda device: device.index)


def find_camera(input: str, devices: Sequence[CameraDevice]) -> CameraDevice:
    """The camera whose name contains `input`, ignoring case; raises `InputError` if there is none or several."""
    wanted = input.casefold()
    found = [device for device in devices if wanted in device.name.casefold()]
    if len(found) > 1:  # one name may be contained in another
        found = [device for device in found if wanted == device.name.casefold()] or found
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{input} is part of the names of several cameras: {_listing(found)}; use a number instead")
    if devices:
        raise InputError(f"no camera or file is named {input}; the cameras are: {_listing(devices)}")
    raise InputError(f"no camera was found, and no file named {input}")


def _listing(devices: Iterable[CameraDevice]) -> str:
    return ", ".join(f"{device.index} {device.name}" for device in devices)


def describe(device: CameraDevice) -> str:
    """A line with index, name and path; below it, indented, the sizes of each format, or why they are unknown."""
    lines = [f"{device.index}  {device.name}" + (f"  {device.path}" if device.path else "")]
    formats: dict[str, list[str]] = {}
    for mode in device.modes:
        rate = f" {float(mode.fps):.4g} fps" if mode.fps else ""
        formats.setdefault(mode.format, []).append(f"{mode.width}x{mode.height}{rate}")
    lines += [f"   {pixels}: {', '.join(sizes)}" for pixels, sizes in formats.items()]
    lines += [f"   {line}" for line in (device.note, device.stable_path) if line]
    return "\n".join(lines)


def _linux_cameras() -> list[CameraDevice]:
    try:
        from linuxpy.video import device  # type: ignore[import-untyped]
    except ImportError:
        return _named_cameras()
    nodes = {Path(node.filename): _query(node) for node in device.iter_devices()}
    found = [camera for camera in nodes.values() if camera is not None]
    # linuxpy skips devices that it may not open.
    for path in _NODES.glob("video*"):
        if path not in nodes and _index(path) is not None and not os.access(path, os.R_OK | os.W_OK):
            found.append(_inaccessible(path, errno.EACCES, ""))
    return found


def _query(node: Any) -> CameraDevice | None:
    """The camera of linuxpy's `node`; None if the node gives no images, such as a camera's second node for metadata."""
    from linuxpy.video.device import Capability  # type: ignore[import-untyped]

    path = Path(node.filename)
    if (index := _index(path)) is None:
        return None
    try:
        with node:
            if not node.info.device_capabilities & (Capability.VIDEO_CAPTURE | Capability.VIDEO_CAPTURE_MPLANE):
                return None
            return CameraDevice(index, str(path), node.info.card, _modes(node.info.frame_types), None, _stable_path(path))
    except OSError as error:
        if error.errno in _NOT_A_CAMERA:  # or it was unplugged meanwhile
            return None
        return _inaccessible(path, error.errno, reason(error))


def _inaccessible(path: Path, number: int | None, why: str) -> CameraDevice:
    """A camera that could not be queried."""
    note = _NOTES.get(number or 0, f"could not be queried ({why})")
    try:
        name = (_NAMES / path.name / "name").read_text(errors="replace").strip()
    except OSError:
        name = ""
    return CameraDevice(_index(path) or 0, str(path), name or path.name, (), note, _stable_path(path))


def _modes(frame_types: Iterable[Any]) -> tuple[Mode, ...]:
    """Each size once for each format, at its highest rate, the largest first. `frame_types` come from linuxpy."""
    best: dict[str, dict[tuple[int, int], Fraction | float]] = {}
    for kind in frame_types:
        sizes = best.setdefault(_fourcc(int(kind.pixel_format)), {})
        size = kind.width, kind.height
        sizes[size] = max(kind.max_fps, sizes.get(size, 0))
    return tuple(
        Mode(width, height, sizes[width, height], pixels)
        for pixels, sizes in best.items()
        for width, height in sorted(sizes, key=lambda size: -size[0] * size[1])
    )


def _fourcc(pixel_format: int) -> str:
    """The name of a V4L2 pixel format: its four bytes as characters."""
    return "".join(chr(pixel_format >> shift & 0x7F) for shift in (0, 8, 16, 24)).strip()


def _index(path: Path) -> int | None:
    """The number of /dev/videoN."""
    digits = path.name.removeprefix("video")
    return int(digits) if digits.isdecimal() else None


def _stable_path(path: Path) -> str | None:
    folder = _NODES / "v4l" / "by-id"
    links = sorted(folder.iterdir()) if folder.is_dir() else []
    return next((str(link) for link in links if os.path.realpath(link) == os.path.realpath(path)), None)


def _named_cameras() -> list[CameraDevice]:
    """Cameras without modes, for systems without linuxpy."""
    import cv2
    from cv2_enumerate_cameras import enumerate_cameras

    backend = {"win32": cv2.CAP_DSHOW, "darwin": cv2.CAP_AVFOUNDATION}.get(sys.platform, cv2.CAP_V4L2)
    return [CameraDevice(info.index, info.path or None, info.name) for info in enumerate_cameras(backend)]
