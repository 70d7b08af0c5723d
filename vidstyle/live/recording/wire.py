"""How images travel to the process that records them: a header, then the bytes of the image, RGB, row by row."""

from __future__ import annotations

import struct

HEADER = struct.Struct("<qII")
"""When the image was taken, in microseconds of `time.monotonic`; its width and height in pixels."""
