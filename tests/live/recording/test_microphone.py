"""Audio of a recording: in sync with the images, and never delaying them.

The device is the `file` device of ALSA, which reads samples from a pipe that the test fills as time passes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support.helpers import frames_of, listing, time_of
from vidstyle.core.frames import Frame
from vidstyle.core.options import EncodeOptions
from vidstyle.live.recording import microphone as microphone_module
from vidstyle.live.recording.microphone import RATE, AudioClock, Microphone, Samples
from vidstyle.live.recording.recorder import Recorder
from vidstyle.live.recording.video_track import VideoTrack

CLOCK = Fraction(1, 1_000_000)
PERIOD = 0.8
"""Seconds from one beep and flash to the next; each lasts half of it."""

needs_alsa = pytest.mark.skipif(sys.platform != "linux" or "alsa" not in av.formats_available, reason="no ALSA")


def is_on(seconds: np.ndarray | float) -> np.ndarray:
    """Whether there is a beep and a flash at `seconds` of time.monotonic."""
    return np.asarray(seconds) % PERIOD < PERIOD / 2


def beeps(first: int, count: int) -> Samples:
    """Samples `first`... of time.monotonic's, as the device gives them: stereo."""
    numbers = np.arange(first, first + count)
    tone = np.sin(numbers * (2 * np.pi * 1000 / RATE)) * 12000 * is_on(numbers / RATE)
    return np.repeat(tone.astype("<i2")[:, None], 2, axis=1)


class FakeMicrophone:
    """ALSA's default device, which is a pipe, and a thread that fills it with beeps as time passes, for `seconds`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: float = 1e9) -> None:
        self._pipe = folder / "audio"
        os.mkfifo(self._pipe)
        config = folder / "asound.conf"
        config.write_text(
            f'pcm.!default {{ type file slave.pcm "nothing" file "/dev/null" infile "{self._pipe}" format "raw" }}\n'
            "pcm.nothing { type null }\n"
        )
        monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
        self._seconds, self._stop = seconds, threading.Event()
        self._thread = threading.Thread(target=self._fill, daemon=True)
        self._thread.start()

    def _fill(self) -> None:
        while not self._stop.is_set():
            try:
                pipe = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # there is no reader yet
                time.sleep(0.005)
                continue
            os.set_blocking(pipe, True)
            with contextlib.suppress(BrokenPipeError), open(pipe, "wb", buffering=0) as file:
                done = round(time.monotonic() * RATE)
                last = done + self._seconds * RATE
                while not self._stop.is_set():
                    now = round(time.monotonic() * RATE)
                    if now < last:
                        file.write(beeps(done, now - done).tobytes())
                    done = now
                    time.sleep(0.005)
            return

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def fake(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FakeMicrophone]]:
    with contextlib.ExitStack() as stack:

        def make(seconds: float = 1e9) -> FakeMicrophone:
            made = FakeMicrophone(tmp_path_factory.mktemp("audio"), monkeypatch, seconds)
            stack.callback(made.close)
            return made

        yield make


def show_flashes(recorder: Recorder, until: Callable[[], bool]) -> list[float]:
    """Record images as time passes, white during beeps; return the time of each."""
    times = []
    while not until():
        now = round(time.monotonic() * 1e6) / 1e6
        pixels = np.full((48, 64, 3), 255 if is_on(now) else 0, np.uint8)
        recorder.write(Frame(pixels, round(now * 1e6), CLOCK))
        times.append(now)
        time.sleep(0.02)
    return times


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)


def audio_in(path: Path) -> tuple[float, np.ndarray]:
    """The start time of the audio in the file, in seconds, and the samples of one channel."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    begin = float(time_of(frames[0]))
    return begin, np.concatenate([f.to_ndarray()[0] for f in frames])


def loudness(samples: np.ndarray, begin: float, at: np.ndarray) -> np.ndarray:
    """The loudness in the 20 ms around each of `at` seconds."""
    centres = np.round((at - begin) * RATE).astype(int)
    half = RATE // 100
    return np.array([np.abs(samples[max(0, c - half) : c + half]).mean() if c + half <= len(samples) else 0 for c in centres])


