"""The live view in an OpenCV window."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections import deque

import cv2

from vidstyle.core.errors import DeviceError
from vidstyle.core.frames import Pixels
from vidstyle.live.overlay import draw_overlay
from vidstyle.live.state import Event, KeyPress, LiveState, Setting, Status

_KEYS = {27: "escape", 32: "space", 65361: "left", 65362: "up", 65363: "right", 65364: "down"}  # X11's
_KEYS |= {2424832: "left", 2490368: "up", 2555904: "right", 2621440: "down"}  # Windows'
_KEYS |= {63234: "left", 63232: "up", 63235: "right", 63233: "down"}  # macOS'
_NO_SCREEN = "; `--web` shows the image in a browser instead"
_HEADLESS = (
    "expected OpenCV with windows, found a headless one: pip uninstall opencv-python-headless and "
    "pip install --force-reinstall opencv-python" + _NO_SCREEN
)


def check_display() -> None:
    """Raise `DeviceError` unless a window can be opened: where it cannot, OpenCV ends the whole process."""
    build = cv2.getBuildInformation()
    if re.search(r"GUI:\s+NONE", build) or not hasattr(cv2, "namedWindow"):
        raise DeviceError(_HEADLESS)
    if sys.platform != "linux" or not re.search(r"GUI:\s+QT", build):
        return
    wayland = bool(os.environ.get("WAYLAND_DISPLAY"))
    if not os.environ.get("DISPLAY"):
        found = "only Wayland without XWayland" if wayland else "none: DISPLAY is not set"
        raise DeviceError(f"expected a screen for the window, found {found}" + _NO_SCREEN)
    try:
        xcb = ctypes.CDLL("libxcb.so.1")  # which Qt connects with
    except OSError:
        raise DeviceError("expected the library libxcb for the window, found none: install libxcb1 and libx11-6") from None
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(None, None))
    failed = xcb.xcb_connection_has_error(connection)
    xcb.xcb_disconnect(connection)
    if failed:
        raise DeviceError(f"could not connect to DISPLAY={os.environ['DISPLAY']} for the window" + _NO_SCREEN)


class WindowScreen:
    """A `Screen` (see `vidstyle.live.protocols`), to be used in the main thread. The window opens with the first image.

    Closing the window counts as a press of Escape. Raises `DeviceError` where there is no screen (see `check_display`).
    """

    def __init__(self, title: str = "vidstyle") -> None:
        check_display()
        self._title = title
        self._open = self._full = False
        self._width = 1
        self._controls: LiveState | None = None
        self._mouse: deque[Event] = deque(maxlen=64)

    def show(self, image: Pixels, status: Status, state: LiveState) -> None:
        if not self._open:
            self._create(image)
        if state.full_screen != self._full:
            self._full = state.full_screen
            mode = cv2.WINDOW_FULLSCREEN if self._full else cv2.WINDOW_NORMAL
            cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, mode)
        self._controls, self._width = state, image.shape[1]
        cv2.imshow(self._title, cv2.cvtColor(draw_overlay(image, status, state), cv2.COLOR_RGB2BGR))

    def _create(self, image: Pixels) -> None:
        cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        cv2.resizeWindow(self._title, image.shape[1], image.shape[0])
        cv2.setMouseCallback(self._title, self._on_mouse)
        self._open = True

    def _on_mouse(self, event: int, x: int, y: int, flags: int, data: object) -> None:
        dragged = event == cv2.EVENT_MOUSEMOVE and flags & cv2.EVENT_FLAG_LBUTTON
        pressed = event in (cv2.EVENT_LBUTTONDOWN, cv2.EVENT_LBUTTONUP) or dragged
        if pressed and self._controls is not None and self._controls.split is not None:
            self._mouse.append(Setting("split", min(1.0, max(0.0, x / self._width))))

    def events(self) -> list[Event]:
        if not self._open:
            return []
        events: list[Event] = []
        while (code := cv2.waitKeyEx(1)) != -1:
            character = code & 0xFFFF  # the bits above are modifiers in some builds; keys such as Home and F1 have no character
            if key := _KEYS.get(code) or (chr(character).lower() if 32 < character < 127 else ""):
                events.append(KeyPress(key))
        if not self._is_visible():
            self._open = False
            return [KeyPress("escape")]
        events += self._mouse
        self._mouse.clear()
        return events

    def _is_visible(self) -> bool:
        try:
            return cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # closed already
            return False

    def close(self) -> None:
        if self._open:
            self._open = False
            cv2.destroyWindow(self._title)
            cv2.waitKey(1)
