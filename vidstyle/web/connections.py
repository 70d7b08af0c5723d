"""The connections of the page's server: what clients may cost in number, in time and in lines of the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from vidstyle.core.files import reason
from vidstyle.core.text import printable

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_CONNECTIONS = 64
"""Connections at once. A browser opens up to six; some systems allow a process 256 open files."""

ACCEPTED_AT_ONCE = 128
"""Connections that wait to be accepted, and are then accepted at once; a short queue makes clients wait for a second."""

HEADER_SECONDS = 10.0
"""Time for the headers of a request; an idle connection is closed after it too."""

BODY_SECONDS = 10.0
"""Time for the body of a request."""

_LINGER_SECONDS = 1.0
"""Time to read on where a body is refused, because a client that is still sending does not see the response."""

_SHUTDOWN_SECONDS = 1.0
"""Time for open requests to finish when the server shuts down."""


class Connections:
    """Serves an application whose first middleware is `guard`: at most `MAX_CONNECTIONS` at once, and every error is a plain
    answer and at most a line of the log, whatever clients send."""

    def __init__(self) -> None:
        self._busy: set[Any] = set()  # the connections with a request that is being answered

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer errors that the handlers did not foresee."""
        self._busy.add(request.protocol)
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except TimeoutError:
            refusal: web.HTTPException = web.HTTPRequestTimeout(text=f"expected a request within {BODY_SECONDS:.0f} seconds")
        except (ConnectionError, web.RequestPayloadError):
            refusal = web.HTTPBadRequest(text="expected a complete request")
        except Exception as error:
            _report(f"the page failed to answer a request for {request.path} ({type(error).__name__}: {reason(error)})")
            refusal = web.HTTPInternalServerError(text="vidstyle failed to answer this request")
        finally:
            self._busy.discard(request.protocol)
        if request.writer.output_size:  # it was a socket, or the client has the beginning of another answer
            request.protocol.force_close()
        raise refusal

    @contextlib.asynccontextmanager
    async def serving(self, application: web.Application, listener: socket.socket) -> AsyncIterator[None]:
        """Serve `application` on `listener` in the meantime."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_report_background)
        runner = web.AppRunner(
            application,
            access_log=None,  # it would contain the token
            logger=_protocol_logger(),
            keepalive_timeout=HEADER_SECONDS,
            lingering_time=_LINGER_SECONDS,
            auto_decompress=False,  # the page never compresses
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            server = await loop.create_server(lambda: self._accept(runner.server), sock=listener, backlog=ACCEPTED_AT_ONCE)
            stack.callback(server.close)
            yield

    def _accept(self, server: web.Server | None) -> asyncio.Protocol:
        """The protocol of a new connection. If there are too many, the oldest one without a request is closed in its favour."""
        assert server is not None
        connected = [each for each in server.connections if each.transport is not None]
        if len(connected) >= MAX_CONNECTIONS:
            idle = next((each for each in connected if each not in self._busy), None)
            if idle is None:
                return _Refused()
            idle.force_close()
        return server()


class _Refused(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _protocol_logger() -> logging.Logger:
    """The logger for aiohttp itself, which logs a traceback for all that is not HTTP."""
    logger = logging.getLogger(f"{__name__}.http")
    if not logger.filters:
        logger.addFilter(_as_one_line)
    return logger


def _as_one_line(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        if not isinstance(error, HttpProcessingError):
            _report(f"the page's server failed ({type(error).__name__}: {reason(error)})")
        return False
    return True


def _report_background(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handle an error that no request waits for, such as one of a connection to a camera."""
    error = context.get("exception")
    if not isinstance(error, ConnectionError):
        cause = f" ({type(error).__name__}: {reason(error)})" if error is not None else ""
        _report(f"the page's server failed: {context['message']}{cause}")


@lru_cache(maxsize=64)
def _report(text: str) -> None:
    """Log `text`, once: a client could repeat it endlessly."""
    log.error("%s", printable(text))
