"""The web page: access control, delivery of images, and input."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from operator import eq
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from numpy.typing import NDArray

from tests.support.web import origin, request
from vidstyle.core.errors import MissingExtraError, UsageError
from vidstyle.core.frames import Pixels
from vidstyle.live.state import ACTIONS, Event, KeyPress, LiveState, Setting, Status, press
from vidstyle.web import WebScreen, messages, viewer

STYLES = ("mosaic", "scream", "udnie")
STATE = LiveState(STYLES)
TOKEN = "a secret; of 22+ chars"


def status_of(fps: float = 24.0) -> Status:
    return Status(fps, 0.061, 480)


def gray(level: int) -> Pixels:
    return np.full((48, 64, 3), level, np.uint8)


@pytest.fixture
def screen() -> Iterator[WebScreen]:
    before = set(threading.enumerate())
    screen = WebScreen(STYLES)
    yield screen
    screen.close()
    assert set(threading.enumerate()) <= before


def with_socket(screen: WebScreen, use: Callable[[ClientWebSocketResponse], Coroutine[Any, Any, None]]) -> None:
    """Run `use` on a viewer's socket."""

    async def run() -> None:
        async with (
            asyncio.timeout(30),
            ClientSession(origin(screen)) as session,
            session.ws_connect("/socket", origin=origin(screen)) as socket,
        ):
            await use(socket)

    asyncio.run(run())


