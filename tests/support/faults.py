"""Files damaged on purpose, runs with limits on time and memory, and a judge that knows vidstyle's promises only from outside.

Whatever the input and the moment, a run ends with a documented exit code and without a traceback; a file has its final name
only if it is whole, which Debian's ffmpeg decides; nothing hidden stays behind; the input stays as it was.

Run as a program this is a worker: it takes command lines on stdin, one JSON object a line, and runs each in this one process,
which saves the second of starting up. A worker that dies or hangs does so on the file that it was last given.
"""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import json
import os
import queue
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np

from tests.support.helpers import (
    Image,
    audio_of,
    command,
    environment,
    frames_of,
    languages_of,
    listing,
    moving_bar,
    noise,
    write_clip,
)
from vidstyle.core.frames import Pixels

T = TypeVar("T")

DONE, FAILED, USAGE, DAMAGE, MODEL, DISK = 0, 1, 2, 3, 4, 5
STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}
SECONDS = 60
DATA_LIMIT = 4 << 30
"""RLIMIT_DATA, which counts what is really asked for; RLIMIT_AS would count the address space that threads only reserve."""
PEAK_MIB = 1000
"""No clip of 64x48 needs as much, however damaged: a header may claim any size."""
FRAMES = 48
SIZE = (64, 48)


# --- running


@dataclass(frozen=True)
class RunResult:
    """How a run ended. `code` is None for a hang and negative for a crash, as in subprocess."""

    code: int | None
    stdout: str
    stderr: str
    peak_mib: float = 0.0
    args: tuple[str, ...] = ()


def run_limited(
    *args: object, cwd: Path, seconds: float = SECONDS, file_size: int | None = None, env: dict[str, str] | None = None
) -> RunResult:
    """`vidstyle ARGS` in a process of its own, with limits on time, memory and, if asked for, the size of the files it writes."""
    process = start(*args, cwd=cwd, file_size=file_size, env=env)
    return finish(process, seconds)


def start(
    *args: object, cwd: Path, file_size: int | None = None, env: dict[str, str] | None = None, **options: Any
) -> subprocess.Popen[str]:
    """`vidstyle ARGS`, running, with the limits of `run_limited`."""

    def limit() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
        resource.setrlimit(resource.RLIMIT_DATA, (DATA_LIMIT, DATA_LIMIT))
        if file_size is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    # The fault handler tells where a crash or a hang was.
    variables = {**environment(), "PYTHONFAULTHANDLER": "1", **(env or {})}
    return subprocess.Popen(command(*args), cwd=cwd, env=variables, text=True, preexec_fn=limit, **pipes)


def finish(process: subprocess.Popen[str], seconds: float = SECONDS) -> RunResult:
    """Wait for the end; a run that takes longer than `seconds` is a hang, and dumps where it hung."""
    args = tuple(str(x) for x in process.args[3:])  # type: ignore[index]
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        stdout, stderr = process.communicate()
        return RunResult(None, stdout or "", stderr or "", args=args)
    return RunResult(process.returncode, stdout or "", stderr or "", args=args)


