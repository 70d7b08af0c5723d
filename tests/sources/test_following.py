"""Reading ahead: the images that follow a frame, read from the file opened a second time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.support.helpers import append, moving_bar, write_clip
from vidstyle.core.errors import InputChangedError
from vidstyle.core.frames import Frame, Pixels
from vidstyle.core.options import Trim
from vidstyle.sources.video import FrameWindow, VideoSource


def lighter(index: int, width: int, height: int) -> Pixels:
    """No frame like another."""
    return moving_bar(index, width, height) // 4 + np.uint8(3 * index)


@pytest.fixture(params=[".mp4", ".mkv"])
def long_clip(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Two seconds that begin late, with a key frame every half second."""
    return write_clip(tmp_path / f"in{request.param}", times=range(12, 60), image=lighter, options={"g": "12"})


@contextmanager
def opened(path: Path, trim: Trim = Trim(), window: FrameWindow = FrameWindow()) -> Iterator[tuple[VideoSource, list[Frame]]]:
    """A source, and all its frames."""
    with closing(VideoSource(str(path), trim, may_seek=window != FrameWindow(), window=window)) as source:
        yield source, list(source.frames())


@pytest.mark.parametrize("trim", [Trim(), Trim(0.5, 1.5), Trim(0.3), Trim(0, 1)], ids=["whole", "part", "rest", "beginning"])
def test_following_yields_the_same_images_as_frames(long_clip: Path, trim: Trim) -> None:
    with opened(long_clip, trim) as (source, frames):
        for begin in (0, 1, 7, 13, len(frames) - 1):
            following = list(source.following(frames[begin], 0.5))
            expected = [frame.pixels for frame in frames[begin:]]
            assert min(len(expected), 11) <= len(following) <= min(len(expected), 15), "about half a second, within the trim"
            assert all((a == b).all() for a, b in zip(following, expected, strict=False))


def test_reading_ahead_does_not_disturb_the_frames(long_clip: Path) -> None:
    with opened(long_clip) as (undisturbed, expected), closing(VideoSource(str(long_clip))) as source:
        seen = []
        for frame in source.frames():
            seen.append(frame)
            if frame.pts % 5 == 0:
                with closing(source.following(frame, 1)) as following:
                    assert (next(following) == frame.pixels).all()
                    next(following, None)
        assert [f.pts for f in seen] == [f.pts for f in expected]
        assert all((a.pixels == b.pixels).all() for a, b in zip(seen, expected, strict=True))
        assert source.damage() == undisturbed.damage()


def spoil(path: Path) -> None:
    path.write_bytes(b"no video")


def replace_by_another(path: Path) -> None:
    write_clip(path, image=lambda index, w, h: 255 - lighter(index, w, h))


