"""Malformed HTTP, images, JSON and SDP against the page of the live view: plain answers, and the server goes on."""

from __future__ import annotations

import contextlib
import json
import random
import re
from collections.abc import Callable

from tests.support.judge import Violation
from tools.bench.attacks.lab import Attack, Lab
from tools.bench.attacks.server import Server, health
from tools.bench.attacks.sockets import frames, relay

LOG_BYTES = 20_000
"""Most that one attack may write to the log."""
_LOOPBACK = {"0100007F", "00000000000000000000000001000000"}


def attack(lab: Lab, chance: random.Random) -> Attack:
    """Send something hostile, then look at the answer, the server's log, memory and sockets, and whether it still serves."""
    server: Server = lab.keep("server", lambda: Server(lab), Server.close)
    if server.process.poll() is not None:  # after a violation
        del lab.kept["server"]
        server = lab.keep("server", lambda: Server(lab), Server.close)
    server.reset_peak()
    logged = server.log.stat().st_size
    kind = chance.choices([*KINDS], [weight for weight, _ in KINDS.values()])[0]
    found = []
    try:
        recipe, answer = KINDS[kind][1](server, chance)
    except OSError as error:  # closing the connection is an answer, and so is waiting for more
        recipe, answer = kind, type(error).__name__
    status = int(match[1]) if (match := re.match(r"HTTP/1.\d (\d+)", answer)) else None
    if status is not None and status >= 500:
        found.append(Violation("status", answer.splitlines()[0]))
    if outside := server.udp_addresses() - _LOOPBACK:
        found.append(Violation("socket", f"UDP on {sorted(outside)}"))
    found += health(server)
    with server.log.open("rb") as log:
        log.seek(logged)
        text = log.read().decode(errors="replace")
    if "Traceback" in text:
        found.append(Violation("traceback", text.strip()[-600:]))
    elif len(text) > LOG_BYTES:
        found.append(Violation("extra output", f"{len(text)} bytes in the log: {text[-300:]}"))
    return Attack(f"{kind}: {recipe}", status or answer[:30], found)


def _exchange(server: Server, data: bytes, seconds: float = 1.5) -> str:
    """Send bytes, and return the beginning of the answer."""
    with server.connect() as connection:
        connection.settimeout(seconds)
        with contextlib.suppress(OSError):
            connection.sendall(data)
        return connection.recv(4096).decode("latin-1") or "closed"


# --- HTTP


def _malformed(server: Server, chance: random.Random) -> tuple[str, str]:
    good = server.head("GET", "/")
    kind = chance.choice(
        ("noise", "flips", "long line", "long header", "many headers", "version", "method", "length", "chunks", "nul")
    )
    flipped = bytearray(good)
    for _ in range(chance.choice((1, 3, 10))):
        flipped[chance.randrange(len(flipped))] = chance.randrange(256)
    data = {
        "noise": chance.randbytes(chance.choice((1, 100, 10_000))),
        "flips": bytes(flipped),
        "long line": b"GET /" + b"a" * chance.choice((9_000, 1 << 20)) + b" HTTP/1.1\r\n\r\n",
        "long header": server.head("GET", "/", X="a" * chance.choice((9_000, 1 << 20))),
        "many headers": server.head("GET", "/", **{f"X{n}": "1" for n in range(chance.choice((200, 40_000)))}),
        "version": good.replace(b"HTTP/1.1", chance.choice((b"HTTP/9.9", b"HTTP/1.1.1", b"XTTP/1.1", b""))),
        "method": good.replace(b"GET", chance.choice((b"BREW", b"G\xffT", b"CONNECT", b"", b"PRI", b"OPTIONS", b"TRACE"))),
        "length": server.head("POST", "/camera", Content_Length=chance.choice(("-1", "1e9", "9" * 30, "4, 5", " ", "0x10")))
        + b"{}",
        "chunks": server.head("POST", "/camera", Transfer_Encoding="chunked")
        + chance.choice((b"zz\r\n", b"-1\r\n\r\n", b"F" * 40 + b"\r\n", b"5\r\nab", b"2;" + b"a" * 70_000 + b"\r\n{}\r\n")),
        "nul": good.replace(b"GET /", b"GET /\0%00"),
    }[kind]
    return kind, _exchange(server, data)


def _headers(server: Server, chance: random.Random) -> tuple[str, str]:
    name = chance.choice(
        ("Origin", "Host", "Cookie", "Content_Type", "Sec_WebSocket_Key", "Expect", "Range", "Upgrade", "Accept_Encoding")
    )
    value = chance.choice(
        [
            *("http://[", "http://[::1", "http://\xff\xfe", "null", "\u00a0", "http://" + "a" * 8000, "%00", "a:b:c"),
            *("http://[v1.x]:x", "[", "http://127.0.0.1:99999999", "é", "=;=;=", "bytes=99999999999999-1", "\x7f", "\x1b[31m"),
        ]
    )
    path = chance.choice(
        ("/", "/camera", "/socket", "/relay", "/page.js", "/../../etc/passwd", "/%2e%2e/server.py", "//", "/?token=%ff", "/*")
    )
    method = chance.choice(("GET", "GET", "POST", "HEAD", "PUT", "DELETE"))
    return f"{method} {path} {name}: {value[:40]!r}", _exchange(server, server.head(method, path, **{name: value}))


