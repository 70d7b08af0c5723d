"""Outputs aimed at what a command reads, directly and through links, with --overwrite: no input may change."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.helpers import identity_model
from tests.support.runs import DONE
from tools.bench.attacks.lab import Attack, Lab

REFUSED = (1, 2)
_STEPS = ("--steps", "1")


def attack(lab: Lab, chance: random.Random) -> Attack:
    """Let one command replace one of the files that it reads."""
    command = chance.choice(list(COMMANDS))
    suffix, make, names = COMMANDS[command]
    target = chance.choice(names)
    for name in names:
        _place(lab, name)
    how = chance.choice(_ALIASES if suffix in ("", Path(target).suffix) else _LINKS)
    written = _alias(lab.folder, target, how, suffix)
    # A link itself may be replaced; what matters is that no file that is read changes.
    codes, outputs = ((*REFUSED, DONE), [written]) if how in _LINKS else (REFUSED, [])
    arguments = make(written)
    if "out.mp4" in arguments:  # what is aimed at is the folder of work
        codes, outputs = (*codes, DONE), [*outputs, "out.mp4"]
    return lab.attack(f"{command}: {target} by {how}", *arguments, codes=codes, outputs=outputs, keep=_KEEP)


_KEEP = ("work/", "work.", "in.painting")
_LINKS = ("symbolic link", "hard link")
_ALIASES = ("name", "name", "dots", "absolute", "a linked folder", *_LINKS)


def _place(lab: Lab, name: str) -> None:
    if name.endswith(".onnx"):
        identity_model(lab.folder / name)
    elif name == "list.mp4":
        (lab.folder / name).write_text("in.mp4\n")
    else:
        lab.copy("painting.jpg" if name == "styles/mine.jpg" else Path(name).name, name)


def _alias(folder: Path, target: str, how: str, suffix: str) -> str:
    """A way to name `target` as an output."""
    if how == "dots":
        return f"./../{folder.name}/./{target}"
    if how == "absolute":
        return str(folder / target)
    if how == "a linked folder":
        (folder / "here").symlink_to(".")
        return f"here/{target}"
    if how == "symbolic link":
        (folder / f"alias{suffix}").symlink_to(target)
    elif how == "hard link":
        os.link(folder / target, folder / f"alias{suffix}")
    return f"alias{suffix}" if how in _LINKS else target


Arguments = list[object]
_MINIMAL_TRAINING = ("--steps", "1", "--identity-steps", "0", "--crop", "64", "--style-size", "64", "--from", "none")
COMMANDS: dict[str, tuple[str, Callable[[str], Arguments], Sequence[str]]] = {
    "convert": (
        ".mp4",
        lambda to: ["in.mp4", "-o", to, "--mask", "other.mp4", "--overwrite", "-q"],
        ["in.mp4", "other.mp4"],
    ),
    "convert a photo": (
        ".jpg",
        lambda to: ["photo.jpg", "-o", to, "--mask", "mask.png", "--overwrite", "-q"],
        ["photo.jpg", "mask.png"],
    ),
    "convert with a model": (
        ".mp4",
        lambda to: ["in.mp4", "-o", to, "--style", "net.onnx", "--overwrite", "-q"],
        ["net.onnx", "in.mp4"],
    ),
    "convert a list": (
        ".mp4",
        lambda to: ["-a", "list.mp4", "-o", to, "--overwrite", "-q"],
        ["list.mp4", "in.mp4"],
    ),
    "convert with --resume": (
        ".mp4",
        lambda to: ["in.mp4", "-o", to, "--mask", "other.mp4", "--resume", "--overwrite", "-q"],
        ["in.mp4", "other.mp4"],
    ),
    "paint": (
        ".jpg",
        lambda to: ["paint", "photo.jpg", "--style", "painting.jpg", "-o", to, "--overwrite", "--steps", 1],
        ["photo.jpg", "painting.jpg", "painting.jpg"],
    ),
    "paint with a mask": (
        ".png",
        lambda to: ["paint", "photo.jpg", "--style", "painting.jpg", "--mask", "mask.png", "-o", to, "--overwrite", "--steps", 1],
        ["mask.png", "photo.jpg", "painting.jpg"],
    ),
    "keyframes": (
        ".mp4",
        lambda to: [
            *("keyframes", "in.mp4", "--style", "painting.jpg", "--mask", "mask.png", "-o", to, "--work", "work"),
            *("--overwrite", "--steps", 1, "--net-steps", 1, "--keyframes", 0),
        ],
        ["in.mp4", "mask.png", "painting.jpg"],
    ),
    "keyframes beside its sources": (
        "",
        lambda to: [
            *("keyframes", "in.mp4", "--style", "work/painting.jpg", "-o", "out.mp4", "--work", "work", "--overwrite"),
            *("--steps", 1, "--net-steps", 1, "--keyframes", 0, "--mask", "work/mask.png"),
        ],
        ["in.mp4", "work/painting.jpg", "work/mask.png"],
    ),
    "bench": (
        "",
        lambda to: ["bench", "in.mp4", "--json", to, "--overwrite", "--seconds", 0.1, "--rounds", 1, "--style", "net.onnx"],
        ["in.mp4", "net.onnx"],
    ),
    "styles --sheet": (
        ".jpg",
        lambda to: ["styles", "--sheet", to, "--image", "photo.jpg", "--overwrite"],
        ["photo.jpg"],
    ),
    "styles --sheet of a video": (
        ".png",
        lambda to: ["styles", "--sheet", to, "--image", "in.mp4", "--overwrite"],
        ["in.mp4"],
    ),
    "train": (
        ".jpg",
        lambda to: ["train", to, "--name", "mine", "--photos", "photos", "--into", "styles", "--overwrite", *_MINIMAL_TRAINING],
        ["styles/mine.jpg", "photos/photo.jpg"],
    ),
}
