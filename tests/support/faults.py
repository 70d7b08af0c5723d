"""Files that are damaged on purpose, and the verdict on how vidstyle handles each."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.support.helpers import Image, moving_bar, write_clip
from tests.support.judge import Violation, snapshot, violations
from tests.support.runs import DAMAGE, DONE, FAILED, CommandRunner, RunResult
from vidstyle.core.frames import Pixels

FRAMES = 48
SIZE = (64, 48)


@dataclass(frozen=True)
class Container:
    """A kind of file: its suffix and how `write_clip` makes one."""

    suffix: str
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    audio: str | None = "aac"
    audio_rate: int = 44100
    options: tuple[tuple[str, str], ...] = ()
    time_base: Fraction = Fraction(1, 24)
    keyframes: str = "12"


CONTAINERS = {
    "mp4": Container("mp4"),
    "mp4 faststart": Container("mp4", options=(("movflags", "+faststart"),)),
    "mov": Container("mov", options=(("movflags", "+faststart"),)),
    "mkv": Container("mkv"),
    "ts": Container("ts"),
    "avi": Container("avi", codec="mpeg4", audio="mp2"),
    "webm": Container("webm", codec="libvpx-vp9", audio="libopus", audio_rate=48000),
    "flv": Container("flv"),
    "gif": Container("gif", codec="gif", pix_fmt="rgb8", audio=None, time_base=Fraction(1, 20)),
}


def _grainy(seed: int) -> Image:
    """The moving bar with grain, so that most of the file is video."""

    def image(index: int, width: int, height: int) -> Pixels:
        grain = np.random.default_rng((seed, index)).integers(-20, 20, (height, width, 1))
        return np.clip(moving_bar(index + 5 * seed, width, height).astype(int) + grain, 0, 255).astype(np.uint8)

    return image


@cache
def clip_bytes(name: str, other: bool = False) -> bytes:
    """A clip of two seconds with audio in the container `name`; `other` is another one, of another size."""
    kind = CONTAINERS[name]
    size = (80, 64) if other else SIZE
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"clip.{kind.suffix}")
        image = _grainy(int(other))
        options = {"g": kind.keyframes}
        clip: dict[str, Any] = {"size": size, "times": range(FRAMES), "codec": kind.codec, "pix_fmt": kind.pix_fmt}
        clip |= {"options": options, "time_base": kind.time_base, "container_options": dict(kind.options), "image": image}
        if kind.audio == "libopus":
            _write_with_opus(path, kind, size, image)
        else:
            audio: dict[str, Any] = {"audio": ["eng"], "audio_codec": kind.audio} if kind.audio else {}
            write_clip(path, **clip, **audio)
        return path.read_bytes()


def _write_with_opus(path: Path, kind: Container, size: tuple[int, int], image: Image) -> None:
    """`write_clip` writes audio of 44100 Hz, which Opus does not support."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(kind.codec, rate=24, options={"g": kind.keyframes, "deadline": "realtime", "cpu-used": "8"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height = size
        video.pix_fmt = kind.pix_fmt
        audio = container.add_stream("libopus", rate=kind.audio_rate, layout="mono")
        wave = np.sin(np.arange(FRAMES * 2000) / 25).astype(np.float32) * 0.3
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(image(index, *size), "rgb24").reformat(format=kind.pix_fmt)
            frame.pts, frame.time_base = index, Fraction(1, 24)
            container.mux(video.encode(frame))
            samples = av.AudioFrame.from_ndarray(wave[None, index * 2000 : (index + 1) * 2000], "flt", "mono")
            samples.sample_rate, samples.pts, samples.time_base = 48000, index * 2000, Fraction(1, 48000)
            container.mux(audio.encode(samples))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


# --- damage


def truncate(data: bytes, fraction: float) -> bytes:
    """The beginning of the file; never cut between two packets of a transport stream, which would be undetectable."""
    size = int(len(data) * fraction)
    return data[: size + 1 if size % 188 == 0 else size]