def _post(server: Server, body: bytes, **headers: str) -> str:
    return _exchange(server, server.head("POST", "/camera", Content_Length=str(len(body)), **headers) + body)


def _body(server: Server, chance: random.Random) -> tuple[str, str]:
    kind = chance.choice(
        ("deep", "deep object", "charset", "gzip", "number", "surrogate", "not an object", "noise", "huge", "type")
    )
    body, headers = {
        "deep": (b"[" * chance.choice((990, 5000, 60_000)), {}),
        "deep object": (b'{"sdp":' * 8_000, {}),
        "charset": (
            b"{}",
            {"Content_Type": "application/json; charset=" + chance.choice(("no", "utf-16", "idna", "hex", "\xff"))},
        ),
        "gzip": (chance.randbytes(50), {"Content_Encoding": chance.choice(("gzip", "deflate", "br", "zstd", "x"))}),
        "number": (b'{"sdp":' + b"9" * 50_000 + b"}", {}),
        "surrogate": (b'{"sdp": "\\ud800"}', {}),
        "not an object": (chance.choice((b"1", b"null", b'"x"', b"[]", b'{"sdp":{}}', b'{"sdp":null}', b"NaN")), {}),
        "noise": (chance.randbytes(500), {}),
        "huge": (b'{"sdp":"' + b"a" * chance.choice((60_000, 70_000, 2 << 20)), {}),
        "type": (
            b"{}",
            {"Content_Type": chance.choice(("multipart/form-data", "text/html; charset", ";;;", "multipart/x; boundary=\xff"))},
        ),
    }[kind]
    return kind, _post(server, body, **headers)


_VIDEO = (
    "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtpmap:96 VP8/90000\r\na=rtcp-mux\r\n"
    f"a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=fingerprint:sha-256 {':'.join(['AA'] * 32)}\r\n"
    "a=setup:actpass\r\na=candidate:1 1 udp 2113937151 127.0.0.1 50000 typ host\r\n"
)
_SESSION = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"


def _sdp(server: Server, chance: random.Random) -> tuple[str, str]:
    kind = chance.choice(("valid", "lines", "twice", "many", "words", "addresses", "empty"))
    lines = (_SESSION + _VIDEO).split("\r\n")
    if kind == "lines":
        for _ in range(chance.choice((1, 3, 8))):
            at = chance.randrange(len(lines))
            lines[at : at + 1] = chance.choice(([], [lines[at]] * 2, [chance.choice(lines)]))
    elif kind == "twice":
        lines += ["a=group:BUNDLE 0 0", *_VIDEO.split("\r\n")]
    elif kind == "many":
        lines += (_VIDEO * chance.choice((5, 60))).split("\r\n")
    elif kind == "words":
        words = ("-1", "99999999999", "", "\x00", "audio", "é", "*", "0.0.0.0", "VP8/0", "sha-256 zz", "recvonly")
        for _ in range(chance.choice((1, 3, 8))):
            at = chance.randrange(len(lines))
            lines[at] = re.sub(r"[\w./-]+$", lambda _: chance.choice(words), lines[at])
    elif kind == "addresses":
        address = chance.choice(("192.0.2.1", "224.0.0.1", "::1", "a.example", "0.0.0.0", "255.255.255.255"))
        lines = [line.replace("127.0.0.1", address) for line in lines]
    body = "" if kind == "empty" else "\r\n".join(lines)
    return kind, _post(server, json.dumps({"sdp": body, "type": chance.choice(("offer", "answer", 1))}).encode())


def _half_open(server: Server, chance: random.Random) -> tuple[str, str]:
    """Many connections that never end their headers or body: another client is served in the meantime."""
    count = chance.choice((20, 70, 150))
    part = chance.choice(
        (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: ", server.head("POST", "/camera", Content_Length="50") + b"{")
    )
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            with contextlib.suppress(OSError):
                connection = stack.enter_context(server.connect())
                connection.sendall(part)
        found = health(server)
    return f"{count} of {part[:30]!r}", "HTTP/1.1 500 not served" if found else "closed"


KINDS: dict[str, tuple[float, Callable[[Server, random.Random], tuple[str, str]]]] = {
    "malformed": (3, _malformed),
    "headers": (4, _headers),
    "body": (3, _body),
    "sdp": (4, _sdp),
    "relay": (3, relay),
    "frames": (2, frames),
    "half-open": (1, _half_open),
}
