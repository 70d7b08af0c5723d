"""The live loop, with a camera on loopback and a screen that remembers."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.helpers import imread
from tests.support.mjpeg_camera import MjpegCamera, encoded, pattern
from tests.support.virtual_camera import FakeCamera, driver
from vidstyle.core.concurrency import Newest, background_executor
from vidstyle.core.errors import DiskError, InputError, MissingExtraError, StyleError
from vidstyle.core.frames import Frame, Pixels
from vidstyle.core.options import LiveOptions, StyleOptions
from vidstyle.live import camera as camera_module
from vidstyle.live import capture, scene_stylizer
from vidstyle.live import session as live
from vidstyle.live.camera import OpenCvCamera, resolve_camera
from vidstyle.live.metrics import LiveMetrics, Measurements
from vidstyle.live.scene_stylizer import SceneStylizer
from vidstyle.live.session import LiveProgress, run
from vidstyle.live.state import Event, KeyPress, LiveState, Setting, Status

__all__ = ["driver"]  # a fixture

SIZE = (128, 96)
STYLES = LiveState(("slow", "tiny"), position=1.0)
OPTIONS = LiveOptions(StyleOptions("tiny", "cpu"), microphone=None)
Step = Callable[["Screen"], bool]
"""Looks at a screen, does something, and returns whether it is finished."""


class Screen:
    """Follows a script: each step is called again with every image until it is finished; after the last one it quits."""

    def __init__(self, *steps: Step) -> None:
        self._steps = list(steps)
        self.images: list[Pixels] = []
        self.statuses: list[Status] = []
        self.state = STYLES
        self.closed = False
        self._deadline = time.monotonic() + 60
        self._events: list[Event] = []

    def press(self, *keys: str) -> None:
        self._events += [KeyPress(key) for key in keys]

    def show(self, image: Pixels, status: Status, state: LiveState) -> None:
        self.images.append(image)
        self.statuses.append(status)
        self.state = state

    def events(self) -> list[Event]:
        assert time.monotonic() < self._deadline, "the script did not come to its end"
        if self.images and self._steps and self._steps[0](self):
            self._steps.pop(0)
        if not self._steps:
            self.press("q")
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        self.closed = True


class RecordingReporter:
    """Keeps what is reported to it."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.firsts = 0
        self.reports: list[LiveProgress] = []
        self.measurements: Measurements | None = None

    def note(self, text: str) -> None:
        self.notes.append(text)

    def first(self) -> None:
        self.firsts += 1

    def progress(self, progress: LiveProgress) -> None:
        self.reports.append(progress)

    def total(self, measurements: Measurements) -> None:
        self.measurements = measurements


def images(count: int) -> Step:
    """Wait for so many more."""
    seen: list[int] = []

    def step(screen: Screen) -> bool:
        seen.append(len(screen.images))
        return seen[-1] - seen[0] >= count

    return step


def keep_in(shown: list[Pixels]) -> Step:
    """Keep the image shown last."""

    def step(screen: Screen) -> bool:
        shown.append(screen.images[-1])
        return True

    return step


def keys(*names: str) -> Step:
    def step(screen: Screen) -> bool:
        screen.press(*names)
        return True

    return step


def until(condition: Callable[[Screen], object]) -> Step:
    return lambda screen: bool(condition(screen))


@pytest.fixture
def server() -> Iterator[MjpegCamera]:
    with closing(MjpegCamera(encoded([pattern(i, *SIZE) for i in range(60)]), fps=40)) as camera:
        yield camera


def play(
    server: MjpegCamera, *steps: Step, options: LiveOptions = OPTIONS, state: LiveState = STYLES
) -> tuple[Screen, RecordingReporter]:
    screen, notes = Screen(*steps), RecordingReporter()
    before = threading.active_count()
    run(OpenCvCamera(resolve_camera(server.url, allow_network=True)), screen, state, options, notes)
    assert screen.closed
    deadline = time.monotonic() + 10
    while threading.active_count() > before:
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.01)
    return screen, notes


def difference(a: Pixels, b: NDArray[Any]) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def test_it_stylizes_reports_progress_and_quits(server: MjpegCamera) -> None:
    screen, notes = play(server, until(lambda s: s.statuses[-1].fps > 5), images(60))
    assert screen.images[-1].shape == (SIZE[1], SIZE[0], 3)
    assert difference(screen.images[-1], pattern(0, *SIZE)) > 20, "not stylized"
    assert difference(screen.images[-1], screen.images[-5]) > 0.5, "stands still"
    status = screen.statuses[-1]
    assert status.height == SIZE[1]
    assert 0 < status.latency < 5
    assert notes.firsts == 1
    assert notes.notes[0] == "style tiny: ONNX Runtime on CPU (float32)"
    assert notes.measurements is not None
    assert notes.measurements.shown >= 60