class Worker:
    """A process that runs one command line after the other; started anew after a crash or a hang."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="worker")
        self._process: subprocess.Popen[str] | None = None

    def run(self, *args: object, cwd: Path, seconds: float = SECONDS) -> RunResult:
        """As `run_limited`. Limits on time and memory hold for each run by itself."""
        if self._process is None or self._process.poll() is not None:
            env = {**environment(), "PYTHONFAULTHANDLER": "1"}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.faults"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=env,
                start_new_session=True,
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        out, err = (Path(self._folder.name, name) for name in ("out", "err"))
        words = tuple(str(x) for x in args)
        job = {"args": words, "cwd": str(cwd), "seconds": seconds, "out": str(out), "err": str(err)}
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        code, peak = None, 0.0
        if answer:
            facts = json.loads(answer)
            code, peak = facts["code"], facts["peak_mib"]
        else:
            process.wait()
            process.stdin.close()
            process.stdout.close()
        stdout, stderr = (path.read_text(errors="replace") if path.exists() else "" for path in (out, err))
        if not answer:
            code = None if "Timeout (" in stderr else process.returncode or -1  # a silent end is a crash too
        return RunResult(code, stdout, stderr, peak, words)

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
        self._folder.cleanup()


class Workers:
    """Some workers among whom jobs are shared out."""

    def __init__(self, count: int = 2) -> None:
        self._all = [Worker() for _ in range(count)]
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._all:
            self._free.put(worker)
        self._pool = ThreadPoolExecutor(count)

    def map(self, work: Callable[[Worker, Any], T], jobs: Sequence[Any]) -> Iterator[T]:
        """The results of `work(worker, job)`, in the order of `jobs`."""

        def one(job: Any) -> T:
            worker = self._free.get()
            try:
                return work(worker, job)
            finally:
                self._free.put(worker)

        return self._pool.map(one, jobs)

    def close(self) -> None:
        self._pool.shutdown()
        for worker in self._all:
            worker.close()


def _worker_main() -> None:
    from vidstyle.cli import run_command_line

    resource.setrlimit(resource.RLIMIT_DATA, (DATA_LIMIT, DATA_LIMIT))
    answers = os.fdopen(os.dup(1), "w")
    stdout, stderr = os.dup(1), os.dup(2)
    for line in sys.stdin:
        job = json.loads(line)
        # The files, not only Python's streams: FFmpeg and the encoders write to the descriptors.
        for path, descriptor in ((job["out"], 1), (job["err"], 2)):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            os.dup2(handle, descriptor)
            os.close(handle)
        os.chdir(job["cwd"])
        _reset_peak()
        faulthandler.dump_traceback_later(job["seconds"], exit=True, file=2)
        try:
            code = run_command_line(job["args"])
        except BaseException:  # what the interpreter would do with it
            traceback.print_exc()
            code = 1
        faulthandler.cancel_dump_traceback_later()
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.chdir("/")
        answers.write(json.dumps({"code": code, "peak_mib": _peak_mib()}) + "\n")
        answers.flush()


def _reset_peak() -> None:
    with contextlib.suppress(OSError):  # elsewhere than on Linux the peak is that of all runs together
        Path("/proc/self/clear_refs").write_text("5")


def _peak_mib() -> float:
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], what: str) -> None:
    """Return as soon as `condition()` holds; fail if the process ends before, or nothing comes of it in a minute."""
    end = time.monotonic() + SECONDS
    while not condition():
        if process.poll() is not None and not condition():
            raise AssertionError(f"ended with {process.returncode} before: {what}")
        if time.monotonic() > end:
            raise AssertionError(f"waited a minute in vain for: {what}")
        time.sleep(0.001)


def has_mapped(process: subprocess.Popen[str], library: str) -> bool:
    """Whether the process has begun to load a library: how far it is in starting up."""
    try:
        return library in Path(f"/proc/{process.pid}/maps").read_text()
    except OSError:
        return False


# --- judging


@dataclass(frozen=True)
class Violation:
    """A promise that was not kept: its kind, for counting, and what was seen."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


Snapshot = dict[str, tuple[int, bytes]]


