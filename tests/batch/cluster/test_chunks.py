"""How a long video is divided: where, what each part is told, and when it is not to be divided at all."""

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

from vidstyle.batch.cluster.chunks import Chunk, Stretch, Survey, boundaries, divide, fit_together, windows
from vidstyle.core.frames import VideoInfo
from vidstyle.sources.video import Window
from vidstyle.temporal.shots import CutDetector

set_hypothesis_home_dir(Path(tempfile.gettempdir(), "hypothesis"))  # no folder in the working tree

INFO = VideoInfo(64, 48, Fraction(1, 24))

times_of_video = st.lists(st.integers(1, 40), min_size=1, max_size=150).map(lambda steps: [int(t) for t in np.cumsum(steps)])


# --- where


@pytest.mark.parametrize(
    ("keyframes", "ticks", "last", "expected"),
    [
        (range(0, 100, 10), 20, 99, [20, 40, 60, 80]),
        (range(0, 100, 10), 30, 99, [30, 60]),  # 39 left, which is not worth another part
        ([0, 20, 40], 20, 60, [20, 40]),
        ([0], 20, 100, []),
        ([], 20, 100, []),
        ([0, 50], 20, 100, [50]),  # farther apart than asked for, but so is all there is
        ([0, 95], 20, 100, []),  # of which the rest would be too short
        ([0, 10, 20], 20, 29, []),  # short as it is
        (range(100), 20, 100, [20, 40, 60, 80]),
        ([-40, -20, 0, 20], 20, 40, [-20, 0, 20]),
    ],
)
def test_parts_are_about_as_long_as_asked_for(keyframes: Sequence[int], ticks: int, last: int, expected: list[int]) -> None:
    assert boundaries(list(keyframes), ticks, last) == expected


def test_a_cut_is_preferred_to_the_right_length() -> None:
    keyframes = list(range(0, 101, 5))
    assert boundaries(keyframes, 20, 100) == [20, 40, 60, 80]
    assert boundaries(keyframes, 20, 100, {25, 50}) == [25, 50, 70]
    assert boundaries(keyframes, 20, 100, {5, 30, 99}) == [20, 40, 60, 80], "too near, too far, and no keyframe"
    assert boundaries(keyframes, 20, 100, {15, 25}) == [15, 35, 55, 75], "equally far: the first"


