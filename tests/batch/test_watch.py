"""Watched folders: which files are yielded, and when."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import pytest

from tests.support.helpers import environment
from vidstyle.batch.planner import Planner
from vidstyle.batch.watch import MIN_SCAN_INTERVAL_SECONDS, RESCAN_SECONDS, SETTLE_SECONDS, watch_folders
from vidstyle.core.errors import MissingExtraError
from vidstyle.core.options import Selection

DEADLINE_SECONDS = 30.0

Script = Mapping[float, Callable[[], object]]
"""What happens in a folder, by its time in seconds."""


class Inbox:
    """A folder with a clock of its own, and the batches that `watch_folders` yields from it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now, self.scans = folder, 0.0, 0
        self.checks: list[float] = []

    def write(self, name: str, size: int = 10, when: int = 1) -> None:
        (self.folder / name).write_bytes(b"x" * size)
        os.utime(self.folder / name, (when, when))

    def find(self) -> list[str]:
        self.scans += 1
        return sorted(str(p) for p in self.folder.iterdir())

    def watch(self, script: Script, until: float = 20, notified: bool = True) -> list[tuple[float, list[str]]]:
        """The time and the files of each batch. `script`: what happens in the folder, by its time in seconds; `notified`: whether
        the system notifies of it."""

        def changes() -> Generator[bool, None, None]:
            while self.now < until:
                self.now += 0.5
                done = script.get(self.now)
                if done is not None:
                    done()
                yield notified and done is not None

        batches = watch_folders(
            [], self.find, check=lambda: self.checks.append(self.now), clock=lambda: self.now, changes=changes()
        )
        return [(self.now, [Path(path).name for path in batch]) for batch in batches]


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path)


def names(batches: list[tuple[float, list[str]]]) -> list[list[str]]:
    return [batch for _, batch in batches]


def test_existing_files_come_first(inbox: Inbox) -> None:
    inbox.write("a.mp4")
    inbox.write("b.mp4")
    batches = inbox.watch({5: lambda: inbox.write("c.mp4")})
    assert names(batches) == [["a.mp4", "b.mp4"], ["c.mp4"]]
    assert batches[1][0] >= 5 + SETTLE_SECONDS


def test_file_is_yielded_when_it_has_stopped_growing(inbox: Inbox) -> None:
    def copied(size: int) -> Callable[[], None]:
        return lambda: inbox.write("a.mp4", size, when=size)

    batches = inbox.watch({second: copied(second) for second in range(3, 10)})
    assert names(batches) == [["a.mp4"]]
    assert 9 + SETTLE_SECONDS <= batches[0][0] <= 9 + SETTLE_SECONDS + 2 * MIN_SCAN_INTERVAL_SECONDS


def test_preallocated_file_is_yielded_when_it_is_no_longer_written(inbox: Inbox) -> None:
    def filled(second: int) -> Callable[[], None]:
        return lambda: inbox.write("a.mp4", when=second)

    batches = inbox.watch({second: filled(second) for second in range(3, 10)})
    assert names(batches) == [["a.mp4"]]
    assert batches[0][0] >= 9 + SETTLE_SECONDS


def test_file_does_not_wait_for_another(inbox: Inbox) -> None:
    def copied(size: int) -> Callable[[], None]:
        return lambda: inbox.write("slow.mp4", size, when=size)

    script: Script = {second: copied(second) for second in range(3, 12)}
    batches = inbox.watch({**script, 4: lambda: inbox.write("quick.mp4")})
    assert names(batches) == [["quick.mp4"], ["slow.mp4"]]
    assert batches[0][0] < 11


def test_empty_file_is_not_yielded_until_it_has_content(inbox: Inbox) -> None:
    inbox.write("a.mp4", 0)
    batches = inbox.watch({12: lambda: inbox.write("a.mp4", 10, when=2)})
    assert names(batches) == [["a.mp4"]]
    assert batches[0][0] >= 12


