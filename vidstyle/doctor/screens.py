"""Whether a window can be opened, also after PyAV was imported. These inspections must run in separate processes.

The order of imports matters here, so they are inside the functions.
"""

from __future__ import annotations

from vidstyle.core.errors import DeviceError
from vidstyle.doctor.checks import Check, check_of_error

_TITLE = "vidstyle doctor"


def window() -> list[Check]:
    """Whether a window can be opened."""
    try:
        _open_and_close()
    except DeviceError as error:
        return [check_of_error("window", "note", error)]
    return [Check("window", "ok", "a window was opened and closed")]


def window_after_av() -> list[Check]:
    """The same after an import of PyAV, which hangs on many systems; `Inspection.on_timeout` reports that."""
    import av  # noqa: F401

    name = "windows and PyAV"
    try:
        _open_and_close()
    except DeviceError:
        return [Check(name, "note", "not tried: no window can be opened")]
    return [Check(name, "ok", "a window also opens after PyAV was imported")]


def _open_and_close() -> None:
    """Open and close a window; raises `DeviceError` without a screen."""
    import cv2
    import numpy as np

    from vidstyle.live.window import check_display

    check_display()
    cv2.namedWindow(_TITLE, cv2.WINDOW_AUTOSIZE)
    cv2.imshow(_TITLE, np.zeros((90, 160, 3), np.uint8))
    cv2.waitKey(1)
    cv2.destroyWindow(_TITLE)
    cv2.waitKey(1)
