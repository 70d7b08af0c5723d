"""Commands in a network without an outside, whose packets are recorded: there must be none, and no file below home."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import signal
import time
from collections.abc import Sequence

import pytest

from tests.support.helpers import command
from tests.support.judge import Violation
from tests.support.network import WatchedNetwork
from tests.support.runs import DONE, STOPPED
from tools.bench.attacks.lab import Attack, Lab

SECONDS = 13
"""ONNX Runtime would send what it knows some ten seconds after it was imported."""
COMMANDS: dict[str, Sequence[object]] = {
    "watch": ("clips", "-o", "out/", "--watch"),
    "watch, torch": ("clips", "-o", "out/", "--watch", "--backend", "torch"),
    "page": ("live", "in.mp4", "--web", "--port", 0),
    "workers": ("clips", "-o", "out/", "--workers", 2, "--watch"),
    "paint": ("paint", "photo.jpg", "--style", "painting.jpg", "--steps", 5000),
    "doctor": ("doctor",),
    "styles": ("styles", "--sheet", "sheet.png", "--image", "photo.jpg"),
    "cluster": ("clips", "-o", "out/", "--cluster", "local"),
}


def attack(lab: Lab, chance: random.Random) -> Attack:
    """Run one command for a while; nothing is tried where packets cannot be recorded."""
    try:
        network = WatchedNetwork()
    except pytest.skip.Exception as reason:
        return Attack(str(reason), "skipped")
    name = chance.choice(list(COMMANDS))
    for file in ("in.mp4", "photo.jpg", "painting.jpg"):
        lab.copy(file)
    lab.copy("in.mp4", "clips/in.mp4")
    home = lab.folder / "home"
    with contextlib.closing(network):
        process = network.start(*command(*COMMANDS[name]), cwd=lab.folder, home=home)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        printed = process.communicate(timeout=60)[0]
    found = (
        []
        if process.returncode in (DONE, STOPPED[signal.SIGINT])
        else [Violation("exit code", f"{process.returncode}: {printed[-300:]}")]
    )
    if network.packets:
        found.append(Violation("packet", ", ".join(network.packets)[:400]))
    if "Traceback" in printed:
        found.append(Violation("traceback", printed[-600:]))
    written = [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]
    if written := [path for path in written if not re.search(r"vidstyle/", path)]:
        found.append(Violation("file below home", ", ".join(written)[:300]))
    shutil.rmtree(home, ignore_errors=True)
    return Attack(name, process.returncode, found)
