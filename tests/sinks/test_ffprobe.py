"""Input and output compared by another program, ffprobe."""

from __future__ import annotations

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.support.helpers import paint, write_clip

pytestmark = pytest.mark.skipif(not (shutil.which("ffprobe") and shutil.which("ffmpeg")), reason="needs ffprobe and ffmpeg")


def probe(path: Path, kind: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The streams of one kind (`v` or `a`), with packets counted, and their frames."""
    given = ["-v", "error", "-select_streams", kind, "-count_packets", "-show_streams", "-show_frames", "-of", "json", str(path)]
    facts = json.loads(subprocess.run(["ffprobe", *given], capture_output=True, check=True).stdout)
    return facts["streams"], facts["frames"]


def rotation_of(stream: dict[str, Any]) -> int:
    return next((int(data["rotation"]) for data in stream.get("side_data_list", []) if "rotation" in data), 0)


def seconds_of(stream: dict[str, Any], frame: dict[str, Any]) -> Fraction:
    return int(frame["pts"]) * Fraction(stream["time_base"])


@pytest.fixture(params=[".mp4", ".mov", ".mkv"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A clip with rotation, pixel aspect ratio and two audio tracks, and its stylized output."""
    rotation = 0 if request.param == ".mkv" else 90
    clip = write_clip(
        tmp_path / f"in{request.param}",
        times=[12 + n for n in (0, 1, 2, 5, 6, 11, 12, 13, 20, 22)],
        audio=["eng", "fra"],
        aspect=Fraction(4, 3),
        rotation=rotation,
    )
    paint(clip)
    return clip, tmp_path / f"in.tiny{request.param}"


def test_ffprobe_sees_the_same_video(pair: tuple[Path, Path]) -> None:
    (old, old_frames), (new, new_frames) = (probe(path, "v") for path in pair)
    assert len(old) == len(new) == 1
    before = [seconds_of(old[0], f) for f in old_frames]
    after = [seconds_of(new[0], f) for f in new_frames]
    assert len(before) == len(after) == 10
    allowed = Fraction(1, 1000) if pair[0].suffix == ".mkv" else 0
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) <= allowed
    assert rotation_of(new[0]) == rotation_of(old[0])
    assert new[0]["sample_aspect_ratio"] == old[0]["sample_aspect_ratio"] == "4:3"
    assert (new[0]["width"], new[0]["height"]) == (old[0]["width"], old[0]["height"])


def test_ffprobe_sees_the_same_audio(pair: tuple[Path, Path]) -> None:
    (old, _), (new, _) = (probe(path, "a") for path in pair)
    assert len(old) == len(new) == 2
    for before, after in zip(old, new, strict=True):
        assert after["nb_read_packets"] == before["nb_read_packets"]
        assert after["codec_name"] == before["codec_name"]
        assert after.get("tags", {}).get("language") == before.get("tags", {}).get("language")
        assert abs(float(after["start_time"]) - float(before["start_time"])) <= 0.001


def test_duration_is_the_same(pair: tuple[Path, Path]) -> None:
    lengths = []
    for path in pair:
        given = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(path)]
        lengths.append(float(subprocess.run(["ffprobe", *given], capture_output=True, check=True).stdout))
    assert lengths[0] == pytest.approx(lengths[1], abs=0.05)


def test_ffmpeg_decodes_the_output_without_errors(pair: tuple[Path, Path]) -> None:
    given = ["-v", "error", "-xerror", "-i", str(pair[1]), "-f", "null", "-"]
    done = subprocess.run(["ffmpeg", *given], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