@needs_alsa
def test_audio_and_images_are_in_sync(tmp_path: Path, fake: Callable[..., FakeMicrophone]) -> None:
    fake()
    path = tmp_path / "out.mkv"
    recorder = Recorder(path, 64, 48, microphone="auto")
    wait_for(lambda: recorder.audio is not None, "the microphone")
    begin = time.monotonic()
    times = show_flashes(recorder, lambda: time.monotonic() > begin + 4 * PERIOD)
    done = recorder.close()
    assert (done.audio, done.trouble, done.dropped) == (True, None, 0)

    frames = frames_of(path)
    seconds = np.array([float(time_of(f)) for f in frames])
    assert seconds == pytest.approx(np.array(times) - times[0], abs=0.001)
    white = np.array([f.to_ndarray(format="rgb24").mean() > 128 for f in frames])
    assert (white == is_on(np.array(times))).all()

    begins, samples = audio_in(path)
    assert begins == pytest.approx(0, abs=0.03)
    assert begins + len(samples) / RATE == pytest.approx(seconds[-1], abs=0.3)
    # The device does not give capture times: chunks of 20 ms and the load of this machine limit the accuracy.
    phase = np.array(times) % (PERIOD / 2)
    clear = (phase > 0.08) & (phase < PERIOD / 2 - 0.08) & (seconds > 0.1) & (seconds < begins + len(samples) / RATE - 0.1)
    assert clear.sum() > 10
    loud = loudness(samples, begins, seconds[clear]) > 0.05
    assert (loud == white[clear]).all()


@needs_alsa
@pytest.mark.parametrize("heard", [1e9, 0.8])  # the second stops giving samples: images must not wait for it
def test_a_killed_process_leaves_images_and_audio(tmp_path: Path, fake: Callable[..., FakeMicrophone], heard: float) -> None:
    fake(heard)
    path = tmp_path / "out.mkv"
    recorder = Recorder(path, 64, 48, microphone="auto")
    wait_for(lambda: recorder.audio is not None, "the microphone")
    begin = time.monotonic()
    times = show_flashes(recorder, lambda: time.monotonic() > begin + 3)
    os.kill(recorder._process.pid, signal.SIGKILL)
    assert "broke off" in (recorder.close().trouble or "")
    last = frames_of(path)[-1]
    assert float(time_of(last)) > times[-1] - times[0] - 1.2
    begins, samples = audio_in(path)
    assert begins + len(samples) / RATE > min(times[-1] - times[0] - 1.7, 0.3)


@needs_alsa
def test_no_microphone_is_no_error_with_auto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "asound.conf"
    config.write_text("")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    recorder = Recorder(tmp_path / "out.mkv", 64, 48, microphone="auto")
    show_flashes(recorder, lambda: recorder.audio is not None)
    done = recorder.close()
    assert (done.audio, done.trouble) == (False, None)
    assert len(frames_of(tmp_path / "out.mkv")) == done.frames > 0


@needs_alsa
def test_a_missing_named_microphone_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "asound.conf"
    config.write_text("")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    recorder = Recorder(tmp_path / "out.mkv", 64, 48, microphone="studio")
    show_flashes(recorder, lambda: recorder.trouble is not None)
    assert not recorder.over
    done = recorder.close()
    assert "studio" in (done.trouble or "")
    assert done.audio is False
    assert len(frames_of(tmp_path / "out.mkv")) == done.frames > 0


@needs_alsa
def test_a_microphone_that_never_opens_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "audio").mkdir()
    fake = FakeMicrophone(tmp_path / "audio", monkeypatch)
    fake.close()  # a pipe without a writer: opening it blocks for ever
    recorder = Recorder(tmp_path / "out.mkv", 64, 48, microphone="default")
    show_flashes(recorder, lambda: recorder.trouble is not None)
    done = recorder.close()
    assert "did not open" in (done.trouble or "")
    assert len(frames_of(tmp_path / "out.mkv")) == done.frames > 0


