"""The state of the live view: every setting in one immutable value, and functions that apply keys and sliders to it.

The window and the page in the browser send the same `KeyPress` and `Setting`, so that both behave alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

STEP = 0.1
"""How far one key press moves the strength or the cross-fade."""

HEIGHTS = (96, 120, 144, 168, 192, 216, 240, 288, 360, 432, 480, 540, 720, 900, 1080, 1440, 2160)
"""Inference heights to choose from, besides the height of the image itself."""

KEYS = (
    ("n p, 1-9", "next, previous, numbered style"),
    ("left right", "cross-fade to the neighbour style"),
    ("up down", "strength"),
    ("c", "keep the colours of the original"),
    ("m", "mirror"),
    ("o", "original beside the stylized image; drag the line"),
    ("space", "freeze"),
    ("+ - 0", "inference size: larger, smaller, automatic"),
    ("s", "snapshot (PNG)"),
    ("r", "record, stop recording"),
    ("f", "full screen"),
    ("h", "this help"),
    ("q Esc", "quit"),
)
"""Keys and what they do, for the help."""

Action = Literal["quit", "snapshot", "record"]
ACTIONS: dict[str, Action] = {"q": "quit", "escape": "quit", "s": "snapshot", "r": "record"}
"""Keys that do something once instead of changing the state."""


@dataclass(frozen=True, slots=True)
class KeyPress:
    """A key: the character it gives, or `up`, `down`, `left`, `right`, `space`, `escape`."""

    key: str


@dataclass(frozen=True, slots=True)
class Setting:
    """A slider or a drag: `strength` 0..1, `position` (see `LiveState`), `split` 0..1 or None."""

    name: str
    value: float | None


Event = KeyPress | Setting


@dataclass(frozen=True, slots=True)
class Status:
    """What is shown beside the image."""

    fps: float
    """Images shown per second."""
    latency: float
    """Seconds from capture to display, median of the last images; nan before the first."""
    height: int
    """Inference height; 0 before the first."""
    recording: float | None = None
    """Seconds recorded; None while nothing is recorded."""
    message: str = ""
    """A sentence to show for now, or an empty string."""


@dataclass(frozen=True, slots=True)
class LiveState:
    """Everything that can be changed while the live view runs."""

    styles: tuple[str, ...]
    position: float = 0.0
    """Position on the ring of styles, 0 <= position < len(styles): 1.3 is 70 % of the second and 30 % of the third."""
    strength: float = 1.0
    """Weight of the stylized image, 0..1; the rest is the original."""
    keep_colors: bool = False
    mirror: bool = False
    split: float | None = None
    """Where the original ends and the stylized image begins, as a fraction of the width; None: no original."""
    frozen: bool = False
    help: bool = False
    full_screen: bool = False
    height: int | None = None
    """Inference height; None: automatic, as large as the machine manages."""

    def mix(self) -> list[tuple[str, float]]:
        """The one or two styles that are shown, and their weights, which add up to 1."""
        first, weight = int(self.position), self.position % 1
        if not weight:
            return [(self.styles[first], 1.0)]
        return [(self.styles[first], 1.0 - weight), (self.styles[(first + 1) % len(self.styles)], weight)]

    def describe(self) -> str:
        """Styles, strength and other settings, in a few words."""
        mix = self.mix()
        styles = mix[0][0] if len(mix) == 1 else " + ".join(f"{name} {weight:.0%}" for name, weight in mix)
        extras = [f"strength {self.strength:.0%}"] if self.strength < 1 else []
        extras += ["own colours"] if self.keep_colors else []
        extras += ["frozen"] if self.frozen else []
        return ", ".join([styles, *extras])


def press(state: LiveState, key: str, height: int) -> LiveState:
    """`state` after a key press; unchanged for a key without effect on it. `height` is the current inference height."""
    position = state.position
    match key:
        case "n":
            return _at(state, math.floor(position) + 1)
        case "p":
            return _at(state, math.ceil(position) - 1)
        case "right":
            return _at(state, position + STEP)
        case "left":
            return _at(state, position - STEP)
        case "up":
            return replace(state, strength=min(1.0, round(state.strength + STEP, 6)))
        case "down":
            return replace(state, strength=max(0.0, round(state.strength - STEP, 6)))
        case "c":
            return replace(state, keep_colors=not state.keep_colors)
        case "m":
            return replace(state, mirror=not state.mirror)
        case "o":
            return replace(state, split=0.5 if state.split is None else None)
        case "space":
            return replace(state, frozen=not state.frozen)
        case "+" | "=":
            return replace(state, height=next((h for h in HEIGHTS if h > height), height))
        case "-":
            return replace(state, height=next((h for h in reversed(HEIGHTS) if h < height), height))
        case "0":
            return replace(state, height=None)
        case "f":
            return replace(state, full_screen=not state.full_screen)
        case "h":
            return replace(state, help=not state.help)
    if len(key) == 1 and key in "123456789" and int(key) <= len(state.styles):
        return _at(state, int(key) - 1)
    return state


def adjust(state: LiveState, setting: Setting) -> LiveState:
    """`state` with a setting, clamped to its range; unchanged for an unknown name or a value that is not a number."""
    value = setting.value
    if value is not None and not math.isfinite(value):
        return state
    if setting.name == "split":
        return replace(state, split=None if value is None else min(1.0, max(0.0, value)))
    if setting.name == "strength" and value is not None:
        return replace(state, strength=min(1.0, max(0.0, value)))
    if setting.name == "position" and value is not None:
        return _at(state, value)
    return state


def _at(state: LiveState, position: float) -> LiveState:
    # Rounded, so that ten steps of a tenth arrive at the neighbour.
    return replace(state, position=round(position, 6) % len(state.styles))
