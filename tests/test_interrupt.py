"""Stopping a conversion half way."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from helpers import command, environment, listing, write_clip

STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}


def _start(clip: Path) -> subprocess.Popen[str]:
    """A conversion that takes minutes."""
    return subprocess.Popen(
        command(clip, "--style", "slow", "--progress", "json"),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # whoever runs the tests may ignore it
    )


def _wait_for(process: subprocess.Popen[str], event: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line)["event"] == event:
            return
    pytest.fail(f"ended before the event {event}")


@pytest.mark.parametrize("event", ["start", "progress"])
@pytest.mark.parametrize("number", STOPPED, ids=lambda number: number.name)
def test_a_signal_ends_it_and_leaves_nothing(tmp_path: Path, number: signal.Signals, event: str) -> None:
    clip = write_clip(tmp_path / "in.mp4", times=range(600), size=(320, 240), sound=["eng"], options={"preset": "ultrafast"})
    process = _start(clip)
    try:
        _wait_for(process, event)
        if event == "progress":
            assert any(name.startswith(".") for name in listing(tmp_path)), "expected a hidden file while it is written"
        process.send_signal(number)
        _, rest = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == STOPPED[number]
    assert "Traceback" not in rest
    assert listing(tmp_path) == ["in.mp4"]
