"""The live image as a page in the browser: a web server on a thread of its own, which looks like a window to the live loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING
from urllib.parse import quote

from vidstyle.core.errors import MissingExtraError, UsageError
from vidstyle.core.frames import Pixels
from vidstyle.live.state import Controls, Event, Status
from vidstyle.web.guard import Guard, check_access

if TYPE_CHECKING:
    from vidstyle.web.camera import BrowserCamera

_MAX_EVENTS = 256
"""Events kept for the live loop; were there more, the oldest would go: a slider's last place is the one that counts."""

_SHUTDOWN = 1.0
"""Seconds that requests under way get when the server ends."""


class WebScreen:
    """A `Screen` in any number of browsers; `camera` is the webcam of one of them.

    Listens once made, on `url`. `host` other than loopback needs a `token` of at least 16 characters; `port` 0 takes a free one.
    Raises `UsageError` where it cannot listen or may not, and `MissingExtraError` without aiohttp and aiortc.
    """

    url: str
    """What to open in the browser, with the token if there is one."""
    camera: BrowserCamera

    def __init__(self, styles: Sequence[str], host: str = "127.0.0.1", port: int = 0, token: str | None = None) -> None:
        check_access(host, token)
        try:
            # Here and not above: aiortc brings PyAV with it, which a process that opens a window must not load.
            from vidstyle.web.camera import BrowserCamera
            from vidstyle.web.site import Site
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("aiohttp", "aiortc"):
                raise
            raise MissingExtraError("the page in the browser", "web") from error
        listener = _listen(host, port)
        self.url = _url(host, listener.getsockname()[1], token)
        self._events: deque[Event] = deque(maxlen=_MAX_EVENTS)
        self._closing = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self.camera = BrowserCamera(self._loop)
        self._site = Site(styles, Guard(host, token), self.camera, self._events)
        self._end = asyncio.Event()
        listening: Future[None] = Future()
        # A daemon, so that a program that forgets to close it can end all the same.
        self._thread = threading.Thread(target=self._run, args=(listener, listening), name="vidstyle-web", daemon=True)
        self._thread.start()
        listening.result()

    def show(self, image: Pixels, status: Status, controls: Controls) -> None:
        """Show `image`, RGB uint8 (H, W, 3), which must not change any more; to each viewer as soon as there is room."""
        # After `close` nobody watches any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._site.show, image, status, controls)

    def events(self) -> list[Event]:
        """What people did on the page since the last call, in order; does not wait."""
        events: list[Event] = []
        with contextlib.suppress(IndexError):
            while True:
                events.append(self._events.popleft())
        return events

    def close(self) -> None:
        """Tell the viewers, end camera and server, and wait for the thread."""
        with self._closing:
            self.camera.close()
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join()

    def _run(self, listener: socket.socket, listening: Future[None]) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._serve(listener, listening))
            except Exception as error:
                if listening.done():
                    raise
                listening.set_exception(error)

    async def _serve(self, listener: socket.socket, listening: Future[None]) -> None:
        from aiohttp import web

        # No access log: it would hold the token.
        runner = web.AppRunner(self._site.application(), access_log=None, shutdown_timeout=_SHUTDOWN)
        try:
            await runner.setup()
            await web.SockSite(runner, listener).start()
            listening.set_result(None)
            await self._end.wait()
        finally:
            await runner.cleanup()


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises `UsageError`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
        # Not the port that getaddrinfo gives back: it cuts 70000 down to 4464.
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server((str(address[0]), port), family=family, dualstack_ipv6=both)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(
            f"expected an address and a free port for the page, got {host} and {port} ({reason}): "
            "choose others with --host and --port"
        ) from None


def _url(host: str, port: int, token: str | None) -> str:
    name = _own_address() if host in ("0.0.0.0", "::") else host
    query = "" if token is None else f"?token={quote(token, safe='')}"
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/{query}"


def _own_address() -> str:
    """The address under which others most likely reach this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing: only asks which of our addresses would be taken. 192.0.2.0/24 is kept for documentation.
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
