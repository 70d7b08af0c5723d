"""The live image in a browser, for a machine without a screen; `WebScreen.camera` is the visitor's webcam."""

from vidstyle.web.server import WebScreen

__all__ = ["WebScreen"]
