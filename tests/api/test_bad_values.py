"""Values that no file can hold, names that no system has and forked processes are refused with one sentence, and at once."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vidstyle
from tests.support.helpers import frames_of, listing, time_of
from vidstyle import Frame, InputError, UsageError, VidstyleError

IMAGE = np.full((48, 64, 3), 90, np.uint8)


def frames(pts: Any = 0, time_base: Any = Fraction(1, 25), duration: Any = 0, alpha: Any = None) -> Iterator[Frame]:
    """One frame that Python lets a caller make."""
    yield Frame(IMAGE, pts, time_base, duration, alpha)


BAD_FRAMES: dict[str, dict[str, Any]] = {
    "time base 0": {"time_base": Fraction(0)},
    "negative time base": {"time_base": Fraction(-1, 25)},
    "time base as a float": {"time_base": 0.04},
    "no time base": {"time_base": None},
    "time base of a picosecond": {"time_base": Fraction(1, 10**12)},
    "time base of 10**20 terms": {"time_base": Fraction(10**20 + 1, 10**20)},
    "pts None": {"pts": None},
    "pts as a string": {"pts": "0"},
    "pts between ticks": {"pts": 1.5},
    "pts nan": {"pts": float("nan")},
    "pts of 2**62": {"pts": 2**62},
    "pts of 2**70": {"pts": 2**70},
    "pts of -2**63": {"pts": -(2**63)},
    "no duration": {"duration": None},
    "negative duration": {"duration": -1},
    "duration of 2**70": {"duration": 2**70},
    "alpha as a string": {"alpha": "opaque"},
}


@pytest.mark.parametrize("values", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_frame_that_no_file_can_hold(tmp_path: Path, values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="frame 0, got "):
        vidstyle.write_video(tmp_path / "out.mp4", frames(**values))
    with pytest.raises(UsageError, match="frame 0, got "):
        list(vidstyle.Stylizer("tiny").frames(frames(**values)))
    assert listing(tmp_path) == []


@pytest.mark.parametrize("rate", [1e12, 1e300, 1e-12, 5e-324, 10**400, 0, -25, float("nan"), float("inf"), "25", True], ids=str)
def test_frame_rate_that_no_file_can_hold(tmp_path: Path, rate: Any) -> None:
    with pytest.raises(UsageError, match="expected a frame_rate of 1e-05 to 1000000"):
        vidstyle.write_video(tmp_path / "out.mp4", [IMAGE], frame_rate=rate)
    with pytest.raises(UsageError, match="expected a frame_rate of 1e-05 to 1000000"):
        vidstyle.Stylizer("tiny").frames([IMAGE], frame_rate=rate)
    assert listing(tmp_path) == []


@pytest.mark.parametrize("rate", [1e6, 1e-4, 17.33337, Fraction(10**30 + 1, 10**29), Fraction(30000, 1001)], ids=str)
def test_strange_frame_rate_is_written(tmp_path: Path, rate: float | Fraction) -> None:
    vidstyle.write_video(tmp_path / "out.mkv", [IMAGE] * 3, frame_rate=rate)
    assert [float(time_of(frame)) for frame in frames_of(tmp_path / "out.mkv")] == pytest.approx(
        [n / float(rate) for n in range(3)], abs=5e-4
    )


def test_frame_rate_and_beginning_without_a_common_time_base(tmp_path: Path) -> None:
    late = [Frame(IMAGE, 5_000_000 + 3333 * n, Fraction(1, 999_983), 3333) for n in range(3)]
    like = vidstyle.write_video(tmp_path / "like.mp4", late).output
    vidstyle.write_video(tmp_path / "out.mkv", [IMAGE] * 3, like=like, frame_rate=17.33337)
    assert float(time_of(frames_of(tmp_path / "out.mkv")[1])) == pytest.approx(5_000_000 / 999_983 + 1 / 17.33337, abs=2e-3)


def test_first_frame_of_the_shortest_duration(tmp_path: Path) -> None:
    vidstyle.write_video(tmp_path / "out.mkv", frames(time_base=Fraction(1, 2**31 - 1), duration=1))
    assert len(frames_of(tmp_path / "out.mkv")) == 1


NAMES = {"NUL": "a\0", "not encodable": "a\ud800", "too long": "x" * 300}
WAYS: dict[str, Callable[[str, str], Any]] = {
    "read": lambda clip, name: list(vidstyle.read_frames(f"{name}.mp4")),
    "read an image": lambda clip, name: list(vidstyle.read_frames(f"{name}.png")),
    "write": lambda clip, name: vidstyle.write_video(f"{name}.mp4", [IMAGE], frame_rate=25),
    "write like": lambda clip, name: vidstyle.write_video("out.mp4", [IMAGE], like=f"{name}.mp4", frame_rate=25),
    "convert": lambda clip, name: vidstyle.stylize(f"{name}.mp4"),
    "convert an image": lambda clip, name: vidstyle.stylize(f"{name}.png"),
    "convert several": lambda clip, name: vidstyle.stylize([f"{name}.mp4", clip]),
    "convert into": lambda clip, name: vidstyle.stylize(clip, f"{name}.mp4"),
    "convert into an image": lambda clip, name: vidstyle.stylize(clip, f"{name}.png"),
    "convert into a folder": lambda clip, name: _raise_error_of(vidstyle.stylize([clip], f"{name}/")),
    "convert by a template": lambda clip, name: _raise_error_of(vidstyle.stylize([clip], f"{{stem}}{name}{{ext}}")),
    "convert and resume": lambda clip, name: vidstyle.stylize(clip, f"{name}.mp4", resume=True),
    "mask": lambda clip, name: vidstyle.stylize(clip, mask=f"{name}.png"),
    "video as a mask": lambda clip, name: vidstyle.stylize(clip, mask=f"{name}.mp4"),
    "frames": lambda clip, name: list(vidstyle.Stylizer("tiny").frames(f"{name}.mp4")),
    "style": lambda clip, name: vidstyle.Stylizer(name),
    "model": lambda clip, name: vidstyle.Stylizer(f"/{name}.onnx"),
}


def _raise_error_of(job_results: list[vidstyle.JobResult]) -> None:
    for job_result in job_results:
        assert job_result.error is not None
        raise job_result.error


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_name_that_no_file_can_have(
    clip: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[[str, str], Any], name: str
) -> None:
    monkeypatch.chdir(clip.parent)
    with pytest.raises(VidstyleError) as raised:
        way("in.mp4", name)
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    assert message.encode("utf-8"), "it can be printed"
    assert listing(clip.parent) == ["in.mp4"]


def test_url_that_cannot_be_parsed() -> None:
    for url in ("http://[::1/x.mp4", "http://ex\u2100ample.org/x.mp4"):
        with pytest.raises(UsageError, match="expected a URL such as"):
            vidstyle.stylize(url, allow_network=True)


def test_start_after_all_times(clip: Path) -> None:
    for start in (1e17, 1e300):
        with pytest.raises(UsageError, match="expected a start of 0 to"):
            vidstyle.read_frames(clip, start=start)
    with pytest.raises(InputError):
        list(vidstyle.read_frames(clip, start=1e9))


# A forked process has none of the threads that engines wait for.


def _error_in_a_fork(work: Callable[[], object]) -> str:
    """The name and message of the error that `work` raises in a forked child; empty if it raises none."""
    context: Any = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child() -> None:
        try:
            work()
            sender.send("")
        except BaseException as error:
            sender.send(f"{type(error).__name__}: {error}")

    process = context.Process(target=child)
    process.start()
    try:
        assert receiver.poll(60), "hangs"
        return str(receiver.recv())
    finally:
        process.kill()
        process.join()


@pytest.mark.skipif(sys.platform != "linux", reason="fork is safe on Linux only")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_forked_process_refuses_what_would_hang(clip: Path, backend: str) -> None:
    stylizer = vidstyle.Stylizer("tiny", backend=backend, device="cpu")
    stylizer(IMAGE)
    for work in (lambda: stylizer(IMAGE), lambda: stylizer.convert(clip), lambda: next(stylizer.frames(clip))):
        assert "UsageError: this Stylizer was loaded before the process was forked" in _error_in_a_fork(work)
    error = _error_in_a_fork(lambda: vidstyle.Stylizer("tiny", backend=backend, device="cpu")(IMAGE))
    assert error == "" if backend == "onnx" else "UsageError: torch was used before this process was forked" in error
    assert _error_in_a_fork(lambda: list(vidstyle.read_frames(clip))) == ""
    assert listing(clip.parent) == ["in.mp4"]