def test_frame_that_is_not_found_again_is_the_only_one(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mkv", image=lighter)
    with opened(clip) as (source, frames):
        clip.unlink()
        for frame in (frames[0], frames[7]):
            (alone,) = source.following(frame, 1)
            assert (alone == frame.pixels).all()


@pytest.mark.parametrize("change", [spoil, replace_by_another])
def test_frames_of_another_file_do_not_follow(tmp_path: Path, change: Callable[[Path], None]) -> None:
    clip = write_clip(tmp_path / "in.mkv", image=lighter)
    with opened(clip) as (source, frames):
        change(clip)
        with pytest.raises(InputChangedError):
            list(source.following(frames[7], 1))


def test_image_that_is_not_in_the_file_is_the_only_one(tmp_path: Path) -> None:
    with opened(write_clip(tmp_path / "in.mkv", image=lighter)) as (source, frames):
        other = replace(frames[3], pixels=255 - frames[3].pixels)
        (alone,) = source.following(other, 1)
        assert (alone == other.pixels).all()


def test_trimmed_transport_stream_begins_at_the_start_time(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.ts", times=range(48), image=lighter, options={"g": "12"})
    with opened(clip) as (_, frames), opened(clip, Trim(0.5)) as (_, part):
        assert [f.pixels.mean() for f in part] == [f.pixels.mean() for f in frames[12:]]


def test_matroska_file_that_begins_late_is_not_reported_as_cut_off(tmp_path: Path) -> None:
    with opened(write_clip(tmp_path / "in.mkv", times=range(24, 72))) as (source, frames):
        assert source.damage() == []
        assert source.info.frame_count_estimate == len(frames) == 48


# --- a part of a video, and where it may begin

UNEVEN = [int(t) for t in 90 + np.cumsum(np.random.default_rng(2).integers(1, 90, 72))]
DIVISIBLE: dict[str, tuple[str, dict[str, Any]]] = {
    "mp4": ("in.mp4", {"options": {"g": "12"}}),
    "mkv": ("in.mkv", {"options": {"g": "12"}}),
    "late": ("in.mp4", {"times": range(100, 172), "options": {"g": "12"}, "audio": ()}),
    "early": ("in.mkv", {"times": range(-12, 60), "options": {"g": "12", "bf": "0"}}),
    "open groups": ("in.mp4", {"options": {"x264-params": "open-gop=1:keyint=12:bframes=3:scenecut=0"}}),
    "open groups of H.265": ("in.mkv", {"codec": "libx265", "options": {"x265-params": "keyint=12:log-level=error"}}),
    "uneven": ("in.mp4", {"times": UNEVEN, "time_base": Fraction(1, 1000), "options": {"g": "12"}}),
    "avi": ("in.avi", {"codec": "mpeg4", "options": {"g": "12"}}),
    "webm": ("in.webm", {"codec": "libvpx", "options": {"g": "12", "deadline": "realtime", "cpu-used": "8"}}),
    "fragments": ("in.mp4", {"options": {"g": "12"}, "container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    "every frame": ("in.mov", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
}


@pytest.fixture(scope="module")
def divisible(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Three seconds of video that can be divided."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            file, facts = DIVISIBLE[name]
            path = tmp_path_factory.mktemp("divisible") / file
            clip: dict[str, Any] = {"times": range(72), "image": lighter, "audio": ["eng"] if file == "in.mp4" else ()}
            made[name] = write_clip(path, **clip | facts)
        return made[name]

    return make


def keyframes_of(path: Path) -> list[int]:
    """The timestamps of the frames that the decoder marks as keyframes."""
    with av.open(str(path)) as container:
        frames = [(frame.dts if path.suffix == ".avi" else frame.pts, frame.key_frame) for frame in container.decode(video=0)]
    return [time for time, is_key in frames if is_key and time is not None]


@pytest.mark.parametrize(
    ("name", "trim"),
    [
        *((name, trim) for name in DIVISIBLE for trim in (Trim(), Trim(0.3, 2.3))),
        *((name, trim) for name in ("mp4", "early", "uneven") for trim in (Trim(0.8), Trim(0, 1.2))),
    ],
    ids=str,
)
def test_parts_that_begin_at_keyframes_add_up_to_the_video(divisible: Callable[[str], Path], name: str, trim: Trim) -> None:
    path = divisible(name)
    with opened(path, trim) as (whole, expected):
        pass
    times = [frame.pts for frame in expected]
    with closing(VideoSource(str(path), trim)) as source:
        found, last = source.keyframes()
        shift = round(source.shift_seconds / expected[0].time_base)
    assert found == [times[0], *(k - shift for k in keyframes_of(path) if times[0] < k - shift <= times[-1])]
    assert last == times[-1]
    assert len(found) > 2
    edges = [None, *found[1:], None]
    read = list[Frame]()
    for first, end in pairwise(edges):
        with opened(path, trim, FrameWindow(first, end)) as (part, frames):
            assert part.is_plain
            assert part.damage() == []
            assert part.shift_seconds == whole.shift_seconds
            read += frames
    assert [frame.pts for frame in read] == times
    assert [frame.duration for frame in read] == [frame.duration for frame in expected]
    assert all((a.pixels == b.pixels).all() for a, b in zip(read, expected, strict=True))


@pytest.mark.parametrize("name", ["mp4", "open groups", "avi"])
def test_window_may_begin_and_end_anywhere(divisible: Callable[[str], Path], name: str) -> None:
    path = divisible(name)
    with opened(path) as (_, whole):
        pass
    for first, end in ((1, 2), (11, 13), (30, 71), (5, 60), (71, None)):
        window = FrameWindow(whole[first].pts, None if end is None else whole[end].pts)
        with opened(path, window=window) as (_, part):
            assert [f.pts for f in part] == [f.pts for f in whole[first:end]]
            assert all((a.pixels == b.pixels).all() for a, b in zip(part, whole[first:end], strict=True))


@pytest.mark.parametrize("name", ["mp4", "every frame"])
def test_window_uses_the_info_that_is_passed(divisible: Callable[[str], Path], name: str) -> None:
    with closing(VideoSource(str(divisible(name)))) as whole:
        found, _ = whole.keyframes()
        with closing(VideoSource(str(divisible(name)), may_seek=True, window=FrameWindow(found[2]), info=whole.info)) as part:
            assert part.info == whole.info


def test_broadcast_recordings_have_no_known_keyframes(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.ts", times=range(48), options={"g": "12"})
    with closing(VideoSource(str(clip))) as source:
        assert source.keyframes()[0] == []


def _two_sizes(path: Path) -> Path:
    """The second half has another size, like a stream that was joined from two."""
    codec: dict[str, Any] = {"codec": "libvpx", "options": {"g": "12", "deadline": "realtime", "cpu-used": "8"}}
    halves = [write_clip(path.with_name(f"{n}.mkv"), size=(64 + 16 * n, 48), times=range(24), **codec) for n in range(2)]
    return append(path, halves, 1000)


def _interlaced(path: Path) -> Path:
    return write_clip(path, size=(64, 64), times=range(24), options={"x264-params": "interlaced=1"})


def _damaged(path: Path) -> Path:
    data = write_clip(path, times=range(48), options={"g": "12"}).read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(300) + data[len(data) // 2 + 300 :])
    return path


def _plain(path: Path) -> Path:
    return write_clip(path, times=range(24))


@pytest.mark.parametrize(("make", "plain"), [(_plain, True), (_two_sizes, False), (_interlaced, False), (_damaged, False)])
def test_video_that_cannot_be_read_in_parts_is_not_plain(tmp_path: Path, make: Callable[[Path], Path], plain: bool) -> None:
    with opened(make(tmp_path / "in.mkv")) as (source, _):
        assert source.is_plain == plain
        assert plain or source.warnings() or source.damage()
