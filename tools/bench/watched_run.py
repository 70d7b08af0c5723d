"""`vidstyle ARGS` with a log of what it does: which pieces of work it begins, and which it keeps.

    python -m tools.bench.watched_run LOG ARGS...

The program is the same; a few of its methods tell that they were called. A line of the log is one JSON object with the time
(`t`, of `time.time`), and survives whatever becomes of the run. `Run` is the other side: it starts such a run and kills it, or
one of its workers.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRACE_SECONDS = 60
"""What a killed run leaves behind must have ended by then."""


# --- inside the run


class _Log:
    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)  # unbuffered: a line is there, whole, before anything else happens

    def __call__(self, what: str, **facts: Any) -> None:
        self._file.write(_line(what, facts))


def _line(what: str, facts: dict[str, Any]) -> bytes:
    return (json.dumps({"t": time.time(), "what": what, **facts}) + "\n").encode()


def _told(owner: Any, name: str, before: Callable[..., None] | None = None, after: Callable[..., None] | None = None) -> None:
    """Have `before` called with the arguments of `owner.name`, and `after` when it has returned."""
    real = getattr(owner, name)

    def called(*args: Any, **named: Any) -> Any:
        if before is not None:
            before(*args, **named)
        result = real(*args, **named)
        if after is not None:
            after(*args, **named)
        return result

    setattr(owner, name, called)


def _watch(log: _Log, with_cluster: bool) -> None:
    import vidstyle.batch.runner
    from vidstyle.conversion.convert import Conversion
    from vidstyle.sinks.publish import UnpublishedFile
    from vidstyle.sinks.segment_folder import SegmentFolder
    from vidstyle.sinks.segments import SegmentWriter

    def of_folder(path: Path) -> str:
        return path.name.removeprefix(".").removesuffix(".resume")

    def began(self: Any, path: Path, *others: Any) -> None:
        if path.parent.name.endswith(".resume"):
            log("began", output=of_folder(path.parent), piece=int(path.stem))

    _told(vidstyle.batch.runner, "run_jobs", before=lambda *args, **named: log("loaded"))
    _told(Conversion, "run", before=lambda self, *args: log("painting", output=self._output.name, done=self._done))
    _told(SegmentWriter, "__init__", before=began)
    _told(SegmentFolder, "add", after=lambda self, number, *args: log("kept", output=of_folder(self.path), piece=number))
    _told(UnpublishedFile, "publish", after=lambda self: log("published", output=self.target.name))
    if with_cluster:
        import vidstyle.batch.cluster.scheduler

        real = vidstyle.batch.cluster.scheduler.open_worker_pool

        def open_worker_pool(*args: Any) -> Any:
            log("opening")
            engine = real(*args)
            log("opened", workers=engine.workers)
            _watch_engine(engine, log)
            return engine

        vidstyle.batch.cluster.scheduler.open_worker_pool = open_worker_pool


def _watch_engine(engine: Any, log: _Log) -> None:
    """Tells which task is given out, and what comes of it."""
    start, answers = engine.start, engine.answers
    given: dict[int, dict[str, Any]] = {}

    def watched_start(task: Any) -> int | None:
        number = start(task)
        if number is not None:
            piece = getattr(task.arguments[1], "number", None) if task.method == "paint" else None
            given[number] = {"method": task.method, "output": Path(task.video.output).name, "piece": piece}
            log("given", **given[number])
        return number

    def watched_answers() -> list[tuple[int, Any]]:
        found = answers()
        for number, said in found:
            said = getattr(said, "answer", said)  # what was logged on the way to it is of no interest here
            if type(said).__name__ != "Frames":
                log("answered", **given.pop(number), said=type(said).__name__)
        return found

    engine.start, engine.answers = watched_start, watched_answers


def main() -> None:
    log, arguments = _Log(Path(sys.argv[1])), sys.argv[2:]
    log("started")
    _watch(log, with_cluster=bool({"--workers", "--cluster"} & set(arguments)))
    from vidstyle.cli import run_command_line

    code = run_command_line(arguments)
    log("ended", code=code)
    sys.exit(code)


# --- outside


@dataclass(frozen=True)
class Process:
    """One that is known by its number and by when it started, for numbers are given anew."""

    pid: int
    started: str
    name: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        facts = _stat(pid)
        return cls(pid, facts[19], Path(_words(pid).split(b"\0")[0].decode(errors="replace")).name) if facts else None

    @property
    def lives(self) -> bool:
        facts = _stat(self.pid)
        return facts is not None and facts[19] == self.started and facts[0] != "Z"

    def kill(self) -> None:
        if self.lives:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _stat(pid: int) -> list[str] | None:
    """/proc/PID/stat behind the name: state, parent, ..., [19] is when it started."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _descendants(pid: int) -> list[int]:
    parents = {int(p.name): int(s[1]) for p in Path("/proc").iterdir() if p.name.isdigit() and (s := _stat(int(p.name)))}
    found, last = list[int](), [pid]
    while last:
        last = [child for child, parent in parents.items() if parent in last]
        found += last
    return found


