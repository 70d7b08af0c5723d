"""Recordings of the live view: exact in time, never blocking, and playable after a crash."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.support.helpers import environment, frames_of, listing, moving_bar, noise, rgb_of, time_of
from vidstyle.core.errors import DiskError, OutputExistsError, UsageError
from vidstyle.core.frames import Frame, Pixels
from vidstyle.core.options import EncodeOptions
from vidstyle.live.recording import recorder as recorder_module
from vidstyle.live.recording.recorder import Recorder, numbered_name

CLOCK = Fraction(1, 1_000_000)
CLUSTER_AND_MORE = 25
"""Images at 30 fps that may not be in the file yet: a cluster of half a second, and those in the queue."""


def frame(pixels: Pixels, seconds: float) -> Frame:
    return Frame(pixels, round(seconds * 1_000_000), CLOCK)


def bars(count: int, width: int = 64, height: int = 48, begin: float = 1000.0) -> list[Frame]:
    """Images at 30 fps."""
    return [frame(moving_bar(i, width, height), begin + i / 30) for i in range(count)]


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)


def readable(path: Path) -> int:
    """How many images can be decoded now."""
    try:
        return len(frames_of(path))
    except (av.FFmpegError, OSError, IndexError):
        return 0


def finished(path: Path) -> bool:
    """Whether the file has a duration, which is written last."""
    try:
        with av.open(str(path)) as container:
            return container.duration is not None
    except (av.FFmpegError, OSError):
        return False


def milliseconds(path: Path) -> list[int]:
    return [round(time_of(f) * 1000) for f in frames_of(path)]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def process_of(recorder: Recorder) -> int:
    return recorder._process.pid


@pytest.fixture
def start() -> Iterator[Callable[..., Recorder]]:
    """Makes recorders that are closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(*args: Any, **options: Any) -> Recorder:
            made = Recorder(*args, **options)
            stack.callback(made.close)
            return made

        yield make


