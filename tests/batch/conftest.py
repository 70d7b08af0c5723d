"""Fixtures for runs on folders."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.folder_runs import (
    BackgroundRun,
    ObservedConversion,
)
from tests.support.runs import (
    DONE,
    STOPPED,
    CommandRunner,
    RunResult,
)
from vidstyle.cli import run_command_line


@pytest.fixture
def on_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], object]], None]:
    """Sets the function that is called with the steps of conversions."""
    monkeypatch.setattr("vidstyle.batch.runner.Conversion", ObservedConversion)
    return lambda entry: monkeypatch.setattr(ObservedConversion, "on_step", staticmethod(entry))


@pytest.fixture
def handlers() -> Iterator[None]:
    """Restores the signal handlers after the test."""
    before = [(number, signal.getsignal(number)) for number in STOPPED]
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.fixture
def command_line(handlers: None) -> Iterator[Callable[..., int]]:
    """Runs the command line in this process."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield lambda *args: run_command_line([*map(str, args)])
    root.handlers[:] = before[0]
    root.setLevel(before[1])


@pytest.fixture(scope="module")
def command_runner() -> Iterator[CommandRunner]:
    one = CommandRunner()
    yield one
    one.close()


@pytest.fixture
def run(command_runner: CommandRunner, tmp_path: Path) -> Callable[..., RunResult]:
    """Runs the command line in another process, in the folder of the test."""

    def run(*args: object, code: int = DONE, style: str = "tiny") -> RunResult:
        run_result = command_runner.run(*args, "--style", style, cwd=tmp_path)
        assert run_result.code == code, run_result
        assert "Traceback" not in run_result.stderr
        return run_result

    return run


@pytest.fixture
def launch(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[Callable[..., BackgroundRun]]:
    """Starts runs in the folder of the test and kills them after it."""
    logs, running = tmp_path_factory.mktemp("logs"), list[BackgroundRun]()

    def launch(*args: object) -> BackgroundRun:
        running.append(BackgroundRun(logs / f"{len(running)}.json", tmp_path, *args))
        return running[-1]

    yield launch
    for one in running:
        one.process.kill()
        one.process.communicate()
