"""Clips made on the spot, what is in a file, and the command line run as a user runs it."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import onnx
import pytest
from av.container import OutputContainer
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import vidstyle
from vidstyle.core.frames import Pixels

ROOT = Path(vidstyle.__file__).resolve().parents[1]
Image = Callable[[int, int, int], Pixels]


def moving_bar(index: int, width: int, height: int) -> Pixels:
    """A colour gradient with a white bar that moves."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width, dtype=np.uint8)
    image[..., 1] = np.linspace(0, 255, height, dtype=np.uint8)[:, None]
    image[..., 2] = 80
    image[:, (4 * index) % width : (4 * index) % width + 4] = 255
    return image


def noise(index: int, width: int, height: int) -> Pixels:
    """An image that does not compress."""
    return np.random.default_rng(index).integers(0, 256, (height, width, 3), np.uint8)


def write_clip(
    path: Path,
    *,
    size: tuple[int, int] = (64, 48),
    times: Sequence[int] = range(12),
    time_base: Fraction = Fraction(1, 24),
    audio: Sequence[str] = (),
    audio_codec: str = "aac",
    image: Image = moving_bar,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    rotation: int = 0,
    aspect: Fraction | None = None,
    metadata: dict[str, str] | None = None,
    chapters: list[Any] | None = None,
) -> Path:
    """A clip whose frames are shown at `times` (ticks of `time_base`), with an audio track for each language in `audio`."""
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        video = container.add_stream(codec, rate=round(1 / time_base), options=options or {})
        assert isinstance(video, av.VideoStream)
        video.width, video.height = size
        video.pix_fmt = pix_fmt
        video.time_base = video.codec_context.time_base = time_base
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
        if rotation:
            _rotate(video, rotation)
        container.metadata.update(metadata or {})
        if chapters:
            container.set_chapters(chapters)
        tracks = [_add_audio(container, language, audio_codec) for language in audio]
        for index, pts in enumerate(times):
            frame = av.VideoFrame.from_ndarray(image(index, *size), "rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = pts, time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        seconds = float((max(times) + 1) * time_base)
        for number, track in enumerate(tracks):
            _write_audio(container, track, seconds, 300 * (number + 1))
    return path


def _rotate(stream: Any, degrees: int) -> None:
    one = 1 << 16
    turns = {90: (0, -one, 0, one, 0, 0), 180: (-one, 0, 0, 0, -one, 0), 270: (0, one, 0, -one, 0, 0)}
    stream.set_display_matrix((*turns[degrees], 0, 0, 1 << 30))


def _add_audio(container: OutputContainer, language: str, codec: str = "aac") -> av.AudioStream:
    track = container.add_stream(codec, rate=44100)
    assert isinstance(track, av.AudioStream)
    track.layout = "mono"
    track.metadata["language"] = language
    return track


def _write_audio(container: OutputContainer, track: av.AudioStream, seconds: float, pitch: int) -> None:
    samples = np.sin(np.arange(round(seconds * 44100)) * 2 * np.pi * pitch / 44100).astype(np.float32) * 0.3
    for begin in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, begin : begin + 1024], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 44100, begin, Fraction(1, 44100)
        container.mux(track.encode(frame))
    container.mux(track.encode(None))


def append(path: Path, clips: Iterable[Path], ticks: int) -> Path:
    """The packets of the clips' videos one after the other, each clip `ticks` after the one before: the stream of the first,
    whatever the others are."""
    with av.open(str(path), "w") as output:
        stream = None
        for number, clip in enumerate(clips):
            with av.open(str(clip)) as container:
                stream = stream or output.add_stream_from_template(container.streams.video[0])
                for packet in container.demux(video=0):
                    if packet.size:
                        packet.pts = packet.dts = (packet.pts or 0) + ticks * number
                        packet.stream = stream
                        output.mux(packet)
    return path


def write_audio(path: Path, seconds: float = 0.5) -> Path:
    """A file with audio and no image."""
    with av.open(str(path), "w") as container:
        _write_audio(container, _add_audio(container, "eng"), seconds, 300)
    return path


def frames_of(path: Path) -> list[av.VideoFrame]:
    """All decoded frames of the first video stream."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def time_of(frame: av.VideoFrame | av.AudioFrame | av.Packet[Any]) -> Fraction:
    """When a frame or packet is shown or played, in seconds, exactly; it must have a timestamp."""
    assert frame.pts is not None
    assert frame.time_base is not None
    return frame.pts * frame.time_base


def times_of(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds, exactly."""
    return [time_of(frame) for frame in frames_of(path)]


def rgb_of(path: Path) -> np.ndarray:
    """The decoded images, (N, H, W, 3)."""
    return np.stack([frame.to_ndarray(format="rgb24") for frame in frames_of(path)])


