"""Closed, full and broken standard streams: results that cannot be written are an error, progress that nobody reads is not."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from collections.abc import Sequence
from typing import Any

from tests.support.judge import Violation, snapshot
from tests.support.runs import DISK, DONE, FAILED, USAGE, RunResult
from tools.bench.attacks.lab import Attack, Lab

_PAINT = ("paint", "photo.jpg", "--style", "painting.jpg", "--steps", 1, "-o", "out.png")
COMMANDS: dict[str, tuple[bool, str | None, Sequence[object]]] = {
    "convert": (False, "out.mp4", ("in.mp4", "-o", "out.mp4")),
    "convert -q": (False, "out.mp4", ("in.mp4", "-o", "out.mp4", "-q")),
    "convert -v": (False, "out.mp4", ("in.mp4", "-o", "out.mp4", "-v")),
    "convert --progress json": (False, "out.mp4", ("in.mp4", "-o", "out.mp4", "--progress", "json")),
    "convert --resume": (False, "out.mp4", ("in.mp4", "-o", "out.mp4", "--resume")),
    "folder": (False, "stylized/in.mosaic.mp4", (".", "-o", "stylized/", "--include", "*.mp4")),
    "--report": (True, "out.mp4", ("in.mp4", "-o", "out.mp4", "--report")),
    "--dry-run": (True, None, ("in.mp4", "--dry-run")),
    "styles": (True, None, ("styles",)),
    "styles --json": (True, None, ("styles", "--json")),
    "--help": (True, None, ("--help",)),
    "--version": (True, None, ("--version",)),
    "paint": (False, "out.png", _PAINT),
    "paint --progress json": (False, "out.png", (*_PAINT, "--progress", "json")),
    "list from stdin": (False, "in.mosaic.mp4", ("-a", "-")),
    "missing input": (False, None, ("missing.mp4",)),
    "unknown option": (False, None, ("--nonsense",)),
}
"""Whether a result goes to stdout, the output if there is one, and the arguments."""
_STREAMS = ("stdin", "stdout", "stderr")
_ENDS = {"missing input": FAILED, "unknown option": USAGE}


def attack(lab: Lab, chance: random.Random) -> Attack:
    """Run a command with one or two of its streams broken."""
    name = chance.choice(list(COMMANDS))
    prints, output, arguments = COMMANDS[name]
    for file in ("in.mp4", "photo.jpg", "painting.jpg"):
        lab.copy(file)
    broken = {
        number: chance.choice(("closed", "full", "no reader")) for number in chance.choice(((1,), (2,), (2,), (1, 2), (0,)))
    }
    if 0 in broken:
        broken[0] = "closed"
    before = snapshot(lab.folder)
    run_result = _run(lab, arguments, broken)
    expected = [_ENDS.get(name, DONE)]
    if prints and 1 in broken:
        # Nothing of a result is lost where its reader has seen enough.
        expected = [DISK] if broken[1] != "no reader" else [DISK, DONE, FAILED, 141]
    elif name == "list from stdin":
        expected = [USAGE, FAILED]
    elif name in _ENDS:
        expected = [_ENDS[name]]
    done = run_result.code == DONE
    more = _lost_work(lab, output, prints)
    recipe = f"{name}: {', '.join(f'{_STREAMS[number]} {how}' for number, how in broken.items())}"
    outputs = [output] if output and done else []
    kept = [output] if output and prints and not done else ["stylized/"]
    found = lab.judge(recipe, run_result, before, codes=expected, outputs=outputs, keep=kept, more=more)
    if 2 in broken:  # nobody can see a message
        found.violations[:] = [v for v in found.violations if v.kind != "no message"]
    return found


def _lost_work(lab: Lab, output: str | None, prints: bool) -> list[Violation]:
    """A result on stdout that cannot be written must not cost the output."""
    return [Violation("no output", output)] if output and prints and not (lab.folder / output).exists() else []


def _run(lab: Lab, arguments: Sequence[object], broken: dict[int, str]) -> RunResult:
    with contextlib.ExitStack() as stack:
        options: dict[str, Any] = {}
        for number, name in ((1, "stdout"), (2, "stderr")):
            if broken.get(number) == "full":
                options[name] = stack.enter_context(open("/dev/full", "w"))
            elif broken.get(number) == "no reader":
                reader, writer = os.pipe()
                os.close(reader)
                options[name] = stack.enter_context(os.fdopen(writer, "w"))
        closed = [number for number, how in broken.items() if how == "closed"]
        process = lab.start(*arguments, closed=closed, stdin=subprocess.DEVNULL, **options)
        return lab.finish(process)
