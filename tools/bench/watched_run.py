"""`vidstyle ARGS` with a log of the pieces of work that it begins and stores.

    python -m tools.bench.watched_run LOG ARGS...

The program is the same, but calls of a few of its methods are logged. A line of the log is one JSON object with the time (`t`, of
`time.time`), and is complete even if the run is killed. `Run` starts such a run and kills it, or one of its workers.
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
"""The processes of a killed run must have ended after this time."""


# --- inside the run


class _Log:
    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)  # unbuffered: a line is complete before anything else happens

    def __call__(self, what: str, **facts: Any) -> None:
        self._file.write(_line(what, facts))


def _line(what: str, facts: dict[str, Any]) -> bytes:
    return (json.dumps({"t": time.time(), "what": what, **facts}) + "\n").encode()


def _logged(owner: Any, name: str, before: Callable[..., None] | None = None, after: Callable[..., None] | None = None) -> None:
    """Call `before` with the arguments of each call of `owner.name`, and `after` when it has returned."""
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

    _logged(vidstyle.batch.runner, "run_jobs", before=lambda *args, **named: log("loaded"))
    _logged(Conversion, "run", before=lambda self, *args: log("stylizing", output=self._output.name, done=self._done))
    _logged(SegmentWriter, "__init__", before=began)
    _logged(SegmentFolder, "add", after=lambda self, number, *args: log("stored", output=of_folder(self.path), piece=number))
    _logged(UnpublishedFile, "publish", after=lambda self: log("published", output=self.target.name))
    if with_cluster:
        import vidstyle.batch.cluster.scheduler

        real = vidstyle.batch.cluster.scheduler.open_worker_pool

        def open_worker_pool(styles: Any, options: Any, cluster: Any) -> Any:
            log("opening")
            pool = real(styles, options, cluster)
            log("opened", workers=pool.workers)
            _watch_pool(pool, log)
            return pool

        vidstyle.batch.cluster.scheduler.open_worker_pool = open_worker_pool


def _watch_pool(pool: Any, log: _Log) -> None:
    """Log each task that is started, and the kind of its result."""
    from vidstyle.batch.cluster.worker_pool import WithLog

    start, results = pool.start, pool.results
    tasks: dict[int, dict[str, Any]] = {}

    def watched_start(task: Any) -> int | None:
        number = start(task)
        if number is not None:
            piece = getattr(task.arguments[1], "number", None) if task.method == "stylize_chunk" else None
            tasks[number] = {"method": task.method, "output": Path(task.job.output).name, "piece": piece}
            log("task_started", **tasks[number])
        return number

    def watched_results() -> list[tuple[int, Any]]:
        found = results()
        for number, result in found:
            kind = type(result.result if isinstance(result, WithLog) else result).__name__
            if kind != "Progress":
                log("task_ended", **tasks.pop(number), result=kind)
        return found

    pool.start, pool.results = watched_start, watched_results


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
    """A process, identified by its ID and its start time, because IDs are reused."""

    pid: int
    started: str
    name: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        facts = _stat(pid)
        return cls(pid, facts[19], Path(_command_line(pid).split(b"\0")[0].decode(errors="replace")).name) if facts else None

    @property
    def is_alive(self) -> bool:
        facts = _stat(self.pid)
        return facts is not None and facts[19] == self.started and facts[0] != "Z"

    def kill(self) -> None:
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name: state, parent, ...; [19] is the start time."""
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


def _command_line(pid: int) -> bytes:
    """The command line of a process, empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _is_worker(pid: int) -> bool:
    """Whether the process is a worker: one of multiprocessing, except its resource tracker, or an actor of Ray."""
    command = _command_line(pid)
    return command.startswith(b"ray::_Actor") or (b"spawn_main" in command and b"resource_tracker" not in command)


class Run:
    """A logged run in a process of its own."""

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
        """As `wait`, but a run that takes longer is killed with all its processes."""
        code = self.wait(seconds)
        if code is None:
            left_behind(self.kill(), 0)
        return code

    def kill(self) -> list[Process]:
        """Kill the run with SIGKILL; returns its processes, which should end too."""
        family = [p for pid in _descendants(self._process.pid) if (p := Process.of(pid))]
        self._process.kill()
        self._process.wait()
        return family

    def kill_worker(self, chance: random.Random) -> bool:
        """Kill a random worker with SIGKILL, if there is one."""
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
        """Add a line to the log."""
        with self._log.open("ab", buffering=0) as log:
            log.write(_line(what, facts))

    @property
    def errors(self) -> str:
        """The stderr of this run and of earlier runs with the same log."""
        return self._errors.read_text(errors="replace")


def left_behind(family: list[Process], seconds: float = GRACE_SECONDS) -> list[str]:
    """The names of a killed run's processes that are still alive after `seconds`; they are killed."""
    end = time.monotonic() + seconds
    while any(p.is_alive for p in family) and time.monotonic() < end:
        time.sleep(0.05)
    left = [p for p in family if p.is_alive]
    for process in left:
        process.kill()
    return [process.name for process in left]


def events(log: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log; the last one may be cut off by a kill."""
    for line in log.read_text().splitlines() if log.exists() else ():
        with contextlib.suppress(ValueError):
            yield json.loads(line)


if __name__ == "__main__":
    main()
