"""The page in the browser: who may see it, how images reach it, and what people do on it."""

from __future__ import annotations

import asyncio
import http.client
import json
import math
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from vidstyle.core.errors import MissingExtraError, UsageError
from vidstyle.core.frames import Pixels
from vidstyle.live.state import ACTIONS, Controls, Event, KeyPress, Setting, Status, press
from vidstyle.web import WebScreen, messages, viewer

STYLES = ("mosaic", "scream", "udnie")
CONTROLS = Controls(STYLES)
TOKEN = "a secret; of 22+ chars"


def told(fps: float = 24.0) -> Status:
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


def ask(
    screen: WebScreen, path: str = "/", method: str = "GET", headers: dict[str, str] | None = None, body: str = ""
) -> tuple[int, dict[str, str], str]:
    """Status, headers and text of the answer to one request, sent with whatever `headers`."""
    place = urlsplit(screen.url)
    connection = http.client.HTTPConnection("127.0.0.1", place.port or 0, timeout=20)
    try:
        connection.request(method, path, body or None, headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


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


def origin(screen: WebScreen) -> str:
    return screen.url.partition("?")[0].rstrip("/")


async def receive(socket: ClientWebSocketResponse, wanted: Callable[[Any], bool]) -> tuple[Any, list[int]]:
    """The first text message (parsed) or image (its level) that is `wanted`, and the levels of all images until then."""
    levels = []
    while True:
        message = await socket.receive()
        assert message.type in (WSMsgType.TEXT, WSMsgType.BINARY), message
        if message.type is WSMsgType.TEXT:
            value = json.loads(message.data)
        else:
            value = round(cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR).mean())
            levels.append(value)
        if wanted(value):
            return value, levels


