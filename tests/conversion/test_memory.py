"""Frames that need more memory than allowed: fewer at once, then a smaller height, then an error before anything is decoded."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

import vidstyle
from tests.support.helpers import frames_of, listing, moving_bar, run_cli, write_clip
from tests.support.runs import CommandRunner
from vidstyle.conversion import memory
from vidstyle.conversion.memory import MemoryBudget, MemoryPlan
from vidstyle.core.errors import MemoryLimitError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import ConvertOptions
from vidstyle.core.protocols import Engine, Stylizer

GIB = 1 << 30
SIZE = (640, 360)
LEAN, LOW, TOO_LITTLE = "228M", "223M", "200M"
"""Limits for clips of that size: fewer frames at once, a smaller height, none that is enough."""


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(memory, "usable_cores", lambda: 2)  # more of them take more memory
    return write_clip(tmp_path / "clip.mp4", size=SIZE, times=range(3))


def images_of(path: Path) -> list[Pixels]:
    return [frame.to_ndarray(format="rgb24") for frame in frames_of(path)]  # type: ignore[misc]


def huge_png(path: Path, width: int, height: int) -> Path:
    """A PNG of a few bytes that claims this size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)))
    return path


def test_limit_that_is_met_with_fewer_frames_at_once_changes_no_pixel(clip: Path, tmp_path: Path) -> None:
    usual, lean = tmp_path / "usual.mkv", tmp_path / "lean.mkv"
    for output, options in ((usual, ["--batch-size", "3"]), (lean, ["--batch-size", "3", "--memory", LEAN])):
        done = run_cli(clip, "--style", "tiny", "--codec", "ffv1", "-o", output, *options)
        assert done.returncode == 0, done.stderr
        assert "height" not in done.stderr
    assert np.array_equal(images_of(usual), images_of(lean))


def test_frames_beyond_the_limit_are_stylized_at_a_smaller_height(clip: Path, tmp_path: Path) -> None:
    done = run_cli(clip, "--style", "tiny", "--memory", LOW, "-o", tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    [warning] = [line for line in done.stderr.splitlines() if line.startswith("warning:")]
    assert "stylizing 640x360 at a height of" in warning
    assert "--memory allows 223 MB" in warning
    assert [image.shape for image in images_of(tmp_path / "out.mp4")] == [(360, 640, 3)] * 3


def test_height_that_was_asked_for_is_not_lowered(clip: Path, tmp_path: Path) -> None:
    done = run_cli("-q", clip, "--style", "tiny", "--height", "1440", "--memory", "300M", "-o", tmp_path / "out.mp4")
    assert done.returncode == 1
    assert "with --height 1440" in done.stderr
    assert listing(tmp_path) == ["clip.mp4"]


def test_timeline_is_kept_at_a_smaller_height(clip: Path, tmp_path: Path) -> None:
    for output, timeline in ((tmp_path / "a.mkv", "0:tiny"), (tmp_path / "b.mkv", "0:tiny,0.08:slow")):
        done = run_cli(clip, "--timeline", timeline, "--fade", "0", "--memory", LOW, "--codec", "ffv1", "-o", output)
        assert done.returncode == 0, done.stderr
    same = [np.array_equal(*pair) for pair in zip(images_of(tmp_path / "a.mkv"), images_of(tmp_path / "b.mkv"), strict=True)]
    assert same == [True, True, False]


def test_frames_that_never_fit_are_refused_with_the_numbers(clip: Path, tmp_path: Path) -> None:
    for extra in ([], ["--dry-run"]):
        done = run_cli("-q", clip, "--style", "tiny", "--memory", TOO_LITTLE, *extra)
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        assert all(part in line for part in ("for 200 MB of memory", "got 640x360", "needs about", "--memory ")), line
    assert listing(tmp_path) == ["clip.mp4"]


def test_in_a_folder_only_the_large_file_is_refused(clip: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "small.mp4", times=range(2))
    huge_png(tmp_path / "huge.png", 20_000, 20_000)
    done = run_cli("--style", "tiny", "--memory", TOO_LITTLE, tmp_path, "-o", tmp_path / "out")
    assert done.returncode == 3
    assert listing(tmp_path / "out") == ["small.tiny.mp4"]
    assert "got 20000x20000" in done.stderr
    assert "got 640x360" in done.stderr


def test_image_is_stylized_at_a_smaller_height(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), moving_bar(0, *SIZE))
    done = run_cli(tmp_path / "a.png", "--style", "tiny", "--memory", "212M", "-o", tmp_path / "out.png")
    assert done.returncode == 0, done.stderr
    assert "stylizing 640x360 at a height of" in done.stderr
    with av.open(str(tmp_path / "out.png")) as image:
        assert (image.streams.video[0].width, image.streams.video[0].height) == SIZE


