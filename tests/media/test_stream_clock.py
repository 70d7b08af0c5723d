"""Recordings that were joined into one file, with jumps in their timestamps."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.helpers import audio_of, paint, times_of, write_clip
from vidstyle.core.options import Trim
from vidstyle.sources.video import VideoSource


def joined(folder: Path, *parts: Path) -> Path:
    path = folder / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    return [
        write_clip(tmp_path / "a.ts", times=range(48), audio=["eng"], options={"g": "12"}),
        write_clip(tmp_path / "b.ts", times=range(36), audio=["eng"]),
    ]


def test_joined_recordings_follow_each_other_without_gaps(tmp_path: Path, parts: list[Path]) -> None:
    clip = joined(tmp_path, *parts, parts[0])
    done = paint(clip)
    assert "joined from several" in done.stderr
    times = times_of(tmp_path / "joined.tiny.mkv")
    steps = [b - a for a, b in pairwise(times)]
    assert len(times) == 48 + 36 + 48
    assert min(steps) > 0
    assert max(steps) < Fraction(1, 4), "no gap longer than the overhang of an audio track"


def test_audio_stays_in_sync_across_a_join(tmp_path: Path, parts: list[Path]) -> None:
    """The offset between video and audio is the same in the second part as in the recording alone."""
    paint(joined(tmp_path, *parts))
    paint(parts[1])

    def distance(path: Path, frames_before: int, packets_before: int) -> Fraction:
        return times_of(path)[frames_before] - audio_of(path)[0][packets_before][1]

    before = len(audio_of(parts[0])[0])
    whole = distance(tmp_path / "joined.tiny.mkv", 48, before)
    alone = distance(tmp_path / "b.tiny.mkv", 0, 0)
    assert abs(whole - alone) <= Fraction(2, 1000)


def test_joined_recordings_keep_all_audio(tmp_path: Path, parts: list[Path]) -> None:
    paint(joined(tmp_path, *parts))
    assert len(audio_of(tmp_path / "joined.tiny.mkv")[0]) == sum(len(audio_of(part)[0]) for part in parts)


def test_trim_across_a_join(tmp_path: Path, parts: list[Path]) -> None:
    with_source = VideoSource(str(joined(tmp_path, *parts)), Trim(1.0, 3.0))
    try:
        frames = list(with_source.frames())
    finally:
        with_source.close()
    seconds = [float(f.pts * f.time_base) for f in frames]
    assert 0 <= seconds[0] < 0.05
    assert 1.9 < seconds[-1] < 2.0
    assert 40 <= len(frames) <= 48
