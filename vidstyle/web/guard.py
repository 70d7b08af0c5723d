"""Access control: only our own page may see the image, whatever web site is open in the same browser."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from urllib.parse import urlsplit

from vidstyle.core.errors import UsageError
from vidstyle.core.text import printable

MIN_TOKEN = 16
"""Smallest length of a token, so that it cannot be guessed."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
"""Headers of every response."""


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, can be reached only from this machine."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def check_access(host: str, token: str | None) -> None:
    """Raise `UsageError` if others could open the page without a secret."""
    if token is None and not is_loopback(host):
        raise UsageError(f"expected both --host and --token for a page that other machines can open, got --host {host} alone")
    if token is not None and len(token) < MIN_TOKEN:
        raise UsageError(
            f"expected a token of at least {MIN_TOKEN} characters, got {len(token)}: make one with 'openssl rand -hex 16'"
        )


class Guard:
    """Decides on requests by headers that a web page cannot forge."""

    def __init__(self, host: str, token: str | None) -> None:
        self._host = host.lower()
        address = _address(host)
        self._everywhere = address is not None and address.is_unspecified
        self._key = None if token is None else _digest(token)
        # Cookies are shared by all ports of a host; pages of several servers must not overwrite each other's cookie.
        self.cookie_name = f"vidstyle-{(self._key or '')[:8]}"

    def refusal(self, host: str | None, origin: str | None, needs_origin: bool) -> str | None:
        """Why a request with these headers is refused; None if it is allowed. `needs_origin`: it acts, or opens the socket."""
        if not self._is_known_host(host):
            return f"expected a request for the host that vidstyle listens on, got one for {printable(host or 'no host')}"
        if origin is None and not needs_origin:
            return None
        # Same name and port; the scheme may be https behind a proxy.
        if origin is None or _location(origin) != (host or "").lower():
            return f"expected a request from vidstyle's own page, got one from {printable(origin or 'no origin')}"
        return None

    def cookie(self, token: str | None, cookie: str | None) -> str | None:
        """The value of the cookie if `token` or `cookie` is right, '' if no token is needed; else None."""
        if self._key is None:
            return ""
        digest = _digest(token) if token is not None else cookie or ""
        return self._key if hmac.compare_digest(digest.encode(errors="replace"), self._key.encode()) else None

    def _is_known_host(self, host: str | None) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "") if host else ""
        except ValueError:
            return False
        # Any port is allowed, because `ssh -L 9000:localhost:8000` changes it. A rebound DNS name keeps its name.
        if is_loopback(name) or name == self._host:
            return True
        # Listening on all addresses: any address is allowed, because DNS rebinding needs a name.
        return self._everywhere and (_address(name) is not None or name == socket.gethostname().lower())


def _location(origin: str) -> str | None:
    """Host and port of an origin; None where it cannot be parsed."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _digest(token: str) -> str:
    # Any token fits into a cookie this way, and the comparison takes constant time.
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