def test_strength_zero_is_the_original_and_mirror_flips_it(server: MjpegCamera) -> None:
    screen, _ = play(server, keys(*["down"] * 10), images(4), keys("m"), images(4))
    plain, mirrored = screen.images[-5], screen.images[-1]
    assert difference(plain[:20, :20], pattern(0, *SIZE)[:20, :20]) < 4
    assert difference(mirrored[:20, -20:], pattern(0, *SIZE)[:20, :20][:, ::-1]) < 4


def test_split_shows_the_original_left_of_the_line(server: MjpegCamera) -> None:
    screen, _ = play(server, keys("o"), images(4))
    left, right = np.s_[:20, :20], np.s_[:20, -20:]
    assert difference(screen.images[-1][left], pattern(0, *SIZE)[left]) < 4
    assert difference(screen.images[-1][right], pattern(0, *SIZE)[right]) > 20


def test_colours_of_the_original_are_kept(server: MjpegCamera) -> None:
    def chroma(image: Pixels) -> Pixels:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[:20, 30:50, 1:], np.uint8)

    screen, _ = play(server, images(2), keys("c"), images(4))
    original = chroma(pattern(0, *SIZE))
    # What is too bright or too dark to have that colour loses some of it.
    assert difference(chroma(screen.images[-1]), original) < 0.5 * difference(chroma(screen.images[0]), original)


def test_a_frozen_image_stands_still_follows_keys_and_goes_on(server: MjpegCamera) -> None:
    shown: list[Pixels] = []
    keep = keep_in(shown)
    play(
        server,
        keys("space"), until(lambda s: s.state.frozen), images(3), keep, images(3), keep,
        keys("c"), until(lambda s: difference(s.images[-1], shown[0]) > 1), images(3), keep, images(3), keep,
        keys("space"), until(lambda s: difference(s.images[-1], shown[3]) > 0.1),
    )  # fmt: skip
    assert np.array_equal(shown[0], shown[1])
    assert np.array_equal(shown[2], shown[3])


def test_the_next_style_and_a_cross_fade_change_the_image(server: MjpegCamera, monkeypatch: pytest.MonkeyPatch) -> None:
    # Statistics are measured once: their later refinement would change the images that are compared.
    monkeypatch.setattr(scene_stylizer, "SAMPLE_SECONDS", 1e9)
    shown: list[Pixels] = []
    keep = keep_in(shown)
    frozen = until(lambda s: s.state.frozen)
    play(
        server,
        keys("space"), frozen, images(2), keep,
        keys("p"), until(lambda s: difference(s.images[-1], shown[0]) > 3), images(2), keep,
        # Keys are taken one by one: some images are nearer to the second style than the last one.
        keys(*["right"] * 5), until(lambda s: difference(s.images[-1], (shown[0].astype(float) + shown[1]) / 2) < 2), keep,
    )  # fmt: skip
    tiny, slow, mix = shown
    assert difference(mix, tiny) > 1.5
    assert difference(mix, slow) > 1.5


def test_an_unknown_next_style_is_reported_and_the_current_one_stays(server: MjpegCamera) -> None:
    state = LiveState(("tiny", "gone"))
    screen, _ = play(server, keys("n"), until(lambda s: "gone" in s.statuses[-1].message), images(5), state=state)
    assert "cannot be used" in screen.statuses[-1].message
    assert difference(screen.images[-1], screen.images[-4]) > 0.1, "stands still"


def test_an_unknown_first_style_is_an_error(server: MjpegCamera) -> None:
    with pytest.raises(StyleError, match="unknown style"):
        play(server, images(1), state=LiveState(("gone",)))


def test_sliders_change_settings(server: MjpegCamera) -> None:
    def slide(screen: Screen) -> bool:
        screen._events.append(Setting("strength", 0.25))
        return True

    screen, _ = play(server, slide, until(lambda s: s.state.strength == 0.25))
    assert screen.state.describe() == "tiny, strength 25%"


