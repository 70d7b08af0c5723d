"""A viewer of the live image: it gets the newest image whenever it is ready, and never a queue of old ones."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import cv2
from aiohttp import web

from vidstyle.core.frames import Pixels
from vidstyle.live.state import LiveState, Status
from vidstyle.web import messages

QUALITY = 90
"""JPEG quality, 0..100: no visible blocks in flat colours, for about a tenth of a byte per pixel more than the usual 75."""

MAX_IN_FLIGHT = 2
"""Images sent to a viewer and not yet acknowledged: one is drawn while the next is transferred. More would add latency."""

STATE_SECONDS = 0.12
"""Interval at which status and state are sent, if they have changed."""


@dataclass(eq=False)
class ShownImage:
    """An image, RGB uint8 (H, W, 3), with status and state; it is encoded once, when it is first sent."""

    image: Pixels
    status: Status
    state: LiveState
    _jpeg: asyncio.Future[bytes] | None = field(default=None, init=False)

    async def jpeg(self) -> bytes:
        """The image as JPEG, encoded outside the event loop."""
        if self._jpeg is None:
            self._jpeg = asyncio.ensure_future(asyncio.to_thread(_encode, self.image))
        # Shielded, because a viewer that disconnects must not cancel it for the others.
        return await asyncio.shield(self._jpeg)


def _encode(image: Pixels) -> bytes:
    encoded, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
    if not encoded:
        raise ValueError(f"expected an image that JPEG can hold, got {image.shape[1]}x{image.shape[0]}")
    return jpeg.tobytes()


class Viewer:
    """Sends to one socket. All methods run on the server's event loop."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self._newest: ShownImage | None = None
        self._sent: ShownImage | None = None
        self._in_flight = 0
        self._changed = asyncio.Event()

    def offer(self, shown: ShownImage) -> None:
        """Set the newest image; older ones that were not sent are dropped."""
        self._newest = shown
        self._changed.set()

    def acknowledge(self) -> None:
        """Record that the viewer has drawn an image."""
        self._in_flight = max(0, self._in_flight - 1)
        self._changed.set()

    async def send_images(self) -> None:
        """Send the newest image whenever the viewer is ready, until cancelled or the socket closes."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            shown = self._newest
            if shown is None or shown is self._sent or self._in_flight >= MAX_IN_FLIGHT:
                continue
            self._sent = shown
            self._in_flight += 1
            await self.socket.send_bytes(await shown.jpeg())

    async def send_state(self, hello: str) -> None:
        """Send `hello`, then status and state whenever they have changed, until cancelled or the socket closes."""
        await self.socket.send_str(hello)
        sent = ""
        while True:
            text = "" if self._newest is None else messages.state_message(self._newest.status, self._newest.state)
            if text != sent:
                await self.socket.send_str(text)
                sent = text
            await asyncio.sleep(STATE_SECONDS)
