"""The live view as a web page: a `Screen` that runs a web server in a background thread."""

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
from vidstyle.live.state import Event, LiveState, Status
from vidstyle.web.guard import Guard, check_access

if TYPE_CHECKING:
    from vidstyle.web.camera import BrowserCamera

_MAX_EVENTS = 256
"""Maximum number of queued events; the oldest are dropped, because the last position of a slider is what matters."""


class WebScreen:
    """A `Screen` in any number of browsers; `camera` is the webcam of one of them.

    It listens on `url` from the start. A `host` other than loopback needs a `token` of at least 16 characters; `port` 0 means a
    free one. Raises `UsageError` if it cannot or must not listen, and `MissingExtraError` without aiohttp and aiortc.
    """

    url: str
    """The URL to open in the browser, with the token if there is one."""
    camera: BrowserCamera

    def __init__(self, styles: Sequence[str], host: str = "127.0.0.1", port: int = 0, token: str | None = None) -> None:
        check_access(host, token)
        try:
            # Not at the top: aiortc imports PyAV, which a process that opens a window must not load.
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
        self.camera = BrowserCamera(self._loop, str(listener.getsockname()[0]))
        self._site = Site(styles, Guard(host, token), self.camera, self._events)
        self._end = asyncio.Event()
        listening: Future[None] = Future()
        # A daemon thread does not keep alive a program that forgets to close the screen.
        self._thread = threading.Thread(target=self._run, args=(listener, listening), name="vidstyle-web", daemon=True)
        self._thread.start()
        listening.result()

    def show(self, image: Pixels, status: Status, state: LiveState) -> None:
        """Show `image`, RGB uint8 (H, W, 3), which must not change afterwards, to each viewer that is ready for it."""
        # The event loop is closed after `close`.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._site.show, image, status, state)

    def events(self) -> list[Event]:
        """The input of all pages since the last call, in order. Never blocks."""
        events: list[Event] = []
        with contextlib.suppress(IndexError):
            while True:
                events.append(self._events.popleft())
        return events

    def close(self) -> None:
        """Notify the viewers, close camera and server, and wait for the thread."""
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
        async with self._site.serving(listener):
            listening.set_result(None)
            await self._end.wait()


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises `UsageError`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
        # Not the port from getaddrinfo, which truncates 70000 to 4464.
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
    """The address under which other machines most likely reach this one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing; only selects the local address for it. 192.0.2.0/24 is reserved for documentation.
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
