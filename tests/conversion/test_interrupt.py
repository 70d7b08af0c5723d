"""Interrupting a conversion."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.support.helpers import command, environment, events, listing, run_cli, write_clip
from tests.support.runs import has_mapped, wait_until
from vidstyle.cli.reporters import QuietReporter
from vidstyle.cli.signals import Signals, Terminated, exit_code
from vidstyle.conversion.convert import Conversion, Result
from vidstyle.conversion.interrupts import InterruptibleReporter
from vidstyle.conversion.job import Job
from vidstyle.core import cancellation
from vidstyle.core.frames import VideoInfo
from vidstyle.core.options import StyleOptions
from vidstyle.stylizers import load_stylizer

STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}


def _start(clip: Path, *args: str, hangup: signal.Handlers = signal.SIG_DFL) -> subprocess.Popen[str]:
    """A conversion, with SIGHUP handled so before."""

    def set_handlers() -> None:  # the signals may be ignored where the tests run
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, hangup)

    return subprocess.Popen(
        command(clip, "--progress", "json", *args),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=set_handlers,
    )


@pytest.fixture
def long_clip(tmp_path: Path) -> Path:
    """A clip that takes minutes in the style `slow`."""
    return write_clip(tmp_path / "in.mp4", times=range(300), size=(160, 120), audio=["eng"], options={"preset": "ultrafast"})


def _wait_for(process: subprocess.Popen[str], event: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line)["event"] == event:
            return
    pytest.fail(f"ended before the event {event}")


@pytest.mark.parametrize(
    ("number", "event"),
    [(signal.SIGINT, "start"), (signal.SIGTERM, "progress"), (signal.SIGHUP, "progress")],
)
def test_signal_ends_the_conversion_and_leaves_nothing(
    long_clip: Path, tmp_path: Path, number: signal.Signals, event: str
) -> None:
    process = _start(long_clip, "--style", "slow")
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


@pytest.mark.parametrize("resume", [False, True], ids=["", "resume"])
def test_no_number_of_signals_interrupts_cleaning_up(long_clip: Path, tmp_path: Path, resume: bool) -> None:
    process = _start(long_clip, "--style", "slow", *["--resume"] * resume)
    try:
        _wait_for(process, "start")
        assert process.stderr is not None
        reader = ThreadPoolExecutor(1)
        rest = reader.submit(process.stderr.read)
        while process.poll() is None:  # in every phase of the end, that of the interpreter included
            for number in STOPPED:
                process.send_signal(number)
            time.sleep(0.002)
    finally:
        process.kill()
    assert process.returncode in STOPPED.values()
    assert [event for event in events(rest.result()) if event["event"] not in ("progress", "warning")] == [
        {"v": 1, "event": "exit", "code": process.returncode}
    ]
    assert [name for name in listing(tmp_path) if ".resume" not in name] == ["in.mp4"]


def test_signal_before_there_is_anything_to_clean_up_ends_the_process_at_once(clip: Path) -> None:
    """While it reads a list of inputs, which may never end."""
    process = subprocess.Popen(
        command("-a", "-", "--progress", "json"), env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: has_mapped(process, "libavcodec"), process, "the imports")
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert events(process.stderr.read()) == [{"v": 1, "event": "exit", "code": 143}]
        assert process.wait() == 143
    finally:
        process.kill()
        process.communicate()


def test_hangup_that_is_ignored_stays_ignored(clip: Path) -> None:
    """As with `nohup`."""
    process = _start(clip, "--style", "tiny", hangup=signal.SIG_IGN)
    try:
        _wait_for(process, "start")
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert clip.with_name("in.tiny.mp4").exists()


# --- in this process


@pytest.fixture
def signals() -> Iterator[Signals]:
    before = [(number, signal.getsignal(number)) for number in STOPPED]
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # may be ignored where the tests run
    yield Signals()
    cancellation.allow_again()
    for number, handler in before:
        signal.signal(number, handler)


JOB = Job("in.mp4", Path("out.mp4"))


@pytest.mark.parametrize("number", STOPPED, ids=lambda number: number.name)
def test_signals_wait_for_the_current_frame(signals: Signals, number: signal.Signals) -> None:
    reporter = InterruptibleReporter(QuietReporter(), signals)
    signals.hold()
    reporter.start(JOB, VideoInfo(64, 48))
    for _ in range(3):
        signal.raise_signal(number)
    signal.raise_signal(signal.SIGINT)
    reporter.estimate(JOB, 10, 100)  # called by a background thread, which must not be interrupted
    with pytest.raises(KeyboardInterrupt) as stop:
        reporter.frame(JOB, 1)
    assert exit_code(stop.value) == STOPPED[number]


def test_second_signal_does_not_wait_for_the_network(signals: Signals) -> None:
    stylizer = load_stylizer(StyleOptions("slow", device="cpu"))
    image = np.zeros((1500, 1500, 3), np.uint8)  # takes seconds
    signals.hold()
    with ThreadPoolExecutor(1) as executor:
        run = executor.submit(stylizer.stylize, [image])
        while not cancellation._state.running:
            time.sleep(0.001)
        signal.raise_signal(signal.SIGTERM)
        assert not run.done()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Terminated):
            run.result()
    cancellation.allow_again()
    stylizer.stylize([image[:64, :64]])


def test_signal_after_the_last_frame_comes_too_late(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = Conversion.publish

    def late(self: Conversion) -> Result:
        os.kill(os.getpid(), signal.SIGTERM)
        return publish(self)

    monkeypatch.setattr(Conversion, "publish", late)
    done = run_cli(clip, "--style", "tiny")
    assert done.returncode == 0
    assert "interrupted" not in done.stderr
    assert listing(clip.parent) == ["in.mp4", "in.tiny.mp4"]