def test_file_deleted_before_it_was_complete_is_not_yielded(inbox: Inbox) -> None:
    script: Script = {
        2: lambda: inbox.write("a.mp4"),
        3: lambda: (inbox.folder / "a.mp4").unlink(),
        4: lambda: inbox.write("b.mp4"),
    }
    assert names(inbox.watch(script)) == [["b.mp4"]]


def test_file_that_reappears_must_settle_again(inbox: Inbox) -> None:
    script: Script = {
        2: lambda: inbox.write("a.mp4"),
        3: lambda: (inbox.folder / "a.mp4").unlink(),
        8: lambda: inbox.write("a.mp4"),
    }
    batches = inbox.watch(script)
    assert names(batches) == [["a.mp4"]]
    assert batches[0][0] >= 8 + SETTLE_SECONDS


def test_file_that_vanishes_during_the_scan_is_ignored(inbox: Inbox) -> None:
    find = inbox.find
    inbox.find = lambda: [str(inbox.folder / "ghost.mp4"), *find()]  # type: ignore[method-assign]
    inbox.write("a.mp4")
    assert names(inbox.watch({})) == [["a.mp4"]]


def test_replaced_file_is_yielded_again(inbox: Inbox) -> None:
    inbox.write("a.mp4")
    assert names(inbox.watch({8: lambda: inbox.write("a.mp4", when=8), 14: lambda: inbox.write("b.mp4")})) == [
        ["a.mp4"],
        ["a.mp4"],
        ["b.mp4"],
    ]


def test_file_replaced_while_others_were_stylized_is_yielded_again(inbox: Inbox) -> None:
    inbox.write("a.mp4")

    def changes() -> Generator[bool, None, None]:
        for _ in range(20):
            inbox.now += 1
            yield False

    batches = watch_folders([], inbox.find, clock=lambda: inbox.now, changes=changes())
    assert len(next(batches)) == 1
    inbox.write("a.mp4", when=5)
    inbox.now += 3600  # of stylizing
    assert len(next(batches)) == 1
    assert list(batches) == []


