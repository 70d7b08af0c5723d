"""How a long video is divided: where, into what, and when it must not be divided at all."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from vidstyle.batch.cluster.chunks import Chunk, ScanResult, Survey, chunk_boundaries, divide, scans_agree, windows_between
from vidstyle.core.frames import VideoInfo
from vidstyle.sources.video import FrameWindow
from vidstyle.temporal.shots import CutDetector

set_hypothesis_home_dir(Path(tempfile.gettempdir(), "hypothesis"))  # no folder in the working tree

INFO = VideoInfo(64, 48, Fraction(1, 24))

times_of_video = st.lists(st.integers(1, 40), min_size=1, max_size=150).map(lambda steps: [int(t) for t in np.cumsum(steps)])


# --- boundaries


@pytest.mark.parametrize(
    ("keyframes", "ticks", "last", "expected"),
    [
        (range(0, 100, 10), 20, 99, [20, 40, 60, 80]),
        (range(0, 100, 10), 30, 99, [30, 60]),  # 39 ticks are left, too few for another chunk
        ([0, 20, 40], 20, 60, [20, 40]),
        ([0], 20, 100, []),
        ([], 20, 100, []),
        ([0, 50], 20, 100, [50]),  # farther apart than requested, but there is no other keyframe
        ([0, 95], 20, 100, []),  # the rest would be too short
        ([0, 10, 20], 20, 29, []),  # too short to be divided
        (range(100), 20, 100, [20, 40, 60, 80]),
        ([-40, -20, 0, 20], 20, 40, [-20, 0, 20]),
    ],
)
def test_chunks_are_about_as_long_as_requested(keyframes: Sequence[int], ticks: int, last: int, expected: list[int]) -> None:
    assert chunk_boundaries(list(keyframes), ticks, last) == expected


def test_boundaries_prefer_cuts_to_the_exact_length() -> None:
    keyframes = list(range(0, 101, 5))
    assert chunk_boundaries(keyframes, 20, 100) == [20, 40, 60, 80]
    assert chunk_boundaries(keyframes, 20, 100, {25, 50}) == [25, 50, 70]
    assert chunk_boundaries(keyframes, 20, 100, {5, 30, 99}) == [20, 40, 60, 80], "too near, too far, and not a keyframe"
    assert chunk_boundaries(keyframes, 20, 100, {15, 25}) == [15, 35, 55, 75], "equally far: the first one"


@given(
    steps=st.lists(st.integers(1, 60), max_size=80),
    begin=st.integers(-500, 500),
    rest=st.integers(0, 60),
    ticks=st.integers(0, 300),
    cuts=st.sets(st.integers(0, 2000), max_size=20),
)
@settings(max_examples=300, deadline=None)
def test_boundaries_hold_their_promises_for_any_video(
    steps: list[int], begin: int, rest: int, ticks: int, cuts: set[int]
) -> None:
    keyframes = [begin, *(begin + int(t) for t in np.cumsum(steps))]
    last = keyframes[-1] + rest
    found = chunk_boundaries(keyframes, ticks, last, cuts)
    assert set(found) <= set(keyframes[1:]), "each is a keyframe, but not the first one"
    edges = [begin, *found, last]
    assert all(a < b for a, b in pairwise([begin, *found]))
    lengths = [b - a for a, b in pairwise(edges)]
    assert all(length >= ticks * 2 // 3 for length in lengths[:-1])
    assert lengths[-1] >= ticks // 2 or not found
    for first, second in pairwise(edges):
        near = [k for k in keyframes if first < k and ticks * 2 // 3 <= k - first <= ticks * 4 // 3 and last - k >= ticks // 2]
        assert second - first <= ticks * 3 // 2 or not near, "longer only where there is no keyframe"


def test_windows_lie_between_the_boundaries() -> None:
    assert windows_between([]) == [FrameWindow()]
    assert windows_between([10, 25]) == [FrameWindow(None, 10), FrameWindow(10, 25), FrameWindow(25, None)]


# --- scans


def scans_of(
    times: Sequence[int], checksums: Sequence[int], differences: Sequence[float], bounds: Sequence[int]
) -> list[ScanResult]:
    """The scans of a video that decodes to the same frames in ranges; `differences`: of each frame to the one before."""
    edges = [0, *(times.index(bound) for bound in bounds), len(times)]
    return [
        ScanResult(
            list(times[a:b]),
            list(checksums[a:b]),
            list(differences[a + 1 : b + 1]),
            list(zip(times[b : b + 8], checksums[b : b + 8], strict=True)),
            True,
        )
        for a, b in pairwise(edges)
    ]


def scanned_video(count: int = 30, bounds: Sequence[int] = (10, 20)) -> list[ScanResult]:
    """The scans of a video of `count` frames, one for each range between `bounds`."""
    times = list(range(count))
    return scans_of(times, [7 * t for t in times], [1.0] * count, bounds)


def test_scans_of_the_same_frames_agree() -> None:
    assert scans_agree(scanned_video())
    assert scans_agree(scanned_video(30, [27]))
    assert scans_agree(scanned_video(30, [27, 29])), "a range shorter than the overlap"
    assert scans_agree(scanned_video(30, []))


def test_scans_without_frames_do_not_agree() -> None:
    assert not scans_agree([ScanResult([], [], [], [], True)])
    first, *others = scanned_video()
    assert not scans_agree([first, replace(others[0], times=[], checksums=[]), others[1]])


@pytest.mark.parametrize("which", [0, 1, 2])
def test_scans_do_not_agree_if_one_is_not_plain(which: int) -> None:
    scans = scanned_video()
    scans[which] = replace(scans[which], is_plain=False)
    assert not scans_agree(scans)


@pytest.mark.parametrize("frame", [0, 3, 7])
@pytest.mark.parametrize("what", ["image", "time"])
def test_scans_do_not_agree_if_the_next_begins_with_other_frames(frame: int, what: str) -> None:
    first, second, third = scanned_video()
    if what == "image":
        checksums = list(second.checksums)
        checksums[frame] += 1
        second = replace(second, checksums=checksums)
    else:  # a frame is missing that only decodes from an earlier keyframe
        second = replace(
            second,
            times=second.times[:frame] + second.times[frame + 1 :],
            checksums=second.checksums[:frame] + second.checksums[frame + 1 :],
        )
    assert not scans_agree([first, second, third])


def test_scans_do_not_agree_without_frames_of_the_next() -> None:
    first, second, third = scanned_video()
    assert not scans_agree([replace(first, following=[]), second, third])
    assert not scans_agree([first, replace(second, following=[]), third])


def test_scans_do_not_agree_if_times_go_back() -> None:
    first, second, third = scanned_video()
    backwards = replace(third, times=[*third.times[:-1], 3])
    assert not scans_agree([first, second, backwards])
    assert not scans_agree([first, second, replace(third, times=[*third.times[:-1], third.times[-2]])])


# --- chunks


def shots_of(differences: Sequence[float], times: Sequence[int]) -> list[int]:
    """The shot starts that the detector finds in a whole video, here of grey frames that differ by their levels."""
    detector, level, found = CutDetector(), 0.0, []
    for number, (time, step) in enumerate(zip(times, differences, strict=True)):
        level = level + step if level + step <= 255 else level - step
        image = np.full((27, 48, 3), round(level), np.uint8)
        if detector.begins_shot(image) or not number:
            found.append(time)
    return found


def survey_of(times: Sequence[int], keyframes: Sequence[int]) -> Survey:
    return Survey(INFO, Fraction(0), sorted({times[0], *keyframes}), times[-1])


@given(
    times=times_of_video,
    chosen=st.lists(st.integers(0, 149), max_size=40),
    cuts=st.sets(st.integers(1, 149), max_size=12),
    pieces=st.sets(st.integers(1, 149), max_size=4),
    ticks=st.integers(1, 600),
    warm_up=st.integers(0, 30),
)
@settings(max_examples=300, deadline=None)
def test_any_video_is_divided_without_repeated_frames_or_lost_shots(
    times: list[int], chosen: list[int], cuts: set[int], pieces: set[int], ticks: int, warm_up: int
) -> None:
    checksums = [3 * t + 1 for t in times]
    differences = [100.0 if n in cuts else 2.0 for n in range(len(times))]
    keyframes = [times[n] for n in chosen if n < len(times)]
    scans = scans_of(times, checksums, differences, sorted({times[n] for n in pieces if n < len(times)}))
    assert scans_agree(scans)
    chunks = divide(scans, survey_of(times, keyframes), ticks, warm_up)
    shots = shots_of(differences, times)

    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    own = [chunk.times[chunk.warm_up :] for chunk in chunks]
    assert [t for frames in own for t in frames] == times, "every frame in one chunk, in order"
    assert [m for chunk in chunks for m in chunk.checksums[chunk.warm_up :]] == checksums
    for chunk, frames in zip(chunks, own, strict=True):
        assert frames
        first = frames[0]
        assert chunk.number == 0 or first in keyframes, "a chunk begins at a keyframe"
        place = times.index(chunk.times[0])
        assert chunk.times == times[place : place + len(chunk.times)], "the warm-up frames are those before"
        assert chunk.window.first == (chunk.times[0] if chunk.number else None)
        following = times.index(frames[-1]) + 1
        assert chunk.window.end == (times[following] if following < len(times) else None)
        shot_start = max(s for s in shots if s <= first)
        assert chunk.warm_up == min(warm_up, times.index(first) - times.index(shot_start)), (
            "the warm-up does not go beyond the shot"
        )
        assert chunk.shot_starts == [s for s in shots if chunk.times[0] <= s <= frames[-1]]
        assert chunk.earlier_shot_start == (shot_start if shot_start < chunk.times[0] else None)
        assert Chunk.from_json(json.loads(json.dumps(chunk.to_json()))) == chunk


def test_shots_are_those_of_a_run_in_one_piece() -> None:
    """The threshold for a cut depends on the frames before, including those of the range before."""
    times = list(range(90))
    differences = [0.0, *(5.0,) * 20, *(12.0, 24.0), *(40.0, 35.0) * 33, 40.0]
    differences[60] = 150.0
    expected = shots_of(differences, times)
    assert expected == [0, 60]
    for bounds in ([], [30], [59], [60], [61], [20, 60, 80]):
        (chunk,) = divide(scans_of(times, times, differences, bounds), survey_of(times, []), 1000, 0)
        assert chunk.shot_starts == expected, bounds


def test_chunk_that_begins_with_a_shot_has_no_warm_up() -> None:
    times = list(range(90))
    differences = [100.0 if t == 30 else 1.0 for t in times]
    first, second, third = divide(scans_of(times, times, differences, [40]), survey_of(times, range(0, 90, 5)), 30, 24)
    assert (first.window, second.window, third.window) == (FrameWindow(None, 30), FrameWindow(30, 60), FrameWindow(36, None))
    assert (second.warm_up, second.earlier_shot_start, second.shot_starts) == (0, None, [30])
    assert (third.warm_up, third.earlier_shot_start, third.shot_starts) == (24, 30, [])


def test_manifests_of_earlier_versions_are_read() -> None:
    stored = {"number": 1, "window": {"first": 5, "end": 30}, "lead": 2, "times": [5], "marks": [9], "shots": [5], "under_way": 3}
    chunk = Chunk(1, FrameWindow(5, 30), 2, [5], [9], [5], 3)
    assert Chunk.from_json(stored) == chunk
    assert chunk.to_json() == stored


def test_invalid_json_is_not_a_chunk() -> None:
    chunk = Chunk(0, FrameWindow(None, 10), 0, [1], [2], [1], None)
    stored = chunk.to_json()
    for values in ({}, {**stored, "more": 1}, {**stored, "window": None}, {k: v for k, v in stored.items() if k != "lead"}):
        with pytest.raises((KeyError, TypeError)):
            Chunk.from_json(values)
