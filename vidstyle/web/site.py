"""The web site: page, socket and camera, served with aiohttp on the server's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from importlib import resources

from aiohttp import WSCloseCode, WSMsgType, web

from vidstyle.core.frames import Pixels
from vidstyle.live.state import Event, LiveState, Status
from vidstyle.web import messages
from vidstyle.web.camera import BrowserCamera
from vidstyle.web.connections import BODY_SECONDS, Connections, Handler
from vidstyle.web.guard import HEADERS, Guard
from vidstyle.web.viewer import ShownImage, Viewer

_FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/webcam.js": ("webcam.js", "text/javascript"),
}
"""Static files: path -> file in this package, and its content type."""

_MAX_OFFER_BYTES = 64 * 1024
"""Maximum size of an SDP offer; that of Chromium has about 5000 bytes."""

_MAX_JPEG_BYTES = 4 << 20
"""Maximum size of an image of a browser's camera."""

_HEARTBEAT_SECONDS = 20.0
"""Interval of pings, so that connections to lost viewers are closed."""

_CLOSE_SECONDS = 1.0
"""Time for a viewer to receive the last message."""


class Site:
    """Handles all requests on the server's event loop; only `events` is used by another thread."""

    def __init__(self, styles: Sequence[str], guard: Guard, camera: BrowserCamera, events: deque[Event]) -> None:
        self._hello = messages.hello(styles)
        self._guard = guard
        self._camera = camera
        self._events = events
        self._shown: ShownImage | None = None
        self._viewers: set[Viewer] = set()
        self._connections = Connections()
        folder = resources.files("vidstyle.web")
        self._files = {path: (folder.joinpath(name).read_bytes(), kind) for path, (name, kind) in _FILES.items()}

    def serving(self, listener: socket.socket) -> AbstractAsyncContextManager[None]:
        """Serve the site on `listener` in the meantime."""
        middlewares = [self._connections.guard, self._check]
        application = web.Application(middlewares=middlewares, client_max_size=_MAX_OFFER_BYTES)
        application.router.add_get("/socket", self._socket)
        application.router.add_post("/camera", self._offer)
        application.router.add_get("/relay", self._relay)
        for path in self._files:
            application.router.add_get(path, self._file)
        application.on_response_prepare.append(_add_headers)
        application.on_shutdown.append(self._end)
        return self._connections.serving(application, listener)

    def show(self, image: Pixels, status: Status, state: LiveState) -> None:
        """Send `image` to each viewer that is ready for it."""
        self._shown = shown = ShownImage(image, status, state)
        for viewer in self._viewers:
            viewer.offer(shown)

    @web.middleware
    async def _check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        acts = request.method not in ("GET", "HEAD") or request.path in ("/socket", "/relay")
        refusal = self._guard.refusal(request.headers.get("Host"), request.headers.get("Origin"), acts)
        if refusal is not None:
            raise web.HTTPForbidden(text=refusal)
        known = request.cookies.get(self._guard.cookie_name)
        cookie = self._guard.cookie(request.query.get("token"), known)
        if cookie is None:
            raise web.HTTPForbidden(text="expected the complete address of the page, with its token")
        response = await handler(request)
        if cookie and request.path == "/" and cookie != known:
            response.set_cookie(self._guard.cookie_name, cookie, httponly=True, samesite="Strict")
        return response

    async def _file(self, request: web.Request) -> web.Response:
        body, kind = self._files[request.path]
        return web.Response(body=body, content_type=kind, charset="utf-8")

    async def _offer(self, request: web.Request) -> web.Response:
        async with asyncio.timeout(BODY_SECONDS):
            offer = messages.parse_offer(await request.read())
        if offer is None:
            raise web.HTTPBadRequest(text='expected {"sdp": "..."}, the SDP offer of a camera')
        try:
            answer = await self._camera.answer(offer)
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        return web.Response(text=json.dumps({"type": "answer", "sdp": answer}), content_type="application/json")

    async def _relay(self, request: web.Request) -> web.WebSocketResponse:
        socket = _web_socket(_MAX_JPEG_BYTES)
        await socket.prepare(request)
        await self._camera.relay(socket)
        return socket

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = _web_socket(messages.MAX_MESSAGE)
        await socket.prepare(request)
        viewer = Viewer(socket)
        self._viewers.add(viewer)
        senders = [asyncio.create_task(viewer.send_images()), asyncio.create_task(viewer.send_state(self._hello))]
        if self._shown is not None:
            viewer.offer(self._shown)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._receive(viewer, message.data)
        finally:
            self._viewers.discard(viewer)
            for sender in senders:
                sender.cancel()
            # Their errors only mean that the viewer has disconnected.
            await asyncio.gather(*senders, return_exceptions=True)
        return socket

    def _receive(self, viewer: Viewer, text: str) -> None:
        match messages.parse(text):
            case messages.Acknowledgement():
                viewer.acknowledge()
            case None:
                pass
            case event:
                self._events.append(event)

    async def _end(self, _: web.Application) -> None:
        await asyncio.gather(self._camera.disconnect(), *(_close_socket(viewer.socket) for viewer in self._viewers))


def _web_socket(max_bytes: int) -> web.WebSocketResponse:
    # Without compression, because JPEG cannot be compressed further.
    return web.WebSocketResponse(heartbeat=_HEARTBEAT_SECONDS, max_msg_size=max_bytes, compress=False, timeout=_CLOSE_SECONDS)


async def _close_socket(socket: web.WebSocketResponse) -> None:
    with contextlib.suppress(ConnectionError, TimeoutError, RuntimeError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await socket.send_str(messages.ENDED)
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"vidstyle has ended")


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers["Server"] = "vidstyle"