def _words(pid: int) -> bytes:
    """Its command line; empty for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _is_worker(pid: int) -> bool:
    """Whether the process stylizes: one of multiprocessing's, but for its helper, or an actor of Ray's."""
    words = _words(pid)
    return words.startswith(b"ray::_Actor") or (b"spawn_main" in words and b"resource_tracker" not in words)


class Run:
    """A watched run in a process of its own."""

    def __init__(self, log: Path, arguments: list[str], cwd: Path, environment: dict[str, str]) -> None:
        self._log, self._errors = log, log.with_suffix(".err")
        self.began = time.time()
        with self._errors.open("ab") as errors:
            command = [sys.executable, "-m", "tools.bench.watched_run", str(log), *arguments]
            self._process = subprocess.Popen(
                command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True
            )

    def wait(self, seconds: float) -> int | None:
        """The exit code, if it ended within `seconds`."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def finished(self, seconds: float) -> int | None:
        """As `wait`, but a run that takes longer is killed with all that belongs to it: it hangs."""
        code = self.wait(seconds)
        if code is None:
            left_behind(self.kill(), 0)
        return code

    def kill(self) -> list[Process]:
        """kill -9; gives its processes, which should not live on without it."""
        family = [p for pid in _descendants(self._process.pid) if (p := Process.of(pid))]
        self._process.kill()
        self._process.wait()
        return family

    def kill_worker(self, chance: random.Random) -> bool:
        """kill -9 of a random worker, if there is one."""
        workers = [pid for pid in sorted(_descendants(self._process.pid)) if _is_worker(pid)]
        if not workers:
            return False
        process = Process.of(chance.choice(workers))
        if process is None:
            return False
        self.note("killed", whom="worker")
        process.kill()
        return True

    def note(self, what: str, **facts: Any) -> None:
        """Put a line of the watcher's into the log."""
        with self._log.open("ab", buffering=0) as log:
            log.write(_line(what, facts))

    @property
    def errors(self) -> str:
        """What it said so far, and the runs before it with the same log."""
        return self._errors.read_text(errors="replace")


def left_behind(family: list[Process], seconds: float = GRACE_SECONDS) -> list[str]:
    """Which of a killed run's processes live on for longer than they may; they are ended."""
    end = time.monotonic() + seconds
    while any(p.lives for p in family) and time.monotonic() < end:
        time.sleep(0.05)
    left = [p for p in family if p.lives]
    for process in left:
        process.kill()
    return [process.name for process in left]


def events(log: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log; a kill may have cut off one."""
    for line in log.read_text().splitlines() if log.exists() else ():
        with contextlib.suppress(ValueError):
            yield json.loads(line)


if __name__ == "__main__":
    main()