def test_page_comes_whole_and_asks_for_nothing_outside(screen: WebScreen) -> None:
    for path in ("/", "/page.js", "/webcam.js", "/page.css"):
        status, headers, text = ask(screen, path)
        assert status == 200
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert (headers["X-Frame-Options"], headers["Cache-Control"], headers["Referrer-Policy"]) == (
            "DENY",
            "no-store",
            "no-referrer",
        )
        assert "https://" not in text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert ask(screen, "/server.py")[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[", "192.0.2.7", ""])
def test_request_for_another_host_is_refused(screen: WebScreen, host: str) -> None:
    status, headers, text = ask(screen, headers={"Host": host})
    assert status == 403
    assert "<canvas" not in text
    assert headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("host", ["localhost:1234", "127.0.0.1:9000", "[::1]:9000"])
def test_tunnel_to_another_port_is_served(screen: WebScreen, host: str) -> None:
    assert ask(screen, headers={"Host": host})[0] == 200


@pytest.mark.parametrize("stranger", [None, "null", "http://evil.example", "http://127.0.0.1:1", "http://localhost"])
def test_other_web_site_cannot_connect(screen: WebScreen, stranger: str | None) -> None:
    headers = {} if stranger is None else {"Origin": stranger}
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "A" * 22 + "==",
    }
    assert ask(screen, "/socket", headers=headers | upgrade)[0] == 403
    assert ask(screen, "/camera", "POST", headers, '{"sdp": "v=0"}')[0] == 403


def test_token_is_needed_for_everything() -> None:
    screen = WebScreen(STYLES, "0.0.0.0", token=TOKEN)
    try:
        query = f"/?{urlsplit(screen.url).query}"
        for path in ("/", "/page.js", "/socket", "/?token=wrong", "/nothing"):
            assert ask(screen, path)[0] == 403, path
        # From another machine it has whatever address; a DNS name could belong to anybody.
        assert ask(screen, query, headers={"Host": "192.0.2.7:8000"})[0] == 200
        assert ask(screen, query, headers={"Host": "evil.example"})[0] == 403
        status, headers, _ = ask(screen, query)
        assert status == 200
        assert "HttpOnly" in headers["Set-Cookie"]
        assert "SameSite=Strict" in headers["Set-Cookie"]
        cookie = headers["Set-Cookie"].partition(";")[0]
        assert TOKEN not in cookie
        assert ask(screen, "/page.js", headers={"Cookie": cookie})[0] == 200
        assert ask(screen, "/page.js", headers={"Cookie": cookie[:-1]})[0] == 403
    finally:
        screen.close()


@pytest.mark.parametrize(
    ("host", "token", "sentence"),
    [
        ("0.0.0.0", None, "both --host and --token"),
        ("127.0.0.1", "short", "at least 16"),
        ("no.such.host.invalid", TOKEN, "--host and --port"),
    ],
)
def test_page_that_cannot_or_may_not_be_shown_is_one_sentence(host: str, token: str | None, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        WebScreen(STYLES, host, token=token)


def test_taken_port_is_one_sentence(screen: WebScreen) -> None:
    with pytest.raises(UsageError, match="--port"):
        WebScreen(STYLES, port=urlsplit(screen.url).port or 0)
    with pytest.raises(UsageError, match="--port"):
        WebScreen(STYLES, port=70000)


def test_without_its_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    for name in ("site", "viewer"):
        monkeypatch.delitem(sys.modules, f"vidstyle.web.{name}", raising=False)
    with pytest.raises(MissingExtraError, match=r"vidstyle\[web\]"):
        WebScreen(STYLES)


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import sys, vidstyle.web; print({'av', 'aiohttp', 'aiortc', 'cv2', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_slow_viewer_gets_few_images_and_the_newest_when_it_has_room(screen: WebScreen) -> None:
    async def use(socket: ClientWebSocketResponse) -> None:
        seen = []
        for level in range(10, 10 * (viewer.WINDOW + 1), 10):
            screen.show(gray(level), told(level), CONTROLS)
            seen += (await receive(socket, lambda value, level=level: value == level))[1]  # type: ignore[misc]
        for level in range(100, 201, 10):
            screen.show(gray(level), told(level), CONTROLS)
        # What is told goes on, so the server has had its chance to send images too.
        seen += (await receive(socket, lambda value: isinstance(value, dict) and value.get("status", {}).get("fps") == 200))[1]
        await socket.send_json({"ack": True})
        seen += (await receive(socket, lambda value: value == 200))[1]
        await socket.send_json({"ack": True})
        screen.show(gray(250), told(), CONTROLS)
        seen += (await receive(socket, lambda value: value == 250))[1]
        assert seen == [*range(10, 10 * (viewer.WINDOW + 1), 10), 200, 250]

    with_socket(screen, use)


def test_image_is_encoded_once_and_only_if_somebody_watches(screen: WebScreen, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    encode = viewer._encode
    monkeypatch.setattr(viewer, "_encode", lambda image: encoded.append(int(image.max())) or encode(image))

    async def use(socket: ClientWebSocketResponse) -> None:
        async with ClientSession(origin(screen)) as session, session.ws_connect("/socket", origin=origin(screen)) as other:
            for level in (20, 30):
                if level == 30:
                    screen.show(gray(level), told(), CONTROLS)
                for each in (socket, other):
                    await receive(each, lambda value, level=level: value == level)  # type: ignore[misc]

    for level in (10, 20):
        screen.show(gray(level), told(), CONTROLS)
    with_socket(screen, use)
    assert encoded == [20, 30]


def test_colours_survive_the_way(screen: WebScreen) -> None:
    async def use(socket: ClientWebSocketResponse) -> None:
        image = gray(0)
        image[..., 0] = 250
        screen.show(image, told(), CONTROLS)
        while (message := await socket.receive()).type is not WSMsgType.BINARY:
            pass
        decoded = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
        assert decoded.shape == image.shape
        assert np.abs(decoded.mean((0, 1)) - (0, 0, 250)).max() < 5

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
def test_messages_mean_what_they_say_or_nothing(text: str, event: Event | None) -> None:
    assert messages.parse(text) == event


def test_every_key_a_page_may_send_does_something() -> None:
    probe = Controls(tuple("abcdefghij"), position=9.5, strength=0.5, height=480)
    idle = [key for key in messages.PAGE_KEYS if press(probe, key, 480) == probe and key not in ACTIONS]
    assert idle == []


def test_events_arrive_in_order_and_rubbish_hurts_nobody(screen: WebScreen) -> None:
    async def use(socket: ClientWebSocketResponse) -> None:
        for text in ('{"key": "n"}', "rubbish", '{"ack": true}', '{"set": "strength", "value": 2}', '{"key": "q"}'):
            await socket.send_str(text)
        await socket.send_bytes(b"\0" * 100)
        await socket.send_str(" " * (messages.MAX_MESSAGE + 1))
        while (await socket.receive()).type is WSMsgType.TEXT:
            pass
        assert socket.closed, "too long a message ends the connection"

    with_socket(screen, use)
    assert screen.events() == [KeyPress("n"), Setting("strength", 2.0), KeyPress("q")]
    assert screen.events() == []


def test_events_nobody_takes_do_not_pile_up(screen: WebScreen) -> None:
    async def use(socket: ClientWebSocketResponse) -> None:
        for number in range(2000):
            await socket.send_json({"set": "strength", "value": number})
        await socket.close()

    with_socket(screen, use)
    events = screen.events()
    assert len(events) < 1000
    assert events[-1] == Setting("strength", 1999.0)


def test_unknown_latency_is_no_number(screen: WebScreen) -> None:
    assert json.loads(messages.state(Status(0, math.nan, 0), CONTROLS))["status"]["latency"] is None


def test_viewers_hear_the_end_and_no_thread_remains(screen: WebScreen) -> None:
    async def use(socket: ClientWebSocketResponse) -> None:
        await receive(socket, lambda value: "hello" in value)
        await asyncio.to_thread(screen.close)
        await receive(socket, lambda value: isinstance(value, dict) and value.get("ended", False))
        assert (await socket.receive()).type is WSMsgType.CLOSE

    with_socket(screen, use)
    assert "vidstyle-web" not in [thread.name for thread in threading.enumerate()]
    screen.close()
    screen.show(gray(1), told(), CONTROLS)
    assert screen.events() == []
    assert list(screen.camera.frames()) == []


def test_offer_that_is_no_camera_is_refused(screen: WebScreen) -> None:
    own = {"Origin": origin(screen), "Content-Type": "application/json"}
    silent = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
    for body in ("rubbish", "[]", '{"sdp": 1}', '{"sdp": "rubbish"}', json.dumps({"sdp": silent})):
        status, _, text = ask(screen, "/camera", "POST", own, body)
        assert (status, text[:8]) == (400, "expected"), body
    assert ask(screen, "/camera", "POST", own, "x" * 100_000)[0] == 413
    assert not screen.camera.active
    assert screen.camera.trouble == "waiting for the browser's camera"
