"""Videos for the benchmarks of folders and clusters: many short ones, long ones, broken ones; the same each time."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from itertools import chain, cycle, islice
from pathlib import Path

import av
import cv2
import numpy as np

from tests.support.helpers import Image, write_audio, write_clip
from tools.bench.measurement import SAMPLE
from vidstyle.core.frames import Pixels

_VIEW = (480, 270)
"""Of the sample's 640x360, which leaves room for different views."""

_MAX_FRAMES = 300
"""How many frames of a repeated clip are kept in memory."""


@cache
def _sample() -> list[Pixels]:
    with av.open(str(SAMPLE)) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


def view(seed: int) -> Image:
    """The sample with a crop, a first frame and a brightness that depend on the seed."""
    chance = random.Random(seed)
    frames = _sample()
    first, gain = chance.randrange(len(frames)), chance.uniform(0.7, 1.15)
    height, width = frames[0].shape[:2]
    x, y = chance.randrange(width - _VIEW[0]), chance.randrange(height - _VIEW[1])
    mirrored = chance.random() < 0.5

    def image(index: int, width: int, height: int) -> Pixels:
        number = (first + index) % (2 * len(frames))  # forwards and backwards: no cut where the sample ends
        frame = frames[min(number, 2 * len(frames) - 1 - number)][y : y + _VIEW[1], x : x + _VIEW[0]]
        small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        lit = np.clip(small * gain, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(lit[:, ::-1] if mirrored else lit)

    return image


def in_shots(seed: int, frames: int) -> Image:
    """Views of `frames` frames each with hard cuts, every second one as a negative."""

    def image(index: int, width: int, height: int) -> Pixels:
        shot = index // frames
        seen = view(seed * 1000 + shot)(index % frames, width, height)
        return 255 - seen if shot % 2 else seen

    return image


def short_clip(path: Path, seed: int, frames: int = 24, size: tuple[int, int] = (320, 180), faststart: bool = False) -> Path:
    """A clip of 24 frames per second with audio."""
    flags = {"movflags": "+faststart"} if faststart else {}
    return write_clip(
        path,
        size=size,
        times=range(frames),
        audio=["eng"],
        image=view(seed),
        options={"preset": "veryfast", "g": "12"},
        container_options=flags,
    )


def slow_video(path: Path, seed: int, seconds: int, size: tuple[int, int] = (320, 180), rate: int = 8) -> Path:
    """A video of some shots with audio, long in seconds and short in frames, with a keyframe every two seconds."""
    return write_clip(
        path,
        size=size,
        times=range(seconds * rate),
        time_base=Fraction(1, rate),
        audio=["eng"],
        image=in_shots(seed, 13 * rate),
        options={"preset": "veryfast", "g": str(2 * rate)},
    )


def one_shot(path: Path, clip: Path, size: tuple[int, int] | None, seconds: float, keyframe_seconds: float = 2.0) -> Path:
    """`clip` forwards and backwards until `seconds` are full, with audio: a video without a cut, if the clip has none."""
    with av.open(str(clip)) as source:
        rate = Fraction(source.streams.video[0].average_rate or 25)
        some = islice(source.decode(video=0), _MAX_FRAMES)
        frames = [frame.reformat(*size) if size else frame for frame in some]
    count = round(seconds * rate)
    back_and_forth = islice(cycle(chain(frames, frames[-2:0:-1])), count)  # no frame twice in a row: the motion only reverses
    with av.open(str(path), "w") as output:
        options = {"crf": "18", "preset": "veryfast", "g": str(round(keyframe_seconds * rate))}
        video = output.add_stream("libx264", rate=rate, options=options)
        video.width, video.height, video.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        track = output.add_stream("aac", rate=48000, layout="mono")
        wave = _wave(round(count / rate * 48000))
        for number, frame in enumerate(back_and_forth):
            frame.pts, frame.time_base, frame.pict_type = number, 1 / rate, 0
            output.mux(video.encode(frame))
            seconds_written = number / rate
            while wave and wave[0][0] <= seconds_written * 48000:
                begin, samples = wave.pop(0)
                audio = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
                audio.sample_rate, audio.pts, audio.time_base = 48000, begin, Fraction(1, 48000)
                output.mux(track.encode(audio))
        output.mux(video.encode(None))
        output.mux(track.encode(None))
    return path


def _wave(length: int) -> list[tuple[int, np.ndarray]]:
    """A rising tone, in pieces with their positions."""
    t = np.arange(length) / 48000
    samples = (0.3 * np.sin(2 * np.pi * (200 + t) * t)).astype(np.float32)
    return [(begin, samples[None, begin : begin + 1024]) for begin in range(0, length, 1024)]


def lengthened(clip: Path, path: Path, seconds: float) -> Path:
    """`clip`, its video and its audio packet by packet, repeated to at least `seconds`; the clip itself if it is as long."""
    with av.open(str(clip)) as old:
        length = Fraction(old.duration or 0, av.time_base)
    times = -(-Fraction(seconds).limit_denominator(1000) // length)
    if times <= 1:
        return clip
    with av.open(str(clip)) as old, av.open(str(path), "w") as new:
        streams = [old.streams.video[0], *old.streams.audio]
        copies = {stream.index: new.add_stream_from_template(stream, opaque=True) for stream in streams}
        # The pre-roll and padding of audio codecs would overlap with the next repetition.
        kept = [p for p in old.demux(*streams) if p.size and p.pts is not None and 0 <= p.pts * p.time_base < length]
        for number in range(times):
            for packet in kept:
                assert packet.pts is not None
                assert packet.dts is not None
                shift = round(number * length / packet.time_base)
                again = av.Packet(bytes(packet))
                again.time_base, again.is_keyframe, again.duration = packet.time_base, packet.is_keyframe, packet.duration
                again.pts, again.dts = packet.pts + shift, packet.dts + shift
                again.stream = copies[packet.stream.index]
                new.mux(again)
    return path


def broken_file(folder: Path, number: int) -> Path:
    """A file that cannot be stylized completely; the kinds of damage take turns."""
    kind = Path(list(DAMAGES)[number % len(DAMAGES)])
    path = folder / f"clip-{10 * number + 5:04}-{kind.stem}{kind.suffix}"  # sorted by name it comes between the good ones
    path.write_bytes(DAMAGES[kind.name](random.Random(number)))
    return path


def _cut(data: bytes, fraction: float) -> bytes:
    return data[: int(len(data) * fraction)]


@cache
def _clip_bytes(kind: str) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"clip.{'mkv' if kind == 'mkv' else 'mp4'}"
        return short_clip(path, 7, faststart=kind == "faststart").read_bytes()


@cache
def _audio_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as name:
        return write_audio(Path(name) / "audio.mp4").read_bytes()


DAMAGES: dict[str, Callable[[random.Random], bytes]] = {
    "empty.mp4": lambda chance: b"",
    "text.mp4": lambda chance: b"This is no video.\n" * chance.randrange(1, 200),
    "header.mp4": lambda chance: _clip_bytes("mp4")[: chance.randrange(20, 400)],
    "no-index.mp4": lambda chance: _cut(_clip_bytes("mp4"), chance.uniform(0.3, 0.9)),
    "noise.mkv": lambda chance: chance.randbytes(chance.randrange(100, 100_000)),
    "zeros.mov": lambda chance: bytes(chance.randrange(1, 100_000)),
    "page.mkv": lambda chance: b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n",
    "audio.mp4": lambda chance: _audio_bytes(),
    "image.jpg": lambda chance: b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + chance.randbytes(chance.randrange(1, 500)),
    "image.png": lambda chance: b"\x89PNG\r\n\x1a\n" + bytes(20),
    "cut-off.mp4": lambda chance: _cut(_clip_bytes("faststart"), chance.uniform(0.4, 0.8)),
    "cut-off.mkv": lambda chance: _cut(_clip_bytes("mkv"), chance.uniform(0.4, 0.8)),
}
"""Kinds of broken files, by their names; the last two can be stylized up to the damage."""