def part_of(data: bytes, region: str) -> range:
    """Where the `header`, the `index` at the end or the `body` between them lies, roughly."""
    edge = max(256, len(data) // 20)
    return {"header": range(edge), "index": range(len(data) - edge, len(data)), "body": range(edge, len(data) - edge)}[region]


def flip_bits(data: bytes, seed: int, count: int, region: str) -> bytes:
    """Flip `count` bits of a region."""
    chance = random.Random(seed)
    damaged = bytearray(data)
    for position in chance.sample(part_of(data, region), count):
        damaged[position] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def zero_block(data: bytes, seed: int, size: int) -> bytes:
    """Zero a block, as if a sector could not be read."""
    begin = random.Random(seed).randrange(len(data) - size)
    return data[:begin] + bytes(size) + data[begin + size :]


def duplicate_block(data: bytes, seed: int, size: int) -> bytes:
    """Repeat a block, as if it was written twice."""
    begin = random.Random(seed).randrange(len(data) - size)
    return data[: begin + size] + data[begin:]


def splice(data: bytes, other: bytes, seed: int) -> bytes:
    """Join the beginning of one file and the end of another."""
    chance = random.Random(seed)
    return data[: chance.randrange(1, len(data))] + other[chance.randrange(len(other)) :]


@dataclass(frozen=True)
class Case:
    """A damaged file: its container, the damage, and its bytes."""

    name: str
    container: str
    damage: str
    data: bytes
    truncated: bool = False


def whole_case(container: str) -> Case:
    return Case("whole", container, "none", clip_bytes(container))


def truncated_case(container: str, percent: int) -> Case:
    data = truncate(clip_bytes(container), percent / 100)
    return Case(f"cut{percent}", container, f"truncated to {percent} %", data, truncated=True)


def flipped_case(container: str, region: str, seed: int, count: int) -> Case:
    data = flip_bits(clip_bytes(container), seed, count, region)
    return Case(f"flip{seed}-{count}", container, f"{count} bits of the {region} flipped, seed {seed}", data)


def block_case(container: str, kind: str, seed: int, size: int) -> Case:
    make = {"zeroed": zero_block, "duplicated": duplicate_block}[kind]
    return Case(f"{kind}{seed}-{size}", container, f"{size} bytes {kind}, seed {seed}", make(clip_bytes(container), seed, size))


def spliced_case(container: str, other: str, seed: int) -> Case:
    data = splice(clip_bytes(container), clip_bytes(other, other=True), seed)
    return Case(f"splice{seed}", container, f"spliced with another {other}, seed {seed}", data)


def random_case(seed: int) -> Case:
    """A random kind of damage of a random container, the same for the same seed."""
    chance = random.Random(seed)
    container = chance.choice(list(CONTAINERS))
    kind = chance.choices(["cut", "flip", "zeroed", "duplicated", "splice"], [25, 40, 12, 11, 12])[0]
    if kind == "cut":
        return truncated_case(container, chance.randrange(1, 100))
    if kind == "flip":
        return flipped_case(container, chance.choice(["header", "index", "body", "body"]), seed, chance.choice([1, 3, 10, 50]))
    if kind == "splice":
        return spliced_case(container, chance.choice([container, container, *CONTAINERS]), seed)
    return block_case(container, kind, seed, chance.choice([1, 16, 188, 512, 2048]))


@dataclass(frozen=True)
class Verdict:
    """A case, the result of vidstyle, and the promises that were not kept."""

    case: Case
    run_result: RunResult
    violations: list[Violation]


def judge(runner: CommandRunner, folder: Path, case: Case, *options: object) -> Verdict:
    """Stylize a damaged file in a folder of its own, which is kept for inspection if there are violations."""
    place = folder / f"{case.container} {case.name}".replace(" ", "-")
    place.mkdir(parents=True)
    source = place / f"in.{CONTAINERS[case.container].suffix}"
    source.write_bytes(case.data)
    before = snapshot(place)
    run_result = runner.run(source.name, *options, "-q", cwd=place)
    found = violations(
        run_result,
        place,
        before,
        codes=(DONE,) if case.damage == "none" else (DONE, FAILED, DAMAGE),
        source=source,
        truncated=case.truncated,
        original_frames=FRAMES,
    )
    if not found:
        for path in place.iterdir():
            path.unlink()
        place.rmdir()
    return Verdict(case, run_result, found)
