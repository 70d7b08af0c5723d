"""What a person can do while the image runs: every key and setting, as one immutable state and a function on it.

The window and the page in the browser send the same `KeyPress` and `Setting`, so that both mean the same thing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

STEP = 0.1
"""How far one press moves the strength or the cross-fade."""

HEIGHTS = (96, 120, 144, 168, 192, 216, 240, 288, 360, 432, 480, 540, 720, 900, 1080, 1440, 2160)
"""Inference heights to choose from; the image's own comes on top where it is none of them."""

KEYS = (
    ("n p, 1-9", "next, previous, numbered style"),
    ("left right", "cross-fade to the neighbour style"),
    ("up down", "strength"),
    ("c", "keep the colours of the original"),
    ("m", "mirror"),
    ("o", "original beside the painting; drag the line"),
    ("space", "freeze"),
    ("+ - 0", "inference size: larger, smaller, automatic"),
    ("s", "snapshot (PNG)"),
    ("r", "record, stop recording"),
    ("f", "full screen"),
    ("h", "this help"),
    ("q Esc", "quit"),
)
"""Keys and what they do, for whoever shows them."""

Action = Literal["quit", "snapshot", "record"]
ACTIONS: dict[str, Action] = {"q": "quit", "escape": "quit", "s": "snapshot", "r": "record"}
"""Keys that do something once rather than change the state."""


@dataclass(frozen=True, slots=True)
class KeyPress:
    """A key: the character it gives, or `up`, `down`, `left`, `right`, `space`, `escape`."""

    key: str


@dataclass(frozen=True, slots=True)
class Setting:
    """A slider or a drag: `strength` 0..1, `position` (see `Controls`), `split` 0..1 or None."""

    name: str
    value: float | None


Event = KeyPress | Setting


@dataclass(frozen=True, slots=True)
class Status:
    """What is told beside the image."""

    fps: float
    """Images shown per second."""
    latency: float
    """Seconds from capture to display, median of the last ones; nan before the first."""
    height: int
    """Inference height; 0 before the first."""
    recording: float | None = None
    """Seconds recorded; None while nothing is recorded."""
    message: str = ""
    """A sentence to show for now, or nothing."""


@dataclass(frozen=True, slots=True)
class Controls:
    """Everything that can be set while the image runs."""

    styles: tuple[str, ...]
    position: float = 0.0
    """Place on the ring of styles, 0 <= position < len(styles): 1.3 is 70 % of the second and 30 % of the third."""
    strength: float = 1.0
    """Share of the painting, the rest is the original; 0..1."""
    keep_colors: bool = False
    mirror: bool = False
    split: float | None = None
    """Where the original ends and the painting begins, as a part of the width; None: painting only."""
    frozen: bool = False
    help: bool = False
    full_screen: bool = False
    height: int | None = None
    """Inference height; None: as large as the machine manages."""

    def mix(self) -> list[tuple[str, float]]:
        """The one or two styles that are shown, and their shares, which add up to 1."""
        first, share = int(self.position), self.position % 1
        if not share:
            return [(self.styles[first], 1.0)]
        return [(self.styles[first], 1.0 - share), (self.styles[(first + 1) % len(self.styles)], share)]

    def describe(self) -> str:
        """Which styles, how strong, in a few words."""
        mix = self.mix()
        words = mix[0][0] if len(mix) == 1 else " + ".join(f"{name} {share:.0%}" for name, share in mix)
        extras = [f"strength {self.strength:.0%}"] if self.strength < 1 else []
        extras += ["own colours"] if self.keep_colors else []
        extras += ["frozen"] if self.frozen else []
        return ", ".join([words, *extras])


def press(controls: Controls, key: str, height: int) -> Controls:
    """`controls` after a key that changes them; the same for any other key. `height` is the inference height at this moment."""
    position = controls.position
    match key:
        case "n":
            return _at(controls, math.floor(position) + 1)
        case "p":
            return _at(controls, math.ceil(position) - 1)
        case "right":
            return _at(controls, position + STEP)
        case "left":
            return _at(controls, position - STEP)
        case "up":
            return replace(controls, strength=min(1.0, round(controls.strength + STEP, 6)))
        case "down":
            return replace(controls, strength=max(0.0, round(controls.strength - STEP, 6)))
        case "c":
            return replace(controls, keep_colors=not controls.keep_colors)
        case "m":
            return replace(controls, mirror=not controls.mirror)
        case "o":
            return replace(controls, split=0.5 if controls.split is None else None)
        case "space":
            return replace(controls, frozen=not controls.frozen)
        case "+" | "=":
            return replace(controls, height=next((h for h in HEIGHTS if h > height), height))
        case "-":
            return replace(controls, height=next((h for h in reversed(HEIGHTS) if h < height), height))
        case "0":
            return replace(controls, height=None)
        case "f":
            return replace(controls, full_screen=not controls.full_screen)
        case "h":
            return replace(controls, help=not controls.help)
    if len(key) == 1 and key in "123456789" and int(key) <= len(controls.styles):
        return _at(controls, int(key) - 1)
    return controls


def adjust(controls: Controls, setting: Setting) -> Controls:
    """`controls` with a setting, held to its range; the same for an unknown name or a value that is no number."""
    value = setting.value
    if value is not None and not math.isfinite(value):
        return controls
    if setting.name == "split":
        return replace(controls, split=None if value is None else min(1.0, max(0.0, value)))
    if setting.name == "strength" and value is not None:
        return replace(controls, strength=min(1.0, max(0.0, value)))
    if setting.name == "position" and value is not None:
        return _at(controls, value)
    return controls


def _at(controls: Controls, position: float) -> Controls:
    # Rounded, so that ten steps of a tenth arrive at the neighbour.
    return replace(controls, position=round(position, 6) % len(controls.styles))
