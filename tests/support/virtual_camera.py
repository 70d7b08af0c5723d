"""A fake pyvirtualcam, as if a driver were installed."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, ClassVar

import pytest

from vidstyle.core.frames import Pixels


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
    module: Any = ModuleType("pyvirtualcam")
    module.Camera = FakeCamera
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    monkeypatch.setattr(FakeCamera, "made", [])
    return FakeCamera.made
