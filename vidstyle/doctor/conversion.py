"""A trial conversion: a small video is generated, stylized and checked."""

from __future__ import annotations

import json
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
from vidstyle.core.temporary_folder import TemporaryFolder
from vidstyle.doctor.checks import Check, check_of_error
from vidstyle.stylizers import load_stylizer

_WIDTH, _HEIGHT, _FRAMES = 640, 360, 30
_ADVICE = "the other rows may show why; `vidstyle styles verify` checks the styles"
_MIN_CHANGE = 2.0
"""Smallest mean difference of stylized and original pixels, in steps of 255."""


@dataclass(frozen=True)
class TrialConversion:
    """Speed of the conversion, and how often each provider of ONNX Runtime ran a node of the network."""

    frames_per_second: float
    nodes: Counter[str]

    def __str__(self) -> str:
        whole = sum(self.nodes.values())
        parts = [f"{count / whole:.0%} of the network on {name}" for name, count in self.nodes.most_common()]
        providers = f"the whole network on {next(iter(self.nodes))}" if len(self.nodes) == 1 else ", ".join(parts)
        speed = f"{self.frames_per_second:.1f} frames/s"
        return f"{_FRAMES} frames of {_WIDTH}x{_HEIGHT} in {StyleOptions.style} at {speed}, {providers}"


def conversion() -> list[Check]:
    """Whether a video can be converted with the default style on the CPU, and how fast."""
    try:
        return [Check("conversion", "ok", str(convert_trial_clip("cpu")))]
    except VidstyleError as error:
        row = check_of_error("conversion", "bad", error)
        return [Check(row.name, row.state, row.details, row.advice or _ADVICE)]


def convert_trial_clip(device: str) -> TrialConversion:
    """Convert a video on `device`; raises `VidstyleError`, such as `OutputError` if the output is not stylized."""
    with TemporaryFolder() as folder:
        clip, output = folder / "clip.mp4", folder / "stylized.mp4"
        write_video(clip, (_image(index) for index in range(_FRAMES)), frame_rate=25)
        options = ConvertOptions(style=StyleOptions(device=device, backend="onnx"))
        times: list[float] = []
        with _profiled(folder) as profiles:
            stylizer = load_stylizer(options.style)
            convert(str(clip), output, stylizer, options, on_frame=lambda count: times.append(time.monotonic()))
            nodes = profiles()
        _check_stylized(clip, output)
    return TrialConversion((len(times) - 1) / (times[-1] - times[0]), nodes)


@contextmanager
def _profiled(folder: Path) -> Iterator[Callable[[], Counter[str]]]:
    """Profile all sessions of ONNX Runtime, into `folder`; yields a function that counts the nodes run by each provider.

    The list of providers of a session is not enough: it also contains providers that run no node of the network.
    """
    original = ort.InferenceSession
    sessions: list[Any] = []

    def profiled_session(model: Any, sess_options: Any = None, **arguments: Any) -> Any:
        options = sess_options or ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / f"session-{len(sessions)}")  # two within one second would have the same name
        session = original(model, options, **arguments)
        sessions.append(session)
        return session

    ort.InferenceSession = profiled_session
    try:
        yield lambda: sum((_nodes(Path(session.end_profiling())) for session in sessions), Counter[str]())
    finally:
        ort.InferenceSession = original


def _nodes(profile: Path) -> Counter[str]:
    """How often each provider ran a node, from a profile of ONNX Runtime."""
    events = [event for event in json.loads(profile.read_text("utf-8")) if event.get("cat") == "Node"]
    names = [event["args"]["provider"] for event in events if event.get("args", {}).get("provider")]
    return Counter(name.removesuffix("ExecutionProvider") for name in names)


def _image(index: int) -> Pixels:
    """Gradients with a moving white bar, RGB uint8 (H, W, 3)."""
    y, x = np.mgrid[:_HEIGHT, :_WIDTH]
    image = np.dstack([x * 255 // _WIDTH, y * 255 // _HEIGHT, np.full_like(x, 80)]).astype(np.uint8)
    image[:, 8 * index : 8 * index + 24] = 255
    return image


def _check_stylized(clip: Path, output: Path) -> None:
    """Raise `OutputError` unless `output` has as many frames as `clip`, of the same size and with other pixels."""
    before, after = ([frame.pixels for frame in read_frames(path)] for path in (clip, output))
    if [image.shape for image in before] != [image.shape for image in after]:
        raise OutputError(f"expected {len(before)} stylized frames of {_WIDTH}x{_HEIGHT}, got {len(after)}")
    change = np.mean([np.abs(a.astype(np.int16) - b).mean() for a, b in zip(before, after, strict=True)])
    if change < _MIN_CHANGE:
        raise OutputError("expected a stylized video, got the original")
