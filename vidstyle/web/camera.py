"""The browser's webcam: over WebRTC, or as JPEG over a WebSocket where UDP does not get through."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import threading
import time
from collections.abc import Generator
from fractions import Fraction
from functools import partial
from typing import Any, cast

import cv2
import numpy as np
from aiohttp import WSCloseCode, WSMsgType, web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import VideoFrame

from vidstyle.core.frames import Frame, Pixels
from vidstyle.core.image_header import parse_header

_MICROSECONDS = Fraction(1, 1_000_000)

_WAITING = "waiting for the browser's camera"

_STALL_SECONDS = 2.0
"""Without an image for this long the camera counts as stalled."""

_MAX_PIXELS = 3840 * 2160
"""Larger images are refused before they are decoded; the page asks for 1280x720, and relays less."""


class BrowserCamera:
    """A `Camera` that waits until a page offers its webcam; a page that offers later takes over. WebRTC is received at `address`,
    that of the page, only.

    `answer`, `relay` and `disconnect` must be called on the server's event loop; everything else is thread-safe.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, address: str = "127.0.0.1") -> None:
        self.trouble: str | None = _WAITING
        self._loop, self._address = loop, ipaddress.ip_address(address)
        self._peer: RTCPeerConnection | None = None
        self._receiver: asyncio.Task[None] | None = None
        self._relaying: web.WebSocketResponse | None = None
        self._newest: tuple[VideoFrame | bytes, int] | None = None
        self._changing = asyncio.Lock()
        self._closed = False
        self._changed = threading.Condition()

    @property
    def active(self) -> bool:
        """Whether images are coming."""
        return self.trouble is None

    def frames(self) -> Generator[Frame, None, None]:
        """Images as they come, skipping those that were not read in time; `pts` in microseconds. Ends after `close`."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._newest is not None)
                if self._closed:
                    return
                assert self._newest is not None
                image, received = self._newest
                self._newest = None
            # Converted here, in the consumer's thread: the event loop stays free, and skipped images cost nothing.
            pixels = _decoded(image) if isinstance(image, bytes) else cast(Pixels, image.to_ndarray(format="rgb24"))
            if pixels is not None:
                yield Frame(pixels, received, _MICROSECONDS)

    def close(self) -> None:
        """End `frames` and disconnect the page's camera."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # If the loop has ended, the camera is disconnected already.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self.disconnect()))

    async def answer(self, offer: str) -> str:
        """Replace the current camera, if any, and return the answer to an SDP offer. Raises `ValueError` for an invalid offer."""
        if self._closed:
            raise ValueError("expected an offer before the end of vidstyle, got one after it")
        # Without STUN servers: no outside server is contacted, and only addresses of this machine are offered.
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        try:
            track = await self._accept(peer, offer)
        except BaseException:
            await peer.close()
            raise
        async with self._changing:
            await self._disconnect()
            self._peer = peer
            self.trouble = "waiting for the first image of the browser's camera"
            self._receiver = asyncio.create_task(self._receive(track))
        return str(peer.localDescription.sdp)

    async def _accept(self, peer: RTCPeerConnection, offer: str) -> MediaStreamTrack:
        """Answer `offer` on `peer`; return its video track."""
        try:
            await peer.setRemoteDescription(RTCSessionDescription(_without_names(offer), "offer"))
            receivers = peer.getReceivers()
            if len(receivers) == 1 and peer.sctp is None and receivers[0].track.kind == "video":
                _confine(peer, self._address)
                await peer.setLocalDescription(await peer.createAnswer())
                return receivers[0].track
        except Exception as error:  # aiortc may raise anything
            raise ValueError(f"expected an SDP offer, got something else ({type(error).__name__})") from error
        raise ValueError("expected an offer with one video track, got another one")

    async def relay(self, socket: web.WebSocketResponse) -> None:
        """Replace the current camera, if any, and receive JPEG images from `socket` until it closes; each is acknowledged."""
        async with self._changing:
            await self._disconnect()
            if self._closed:
                return
            self._relaying = socket
            self.trouble = "waiting for the first image of the browser's camera"
        try:
            while self._relaying is socket:
                try:
                    message = await socket.receive(_STALL_SECONDS)
                except TimeoutError:
                    self.trouble = f"no image from the browser's camera for {_STALL_SECONDS:.0f} seconds"
                    continue
                if message.type is not WSMsgType.BINARY:
                    break
                if not _is_acceptable(message.data):
                    await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"expected JPEG images of a camera")
                    break
                self._take(message.data)
                with contextlib.suppress(ConnectionError):  # the next `receive` reports it
                    await socket.send_str("ack")
        finally:
            if self._relaying is socket:
                self._relaying = None
                self.trouble = "the browser's camera has ended: start it again on the page"

    async def disconnect(self) -> None:
        """Close the connection, if there is one."""
        async with self._changing:
            await self._disconnect()

    async def _disconnect(self) -> None:
        if self._relaying is not None:
            relaying, self._relaying = self._relaying, None
            await relaying.close()
            self.trouble = _WAITING
        if self._receiver is not None:
            self._receiver.cancel()
            self._receiver = None
        if self._peer is not None:
            await self._peer.close()
            self._peer = None
            self.trouble = _WAITING

    async def _receive(self, track: MediaStreamTrack) -> None:
        waiting = asyncio.ensure_future(track.recv())
        try:
            while True:
                done, _ = await asyncio.wait({waiting}, timeout=_STALL_SECONDS)
                if not done:
                    self.trouble = f"no image from the browser's camera for {_STALL_SECONDS:.0f} seconds"
                    continue
                image = waiting.result()
                waiting = asyncio.ensure_future(track.recv())
                if isinstance(image, VideoFrame) and image.width * image.height <= _MAX_PIXELS:
                    self._take(image)
        except MediaStreamError:
            self.trouble = "the browser's camera has ended: start it again on the page"
        finally:
            waiting.cancel()

    def _take(self, image: VideoFrame | bytes) -> None:
        self.trouble = None
        with self._changed:
            self._newest = (image, time.monotonic_ns() // 1000)
            self._changed.notify_all()


def _is_acceptable(jpeg: bytes) -> bool:
    header = parse_header(jpeg)
    # A progressive one may take minutes to decode, and browsers do not send them.
    return header is not None and header.format == "JPEG" and header.pixels <= _MAX_PIXELS and not header.progressive


def _decoded(jpeg: bytes) -> Pixels | None:
    """An acceptable image; None if it is damaged."""
    try:
        bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if bgr is None else cast(Pixels, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def _confine(peer: RTCPeerConnection, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Open the sockets of `peer` only at `address`: aiortc has no option for it, and uses all addresses but loopback ones."""
    for receiver in peer.getReceivers():
        connection: Any = receiver.transport.transport.iceGatherer._connection
        connection.get_component_candidates = partial(_candidates, connection.get_component_candidates, address)


async def _candidates(
    gather: Any, address: ipaddress.IPv4Address | ipaddress.IPv6Address, component: int, addresses: list[str], **options: Any
) -> Any:
    if not address.is_unspecified:
        addresses = [str(address)]
    elif address.version == 4:
        addresses = [each for each in addresses if ipaddress.ip_address(each).version == 4]
    return await gather(component, addresses, **options)


def _without_names(offer: str) -> str:
    """`offer` without candidates that are names: resolving one would open a socket for multicast at all addresses."""
    return "".join(f"{line}\r\n" for line in offer.splitlines() if not (line.startswith("a=candidate:") and ".local" in line))