def test_files_that_come_back_unchanged_are_not_yielded_again(inbox: Inbox, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As on a network share that was disconnected for a while."""
    inbox.write("a.mp4")
    away = tmp_path_factory.mktemp("away") / "a.mp4"
    script: Script = {
        6: lambda: os.rename(inbox.folder / "a.mp4", away),
        9: lambda: os.rename(away, inbox.folder / "a.mp4"),
    }
    assert names(inbox.watch(script)) == [["a.mp4"]]


def test_files_are_found_without_notifications(inbox: Inbox) -> None:
    batches = inbox.watch({3: lambda: inbox.write("a.mp4")}, until=3 * RESCAN_SECONDS, notified=False)
    assert names(batches) == [["a.mp4"]]


def test_quiet_folder_is_rarely_scanned(inbox: Inbox) -> None:
    inbox.write("empty.mp4", 0)
    inbox.watch({}, until=100 * RESCAN_SECONDS)
    assert inbox.scans <= 101


def test_busy_folder_is_not_scanned_all_the_time(inbox: Inbox) -> None:
    def slow_find() -> list[str]:
        inbox.now += 3
        return find()

    find, inbox.find = inbox.find, slow_find  # type: ignore[method-assign]
    inbox.watch({n / 2: lambda: None for n in range(2000)}, until=1000)
    assert 10 <= inbox.scans <= 40


def test_check_can_end_the_watching(inbox: Inbox) -> None:
    class Stop(KeyboardInterrupt):
        pass

    def check() -> None:
        if inbox.now > 3:
            raise Stop

    closed = []

    def changes() -> Generator[bool, None, None]:
        try:
            while True:
                inbox.now += 1
                yield False
        finally:
            closed.append(True)

    with pytest.raises(Stop):
        next(watch_folders([], inbox.find, check=check, clock=lambda: inbox.now, changes=changes()))
    assert closed == [True]


def test_check_is_called_at_every_tick(inbox: Inbox) -> None:
    inbox.watch({}, until=20)
    assert len(inbox.checks) == 40


def test_without_watchfiles_an_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(MissingExtraError, match=r"--watch needs .*vidstyle\[watch\]"):
        watch_folders(["in"], list)


# With a real folder and the real system


def within_deadline() -> Callable[[], None]:
    end = time.monotonic() + DEADLINE_SECONDS

    def check() -> None:
        assert time.monotonic() < end, "nothing was yielded"

    return check


@pytest.fixture(params=["notifications", "polling"])
def notification(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "polling":
        monkeypatch.setenv("WATCHFILES_FORCE_POLLING", "1")


@pytest.mark.usefixtures("notification")
def test_new_files_in_a_real_folder(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    planner = Planner([str(folder)], ["tiny"], None, Selection(recursive=True))
    (folder / "a.mp4").write_bytes(b"x")
    batches = watch_folders(
        planner.folders, planner.files_in_folders, recursive=True, check=within_deadline(), settle_seconds=0.1
    )
    try:
        assert next(batches) == [str(folder / "a.mp4")]
        (folder / "a.tiny.mp4").write_bytes(b"stylized")
        (folder / "notes.txt").write_bytes(b"x")
        (folder / "day1").mkdir()
        (folder / "day1" / "b.jpg").write_bytes(b"x")
        assert next(batches) == [str(folder / "day1" / "b.jpg")]
        (tmp_path / "c.mp4").write_bytes(b"x")
        os.rename(tmp_path / "c.mp4", folder / "day1" / "c.mp4")
        assert next(batches) == [str(folder / "day1" / "c.mp4")]
    finally:
        batches.close()


WAIT = """
import signal, sys
from vidstyle.batch.planner import Planner
from vidstyle.batch.watch import watch_folders
from vidstyle.cli.signals import Signals
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # may be ignored, under nohup
planner, signals = Planner([sys.argv[1]], ["tiny"]), Signals()
signals.hold()
try:
    for batch in watch_folders(planner.folders, planner.files_in_folders, check=signals.check, settle_seconds=0.1):
        print(len(batch), flush=True)
except BaseException as stop:
    print(type(stop).__name__)
"""


@pytest.mark.parametrize(
    ("number", "kind"),
    [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "Terminated"), (signal.SIGHUP, "Terminated")],
)
def test_signals_end_the_watching(tmp_path: Path, number: int, kind: str) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    with subprocess.Popen(
        [sys.executable, "-c", WAIT, tmp_path], env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        process.send_signal(number)
        assert process.stdout.read() == f"{kind}\n"
    assert process.returncode == 0


def test_names_that_are_not_utf8_are_yielded(tmp_path: Path) -> None:
    planner = Planner([str(tmp_path)], ["tiny"])
    batches = watch_folders(planner.folders, planner.files_in_folders, check=within_deadline(), settle_seconds=0.1)
    try:
        (tmp_path / "a.mp4").write_bytes(b"x")
        next(batches)
        for name in (b"k\xfcste.mp4", b"b.mp4"):
            path = os.fsencode(tmp_path) + b"/" + name
            Path(os.fsdecode(path)).write_bytes(b"x")
            assert [os.fsencode(found) for found in next(batches)] == [path]
    finally:
        batches.close()


@pytest.mark.parametrize("failure", ["no more watches", "a folder's name that is not UTF-8"])
def test_folder_is_scanned_where_watching_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failure: str
) -> None:
    folder = tmp_path / "in"
    if failure == "no more watches":

        def refuse(*args: object, **options: object) -> Generator[set[object], None, None]:
            raise OSError(28, "OS file watch limit reached")
            yield set()

        monkeypatch.setattr("watchfiles.watch", refuse)
    else:
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfc"))
    folder.mkdir()
    monkeypatch.setattr("vidstyle.batch.watch.RESCAN_SECONDS", 0.5)
    planner = Planner([str(folder)], ["tiny"])
    batches = watch_folders(planner.folders, planner.files_in_folders, check=within_deadline(), settle_seconds=0.1)
    try:
        (folder / "a.mp4").write_bytes(b"x")
        assert next(batches) == [str(folder / "a.mp4")]
        (folder / "b.mp4").write_bytes(b"x")
        assert next(batches) == [str(folder / "b.mp4")]
    finally:
        batches.close()
    assert "could not watch for changes" in caplog.text
