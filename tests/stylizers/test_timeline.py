"""`--timeline`: each frame is stylized in the style of its time, whatever the file's clock, with cross-fades at changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import vidstyle
from tests.support.helpers import imread, moving_bar, rgb_of, write_clip
from tests.support.related_styles import dark, negative, write_relatives, write_simple
from vidstyle.cli import run_command_line
from vidstyle.core.errors import EXIT_DONE, UsageError
from vidstyle.core.frames import Frame, Pixels
from vidstyle.core.options import StyleOptions
from vidstyle.stylizers import load_stylizer

RATE = 24
LOSSLESS: dict[str, Any] = {"codec": "libx264rgb", "pix_fmt": "bgr0", "options": {"qp": "0", "g": "12"}}
ROUNDING = 1.01
"""Of 255: how far a blend may be off."""
UNEVEN = [int(t) for t in np.cumsum(np.random.default_rng(5).integers(10, 80, 36))]


@pytest.fixture(scope="module", autouse=True)
def relatives(tmp_path_factory: pytest.TempPathFactory, nets: dict[str, torch.nn.Module]) -> Iterator[None]:
    """The user's own styles are those of `related_styles.py`."""
    folder = tmp_path_factory.mktemp("relatives")
    write_relatives(folder, nets)
    write_simple(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDSTYLE_STYLES", str(folder))
        yield


def two_shots(index: int, width: int, height: int) -> Pixels:
    """A cut before the 20th frame; each shot grows darker, so that its statistics are not those of any part of it."""
    image, since = moving_bar(index, width, height), index % 20
    image = image if index < 20 else 255 - image[::-1]
    return np.ascontiguousarray(np.asarray(image * (1 - since / 40), np.uint8))


@dataclass(frozen=True)
class Clip:
    """A file, how it is written, and when its frames are shown, in seconds from its beginning."""

    name: str
    clip: dict[str, Any]
    times: Sequence[Fraction]


def evenly(first: int = 0) -> list[Fraction]:
    return [Fraction(first + n, RATE) for n in range(36)]


VIDEOS = {
    "plain": Clip("in.mkv", {"times": range(36)}, evenly()),
    "begins late": Clip("in.mov", {"times": range(5, 41)}, evenly()),
    "begins late in Matroska": Clip("in.mkv", {"times": range(103, 139)}, evenly()),
    "begins behind its audio": Clip("in.mkv", {"times": range(6, 42), "audio": ["eng"]}, evenly(6)),
    "uneven": Clip(
        "in.mkv",
        {"times": UNEVEN, "time_base": Fraction(1, 1000)},
        [Fraction(t - UNEVEN[0], 1000) for t in UNEVEN],
    ),
    "turned": Clip("in.mov", {"times": range(36), "rotation": 90}, evenly()),
}


@pytest.fixture
def video(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        return write_clip(tmp_path / VIDEOS[name].name, **LOSSLESS, **VIDEOS[name].clip, image=two_shots)

    return make


def stylized(video: Path, *args: object) -> Pixels:
    """The output of the command line."""
    output = video.with_name("out.mkv")
    arguments = [video, "-o", output, "--codec", "ffv1", "--device", "cpu", "--overwrite", "-q", *args]
    assert run_command_line([*map(str, arguments)]) == EXIT_DONE
    return rgb_of(output)


def assert_changes(found: Pixels, first: Pixels, second: Pixels, weights: Sequence[float]) -> None:
    """`weights`: of the second style in each frame."""
    assert found.shape == first.shape
    assert len(found) == len(weights)
    assert [n for n, weight in enumerate(weights) if weight == 0 and (found[n] != first[n]).any()] == []
    assert [n for n, weight in enumerate(weights) if weight == 1 and (found[n] != second[n]).any()] == []
    mixture = [a * (1 - weight) + b * weight for a, b, weight in zip(first, second, weights, strict=True)]
    off = np.abs(found - np.stack(mixture)).max(axis=(1, 2, 3))
    assert [n for n, gap in enumerate(off) if gap > ROUNDING] == []


def weight_of(seconds: float, change: float, fade: float) -> float:
    """The weight at `seconds` of a style that begins at `change`."""
    if seconds < change - 1e-6:
        return 0.0
    return min(1.0, (seconds - change) / fade) if fade else 1.0


VARIANTS: dict[str, tuple[list[object], Callable[[float], bool]]] = {
    "all of it": ([], lambda t: True),
    "from a start": (["--start", 0.4], lambda t: t >= 0.4),
    "a part": (["--start", 0.3, "--end", 1.2], lambda t: 0.3 <= t < 1.2),
    "a sample": (["--sample", 1.1], lambda t: t < 1.1),
    "several at once": (["--batch-size", 4], lambda t: True),
}


@pytest.mark.parametrize(
    ("name", "variant"),
    [*((name, "all of it") for name in VIDEOS), *(("begins late", variant) for variant in VARIANTS if variant != "all of it"),
     ("uneven", "from a start"), ("begins behind its audio", "a part")],
)  # fmt: skip
def test_frames_are_stylized_in_the_style_of_their_time(video: Callable[[str], Path], name: str, variant: str) -> None:
    path, (options, taken) = video(name), VARIANTS[variant]
    times = VIDEOS[name].times
    before = rgb_of(path)[[n for n, t in enumerate(times) if taken(float(t))]]
    # Changes after a cut, with a fade, and exactly at a frame.
    for change, fade in ((0.75, 0.25), (1.0, 0.0)):
        found = stylized(path, "--timeline", f"0:negative,{change}:dark", "--fade", fade, *options)
        weights = [weight_of(float(t), change, fade) for t in times if taken(float(t))]
        assert {0.0, 1.0} <= set(weights)
        assert_changes(found, negative(before), dark(before), weights)


@pytest.mark.parametrize("options", [[], ["--start", 0.4, "--batch-size", 4]], ids=str)
def test_every_style_has_the_statistics_of_the_shot(video: Callable[[str], Path], options: list[object]) -> None:
    """Even one that begins in the middle of it."""
    path = video("begins late")
    first, second = (stylized(path, "--style", style, *options) for style in ("tiny", "alien"))
    assert np.abs(first.astype(int) - second).mean() > 3, "a change would be invisible"
    for change, fade in ((0.6, 0.0), (0.5, 0.5)):
        found = stylized(path, "--timeline", f"0:tiny,{change}:alien", "--fade", fade, *options)
        weights = [weight_of(float(t), change, fade) for t in VIDEOS["begins late"].times if not options or t >= 0.4]
        assert_changes(found, first, second, weights)


def test_a_style_may_come_back(video: Callable[[str], Path]) -> None:
    """A fade that is longer than the time to the next change ends there."""
    path = video("plain")
    found = stylized(path, "--timeline", "0:negative,0.25:dark,0.5:negative,1:dark", "--fade", 10)
    weights = []
    for t in map(float, VIDEOS["plain"].times):
        begin, end = (0.25, 0.5) if t < 0.5 else (0.5, 1.0) if t < 1 else (1.0, 11.0)
        weight = weight_of(t, begin, end - begin)
        weights.append(1 - weight if 0.5 <= t < 1 else weight)
    assert_changes(found, negative(rgb_of(path)), dark(rgb_of(path)), weights)


def test_a_change_fades_for_a_second_by_default(video: Callable[[str], Path]) -> None:
    path = video("plain")
    found = stylized(path, "--timeline", "0:negative,0.2:dark")
    weights = [weight_of(float(t), 0.2, 1) for t in VIDEOS["plain"].times]
    assert_changes(found, negative(rgb_of(path)), dark(rgb_of(path)), weights)


def test_changes_after_the_end_have_no_effect(video: Callable[[str], Path]) -> None:
    path = video("plain")
    assert (stylized(path, "--timeline", "0:negative,0:10:dark") == negative(rgb_of(path))).all()
    assert (stylized(path, "--timeline", "0:dark") == dark(rgb_of(path))).all()


@pytest.mark.parametrize("options", [["--strength", 0.4], ["--height", 24], ["--preserve-color"]], ids=lambda words: words[0])
def test_other_options_apply_to_every_style_of_a_timeline(video: Callable[[str], Path], options: list[object]) -> None:
    path = video("plain")
    first, second = (stylized(path, "--style", style, *options) for style in ("negative", "dark"))
    found = stylized(path, "--timeline", "0:negative,0.5:dark", "--fade", 0, *options)
    assert_changes(found, first, second, [weight_of(float(t), 0.5, 0) for t in VIDEOS["plain"].times])


def test_a_still_image_is_stylized_in_the_first_style(tmp_path: Path) -> None:
    photo = tmp_path / "in.png"
    assert cv2.imwrite(str(photo), moving_bar(0, 64, 48))
    for style, name in (("0:alien,5:tiny", "timeline.png"), ("alien", "alone.png")):
        assert run_command_line([str(photo), "--style", style, "-o", str(tmp_path / name), "-q"]) == EXIT_DONE
    assert (tmp_path / "timeline.png").read_bytes() != photo.read_bytes()
    assert (imread(tmp_path / "timeline.png") == imread(tmp_path / "alone.png")).all()


# --- Python


def test_the_python_api_gives_the_same_frames(video: Callable[[str], Path]) -> None:
    path = video("begins late")
    expected = stylized(path, "--timeline", "0:negative,0.75:dark", "--fade", 0.25, "--start", 0.4)
    net = vidstyle.Stylizer("0:negative,0.75:dark", fade=0.25, device="cpu")
    assert (np.stack([frame.pixels for frame in net.frames(path, start=0.4)]) == expected).all()
    result = net.convert(path, path.with_name("call.mkv"), codec="ffv1", start=0.4)
    assert (rgb_of(result.output) == expected).all()


def test_timestamps_of_the_callers_frames_decide_the_style() -> None:
    images = [moving_bar(n, 64, 48) for n in range(12)]
    frames = [Frame(image, 2 * n, Fraction(1, 24)) for n, image in enumerate(images)]
    first, second, found = (
        np.stack([frame.pixels for frame in vidstyle.Stylizer(style, fade=0.0, device="cpu").frames(frames)])
        for style in ("negative", "dark", "0:negative,0.5:dark")
    )
    assert_changes(found, first, second, [weight_of(n / 12, 0.5, 0) for n in range(12)])
    numbered = vidstyle.Stylizer("0:negative,0.5:dark", fade=0.0, device="cpu").frames(images, frame_rate=12)
    assert (np.stack([frame.pixels for frame in numbered]) == found).all()


def test_arrays_without_timestamps_are_stylized_in_the_first_style() -> None:
    images = np.stack([moving_bar(n, 64, 48) for n in range(8)])
    alone = vidstyle.Stylizer("tiny", device="cpu")(images)
    for _ in range(3):  # several threads stylize them
        assert (vidstyle.Stylizer("0:tiny,1:alien", device="cpu")(images) == alone).all()


def test_statistics_of_a_timeline_are_those_of_all_its_styles() -> None:
    """For workers, which stylize chunks of a shot."""
    image, samples = moving_bar(0, 64, 48), [255 - moving_bar(0, 64, 48)]
    options = StyleOptions("0:tiny,1:alien", device="cpu", fade=0)
    shot = load_stylizer(options, cores=1).for_shot(samples)
    passed_on = load_stylizer(options, cores=1).with_statistics(shot.statistics())
    for seconds, style in ((0.5, "tiny"), (1.5, "alien")):
        alone = load_stylizer(StyleOptions(style, device="cpu"), cores=1).for_shot(samples).stylize([image])
        assert (shot.at(seconds).stylize([image]) == alone).all()
        assert (passed_on.at(seconds).stylize([image]) == alone).all()


def test_live_refuses_timelines(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["live", "--style", "0:tiny,10:alien"]) == UsageError.exit_code
    assert "timeline" in capfd.readouterr().err
