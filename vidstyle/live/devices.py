"""Which cameras there are, and what each can do. PyAV is not used here: the process of the live window must not import it."""

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
    """A size in pixels, the highest rate it comes at (0 if not told), and the format, such as MJPG or YUYV."""

    width: int
    height: int
    fps: Fraction | float
    format: str


@dataclass(frozen=True, slots=True)
class CameraDevice:
    """A camera. `modes` is empty where the system tells none, or where `note` says why."""

    index: int
    """OpenCV's number for it."""
    path: str | None
    name: str
    modes: tuple[Mode, ...] = ()
    note: str | None = None
    stable_path: str | None = None
    """Another path, which stays when other cameras come and go."""


def list_cameras() -> list[CameraDevice]:
    """All cameras, by index. Modes are known on Linux only, where linuxpy is installed."""
    found = _linux_cameras() if sys.platform == "linux" else _named_cameras()
    return sorted(found, key=lambda device: device.index)


def find_camera(input: str, devices: Sequence[CameraDevice]) -> CameraDevice:
    """The one camera whose name has `input` in it, in whatever case; raises `InputError` where none or several have."""
    wanted = input.casefold()
    found = [device for device in devices if wanted in device.name.casefold()]
    if len(found) > 1:  # a name may be part of another
        found = [device for device in found if wanted == device.name.casefold()] or found
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"expected the name of one camera, {input} fits several: {_listing(found)}; give the number instead")
    if devices:
        raise InputError(f"expected a camera or file, there is none named {input}; there are: {_listing(devices)}")
    raise InputError(f"expected a camera or file, there is no camera and no file named {input}")


def _listing(devices: Iterable[CameraDevice]) -> str:
    return ", ".join(f"{device.index} {device.name}" for device in devices)


def describe(device: CameraDevice) -> str:
    """A line with index, name and path; below it, indented, the sizes of each format, or why they are not known."""
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
    asked = {Path(node.filename): _ask(node) for node in device.iter_devices()}
    found = [camera for camera in asked.values() if camera is not None]
    # linuxpy passes over what it may not open.
    for path in _NODES.glob("video*"):
        if path not in asked and _index(path) is not None and not os.access(path, os.R_OK | os.W_OK):
            found.append(_silent(path, errno.EACCES, ""))
    return found


def _ask(node: Any) -> CameraDevice | None:
    """What linuxpy's `node` says of itself; None if it gives no images, such as a camera's second node for metadata."""
    from linuxpy.video.device import Capability  # type: ignore[import-untyped]

    path = Path(node.filename)
    if (index := _index(path)) is None:
        return None
    try:
        with node:
            if not node.info.device_capabilities & (Capability.VIDEO_CAPTURE | Capability.VIDEO_CAPTURE_MPLANE):
                return None
            return CameraDevice(index, str(path), node.info.gpu, _modes(node.info.frame_types), None, _stable_path(path))
    except OSError as error:
        if error.errno in _NOT_A_CAMERA:  # or one that was unplugged meanwhile
            return None
        return _silent(path, error.errno, reason(error))


def _silent(path: Path, number: int | None, why: str) -> CameraDevice:
    """A camera that could not be asked."""
    note = _NOTES.get(number or 0, f"could not be asked ({why})")
    try:
        name = (_NAMES / path.name / "name").read_text(errors="replace").strip()
    except OSError:
        name = ""
    return CameraDevice(_index(path) or 0, str(path), name or path.name, (), note, _stable_path(path))


def _modes(frame_types: Iterable[Any]) -> tuple[Mode, ...]:
    """Each size once for each format, at its highest rate; the largest first. `frame_types` are linuxpy's."""
    best: dict[str, dict[tuple[int, int], Fraction | float]] = {}
    for kind in frame_types:
        sizes = best.setdefault(_letters(int(kind.pixel_format)), {})
        size = kind.width, kind.height
        sizes[size] = max(kind.max_fps, sizes.get(size, 0))
    return tuple(
        Mode(width, height, sizes[width, height], pixels)
        for pixels, sizes in best.items()
        for width, height in sorted(sizes, key=lambda size: -size[0] * size[1])
    )


def _letters(pixel_format: int) -> str:
    """The name of a pixel format, which are its bytes."""
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
    """What can be had without linuxpy: names."""
    import cv2
    from cv2_enumerate_cameras import enumerate_cameras

    backend = {"win32": cv2.CAP_DSHOW, "darwin": cv2.CAP_AVFOUNDATION}.get(sys.platform, cv2.CAP_V4L2)
    return [CameraDevice(info.index, info.path or None, info.name) for info in enumerate_cameras(backend)]