def test_a_lost_camera_is_reported_over_the_last_image_and_reconnected(
    server: MjpegCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_module, "SILENT_SECONDS", 0.5)

    def stall(screen: Screen) -> bool:
        server.stalled.set()
        return True

    def go_on(screen: Screen) -> bool:
        server.stalled.clear()
        return True

    monkeypatch.setattr(live, "PROGRESS_SECONDS", 0.1)
    screen, notes = play(
        server, images(3), stall, until(lambda s: "trying again" in s.statuses[-1].message), images(2), go_on,
        until(lambda s: not s.statuses[-1].message), images(30),
    )  # fmt: skip
    assert difference(screen.images[-1], screen.images[-4]) > 0.1
    reported = [note for note in notes.notes if "trying again" in note or "works again" in note]
    assert reported[-1] == "the camera works again"
    assert "trying again" in reported[0]


def test_a_missing_camera_is_an_error_and_closes_the_screen() -> None:
    screen = Screen(images(1))
    with pytest.raises(InputError):
        run(OpenCvCamera(resolve_camera("http://127.0.0.1:9/", allow_network=True)), screen, STYLES, OPTIONS, RecordingReporter())
    assert screen.closed


class HangingCamera:
    """Its first reader hangs after a frame, as in a driver; the next one does not."""

    trouble: str | None = None

    def __init__(self) -> None:
        self.readers = 0
        self._closed = threading.Event()

    def frames(self) -> Generator[Frame, None, None]:
        self.readers += 1
        hangs = self.readers == 1
        for index in range(1 << 30):
            if self._closed.wait(60 if hangs and index else 0.02):
                return
            yield Frame(pattern(index, *SIZE), round(time.monotonic() * 1e6), Fraction(1, 1_000_000))

    def close(self) -> None:
        self._closed.set()


def test_a_driver_that_hangs_is_reported_and_read_in_a_new_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "SILENT_SECONDS", 0.3)
    monkeypatch.setattr(capture, "HUNG_SECONDS", 1.0)
    camera = HangingCamera()
    screen = Screen(
        until(lambda s: "no image" in s.statuses[-1].message), images(20), until(lambda s: not s.statuses[-1].message)
    )
    run(camera, screen, STYLES, OPTIONS, RecordingReporter())
    assert camera.readers == 2


def test_the_requested_rate_is_held(server: MjpegCamera) -> None:
    _, notes = play(server, until(lambda s: len(s.images) > 40), options=replace(OPTIONS, fps=10.0))
    assert notes.measurements is not None
    # 40 a second come; a slow machine may show fewer than 10.
    assert notes.measurements.shown < 0.5 * notes.measurements.captured


def test_ctrl_c_ends_it(server: MjpegCamera) -> None:
    screen, notes = Screen(lambda s: False), RecordingReporter()

    def check() -> None:
        if len(screen.images) > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(OpenCvCamera(resolve_camera(server.url, allow_network=True)), screen, STYLES, OPTIONS, notes, check)
    assert screen.closed
    assert notes.measurements is not None


def test_snapshots_are_png_files_with_unique_names(server: MjpegCamera, tmp_path: Path) -> None:
    options = replace(OPTIONS, folder=tmp_path)
    found = until(lambda s: len(list(tmp_path.glob("vidstyle-*.png"))) == 2)
    screen, notes = play(server, keys("s", "s"), found, options=options)  # within the same second
    for path in tmp_path.iterdir():
        saved = cv2.cvtColor(imread(path), cv2.COLOR_BGR2RGB)
        assert any(np.array_equal(saved, image) for image in screen.images)
    assert sum(note.startswith("saved ") for note in notes.notes) == 2


def test_a_failed_snapshot_is_reported(server: MjpegCamera, tmp_path: Path) -> None:
    options = replace(OPTIONS, folder=tmp_path / "gone")
    screen, _ = play(server, keys("s"), until(lambda s: "no snapshot" in s.statuses[-1].message), images(3), options=options)
    assert "no such folder" in next(s.message for s in screen.statuses if s.message)


def test_the_virtual_camera_gets_what_is_shown(server: MjpegCamera, driver: list[FakeCamera]) -> None:
    screen, notes = play(server, images(5), options=replace(OPTIONS, virtual_camera=True))
    (camera,) = driver
    assert camera.closed
    assert len(camera.sent) >= 4
    assert all(any(np.array_equal(sent, shown) for shown in screen.images) for sent in camera.sent)
    assert "virtual camera: /dev/video42" in notes.notes


