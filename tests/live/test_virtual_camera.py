"""The stylized image as a virtual camera. There is no driver here: the only test without a fake asserts that message."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from tests.support.virtual_camera import FakeCamera, driver
from vidstyle.core.errors import DeviceError, MissingExtraError
from vidstyle.core.frames import Pixels
from vidstyle.live.virtual_camera import VirtualCamera

__all__ = ["driver"]  # a fixture


def test_images_of_the_same_size_arrive_unchanged_and_others_scaled(driver: list[FakeCamera]) -> None:
    camera = VirtualCamera(64, 48, 30.0)
    image = np.arange(64 * 48 * 3, dtype=np.uint32).astype(np.uint8).reshape(48, 64, 3)
    camera.send(image)
    camera.send(np.zeros((96, 128, 3), np.uint8))
    camera.close()
    assert np.array_equal(driver[0].sent[0], image)
    assert len(driver[0].sent) == 2
    assert driver[0].closed


def test_a_lost_driver_is_a_device_error(driver: list[FakeCamera], monkeypatch: pytest.MonkeyPatch) -> None:
    camera = VirtualCamera(64, 48, 30.0)

    def gone(self: FakeCamera, image: Pixels) -> None:
        raise RuntimeError("no such device")

    monkeypatch.setattr(FakeCamera, "send", gone)
    with pytest.raises(DeviceError, match="/dev/video42 takes no more images"):
        camera.send(np.zeros((48, 64, 3), np.uint8))


def test_without_pyvirtualcam_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(MissingExtraError, match=r"vidstyle\[virtualcam\]"):
        VirtualCamera(64, 48, 30.0)


@pytest.mark.skipif(sys.platform != "linux" or os.path.exists("/dev/video0"), reason="there may be a driver")
def test_without_a_driver_the_error_explains_how_to_install_one() -> None:
    pytest.importorskip("pyvirtualcam")
    with pytest.raises(DeviceError, match="modprobe v4l2loopback"):
        VirtualCamera(64, 48, 30.0)
