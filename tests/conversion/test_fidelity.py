"""The fidelity check of tools/bench: it finds no loss in our outputs, and it detects losses made on purpose."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tools.bench import fidelity as judge

pytestmark = pytest.mark.skipif(not (shutil.which("ffprobe") and shutil.which("ffmpeg")), reason="needs ffprobe and ffmpeg")

Change = Callable[[Path, Path], None]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A few of the difficult clips of tools/bench/fidelity.py that have colour tags."""
    names = ["languages.mp4", "languages.mkv", "cover.mkv", "bframes.mkv", "bt709.mp4", "turned-2.mp4"]
    made = judge.generate(tmp_path_factory.mktemp("fidelity"), names)
    assert [path.name for path in made] == names
    return {path.name: path for path in made}


def differing(checks: dict[str, str]) -> dict[str, str]:
    return {key: text for key, text in checks.items() if text.startswith("differs")}


@pytest.mark.parametrize("name", ["languages.mp4", "languages.mkv", "cover.mkv", "turned-2.mp4"])
def test_nothing_is_lost_in_a_conversion(clips: dict[str, Path], tmp_path: Path, name: str) -> None:
    found = judge.check_clip(clips[name], tmp_path, "tiny")
    assert found["exit_code"] == 0, found
    assert differing(found["checks"]) == {}
    assert found["checks"]["streams"] == "same"
    assert found["checks"]["packets"] == ("n/a" if name == "turned-2.mp4" else "same")


@pytest.mark.parametrize("name", ["languages.mp4", "languages.mkv", "cover.mkv", "bframes.mkv", "turned-2.mp4"])
def test_file_equals_itself(clips: dict[str, Path], name: str) -> None:
    media = judge.probe(clips[name])
    assert media.frames
    checks = judge.compare(media, media)
    del checks["colour"]  # outputs have colour tags even if the input has none
    assert differing(checks) == {}


def _moved_packet(source: Path, path: Path) -> None:
    seen = 0

    def change(packet: Any) -> Any:
        nonlocal seen
        if packet.stream.type == "audio" and packet.stream.index == 1:
            seen += 1
            if seen == 20:
                packet.pts += round(Fraction(2, 1000) / packet.time_base)
                packet.dts = packet.pts
        return packet

    judge.remux(source, path, change=change)


def _without_stream(source: Path, path: Path) -> None:
    judge.remux(source, path, keep=lambda stream: stream.index != 1)


def _other_language(source: Path, path: Path) -> None:
    judge.ffmpeg("-i", source, "-map", "0", "-c", "copy", "-metadata:s:a:1", "language=ita", path)


def _other_disposition(source: Path, path: Path) -> None:
    judge.ffmpeg("-i", source, "-map", "0", "-c", "copy", "-disposition:a:1", "default", path)


def _other_chapter(source: Path, path: Path) -> None:
    judge.ffmpeg("-i", source, "-map", "0", "-c", "copy", "-map_chapters", "-1", path)


def _fewer_frames(source: Path, path: Path) -> None:
    judge.ffmpeg("-i", source, "-map", "0:v", "-frames:v", "11", "-c:v", "libx264", path)


def _later_frame(source: Path, path: Path) -> None:
    moved = "setpts=PTS+if(eq(N\\,5)\\,0.002/TB\\,0)"
    judge.ffmpeg("-i", source, "-vf", f"settb=1/12288,{moved}", "-enc_time_base", "-1", "-fps_mode", "passthrough", path)


def _later_audio(source: Path, path: Path) -> None:
    args = ("-map", "0:v", "-map", "1:a", "-map", "0:s?", "-map", "0:t?", "-c", "copy")
    judge.ffmpeg("-i", source, "-itsoffset", "0.01", "-i", source, *args, path)


def _other_shape(source: Path, path: Path) -> None:
    judge.ffmpeg("-i", source, "-vf", "setsar=4/3", path)


def _other_colours(source: Path, path: Path) -> None:
    judge.ffmpeg("-i", source, "-colorspace", "smpte170m", "-color_trc", "bt709", "-color_primaries", "bt709", path)


def _other_turn(source: Path, path: Path) -> None:
    judge.remux(source, path, matrix=list(judge.orientations())[6])


def _not_turned(source: Path, path: Path) -> None:
    judge.ffmpeg("-noautorotate", "-i", source, "-vf", "transpose=2", "-metadata:s:v", "rotate=0", path)


def _other_subtitle(source: Path, path: Path) -> None:
    def change(packet: Any) -> Any:
        return None if packet.stream.type == "subtitle" and packet.pts * packet.time_base > Fraction(1, 2) else packet

    judge.remux(source, path, change=change)


@pytest.mark.parametrize(
    ("name", "change", "check"),
    [
        ("languages.mp4", _moved_packet, "packets"),
        ("languages.mkv", _moved_packet, "packets"),
        ("languages.mp4", _without_stream, "streams"),
        ("languages.mkv", _without_stream, "streams"),
        ("languages.mkv", _other_language, "tags"),
        ("languages.mkv", _other_disposition, "dispositions"),
        ("languages.mkv", _other_chapter, "chapters"),
        ("languages.mkv", _other_subtitle, "packets"),
        ("languages.mkv", _later_audio, "av_offset"),
        ("bframes.mkv", _fewer_frames, "frames"),
        ("bt709.mp4", _later_frame, "timestamps"),
        ("bt709.mp4", _other_shape, "shape"),
        ("bt709.mp4", _other_colours, "colour"),
        ("turned-2.mp4", _other_turn, "shape"),
        ("turned-2.mp4", _not_turned, "shape"),
    ],
)
def test_alterations_are_detected(clips: dict[str, Path], tmp_path: Path, name: str, change: Change, check: str) -> None:
    altered = tmp_path / name
    change(clips[name], altered)
    checks = judge.compare(judge.probe(clips[name]), judge.probe(altered))
    assert checks[check].startswith("differs"), checks


def test_loss_named_in_a_warning_is_no_difference(clips: dict[str, Path], tmp_path: Path) -> None:
    altered = tmp_path / "languages.mkv"
    _without_stream(clips["languages.mkv"], altered)
    before, after = judge.probe(clips["languages.mkv"]), judge.probe(altered)
    checks = judge.compare(before, after, ["left out: the aac audio"])
    assert checks["streams"] == "named: audio 0 (aac) is missing"
    assert judge.result_of({"checks": {"streams": checks["streams"], "packets": checks["packets"]}}) == "named"


@pytest.mark.parametrize("name", ["languages.mp4", "languages.mkv"])
def test_remuxed_copy_is_the_same(clips: dict[str, Path], tmp_path: Path, name: str) -> None:
    copy = tmp_path / name
    judge.remux(clips[name], copy)
    checks = judge.compare(judge.probe(clips[name]), judge.probe(copy))
    del checks["colour"]
    assert differing(checks) == {}


def test_unexpected_refusal_is_a_difference(clips: dict[str, Path], tmp_path: Path) -> None:
    found = judge.check_clip(clips["bt709.mp4"], tmp_path, "no-such-style")
    assert found["exit_code"] == 4
    assert "refused, though" in found["checks"]["run"]


def test_table_has_a_row_for_every_clip() -> None:
    clip = {"name": "a.mp4", "exit_code": 0, "streams": "video", "video_frames": 12, "warnings": []}
    rows = judge.markdown({"clips": [clip | {"checks": {"timestamps": "same", "packets": "n/a", "tags": "differs: x"}}]})
    assert rows.splitlines()[2:] == ["| a.mp4 | differs | video | 12 | same |  | differs |"]
