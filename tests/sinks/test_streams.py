"""All other streams are carried over, converted, or left out with a warning; leftover files are removed."""

from __future__ import annotations

import fcntl
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from tests.support.helpers import audio_of, frames_of, listing, moving_bar, rgb_of, time_of, times_of, write_clip
from tests.support.streams import (
    CHAPTERS,
    COVER,
    FONT,
    PLAIN,
    SRT,
    Part,
    chapters_of,
    metadata_of,
    mux,
    streams_of,
    texts_of,
)
from tests.support.stylizers import Identity
from vidstyle.cli import run_command_line
from vidstyle.conversion.convert import Result, convert
from vidstyle.core.options import ConvertOptions, EncodeOptions, Trim

ASS = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Loud,Arial,20

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.20,0:00:00.50,Loud,,0,0,0,,{\\i1}Hi
"""
CREATED = "2020-01-02T03:04:05.000000Z"
ALL_ROUND = {"title": "Film", "creation_time": CREATED}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("parts")
    (folder / "text.srt").write_text(SRT)
    (folder / "text.ass").write_text(ASS)
    return {
        "video": write_clip(folder / "video.mkv", times=range(24), audio=["eng", "fra"], options=PLAIN),
        "silent": write_clip(folder / "silent.mkv", times=range(24), options=PLAIN),
        "small": write_clip(folder / "small.mkv", times=range(24), size=(32, 32), options=PLAIN),
        "srt": folder / "text.srt",
        "ass": folder / "text.ass",
    }


@pytest.fixture
def rich(tmp_path: Path, parts: dict[str, Path]) -> Path:
    """A Matroska file with every kind of stream."""
    video = {
        0: (Disposition.default, {"title": "Image"}),
        1: (Disposition.default, {"title": "Main"}),
        2: (Disposition.comment, {"title": "The director speaks"}),
    }
    texts: list[Part] = [
        (parts["srt"], {0: (Disposition.forced | Disposition.default, {"language": "deu"})}),
        (parts["ass"], {0: (Disposition.hearing_impaired, {"language": "eng", "title": "Signs"})}),
    ]
    others: list[Part] = [*texts, (parts["small"], {0: (0, {"title": "Other angle"})})]
    metadata = {**ALL_ROUND, "COM.EXAMPLE.KEY": "value"}
    return mux(
        tmp_path / "rich.mkv",
        [(parts["video"], video), *others],
        metadata=metadata,
        chapters=CHAPTERS,
        attachments=[FONT, COVER],
    )


def stylized(clip: Path, name: str, options: ConvertOptions = ConvertOptions()) -> tuple[Path, Result]:
    output = clip.with_name(name)
    return output, convert(str(clip), output, Identity(), options)


# --- kept


def test_everything_of_a_matroska_file_is_kept(rich: Path) -> None:
    path, result = stylized(rich, "out.mkv")
    assert (result.warnings, result.damage) == ([], [])
    before, after = streams_of(rich), streams_of(path)
    assert [s["type"] for s in before] == ["video", "audio", "audio", "subtitle", "subtitle", "video", "attachment", "video"]
    assert after == before
    assert chapters_of(path) == chapters_of(rich) != []
    assert metadata_of(path) == metadata_of(rich)
    assert metadata_of(path) == {"title": "Film", "creation_time": CREATED, "COM.EXAMPLE.KEY": "value"}


def mp4(folder: Path, parts: dict[str, Path], cover: bool, chapters: bool, suffix: str = ".mp4", **metadata: str) -> Path:
    video: Part = (parts["video"], {1: (Disposition.default, {}), 2: (Disposition.comment, {})})
    if cover:
        given = mux(folder / "cover.mkv", [video], attachments=[COVER])
        video = (given, {})
    options = {"movflags": "+use_metadata_tags"} if any("." in key for key in metadata) else {}
    return mux(
        folder / f"in{suffix}",
        [video],
        metadata=ALL_ROUND | metadata,
        chapters=CHAPTERS if chapters else [],
        texts=True,
        options=options,
    )


@pytest.mark.parametrize(
    ("cover", "chapters"),
    [
        (False, False),
        (False, True),
        (True, False),
        (True, True),
    ],
)
def test_everything_of_an_mp4_file_is_kept(tmp_path: Path, parts: dict[str, Path], cover: bool, chapters: bool) -> None:
    clip = mp4(tmp_path, parts, cover, chapters)
    path, result = stylized(clip, "out.mp4")
    assert (result.warnings, result.damage) == ([], [])
    before, after = streams_of(clip), streams_of(path)
    assert [s["codec"] for s in before[:4]] == ["h264", "aac", "aac", "mov_text"]
    assert ("mjpeg" in [s["codec"] for s in before]) == cover
    assert after == before
    assert [title for *_, title in chapters_of(path)] == (["One", "Two"] if chapters else [])
    assert chapters_of(path) == chapters_of(clip)
    assert metadata_of(path) == metadata_of(clip) == ALL_ROUND


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_custom_metadata_keys_are_kept(tmp_path: Path, parts: dict[str, Path], suffix: str) -> None:
    clip = mp4(tmp_path, parts, cover=False, chapters=True, suffix=suffix, **{"com.example.key": "value"})
    path, result = stylized(clip, f"out{suffix}")
    assert result.warnings == []
    assert metadata_of(path) == metadata_of(clip) == {**ALL_ROUND, "com.example.key": "value"}
    assert chapters_of(path) == chapters_of(clip)


def test_metadata_key_that_cannot_be_kept_is_reported(rich: Path) -> None:
    path, result = stylized(rich, "out.mp4", ConvertOptions(trim=Trim(0.0, 0.5)))
    assert "COM.EXAMPLE.KEY" in metadata_of(path) or any("COM.EXAMPLE.KEY" in warning for warning in result.warnings)


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv"])
def test_time_code_is_kept(tmp_path: Path, suffix: str) -> None:
    clip = tmp_path / "in.mov"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.metadata["timecode"] = "01:02:03:04"
        for index in range(12):
            frame = av.VideoFrame.from_ndarray(moving_bar(index, 64, 48), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path, result = stylized(clip, f"out{suffix}")
    assert result.warnings == []
    before, after = streams_of(clip), streams_of(path)
    assert [s["type"] for s in before] == ["video", "data"]
    assert [s["type"] for s in after] == (["video"] if suffix == ".mkv" else ["video", "data"])
    assert {key.lower(): value for key, value in after[0]["tags"].items()}["timecode"] == "01:02:03:04"
    assert [s["packets"] for s in after[1:]] == [s["packets"] for s in before[1 : len(after)]]


# --- dry runs, options and warnings


def dry_run(capsys: pytest.CaptureFixture[str], *given: object) -> list[str]:
    """The lines of the dry run that describe the streams."""
    assert run_command_line([*map(str, given), "--style", "tiny", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert " -> " in lines[0]
    assert all(line.startswith("  ") for line in lines[1:])
    return [line[2:] for line in lines[1:]]


def test_dry_run_describes_each_stream(rich: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = listing(rich.parent)
    assert dry_run(capsys, rich, "-o", rich.with_name("out.mkv")) == [
        "video 0 (h264): stylized with libx264",
        "audio 1 (aac, eng): copied",
        "audio 2 (aac, fra): copied",
        "subtitle 3 (subrip, deu): copied",
        "subtitle 4 (ass, eng): copied",
        "video 5 (h264): copied",
        "attachment 6 (font.ttf): copied",
        "cover art 7 (mjpeg): copied",
    ]
    way_out = ".mp4 cannot hold it; an output that ends in .mkv (-o) can"
    assert dry_run(capsys, rich, "-o", rich.with_name("out.mp4")) == [
        "video 0 (h264): stylized with libx264",
        "audio 1 (aac, eng): copied",
        "audio 2 (aac, fra): copied",
        f"subtitle 3 (subrip, deu): left out ({way_out})",
        f"subtitle 4 (ass, eng): left out ({way_out})",
        "video 5 (h264): copied",
        f"attachment 6 (font.ttf): left out ({way_out})",
        "cover art 7 (mjpeg): copied",
    ]
    assert listing(rich.parent) == before


def test_dry_run_lists_streams_left_out_by_options(rich: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = dry_run(capsys, rich, "-o", rich.with_name("out.mkv"), "--no-audio", "--no-subtitles")
    assert [line for line in lines if "left out" in line] == [
        "audio 1 (aac, eng): left out (--no-audio)",
        "audio 2 (aac, fra): left out (--no-audio)",
        "subtitle 3 (subrip, deu): left out (--no-subtitles)",
        "subtitle 4 (ass, eng): left out (--no-subtitles)",
    ]


def test_dry_run_lists_converted_audio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(tmp_path / "in.mkv", audio=["eng"], audio_codec="wavpack")
    lines = dry_run(capsys, clip, "-o", tmp_path / "out.mp4")
    assert lines[1] == "audio 1 (wavpack, eng): converted to AAC (.mp4 cannot hold it as it is)"


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        (ConvertOptions(audio=False), ["subtitle", "subtitle", "video", "attachment", "video"]),
        (ConvertOptions(subtitles=False), ["audio", "audio", "video", "attachment", "video"]),
        (ConvertOptions(audio=False, subtitles=False), ["video", "attachment", "video"]),
    ],
    ids=["no audio", "no subtitles", "neither"],
)
def test_streams_left_out_by_options_cause_no_warning(rich: Path, options: ConvertOptions, kinds: list[str]) -> None:
    path, result = stylized(rich, "out.mkv", options)
    assert result.warnings == []
    assert [s["type"] for s in streams_of(path)] == ["video", *kinds]
    assert len(frames_of(path)) == 24


def test_unsupported_stream_is_reported_with_an_alternative(
    tmp_path: Path, parts: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    clip = mux(tmp_path / "in.mkv", [(parts["video"], {}), (parts["srt"], {})], attachments=[FONT])
    assert run_command_line([str(clip), "-o", str(tmp_path / "out.mp4"), "--style", "tiny"]) == 0
    warnings = capsys.readouterr().err
    for what in ("subtitle 3 (subrip)", "attachment 4 (font.ttf)"):
        assert f"not carried over: {what}: .mp4 cannot hold it; an output that ends in .mkv (-o) can" in " ".join(
            warnings.split()
        )
    assert [s["type"] for s in streams_of(tmp_path / "out.mp4")] == ["video", "audio", "audio"]
    assert audio_of(tmp_path / "out.mp4")[0][1:] != []


def test_second_video_is_copied_exactly(tmp_path: Path, parts: dict[str, Path]) -> None:
    clip = mux(tmp_path / "in.mp4", [(parts["silent"], {}), (parts["small"], {0: (0, {})})])
    for name in ("out.mp4", "out.mkv"):
        path, result = stylized(clip, name)
        assert result.warnings == []
        second = streams_of(path)[1]
        assert [data for data, _ in second["packets"]] == [data for data, _ in streams_of(clip)[1]["packets"]]
        assert len(second["packets"]) == 24
        assert rgb_of(path).shape == (24, 48, 64, 3)


def write_audio_as(path: Path, codec: str, rate: int, sample_format: str, begin: float) -> Path:
    """Video, and a tone of a second that begins after `begin` seconds."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=24)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        track = container.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(track, av.AudioStream)
        for index in range(36):
            frame = av.VideoFrame.from_ndarray(moving_bar(index, 64, 48), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 24)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        tone = np.sin(np.arange(rate) * 2 * np.pi * 440 / rate) * 0.4
        kind = {"s16": np.int16, "s16p": np.int16, "fltp": np.float32}[sample_format]
        scaled = (tone * (32767 if kind is np.int16 else 1)).astype(kind)
        for at in range(0, rate, rate // 50):
            audio = av.AudioFrame.from_ndarray(scaled[None, at : at + rate // 50], sample_format, "mono")
            audio.sample_rate, audio.pts, audio.time_base = rate, at + round(begin * rate), Fraction(1, rate)
            container.mux(track.encode(audio))
        container.mux(track.encode(None))
    return path


def tone_of(path: Path) -> tuple[float, float]:
    """When the tone begins and ends in a player, in seconds."""
    with av.open(str(path)) as container:
        loud = [
            float(time_of(frame)) + at / frame.sample_rate
            for frame in container.decode(audio=0)
            for at in np.flatnonzero(np.abs(frame.to_ndarray().astype(float)[0]) > (3000 if "s16" in frame.format.name else 0.1))
        ]
    return min(loud), max(loud)


@pytest.mark.parametrize("begin", [0.0, 0.25])
@pytest.mark.parametrize(
    ("codec", "rate", "sample_format", "output", "becomes"),
    [
        ("libopus", 48000, "s16", "out.mov", "aac"),
        ("wavpack", 44100, "s16p", "out.mp4", "aac"),
        ("wavpack", 44100, "s16p", "out.webm", "opus"),
    ],
)
def test_converted_audio_keeps_its_begin_and_end(
    tmp_path: Path, codec: str, rate: int, sample_format: str, output: str, becomes: str, begin: float
) -> None:
    clip = write_audio_as(tmp_path / "in.mkv", codec, rate, sample_format, begin)
    path, result = stylized(clip, output)
    assert len(result.warnings) == 1
    assert "was converted" in result.warnings[0]
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.codec.canonical_name == becomes
    assert tone_of(path) == pytest.approx(tone_of(clip), abs=0.03)
    assert tone_of(clip) == pytest.approx((begin, begin + 1), abs=0.02)


# --- trimmed outputs


@pytest.mark.parametrize("name", ["rich.mkv", "in.mp4"])
def test_trimmed_output_keeps_its_chapters_and_subtitles(tmp_path: Path, parts: dict[str, Path], rich: Path, name: str) -> None:
    clip = rich if name == "rich.mkv" else mp4(tmp_path, parts, cover=False, chapters=True)
    whole = texts_of(clip)
    assert [float(at) for _, at, _ in whole] == pytest.approx([0.1, 0.6], abs=0.001)
    path, result = stylized(clip, f"part{clip.suffix}", ConvertOptions(trim=Trim(0.25, 0.75)))
    assert (result.warnings, result.damage) == ([], [])
    assert len(times_of(path)) == 12
    assert times_of(path)[0] == pytest.approx(0, abs=0.001)
    expected: list[Any] = [
        (0.0, pytest.approx(0.25, abs=0.001), "One"),
        (pytest.approx(0.25, abs=0.001), pytest.approx(0.5, abs=0.001), "Two"),
    ]
    assert [(float(a), float(b), title) for a, b, title in chapters_of(path)] == expected
    ((text, at, _),) = texts_of(path)
    assert text == whole[1][0]
    assert float(at) == pytest.approx(0.35, abs=0.002)
    for track in audio_of(path):
        assert -0.03 < track[0][1] < 0.03
        assert 0.45 < track[-1][1] < 0.5


def test_trimmed_output_has_only_its_own_chapters(rich: Path) -> None:
    path, _ = stylized(rich, "part.mkv", ConvertOptions(trim=Trim(0.0, 0.5)))
    assert [title for *_, title in chapters_of(path)] == ["One"]


# --- leftovers

LEFT = [".out.abcd1234.part.mkv", ".out.__x9_8_7.part.mkv"]
OTHERS = [
    ".other.abcd1234.part.mkv",  # another output's
    ".out.abcd1234.part.mp4",
    ".out.abcd12345.part.mkv",  # not ours
    ".out.ABCD1234.part.mkv",
    ".out.abcd1234.mkv",
    "out.abcd1234.part.mkv",
    ".out.part.mkv",
]


def test_only_files_of_killed_runs_are_removed(tmp_path: Path, parts: dict[str, Path]) -> None:
    for name in [*LEFT, *OTHERS]:
        (tmp_path / name).write_text("left")
    convert(str(parts["silent"]), tmp_path / "out.mkv", Identity())
    assert listing(tmp_path) == sorted([*OTHERS, "out.mkv"])
    assert {(tmp_path / name).read_text() for name in OTHERS} == {"left"}


def test_file_of_a_running_process_stays(tmp_path: Path, parts: dict[str, Path]) -> None:
    for name in LEFT:
        (tmp_path / name).write_text("in work")
    with (tmp_path / LEFT[0]).open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        convert(str(parts["silent"]), tmp_path / "out.mkv", Identity())
        assert listing(tmp_path) == sorted([LEFT[0], "out.mkv"])
        assert file.read() == "in work"
    convert(str(parts["silent"]), tmp_path / "out.mkv", Identity(), ConvertOptions(overwrite=True))
    assert listing(tmp_path) == ["out.mkv"]


def test_link_in_place_of_a_leftover_is_not_followed(tmp_path: Path, parts: dict[str, Path]) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / LEFT[0]).symlink_to(precious)
    (tmp_path / LEFT[1]).mkdir()
    convert(str(parts["silent"]), tmp_path / "out.mkv", Identity(), ConvertOptions(encode=EncodeOptions(crf=40)))
    assert precious.read_text() == "precious"
    assert (tmp_path / LEFT[1]).is_dir()
    assert len(frames_of(tmp_path / "out.mkv")) == 24