def display_matrix_of(frame: av.VideoFrame) -> bytes | None:
    """The display matrix of a frame, which turns it, or None."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    return None if data is None else bytes(data)


def imread(path: Path, flags: int = cv2.IMREAD_COLOR) -> NDArray[Any]:
    """`cv2.imread` of an image that must be readable."""
    image = cv2.imread(str(path), flags)
    assert image is not None, f"{path} cannot be read"
    return image


def audio_of(path: Path) -> list[list[tuple[bytes, Fraction]]]:
    """For each audio track its packets: the bytes, and when they are played."""
    with av.open(str(path)) as container:
        tracks: dict[int, list[tuple[bytes, Fraction]]] = {stream.index: [] for stream in container.streams.audio}
        for packet in container.demux(*container.streams.audio) if tracks else ():
            if packet.size:
                tracks[packet.stream.index].append((bytes(packet), time_of(packet)))
    return list(tracks.values())


def languages_of(path: Path) -> list[str | None]:
    """The languages of the audio tracks."""
    with av.open(str(path)) as container:
        return [stream.metadata.get("language") for stream in container.streams.audio]


def listing(folder: Path) -> list[str]:
    """Everything in `folder`, hidden files too."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def command(*args: object) -> list[str]:
    """`vidstyle ARGS` as an argument list."""
    return [sys.executable, "-m", "vidstyle", *map(str, args)]


def environment(**extra: str) -> dict[str, str]:
    """The environment in which the package under test is found, from any folder, and shows tracebacks of unexpected errors."""
    own = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "VIDSTYLE_DEBUG": "1"}
    return {**os.environ, **own, **extra}


_OWN_PROCESS = ("bench", "devices", "doctor", "live")
"""Commands that measure, or that must not share a process with PyAV."""


def run_process(*args: object, cwd: Path | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `vidstyle ARGS` in a process of its own."""
    env = environment(**options.pop("env", {}))
    return subprocess.run(command(*args), cwd=cwd, env=env, capture_output=True, text=True, timeout=120, **options)


def run_cli(*args: object, cwd: Path | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `vidstyle ARGS` in this process, which saves a start; its results are those of `run_process`.

    Whatever a process only can have (limits, for one) gets one.
    """
    if str(args[0]) in _OWN_PROCESS or options.keys() - {"env", "input"}:
        return run_process(*args, cwd=cwd, **options)
    from vidstyle.cli import run_command_line

    words = [str(arg) for arg in args]
    with _as_process(words, cwd, options.get("env", {}), options.get("input", "")) as (out, err):
        try:
            code = run_command_line(words)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except BaseException:  # what would end the process
            traceback.print_exc()
            code = 1
    return subprocess.CompletedProcess(command(*args), code, out.getvalue().decode(), err.getvalue().decode())


@contextmanager
def _as_process(args: list[str], cwd: Path | None, env: dict[str, str], stdin: str) -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    """What a process of its own would have: arguments, folder, environment, streams, signal handlers and logging."""
    out, err = io.BytesIO(), io.BytesIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    root = logging.getLogger()
    level, log_handlers = root.level, root.handlers[:]
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(sys, "argv", ["vidstyle", *args])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode("utf-8", "surrogateescape")), "utf-8"))
        for name, stream in (("stdout", out), ("stderr", err)):
            wrapper = io.TextIOWrapper(stream, "utf-8", "backslashreplace", write_through=True)
            stack.callback(wrapper.detach)
            patch.setattr(sys, name, wrapper)
        for name, value in env.items():
            patch.setenv(name, value)
        if cwd is not None:
            patch.chdir(cwd)
        try:
            yield out, err
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            root.handlers[:] = log_handlers
            root.setLevel(level)


def paint(*args: object, style: str = "tiny", **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a conversion that must succeed."""
    done = run_cli(*args, "--style", style, **options)
    assert done.returncode == 0, done.stderr
    return done


def events(stderr: str) -> list[dict[str, Any]]:
    """The objects of `--progress json`; every line must be one."""
    return [json.loads(line) for line in stderr.splitlines()]


def messages(found: Iterable[dict[str, Any]]) -> str:
    """All warnings among events, one per line."""
    return "\n".join(str(event["message"]) for event in found if event["event"] == "warning")


def save_model(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, np.ndarray] | None = None,
    shape: Sequence[int | str] = ("n", 3, "h", "w"),
    kind: int = TensorProto.FLOAT,
) -> Path:
    """An ONNX model from `x` to `y`, as other tools write them: no facts of vidstyle's."""
    value = helper.make_tensor_value_info
    initializers = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(nodes, "other", [value("x", kind, shape)], [value("y", kind, shape)], initializers)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def identity_model(path: Path, shape: Sequence[int | str] = ("n", 3, "h", "w")) -> Path:
    """A foreign model that leaves images as they are."""
    return save_model(path, [helper.make_node("Identity", ["x"], ["y"])], shape=shape)


def hide_torch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that are started from now on find a torch in `folder` that cannot be imported."""
    folder.mkdir()
    (folder / "torch.py").write_text("raise ImportError('not installed')")
    monkeypatch.syspath_prepend(folder)
