"""Requests to the page of the live view."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

from vidstyle.web import WebScreen


def request(
    screen: WebScreen, path: str = "/", method: str = "GET", headers: dict[str, str] | None = None, body: str = ""
) -> tuple[int, dict[str, str], str]:
    """Status, headers and text of the response to a request with `headers`."""
    address = urlsplit(screen.url)
    connection = http.client.HTTPConnection("127.0.0.1", address.port or 0, timeout=20)
    try:
        connection.request(method, path, body or None, headers or {})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()
    finally:
        connection.close()


def origin(screen: WebScreen) -> str:
    return screen.url.partition("?")[0].rstrip("/")