def decoded(data: bytes) -> NDArray[Any]:
    """An encoded image, BGR."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


async def receive(socket: ClientWebSocketResponse, wanted: Callable[[Any], bool]) -> tuple[Any, list[int]]:
    """The first text message (parsed) or image (its level) that fits `wanted`, and the levels of all images until then."""
    levels = []
    while True:
        message = await socket.receive()
        assert message.type in (WSMsgType.TEXT, WSMsgType.BINARY), message
        if message.type is WSMsgType.TEXT:
            value = json.loads(message.data)
        else:
            value = round(decoded(message.data).mean())
            levels.append(value)
        if wanted(value):
            return value, levels


def test_page_is_complete_and_uses_no_outside_resources(screen: WebScreen) -> None:
    for path in ("/", "/page.js", "/webcam.js", "/page.css"):
        status, headers, text = request(screen, path)
        assert status == 200
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert (headers["X-Frame-Options"], headers["Cache-Control"], headers["Referrer-Policy"]) == (
            "DENY",
            "no-store",
            "no-referrer",
        )
        assert "https://" not in text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert request(screen, "/server.py")[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[", "192.0.2.7", ""])
def test_request_for_another_host_is_refused(screen: WebScreen, host: str) -> None:
    status, headers, text = request(screen, headers={"Host": host})
    assert status == 403
    assert "<canvas" not in text
    assert headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("host", ["localhost:1234", "127.0.0.1:9000", "[::1]:9000"])
def test_another_port_is_served_for_tunnels(screen: WebScreen, host: str) -> None:
    assert request(screen, headers={"Host": host})[0] == 200


@pytest.mark.parametrize("other_origin", [None, "null", "http://evil.example", "http://127.0.0.1:1", "http://localhost"])
def test_other_web_site_cannot_connect(screen: WebScreen, other_origin: str | None) -> None:
    headers = {} if other_origin is None else {"Origin": other_origin}
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "A" * 22 + "==",
    }
    assert request(screen, "/socket", headers=headers | upgrade)[0] == 403
    assert request(screen, "/camera", "POST", headers, '{"sdp": "v=0"}')[0] == 403


def test_every_request_needs_the_token() -> None:
    screen = WebScreen(STYLES, "0.0.0.0", token=TOKEN)
    try:
        query = f"/?{urlsplit(screen.url).query}"
        for path in ("/", "/page.js", "/socket", "/?token=wrong", "/nothing"):
            assert request(screen, path)[0] == 403, path
        # Another machine may use any address, but a DNS name could be rebound.
        assert request(screen, query, headers={"Host": "192.0.2.7:8000"})[0] == 200
        assert request(screen, query, headers={"Host": "evil.example"})[0] == 403
        status, headers, _ = request(screen, query)
        assert status == 200
        assert "HttpOnly" in headers["Set-Cookie"]
        assert "SameSite=Strict" in headers["Set-Cookie"]
        cookie = headers["Set-Cookie"].partition(";")[0]
        assert TOKEN not in cookie
        assert request(screen, "/page.js", headers={"Cookie": cookie})[0] == 200
        assert request(screen, "/page.js", headers={"Cookie": cookie[:-1]})[0] == 403
    finally:
        screen.close()


@pytest.mark.parametrize(
    ("host", "token", "text"),
    [
        ("0.0.0.0", None, "both --host and --token"),
        ("127.0.0.1", "short", "at least 16"),
        ("no.such.host.invalid", TOKEN, "--host and --port"),
    ],
)
def test_invalid_host_or_token_is_a_usage_error(host: str, token: str | None, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        WebScreen(STYLES, host, token=token)


def test_invalid_port_is_a_usage_error(screen: WebScreen) -> None:
    with pytest.raises(UsageError, match="--port"):
        WebScreen(STYLES, port=urlsplit(screen.url).port or 0)
    with pytest.raises(UsageError, match="--port"):
        WebScreen(STYLES, port=70000)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    for name in ("site", "viewer"):
        monkeypatch.delitem(sys.modules, f"vidstyle.web.{name}", raising=False)
    with pytest.raises(MissingExtraError, match=r"vidstyle\[web\]"):
        WebScreen(STYLES)


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, vidstyle.web; print({'av', 'aiohttp', 'aiortc', 'cv2', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_slow_viewer_gets_few_images_and_the_newest_when_it_is_ready(screen: WebScreen) -> None:
    async def use(socket: ClientWebSocketResponse) -> None:
        seen = []
        for level in range(10, 10 * (viewer.MAX_IN_FLIGHT + 1), 10):
            screen.show(gray(level), status_of(level), STATE)
            seen += (await receive(socket, partial(eq, level)))[1]
        for level in range(100, 201, 10):
            screen.show(gray(level), status_of(level), STATE)
        # The status is still sent, so the server had a chance to send images too.
        seen += (await receive(socket, lambda value: isinstance(value, dict) and value.get("status", {}).get("fps") == 200))[1]
        await socket.send_json({"ack": True})
        seen += (await receive(socket, lambda value: value == 200))[1]
        await socket.send_json({"ack": True})
        screen.show(gray(250), status_of(), STATE)
        seen += (await receive(socket, lambda value: value == 250))[1]
        assert seen == [*range(10, 10 * (viewer.MAX_IN_FLIGHT + 1), 10), 200, 250]

    with_socket(screen, use)


def test_image_is_encoded_once_and_only_with_viewers(screen: WebScreen, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    encode = viewer._encode

    def record(image: Pixels) -> bytes:
        encoded.append(int(image.max()))
        return encode(image)

    monkeypatch.setattr(viewer, "_encode", record)

    async def use(socket: ClientWebSocketResponse) -> None:
        async with ClientSession(origin(screen)) as session, session.ws_connect("/socket", origin=origin(screen)) as other:
            for level in (20, 30):
                if level == 30:
                    screen.show(gray(level), status_of(), STATE)
                for each in (socket, other):
                    await receive(each, partial(eq, level))

    for level in (10, 20):
        screen.show(gray(level), status_of(), STATE)
    with_socket(screen, use)
    assert encoded == [20, 30]


def test_colours_are_kept(screen: WebScreen) -> None:
    async def use(socket: ClientWebSocketResponse) -> None:
        image = gray(0)
        image[..., 0] = 250
        screen.show(image, status_of(), STATE)
        while (message := await socket.receive()).type is not WSMsgType.BINARY:
            pass
        received = decoded(message.data)
        assert received.shape == image.shape
        assert np.abs(received.mean((0, 1)) - (0, 0, 250)).max() < 5

    with_socket(screen, use)


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ('{"key": "n"}', KeyPress("n")),
        ('{"key": "space"}', KeyPress("space")),
        ('{"set": "strength", "value": 0.5}', Setting("strength", 0.5)),
        ('{"set": "split", "value": null}', Setting("split", None)),
        *((f'{{"key": {key}}}', None) for key in ('"escape"', '"f"', '"h"', '"nn"', '""', "7", "null", '["n"]')),
        *((f'{{"set": "position", "value": {value}}}', None) for value in ("NaN", "-Infinity", "true", '"1"', "null", "9" * 400)),
        ('{"set": "help", "value": 1}', None),
        ('["key", "n"]', None),
        ("[" * 900, None),
        ("n", None),
        ("", None),
    ],
)
def test_valid_messages_are_events_and_others_are_ignored(text: str, event: Event | None) -> None:
    assert messages.parse(text) == event


def test_every_key_of_a_page_has_an_effect() -> None:
    probe = LiveState(tuple("abcdefghij"), position=9.5, strength=0.5, height=480)
    idle = [key for key in messages.PAGE_KEYS if press(probe, key, 480) == probe and key not in ACTIONS]
    assert idle == []


def test_events_arrive_in_order_and_invalid_messages_are_ignored(screen: WebScreen) -> None:
    async def use(socket: ClientWebSocketResponse) -> None:
        for text in ('{"key": "n"}', "invalid", '{"ack": true}', '{"set": "strength", "value": 2}', '{"key": "q"}'):
            await socket.send_str(text)
        await socket.send_bytes(b"\0" * 100)
        await socket.send_str(" " * (messages.MAX_MESSAGE + 1))
        while (await socket.receive()).type is WSMsgType.TEXT:
            pass
        assert socket.closed, "expected a message that is too long to close the connection"

    with_socket(screen, use)
    assert screen.events() == [KeyPress("n"), Setting("strength", 2.0), KeyPress("q")]
    assert screen.events() == []


def test_events_that_are_not_read_are_dropped(screen: WebScreen) -> None:
    async def use(socket: ClientWebSocketResponse) -> None:
        for number in range(2000):
            await socket.send_json({"set": "strength", "value": number})
        await socket.close()

    with_socket(screen, use)
    events = screen.events()
    assert len(events) < 1000
    assert events[-1] == Setting("strength", 1999.0)


def test_unknown_latency_is_null(screen: WebScreen) -> None:
    assert json.loads(messages.state_message(Status(0, math.nan, 0), STATE))["status"]["latency"] is None


def test_viewers_are_notified_of_the_end_and_no_thread_remains(screen: WebScreen) -> None:
    async def use(socket: ClientWebSocketResponse) -> None:
        await receive(socket, lambda value: "hello" in value)
        await asyncio.to_thread(screen.close)
        await receive(socket, lambda value: isinstance(value, dict) and value.get("ended", False))
        assert (await socket.receive()).type is WSMsgType.CLOSE

    with_socket(screen, use)
    assert "vidstyle-web" not in [thread.name for thread in threading.enumerate()]
    screen.close()
    screen.show(gray(1), status_of(), STATE)
    assert screen.events() == []
    assert list(screen.camera.frames()) == []


def test_invalid_camera_offer_is_refused(screen: WebScreen) -> None:
    own = {"Origin": origin(screen), "Content-Type": "application/json"}
    silent = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    for body in ("invalid", "[]", '{"sdp": 1}', '{"sdp": "invalid"}', json.dumps({"sdp": silent})):
        status, _, text = request(screen, "/camera", "POST", own, body)
        assert (status, text[:8]) == (400, "expected"), body
    assert request(screen, "/camera", "POST", own, "x" * 100_000)[0] == 413
    assert not screen.camera.active
    assert screen.camera.trouble == "waiting for the browser's camera"
