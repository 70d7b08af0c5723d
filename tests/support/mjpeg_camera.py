"""A simulated network camera: plays a clip or a moving pattern as MJPEG over HTTP on loopback.

    python -m tests.support.mjpeg_camera [CLIP] [--size 640x360] [--fps 30] [--port 8081]
    vidstyle live http://127.0.0.1:8081/ --allow-network

Frames are encoded in advance, so that the camera takes hardly any processor time.
"""

from __future__ import annotations

import argparse
import contextlib
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidstyle.core.frames import Pixels

MAX_FRAMES = 300


class MjpegCamera:
    """Serves JPEG images in turn at `fps` to every client. While `stalled` is set, connections stay open without images."""

    def __init__(self, jpegs: Sequence[bytes], fps: float, port: int = 0) -> None:
        self._jpegs, self._interval = jpegs, 1 / fps
        self.stalled = threading.Event()
        self.connections = 0
        self._open: set[BaseHTTPRequestHandler] = set()
        self._server = self._listen(port)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/"

    def _listen(self, port: int) -> ThreadingHTTPServer:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with contextlib.suppress(OSError):
                    camera._serve(self)

            def log_message(self, *args: object) -> None:
                """Log nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        self.connections += 1
        self._open.add(request)
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        try:
            began = time.monotonic()
            for number in range(1 << 40):
                # The number of the image depends on the clock, also for a new connection.
                due = began + number * self._interval
                time.sleep(max(0.0, due - time.monotonic()))
                while self.stalled.is_set():
                    time.sleep(0.02)
                if request not in self._open:
                    return
                jpeg = self._jpegs[number % len(self._jpegs)]
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
                request.wfile.write(head + jpeg + b"\r\n")
        finally:
            self._open.discard(request)

    def cut(self) -> None:
        """Cut all connections; new ones are served."""
        for request in list(self._open):
            self._open.discard(request)
            with contextlib.suppress(OSError):
                request.connection.shutdown(2)

    def close(self) -> None:
        """Stop listening and cut all connections."""
        self.stalled.clear()
        self._server.shutdown()
        self._server.server_close()
        self.cut()


def pattern(number: int, width: int, height: int) -> Pixels:
    """A colour gradient with a disc that circles once in 60 frames; RGB uint8 (H, W, 3)."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    image = np.stack([x, y, 255 - x / 2 - y / 2], -1).astype(np.uint8)
    angle = 2 * np.pi * number / 60
    centre = (round(width * (0.5 + 0.3 * np.cos(angle))), round(height * (0.5 + 0.3 * np.sin(angle))))
    return np.asarray(cv2.circle(image, centre, height // 8, (250, 240, 200), -1), np.uint8)


def encoded(images: Sequence[Pixels]) -> list[bytes]:
    """Encode RGB images as JPEG."""
    return [cv2.imencode(".jpg", cv2.cvtColor(p, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes() for p in images]


def clip_images(path: Path, width: int, height: int) -> list[Pixels]:
    """The first images of a clip, forwards and then backwards, so that it repeats without a jump."""
    capture = cv2.VideoCapture(str(path))
    images: list[Any] = []
    while len(images) < MAX_FRAMES and (read := capture.read())[0]:
        images.append(cv2.cvtColor(cv2.resize(read[1], (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB))
    if not images:
        raise SystemExit(f"expected a clip, could not read {path}")
    return [np.asarray(p, np.uint8) for p in images + images[-2:0:-1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--port", type=int, default=8081)
    args = parser.parse_args()
    width, height = (int(n) for n in args.size.split("x"))
    images = clip_images(args.clip, width, height) if args.clip else [pattern(i, width, height) for i in range(60)]
    camera = MjpegCamera(encoded(images), args.fps, args.port)
    print(camera.url, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    camera.close()


if __name__ == "__main__":
    main()
