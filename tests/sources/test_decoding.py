"""Damaged packets only cost their own frames; interlaced frames are deinterlaced."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.support.helpers import audio_of, frames_of, listing, moving_bar, noise, rgb_of, run_cli, times_of, write_clip
from tests.support.stylizers import Identity
from vidstyle.conversion.convert import Result, convert
from vidstyle.core.errors import InputError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import ConvertOptions, EncodeOptions

LOSSLESS = ConvertOptions(encode=EncodeOptions(codec="ffv1"))
FRAMES, DAMAGED = 16, 7
QUIET = {"x265-params": "log-level=error"}
INTERLACED = {"flags": "+ildct+ilme", "g": "1"}
WARNING = "the input is interlaced; it was deinterlaced"

# File name, codec, options.
KINDS = [
    ("in.mp4", "libx264", {"g": "1"}),
    ("in.mkv", "libx264", {"g": "1"}),
    ("in.mp4", "libx264", {"g": "12"}),
    ("in.mkv", "libx264", {"g": "12", "bf": "0"}),
    ("in.mkv", "libx265", {"g": "1", **QUIET}),
    ("in.mp4", "libvpx-vp9", {"g": "1"}),
    ("in.mp4", "mpeg4", {"g": "1"}),
]
SILENT = [("in.mkv", "mpeg2video", {"g": "1"}), ("in.mp4", "libsvtav1", {"g": "1"})]
"""Codecs whose decoders return neither a frame nor an error."""


def packets_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def damage_packets(clip: Path, which: Iterable[int]) -> Path:
    """A copy of `clip` in which some packets of the video are zeros."""
    data, packets = bytearray(clip.read_bytes()), packets_of(clip)
    for number in which:
        at = data.find(packets[number])
        assert at > 0, "the packet is not contiguous in the file"
        data[at : at + len(packets[number])] = bytes(len(packets[number]))
    path = clip.with_stem("damaged")
    path.write_bytes(data)
    return path


def stylized(clip: Path, options: ConvertOptions = LOSSLESS) -> tuple[Path, Result]:
    output = clip.with_name(f"{clip.stem}.out.mkv")
    return output, convert(str(clip), output, Identity(), options)


def differing(one: np.ndarray, other: np.ndarray) -> list[int]:
    """The numbers of the images that differ."""
    assert len(one) == len(other)
    return [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if not np.array_equal(a, b)]


def assert_one_frame_repeated(clip: Path, number: int) -> None:
    """A damaged packet only costs the frame that was in it."""
    whole, _ = stylized(clip)
    output, result = stylized(damage_packets(clip, [number]))
    assert result.damage == ["1 damaged frames were replaced by the one before"]
    assert times_of(output) == times_of(whole)
    images = rgb_of(output)
    (place,) = differing(images, rgb_of(whole))
    assert np.array_equal(images[place], images[place - 1])
    assert audio_of(output) == audio_of(whole) != []


def clip_of(folder: Path, name: str, codec: str, options: dict[str, str]) -> Path:
    return write_clip(folder / name, times=range(FRAMES), image=noise, codec=codec, options=options, audio=["eng"])


@pytest.mark.parametrize(("name", "codec", "options"), KINDS, ids=lambda value: str(value))
def test_damaged_frame_is_replaced_by_the_one_before(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    assert_one_frame_repeated(clip_of(tmp_path, name, codec, options), DAMAGED)


@pytest.mark.parametrize(("name", "codec", "options"), SILENT, ids=lambda value: str(value))
def test_damaged_frame_without_a_decoder_error_is_replaced_too(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    assert_one_frame_repeated(clip_of(tmp_path, name, codec, options), DAMAGED)


@pytest.mark.parametrize(("name", "codec", "options"), KINDS, ids=lambda value: str(value))
def test_damaged_last_frame_is_replaced(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    assert_one_frame_repeated(clip_of(tmp_path, name, codec, options), FRAMES - 1)


def test_several_damaged_frames_in_a_row_are_replaced(tmp_path: Path) -> None:
    clip = clip_of(tmp_path, *KINDS[0])
    whole, _ = stylized(clip)
    output, result = stylized(damage_packets(clip, [4, 5, 6, 9]))
    assert result.damage == ["4 damaged frames were replaced by the one before"]
    assert times_of(output) == times_of(whole)
    images = rgb_of(output)
    assert differing(images, rgb_of(whole)) == [4, 5, 6, 9]
    assert all(np.array_equal(images[3], images[i]) for i in (4, 5, 6))
    assert np.array_equal(images[9], images[8])


def test_damage_is_reported_and_sets_the_exit_code(tmp_path: Path) -> None:
    damaged = damage_packets(clip_of(tmp_path, *KINDS[0]), [DAMAGED])
    done = run_cli(damaged, "--style", "tiny", "-q")
    assert done.returncode == 3
    assert "1 damaged frames were replaced by the one before" in done.stderr
    assert times_of(tmp_path / "damaged.tiny.mp4") == times_of(tmp_path / "in.mp4")


@pytest.mark.parametrize(("name", "codec", "options"), [*KINDS, *SILENT], ids=lambda value: str(value))
def test_completely_damaged_file_is_rejected(tmp_path: Path, name: str, codec: str, options: dict[str, str]) -> None:
    damaged = damage_packets(clip_of(tmp_path, name, codec, options), range(FRAMES))
    before = listing(tmp_path)
    with pytest.raises(InputError, match=r"^(expected a video|could not read)"):
        stylized(damaged)
    assert listing(tmp_path) == before


# --- interlaced frames


def fields(index: int, width: int, height: int) -> Pixels:
    """The even lines are half a frame earlier than the odd ones: the bar moves between them."""
    image = moving_bar(2 * index, width, height)
    image[1::2] = moving_bar(2 * index + 1, width, height)[1::2]
    return image


def combing(images: np.ndarray) -> float:
    """How much lines differ from both neighbouring lines."""
    blue = images[..., 2].astype(float)
    return float(np.abs(2 * blue[:, 1:-1] - blue[:, :-2] - blue[:, 2:]).mean())


@pytest.mark.parametrize(
    ("name", "codec", "parameters"),
    [
        ("top.mp4", "libx264", {"x264-params": "tff=1"}),
        ("bottom.mkv", "libx264", {"x264-params": "bff=1"}),
        ("fields.ts", "libx264", {"x264-params": "tff=1"}),
        ("fields.mkv", "mpeg2video", {}),
    ],
)
def test_interlaced_frames_are_deinterlaced(tmp_path: Path, name: str, codec: str, parameters: dict[str, str]) -> None:
    clip = write_clip(tmp_path / name, image=fields, codec=codec, options=INTERLACED | parameters)
    assert all(frame.interlaced_frame for frame in frames_of(clip))
    output, result = stylized(clip)
    assert WARNING in result.warnings
    assert result.damage == []
    frames = frames_of(output)
    assert not any(frame.interlaced_frame for frame in frames)
    assert len(frames) == 12
    assert max(abs(a - b) for a, b in zip(times_of(clip), times_of(output), strict=True)) < Fraction(1, 1000)
    assert combing(rgb_of(output)) < combing(rgb_of(clip)) / 4


def test_progressive_frames_are_unchanged(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mkv", image=fields, codec="ffv1", pix_fmt="bgr0")
    output, result = stylized(clip)
    assert result.warnings == []
    assert differing(rgb_of(output), rgb_of(clip)) == []


@pytest.mark.parametrize("count", [1, 2])
def test_short_interlaced_clip_keeps_all_frames(tmp_path: Path, count: int) -> None:
    clip = write_clip(tmp_path / "in.mkv", times=range(count), image=fields, options=INTERLACED)
    output, result = stylized(clip)
    assert times_of(output) == times_of(clip)
    assert WARNING in result.warnings


def test_deinterlacing_keeps_orientation_and_colour_tags(tmp_path: Path) -> None:
    colours = {"colorspace": "bt470bg", "color_primaries": "bt470bg", "color_trc": "bt709", "color_range": "tv"}
    clip = write_clip(tmp_path / "in.mp4", image=fields, options=INTERLACED | colours, rotation=90, aspect=Fraction(16, 15))
    output = tmp_path / "out.mp4"
    assert WARNING in convert(str(clip), output, Identity()).warnings
    before, after = frames_of(clip)[0], frames_of(output)[0]
    for name in ("colorspace", "color_primaries", "color_trc", "color_range", "rotation"):
        assert getattr(after, name) == getattr(before, name), name
    assert after.rotation in (90, -90)
    with av.open(str(output)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 15)


@pytest.mark.parametrize(
    "which",
    [
        [5],
        [5, 6],
        [3, 8],
        [11],
        [10],
    ],
    ids=str,
)
def test_damaged_interlaced_frames_are_replaced(tmp_path: Path, which: list[int]) -> None:
    clip = write_clip(tmp_path / "in.mkv", image=fields, options=INTERLACED)
    output, result = stylized(damage_packets(clip, which))
    assert result.damage == [f"{len(which)} damaged frames were replaced by the one before"]
    assert times_of(output) == times_of(clip)
    images = rgb_of(output)
    assert [i for i in range(1, 12) if np.array_equal(images[i], images[i - 1])] == which
    assert combing(images) < combing(rgb_of(clip)) / 4


def test_interlaced_and_progressive_parts_of_two_sizes(tmp_path: Path) -> None:
    """A broadcast recording: interlaced, then progressive frames of another size, then interlaced again."""
    one = write_clip(tmp_path / "one.ts", image=fields, options=INTERLACED)
    two = write_clip(tmp_path / "two.ts", image=moving_bar, size=(96, 32), options={"g": "1", "bf": "0"})
    clip = tmp_path / "in.ts"
    clip.write_bytes(one.read_bytes() + two.read_bytes() + one.read_bytes())
    output, result = stylized(clip)
    assert WARNING in result.warnings
    images = rgb_of(output)
    assert images.shape == (36, 48, 64, 3)
    assert max(combing(images[:12]), combing(images[24:])) < combing(rgb_of(one)) / 4
    assert sorted(times_of(output)) == times_of(output)