def snapshot(folder: Path) -> Snapshot:
    """Every file below `folder`, hidden ones too: when it was written and what is in it."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            found[str(path.relative_to(folder))] = (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).digest())
    return found


def hidden(folder: Path) -> list[str]:
    """Hidden files and folders in `folder`."""
    return sorted(p.name for p in folder.iterdir() if p.name.startswith(".")) if folder.is_dir() else []


@dataclass(frozen=True)
class Decoded:
    """What Debian's ffmpeg makes of a file's main video."""

    code: int
    said: str
    frames: list[tuple[int, str]] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return self.code == 0 and not self.said and bool(self.frames)


_OF_AUDIO = re.compile(r"\[(aac|mp2|mp3|mp3float|opus|vorbis|pcm_\w+) @")


def decode(path: Path) -> Decoded:
    """Decode the video with the ffmpeg of the system, which is another program than the one in PyAV's wheel."""
    given = ["-v", "error", "-nostdin", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-"]
    done = subprocess.run(["ffmpeg", *given], capture_output=True, text=True, errors="replace", timeout=120, check=False)
    rows = [line.split(",") for line in done.stdout.splitlines() if line and not line.startswith("#")]
    # Audio is copied as it is, its damage too, and ffmpeg tries it even where it is not asked for.
    said = [line for line in done.stderr.splitlines() if line.strip() and not _OF_AUDIO.match(line)]
    return Decoded(done.returncode, "\n".join(said), [(int(row[2]), row[-1].strip()) for row in rows])


def audio_packets(path: Path) -> int:
    """How many packets of audio the ffprobe of the system finds in a file."""
    given = ["-v", "quiet", "-select_streams", "a", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "json"]
    done = subprocess.run(["ffprobe", *given, str(path)], capture_output=True, text=True, timeout=120, check=False)
    streams = json.loads(done.stdout or "{}").get("streams", [])
    return sum(int(stream.get("nb_read_packets", 0)) for stream in streams)


def violations(
    run_result: RunResult,
    folder: Path,
    before: Snapshot,
    *,
    codes: Sequence[int] = (DONE, FAILED, DAMAGE),
    source: Path | None = None,
    truncated: bool = False,
    original_frames: int | None = None,
    may_replace: str | None = None,
    late: bool = False,
) -> list[Violation]:
    """The promises not kept by a run in `folder`, which held `before` when it began.

    `codes` are those that make sense. `source` is the input, if its damage is to be weighed against the output: a run
    that ends with 0 has lost nothing. `truncated`: it is known to be incomplete, 0 is out of the question.
    `original_frames`: how many there were before the damage. `may_replace`: an old output that success may replace.
    `late`: the run was stopped so near its end that it may have published its output; whole, as ever.
    """
    found = _ending(run_result, codes)
    after = snapshot(folder)
    for name, facts in before.items():
        if after.get(name) != facts and not (name == may_replace and (run_result.code in (DONE, DAMAGE) or late)):
            found.append(Violation("file touched", f"{name} {'changed' if name in after else 'is gone'}"))
    new = sorted(set(after) - set(before))
    left = [name for name in new if any(part.startswith(".") for part in Path(name).parts)]
    if left:
        found.append(Violation("hidden left", ", ".join(left)))
    shown = [name for name in new if name not in left]
    if may_replace is not None and may_replace in after and after[may_replace] != before.get(may_replace):
        shown = sorted({*shown, may_replace})
    if run_result.code in (DONE, DAMAGE):
        if len(shown) != 1:
            found.append(Violation("no output", f"code {run_result.code}, new files: {shown}"))
        else:
            found += _weigh(run_result, folder / shown[0], source, truncated, original_frames)
    elif shown and run_result.code not in (None, -signal.SIGKILL) and not late:
        found.append(Violation("output of a failure", f"code {run_result.code}, new files: {shown}"))
    else:  # a hang, kill -9 or a signal too late
        for name in shown:
            decoded = decode(folder / name)
            if not decoded.whole:
                found.append(Violation("not whole", f"{name}: {decoded.said[:300]}"))
    return found


def _ending(run_result: RunResult, codes: Sequence[int]) -> list[Violation]:
    found = []
    tail = run_result.stderr.strip()[-800:]
    if run_result.code is None:
        found.append(Violation("hang", tail))
    elif run_result.code < 0 and run_result.code not in codes:
        found.append(Violation("crash", f"signal {-run_result.code}: {tail}"))
    elif run_result.code not in codes:
        found.append(Violation("exit code", f"{run_result.code}, expected one of {list(codes)}: {tail}"))
    if "Traceback" in run_result.stderr:
        found.append(Violation("traceback", tail))
    if run_result.code in (FAILED, USAGE, DAMAGE, MODEL, DISK) and not run_result.stderr.strip():
        found.append(Violation("no word", f"code {run_result.code} and nothing on stderr"))
    if "-q" in run_result.args and "Traceback" not in run_result.stderr:
        lines = [line for line in run_result.stderr.splitlines() if line]  # a line of its own after the terminal's ^C is fine
        noise = [line for line in lines if not line.startswith(("error: ", "warning: ", "interrupted"))]
        if noise or (run_result.code == DONE and lines):
            found.append(Violation("noise", "\n".join(lines)[:500]))
    if run_result.peak_mib > PEAK_MIB:
        found.append(Violation("memory", f"{run_result.peak_mib:.0f} MiB"))
    return found


def _weigh(
    run_result: RunResult, output: Path, source: Path | None, truncated: bool, original_frames: int | None
) -> Iterator[Violation]:
    """An output against what ffmpeg makes of it and of its input."""
    decoded = decode(output)
    frames = len(decoded.frames)
    if not decoded.whole:
        yield Violation("not whole", f"{output.name}: {frames} frames, ffmpeg says: {decoded.said[:300]}")
    if run_result.code == DAMAGE and source is not None:
        expected = len(decode(source).frames)
        if frames < 0.75 * expected - 4:
            yield Violation("frames lost", f"{frames} frames, ffmpeg decodes {expected}")
    if run_result.code != DONE:
        return
    if truncated:
        yield Violation("false success", f"a truncated input, code 0, {frames} frames of {original_frames}")
    elif source is not None:
        expected = len(decode(source).frames)
        # A decoder that saves more than ffmpeg's is no fault, if it saves all.
        if frames < expected or expected < frames < (original_frames or 0):
            yield Violation("false success", f"{frames} frames; ffmpeg decodes {expected} of the input's {original_frames}")
        heard, kept = audio_packets(source), audio_packets(output)
        if kept < heard:
            yield Violation("false success", f"{kept} packets of audio; the input has {heard}")


def check(run_result: RunResult, folder: Path, before: Snapshot, **weighed: Any) -> None:
    """Assert that `violations` finds none."""
    found = violations(run_result, folder, before, **weighed)
    assert not found, "\n".join([f"vidstyle {' '.join(run_result.args)}", *map(str, found)])


# --- clips


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
    """The moving bar with grain, so that most of the file is images."""

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
        facts: dict[str, Any] = {"size": size, "times": range(FRAMES), "codec": kind.codec, "pix_fmt": kind.pix_fmt}
        facts |= {"options": options, "time_base": kind.time_base, "container_options": dict(kind.options), "image": image}
        if kind.audio == "libopus":
            _write_with_opus(path, kind, size, image)
        else:
            audio: dict[str, Any] = {"audio": ["eng"], "audio_codec": kind.audio} if kind.audio else {}
            write_clip(path, **facts, **audio)
        return path.read_bytes()


def _write_with_opus(path: Path, kind: Container, size: tuple[int, int], image: Image) -> None:
    """`write_clip` makes audio of 44100 Hz, which Opus does not know."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(kind.codec, rate=24, options={"g": kind.keyframes, "deadline": "realtime", "cpu-used": "8"})
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
    """The first part; never cut between two packets of a transport stream, where nobody could tell."""
    size = int(len(data) * fraction)
    return data[: size + 1 if size % 188 == 0 else size]


def part_of(data: bytes, region: str) -> range:
    """Where the `header`, the `index` at the end or the `body` between them lies, roughly."""
    edge = max(256, len(data) // 20)
    return {"header": range(edge), "index": range(len(data) - edge, len(data)), "body": range(edge, len(data) - edge)}[region]


def flip_bits(data: bytes, seed: int, count: int, region: str) -> bytes:
    """`count` bits of a region are wrong."""
    chance = random.Random(seed)
    damaged = bytearray(data)
    for position in chance.sample(part_of(data, region), count):
        damaged[position] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def zero_block(data: bytes, seed: int, size: int) -> bytes:
    """A sector that could not be read."""
    begin = random.Random(seed).randrange(len(data) - size)
    return data[:begin] + bytes(size) + data[begin + size :]


def duplicate_block(data: bytes, seed: int, size: int) -> bytes:
    """A block that was written twice."""
    begin = random.Random(seed).randrange(len(data) - size)
    return data[: begin + size] + data[begin:]


def splice(data: bytes, other: bytes, seed: int) -> bytes:
    """The head of one file and the tail of another."""
    chance = random.Random(seed)
    return data[: chance.randrange(1, len(data))] + other[chance.randrange(len(other)) :]


@dataclass(frozen=True)
class Case:
    """A damaged file: whose, how, and its bytes."""

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
    """Any damage of any container, the same for the same seed."""
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
    """A case, how vidstyle ended on it, and the promises not kept."""

    case: Case
    run_result: RunResult
    violations: list[Violation]


def judge(worker: Worker, folder: Path, case: Case, *options: object) -> Verdict:
    """Paint a damaged file in a folder of its own, which is left there for the curious if it went wrong."""
    home = folder / f"{case.container} {case.name}".replace(" ", "-")
    home.mkdir(parents=True)
    source = home / f"in.{CONTAINERS[case.container].suffix}"
    source.write_bytes(case.data)
    before = snapshot(home)
    run_result = worker.run(source.name, *options, "-q", cwd=home)
    found = violations(
        run_result,
        home,
        before,
        codes=(DONE,) if case.damage == "none" else (DONE, FAILED, DAMAGE),
        source=source,
        truncated=case.truncated,
        original_frames=FRAMES,
    )
    if not found:
        for path in home.iterdir():
            path.unlink()
        home.rmdir()
    return Verdict(case, run_result, found)


# --- videos that take long enough to be interrupted

SEGMENTS = 6
"""Clips of a minute at two frames a second: six segments of twenty frames."""
SEGMENT_SUFFIXES = (".mkv", ".nut", ".mp4", ".ts")


def three_shots(index: int, width: int, height: int) -> Pixels:
    """Cuts in the middle of segments."""
    image = moving_bar(index, width, height)
    return image if index < 30 else 255 - image if index < 75 else np.ascontiguousarray(image[::-1, ::-1])


@dataclass(frozen=True)
class Film:
    """A clip and the options it is stylized with."""

    name: str = "in.mp4"
    options: tuple[str, ...] = ()
    clip: dict[str, Any] = field(default_factory=dict)
    damage: Callable[[bytes], bytes] = bytes
    code: int = DONE


def _uneven(frames: int) -> list[int]:
    """Times with gaps, one of them longer than a segment."""
    steps = np.random.default_rng(4).choice([1, 2, 3, 7], frames)
    steps[50] = 250
    return [int(t) for t in 30 + np.cumsum(steps)]


def _zeroed(data: bytes) -> bytes:
    """Damage in the first segments."""
    begin = len(data) // 5
    return data[:begin] + bytes(6000) + data[begin + 6000 :]


def _cut_off(data: bytes) -> bytes:
    return data[: int(0.8 * len(data))]


VIDEOS = {
    "plain": Film(),
    "steady": Film(options=("--stabilize", "light"), clip={"image": three_shots}),
    "uneven": Film(clip={"times": _uneven(120), "time_base": Fraction(1, 10)}),
    "hevc": Film(options=("--codec", "hevc", "--preset", "ultrafast")),
    "mkv": Film("in.mkv", clip={"image": three_shots}),
    "mov": Film("in.mov"),
    "trimmed": Film(options=("--start", "3.5", "--end", "51")),
    "silent": Film(options=("--no-audio",)),
    "damaged": Film("in.mkv", clip={"image": noise, "options": {"g": "6"}}, damage=_zeroed, code=DAMAGE),
    "cut off": Film("in.mkv", clip={"image": noise}, damage=_cut_off, code=DAMAGE),
}


@dataclass(frozen=True)
class Facts:
    """All of a file that must not depend on an interruption."""

    frames: list[tuple[Fraction, str]]
    audio: list[list[tuple[bytes, Fraction]]]
    languages: list[str | None]
    dispositions: list[int]


def facts_of(path: Path) -> Facts:
    frames = [(f.pts * f.time_base, hashlib.sha256(f.to_ndarray(format="rgb24")).hexdigest()) for f in frames_of(path)]
    with av.open(str(path)) as container:
        dispositions = [int(stream.disposition) for stream in container.streams]
    return Facts(frames, audio_of(path), languages_of(path), dispositions)


def assert_same(output: Path, expected: Facts) -> None:
    """The file is whole, and its frames, times and copied packets are `expected`, exactly."""
    decoded = decode(output)
    assert decoded.whole, decoded.said
    found = facts_of(output)
    assert [t for t, _ in found.frames] == [t for t, _ in expected.frames]
    assert found.frames == expected.frames
    assert found == expected


def make_video(name: str, folder: Path, size: tuple[int, int] = SIZE) -> Path:
    """The clip of a video."""
    video = VIDEOS[name]
    clip = {"times": range(120), "time_base": Fraction(1, 2), "audio": ["eng"], "size": size} | video.clip
    path = write_clip(folder / video.name, **clip)
    path.write_bytes(video.damage(path.read_bytes()))
    return path


class Studio:
    """A clip in a folder of its own, stylized with one set of options; processes are killed at the end of the test."""

    def __init__(self, folder: Path, video: Film, style: str = "slow", options: Sequence[str] = ()) -> None:
        self.folder, self.style = folder, style
        self.clip = folder / video.name
        self.output = folder / f"stylized{self.clip.suffix}"
        self.options = [*video.options, *options]
        self.running: list[subprocess.Popen[str]] = []

    @property
    def work(self) -> Path:
        """Where unfinished work lies."""
        return self.folder / f".{self.output.name}.resume"

    def command(self, *more: str, resume: bool = True) -> list[object]:
        given = [self.clip.name, "-o", self.output.name, "--style", self.style, *self.options, *more]
        return [*given, "--resume"] if resume else [*given]

    def start(self, *more: str) -> subprocess.Popen[str]:
        process = start(*self.command(*more), cwd=self.folder)
        self.running.append(process)
        return process

    def run(self, *more: str, resume: bool = True, file_size: int | None = None) -> RunResult:
        return run_limited(*self.command(*more, resume=resume), cwd=self.folder, file_size=file_size)

    def segments(self) -> list[Path]:
        """The finished segments: those that the manifest names."""
        try:
            listed = (self.work / "manifest.json").read_text()
            return sorted(p for p in self.work.iterdir() if p.suffix in SEGMENT_SUFFIXES and f'"{p.name}"' in listed)
        except OSError:
            return []

    def interrupt(self, after: int, number: signal.Signals = signal.SIGKILL, *more: str) -> RunResult:
        """Start, and stop when so many segments are finished."""
        process = self.start(*more)
        wait_until(lambda: len(self.segments()) >= after, process, f"{after} finished segments")
        process.send_signal(number)
        run_result = finish(process)
        assert run_result.code == (-number if number == signal.SIGKILL else STOPPED[number]), run_result
        assert "Traceback" not in run_result.stderr
        assert self.segments(), "the work is lost"
        return run_result

    def assert_clean(self) -> None:
        assert listing(self.folder) == sorted([self.clip.name, self.output.name])


if __name__ == "__main__":
    _worker_main()
