"""The list of cameras, with fakes for linuxpy's devices."""

from __future__ import annotations

import errno
import os
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.helpers import run_cli
from vidstyle.core.errors import InputError
from vidstyle.live.camera import resolve_camera
from vidstyle.live.devices import CameraDevice, Mode, describe, find_camera, list_cameras

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="V4L2")

WEBCAM = CameraDevice(0, "/dev/video0", "HD Webcam C920", (Mode(640, 480, 30.0, "MJPG"),))
OTHER = CameraDevice(2, "/dev/video2", "USB Microscope")
TWIN = CameraDevice(4, "/dev/video4", "HD Webcam C270")


class Node:
    """A node under /dev, as `linuxpy.video.device.Device`."""

    def __init__(self, number: int, name: str = "", capture: bool = True, error: int = 0) -> None:
        from linuxpy.video import device

        self.filename, self._error = Path(f"/dev/video{number}"), error
        kinds = [
            device.FrameType(device.FrameIntervalType.DISCRETE, pixels, w, h, Fraction(fps), Fraction(fps), Fraction(fps))
            for pixels, w, h, fps in (
                (device.PixelFormat.YUYV, 640, 480, 30),
                (device.PixelFormat.YUYV, 1920, 1080, 5),
                (device.PixelFormat.MJPEG, 1920, 1080, 30),
                (device.PixelFormat.MJPEG, 1920, 1080, 15),
            )
        ]
        capability = device.Capability.VIDEO_CAPTURE if capture else device.Capability.META_CAPTURE
        self.info = SimpleNamespace(card=name, device_capabilities=capability, frame_types=kinds)

    def __enter__(self) -> Node:
        if self._error:
            raise OSError(self._error, os.strerror(self._error))
        return self

    def __exit__(self, *error: object) -> None:
        """Closed."""


def with_nodes(monkeypatch: pytest.MonkeyPatch, *nodes: Any) -> None:
    from linuxpy.video import device

    monkeypatch.setattr(device, "iter_devices", lambda: iter(nodes))


def test_cameras_are_listed_with_sizes_and_their_highest_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    with_nodes(monkeypatch, Node(2, "Second"), Node(1, "HD Webcam", capture=False), Node(0, "HD Webcam"))
    first, second = list_cameras()
    assert (first.index, second.index) == (0, 2)
    assert describe(first).splitlines() == [
        "0  HD Webcam  /dev/video0",
        "   YUYV: 1920x1080 5 fps, 640x480 30 fps",
        "   MJPG: 1920x1080 30 fps",
    ]


@pytest.mark.parametrize(("number", "words"), [(errno.EACCES, "group video"), (errno.EBUSY, "another program")])
def test_an_inaccessible_or_busy_camera_is_listed_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    with_nodes(monkeypatch, Node(0, error=number))
    assert words in describe(list_cameras()[0])


def test_a_camera_is_found_by_part_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_camera("micro", [WEBCAM, OTHER, TWIN]) is OTHER
    with_nodes(monkeypatch, Node(0, "HD Webcam"), Node(2, "USB Microscope"))
    assert resolve_camera("microscope").where == "/dev/video2"


@pytest.mark.parametrize(
    ("part", "devices", "words"),
    [
        ("webcam", [WEBCAM, OTHER, TWIN], "names of several cameras: 0 HD Webcam C920, 4 HD Webcam C270"),
        ("nikon", [WEBCAM, OTHER], "no camera or file is named nikon; the cameras are: 0 HD Webcam C920, 2 USB Microscope"),
        ("nikon", [], "no camera was found, and no file named nikon"),
    ],
)
def test_a_name_that_fits_no_camera_or_several_is_an_error(part: str, devices: list[CameraDevice], words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_camera(part, devices)


@pytest.mark.skipif(os.path.exists("/dev/video0"), reason="this machine has a camera")
def test_devices_reports_that_there_is_no_camera() -> None:
    done = run_cli("devices")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "no camera was found\n"
