"""`--mask`: white parts are stylized and black parts are unchanged, in every frame at its own time, in display orientation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import vidstyle
from tests.support.helpers import imread, listing, moving_bar, rgb_of, write_audio, write_clip
from tests.support.related_styles import negative, write_simple
from vidstyle.cli import run_command_line
from vidstyle.core.errors import EXIT_DAMAGE, EXIT_DONE, EXIT_FAILED, InputError
from vidstyle.core.frames import Pixels

SIZE = (64, 48)
RATE = 24
FRAMES = 36
LOSSLESS: dict[str, Any] = {"codec": "libx264rgb", "pix_fmt": "bgr0", "options": {"qp": "0", "g": "12"}}


@pytest.fixture(scope="module", autouse=True)
def simple_styles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The style makes a negative of the input."""
    folder = tmp_path_factory.mktemp("simple")
    write_simple(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDSTYLE_STYLES", str(folder))
        yield


def grey(mask: np.ndarray) -> Pixels:
    return np.repeat(np.asarray(mask, np.uint8)[..., None], 3, axis=2)


def left_half(width: int, height: int) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[:, : width // 2] = 255
    return mask


def write_video(path: Path, **clip: Any) -> Path:
    return write_clip(path, **{"size": SIZE, "times": range(FRAMES), **LOSSLESS, **clip})


def write_mask(path: Path, levels: Sequence[int], **clip: Any) -> Path:
    """A video with one grey level per frame, by default at the frame rate of the video."""

    def image(index: int, width: int, height: int) -> Pixels:
        return np.full((height, width, 3), levels[index], np.uint8)

    return write_video(path, **{"image": image, "times": range(len(levels)), **clip})


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "in.mkv")


def command(video: Path, *args: object, output: str = "out.mkv") -> list[str]:
    given = [video, "-o", video.with_name(output), "--style", "negative", "--codec", "ffv1", "--device", "cpu", "-q", *args]
    return [*map(str, given)]


def stylized(video: Path, *args: object) -> Pixels:
    """The output of the command line."""
    assert run_command_line([*command(video, *args), "--overwrite"]) == EXIT_DONE
    return rgb_of(video.with_name("out.mkv"))


def assert_stylized_when(found: Pixels, before: Pixels, is_white: Sequence[bool]) -> None:
    """`is_white`: whether each frame is stylized or unchanged."""
    assert found.shape == before.shape
    seen = [(bool((f == p).all()), bool((f == b).all())) for f, p, b in zip(found, negative(before), before, strict=True)]
    assert seen == [(white, not white) for white in is_white]


# --- images


@pytest.mark.parametrize("size", [(64, 48), (128, 96), (32, 24), (65, 49)], ids=str)
def test_black_part_is_unchanged(video: Path, size: tuple[int, int]) -> None:
    cv2.imwrite(str(video.with_name("mask.png")), left_half(*size))
    found, full, before = stylized(video, "--mask", video.with_name("mask.png")), stylized(video), rgb_of(video)
    assert (found[:, :, :30] == full[:, :, :30]).all()
    assert (found[:, :, 34:] == before[:, :, 34:]).all()
    assert (full != before).mean() > 0.5


def test_grey_part_is_stylized_partially(video: Path) -> None:
    cv2.imwrite(str(video.with_name("mask.png")), np.full((48, 64), 51, np.uint8))
    mixture = 0.8 * rgb_of(video) + 0.2 * stylized(video)
    assert np.abs(stylized(video, "--mask", video.with_name("mask.png")) - mixture).max() <= 1


@pytest.mark.parametrize("options", [["--preserve-color"], ["--stabilize", "strong"], ["--batch-size", 5], ["--strength", 0.5]],
                         ids=lambda words: words[0])  # fmt: skip
def test_black_part_is_unchanged_with_other_options(video: Path, options: list[object]) -> None:
    cv2.imwrite(str(video.with_name("mask.png")), left_half(*SIZE))
    found = stylized(video, "--mask", video.with_name("mask.png"), *options)
    assert (found[:, :, 32:] == rgb_of(video)[:, :, 32:]).all()
    assert (found[:, :, :32] == stylized(video, *options)[:, :, :32]).all()


def test_mask_for_a_still_image(tmp_path: Path) -> None:
    photo, mask = tmp_path / "in.png", tmp_path / "mask.png"
    cv2.imwrite(str(photo), moving_bar(0, *SIZE))
    cv2.imwrite(str(mask), left_half(*SIZE))
    for name, options in (("full.png", []), ("masked.png", ["--mask", str(mask)])):
        assert run_command_line([str(photo), "--style", "negative", "-o", str(tmp_path / name), "-q", *options]) == EXIT_DONE
    before, full, found = (imread(tmp_path / name) for name in ("in.png", "full.png", "masked.png"))
    assert (found[:, 32:] == before[:, 32:]).all()
    assert (found[:, :32] == full[:, :32]).all()


# --- videos


def alternating(times: Sequence[Fraction], asked: Sequence[Fraction]) -> list[bool]:
    """Whether the mask is white at each time asked for, if its frames at `times` are white and black in turn."""
    return [max(n for n, t in enumerate(times) if t <= at or n == 0) % 2 == 0 for at in asked]


def levels(count: int) -> list[int]:
    return [0 if n % 2 else 255 for n in range(count)]


EVENLY = [Fraction(n, RATE) for n in range(FRAMES)]
ODD = np.random.default_rng(7).choice(range(1, 70, 2), 22, replace=False)
UNEVEN = [0, *sorted(map(int, ODD)), 71]
"""Ticks of 1/48 s: only the first is that of a frame at a constant rate."""

MASKS: dict[str, tuple[dict[str, Any], list[Fraction]]] = {
    "frame by frame": ({"times": range(36)}, EVENLY),
    "another rate": ({"times": range(15), "time_base": Fraction(1, 10)}, [Fraction(n, 10) for n in range(15)]),
    "few frames": ({"times": range(2), "time_base": Fraction(1)}, [Fraction(0), Fraction(1)]),
    "more frames": ({"times": range(75), "time_base": Fraction(1, 50)}, [Fraction(n, 50) for n in range(75)]),
    "another clock": ({"times": range(50, 86)}, EVENLY),
    "uneven": ({"times": UNEVEN, "time_base": Fraction(1, 48)}, [Fraction(t, 48) for t in UNEVEN]),
    "another size": ({"times": range(36), "size": (128, 96)}, EVENLY),
}


@pytest.mark.parametrize("name", MASKS)
def test_every_frame_gets_the_mask_of_its_time(video: Path, name: str) -> None:
    clip, times = MASKS[name]
    mask = write_mask(video.with_name("mask.mkv"), levels(len(times)), **clip)
    assert_stylized_when(stylized(video, "--mask", mask), rgb_of(video), alternating(times, EVENLY))


VIDEOS: dict[str, tuple[str, dict[str, Any], list[Fraction]]] = {
    "begins late": ("in.mov", {"times": range(7, 7 + FRAMES)}, EVENLY),
    "begins late in Matroska": ("in.mkv", {"times": range(103, 103 + FRAMES)}, EVENLY),
    "begins behind its audio": (
        "in.mkv",
        {"times": range(6, 6 + FRAMES), "audio": ["eng"]},
        [t + Fraction(6, RATE) for t in EVENLY],
    ),
    "uneven": ("in.mkv", {"times": UNEVEN, "time_base": Fraction(1, 48)}, [Fraction(t, 48) for t in UNEVEN]),
}


@pytest.mark.parametrize("name", VIDEOS)
@pytest.mark.parametrize("options", [[], ["--start", "0.6"]], ids=["all of it", "from a start"])
def test_times_count_from_the_beginning_of_each_file(tmp_path: Path, name: str, options: list[str]) -> None:
    file, clip, times = VIDEOS[name]
    video = write_video(tmp_path / file, **clip)
    shown = [t for t in times if not options or t >= Fraction("0.6")]
    masked = [Fraction(n, 12) for n in range(21)]
    mask = write_mask(tmp_path / "mask.mkv", levels(21), times=range(21), time_base=Fraction(1, 12))
    before = rgb_of(video)[-len(shown) :]
    assert_stylized_when(stylized(video, "--mask", mask, *options), before, alternating(masked, shown))


@pytest.mark.parametrize(
    ("options", "taken"),
    [
        (["--start", 1.25], lambda t: t >= 1.25),
        (["--start", 0.5, "--end", 0.8], lambda t: 0.5 <= t < 0.8),
        (["--sample", 0.5], lambda t: t < 0.5),
        (["--batch-size", 5], lambda t: True),
    ],
    ids=["start", "start and end", "sample", "batches"],
)
def test_trimmed_video_gets_the_masks_of_its_times(video: Path, options: list[object], taken: Callable[[float], bool]) -> None:
    mask = write_mask(video.with_name("mask.mkv"), levels(3), times=range(3), time_base=Fraction(3, 5))
    asked = [t for t in EVENLY if taken(float(t))]
    before = rgb_of(video)[[taken(float(t)) for t in EVENLY]]
    shown = [Fraction(3 * n, 5) for n in range(3)]
    assert_stylized_when(stylized(video, "--mask", mask, *options), before, alternating(shown, asked))


@pytest.mark.parametrize("start", [1.7, 2.9])
def test_mask_that_rarely_changes_is_right_after_a_start_time(tmp_path: Path, start: float) -> None:
    """The frame that is shown at the start time began long before."""
    video = write_video(tmp_path / "in.mkv", times=range(76))
    mask = write_mask(tmp_path / "mask.mkv", levels(3), times=range(3), time_base=Fraction(1), options={"qp": "0", "g": "1"})
    asked = [Fraction(n, RATE) for n in range(76) if n / RATE >= start]
    shown = [Fraction(n) for n in range(3)]
    found = stylized(video, "--mask", mask, "--start", start)
    assert_stylized_when(found, rgb_of(video)[-len(asked) :], alternating(shown, asked))


def test_still_mask_equals_a_video_of_it(video: Path) -> None:
    cv2.imwrite(str(video.with_name("mask.png")), left_half(*SIZE))
    moving = write_video(video.with_name("mask.mkv"), image=lambda n, width, height: grey(left_half(width, height)))
    still = stylized(video, "--mask", video.with_name("mask.png"))
    assert (stylized(video, "--mask", moving) == still).all()


# --- rotated videos


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("kind", ["image", "video", "rotated video"])
def test_masks_are_in_display_orientation(tmp_path: Path, rotation: int, kind: str) -> None:
    """The upper left corner, as players show it, is stylized."""
    video = write_video(tmp_path / "in.mov", rotation=rotation, times=range(3))
    seen = np.stack([frame.pixels for frame in vidstyle.read_frames(video)])
    _, height, width, _ = seen.shape
    corner = np.zeros((height, width), np.uint8)
    corner[: height // 2, : width // 2] = 255
    mask = tmp_path / ("mask.png" if kind == "image" else "mask.mov")
    if kind == "image":
        cv2.imwrite(str(mask), corner)
    elif kind == "video":
        write_video(mask, size=(width, height), image=lambda *_: grey(corner), times=range(3))
    else:
        stored = np.ascontiguousarray(np.rot90(corner, rotation // 90 * rotation_direction(tmp_path, rotation)))
        write_video(mask, image=lambda *_: grey(stored), times=range(3), rotation=rotation)
    output = tmp_path / "out.mkv"
    assert run_command_line(command(video, "--mask", mask)) == EXIT_DONE
    shown = np.stack([frame.pixels for frame in vidstyle.read_frames(output)])
    changed = (shown != seen).any(-1)
    assert changed[:, corner > 0].mean() > 0.5
    assert not changed[:, corner == 0].any()


def rotation_direction(folder: Path, rotation: int) -> int:
    """1 if this rotation turns the image clockwise for display, else -1."""
    bright = np.zeros((*SIZE[::-1], 3), np.uint8)
    bright[:24, :32] = 255
    probe = write_video(folder / "probe.mov", rotation=rotation, times=range(1), image=lambda *_: bright)
    [seen] = vidstyle.read_frames(probe)
    shown = np.rot90(bright, -(rotation // 90))
    return 1 if shown.shape == seen.pixels.shape and (shown == seen.pixels).all() else -1


# --- unsuitable masks


def bad_mask(folder: Path, kind: str) -> Path:
    image, video = folder / "mask.png", folder / "mask.mkv"
    if kind == "another shape":
        cv2.imwrite(str(image), np.full((48, 48), 255, np.uint8))
    elif kind == "black":
        cv2.imwrite(str(image), np.zeros((48, 64), np.uint8))
    elif kind == "no image":
        image.write_bytes(b"nothing")
    elif kind == "no video":
        video.write_bytes(b"nothing")
    elif kind == "a video of another shape":
        write_mask(video, [255] * FRAMES, size=(48, 48))
    elif kind == "too short":
        write_mask(video, [255] * 20)
    elif kind == "too long":
        write_mask(video, [255] * 60)
    elif kind == "audio":
        write_audio(video)
    elif kind == "a folder":
        video.mkdir()
    return video if video.exists() or kind == "missing" else image


BAD = {
    "another shape": "expected a mask of the image's shape, 64x48, got 48x48",
    "black": "found only black",
    "no image": "could not read",
    "no video": "mask.mkv",
    "a video of another shape": "expected a mask of the image's shape, 64x48, got 48x48",
    "too short": "expected a mask as long as the video, 1.5 s, got 0.8 s",
    "too long": "expected a mask as long as the video, 1.5 s, got 2.5 s",
    "audio": "mask.mkv",
    "a folder": "mask.mkv",
    "missing": "mask.mkv",
}


@pytest.mark.parametrize("kind", BAD)
def test_unsuitable_mask_is_reported_before_anything_is_written(
    video: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    mask = bad_mask(video.parent, kind)
    there = listing(video.parent)
    for words in (["--dry-run"], []):
        assert run_command_line(command(video, "--mask", mask, *words)) == EXIT_FAILED
        message = capfd.readouterr().err
        assert BAD[kind] in message
        assert mask.name in message
        assert "Traceback" not in message
        assert listing(video.parent) == there
    with pytest.raises(InputError):
        vidstyle.stylize(video, video.with_name("out.mkv"), style="negative", mask=mask)
    assert listing(video.parent) == there


def test_mask_only_has_to_cover_the_stylized_part(video: Path) -> None:
    mask = write_mask(video.with_name("mask.mkv"), [0] * 20)
    assert (stylized(video, "--mask", mask, "--end", 0.8) == rgb_of(video)[:20]).all()


def test_mask_may_end_slightly_before_the_video(video: Path) -> None:
    """For example if it was made at another frame rate."""
    mask = write_mask(video.with_name("mask.mkv"), [255] * 29 + [0])
    assert_stylized_when(stylized(video, "--mask", mask), rgb_of(video), [True] * 29 + [False] * 7)


def test_files_of_a_folder_that_fit_the_mask_are_stylized(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    cv2.imwrite(str(tmp_path / "mask.png"), left_half(*SIZE))
    for name, size in (("a.mkv", SIZE), ("b.mkv", (48, 48)), ("c.mkv", (128, 96))):
        write_video(folder / name, size=size, times=range(3))
    words = [str(folder), "--style", "negative", "--codec", "ffv1", "--mask", str(tmp_path / "mask.png"), "-q"]
    assert run_command_line(words) == EXIT_DAMAGE
    assert listing(folder) == ["a.mkv", "a.negative.mkv", "b.mkv", "c.mkv", "c.negative.mkv"]
    for name, width in (("a", 64), ("c", 128)):
        before, after = rgb_of(folder / f"{name}.mkv"), rgb_of(folder / f"{name}.negative.mkv")
        assert (after[:, :, width // 2 + 2 :] == before[:, :, width // 2 + 2 :]).all()  # at the edge a scaled mask is grey
        assert (after[:, :, : width // 2 - 2] == negative(before)[:, :, : width // 2 - 2]).all()


# --- finished work


def test_finished_video_is_recognized_by_its_mask(video: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mask, moved = video.with_name("mask.png"), video.with_name("elsewhere.png")
    cv2.imwrite(str(mask), left_half(*SIZE))
    assert run_command_line(command(video, "--mask", mask)) == EXIT_DONE
    made = video.with_name("out.mkv").stat().st_mtime_ns
    mask.rename(moved)
    assert run_command_line(command(video, "--mask", moved)) == EXIT_DONE
    cv2.imwrite(str(mask), 255 - left_half(*SIZE))
    capfd.readouterr()
    for words in (["--mask", mask], []):
        assert run_command_line(command(video, *words)) == EXIT_FAILED
        assert "with other options" in capfd.readouterr().err
    assert video.with_name("out.mkv").stat().st_mtime_ns == made


def test_mask_from_python(video: Path) -> None:
    cv2.imwrite(str(video.with_name("mask.png")), left_half(*SIZE))
    expected = stylized(video, "--mask", video.with_name("mask.png"), "--strength", 0.5)
    given: dict[str, Any] = {"style": "negative", "mask": video.with_name("mask.png"), "strength": 0.5, "device": "cpu"}
    result = vidstyle.stylize(video, video.with_name("call.mkv"), codec="ffv1", **given)
    assert (rgb_of(result.output) == expected).all()
