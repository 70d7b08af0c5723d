"""The format in which images are sent to the recording process: a header, then the bytes of the image, RGB, row by row."""

from __future__ import annotations

import struct

HEADER = struct.Struct("<qII")
"""Time of capture in microseconds of `time.monotonic`, then width and height in pixels."""
