"""The page against clients that send anything: each gets a plain answer, and the server goes on."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import select
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from aiohttp import ClientSession, WSMsgType

from tests.support.web import origin, request
from vidstyle.core.frames import Frame
from vidstyle.web import WebScreen, connections, site

STYLES = ("mosaic", "scream")
JSON = "Content-Type: application/json\r\n"
SESSION = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
VIDEO = (
    "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtpmap:96 VP8/90000\r\na=rtcp-mux\r\n"
    f"a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=fingerprint:sha-256 {':'.join(['AA'] * 32)}\r\n"
    "a=setup:actpass\r\n"
)
MDNS = "a=candidate:1 1 udp 2113937151 0f0f0f0f-0000-4000-8000-000000000000.local 50000 typ host\r\n"


@pytest.fixture
def screen(caplog: pytest.LogCaptureFixture) -> Iterator[WebScreen]:
    """A screen that must not log a traceback."""
    with caplog.at_level(logging.INFO), closing(WebScreen(STYLES)) as screen:
        yield screen
    assert [record.getMessage() for record in caplog.records if record.exc_info or "\n" in record.getMessage()] == []


def connected(screen: WebScreen) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(origin(screen).rpartition(":")[2])), timeout=20)


def get(path: str, headers: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode("latin-1")


def offered(body: bytes | str, headers: str = JSON) -> bytes:
    """A request that offers a camera, as from our own page."""
    body = body.encode() if isinstance(body, str) else body
    head = f"POST /camera HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode("latin-1") + body


def sdp(text: str) -> bytes:
    return offered(json.dumps({"sdp": text}))


ATTACKS = {
    "unparsable origin": (get("/", "Origin: http://[\r\n"), 403),
    "latin origin": (get("/", "Origin: http://\xe9\r\n"), 403),
    "latin host": (b"GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n", 403),
    "latin cookie": (get("/", "Cookie: vidstyle-=\xe9; \xff=1\r\n"), 200),
    "deep list": (offered("[" * 60_000), 400),
    "deep object": (offered('{"sdp":' * 8_000), 400),
    "huge number": (offered('{"sdp":' + "9" * 60_000 + "}"), 400),
    "unknown charset": (offered("{}", "Content-Type: application/json; charset=nope\r\n"), 400),
    "wrong charset": (offered(b'{"sdp": "\xff\xfe"}'), 400),
    "lone surrogate": (offered('{"sdp": "\\ud800"}'), 400),
    "bad gzip": (offered("no gzip", f"{JSON}Content-Encoding: gzip\r\n"), 400),
    "unknown compression": (offered("no br", f"{JSON}Content-Encoding: br\r\n"), 400),
    "too long": (offered("x" * 100_000), 413),
    "duplicate mid": (sdp(f"{SESSION}a=group:BUNDLE 0 0\r\n{VIDEO}{VIDEO}"), 400),
    "many videos": (sdp(SESSION + "".join(VIDEO.replace("mid:0", f"mid:{n}") for n in range(100))), 400),
    "no mid": (sdp(SESSION + VIDEO.replace("a=mid:0\r\n", "")), None),
    "bad fingerprint": (sdp(SESSION + VIDEO.replace("AA:", "ZZ:")), None),
    "bad port": (sdp(SESSION + VIDEO.replace("video 9", "video x")), 400),
    "unknown codec": (sdp(SESSION + VIDEO.replace("VP8", "XYZ")), 400),
    "no ice": (sdp(SESSION + VIDEO.replace("a=ice-ufrag:abcd\r\n", "")), None),
    "audio only": (sdp(SESSION + VIDEO.replace("video", "audio").replace("VP8/90000", "opus/48000/2")), 400),
    "socket without upgrade": (get("/socket", "Origin: http://localhost\r\n"), 400),
    "not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n", 400),
    "unknown version": (b"GET / HTTP/9.9\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\nHost\r\n\r\n", 400),
    "two lengths": (get("/", "Content-Length: 1\r\nContent-Length: 2\r\n"), 400),
    "negative length": (get("/", "Content-Length: -1\r\n"), 400),
    "bad chunk": (b"POST /camera HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n"
                  b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n", 400),
    "long line": (get("/" + "a" * 20_000), 400),
    "long header": (get("/", f"X: {'a' * 20_000}\r\n"), 400),
    "many headers": (get("/", "".join(f"X{n}: 1\r\n" for n in range(1000))), 400),
    "encoded path": (get("/%00%ff/../..//etc/passwd?%ff=%00"), 404),
    "bad target": (get("http://[/"), 400),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_invalid_request_gets_a_plain_answer(screen: WebScreen, name: str) -> None:
    data, status = ATTACKS[name]
    with connected(screen) as client:
        client.sendall(data)
        answer = b""
        while b"\r\n\r\n" not in answer and (got := client.recv(65_536)):
            answer += got
    assert status is None or int(answer.split()[1]) == status, answer
    assert answer.split()[1] != b"500"
    assert request(screen)[0] == 200


def test_server_goes_on_after_200_damaged_requests(screen: WebScreen) -> None:
    choose = random.Random(19)
    valid = [data for data, _ in ATTACKS.values()] + [get("/"), sdp(SESSION + VIDEO)]
    for _ in range(200):
        data = bytearray(choose.choice(valid)[:5000])
        for _ in range(choose.randint(1, 8)):
            at = choose.randint(0, len(data))
            data[at : at + choose.choice((0, 1, 1, 20))] = choose.randbytes(choose.choice((0, 1, 1, 40)))
        with connected(screen) as client:
            client.sendall(data[: choose.choice((len(data), choose.randint(0, len(data))))])
        assert request(screen)[0] == 200, bytes(data)


def test_unforeseen_error_is_one_line_and_a_plain_answer(
    screen: WebScreen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(offer: str) -> str:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(screen.camera, "answer", fail)
    own = {"Origin": origin(screen)}
    for _ in range(3):
        status, _, text = request(screen, "/camera", "POST", own, '{"sdp": ""}')
        assert (status, text) == (500, "vidstyle failed to answer this request")
    [line] = [record.getMessage() for record in caplog.records]
    assert line == "the page failed to answer a request for /camera (RuntimeError: first line)"


def test_slow_headers_and_bodies_have_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(site, "BODY_SECONDS", 0.3)
    with closing(WebScreen(STYLES)) as screen, connected(screen) as slow_headers, connected(screen) as slow_body:
        slow_headers.sendall(b"GET / HTTP/1.1\r\nHost: local")
        slow_body.sendall(offered("{" + " " * 500)[:-100])
        assert slow_headers.recv(1000) == b""
        assert slow_body.recv(1000).startswith(b"HTTP/1.1 408")


def test_half_open_connections_do_not_keep_others_out(screen: WebScreen) -> None:
    with ExitStack() as stack:
        clients = []
        for _ in range(300):
            clients.append(stack.enter_context(connected(screen)))
            clients[-1].sendall(b"GET / HTTP/1.1\r\n")
        assert request(screen)[0] == 200
        excess = 300 - connections.MAX_CONNECTIONS - connections.ACCEPTED_AT_ONCE
        poll = select.poll()
        for client in clients:
            poll.register(client, select.POLLIN)
        closed: set[int] = set()
        while len(closed) < excess:
            ended = poll.poll(20_000)
            assert ended, f"expected {excess} connections to be closed, got {len(closed)}"
            for descriptor, _ in ended:
                closed.add(descriptor)
                poll.unregister(descriptor)


def test_camera_opens_sockets_only_at_the_address_of_the_page(screen: WebScreen) -> None:
    before = udp_addresses()
    status, _, answer = request(
        screen, "/camera", "POST", {"Origin": origin(screen)}, json.dumps({"sdp": SESSION + VIDEO + MDNS})
    )
    assert status == 200
    candidates = [line.split()[4] for line in json.loads(answer)["sdp"].splitlines() if line.startswith("a=candidate:")]
    assert candidates == ["127.0.0.1"]
    if sys.platform == "linux":
        assert sorted(udp_addresses()) == sorted([*before, "127.0.0.1"])


def udp_addresses() -> list[str]:
    """The local addresses of the UDP sockets of this process."""
    own = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")}
    found = []
    for table in ("udp", "udp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, *_, inode = line.split()[:10]
            if f"socket:[{inode}]" in own:
                found.append(".".join(str(byte) for byte in reversed(bytes.fromhex(local.partition(":")[0]))))
    return found


def claiming(size: int, **options: int) -> bytes:
    """A JPEG of 64x64 that claims to be `size` wide and high."""
    parameters = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(bool(options))]
    jpeg = bytearray(cv2.imencode(".jpg", np.full((64, 64, 3), 200, np.uint8), parameters)[1].tobytes())
    at = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2"))
    jpeg[at + 5 : at + 9] = size.to_bytes(2, "big") * 2
    return bytes(jpeg)


@pytest.mark.parametrize("kind", ["huge JPEG", "large JPEG", "progressive JPEG", "PNG", "text", "nothing"])
def test_relayed_image_is_refused_before_it_is_decoded(screen: WebScreen, kind: str) -> None:
    png = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    image = {
        "huge JPEG": claiming(65_500),
        "large JPEG": claiming(4_000),
        "progressive JPEG": claiming(64, progressive=1),
        "PNG": png,
        "text": b"hello",
        "nothing": b"",
    }[kind]
    frames: list[Frame] = []
    reader = threading.Thread(target=lambda: frames.extend(screen.camera.frames()))
    reader.start()

    async def relay() -> None:
        async with asyncio.timeout(30), ClientSession(origin(screen)) as session:
            async with session.ws_connect("/relay", origin=origin(screen)) as bad:
                await bad.send_bytes(image)
                message = await bad.receive()
                assert (message.type, message.data) == (WSMsgType.CLOSE, 1008)
            async with session.ws_connect("/relay", origin=origin(screen)) as good:
                await good.send_bytes(claiming(64)[:-20])  # damaged, but the server goes on
                assert await good.receive_str() == "ack"
                while not frames:
                    await good.send_bytes(claiming(64))
                    assert await good.receive_str() == "ack"

    try:
        asyncio.run(relay())
    finally:
        screen.close()
        reader.join(20)
    assert {frame.pixels.shape for frame in frames} == {(64, 64, 3)}
