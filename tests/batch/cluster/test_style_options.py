"""Blends, timelines, strength, stroke size and masks: a chunked or resumed video equals the video stylized in one piece, and a
finished video is recognized by its style options."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.cluster import WatchedPool, assert_divided, convert_on
from tests.support.helpers import listing, moving_bar, rgb_of, write_clip
from vidstyle.api.options_from import options_of
from vidstyle.batch.cluster.scheduler import open_worker_pool
from vidstyle.batch.cluster.worker_pool import WorkerPool
from vidstyle.cli import run_command_line
from vidstyle.conversion.convert import convert
from vidstyle.core.errors import EXIT_DONE, EXIT_FAILED
from vidstyle.core.frames import Pixels
from vidstyle.core.options import ClusterOptions, ConvertOptions
from vidstyle.stylizers import load_stylizer

pytestmark = pytest.mark.usefixtures("relatives")

FRAMES = 72
LOSSLESS: dict[str, Any] = {"codec": "libx264rgb", "pix_fmt": "bgr0", "options": {"qp": "0", "g": "12", "bf": "0"}}

CONTROLS: dict[str, dict[str, Any]] = {
    "blend": {"style": "rough:0.3,alien:0.4,smooth:0.3"},
    "timeline": {"style": "0:tiny,1.2:alien,2.5:tiny", "fade": 0.5},
    "mask": {"style": "tiny", "mask": "mask.mkv"},
    "all at once": {
        "style": "0:tiny,1.2:alien",
        "fade": 0.0,
        "mask": "seldom.mkv",
        "strength": 0.7,
        "stroke_scale": 1.5,
        "preserve_color": True,
        "batch_size": 3,
        "start": 0.4,
    },
}  # fmt: skip


def two_shots(index: int, width: int, height: int) -> Pixels:
    """Two shots that grow darker, with a cut that is not at a regular keyframe."""
    image = moving_bar(index, width, height)
    image = image if index < 30 else 255 - image[::-1]
    return np.ascontiguousarray(np.asarray(image * (1 - index % 30 / 60), np.uint8))


def edge(index: int, width: int, height: int) -> Pixels:
    """White to the left of a moving edge."""
    mask = np.zeros((height, width, 3), np.uint8)
    mask[:, : (index + 1) * 5 % width] = 255
    return mask


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds that do not begin at zero, with masks of another rate and of one frame a second."""
    folder = tmp_path_factory.mktemp("video")
    write_clip(folder / "mask.mkv", times=range(30), time_base=Fraction(1, 10), image=edge, **LOSSLESS)
    write_clip(folder / "seldom.mkv", times=range(3), time_base=Fraction(1), image=edge, **LOSSLESS)
    return write_clip(folder / "in.mkv", times=range(100, 100 + FRAMES), image=two_shots, **LOSSLESS)


def options_for(name: str, video: Path, **more: Any) -> ConvertOptions:
    values = {"device": "cpu", "codec": "ffv1", **CONTROLS[name], **more}
    if "mask" in values:
        values["mask"] = video.with_name(values["mask"])
    return options_of(ConvertOptions, values)


@pytest.fixture(scope="module")
def in_one_piece(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The frames of the video from a run without interruption or workers."""
    known: dict[str, Pixels] = {}

    def of(name: str, **more: Any) -> Pixels:
        key = f"{name} {more}"
        if key not in known:
            options, output = options_for(name, video, **more), tmp_path_factory.mktemp("whole") / "out.mkv"
            convert(str(video), output, load_stylizer(options.style), options)
            known[key] = rgb_of(output)
        return known[key]

    return of


@pytest.fixture(scope="module")
def pool(relatives: None) -> Iterator[WorkerPool]:
    with closing(open_worker_pool(["tiny", "rough,smooth,alien"], ConvertOptions(), ClusterOptions(2))) as pool:
        yield pool


@pytest.mark.skipif(sys.platform != "linux", reason="needs signals as on Linux")
@pytest.mark.parametrize("name", CONTROLS)
def test_chunked_video_equals_video_in_one_piece(
    video: Path, in_one_piece: Any, pool: WorkerPool, tmp_path: Path, name: str
) -> None:
    watched = WatchedPool(pool)
    convert_on(watched, video, tmp_path / "out.mkv", options_for(name, video))
    assert_divided(watched, 2)
    assert (rgb_of(tmp_path / "out.mkv") == in_one_piece(name)).all()


@pytest.mark.parametrize(
    ("name", "more"), [*((name, {}) for name in CONTROLS), ("timeline", {"stabilize": "light"}), ("mask", {"stabilize": "light"})]
)
def test_resumed_video_equals_video_in_one_piece(
    video: Path, in_one_piece: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, more: dict[str, Any]
) -> None:
    monkeypatch.setattr("vidstyle.sinks.segments.SEGMENT_SECONDS", 1)
    options, output = options_for(name, video, resume=True, **more), tmp_path / "out.mkv"
    counts: list[int] = []

    def count(done: int) -> None:
        counts.append(done)
        if len(counts) == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(str(video), output, load_stylizer(options.style), options, on_frame=count)
    assert not output.exists()
    counts[:] = [0] * 40
    convert(str(video), output, load_stylizer(options.style), options, on_frame=count)
    assert counts[40] >= 24, "finished frames were stylized again"
    assert (rgb_of(output) == in_one_piece(name, **more)).all()
    assert listing(tmp_path) == ["out.mkv"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["--style", "tiny"], ["--style", "tiny", "--strength", "0.5"]),
        (["--style", "tiny"], ["--style", "tiny", "--stroke-scale", "2"]),
        (["--style", "tiny"], ["--style", "tiny:0.5,alien:0.5"]),
        (["--style", "tiny:0.5,alien:0.5"], ["--style", "tiny:0.6,alien:0.4"]),
        (["--timeline", "0:tiny,0.1:alien"], ["--timeline", "0:tiny,0.2:alien"]),
        (["--timeline", "0:tiny,0.1:alien"], ["--timeline", "0:tiny,0.1:alien", "--fade", "0"]),
    ],
    ids=" ".join,
)
def test_finished_video_is_recognized_by_its_style_options(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], before: list[str], after: list[str]
) -> None:
    clip = write_clip(tmp_path / "in.mp4", times=range(2))
    arguments = [str(clip), "-o", str(tmp_path / "out.mp4"), "--device", "cpu"]
    assert run_command_line([*arguments, *before]) == EXIT_DONE
    made = (tmp_path / "out.mp4").read_bytes()
    capfd.readouterr()
    assert run_command_line([*arguments, *before]) == EXIT_DONE
    assert "finished already" in capfd.readouterr().err
    for dry in (["--dry-run"], []):
        assert run_command_line([*arguments, *after, *dry]) == EXIT_FAILED
        assert "with other options" in capfd.readouterr().err
    assert (tmp_path / "out.mp4").read_bytes() == made
