"""`vidstyle live` in a real window on a virtual screen: keys typed, the mouse dragged, screenshots taken."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.helpers import command, environment, events, frames_of, imread, run_cli, time_of
from tests.support.mjpeg_camera import MjpegCamera, encoded, pattern
from tests.support.virtual_screen import virtual_screen
from vidstyle.cli import run_command_line
from vidstyle.core.errors import DeviceError
from vidstyle.core.frames import Pixels
from vidstyle.live.window import check_display
from vidstyle.styles.catalog import all_styles

TOOLS = ("Xvfb", "openbox", "xdotool", "import")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
needs_screen = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)} (Debian: xvfb openbox xdotool imagemagick)")
SIZE = (320, 180)
OPTIONS = ("--allow-network", "--style", "tiny", "--microphone", "none")


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A virtual screen of its own, with a window manager, without which nothing can be closed or fill the screen."""
    with virtual_screen(800, 600) as name:
        manager = subprocess.Popen(["openbox"], env=environment(DISPLAY=name), stderr=subprocess.DEVNULL)
        yield name
        manager.terminate()
        manager.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[MjpegCamera]:
    with closing(MjpegCamera(encoded([pattern(i, *SIZE) for i in range(60)]), fps=25)) as camera:
        yield camera


class Window:
    """A running `vidstyle live`, and its window."""

    def __init__(self, display: str, folder: Path, *args: object, program: Sequence[str] = ()) -> None:
        self._env = environment(DISPLAY=display)
        self._folder = folder
        args_ = ["live", *map(str, args), "--progress", "json", "--folder", str(folder), "--device", "cpu"]
        self.process = subprocess.Popen(
            [*program, *args_] if program else command(*args_),
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # the process that runs the tests may ignore it
        )
        self.events: list[dict[str, Any]] = []
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.wait_for("first")
        found = self._xdotool("search", "--sync", "--onlyvisible", "--name", "^vidstyle$").split()
        self.id = found[-1]

    def _xdotool(self, *args: str) -> str:
        done = subprocess.run(["xdotool", *args], env=self._env, capture_output=True, text=True, timeout=20)
        return done.stdout

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line)

    def listen(self) -> None:
        """Parse the lines read so far; every line must be an event."""
        while self._lines:
            self.events.append(json.loads(self._lines.pop(0)))

    def until(self, condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while True:
            ended = self.process.poll() is not None
            self.listen()
            if condition():
                return
            assert not ended, f"ended before {what}: {self.events}"
            assert time.monotonic() < deadline, f"{what} did not happen: {self.events[-3:]}"
            time.sleep(0.02)

    def wait_for(self, event: str, **facts: object) -> None:
        """Wait for the next event of this kind with these fields."""
        begin = len(self.events)
        seen = lambda: [t for t in self.events[begin:] if t["event"] == event and facts.items() <= t.items()]  # noqa: E731
        self.until(seen, f"{event} {facts}")

    def note(self, text: str) -> str:
        """The text of a note that contains `text`, reported at any time."""
        notes = lambda: [t["message"] for t in self.events if t["event"] == "note" and text in t["message"]]  # noqa: E731
        self.until(notes, text)
        return str(notes()[-1])

    def keys(self, *names: str) -> None:
        self._xdotool("windowactivate", "--sync", self.id, "key", "--delay", "30", *names)

    def mouse(self, *args: str) -> None:
        self._xdotool(*args)

    def image(self, window: str | None = None) -> Pixels:
        """A screenshot of the window (or "root")."""
        path = self._folder / "screenshot.png"
        subprocess.run(["import", "-silent", "-window", window or self.id, str(path)], env=self._env, check=True, timeout=20)
        return np.asarray(cv2.cvtColor(imread(path), cv2.COLOR_BGR2RGB), np.uint8)

    def quit(self, how: Callable[[], object] | None = None) -> int:
        (how or (lambda: self.keys("q")))()
        code = self.process.wait(30)
        self._reader.join(10)
        self.listen()
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def window(display: str, server: MjpegCamera, tmp_path: Path) -> Iterator[Window]:
    with closing(Window(display, tmp_path, server.url, *OPTIONS)) as shown:
        yield shown


def difference(a: Pixels, b: Pixels) -> float:
    return float(np.abs(a.astype(float) - b).mean())


CORNER = np.s_[60:120, :40]
"""There is no text here, and the disc stays in the middle."""
OTHER_CORNER = np.s_[110:150, -40:-10]
ORIGINAL = pattern(0, *SIZE)


@needs_screen
def test_the_window_shows_a_moving_stylized_image_of_the_cameras_size(window: Window) -> None:
    first = window.image()
    assert first.shape == (SIZE[1], SIZE[0], 3)
    assert difference(first[CORNER], ORIGINAL[CORNER]) > 15
    window.until(lambda: difference(window.image(), first) > 1, "movement")
    assert window.quit() == 0
    assert [t["event"] for t in window.events[-2:]] == ["total", "exit"]


@needs_screen
def test_keys_work_in_the_window(window: Window) -> None:
    stylized = window.image()
    window.keys("h")
    window.until(lambda: difference(window.image()[20:160, 60:260], stylized[20:160, 60:260]) > 25, "the help")
    window.keys("h", *["Down"] * 10)
    window.until(lambda: difference(window.image()[CORNER], ORIGINAL[CORNER]) < 5, "the original at strength 0")
    window.keys("m")
    window.until(lambda: difference(window.image()[CORNER], ORIGINAL[:, ::-1][CORNER]) < 5, "the mirror")
    window.keys("m", *["Up"] * 10)
    window.until(lambda: difference(window.image()[CORNER], stylized[CORNER]) < 8, "the stylized image again")
    window.keys("Home", "Insert", "Prior", "Menu", "F1", "Shift_L")
    window.wait_for("progress", style="tiny")
    first, second = sorted(all_styles())[:2]
    steps = ("n", "udnie"), ("p", "tiny"), ("1", first), ("Right", f"{first} 90% + {second} 10%"), ("Left", first)
    for names, style in steps:
        window.keys(names)
        window.wait_for("progress", style=style)
    window.keys("Down", "c", "space")
    window.wait_for("progress", style=f"{first}, strength 90%, own colours, frozen")
    window.keys("space", "minus")
    window.wait_for("progress", height=168)
    window.keys("plus")
    window.wait_for("progress", height=180)
    assert window.quit(lambda: window.keys("Escape")) == 0


@needs_screen
def test_it_starts_with_the_settings_of_the_command_line(display: str, server: MjpegCamera, tmp_path: Path) -> None:
    options = (
        "--allow-network",
        "--microphone",
        "none",
        "--style",
        "tiny:0.5,udnie:0.5",
        "--strength",
        0,
        "--stroke-scale",
        2,
        "--preserve-color",
    )
    with closing(Window(display, tmp_path, server.url, *options)) as window:
        window.until(lambda: difference(window.image()[CORNER], ORIGINAL[CORNER]) < 5, "the original at strength 0")
        window.wait_for("progress", style="tiny:0.5,udnie:0.5, strength 0%, own colours")
        assert window.quit() == 0


def test_live_rejects_a_timeline(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["live", "nowhere.mjpeg", "--style", "0:tiny,5:udnie"]) == 2
    assert "a live view has no timeline" in capfd.readouterr().err


@needs_screen
def test_the_split_line_is_dragged_with_the_mouse(window: Window) -> None:
    window.keys("o")
    window.until(lambda: difference(window.image()[CORNER], ORIGINAL[CORNER]) < 5, "the original on the left")
    assert difference(window.image()[OTHER_CORNER], ORIGINAL[OTHER_CORNER]) > 15
    window.mouse("mousemove", "--window", window.id, "160", "90", "mousedown", "1")
    window.mouse("mousemove", "--window", window.id, "240", "90")
    window.mouse("mousemove", "--window", window.id, "318", "90", "mouseup", "1")
    window.until(lambda: difference(window.image()[OTHER_CORNER], ORIGINAL[OTHER_CORNER]) < 8, "the original on the right")
    assert window.quit() == 0


@needs_screen
def test_full_screen_and_back(window: Window) -> None:
    window.keys("f")
    window.until(lambda: window.image().shape[1] == 800, "full screen")
    window.keys("f")
    window.until(lambda: window.image().shape[1] < 800, "a window again")
    assert window.quit() == 0


@needs_screen
def test_a_snapshot_is_saved(window: Window, tmp_path: Path) -> None:
    window.keys("s")
    path = Path(window.note("saved ").removeprefix("saved "))
    assert path.parent == tmp_path
    saved = imread(path)
    assert saved.shape == (SIZE[1], SIZE[0], 3)
    assert window.quit() == 0


@needs_screen
@pytest.mark.parametrize("ending", ["r", "q", "SIGINT", "SIGTERM", "closed"])
def test_a_recording_is_finished(window: Window, ending: str) -> None:
    window.keys("r")
    path = Path(window.note("recording to ").removeprefix("recording to "))
    window.until(lambda: path.exists() and path.stat().st_size > 0, "the file")
    for _ in range(3):
        window.wait_for("progress")
    ends: dict[str, tuple[Callable[[], object], int]] = {
        "q": (lambda: window.keys("q"), 0),
        "SIGINT": (lambda: window.process.send_signal(signal.SIGINT), 130),
        "SIGTERM": (lambda: window.process.send_signal(signal.SIGTERM), 143),
        "closed": (lambda: window.mouse("windowactivate", "--sync", window.id, "key", "alt+F4"), 0),
    }
    if ending == "r":
        window.keys("r")
        window.note("recorded ")
        assert window.quit() == 0
    else:
        how, code = ends[ending]
        assert window.quit(how) == code
    assert "without audio" in window.note("recorded ")
    frames = frames_of(path)
    assert len(frames) > 20
    seconds = float(time_of(frames[-1]))
    assert len(frames) / seconds == pytest.approx(25, rel=0.35)
    assert (frames[0].width, frames[0].height) == SIZE


@needs_screen
def test_the_window_process_never_imports_av(display: str, server: MjpegCamera, tmp_path: Path) -> None:
    """PyAV imported before OpenCV's window may hang `cv2.imshow`."""
    code = """
import sys
from vidstyle.cli import run_command_line
code = run_command_line(sys.argv[1:])
print(code, "av" in sys.modules, "cv2" in sys.modules)
"""
    with closing(
        Window(display, tmp_path, server.url, *OPTIONS, "--record", tmp_path / "a.mkv", program=[sys.executable, "-c", code])
    ) as window:
        window.keys("s")
        window.note("saved ")
        assert window.quit() == 0
        assert window.process.stdout is not None
        assert window.process.stdout.read() == "0 False True\n"


@needs_screen
def test_a_missing_display_is_one_sentence(server: MjpegCamera) -> None:
    for name, text in (("", "DISPLAY is not set"), (":4711", "could not connect to DISPLAY=:4711")):
        done = run_cli("live", server.url, "--allow-network", "--style", "tiny", env={"DISPLAY": name, "WAYLAND_DISPLAY": ""})
        assert done.returncode == 4
        assert text in done.stderr
        assert "--web" in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["http://127.0.0.1:9/"], 2, "--allow-network"),
        (["0", "--style", "mosiac"], 4, "did you mean mosaic"),
        (["0", "--size", "big"], 2, "such as 1280x720"),
        (["0", "--folder", "gone"], 1, "no such folder for snapshots and recordings: gone"),
        (["0", "--record", "video.mp4"], 2, ".mkv"),
        (["Nikon"], 1, "Nikon"),
    ],
)
def test_invalid_arguments_are_one_sentence(args: list[str], code: int, text: str) -> None:
    done = run_cli("live", *args)
    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr


@needs_screen
def test_a_missing_camera_is_one_sentence(display: str) -> None:
    if os.path.exists("/dev/video97"):
        pytest.skip("this machine has many cameras")
    done = run_cli("live", "97", "--style", "tiny", env={"DISPLAY": display})
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: no such camera: /dev/video97")
    assert "Traceback" not in done.stderr


def test_opencv_without_windows_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the build information of `opencv-python-headless`."""
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:                           NONE\n    VTK support:  NO\n")
    with pytest.raises(DeviceError, match=r"headless.*--web"):
        check_display()


def test_with_json_an_error_at_the_start_is_an_event() -> None:
    done = run_cli("live", "0", "--style", "mosiac", "--progress", "json")
    assert [event["event"] for event in events(done.stderr)] == ["error", "exit"]
    assert done.returncode == 4
