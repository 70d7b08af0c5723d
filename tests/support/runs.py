"""Command lines of vidstyle in processes with limits on time and memory.

Run as a program this is a `CommandRunner`: it takes command lines on stdin, one JSON object per line, and runs each in this one
process, which saves the second of starting up. A crash or a hang is due to the last command line.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import queue
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.support.helpers import command, environment

T = TypeVar("T")

DONE, FAILED, USAGE, DAMAGE, MODEL, DISK = 0, 1, 2, 3, 4, 5
STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}
SECONDS = 150
DATA_LIMIT = 4 << 30
"""For RLIMIT_DATA, which counts allocated memory; RLIMIT_AS would also count the address space that threads only reserve."""
PEAK_MIB = 1000
"""More than any clip of 64x48 may need, whatever size a damaged header claims."""
FRAMES = 48
SIZE = (64, 48)


@dataclass(frozen=True)
class RunResult:
    """How a run ended. `code` is None for a hang and negative for a crash, as in subprocess."""

    code: int | None
    stdout: str
    stderr: str
    peak_mib: float = 0.0
    args: tuple[str, ...] = ()


def run_limited(
    *args: object, cwd: Path, seconds: float = SECONDS, file_size: int | None = None, env: dict[str, str] | None = None
) -> RunResult:
    """Run `vidstyle ARGS` in a process of its own, with limits on time, memory and, optionally, the size of its files."""
    process = start(*args, cwd=cwd, file_size=file_size, env=env)
    return finish(process, seconds)


def start(
    *args: object,
    cwd: Path,
    file_size: int | None = None,
    env: dict[str, str] | None = None,
    limits: Mapping[int, int] | None = None,
    closed: Sequence[int] = (),
    **options: Any,
) -> subprocess.Popen[str]:
    """Start `vidstyle ARGS`, with the limits of `run_limited`, those of `limits` (RLIMIT_X -> value), and without the
    descriptors `closed`."""

    def limit() -> None:
        # The process that runs the tests may ignore them: SIGINT in the background, SIGHUP under nohup.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_DATA, (DATA_LIMIT, DATA_LIMIT))
        if file_size is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
        for number, value in (limits or {}).items():
            resource.setrlimit(number, (value, value))
        for descriptor in closed:
            os.close(descriptor)

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    # The fault handler prints where a crash or a hang happened.
    variables = {**environment(), "PYTHONFAULTHANDLER": "1", **(env or {})}
    return subprocess.Popen(command(*args), cwd=cwd, env=variables, text=True, preexec_fn=limit, **pipes)


def finish(process: subprocess.Popen[str], seconds: float = SECONDS) -> RunResult:
    """Wait for the end; a run that takes longer than `seconds` counts as a hang, and prints its stack traces."""
    command_line: Any = process.args
    args = tuple(str(x) for x in command_line[3:])
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        stdout, stderr = process.communicate()
        return RunResult(None, stdout or "", stderr or "", args=args)
    return RunResult(process.returncode, stdout or "", stderr or "", args=args)


class CommandRunner:
    """A process that runs one command line after the other; it is restarted after a crash or a hang."""

    def __init__(self, env: dict[str, str] | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="runner")
        self._env = env or {}
        self._process: subprocess.Popen[str] | None = None

    def run(self, *args: object, cwd: Path, seconds: float = SECONDS) -> RunResult:
        """As `run_limited`; the limits on time and memory hold for each run separately."""
        if self._process is None or self._process.poll() is not None:
            env = {**environment(), "PYTHONFAULTHANDLER": "1", **self._env}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.runs"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=env,
                start_new_session=True,
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        out, err = (Path(self._folder.name, name) for name in ("out", "err"))
        arguments = tuple(str(x) for x in args)
        job = {"args": arguments, "cwd": str(cwd), "seconds": seconds, "out": str(out), "err": str(err)}
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        code, peak = None, 0.0
        if line:
            reply = json.loads(line)
            code, peak = reply["code"], reply["peak_mib"]
        else:
            process.wait()
            process.stdin.close()
            process.stdout.close()
        stdout, stderr = (path.read_text(errors="replace") if path.exists() else "" for path in (out, err))
        if not line:
            code = None if "Timeout (" in stderr else process.returncode or -1  # an end without a reply is a crash too
        return RunResult(code, stdout, stderr, peak, arguments)

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
        self._folder.cleanup()


class CommandRunners:
    """Several runners that work concurrently."""

    def __init__(self, count: int = 2) -> None:
        self._all = [CommandRunner() for _ in range(count)]
        self._idle: queue.SimpleQueue[CommandRunner] = queue.SimpleQueue()
        for runner in self._all:
            self._idle.put(runner)
        self._pool = ThreadPoolExecutor(count)

    def map(self, work: Callable[[CommandRunner, Any], T], jobs: Sequence[Any]) -> Iterator[T]:
        """The results of `work(runner, job)`, in the order of `jobs`."""

        def one(job: Any) -> T:
            runner = self._idle.get()
            try:
                return work(runner, job)
            finally:
                self._idle.put(runner)

        return self._pool.map(one, jobs)

    def close(self) -> None:
        self._pool.shutdown()
        for runner in self._all:
            runner.close()


def _runner_main() -> None:
    from vidstyle.cli import run_command_line

    resource.setrlimit(resource.RLIMIT_DATA, (DATA_LIMIT, DATA_LIMIT))
    replies = os.fdopen(os.dup(1), "w")
    stdout, stderr = os.dup(1), os.dup(2)
    for line in sys.stdin:
        job = json.loads(line)
        # Redirect the descriptors, not only Python's streams: FFmpeg and the encoders write to them.
        for path, descriptor in ((job["out"], 1), (job["err"], 2)):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            os.dup2(handle, descriptor)
            os.close(handle)
        os.chdir(job["cwd"])
        _reset_peak()
        faulthandler.dump_traceback_later(job["seconds"], exit=True, file=2)
        try:
            code = run_command_line(job["args"])
        except BaseException:  # as the interpreter would do
            traceback.print_exc()
            code = 1
        faulthandler.cancel_dump_traceback_later()
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.chdir("/")
        replies.write(json.dumps({"code": code, "peak_mib": _peak_mib()}) + "\n")
        replies.flush()


def _reset_peak() -> None:
    with contextlib.suppress(OSError):  # on other systems than Linux the peak is that of all runs together
        Path("/proc/self/clear_refs").write_text("5")


def _peak_mib() -> float:
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], what: str) -> None:
    """Return as soon as `condition()` holds; fail if the process ends before, or after `SECONDS`."""
    end = time.monotonic() + SECONDS
    while not condition():
        if process.poll() is not None and not condition():
            raise AssertionError(f"ended with {process.returncode} before: {what}")
        if time.monotonic() > end:
            raise AssertionError(f"timed out after {SECONDS} s: {what}")
        time.sleep(0.001)


def has_mapped(process: subprocess.Popen[str], library: str) -> bool:
    """Whether the process has begun to load a library, which shows how far it has started up."""
    try:
        return library in Path(f"/proc/{process.pid}/maps").read_text()
    except OSError:
        return False


if __name__ == "__main__":
    _runner_main()
