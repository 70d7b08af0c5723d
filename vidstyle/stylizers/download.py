"""Downloads a file over http or https within limits: a server that stalls, drips or never ends is an error."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib import request

from vidstyle.core.errors import InputError, VidstyleError
from vidstyle.core.files import reason

STALL_SECONDS = 20.0
"""How long nothing may arrive."""
MAX_SECONDS = 600.0
"""How long all of a download may take, redirections included."""
_CHUNK = 1 << 20
_POLL_SECONDS = 0.2


def download(url: str, max_bytes: int, check: Callable[[], None] = lambda: None) -> Iterator[bytes]:
    """The content of `url` in pieces. `check` is called regularly, to interrupt. Raises `InputError`."""
    try:
        limits = _Limits(time.monotonic() + MAX_SECONDS, max_bytes + _CHUNK, check)
        with _opener(limits).open(url, timeout=STALL_SECONDS) as response:
            while chunk := response.read(_CHUNK):
                yield chunk
            if response.length:  # bytes that were announced but not sent
                raise InputError(f"the download of the model ended too early: {url}")
    except VidstyleError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        inner = getattr(error, "reason", None)
        why = reason(inner if isinstance(inner, BaseException) else error)
        raise InputError(f"could not download a model from {url} ({why})") from error


class _Limits:
    """What is left for a download."""

    def __init__(self, end: float, bytes_left: int, check: Callable[[], None]) -> None:
        self._end, self._bytes_left, self._check = end, bytes_left, check

    def receive(self, sock: socket.socket, buffer: Any) -> int:
        """Like `sock.recv_into`."""
        stalled = time.monotonic() + STALL_SECONDS
        sock.settimeout(_POLL_SECONDS)
        while True:
            self._check()
            now = time.monotonic()
            if now > self._end:
                raise TimeoutError(f"not finished after {MAX_SECONDS:g} s")
            if now > stalled:
                raise TimeoutError(f"nothing arrived for {STALL_SECONDS:g} s")
            with suppress(TimeoutError):
                received = sock.recv_into(buffer)
                self._bytes_left -= received
                if self._bytes_left < 0:
                    raise OSError("more bytes than a model may have")
                return received


class _Reader(io.RawIOBase):
    """What a socket receives, within limits. The response's own reader, `owner`, keeps the socket open."""

    def __init__(self, sock: socket.socket, owner: io.BufferedIOBase, limits: _Limits) -> None:
        self._sock, self._owner, self._limits = sock, owner, limits

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._limits.receive(self._sock, buffer)

    def close(self) -> None:
        self._owner.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, limits: _Limits, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_Reader(sock, self.fp, limits))


class _Limited(request.AbstractHTTPHandler):
    """A handler whose responses, status lines and headers included, are read within limits."""

    def __init__(self, limits: _Limits) -> None:
        super().__init__()
        self._limits = limits

    def do_open(self, http_class: Any, req: request.Request, **options: Any) -> HTTPResponse:
        def connect(host: str, **kwargs: Any) -> HTTPConnection:
            connection: HTTPConnection = http_class(host, **kwargs)
            connection.response_class = partial(_Response, self._limits)  # type: ignore[assignment]
            return connection

        return super().do_open(connect, req, **options)  # type: ignore[arg-type]


class _HttpHandler(_Limited, request.HTTPHandler):
    """http."""


class _HttpsHandler(_Limited, request.HTTPSHandler):
    """https."""


def _opener(limits: _Limits) -> request.OpenerDirector:
    """For http and https only: the default opener also follows redirections to ftp."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        _HttpHandler(limits),
        _HttpsHandler(limits),
        request.HTTPRedirectHandler(),
        request.HTTPDefaultErrorHandler(),
        request.HTTPErrorProcessor(),
        request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
