"""Many SIGINTs, SIGTERMs and SIGHUPs at random moments: exit code of a signal, nothing unfinished left, no process left."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2

from tests.support.helpers import noise, write_clip
from tests.support.judge import Violation, decode, snapshot
from tests.support.runs import DONE, STOPPED
from tools.bench.attacks.lab import Attack, Lab, wait_for
from vidstyle.studio.training.dataset import MIN_IMAGES

SIGNALS = (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_SECONDS = 30
"""The other processes of a run must have ended after this time."""
_TRAINING = ("--crop", 64, "--style-size", 64, "--identity-steps", 0, "--steps", 4000)

COMMANDS: dict[str, tuple[float, Sequence[object]]] = {
    "convert": (6, ("in.mp4", "-o", "out.mp4")),
    "resume": (4, ("in.mp4", "-o", "out.mp4", "--resume")),
    "folder": (3, ("clips", "-o", "stylized", "--resume")),
    "workers": (1, ("in.mp4", "-o", "out.mp4", "--workers", 2, "--chunk", 3)),
    "paint": (2, ("paint", "photo.jpg", "--style", "painting.jpg", "-o", "out.png", "--steps", 4000)),
    "train": (
        2,
        ("train", "painting.jpg", "--name", "mine", "--photos", "photos", "--into", "into", "--work", "work", *_TRAINING),
    ),
}
"""Weights and arguments; no command ends by itself before the signals."""


def attack(lab: Lab, chance: random.Random) -> Attack:
    """Start a command, wait until it handles signals, and send some at random moments."""
    name = chance.choices([*COMMANDS], [weight for weight, _ in COMMANDS.values()])[0]
    _place(lab, name)
    before = snapshot(lab.folder)
    process = lab.start(*COMMANDS[name][1])
    wait_for(lambda: _handles(process, signal.SIGTERM), process)
    # A quarter of the attacks hits the start, the others the work.
    delay = chance.uniform(0, 1) if chance.random() < 0.25 else chance.uniform(1, 5 if name in ("paint", "train") else 3.5)
    sent = [chance.choice(SIGNALS) for _ in range(chance.choice((1, 2, 2, 3, 3, 5, 8)))]
    gap = chance.choice((0.0, 0.01, 0.05, 0.15, 0.4))
    time.sleep(delay)
    for number in sent:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        time.sleep(chance.uniform(0, 2 * gap))
    session = process.pid
    ended = wait_for(lambda: process.poll() is not None, process)
    left = _left_of_session(session) if ended else []
    run_result = lab.finish(process, 30)
    recipe = f"{name}: {' '.join(s.name for s in sent)} after {delay:.2f} s, about {gap} s apart"
    more = [Violation("process left", ", ".join(left))] if left else []
    codes = sorted({DONE, *(STOPPED[signal.SIGINT if number == signal.SIGINT else signal.SIGTERM] for number in sent)})
    more += _files_left(lab, name, run_result.code)
    if name == "train" and "to continue" in run_result.stderr and not (lab.folder / "work" / "checkpoint.pt").exists():
        more.append(Violation("checkpoint lost", run_result.stderr[-200:]))
    keep = (".out.mp4.resume/", "stylized/", "work/", "into/", "out.")
    found = lab.judge(recipe, run_result, before, codes=codes, keep=keep, more=more)
    if name in ("resume", "folder") and not found.violations and run_result.code != DONE:
        found.violations.extend(_continue(lab, name))
    return found


def _place(lab: Lab, name: str) -> None:
    clip = lab.keep("long clip", lambda: _long_clip(lab.root / "long.mp4"))
    if name in ("convert", "resume", "workers"):
        shutil.copy2(clip, lab.folder / "in.mp4")
    elif name == "folder":
        for number in range(3):
            (lab.folder / "clips").mkdir(exist_ok=True)
            shutil.copy2(clip, lab.folder / "clips" / f"{number}.mp4")
    else:
        lab.copy("painting.jpg")
        lab.copy("photo.jpg")
        for number in range(MIN_IMAGES if name == "train" else 0):
            (lab.folder / "photos").mkdir(exist_ok=True)
            cv2.imwrite(str(lab.folder / "photos" / f"{number}.png"), noise(number, 96, 80))


def _long_clip(path: Path) -> Path:
    """About three seconds of work."""
    return write_clip(path, size=(320, 240), times=range(120), time_base=Fraction(1, 10), audio=["eng"])


def _handles(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether the process has a handler for a signal."""
    with contextlib.suppress(OSError, IndexError):
        caught = Path(f"/proc/{process.pid}/status").read_text().split("SigCgt:")[1].split()[0]
        return bool(int(caught, 16) >> (number - 1) & 1)
    return False


def _left_of_session(session: int) -> list[str]:
    """Processes of a session that do not end by themselves."""
    end = time.monotonic() + GRACE_SECONDS
    while (left := _session(session)) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def _session(session: int) -> list[str]:
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != session:
            with contextlib.suppress(OSError):
                if os.getsid(int(path.name)) == session and "(zombie)" not in (path / "status").read_text():
                    found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80])
    return found


def _files_left(lab: Lab, name: str, code: int | None) -> list[Violation]:
    """What is published must be whole; what is hidden may only be finished segments."""
    found = []
    for path in lab.folder.rglob("*"):
        unfinished = path.suffix in (".part", ".tmp", ".claim") or ".part." in path.name or path.name.endswith("~")
        if path.is_file() and unfinished and not any(part.endswith(".resume") for part in path.parts):
            found.append(Violation("hidden left", str(path.relative_to(lab.folder))))
    outputs = [lab.folder / "out.mp4", *(lab.folder / "stylized").glob("[!.]*.mp4")]
    for path in outputs:
        if path.exists() and not decode(path).whole:
            found.append(Violation("not whole", path.name))
    if code == DONE and name != "train" and not any(p.exists() for p in (*outputs, lab.folder / "out.png")):
        found.append(Violation("no output", "code 0"))
    return found


def _continue(lab: Lab, name: str) -> list[Violation]:
    """An interrupted run with --resume is finished by the same command, and only outputs are left."""
    run_result = lab.run(*COMMANDS[name][1], "-q")
    found = [] if run_result.code == DONE else [Violation("not resumed", f"{run_result.code}: {run_result.stderr[-300:]}")]
    outputs = [lab.folder / "out.mp4"] if name == "resume" else [lab.folder / "stylized" / f"{n}.mosaic.mp4" for n in range(3)]
    for path in outputs:
        if not path.exists() or len(decode(path).frames) != 120:
            found.append(Violation("not resumed", f"{path.name} is not whole"))
    left = [str(p.relative_to(lab.folder)) for p in lab.folder.rglob(".*")]
    return [*found, *([Violation("hidden left", ", ".join(left))] if left else [])]
