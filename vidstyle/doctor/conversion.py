"""The main job, done: a small video is made, stylized and looked at."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from vidstyle.api.video_io import read_frames, write_video
from vidstyle.conversion.convert import convert
from vidstyle.core.errors import OutputError, VidstyleError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import ConvertOptions, StyleOptions
from vidstyle.doctor.checks import Check, refused
from vidstyle.stylizers import load_stylizer

_WIDTH, _HEIGHT, _FRAMES = 640, 360, 30
_ADVICE = "the other rows may say why; `vidstyle styles verify` looks at the styles"
_LEAST_CHANGE = 2.0
"""Steps of 255 by which a painting differs from what it was stylized from, on the average."""


@dataclass(frozen=True)
class Painted:
    """What painting was like. `nodes`: how often each of ONNX Runtime's providers ran a node of the net."""

    frames_per_second: float
    nodes: Counter[str]

    def __str__(self) -> str:
        whole = sum(self.nodes.values())
        shares = [f"{count / whole:.0%} of the net's nodes on {name}" for name, count in self.nodes.most_common()]
        ran = f"the whole net on {next(iter(self.nodes))}" if len(self.nodes) == 1 else ", ".join(shares)
        speed = f"{self.frames_per_second:.1f} frames/s"
        return f"{_FRAMES} frames of {_WIDTH}x{_HEIGHT} in {StyleOptions.style} at {speed}, {ran}"


def painting() -> list[Check]:
    """Whether the default style can be stylized on the CPU, and how fast."""
    try:
        return [Check("painting", "ok", str(paint("cpu")))]
    except VidstyleError as error:
        row = refused("painting", "bad", error)
        return [Check(row.name, row.state, row.found, row.advice or _ADVICE)]


def paint(device: str) -> Painted:
    """Paint a video on `device`; raises the kinds of `VidstyleError`, among them `OutputError` for what is no painting."""
    with tempfile.TemporaryDirectory(prefix="vidstyle-") as name:
        folder = Path(name)
        clip, output = folder / "clip.mp4", folder / "stylized.mp4"
        write_video(clip, (_image(index) for index in range(_FRAMES)), frame_rate=25)
        options = ConvertOptions(style=StyleOptions(device=device, backend="onnx"))
        times: list[float] = []
        with _profiled(folder) as profiles:
            stylizer = load_stylizer(options.style)
            convert(str(clip), output, stylizer, options, on_frame=lambda count: times.append(time.monotonic()))
            nodes = profiles()
        _check_stylized(clip, output)
    return Painted((len(times) - 1) / (times[-1] - times[0]), nodes)


@contextmanager
def _profiled(folder: Path) -> Iterator[Callable[[], Counter[str]]]:
    """What is opened in ONNX Runtime inside keeps a record in `folder`; gives what counts the nodes that each provider ran.

    A session's own list of providers tells which are there; a provider that takes no node of the net is in it all the same.
    """
    genuine = ort.InferenceSession
    sessions: list[Any] = []

    def opened(model: Any, sess_options: Any = None, **choices: Any) -> Any:
        options = sess_options or ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / f"session-{len(sessions)}")  # two of one second would share a name
        session = genuine(model, options, **choices)
        sessions.append(session)
        return session

    ort.InferenceSession = opened
    try:
        yield lambda: sum((_nodes(Path(session.end_profiling())) for session in sessions), Counter[str]())
    finally:
        ort.InferenceSession = genuine


def _nodes(record: Path) -> Counter[str]:
    """How often each provider ran a node, from what ONNX Runtime has recorded."""
    events = [event for event in json.loads(record.read_text("utf-8")) if event.get("cat") == "Node"]
    names = [event["args"]["provider"] for event in events if event.get("args", {}).get("provider")]
    return Counter(name.removesuffix("ExecutionProvider") for name in names)


def _image(index: int) -> Pixels:
    """Gradients with a white bar that moves, uint8 RGB."""
    y, x = np.mgrid[:_HEIGHT, :_WIDTH]
    image = np.dstack([x * 255 // _WIDTH, y * 255 // _HEIGHT, np.full_like(x, 80)]).astype(np.uint8)
    image[:, 8 * index : 8 * index + 24] = 255
    return image


def _check_stylized(clip: Path, output: Path) -> None:
    """Raise `OutputError` unless `output` has as many frames as `clip`, as large, that look otherwise."""
    before, after = ([frame.pixels for frame in read_frames(path)] for path in (clip, output))
    if [image.shape for image in before] != [image.shape for image in after]:
        raise OutputError(f"expected {len(before)} stylized frames of {_WIDTH}x{_HEIGHT}, got {len(after)}")
    change = np.mean([np.abs(a.astype(np.int16) - b).mean() for a, b in zip(before, after, strict=True)])
    if change < _LEAST_CHANGE:
        raise OutputError("expected a painting, got the video as it was")