@given(
    steps=st.lists(st.integers(1, 60), max_size=80),
    begin=st.integers(-500, 500),
    rest=st.integers(0, 60),
    ticks=st.integers(0, 300),
    cuts=st.sets(st.integers(0, 2000), max_size=20),
)
@settings(max_examples=300, deadline=None)
def test_boundaries_of_any_video(steps: list[int], begin: int, rest: int, ticks: int, cuts: set[int]) -> None:
    keyframes = [begin, *(begin + int(t) for t in np.cumsum(steps))]
    last = keyframes[-1] + rest
    found = boundaries(keyframes, ticks, last, cuts)
    assert set(found) <= set(keyframes[1:]), "each is a keyframe, and the beginning is none"
    edges = [begin, *found, last]
    assert all(a < b for a, b in pairwise([begin, *found]))
    lengths = [b - a for a, b in pairwise(edges)]
    assert all(length >= ticks * 2 // 3 for length in lengths[:-1])
    assert lengths[-1] >= ticks // 2 or not found
    for first, second in pairwise(edges):
        near = [k for k in keyframes if first < k and ticks * 2 // 3 <= k - first <= ticks * 4 // 3 and last - k >= ticks // 2]
        assert second - first <= ticks * 3 // 2 or not near, "longer only where there was no keyframe to end at"


def test_windows_are_the_parts_between_the_boundaries() -> None:
    assert windows([]) == [Window()]
    assert windows([10, 25]) == [Window(None, 10), Window(10, 25), Window(25, None)]


# --- whether


def stretches_of(
    times: Sequence[int], marks: Sequence[int], differences: Sequence[float], bounds: Sequence[int]
) -> list[Stretch]:
    """What workers say of the parts of a video that reads the same in parts; `differences`: of each frame to the one before."""
    edges = [0, *(times.index(bound) for bound in bounds), len(times)]
    return [
        Stretch(
            list(times[a:b]),
            list(marks[a:b]),
            list(differences[a + 1 : b + 1]),
            list(zip(times[b : b + 8], marks[b : b + 8], strict=True)),
            True,
        )
        for a, b in pairwise(edges)
    ]


def video_of(count: int = 30, bounds: Sequence[int] = (10, 20)) -> list[Stretch]:
    """A video of so many frames in three stretches."""
    times = list(range(count))
    return stretches_of(times, [7 * t for t in times], [1.0] * count, bounds)


def test_parts_that_saw_the_same_fit_together() -> None:
    assert fit_together(video_of())
    assert fit_together(video_of(30, [27]))
    assert fit_together(video_of(30, [27, 29])), "a part shorter than what is looked at of the next"
    assert fit_together(video_of(30, []))


def test_a_video_without_frames_does_not_fit() -> None:
    assert not fit_together([Stretch([], [], [], [], True)])
    first, *others = video_of()
    assert not fit_together([first, replace(others[0], times=[], marks=[]), others[1]])


@pytest.mark.parametrize("which", [0, 1, 2])
def test_parts_do_not_fit_where_one_is_not_plain(which: int) -> None:
    stretches = video_of()
    stretches[which] = replace(stretches[which], is_plain=False)
    assert not fit_together(stretches)


@pytest.mark.parametrize("frame", [0, 3, 7])
@pytest.mark.parametrize("what", ["image", "time"])
def test_parts_do_not_fit_where_the_next_begins_otherwise_than_it_was_seen(frame: int, what: str) -> None:
    first, second, third = video_of()
    if what == "image":
        marks = list(second.marks)
        marks[frame] += 1
        second = replace(second, marks=marks)
    else:  # as where a frame is missing that only those who come from before can decode
        second = replace(
            second, times=second.times[:frame] + second.times[frame + 1 :], marks=second.marks[:frame] + second.marks[frame + 1 :]
        )
    assert not fit_together([first, second, third])


def test_parts_do_not_fit_where_nobody_saw_the_next() -> None:
    first, second, third = video_of()
    assert not fit_together([replace(first, beyond=[]), second, third])
    assert not fit_together([first, replace(second, beyond=[]), third])


def test_parts_do_not_fit_where_times_go_back() -> None:
    first, second, third = video_of()
    backwards = replace(third, times=[*third.times[:-1], 3])
    assert not fit_together([first, second, backwards])
    assert not fit_together([first, second, replace(third, times=[*third.times[:-1], third.times[-2]])])


# --- what each part is told


def shots_of(differences: Sequence[float], times: Sequence[int]) -> list[int]:
    """Where the detector, which goes through a whole video, finds that shots begin. Grey images differ by their levels."""
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
    lead=st.integers(0, 30),
)
@settings(max_examples=300, deadline=None)
def test_any_video_is_divided_without_a_frame_twice_or_a_shot_lost(
    times: list[int], chosen: list[int], cuts: set[int], pieces: set[int], ticks: int, lead: int
) -> None:
    marks = [3 * t + 1 for t in times]
    differences = [100.0 if n in cuts else 2.0 for n in range(len(times))]
    keyframes = [times[n] for n in chosen if n < len(times)]
    stretches = stretches_of(times, marks, differences, sorted({times[n] for n in pieces if n < len(times)}))
    assert fit_together(stretches)
    chunks = divide(stretches, survey_of(times, keyframes), ticks, lead)
    shots = shots_of(differences, times)

    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    own = [chunk.times[chunk.lead :] for chunk in chunks]
    assert [t for part in own for t in part] == times, "every frame in one chunk, in order"
    assert [m for chunk in chunks for m in chunk.marks[chunk.lead :]] == marks
    for chunk, part in zip(chunks, own, strict=True):
        assert part
        first = part[0]
        assert chunk.number == 0 or first in keyframes, "a part begins where a decoder can"
        place = times.index(chunk.times[0])
        assert chunk.times == times[place : place + len(chunk.times)], "what leads is what comes before"
        assert chunk.window.first == (chunk.times[0] if chunk.number else None)
        following = times.index(part[-1]) + 1
        assert chunk.window.end == (times[following] if following < len(times) else None)
        began = max(s for s in shots if s <= first)
        assert chunk.lead == min(lead, times.index(first) - times.index(began)), "as far as the shot goes back, and no farther"
        assert chunk.shots == [s for s in shots if chunk.times[0] <= s <= part[-1]]
        assert chunk.under_way == (began if began < chunk.times[0] else None)
        assert Chunk.restored(json.loads(json.dumps(chunk.stored()))) == chunk


def test_shots_are_those_that_a_run_in_one_piece_finds() -> None:
    """What is a cut depends on how restless the frames before were, those of the part before too."""
    times = list(range(90))
    differences = [0.0, *(5.0,) * 20, *(12.0, 24.0), *(40.0, 35.0) * 33, 40.0]
    differences[60] = 150.0
    expected = shots_of(differences, times)
    assert expected == [0, 60]
    for bounds in ([], [30], [59], [60], [61], [20, 60, 80]):
        (chunk,) = divide(stretches_of(times, times, differences, bounds), survey_of(times, []), 1000, 0)
        assert chunk.shots == expected, bounds


def test_a_part_that_begins_with_a_shot_needs_nothing_of_what_came_before() -> None:
    times = list(range(90))
    differences = [100.0 if t == 30 else 1.0 for t in times]
    first, second, third = divide(stretches_of(times, times, differences, [40]), survey_of(times, range(0, 90, 5)), 30, 24)
    assert (first.window, second.window, third.window) == (Window(None, 30), Window(30, 60), Window(36, None))
    assert (second.lead, second.under_way, second.shots) == (0, None, [30])
    assert (third.lead, third.under_way, third.shots) == (24, 30, [])


def test_notes_of_something_else_are_no_chunks() -> None:
    chunk = Chunk(0, Window(None, 10), 0, [1], [2], [1], None)
    stored = chunk.stored()
    for notes in ({}, {**stored, "more": 1}, {**stored, "window": None}, {k: v for k, v in stored.items() if k != "lead"}):
        with pytest.raises((KeyError, TypeError)):
            Chunk.restored(notes)