def test_times_are_kept_exactly(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    times = [0, 7, 40, 41, 500, 533, 2100, 2101, 9999]
    recorder = start(tmp_path / "out.mkv", 64, 48)
    for index, ms in enumerate(times):
        recorder.write(frame(moving_bar(index, 64, 48), 77.0 + ms / 1000))
    done = recorder.close()
    assert (done.frames, done.dropped, done.trouble, done.audio) == (len(times), 0, None, False)
    assert done.seconds == pytest.approx(9.999)
    assert recorder.seconds == pytest.approx(9.999)
    assert milliseconds(tmp_path / "out.mkv") == times
    assert finished(tmp_path / "out.mkv")
    assert listing(tmp_path) == ["out.mkv"]


def test_colours_are_kept(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    recorder = start(tmp_path / "out.mkv", 64, 48, EncodeOptions(crf=1))
    image = np.full((48, 64, 3), (200, 90, 30), np.uint8)
    recorder.write(frame(image, 1.0))
    recorder.close()
    got = frames_of(tmp_path / "out.mkv")[0].reformat(format="rgb24", src_colorspace="ITU601").to_ndarray()
    assert np.abs(got.astype(int) - image).max() <= 4


def test_a_clock_that_steps_back_drops_images(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    recorder = start(tmp_path / "out.mkv", 64, 48)
    for index, seconds in enumerate([5.0, 5.1, 5.05, 5.1, 5.2]):
        recorder.write(frame(moving_bar(index, 64, 48), seconds))
    done = recorder.close()
    assert (done.frames, done.dropped) == (3, 2)
    assert milliseconds(tmp_path / "out.mkv") == [0, 100, 200]


def test_odd_sizes(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    recorder = start(tmp_path / "out.mkv", 63, 47)
    recorder.write(frame(moving_bar(0, 63, 47), 1.0))
    assert recorder.close().trouble is None
    got = rgb_of(tmp_path / "out.mkv")[0]
    assert got.shape == (48, 64, 3)


def test_another_size_is_fitted_with_black_bars(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    recorder = start(tmp_path / "out.mkv", 64, 48)
    white = np.full((48, 64, 3), 255, np.uint8)
    recorder.write(frame(white, 1.0))
    recorder.write(frame(np.full((100, 400, 3), 255, np.uint8), 1.1))  # wide: 64x16
    recorder.write(frame(np.full((480, 64, 3), 255, np.uint8), 1.2))  # high: 6x48
    assert recorder.close().trouble is None
    first, wide, high = rgb_of(tmp_path / "out.mkv")
    assert first.min() > 230
    assert wide[:12].max() < 30
    assert wide[20:28].min() > 220
    assert high[:, :24].max() < 30
    assert high[:, 31:33].min() > 180


def test_without_images_there_is_no_file(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    done = start(tmp_path / "out.mkv", 64, 48).close()
    assert (done.frames, done.seconds, done.trouble) == (0, 0.0, None)
    assert listing(tmp_path) == []


def test_one_image_is_a_recording(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    recorder = start(tmp_path / "out.mkv", 64, 48)
    recorder.write(bars(1)[0])
    assert recorder.close().frames == 1
    assert readable(tmp_path / "out.mkv") == 1


def test_an_existing_file_is_never_replaced(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    path = tmp_path / "out.mkv"
    path.write_bytes(b"precious")
    with pytest.raises(OutputExistsError, match="exists"):
        Recorder(path, 64, 48)
    assert path.read_bytes() == b"precious"


def test_a_file_that_appears_meanwhile_is_kept(
    tmp_path: Path, start: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.mkv"
    path.write_bytes(b"precious")
    monkeypatch.setattr(recorder_module, "check_new_recording", lambda path: None)  # as if it was not there yet
    recorder = start(path, 64, 48)
    for each in bars(3):
        recorder.write(each)
    done = recorder.close()
    assert "exists" in (done.trouble or "")
    assert done.frames == 0
    assert path.read_bytes() == b"precious"


def test_a_wrong_suffix_or_folder_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mkv"):
        Recorder(tmp_path / "out.mp4", 64, 48)
    with pytest.raises(DiskError, match="folder"):
        Recorder(tmp_path / "missing" / "out.mkv", 64, 48)
    assert listing(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_an_error_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DiskError, match="permission"):
        Recorder(tmp_path / "out.mkv", 64, 48)


def test_a_wrong_codec_is_reported(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    recorder = start(tmp_path / "out.mkv", 64, 48, EncodeOptions(codec="h263"))
    wait_for(lambda: recorder.trouble, "trouble")
    recorder.write(bars(1)[0])
    assert "codec" in (recorder.close().trouble or "")
    assert listing(tmp_path) == []


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_every_codec(tmp_path: Path, start: Callable[..., Recorder], codec: str) -> None:
    recorder = start(tmp_path / "out.mkv", 128, 96, EncodeOptions(codec=codec))
    for each in bars(20, 128, 96):
        recorder.write(each)
    assert recorder.close().trouble is None
    assert milliseconds(tmp_path / "out.mkv") == [round(i * 1000 / 30) for i in range(20)]


def test_a_killed_recording_process_leaves_a_playable_file(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    path = tmp_path / "out.mkv"
    recorder = start(path, 64, 48)
    images = bars(300)
    for each in images:
        recorder.write(each)
    wait_for(lambda: readable(path) >= 300 - CLUSTER_AND_MORE, "images in the file")
    os.kill(process_of(recorder), signal.SIGKILL)
    wait_for(lambda: recorder.trouble, "trouble")
    assert "broke off" in (recorder.trouble or "")
    wait_for(lambda: recorder.over, "the end")
    for each in bars(200, begin=1010.0):
        recorder.write(each)
    done = recorder.close()
    assert done.dropped == 200
    assert done.trouble == recorder.trouble
    assert readable(path) >= 300 - CLUSTER_AND_MORE
    assert (rgb_of(path)[100].astype(int) - images[100].pixels).std() < 20


LIVE = """
import sys, time
from fractions import Fraction
from pathlib import Path
import numpy as np
from vidstyle.core.frames import Frame
from vidstyle.live.recording.recorder import Recorder

recorder = Recorder(Path(sys.argv[1]), 64, 48, microphone=None)
try:
    index = 0
    while True:
        recorder.write(Frame(np.full((48, 64, 3), index % 256, np.uint8), index * 33_333, Fraction(1, 1_000_000)))
        index += 1
        if index == 300:
            print(recorder._process.pid, flush=True)
        time.sleep(0.001 if index < 300 else 0.03)
except KeyboardInterrupt:
    done = recorder.close()
    print(done.frames, index - done.frames - done.dropped, done.trouble, flush=True)
"""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int, Path]]:
    """A process that records for ever, its recording process, and the file; 250 images are in it."""
    path = tmp_path / "out.mkv"
    command = [sys.executable, "-c", LIVE, str(path)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            child = int(process.stdout.readline())
            wait_for(lambda: readable(path) >= 250, "images in the file")
            yield process, child, path
        finally:
            process.kill()


def test_a_killed_window_leaves_a_finished_file(live: tuple[subprocess.Popen[str], int, Path]) -> None:
    process, child, path = live
    process.kill()
    wait_for(lambda: not alive(child), "the end of the recording")
    assert finished(path)
    assert readable(path) >= 290


def test_both_processes_killed_leave_a_playable_file(live: tuple[subprocess.Popen[str], int, Path]) -> None:
    process, child, path = live
    os.kill(process.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    wait_for(lambda: not alive(child), "the end of the recording")
    assert readable(path) >= 250


def test_ctrl_c_reaches_only_the_window(live: tuple[subprocess.Popen[str], int, Path]) -> None:
    process, child, path = live
    os.kill(child, signal.SIGINT)  # must be ignored
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    frames, lost, trouble = output.split()
    assert (lost, trouble) == ("0", "None")
    assert finished(path)
    assert readable(path) == int(frames) >= 300
    assert not alive(child)


def test_sigterm_finishes_the_file(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    path = tmp_path / "out.mkv"
    recorder = start(path, 64, 48)
    for each in bars(60):
        recorder.write(each)
    wait_for(lambda: readable(path) >= 60 - CLUSTER_AND_MORE, "images in the file")
    os.kill(process_of(recorder), signal.SIGTERM)
    wait_for(lambda: not alive(process_of(recorder)), "the end of the recording")
    assert finished(path)
    assert readable(path) == recorder.close().frames


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs a limit on another process")
def test_a_full_disk_keeps_what_was_recorded(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    path = tmp_path / "out.mkv"
    recorder = start(path, 128, 96)
    resource.prlimit(process_of(recorder), resource.RLIMIT_FSIZE, (800_000, 800_000))
    for index in range(300):
        recorder.write(frame(noise(index, 128, 96), 10 + index / 30))
    wait_for(lambda: recorder.trouble, "trouble")
    assert "no space left" in (recorder.trouble or "")
    done = recorder.close()
    assert done.trouble == recorder.trouble
    assert 10 < done.frames < 300
    assert readable(path) >= done.frames - 1  # the last one may be cut
    assert done.seconds == pytest.approx((done.frames - 1) / 30, abs=0.1)


def test_a_disk_without_any_space_leaves_no_file(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    recorder = start(tmp_path / "out.mkv", 128, 96)
    resource.prlimit(process_of(recorder), resource.RLIMIT_FSIZE, (0, 0))
    for each in bars(30, 128, 96):
        recorder.write(each)
    done = recorder.close()
    assert "no space left" in (done.trouble or "")
    assert done.frames == 0
    assert listing(tmp_path) == []


def test_a_full_queue_drops_images_and_never_blocks(
    tmp_path: Path, start: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_QUEUE_BYTES", 2_000_000)
    recorder = start(tmp_path / "out.mkv", 320, 240)
    os.kill(process_of(recorder), signal.SIGSTOP)
    try:
        for each in bars(40, 320, 240):  # 9 MB; blocking here would be for ever
            recorder.write(each)
    finally:
        os.kill(process_of(recorder), signal.SIGCONT)
    assert recorder.dropped > 20
    done = recorder.close()
    assert done.dropped == recorder.dropped
    assert done.frames + done.dropped == 40
    assert done.trouble is None


SLOW = """
import sys, time
while sys.stdin.buffer.read(1 << 20):
    pass
for _ in range(60):
    time.sleep(0.05)
    print('{"event": "progress"}', flush=True)
print('{"event": "finished", "frames": 1, "dropped": 0, "seconds": 0.0}', flush=True)
"""
"""Takes three seconds to finish, as reading back a long recording does, and writes progress events meanwhile."""


def test_reading_back_a_long_recording_may_take_longer_than_the_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "_CLOSE_SECONDS", 2.0)
    slow = partial(subprocess.Popen, [sys.executable, "-c", SLOW], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    monkeypatch.setattr(recorder_module, "_start", lambda request: slow())
    recorder = Recorder(tmp_path / "out.mkv", 64, 48)
    recorder.write(bars(1)[0])
    done = recorder.close()
    assert done.trouble is None
    assert done.frames == 1


def test_a_recording_that_hangs_is_killed(
    tmp_path: Path, start: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_CLOSE_SECONDS", 0.5)
    recorder = start(tmp_path / "out.mkv", 64, 48)
    os.kill(process_of(recorder), signal.SIGSTOP)
    recorder.write(bars(1)[0])
    assert "cut off" in (recorder.close().trouble or "")
    assert not alive(process_of(recorder))


def test_closing_again_and_writing_afterwards_are_harmless(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    recorder = start(tmp_path / "out.mkv", 64, 48)
    for each in bars(5):
        recorder.write(each)
    done = recorder.close()
    recorder.write(bars(1)[0])
    assert recorder.close() is done
    assert readable(tmp_path / "out.mkv") == 5


def test_no_thread_process_or_descriptor_is_left(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    descriptors = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else None
    for number in range(3):
        recorder = Recorder(tmp_path / f"{number}.mkv", 64, 48)
        recorder.write(bars(1)[0])
        recorder.close()
        assert not alive(process_of(recorder))
    assert set(threading.enumerate()) == before
    if descriptors is not None:
        assert len(os.listdir("/proc/self/fd")) == descriptors


def test_the_recorder_does_not_import_pyav() -> None:
    code = "import sys, vidstyle.live.recording.recorder; print('av' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr


def test_modules_in_the_current_folder_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "av.py").write_text("raise SystemExit('wrong one')")
    monkeypatch.chdir(tmp_path)
    recorder = Recorder(Path("out.mkv"), 64, 48)
    recorder.write(bars(1)[0])
    assert recorder.close().trouble is None
    assert readable(tmp_path / "out.mkv") == 1


def test_numbered_names(tmp_path: Path) -> None:
    now = datetime(2026, 11, 24, 14, 3, 22)
    names = []
    for _ in range(3):
        path = numbered_name(tmp_path, ".mkv", now)
        path.touch()
        names.append(path.name)
    assert names == [
        "vidstyle-2026-11-24-14.03.22.mkv",
        "vidstyle-2026-11-24-14.03.22-2.mkv",
        "vidstyle-2026-11-24-14.03.22-3.mkv",
    ]


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="no ffprobe")
def test_ffprobe_agrees(tmp_path: Path, start: Callable[..., Recorder]) -> None:
    recorder = start(tmp_path / "out.mkv", 1280, 720)
    for each in bars(10, 1280, 720):
        recorder.write(each)
    recorder.close()
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json"]
    done = subprocess.run([*command, str(tmp_path / "out.mkv")], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    found = json.loads(done.stdout)
    stream = found["streams"][0]
    assert (stream["codec_name"], stream["pix_fmt"], stream["nb_read_frames"]) == ("h264", "yuv420p", "10")
    assert (stream["color_space"], stream["color_primaries"], stream["color_range"]) == ("bt709", "bt709", "tv")
    assert float(found["format"]["duration"]) == pytest.approx(0.3, abs=0.05)