@pytest.mark.parametrize("limit", ["0", "-1G", "x", "nan", "G", "inf"])
def test_invalid_limit_is_a_usage_error(clip: Path, limit: str) -> None:
    done = run_cli(clip, "--memory", limit)
    assert done.returncode == 2
    assert "--memory" in done.stderr


def test_limit_in_python(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(MemoryLimitError, match="640x360"):
        vidstyle.stylize(clip, tmp_path / "out.mp4", style="tiny", memory=0.2)


class _OnEightCores(Stylizer):
    concurrency = 4

    @property
    def engine(self) -> Engine:
        return Engine("onnxruntime")

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("size", "gib", "plan"),
    [
        ((1920, 1080), 4, MemoryPlan()),
        ((3840, 2160), 16, MemoryPlan()),
        ((3840, 2160), 4, MemoryPlan(lean=True)),
        ((7680, 4320), 32, MemoryPlan()),
    ],
)
def test_usual_machines_give_nothing_up_for_usual_frames(
    size: tuple[int, int], gib: int, plan: MemoryPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: gib * GIB)
    monkeypatch.setattr(memory, "usable_cores", lambda: 8)
    budget = MemoryBudget("in.mp4", ConvertOptions())
    budget.check_size(*size)
    assert budget.plan(*size, _OnEightCores()) == plan


def test_unknown_memory_is_not_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: None)
    budget = MemoryBudget("in.mp4", ConvertOptions())
    budget.check_size(100_000, 100_000)
    assert budget.plan(100_000, 100_000, _OnEightCores()) == MemoryPlan()


@pytest.mark.slow
def test_large_frames_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    large = tmp_path / "large.mkv"
    with av.open(str(large), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 16384, 8640, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame(16384, 8640, "yuvj420p")))
        container.mux(stream.encode(None))
    runner = CommandRunner()
    try:
        run = runner.run("-q", large, "--memory", "11G", cwd=tmp_path)
    finally:
        runner.close()
    assert run.code == 1, run.stderr
    assert "got 16384x8640, which needs about" in run.stderr
    assert run.peak_mib < 1000
    assert listing(tmp_path) == ["large.mkv"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a choice of cores")
def test_peak_is_below_the_limit(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", size=(1280, 720), times=range(8))
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # for the runner, which inherits it
    try:
        runner = CommandRunner()
        run = runner.run(clip, "--style", "tiny", "--memory", "380M", "-o", "out.mp4", cwd=tmp_path)
        runner.close()
    finally:
        os.sched_setaffinity(0, cores)
    assert run.code == 0, run.stderr
    assert run.peak_mib < 420  # other programs share the libraries that are counted here


@pytest.mark.slow
def test_plan_of_20000_videos_takes_little_memory(tmp_path: Path) -> None:
    (tmp_path / "0.mp4").touch()
    for number in range(1, 20_000):
        os.link(tmp_path / "0.mp4", tmp_path / f"{number}.mp4")
    runner = CommandRunner()
    try:
        run = runner.run("-q", tmp_path, "--dry-run", cwd=tmp_path)
    finally:
        runner.close()
    assert run.code == 1
    assert len(run.stderr.splitlines()) == 20_000
    assert run.peak_mib < 300
