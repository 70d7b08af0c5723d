"""Inputs that are replaced, rewritten, grown or deleted while they are converted: never success with parts of two files."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.helpers import write_clip
from tests.support.judge import Violation, decode, ending_violations, hidden
from tests.support.resumable import SEGMENT_SUFFIXES
from tests.support.runs import DAMAGE, DONE, FAILED, STOPPED, RunResult
from tools.bench.attacks.lab import PEAK_MIB, Attack, Lab, wait_for
from vidstyle.core.frames import Pixels

FRAMES = 120
_CONVERT = ("--style", "mosaic", "--strength", "0.02")
"""The network runs, but the output looks like the input, so that it shows which one it was made of."""


def attack(lab: Lab, chance: random.Random) -> Attack:
    """Convert the red video, and change it into the blue one somewhere on the way."""
    place = lab.keep("red and blue", lambda: _make(lab.root / "colours"))
    how, when = chance.choice(list(CHANGES)), chance.choice(("between", "between", "during", "during", "during", "folder"))
    run = _Run(lab, when, chance.randrange(1, 5), chance.uniform(0, 0.5))
    if when == "folder":
        for name in ("a", "b"):
            shutil.copy2(place / "red.mkv", lab.folder / f"{name}.mkv")
    shutil.copy2(place / "red.mkv", run.source)
    run_result = run.attacked(lambda: CHANGES[how](run.source, place / "blue.mkv"))
    # Unchanged content, or a deleted name of an open file, may also be converted to the end.
    found = ending_violations(run_result, (DONE, FAILED, DAMAGE), PEAK_MIB)
    found += _mixture(run.output, run_result, how)
    if run_result.code == FAILED and run.kept < run.before:
        found.append(Violation("segments lost", f"{run.before} were finished, {run.kept} are left"))
    if run_result.code == DONE and hidden(run.output.parent):
        found.append(Violation("hidden left", ", ".join(hidden(run.output.parent))))
    found += [Violation("hidden left", p.name) for p in run.output.parent.glob(".*.part*")]
    if run_result.code == FAILED and when != "folder":
        found += run.restored(place / "red.mkv")
    return Attack(f"{how} {when}, after {run.segments} segments and {run.delay:.2f} s", run_result.code, found)


@dataclass
class _Run:
    """A conversion whose input is changed when `segments` are finished and `delay` seconds later."""

    lab: Lab
    when: str
    segments: int
    delay: float
    before: int = 0
    kept: int = 0
    source: Path = field(init=False)
    output: Path = field(init=False)

    def __post_init__(self) -> None:
        folder = self.lab.folder
        self.source = folder / "in.mkv"
        self.output = folder / "out" / "in.mosaic.mkv" if self.when == "folder" else folder / "out.mkv"
        files = ("a.mkv", "b.mkv", "in.mkv", "-o", "out/") if self.when == "folder" else ("in.mkv", "-o", "out.mkv")
        self.arguments = (*files, *_CONVERT, "--resume", "-q")

    def finished(self) -> int:
        """The number of finished segments."""
        work = self.output.parent / f".{self.output.name}.resume"
        try:
            listed = json.dumps(json.loads((work / "manifest.json").read_text()))
            return sum(p.suffix in SEGMENT_SUFFIXES and f'"{p.name}"' in listed for p in work.iterdir())
        except (OSError, ValueError):
            return 0

    def attacked(self, change: Callable[[], object]) -> RunResult:
        process = self.lab.start(*self.arguments)
        if self.when == "folder":  # changed while it waits for its turn, or while it is converted
            wait_for(lambda: bool(list(self.lab.folder.glob("out/.*.resume"))), process)
            time.sleep(4 * self.delay)
        else:
            wait_for(lambda: self.finished() >= self.segments, process)
            time.sleep(self.delay)
        if self.when != "between":
            self.before = self.finished() if process.poll() is None else 0
            change()
        elif process.poll() is None:
            process.send_signal(signal.SIGINT)
            stopped = self.lab.finish(process)
            if stopped.code not in (STOPPED[signal.SIGINT], DONE):
                return stopped
            change()
            if stopped.code != DONE:
                return self.lab.run(*self.arguments)
            return stopped
        run_result = self.lab.finish(process)
        self.kept = self.finished()
        return run_result

    def restored(self, original: Path) -> list[Violation]:
        """With the original input back, the same command finishes."""
        if self.source.is_dir():
            self.source.rmdir()
        self.source.unlink(missing_ok=True)
        shutil.copy2(original, self.source)
        run_result = self.lab.run(*self.arguments, "--overwrite")
        found = ending_violations(run_result, (DONE,), PEAK_MIB)
        return [*found, *_mixture(self.output, run_result, "restored")]


def _replace(path: Path, other: Path) -> None:
    shutil.copy2(other, path.with_name("new"))
    os.replace(path.with_name("new"), path)


def _rewrite(path: Path, other: Path) -> None:
    with path.open("r+b") as file:
        file.write(other.read_bytes())
        file.truncate()


def _grow(path: Path, other: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(other.stat().st_size))


def _truncate(path: Path, other: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _replace_with_same_times(path: Path, other: Path) -> None:
    status = path.stat()
    _replace(path, other)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _replace_and_back(path: Path, other: Path) -> None:
    kept = path.with_name("kept")
    os.replace(path, kept)
    shutil.copy2(other, path)
    time.sleep(0.3)
    os.replace(kept, path)


def _replace_by_a_link(path: Path, other: Path) -> None:
    path.unlink()
    path.symlink_to(other)


def _replace_by_a_folder(path: Path, other: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES: dict[str, Callable[[Path, Path], object]] = {
    "replaced": _replace,
    "replaced, with the same times": _replace_with_same_times,
    "replaced and put back": _replace_and_back,
    "replaced by a copy": lambda path, other: _replace(path, other.with_name("red.mkv")),
    "replaced by a link": _replace_by_a_link,
    "rewritten": _rewrite,
    "grown": _grow,
    "truncated": _truncate,
    "deleted": lambda path, other: path.unlink(),
    "touched": lambda path, other: os.utime(path),
    "replaced by a folder": _replace_by_a_folder,
}


def _make(folder: Path) -> Path:
    """A red and a blue video of the same length and size, with other sound, language and title."""
    folder.mkdir()
    for name, channel, language in (("red", 0, "eng"), ("blue", 2, "deu")):

        def image(index: int, width: int, height: int, channel: int = channel) -> Pixels:
            frame = np.full((height, width, 3), 40, np.uint8)
            frame[..., channel] = 200
            frame[:, (2 * index) % width : (2 * index) % width + 16] = 120
            return frame

        clip: dict[str, Any] = {"size": (320, 240), "times": range(FRAMES), "time_base": Fraction(1, 2), "audio": [language]}
        write_clip(folder / f"{name}.mkv", image=image, metadata={"title": name}, **clip)
    return folder


def _mixture(output: Path, run_result: RunResult, how: str) -> list[Violation]:
    """A published output is whole, and made of one file."""
    if not output.exists():
        return [Violation("no output", "code 0")] if run_result.code == DONE else []
    if not decode(output).whole:
        return [Violation("not whole", decode(output).errors[:300])]
    facts = _probe(output)
    parts = {*_colours(output), facts["title"], {"eng": "red", "deu": "blue"}.get(facts["language"], "no sound")}
    frames = len(_colours(output))
    if run_result.code == DONE and (len(parts) > 1 or frames != FRAMES):
        return [Violation("false success", f"{how}: {frames} frames and streams of {sorted(parts)}")]
    if len(parts - {"no sound"}) > 1:
        return [Violation("mixture", f"code {run_result.code}: {sorted(parts)}")]
    return []


def _colours(output: Path) -> list[str]:
    arguments = [
        "-v",
        "error",
        "-nostdin",
        "-i",
        str(output),
        "-map",
        "0:v:0",
        "-vf",
        "scale=1:1:flags=area",
        "-fps_mode",
        "passthrough",
    ]
    done = subprocess.run(["ffmpeg", *arguments, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    pixels = np.frombuffer(done.stdout, np.uint8).reshape(-1, 3)
    return ["red" if red > blue else "blue" for red, _, blue in pixels.tolist()]


def _probe(output: Path) -> dict[str, str]:
    arguments = ["-v", "quiet", "-show_entries", "format_tags=title:stream=codec_type:stream_tags=language", "-of", "json"]
    found = json.loads(subprocess.run(["ffprobe", *arguments, str(output)], capture_output=True, check=True).stdout)
    languages = [s.get("tags", {}).get("language", "") for s in found["streams"] if s["codec_type"] == "audio"]
    return {"title": found["format"].get("tags", {}).get("title", ""), "language": "".join(languages)}
