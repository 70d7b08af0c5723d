"""Audio of a recording: a microphone opened with PyAV, its samples placed on the clock of the images."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import av
import av.device
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from vidstyle.core.errors import InputError
from vidstyle.core.files import reason
from vidstyle.media.av_errors import AV_ERRORS

Samples = NDArray[np.int16]
"""Shape (N, channels)."""

RATE = 48000
"""Samples per second, whatever the device gives."""

_CHUNK = RATE // 50
_TOLERANCE = RATE // 10
"""Samples by which audio may deviate from the clock before it is moved."""
_SETTLE = RATE // 2
_PENDING = 60 * RATE
"""Samples that are kept while no image comes."""
_LATE_SECONDS = 0.5

_SYSTEM_ALSA = Path("/usr/share/alsa")


class AudioClock:
    """Places samples on the clock of `time.monotonic`, counted in samples.

    Samples come at a steady rate, so they are counted; the arrival times of chunks jitter: a chunk is never early, but may be
    late. At the start and after a gap, half a second of chunks is therefore held back, and the least late one sets the time.
    Samples of a device that gives more than real time are dropped.
    """

    def __init__(self) -> None:
        self._next: int | None = None
        self._held: list[Samples] = []
        self._held_count = 0
        self._least_late = 0
        self._settled = False

    def place(self, samples: Samples, arrival: float) -> list[tuple[int, Samples]]:
        """Add a chunk whose last sample came at `arrival` seconds; return chunks and their start times in samples."""
        begins = round(arrival * RATE) - len(samples)
        if self._next is None:
            self._next = begins
        late = begins - self._next - self._held_count
        if self._settled and not self._held:
            if late < -_TOLERANCE:
                return []
            if late <= _TOLERANCE:
                return self._release([samples])
        self._least_late = min(late, self._least_late) if self._held else late
        self._held.append(samples)
        self._held_count += len(samples)
        if self._settled and self._least_late <= _TOLERANCE:  # nothing is missing: the previous chunks were only late
            return self.flush(shift=False)
        return self.flush() if self._held_count >= _SETTLE else []

    def flush(self, shift: bool = True) -> list[tuple[int, Samples]]:
        """Return the chunks that are held back, at the end or once their time is known."""
        if self._next is not None and shift and self._held:
            self._next += self._least_late
        self._settled = True
        held, self._held, self._held_count = self._held, [], 0
        return self._release(held)

    def _release(self, chunks: list[Samples]) -> list[tuple[int, Samples]]:
        placed = []
        for chunk in chunks:
            assert self._next is not None
            placed.append((self._next, chunk))
            self._next += len(chunk)
        return placed


class Microphone:
    """Records in a background thread until `close`; `take` gives the samples, in order and without gaps.

    `name` is the name of a device, or "auto".
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._label = "the microphone" if name == "auto" else f"the microphone {name}"
        self._opened, self._stop = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._chunks: deque[tuple[int, Samples]] = deque()
        self._position: int | None = None
        self.channels = 0
        """1 or 2 once the device is open, else 0."""
        self.trouble: str | None = None
        """Why there is no audio, or no more, as a sentence."""
        self._thread = threading.Thread(target=self._record, name="microphone", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` for the device; return whether it is open."""
        if not self._opened.wait(seconds):
            self.trouble = f"{self._label} did not open within {seconds:g} s, the recording has no audio"
        return bool(self.channels) and self._opened.is_set()

    def begin(self, seconds: float) -> None:
        """Discard samples from before `seconds` (`time.monotonic`)."""
        self._position = round(seconds * RATE)

    def take(self, until: float) -> Iterator[Samples]:
        """Samples from the end of the last call up to `until` (`time.monotonic`), with silence for missing ones.

        It ends with the samples recorded so far; the rest comes with the next call.
        """
        assert self._position is not None
        end = round(until * RATE)
        while self._position < end and (piece := self._piece(end)) is not None:
            self._position += len(piece)
            yield piece

    def _piece(self, end: int) -> Samples | None:
        position = self._position
        assert position is not None
        with self._lock:
            while self._chunks and self._chunks[0][0] + len(self._chunks[0][1]) <= position:
                self._chunks.popleft()
            if not self._chunks:
                return None
            begins, samples = self._chunks[0]
        if begins > position:
            return np.zeros((min(begins - position, end - position, RATE), samples.shape[1]), np.int16)
        return samples[position - begins : end - begins]

    def close(self) -> None:
        """Stop recording; a thread that hangs in its device is abandoned."""
        self._stop.set()
        self._thread.join(_LATE_SECONDS)

    def _record(self) -> None:
        clock = AudioClock()
        try:
            container, self.channels = _open(self._name)
            with container:
                self._opened.set()
                for samples, arrival in _chunks(container, self.channels, self._stop):
                    self._keep(clock.place(samples, arrival))
            if not self._stop.is_set():
                self.trouble = f"{self._label} ended, the rest of the recording has no audio"
        except InputError as error:
            if self._name != "auto":
                self.trouble = str(error)
        except AV_ERRORS as error:
            self.trouble = f"{self._label} failed ({reason(error)}), the rest of the recording has no audio"
        finally:
            self._keep(clock.flush())
            self._opened.set()

    def _keep(self, placed: list[tuple[int, Samples]]) -> None:
        with self._lock:
            for begins, samples in placed:
                if not self._chunks or begins - self._chunks[0][0] < _PENDING:
                    self._chunks.append((begins, samples))


def _open(name: str) -> tuple[InputContainer, int]:
    """The open device and the number of channels to use; raises `InputError`."""
    errors = []
    for device, format_name, options in _candidates(name):
        try:
            container = av.open(device, format=format_name, options=options)
        except AV_ERRORS as error:
            errors.append(error)
            continue
        if container.streams.audio:
            return container, min(container.streams.audio[0].channels, 2)
        container.close()
    why = f" ({reason(errors[0])})" if errors else ""
    raise InputError(f"could not open the microphone {name}{why}; the recording has no audio")


def _candidates(name: str) -> list[tuple[str, str, dict[str, str]]]:
    """What to try for `name`, in this order: device, FFmpeg input format, options."""
    auto = name == "auto"
    if sys.platform == "darwin":
        return [(":default" if auto else f":{name}", "avfoundation", {})]
    if sys.platform == "win32":
        found = av.device.enumerate_input_devices("dshow") if auto else []
        names = [d.name for d in found if "audio" in d.media_types] if auto else [name]
        return [(f"audio={each}", "dshow", {}) for each in names]
    # The wheel of PyAV looks for the settings of ALSA in a folder of the machine that built it.
    if _SYSTEM_ALSA.is_dir():
        os.environ.setdefault("ALSA_CONFIG_DIR", str(_SYSTEM_ALSA))
    # A default device for PipeWire or PulseAudio needs a plugin, which the wheel lacks; sysdefault needs none.
    names = ["default", "sysdefault"] if auto else [name]
    return [(each, "alsa", {"channels": channels}) for each in names for channels in ("2", "1")]


def _chunks(container: InputContainer, channels: int, stop: threading.Event) -> Iterator[tuple[Samples, float]]:
    """Audio in chunks of at least 20 ms, with the arrival time of the last sample of each."""
    stream: AudioStream = container.streams.audio[0]
    resampler = AudioResampler(format="s16", layout="mono" if channels == 1 else "stereo", rate=RATE)
    waiting: list[bytes] = []
    size = 0
    chunk_bytes = _CHUNK * stream.rate // RATE * stream.channels * 2
    for packet in container.demux(stream):
        if stop.is_set():
            return
        if packet.size:
            waiting.append(bytes(packet))  # a device may give single samples: decode them together
            size += packet.size
        if size < chunk_bytes:
            continue
        arrival = time.monotonic()
        frames = stream.codec_context.decode(av.Packet(b"".join(waiting)))
        waiting, size = [], 0
        parts = [out.to_ndarray().reshape(-1, channels) for frame in frames for out in _resampled(resampler, frame)]
        if parts:
            yield np.concatenate(parts), arrival


def _resampled(resampler: AudioResampler, frame: av.AudioFrame) -> list[av.AudioFrame]:
    frame.pts = None  # counted by `AudioClock`
    return resampler.resample(frame)
