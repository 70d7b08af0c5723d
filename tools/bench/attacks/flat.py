"""Scenes without contrast: flat frames, titles, slides, fades, screen recordings. No frame of the output may be black."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from tests.support.helpers import write_clip
from tests.support.judge import Violation, snapshot
from tests.support.runs import DONE
from tools.bench.attacks.lab import Attack, Lab
from vidstyle.core.frames import Pixels

Scene = Callable[[int, Pixels], Pixels]
STYLES = ("composition", "great-wave", "ink", "mosaic", "scream", "starry-night", "udnie", "water-lilies")
SIZES = (*((1920, 1080),) * 5, *((1280, 720),) * 2, (2560, 1440), (1080, 1920), (854, 480), (641, 361), (64, 48))
SMALL = (64, 48)
FRAMES = 3
DARK = 30
"""Mean brightness (0-255) of a frame that may become black if a small frame does, too."""
BLACK = 8
"""A frame without a pixel brighter than this is black."""


def attack(lab: Lab, chance: random.Random) -> Attack:
    """Stylize a scene without contrast, as a video or an image, and look at the brightness of every frame."""
    scene = chance.choices(list(SCENES), [7 if scene == "flat" else 1 for scene in SCENES])[0]
    level = chance.choice((0, 0, 16, 127, 128, 255, 255, chance.randrange(256)))
    suffix = chance.choice((".mp4", ".mp4", ".mkv", ".png"))
    style, options = chance.choice(STYLES), list(chance.choice(_OPTIONS))
    size = chance.choice([(w, h) for w, h in SIZES if "torch" not in options or w <= 1280])
    if options == ["blend"]:
        style, options = f"{style}:0.5,{chance.choice([s for s in STYLES if s != style])}:0.5", []
    source, small = lab.folder / f"in{suffix}", lab.folder / f"small{suffix}"
    for path, (width, height) in ((source, size), (small, SMALL)):
        _write(path, SCENES[scene], level, width, height)
    output, small_output = source.with_stem("out"), small.with_stem("small-out")
    before = snapshot(lab.folder)
    run_result = lab.run(source.name, "-o", output.name, "--style", style, *options, "-q")
    more = []
    if run_result.code == DONE:
        lab.run(small.name, "-o", small_output.name, "--style", style, "-q")
        more = _black_frames(source, output, small_output, scene == "flat")
        small_output.unlink(missing_ok=True)
    recipe = f"{scene}, level {level}, {size[0]}x{size[1]}{suffix}, {style} {' '.join(options)}"
    return lab.judge(recipe, run_result, before, codes=[DONE], outputs=[output.name], more=more)


_OPTIONS: list[tuple[str, ...]] = [
    *((),) * 6,
    ("blend",),
    ("--height", "720"),
    ("--stabilize", "light"),
    ("--stroke-scale", "1.5"),
    ("--batch-size", "3"),
    ("--backend", "torch"),
]


def _write(path: Path, draw: Scene, level: int, width: int, height: int) -> None:
    def image(index: int, width: int, height: int) -> Pixels:
        return draw(index, np.full((height, width, 3), level, np.uint8))

    if path.suffix == ".png":
        cv2.imwrite(str(path), image(FRAMES - 1, width, height))
    else:
        size = (width // 2 * 2, height // 2 * 2)
        write_clip(path, size=size, times=range(FRAMES), image=image, options={"preset": "ultrafast", "crf": "12"})


def _black_frames(source: Path, output: Path, small_output: Path, same_when_small: bool) -> list[Violation]:
    """Frames that became black although they are not, or although a small frame of the same scene did not."""
    shown, stylized, small = (_brightness(path) for path in (source, output, small_output))
    if len(shown) != len(stylized):
        return [Violation("false success", f"{len(stylized)} frames of {len(shown)}")]
    black = []
    for index, (original, frame, other) in enumerate(zip(shown, stylized, small, strict=True)):
        if frame.max() <= BLACK and (original.mean() > DARK or (same_when_small and other.max() > 2 * BLACK)):
            black.append(index)
    return [Violation("black", f"frames {black} of {len(shown)}")] if black else []


def _brightness(path: Path) -> Pixels:
    """The frames as the ffmpeg of the system decodes them, grey and small, (N, H, W)."""
    scale = f"scale={SMALL[0]}:{SMALL[1]}:flags=area"
    arguments = ["-v", "error", "-nostdin", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough", "-vf", scale]
    raw = subprocess.run(
        ["ffmpeg", *arguments, "-f", "rawvideo", "-pix_fmt", "gray", "-"], capture_output=True, check=True
    ).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, SMALL[1], SMALL[0])


# --- scenes; each draws the frame `index` onto a flat one


def _flat(index: int, frame: Pixels) -> Pixels:
    return frame


def _begins_black(index: int, frame: Pixels) -> Pixels:
    return _text(index, frame) if index > 1 else np.zeros_like(frame)


def _fade(index: int, frame: Pixels) -> Pixels:
    return (_text(0, frame) * (index / (FRAMES - 1))).astype(np.uint8)


def _text(index: int, frame: Pixels) -> Pixels:
    """A title in the middle."""
    color = (255, 255, 255) if frame.mean() < 128 else (20, 20, 20)
    height, width = frame.shape[:2]
    where = (width // 5, height // 2)
    return np.asarray(cv2.putText(frame, "The End", where, cv2.FONT_HERSHEY_SIMPLEX, width / 400, color, 1 + width // 400))


def _slide(index: int, frame: Pixels) -> Pixels:
    height, width = frame.shape[:2]
    frame[height // 3 : height // 2, width // 4 : width // 2] = (200, 60, 30)
    return _text(index, frame)


def _screen(index: int, frame: Pixels) -> Pixels:
    """A text with a cursor that moves."""
    for line in range(8, frame.shape[0] - 8, 24):
        frame[line : line + 2, 8 : 8 + frame.shape[1] // 2] ^= 0x80
    frame[20 : 20 + 12, 10 + 8 * index : 14 + 8 * index] ^= 0xFF
    return frame


def _gradient(index: int, frame: Pixels) -> Pixels:
    """One or two levels from one side to the other."""
    step = np.linspace(0, 2, frame.shape[1]).astype(np.int16)[None, :, None]
    return np.clip(frame.astype(np.int16) + step, 0, 255).astype(np.uint8)


def _dot(index: int, frame: Pixels) -> Pixels:
    frame[frame.shape[0] // 2, frame.shape[1] // 2] = 255
    return frame


def _bars(index: int, frame: Pixels) -> Pixels:
    """Black bars above and below, as in films."""
    edge = frame.shape[0] // 8
    frame[:edge] = frame[-edge:] = 0
    return frame


def _flash(index: int, frame: Pixels) -> Pixels:
    return 255 - frame if index == FRAMES // 2 else frame


SCENES: dict[str, Scene] = {
    "flat": _flat,
    "begins black": _begins_black,
    "fade": _fade,
    "title": _text,
    "slide": _slide,
    "screen": _screen,
    "gradient": _gradient,
    "dot": _dot,
    "bars": _bars,
    "flash": _flash,
}
