"""The live image as a virtual camera, for example for a video call."""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np

from vidstyle.core.errors import DeviceError, MissingExtraError
from vidstyle.core.files import reason
from vidstyle.core.frames import Pixels

_DRIVERS = {
    "linux": "install v4l2loopback (Debian, Ubuntu: apt install v4l2loopback-dkms), then "
    "`sudo modprobe v4l2loopback exclusive_caps=1 card_label=vidstyle`",
    "darwin": "install OBS Studio 30 or newer, start its virtual camera once and stop it again",
    "win32": "install OBS Studio, which brings a virtual camera",
}


class VirtualCamera:
    """A virtual camera of this size, with pyvirtualcam.

    Raises `MissingExtraError` without pyvirtualcam, and `DeviceError` without a driver, with instructions to install one.
    """

    def __init__(self, width: int, height: int, fps: float) -> None:
        try:
            import pyvirtualcam
        except ImportError as error:
            raise MissingExtraError("a virtual camera", "virtualcam") from error
        self._size = (width, height)
        try:
            self._camera: Any = pyvirtualcam.Camera(width, height, max(1.0, fps))
        except (RuntimeError, ValueError) as error:
            how = _DRIVERS.get(sys.platform, "install a driver that pyvirtualcam knows")
            raise DeviceError(f"no driver for virtual cameras works: {how}") from error
        self.name = str(self._camera.device)

    def send(self, image: Pixels) -> None:
        """Send the next image, RGB uint8 (H, W, 3); one of another size is scaled. Raises `DeviceError` if the device is gone."""
        if image.shape[1::-1] != self._size:
            image = np.asarray(cv2.resize(image, self._size, interpolation=cv2.INTER_AREA), np.uint8)
        try:
            self._camera.send(np.ascontiguousarray(image))
        except (RuntimeError, OSError) as error:
            raise DeviceError(f"the virtual camera {self.name} takes no more images ({reason(error)})") from error

    def close(self) -> None:
        """Close the camera; closing twice is harmless."""
        self._camera.close()
