"""Cameras that linuxpy does not list, and machines without linuxpy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.helpers import environment
from vidstyle.live import devices
from vidstyle.live.devices import CameraDevice, Mode, describe, find_camera, list_cameras

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="V4L2")


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder instead of /dev, with a camera that may not be opened."""
    from linuxpy.video import device

    (tmp_path / "video3").touch()
    (tmp_path / "video-tools").touch()
    (tmp_path / "names" / "video3").mkdir(parents=True)
    (tmp_path / "names" / "video3" / "name").write_text("HD Webcam\n")
    monkeypatch.setattr(devices, "_NODES", tmp_path)
    monkeypatch.setattr(devices, "_NAMES", tmp_path / "names")
    monkeypatch.setattr(device, "iter_devices", lambda: iter(()))  # it skips devices that may not be opened
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may open everything
    return tmp_path


def test_an_inaccessible_camera_is_listed_though_linuxpy_skips_it(nodes: Path) -> None:
    (found,) = list_cameras()
    assert (found.index, found.name, found.modes) == (3, "HD Webcam", ())
    assert "permission denied" in describe(found)
    assert find_camera("webcam", [found]) is found


def test_the_stable_path_is_listed(nodes: Path) -> None:
    folder = nodes / "v4l" / "by-id"
    folder.mkdir(parents=True)
    (folder / "usb-Webcam-index0").symlink_to("../../video3")
    (found,) = list_cameras()
    assert found.stable_path == str(folder / "usb-Webcam-index0")
    assert found.stable_path in describe(found)


def test_names_are_listed_without_linuxpy(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2_enumerate_cameras

    cameras = [SimpleNamespace(index=2, name="Second", path="/dev/video2"), SimpleNamespace(index=0, name="First", path=None)]
    monkeypatch.setitem(sys.modules, "linuxpy.video", None)
    monkeypatch.setattr(cv2_enumerate_cameras, "enumerate_cameras", lambda backend: cameras)
    assert list_cameras() == [CameraDevice(0, None, "First"), CameraDevice(2, "/dev/video2", "Second")]


def test_an_unknown_rate_is_left_out() -> None:
    camera = CameraDevice(0, None, "Loopback", (Mode(640, 480, 0, "YUYV"), Mode(320, 240, 29.97, "YUYV")))
    assert describe(camera) == "0  Loopback\n   YUYV: 640x480, 320x240 29.97 fps"


def test_an_exact_name_wins_over_a_longer_one() -> None:
    plain, longer = CameraDevice(0, None, "Webcam"), CameraDevice(1, None, "Webcam Pro")
    assert find_camera("webcam", [plain, longer]) is plain


def test_listing_does_not_import_pyav() -> None:
    code = "import sys; from vidstyle.live.devices import list_cameras; list_cameras(); print('av' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr
