"""Messages between page and server: small JSON objects in both directions; images are sent as JPEG."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vidstyle.live.state import KEYS, Event, KeyPress, LiveState, Setting, Status

MAX_MESSAGE = 1024
"""Maximum size in bytes of a message from a page."""

PAGE_KEYS = frozenset("npcmosrq+=-0123456789") | {"up", "down", "left", "right", "space"}
"""Keys that a page may send. Help and full screen are handled in the page; Escape closes them, and never quits."""

SETTINGS = frozenset({"strength", "position", "split"})


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The page has drawn an image and is ready for another."""


def parse(text: str) -> Event | Acknowledgement | None:
    """The event in a page's message; None for an invalid message."""
    match _json(text):
        case {"ack": True}:
            return Acknowledgement()
        case {"key": str(key)} if key in PAGE_KEYS:
            return KeyPress(key)
        case {"set": "split", "value": None}:
            return Setting("split", None)
        # A bool is an int in Python, but not a value of a slider.
        case {"set": str(name), "value": int() | float() as value} if name in SETTINGS and not isinstance(value, bool):
            return _setting(name, value)
    return None


def parse_offer(body: bytes) -> str | None:
    """The SDP offer in the body of a request; None for anything else."""
    match _json(body):
        case {"sdp": str(offer)}:
            return offer
    return None


def _json(text: str | bytes) -> Any:
    """The value of a JSON text; None where it is invalid, or nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _setting(name: str, value: float) -> Setting | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return Setting(name, number) if math.isfinite(number) else None


def hello(styles: Sequence[str]) -> str:
    """The first message to a page, with everything that does not change."""
    keys = [[keys.replace(" Esc", ""), meaning] for keys, meaning in KEYS]
    return json.dumps({"hello": {"styles": list(styles), "keys": keys}})


def state_message(status: Status, state: LiveState) -> str:
    """Status and state for the page, rounded to what is shown, so that tiny changes are not sent."""
    latency = None if math.isnan(status.latency) else round(status.latency, 3)
    weights = [0.0] * len(state.styles)
    first, weight = int(state.position), state.position % 1
    weights[first] = 1 - weight
    weights[(first + 1) % len(weights)] += weight
    message: dict[str, Any] = {
        "status": {
            "fps": round(status.fps, 1),
            "latency": latency,
            "height": status.height,
            "recording": None if status.recording is None else int(status.recording),
            "message": status.message,
        },
        "state": {
            "position": state.position,
            "strength": state.strength,
            "keepColors": state.keep_colors,
            "mirror": state.mirror,
            "split": state.split,
            "frozen": state.frozen,
            "height": state.height,
            "weights": [round(weight, 3) for weight in weights],
            "description": state.describe(),
        },
    }
    return json.dumps(message)


ENDED = json.dumps({"ended": True})
"""The last message to a page, which must not reconnect."""