def test_a_virtual_camera_without_driver_is_an_error(server: MjpegCamera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(MissingExtraError):
        play(server, images(5), options=replace(OPTIONS, virtual_camera=True))


class Tap:
    """A camera that gives images of one colour while it is `active`."""

    def __init__(self, level: int, active: bool) -> None:
        self._level, self.active = level, active
        self._closed = threading.Event()

    @property
    def trouble(self) -> str | None:
        return None if self.active else "closed"

    def frames(self) -> Generator[Frame, None, None]:
        while not self._closed.wait(0.01):
            if self.active:
                yield Frame(np.full((48, 64, 3), self._level, np.uint8), round(time.monotonic() * 1e6), Fraction(1, 1_000_000))

    def close(self) -> None:
        self._closed.set()


def test_the_browsers_camera_takes_over_while_it_is_active() -> None:
    from vidstyle.web.switch import SwitchedCamera

    theirs: Any = Tap(200, active=False)
    own: Any = Tap(100, active=True)
    switched = SwitchedCamera(theirs, own)
    newest = Newest(switched.frames(), "test")

    def until_level(level: int) -> None:
        deadline = time.monotonic() + 10
        while (frame := newest.take(1)) is None or frame.pixels[0, 0, 0] != level:
            assert time.monotonic() < deadline

    until_level(100)
    theirs.active = True
    until_level(200)
    assert switched.trouble is None
    theirs.active = False
    until_level(100)
    switched.close()
    assert newest.close(10)


class DimmableScene:
    """A scene whose light can be changed."""

    def __init__(self) -> None:
        self.scene = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8), (0, 0), 3)
        self.light = 1.0

    def image(self) -> Pixels:
        return np.asarray(cv2.convertScaleAbs(self.scene, alpha=self.light), np.uint8)


def test_statistics_neither_pulse_nor_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    """A still scene gives a still image; when the light changes, the image follows in imperceptible steps."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    scene = DimmableScene()
    with background_executor() as executor:
        scene_stylizer = SceneStylizer("mosaic", OPTIONS.style, executor)

        def stylize_for(seconds: float) -> list[Pixels]:
            shown = []
            for _ in range(round(seconds * 4)):
                clock[0] += 0.25
                shown.append(scene_stylizer.stylize(scene.image(), [("mosaic", 1.0)], 96)[0])
                executor.submit(lambda: None).result()  # everything prepared in the background is ready now
            return shown

        still = stylize_for(40)
        assert difference(still[8], still[-1]) < 0.5, "it drifts"
        scene.light = 0.5
        followed = stylize_for(120)
    steps = [difference(a, b) for a, b in itertools.pairwise(followed)]
    assert max(steps) < 1.5, "it pulses"
    settled = scene_stylizer._load("mosaic").for_shot([scene.image()]).stylize([scene.image()])[0]
    assert difference(followed[-1], settled) < 0.5 * difference(followed[0], settled), "it does not follow"


def test_a_camera_that_is_covered_at_first_shows_the_scene_as_one_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    scene = DimmableScene().image()
    with background_executor() as executor:
        scene_stylizer = SceneStylizer("mosaic", OPTIONS.style, executor)
        for image in [np.zeros_like(scene)] * 6 + [scene] * 4:
            clock[0] += 0.25
            shown = scene_stylizer.stylize(image, [("mosaic", 1.0)], 96)[0]
            executor.submit(lambda: None).result()
        expected = scene_stylizer._load("mosaic").for_shot([scene]).stylize([scene])[0]
    assert difference(shown, expected) < 0.5


def test_only_the_newest_item_is_kept() -> None:
    go, at_the_gate = threading.Semaphore(0), threading.Event()

    def items() -> Generator[int, None, None]:
        yield from range(5)
        at_the_gate.set()
        go.acquire()
        yield 5

    newest = Newest(items(), "test")
    assert at_the_gate.wait(10)
    assert newest.take(5) == 4
    assert newest.take(0.01) is None
    go.release()
    assert newest.take(5) == 5
    assert newest.close()


def test_an_error_is_raised_in_the_consumer() -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        raise DiskError("full")

    newest = Newest(items(), "test")
    deadline = time.monotonic() + 10
    while not newest.ended and time.monotonic() < deadline:
        time.sleep(0.001)
    assert newest.take(1) == 1
    with pytest.raises(DiskError, match="full"):
        newest.take(1)
    assert newest.take(0.01) is None


def test_measurements_over_a_period(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    live_metrics = LiveMetrics()
    for i in range(100):
        clock[0] += 0.04 if i != 50 else 0.2
        live_metrics.shown(clock[0] - (0.05 if i % 50 else 0.3), number=i + 1 if i < 90 else i + 4)
    measurements = live_metrics.collect(110)
    assert (measurements.captured, measurements.shown, measurements.missed) == (110, 100, 3)
    assert measurements.fps == pytest.approx(100 / 4.16)
    assert (measurements.latency_median, measurements.latency_p99) == pytest.approx((0.05, 0.3))
    assert measurements.longest_gap == pytest.approx(0.2)
    assert live_metrics.collect(110).shown == 0
