"""Standard streams that are closed, full, or that nobody reads."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.helpers import command, environment, frames_of, listing

STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}


def run_with(states: dict[str, str], *args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line with streams that are `closed`, `full` or `unread`; the others of the outputs are captured."""
    closed = [STREAMS[name] for name, state in states.items() if state == "closed"]

    def close() -> None:
        for handle in closed:
            os.close(handle)

    with ExitStack() as stack:
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        for name, state in states.items():
            options[name] = None
            if state == "full":
                options[name] = stack.enter_context(Path("/dev/full").open("w"))
            elif state == "unread":
                reading, options[name] = os.pipe()
                os.close(reading)
                stack.callback(os.close, options[name])
        return subprocess.run(
            command(*args), cwd=cwd, env=environment(), text=True, timeout=120, preexec_fn=close, check=False, **options
        )


@pytest.mark.parametrize(
    "states",
    [
        {"stderr": "closed"},
        {"stderr": "full"},
        {"stderr": "unread"},
        {"stdin": "closed", "stdout": "closed", "stderr": "closed"},
    ],
    ids=lambda states: " ".join(f"{name}-{state}" for name, state in states.items()),
)
def test_messages_that_nobody_can_read_cost_nothing(clip: Path, states: dict[str, str]) -> None:
    done = run_with(states, clip.name, "--style", "tiny", cwd=clip.parent)
    assert done.returncode == 0
    assert not done.stdout
    assert listing(clip.parent) == ["in.mp4", "in.tiny.mp4"]
    assert len(frames_of(clip.parent / "in.tiny.mp4")) == 12


def test_error_that_nobody_can_read_has_its_exit_code(tmp_path: Path) -> None:
    assert run_with({"stdout": "full", "stderr": "full"}, "none.mp4", cwd=tmp_path).returncode == 1


@pytest.mark.parametrize(
    ("args", "state", "why"),
    [
        (["styles"], "full", "No space left on device"),
        (["styles", "--json"], "closed", "it is closed"),
        (["--help"], "full", "No space left on device"),
    ],
)
def test_results_that_cannot_be_written_are_an_error(args: list[str], state: str, why: str) -> None:
    done = run_with({"stdout": state}, *args)
    assert (done.returncode, done.stderr) == (5, f"error: could not write to stdout ({why})\n")


def test_results_that_nobody_reads_end_the_command_quietly() -> None:
    """As with `| head -1`, where a shell reports 141 of other programs too."""
    done = run_with({"stdout": "unread"}, "styles")
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(("state", "code"), [("full", 5), ("unread", 0)])
def test_report_that_cannot_be_written_does_not_cost_the_output(clip: Path, state: str, code: int) -> None:
    done = run_with({"stdout": state}, clip, "--style", "tiny", "--report")
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert ("error: could not write to stdout" in done.stderr) == (code == 5)
    assert clip.with_name("in.tiny.mp4").exists()