class Chunks:
    """Stands for an open device that gives a steady tone in chunks of 20 ms, then fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, begin: float, count: int) -> None:
        self._begin, self._count = begin, count
        monkeypatch.setattr(microphone_module, "_open", lambda name: (contextlib.nullcontext(), 1))
        monkeypatch.setattr(microphone_module, "_chunks", self._give)

    def _give(self, *_: object) -> Iterator[tuple[Samples, float]]:
        for number in range(self._count):
            yield np.full((960, 1), 5000, np.int16), self._begin + (number + 1) * 0.02
        raise OSError(errno.ENODEV, "No such device")


def test_a_microphone_failure_ends_only_the_audio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Chunks(monkeypatch, begin=99.5, count=75)  # until 101.0
    microphone = Microphone("studio")
    assert microphone.wait(10)
    wait_for(lambda: microphone.trouble, "trouble")
    assert "studio failed (No such device)" in (microphone.trouble or "")
    path = tmp_path / "out.mkv"
    video = VideoTrack(path, EncodeOptions(), microphone)
    for index in range(90):
        video.write(100_000_000 + index * 33_333, np.full((48, 64, 3), index, np.uint8))
    video.close()
    assert listing(tmp_path) == ["out.mkv"]
    assert len(frames_of(path)) == 90
    begins, samples = audio_in(path)
    assert begins == pytest.approx(0, abs=0.03)
    assert begins + len(samples) / RATE == pytest.approx(1.0, abs=0.05)


def recorded_audio(microphone: Microphone, path: Path, count: int) -> tuple[float, np.ndarray]:
    """Start time and samples of audio recorded with `count` images from second 100 on."""
    video = VideoTrack(path, EncodeOptions(), microphone)
    for index in range(count):
        video.write(100_000_000 + index * 33_333, np.full((48, 64, 3), index, np.uint8))
    video.close()
    return audio_in(path)


def test_audio_starts_and_ends_with_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Chunks(monkeypatch, begin=90.0, count=1000)  # until 110.0
    microphone = Microphone("studio")
    wait_for(lambda: microphone.trouble, "all audio")
    begins, samples = recorded_audio(microphone, tmp_path / "out.mkv", 31)
    assert begins == pytest.approx(0, abs=0.03)
    assert begins + len(samples) / RATE == pytest.approx(1.0, abs=0.05)


def test_audio_that_opens_late_is_preceded_by_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Chunks(monkeypatch, begin=100.5, count=100)
    microphone = Microphone("studio")
    wait_for(lambda: microphone.trouble, "all audio")
    begins, samples = recorded_audio(microphone, tmp_path / "out.mkv", 61)
    quiet = loudness(samples, begins, np.array([0.1, 0.3, 0.45]))
    loud = loudness(samples, begins, np.array([0.55, 1.0, 1.5]))
    assert quiet.max() < 0.01 < 0.1 < loud.min()


def place(arrivals: list[float], chunk: int = 960) -> list[int]:
    """Start times in milliseconds of chunks of 20 ms with these arrival times."""
    clock, placed = AudioClock(), []
    for arrival in arrivals:
        placed += clock.place(np.zeros((chunk, 1), np.int16), arrival)
    placed += clock.flush()
    return [round(begins * 1000 / RATE) for begins, _ in placed]


def test_late_chunks_do_not_move_the_audio() -> None:
    jitter = [0.0, 0.03, 0.01, 0.09, 0.002] * 20
    arrivals = [10.02 + i * 0.02 + jitter[i] for i in range(100)]
    assert place(arrivals) == [10_000 + i * 20 for i in range(100)]


def test_a_late_first_read_does_not_shift_the_audio() -> None:
    arrivals = [10.3] * 15 + [10.02 + i * 0.02 for i in range(15, 60)]  # the first ones wait for their reader
    assert place(arrivals) == [10_000 + i * 20 for i in range(60)]


def test_a_burst_after_a_pause_of_the_reader_is_not_a_gap() -> None:
    arrivals = [10.02 + i * 0.02 for i in range(50)] + [11.4] * 20 + [10.02 + i * 0.02 for i in range(70, 100)]
    assert place(arrivals) == [10_000 + i * 20 for i in range(100)]


def test_a_gap_is_kept() -> None:
    arrivals = [10.02 + i * 0.02 for i in range(50)] + [15.02 + i * 0.02 for i in range(50)]
    assert place(arrivals) == [10_000 + i * 20 for i in range(50)] + [15_000 + i * 20 for i in range(50)]


def test_a_device_faster_than_real_time_is_cut() -> None:
    placed = place([10.02 + i * 0.005 for i in range(400)])  # 8 s of audio within 2
    assert 80 < len(placed) < 140
    assert placed == [placed[0] + i * 20 for i in range(len(placed))]
    assert placed[-1] <= 12_100


def test_a_device_slower_than_real_time_is_followed() -> None:
    placed = place([10.02 + i * 0.0202 for i in range(2000)])  # 1 % slow: 0.4 s in 40
    assert placed[-1] == pytest.approx(10_000 + 1999 * 20.2, abs=110)
