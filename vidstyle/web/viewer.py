"""One viewer of the image: gets the newest one whenever it has room, and never a queue of old ones."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import cv2
from aiohttp import web

from vidstyle.core.frames import Pixels
from vidstyle.live.state import Controls, Status
from vidstyle.web import messages

QUALITY = 90
"""JPEG quality, 0..100: no blocks to be seen in flat colour, about a tenth of a byte a pixel more than the usual 75."""

WINDOW = 2
"""Images that may be under way to one viewer: one is drawn while the next one travels. More would only be older."""

STATE_INTERVAL = 0.12
"""Seconds between two looks at status and controls; they are sent where they changed."""


@dataclass(eq=False)
class Shown:
    """An image, RGB uint8 (H, W, 3), with what is told beside it; encoded once, when the first viewer takes it."""

    image: Pixels
    status: Status
    controls: Controls
    _jpeg: asyncio.Future[bytes] | None = field(default=None, init=False)

    async def jpeg(self) -> bytes:
        """The image as JPEG, encoded off the event loop."""
        if self._jpeg is None:
            self._jpeg = asyncio.ensure_future(asyncio.to_thread(_encode, self.image))
        # A viewer who leaves meanwhile must not take the image from the others.
        return await asyncio.shield(self._jpeg)


def _encode(image: Pixels) -> bytes:
    encoded, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
    if not encoded:
        raise ValueError(f"expected an image that JPEG can hold, got {image.shape[1]}x{image.shape[0]}")
    return jpeg.tobytes()


class Viewer:
    """Sends to one socket. All methods belong to the server's event loop."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self._newest: Shown | None = None
        self._sent: Shown | None = None
        self._under_way = 0
        self._changed = asyncio.Event()

    def offer(self, shown: Shown) -> None:
        """`shown` is the newest image now; those not yet sent are forgotten."""
        self._newest = shown
        self._changed.set()

    def acknowledge(self) -> None:
        """The viewer has drawn one image."""
        self._under_way = max(0, self._under_way - 1)
        self._changed.set()

    async def send_images(self) -> None:
        """Send the newest image whenever there is room, until cancelled or the viewer goes."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            shown = self._newest
            if shown is None or shown is self._sent or self._under_way >= WINDOW:
                continue
            self._sent = shown
            self._under_way += 1
            await self.socket.send_bytes(await shown.jpeg())

    async def send_state(self, hello: str) -> None:
        """Send `hello`, then status and controls whenever they changed, until cancelled or the viewer goes."""
        await self.socket.send_str(hello)
        sent = ""
        while True:
            text = "" if self._newest is None else messages.state(self._newest.status, self._newest.controls)
            if text != sent:
                await self.socket.send_str(text)
                sent = text
            await asyncio.sleep(STATE_INTERVAL)
