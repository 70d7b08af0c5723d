"""Windows: can one be opened, and can it be after PyAV was imported? To be looked at in processes of their own only.

The order of imports is what matters here, hence they are where they are.
"""

from __future__ import annotations

from vidstyle.core.errors import DeviceError
from vidstyle.doctor.checks import Check, refused

_TITLE = "vidstyle doctor"


def window() -> list[Check]:
    """Whether a window can be opened."""
    try:
        _open_and_close()
    except DeviceError as error:
        return [refused("window", "note", error)]
    return [Check("window", "ok", "one was opened and closed")]


def window_after_av() -> list[Check]:
    """The same with PyAV imported before, which hangs on many systems; whoever waits for this knows what that means."""
    import av  # noqa: F401

    name = "windows and PyAV"
    try:
        _open_and_close()
    except DeviceError:
        return [Check(name, "note", "not tried: there is no window to open")]
    return [Check(name, "ok", "a window opens also where PyAV was imported before")]


def _open_and_close() -> None:
    """Raises `DeviceError` where there is no screen."""
    import cv2
    import numpy as np

    from vidstyle.live.window import check_display

    check_display()
    cv2.namedWindow(_TITLE, cv2.WINDOW_AUTOSIZE)
    cv2.imshow(_TITLE, np.zeros((90, 160, 3), np.uint8))
    cv2.waitKey(1)
    cv2.destroyWindow(_TITLE)
    cv2.waitKey(1)
