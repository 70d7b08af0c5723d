"""What page and server tell each other: small JSON messages in both directions, and images as JPEG."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vidstyle.live.state import KEYS, Controls, Event, KeyPress, Setting, Status

MAX_MESSAGE = 1024
"""Bytes of the longest message a page has reason to send."""

PAGE_KEYS = frozenset("npcmosrq+=-0123456789") | {"up", "down", "left", "right", "space"}
"""Keys a page may send. Help and full screen belong to one viewer and stay in the page; Escape leaves them, and never quits."""

SETTINGS = frozenset({"strength", "position", "split"})


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The page has drawn one image and has room for another."""


def parse(text: str) -> Event | Acknowledgement | None:
    """What a page's message means; None where it means nothing, whatever it holds."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    match message:
        case {"ack": True}:
            return Acknowledgement()
        case {"key": str(key)} if key in PAGE_KEYS:
            return KeyPress(key)
        case {"set": "split", "value": None}:
            return Setting("split", None)
        # A bool is an int in Python, and is no place on a slider.
        case {"set": str(name), "value": int() | float() as value} if name in SETTINGS and not isinstance(value, bool):
            return _setting(name, value)
    return None


def _setting(name: str, value: float) -> Setting | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return Setting(name, number) if math.isfinite(number) else None


def hello(styles: Sequence[str]) -> str:
    """The first message to a page: everything that stays as it is."""
    keys = [[keys.replace(" Esc", ""), meaning] for keys, meaning in KEYS]
    return json.dumps({"hello": {"styles": list(styles), "keys": keys}})


def state(status: Status, controls: Controls) -> str:
    """Status and controls for the page; rounded to what is shown, so that a number that only trembles is not sent again."""
    latency = None if math.isnan(status.latency) else round(status.latency, 3)
    shares = [0.0] * len(controls.styles)
    place, share = int(controls.position), controls.position % 1
    shares[place] = 1 - share
    shares[(place + 1) % len(shares)] += share
    told: dict[str, Any] = {
        "status": {
            "fps": round(status.fps, 1),
            "latency": latency,
            "height": status.height,
            "recording": None if status.recording is None else int(status.recording),
            "message": status.message,
        },
        "controls": {
            "position": controls.position,
            "strength": controls.strength,
            "keepColors": controls.keep_colors,
            "mirror": controls.mirror,
            "split": controls.split,
            "frozen": controls.frozen,
            "height": controls.height,
            "shares": [round(share, 3) for share in shares],
            "words": controls.describe(),
        },
    }
    return json.dumps(told)


ENDED = json.dumps({"ended": True})
"""The last message to a page: there is no use in connecting again."""
