"""Cameras, real and virtual."""

from __future__ import annotations

from vidstyle.core.errors import DeviceError, MissingExtraError
from vidstyle.doctor.checks import Check
from vidstyle.live.devices import CameraDevice, list_cameras
from vidstyle.live.virtual_camera import VirtualCamera

_SIZE = (640, 360)


def cameras() -> list[Check]:
    """A row for each camera."""
    return [_camera(device) for device in list_cameras()] or [
        Check("cameras", "note", "no camera was found; `live` also plays files")
    ]


def _camera(device: CameraDevice) -> Check:
    name = f"camera {device.index}"
    found = ", ".join(filter(None, (device.name, device.path)))
    if device.note is not None:
        why, _, advice = device.note.partition(": ")
        return Check(name, "note", f"{found}: {why}", advice or None)
    best = max(device.modes, key=lambda mode: (mode.width * mode.height, mode.fps), default=None)
    if best is None:
        return Check(name, "ok", found)
    rate = f" at {float(best.fps):.4g} fps" if best.fps else ""
    return Check(name, "ok", f"{found}, up to {best.width}x{best.height}{rate}")


def virtual_camera() -> list[Check]:
    """Whether a virtual camera can be opened; no row without the extra, because the row of the extra reports that."""
    try:
        camera = VirtualCamera(*_SIZE, 25)
    except MissingExtraError:
        return []
    except DeviceError as error:
        found, _, advice = str(error).partition(": ")
        return [Check("virtual camera", "note", found, advice or None)]
    camera.close()
    return [Check("virtual camera", "ok", camera.name)]
