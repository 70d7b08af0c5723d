"""The painting as a camera of other programs. No driver is here: the one test without a fake is that this is said."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest

from vidstyle.core.errors import DeviceError, MissingExtraError
from vidstyle.core.frames import Pixels
from vidstyle.live.virtual_camera import VirtualCamera


class FakeCamera:
    """pyvirtualcam's Camera with a driver."""

    made: ClassVar[list[FakeCamera]] = []
    device = "/dev/video42"

    def __init__(self, width: int, height: int, fps: float) -> None:
        self.size, self.fps, self.sent, self.closed = (width, height), fps, list[Pixels](), False
        self.made.append(self)

    def send(self, image: Pixels) -> None:
        assert image.shape == (self.size[1], self.size[0], 3)
        assert image.flags.c_contiguous
        self.sent.append(image)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> list[FakeCamera]:
    module = ModuleType("pyvirtualcam")
    module.Camera = FakeCamera  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    monkeypatch.setattr(FakeCamera, "made", [])
    return FakeCamera.made


def test_images_arrive_as_they_are_and_others_scaled(driver: list[FakeCamera]) -> None:
    camera = VirtualCamera(64, 48, 30.0)
    image = np.arange(64 * 48 * 3, dtype=np.uint32).astype(np.uint8).reshape(48, 64, 3)
    camera.send(image)
    camera.send(np.zeros((96, 128, 3), np.uint8))
    camera.close()
    assert np.array_equal(driver[0].sent[0], image)
    assert len(driver[0].sent) == 2
    assert driver[0].closed


def test_a_driver_that_goes_away_is_told_in_a_sentence(driver: list[FakeCamera], monkeypatch: pytest.MonkeyPatch) -> None:
    camera = VirtualCamera(64, 48, 30.0)

    def gone(self: FakeCamera, image: Pixels) -> None:
        raise RuntimeError("no such device")

    monkeypatch.setattr(FakeCamera, "send", gone)
    with pytest.raises(DeviceError, match="/dev/video42 takes no more images"):
        camera.send(np.zeros((48, 64, 3), np.uint8))


def test_without_pyvirtualcam_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(MissingExtraError, match=r"vidstyle\[virtualcam\]"):
        VirtualCamera(64, 48, 30.0)


@pytest.mark.skipif(sys.platform != "linux" or os.path.exists("/dev/video0"), reason="there may be a driver")
def test_without_a_driver_it_is_said_how_to_get_one() -> None:
    pytest.importorskip("pyvirtualcam")
    with pytest.raises(DeviceError, match="modprobe v4l2loopback"):
        VirtualCamera(64, 48, 30.0)
