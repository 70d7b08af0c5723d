"""The web site: page, socket and camera offer, served with aiohttp on the server's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources

from aiohttp import WSCloseCode, WSMsgType, web

from vidstyle.core.frames import Pixels
from vidstyle.live.state import Controls, Event, Status
from vidstyle.web import messages
from vidstyle.web.camera import BrowserCamera
from vidstyle.web.guard import HEADERS, Guard
from vidstyle.web.viewer import Shown, Viewer

_FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/webcam.js": ("webcam.js", "text/javascript"),
}
"""What is served as it is: path -> file in this package, and its type."""

_MAX_OFFER = 64 * 1024
"""Bytes of the longest offer of a camera; Chromium's has about 5000."""

_MAX_JPEG = 4 << 20
"""Bytes of the largest image of a browser's camera."""

_HEARTBEAT = 20.0
"""Seconds between two pings, so that a viewer whose machine is gone is let go of."""

_GOODBYE = 1.0
"""Seconds a viewer gets to hear that vidstyle has ended."""


class Site:
    """Everything that happens on the server's event loop; only `events` is touched by another thread."""

    def __init__(self, styles: Sequence[str], guard: Guard, camera: BrowserCamera, events: deque[Event]) -> None:
        self._hello = messages.hello(styles)
        self._guard = guard
        self._camera = camera
        self._events = events
        self._shown: Shown | None = None
        self._viewers: set[Viewer] = set()
        folder = resources.files("vidstyle.web")
        self._files = {path: (folder.joinpath(name).read_bytes(), kind) for path, (name, kind) in _FILES.items()}

    def application(self) -> web.Application:
        """What aiohttp runs."""
        application = web.Application(middlewares=[self._check], client_max_size=_MAX_OFFER)
        application.router.add_get("/socket", self._socket)
        application.router.add_post("/camera", self._offer)
        application.router.add_get("/relay", self._relay)
        for path in self._files:
            application.router.add_get(path, self._file)
        application.on_response_prepare.append(_add_headers)
        application.on_shutdown.append(self._end)
        return application

    def show(self, image: Pixels, status: Status, controls: Controls) -> None:
        """Let every viewer have `image` as soon as there is room."""
        self._shown = shown = Shown(image, status, controls)
        for viewer in self._viewers:
            viewer.offer(shown)

    @web.middleware
    async def _check(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        acts = request.method not in ("GET", "HEAD") or request.path in ("/socket", "/relay")
        refusal = self._guard.refusal(request.headers.get("Host"), request.headers.get("Origin"), acts)
        if refusal is not None:
            raise web.HTTPForbidden(text=refusal)
        known = request.cookies.get(self._guard.cookie_name)
        cookie = self._guard.cookie(request.query.get("token"), known)
        if cookie is None:
            raise web.HTTPForbidden(text="expected the page's whole address, with the token that vidstyle was started with")
        response = await handler(request)
        if cookie and request.path == "/" and not hmac.compare_digest(cookie, known or ""):
            response.set_cookie(self._guard.cookie_name, cookie, httponly=True, samesite="Strict")
        return response

    async def _file(self, request: web.Request) -> web.Response:
        body, kind = self._files[request.path]
        return web.Response(body=body, content_type=kind, charset="utf-8")

    async def _offer(self, request: web.Request) -> web.Response:
        try:
            offer = await request.json()
        except ValueError:
            offer = None
        if not isinstance(offer, dict) or not isinstance(offer.get("sdp"), str):
            raise web.HTTPBadRequest(text='expected {"sdp": "..."}, the offer of a camera')
        try:
            answer = await self._camera.answer(offer["sdp"])
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        return web.Response(text=json.dumps({"type": "answer", "sdp": answer}), content_type="application/json")

    async def _relay(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=_HEARTBEAT, max_msg_size=_MAX_JPEG, compress=False, timeout=_GOODBYE)
        await socket.prepare(request)
        await self._camera.relay(socket)
        return socket

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        # JPEG does not compress any further.
        socket = web.WebSocketResponse(heartbeat=_HEARTBEAT, max_msg_size=messages.MAX_MESSAGE, compress=False, timeout=_GOODBYE)
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
            # Whatever they failed with, it is that the viewer has gone.
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
        await asyncio.gather(self._camera.hang_up(), *(_say_goodbye(viewer.socket) for viewer in self._viewers))


async def _say_goodbye(socket: web.WebSocketResponse) -> None:
    with contextlib.suppress(ConnectionError, TimeoutError, RuntimeError):
        async with asyncio.timeout(_GOODBYE):
            await socket.send_str(messages.ENDED)
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"vidstyle has ended")


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers["Server"] = "vidstyle"
