"""Reading ahead: the pictures that follow a frame, from a second opening of the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import moving_bar, write_clip

from vidstyle.frames import Frame, Pixels
from vidstyle.options import Trim
from vidstyle.sources.video import VideoSource


def lighter(index: int, width: int, height: int) -> Pixels:
    """No frame like another."""
    return moving_bar(index, width, height) // 4 + np.uint8(3 * index)


@pytest.fixture(params=[".mp4", ".mkv"])
def long_clip(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Two seconds that begin late, with a key frame every half second."""
    return write_clip(tmp_path / f"in{request.param}", times=range(12, 60), picture=lighter, options={"g": "12"})


@contextmanager
def opened(path: Path, trim: Trim = Trim()) -> Iterator[tuple[VideoSource, list[Frame]]]:
    """A source, and all its frames."""
    with closing(VideoSource(str(path), trim)) as source:
        yield source, list(source.frames())


@pytest.mark.parametrize("trim", [Trim(), Trim(0.5, 1.5), Trim(0.3), Trim(0, 1)], ids=["whole", "part", "rest", "beginning"])
def test_the_following_pictures_are_those_that_the_source_gives(long_clip: Path, trim: Trim) -> None:
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


def remove(path: Path) -> None:
    path.unlink()


def spoil(path: Path) -> None:
    path.write_bytes(b"no video")


def replace_by_another(path: Path) -> None:
    write_clip(path, picture=lambda index, w, h: 255 - lighter(index, w, h))


@pytest.mark.parametrize("harm", [remove, spoil, replace_by_another])
def test_a_frame_that_is_not_found_again_stands_alone(tmp_path: Path, harm: object) -> None:
    clip = write_clip(tmp_path / "in.mkv", picture=lighter)
    with opened(clip) as (source, frames):
        harm(clip)  # type: ignore[operator]
        for frame in (frames[0], frames[7]):
            (alone,) = source.following(frame, 1)
            assert (alone == frame.pixels).all()


def test_a_picture_that_the_file_does_not_hold_stands_alone(tmp_path: Path) -> None:
    with opened(write_clip(tmp_path / "in.mkv", picture=lighter)) as (source, frames):
        other = replace(frames[3], pixels=255 - frames[3].pixels)
        (alone,) = source.following(other, 1)
        assert (alone == other.pixels).all()


def test_a_part_of_a_transport_stream_begins_where_it_was_asked_to(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.ts", times=range(48), picture=lighter, options={"g": "12"})
    with opened(clip) as (_, frames), opened(clip, Trim(0.5)) as (_, part):
        assert [f.pixels.mean() for f in part] == [f.pixels.mean() for f in frames[12:]]


def test_a_matroska_file_that_begins_late_is_not_cut_off(tmp_path: Path) -> None:
    with opened(write_clip(tmp_path / "in.mkv", times=range(24, 72))) as (source, frames):
        assert source.damage() == []
        assert source.info.frame_count_estimate == len(frames) == 48
