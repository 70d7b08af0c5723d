"""Interrupting a conversion."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.helpers import command, environment, listing, write_clip
from vidstyle.cli.reporters import QuietReporter
from vidstyle.cli.signals import Signals, Terminated
from vidstyle.conversion.interrupts import InterruptibleReporter
from vidstyle.conversion.job import Job, JobResult
from vidstyle.core.frames import VideoInfo

STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}


def _start(clip: Path) -> subprocess.Popen[str]:
    """A conversion that takes minutes."""
    return subprocess.Popen(
        command(clip, "--style", "slow", "--progress", "json"),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # it may be ignored where the tests run
    )


def _wait_for(process: subprocess.Popen[str], event: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line)["event"] == event:
            return
    pytest.fail(f"ended before the event {event}")


@pytest.mark.parametrize("event", ["start", "progress"])
@pytest.mark.parametrize("number", STOPPED, ids=lambda number: number.name)
def test_signal_ends_the_conversion_and_leaves_nothing(tmp_path: Path, number: signal.Signals, event: str) -> None:
    clip = write_clip(tmp_path / "in.mp4", times=range(600), size=(320, 240), audio=["eng"], options={"preset": "ultrafast"})
    process = _start(clip)
    try:
        _wait_for(process, event)
        if event == "progress":
            assert any(name.startswith(".") for name in listing(tmp_path)), "expected a hidden file during the conversion"
        process.send_signal(number)
        _, rest = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == STOPPED[number]
    assert "Traceback" not in rest
    assert listing(tmp_path) == ["in.mp4"]


# --- in this process


@pytest.fixture
def signals() -> Iterator[Signals]:
    before = [(number, signal.getsignal(number)) for number in STOPPED]
    yield Signals()
    for number, handler in before:
        signal.signal(number, handler)


JOB = Job("in.mp4", Path("out.mp4"))


@pytest.mark.parametrize("number", STOPPED, ids=lambda number: number.name)
def test_first_signal_waits_for_the_current_frame_and_second_does_not(signals: Signals, number: signal.Signals) -> None:
    reporter = InterruptibleReporter(QuietReporter(), signals)
    signals.hold()
    reporter.start(JOB, VideoInfo(64, 48))
    signal.raise_signal(number)
    reporter.estimate(JOB, 10, 100)  # called by a background thread, which must not be interrupted
    with pytest.raises(KeyboardInterrupt) as stop:
        reporter.frame(JOB, 1)
    assert isinstance(stop.value, Terminated) == (number == signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_signal_waits_until_the_result_of_a_file_is_reported(signals: Signals, capsys: pytest.CaptureFixture[str]) -> None:
    signals.hold()
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        InterruptibleReporter(QuietReporter(quiet=False), signals).done(JobResult(JOB, skipped="is finished already"))
    assert "is finished already" in capsys.readouterr().err


def test_held_signal_is_raised_at_the_end_unless_there_is_an_error(signals: Signals) -> None:
    with pytest.raises(KeyboardInterrupt), signals.held():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(ValueError, match="why"), signals.held():
        raise ValueError("why")


def test_signals_act_immediately_when_not_held(signals: Signals) -> None:
    with signals.held():
        pass
    with pytest.raises(Terminated):
        signal.raise_signal(signal.SIGTERM)
