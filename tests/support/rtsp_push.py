"""Push a moving pattern over RTSP to a listening URL, until killed."""

from __future__ import annotations

import sys
import time
from fractions import Fraction

import av
import av.error

from tests.support.mjpeg_camera import pattern

RATE = 30


def connect(url: str) -> tuple[av.container.OutputContainer, av.VideoStream]:
    """Connect as soon as the URL listens."""
    while True:
        container = av.open(url, "w", format="rtsp", options={"rtsp_transport": "tcp"})
        stream = container.add_stream("libx264", rate=RATE, options={"tune": "zerolatency", "preset": "ultrafast", "g": "15"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        try:
            container.start_encoding()
            return container, stream
        except av.error.FFmpegError:
            time.sleep(0.1)


container, stream = connect(sys.argv[1])
began = time.monotonic()
for index in range(RATE * 60):
    frame = av.VideoFrame.from_ndarray(pattern(index, 160, 120), "rgb24")
    frame.pts, frame.time_base = index, Fraction(1, RATE)
    container.mux(stream.encode(frame))
    time.sleep(max(0.0, began + index / RATE - time.monotonic()))
