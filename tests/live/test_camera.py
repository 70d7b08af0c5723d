"""Cameras: files, streams that stall or are cut, devices that are busy, inaccessible, silent or unplugged."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from tests.support.helpers import environment, write_clip
from tests.support.mjpeg_camera import MjpegCamera, encoded, pattern
from vidstyle.core.concurrency import Newest
from vidstyle.core.errors import InputError, UsageError
from vidstyle.core.frames import Frame
from vidstyle.live import camera as camera_module
from vidstyle.live.camera import CameraSpec, OpenCvCamera, resolve_camera

RTSP_PUSH = "tests.support.rtsp_push"


@pytest.fixture
def server() -> Iterator[MjpegCamera]:
    with closing(MjpegCamera(encoded([pattern(i, 160, 120) for i in range(60)]), fps=50)) as camera:
        yield camera


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_module, "SILENT_SECONDS", 0.5)


def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class Watched:
    """A camera read by a thread."""

    def __init__(self, camera: OpenCvCamera) -> None:
        self.camera, self.count = camera, 0
        self._frames = Newest(self._counted(), "test")

    def _counted(self) -> Any:
        for frame in self.camera.frames():
            self.count += 1
            yield frame

    def more(self, count: int = 3) -> Frame:
        """Wait for `count` more frames, and return the newest."""
        target = self.count + count
        until(lambda: self.count >= target)
        frame = self._frames.take(5)
        assert frame is not None
        return frame

    def close(self) -> None:
        self.camera.close()
        assert self._frames.close(10)


def test_frames_of_a_stream_have_the_time_of_their_capture(server: MjpegCamera) -> None:
    with closing(Watched(OpenCvCamera(resolve_camera(server.url, allow_network=True)))) as watched:
        before = time.monotonic()
        first, second = watched.more(), watched.more()
        assert first.pixels.shape == (120, 160, 3)
        assert np.abs(first.pixels[0, -1].astype(int) - pattern(0, 160, 120)[0, -1]).max() < 12  # red is red
        assert before <= first.pts * first.time_base < second.pts * second.time_base <= time.monotonic()


def test_a_url_needs_allow_network() -> None:
    with pytest.raises(UsageError, match="--allow-network"):
        resolve_camera("http://127.0.0.1:1/")


def test_a_cut_stream_is_reopened(server: MjpegCamera) -> None:
    with closing(Watched(OpenCvCamera(resolve_camera(server.url, allow_network=True)))) as watched:
        watched.more()
        server.cut()
        until(lambda: server.connections == 2)
        watched.more()
        assert watched.camera.trouble is None


def test_a_stalled_stream_is_reported_and_reopened(server: MjpegCamera) -> None:
    with closing(Watched(OpenCvCamera(resolve_camera(server.url, allow_network=True)))) as watched:
        watched.more()
        server.stalled.set()
        until(lambda: watched.camera.trouble)
        assert "trying again" in str(watched.camera.trouble)
        server.stalled.clear()
        until(lambda: watched.camera.trouble is None)
        watched.more()


def test_a_missing_stream_is_an_error() -> None:
    with pytest.raises(InputError, match=r"could not open http://127\.0\.0\.1:9/"):
        next(OpenCvCamera(resolve_camera("http://127.0.0.1:9/", allow_network=True)).frames())


def test_an_rtsp_stream_is_read_and_the_next_one_after_a_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_module, "SILENT_SECONDS", 3.0)
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_flags;listen|listen_timeout;20")
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"rtsp://127.0.0.1:{free.getsockname()[1]}/live"

    def push() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", RTSP_PUSH, url], env=environment(), stderr=subprocess.DEVNULL)

    pusher = push()
    try:
        with closing(Watched(OpenCvCamera(resolve_camera(url, allow_network=True)))) as watched:
            assert watched.more(10).pixels.shape == (120, 160, 3)
            pusher.kill()
            pusher.wait()
            until(lambda: watched.camera.trouble)
            pusher = push()
            watched.more(10)
            assert watched.camera.trouble is None
    finally:
        pusher.kill()
        pusher.wait()


def test_a_file_is_played_at_its_own_speed_in_a_loop(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", times=range(6))  # a quarter of a second
    with closing(OpenCvCamera(resolve_camera(str(clip)))) as camera:
        frames = camera.frames()
        times = [float(f.pts * f.time_base) for _, f in zip(range(15), frames, strict=False)]
        frames.close()
    assert times[-1] - times[0] > 14 / 24 - 1 / 24
    assert camera.trouble is None


def test_a_playlist_named_like_a_video_is_not_followed(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "private.mp4")
    bait = tmp_path / "bait.mp4"
    bait.write_text(f"ffconcat version 1.0\nfile {clip.name}\n")
    with pytest.raises(InputError, match=r"could not read bait\.mp4"):
        next(OpenCvCamera(resolve_camera(str(bait))).frames())


@pytest.mark.parametrize("name", ["text.mp4", "empty.mp4", "missing/clip.mp4"])
def test_files_without_video_are_errors(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.mp4").write_text("this is no video")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match=r"found an empty file|could not (open|read)"):
        next(OpenCvCamera(resolve_camera(str(tmp_path / name))).frames())


class FakeCapture:
    """A fake of `cv2.VideoCapture`: gives the items of `script` in turn, True for an image; then it goes on failing."""

    opened = True
    script: ClassVar[list[bool]]
    settings: ClassVar[list[tuple[int, float]]]
    opened_paths: ClassVar[list[object]]

    def __init__(self, where: object, backend: int = 0, settings: list[int] | None = None) -> None:
        type(self).settings = []
        type(self).opened_paths.append(where)

    def isOpened(self) -> bool:  # noqa: N802
        return type(self).opened

    def set(self, prop: int, value: float) -> bool:
        type(self).settings.append((prop, value))
        return True

    def grab(self) -> bool:
        time.sleep(0.002)
        return type(self).script.pop(0) if type(self).script else False

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros((48, 64, 3), np.uint8)

    def release(self) -> None:
        """There is nothing to release."""


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> type[FakeCapture]:
    class Capture(FakeCapture):
        script: ClassVar[list[bool]] = []
        settings: ClassVar[list[tuple[int, float]]] = []
        opened_paths: ClassVar[list[object]] = []

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    return Capture


def test_mjpg_is_set_before_the_size(device: type[FakeCapture]) -> None:
    device.script = [True] * 3
    with closing(OpenCvCamera(resolve_camera("0"), (1280, 720), 60.0)) as camera:
        next(camera.frames())
    order = [cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS]
    assert [prop for prop, _ in device.settings][:4] == order
    assert device.settings[0][1] == cv2.VideoWriter.fourcc(*"MJPG")


def test_a_camera_that_skips_a_frame_goes_on(device: type[FakeCapture]) -> None:
    device.script = [True, False, True, False, False, True]
    with closing(OpenCvCamera(resolve_camera("0"))) as camera:
        assert len(list(zip(range(3), camera.frames(), strict=False))) == 3


def test_a_silent_camera_is_an_error(device: type[FakeCapture]) -> None:
    with pytest.raises(InputError, match="gives no image"):
        next(OpenCvCamera(resolve_camera("0")).frames())


def test_an_unplugged_camera_is_reported_and_reopened_when_it_is_back(device: type[FakeCapture]) -> None:
    device.script = [True] * 5
    with closing(Watched(OpenCvCamera(resolve_camera("0")))) as watched:
        until(lambda: watched.camera.trouble)
        device.opened = False
        until(lambda: "no such camera" in str(watched.camera.trouble))
        device.script, device.opened = [True] * 1000, True
        watched.more()
        assert watched.camera.trouble is None


@pytest.mark.skipif(sys.platform != "linux", reason="V4L2")
@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "group video"), (errno.EBUSY, "close the other program"), (errno.ENOENT, "no such camera")],
)
def test_the_error_says_why_a_device_does_not_open(
    device: type[FakeCapture], monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(path: str, flags: int) -> int:
        assert path == "/dev/video3"
        raise OSError(number, os.strerror(number))

    device.opened = False
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError, match=words):
        next(OpenCvCamera(CameraSpec("device", 3, "camera 3")).frames())


def test_a_reader_that_hangs_ends_after_another_has_started(device: type[FakeCapture]) -> None:
    """When a blocked driver returns, the first reader must not go on beside the second."""
    driver_returns = threading.Event()
    hangs = [True]

    def grab(self: FakeCapture) -> bool:
        if hangs.pop() if hangs else False:
            driver_returns.wait(20)
        return True

    device.grab = grab  # type: ignore[method-assign]
    with closing(OpenCvCamera(resolve_camera("0"))) as camera:
        first = Newest(camera.frames(), "first")
        until(lambda: not hangs)
        second = Newest(camera.frames(), "second")
        assert second.take(10) is not None
        driver_returns.set()
        until(lambda: first.ended)
        assert second.take(10) is not None
        camera.close()
        assert second.close(10)


def test_a_stream_that_ends_before_its_first_image_is_an_error() -> None:
    with closing(MjpegCamera([b"this is no image"], fps=50)) as server:
        server.cut()
        with pytest.raises(InputError, match=r"could not open|gives no image"):
            next(OpenCvCamera(resolve_camera(server.url, allow_network=True)).frames())


def test_a_password_in_a_url_is_never_shown() -> None:
    input = resolve_camera("rtsp://admin:secret@127.0.0.1:9/live", allow_network=True)
    assert input.where == "rtsp://admin:secret@127.0.0.1:9/live"
    assert input.label == "rtsp://127.0.0.1:9/live"


def test_a_by_id_path_is_resolved_at_every_opening(device: type[FakeCapture], tmp_path: Path) -> None:
    """A camera that is plugged in again may have another number."""
    link = tmp_path / "usb-Camera-index0"
    link.symlink_to("/dev/video3")
    device.script = [True] * 3
    with closing(Watched(OpenCvCamera(CameraSpec("device", str(link), "camera")))) as watched:
        until(lambda: device.opened_paths and watched.camera.trouble)
        link.unlink()
        link.symlink_to("/dev/video5")
        until(lambda: device.opened_paths[-1] == 5)
    assert device.opened_paths[0] == 3
