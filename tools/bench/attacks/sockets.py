"""Images, text and noise for the web sockets of the page."""

from __future__ import annotations

import base64
import contextlib
import random
import struct
import time

import cv2
import numpy as np

from tests.support.helpers import moving_bar
from tools.bench.attacks.images import png
from tools.bench.attacks.server import Server


def _frame(data: bytes, opcode: int = 2, masked: bool = True, claimed: int | None = None) -> bytes:
    size = len(data) if claimed is None else claimed
    mask = b"\1\2\3\4"
    bits = np.frombuffer(data, np.uint8) ^ np.resize(np.frombuffer(mask, np.uint8), len(data)) if masked else data
    head = struct.pack("!BBQ", 0x80 | opcode, 127 | (0x80 if masked else 0), size)
    return head + (mask if masked else b"") + bytes(bits)


def _socket(server: Server, path: str, frames: bytes) -> str:
    key = base64.b64encode(b"0123456789abcdef").decode()
    head = server.head("GET", path, Upgrade="websocket", Connection="Upgrade", Sec_WebSocket_Version="13", Sec_WebSocket_Key=key)
    with server.connect() as connection:
        connection.settimeout(3)
        connection.sendall(head)
        answer = connection.recv(4096).decode("latin-1")
        with contextlib.suppress(OSError):
            connection.sendall(frames)
            time.sleep(0.2)  # the image is decoded in another thread
            connection.recv(4096)
        return answer or "closed"


def relay(server: Server, chance: random.Random) -> tuple[str, str]:
    kind = chance.choice(("claims", "png", "truncated", "noise", "gif", "several", "empty"))
    jpeg = cv2.imencode(".jpg", moving_bar(0, 64, 48))[1].tobytes()
    at = jpeg.index(b"\xff\xc0") + 5
    side = chance.choice((65_500, 30_000, 16_000, 0))
    claims = jpeg[:at] + struct.pack("!HH", side, side) + jpeg[at + 4 :]
    data = {
        "claims": claims,
        "png": png(*chance.choice(((8_000, 8_000), (20_000, 20_000)))),
        "truncated": jpeg[: chance.randrange(2, len(jpeg))],
        "noise": chance.randbytes(2000),
        "gif": b"GIF89a" + struct.pack("<HH", side, side) + bytes(50),
        "several": jpeg,
        "empty": b"",
    }[kind]
    return f"{kind}, {side}", _socket(server, "/relay", _frame(data) * (20 if kind == "several" else 1))


def frames(server: Server, chance: random.Random) -> tuple[str, str]:
    kind = chance.choice(("unmasked", "opcode", "claimed", "text", "noise", "flood"))
    text = chance.choice(
        (b"[" * 1000, b'{"key": "n"}', b'{"set": "strength", "value": 1e999}', b"\xff", b'{"set": "split", "value": -9e99}')
    )
    data = {
        "unmasked": _frame(b"{}", 1, masked=False),
        "opcode": _frame(b"{}", chance.randrange(3, 16)),
        "claimed": _frame(b"{}", 1, claimed=chance.choice((1 << 40, (1 << 64) - 1))),
        "text": _frame(text, 1),
        "noise": chance.randbytes(300),
        "flood": _frame(b'{"ack": true}', 1) * 3000,
    }[kind]
    return kind, _socket(server, chance.choice(("/socket", "/relay")), data)
