"""Where attacks happen: a folder for each, processes that run command lines, and the verdict from outside."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2

from tests.support.helpers import moving_bar, write_clip
from tests.support.judge import Snapshot, Violation, decode, ending_violations, snapshot
from tests.support.runs import DAMAGE, DONE, CommandRunner, RunResult, finish, start

SECONDS = 90
"""A run that takes longer hangs."""
PEAK_MIB = 3000
"""Maximum memory of a run, in a process that keeps torch, the networks and the largest frames of earlier runs."""
_VIDEOS = {".mp4", ".mkv", ".mov", ".webm", ".avi", ".ts", ".gif"}


@dataclass(frozen=True)
class Attack:
    """What was tried, the exit code (None: a hang), and the promises that were not kept."""

    recipe: str
    code: int | str | None
    violations: list[Violation] = field(default_factory=list)


class Lab:
    """A worker's place. `folder` is that of the current attack; processes and material are kept for the next ones."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root
        self.home, self.temporary = root / "home", root / "temporary"
        for folder in (self.home, self.temporary):
            folder.mkdir(parents=True)
        self.env = {"HOME": str(self.home), "TMPDIR": str(self.temporary), "VIDSTYLE_STYLES": str(self.home / "styles")}
        self.env |= {f"XDG_{kind}_HOME": str(self.home / kind.lower()) for kind in ("DATA", "CACHE", "CONFIG", "STATE")}
        self.runner = CommandRunner(self.env)
        self._closing = contextlib.ExitStack()
        self._closing.callback(self.runner.close)
        self.kept: dict[str, Any] = {}
        """What a group keeps from one attack to the next, such as a server."""

    def enter(self, name: str) -> None:
        """Begin an attack in a folder of its own."""
        self.folder = self.root / name
        self.folder.mkdir()

    def leave(self) -> None:
        """Remove the attack's folder."""
        for path in [self.folder, *self.folder.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(self.folder)

    def keep(self, name: str, make: Callable[[], Any], close: Callable[[Any], None] | None = None) -> Any:
        """What `make` returned when `name` was first asked for."""
        if name not in self.kept:
            self.kept[name] = made = make()
            if close is not None:
                self._closing.callback(close, made)
        return self.kept[name]

    def close(self) -> None:
        self._closing.close()

    def run(self, *args: object, cwd: Path | None = None, seconds: float = SECONDS) -> RunResult:
        """Run `vidstyle ARGS` in the long-lived process."""
        return self.runner.run(*args, cwd=cwd or self.folder, seconds=seconds)

    def start(self, *args: object, cwd: Path | None = None, **options: Any) -> subprocess.Popen[str]:
        """Start `vidstyle ARGS` in a process and session of its own."""
        env = {**self.env, **options.pop("env", {})}
        return start(*args, cwd=cwd or self.folder, env=env, start_new_session=True, **options)

    def finish(self, process: subprocess.Popen[str], seconds: float = SECONDS) -> RunResult:
        """Wait for the end of a started run, and end what is left of its session."""
        run_result = finish(process, seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return run_result

    # --- material

    @cached_property
    def material(self) -> Path:
        """The folder of files that are made once: `in.mp4`, `other.mp4`, `photo.jpg`, `painting.jpg`, `mask.png`."""
        folder = self.root / "material"
        folder.mkdir()
        write_clip(folder / "in.mp4", audio=["eng"])
        write_clip(folder / "other.mp4", audio=["deu"], image=lambda index, w, h: 255 - moving_bar(index, w, h))
        for name, index, size in (("photo.jpg", 3, (64, 48)), ("painting.jpg", 40, (96, 80))):
            cv2.imwrite(str(folder / name), moving_bar(index, *size))
        mask = moving_bar(0, 64, 48)
        mask[:, :32], mask[:, 32:] = 0, 255
        cv2.imwrite(str(folder / "mask.png"), mask)
        return folder

    def copy(self, name: str, to: str | None = None) -> Path:
        """Copy a file of the material into the attack's folder."""
        path = self.folder / (to or name)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(self.material / name, path)
        return path

    # --- verdict

    def attack(
        self,
        recipe: str,
        *args: object,
        codes: Sequence[int],
        outputs: Sequence[str] = (),
        keep: Sequence[str] = (),
        cwd: Path | None = None,
        seconds: float = SECONDS,
    ) -> Attack:
        """Run a command line and judge it; `outputs` are the files that success makes or replaces, `keep` what may be left."""
        before = snapshot(self.folder)
        run_result = self.run(*args, cwd=cwd, seconds=seconds)
        return self.judge(recipe, run_result, before, codes=codes, outputs=outputs, keep=keep)

    def judge(
        self,
        recipe: str,
        run_result: RunResult,
        before: Snapshot,
        *,
        codes: Sequence[int],
        outputs: Sequence[str] = (),
        keep: Sequence[str] = (),
        peak_mib: float = PEAK_MIB,
        more: Sequence[Violation] = (),
    ) -> Attack:
        """The verdict on a run in the attack's folder, which contained `before`."""
        found = ending_violations(run_result, codes, peak_mib)
        if "please report it" in run_result.stderr:
            found.append(Violation("unexpected error", run_result.stderr.strip()[-400:]))
        succeeded = run_result.code in (DONE, DAMAGE)
        after = snapshot(self.folder)
        for name, file in before.items():
            if after.get(name) != file and not (succeeded and name in outputs):
                found.append(Violation("file changed", f"{name} {'changed' if name in after else 'was removed'}"))
        new = sorted(name for name in set(after) - set(before) if not name.startswith(tuple(keep) or "\0"))
        hidden = [name for name in new if any(part.startswith(".") for part in Path(name).parts)]
        if hidden:
            found.append(Violation("hidden left", ", ".join(hidden)))
        extra = [name for name in new if name not in hidden and not (succeeded and name in outputs)]
        if extra:
            found.append(Violation("unexpected file", f"code {run_result.code}, new files: {', '.join(extra)}"))
        if succeeded:
            found += [violation for name in outputs if (violation := _unfinished(self.folder / name))]
        return Attack(recipe, run_result.code, [*found, *self._temporary_files(), *more])

    def _temporary_files(self) -> list[Violation]:
        """What a run left in the folder for temporary files; it is removed, so that only one attack is blamed."""
        left = [path for path in self.temporary.iterdir() if not path.name.startswith(("pymp-", "torch"))]
        for path in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return [Violation("temporary left", ", ".join(path.name for path in left))] if left else []


def _unfinished(path: Path) -> Violation | None:
    """A violation if an output that success promises is missing, or a video that ffmpeg cannot decode without an error."""
    if not path.exists():
        return Violation("no output", path.name)
    if path.suffix not in _VIDEOS:
        return None
    decoded = decode(path)
    return None if decoded.whole else Violation("not whole", f"{path.name}: {decoded.errors[:300]}")


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = SECONDS) -> bool:
    """Wait until `condition` holds; False if the process ended before."""
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            return condition()
        time.sleep(0.002)
    return True


def some(chance: random.Random, values: Sequence[Any], most: int) -> list[Any]:
    """Between one and `most` of the values."""
    return chance.sample(list(values), chance.randrange(1, min(most, len(values)) + 1))
