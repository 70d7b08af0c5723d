"""The live view in a browser, for machines without a screen; `WebScreen.camera` is the webcam of the browser."""

from vidstyle.web.server import WebScreen

__all__ = ["WebScreen"]
