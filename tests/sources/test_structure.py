"""Files that are shorter than their structure says, and files that only look like it."""

from __future__ import annotations

import re
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.helpers import frames_of, moving_bar, noise, write_clip
from tests.support.stylizers import Identity
from vidstyle.conversion.convert import Result, convert
from vidstyle.core.options import ConvertOptions, Trim
from vidstyle.sources.structure import missing_bytes

# File name -> FFmpeg's muxer, its options, the encoder and its pixel format.
FORMATS: dict[str, tuple[str, dict[str, str], str, str]] = {
    "plain.mp4": ("mp4", {}, "libx264", "yuv420p"),
    "faststart.mp4": ("mp4", {"movflags": "+faststart"}, "libx264", "yuv420p"),
    "fragments.mp4": ("mp4", {"movflags": "+frag_keyframe+empty_moov"}, "libx264", "yuv420p"),
    "plain.mov": ("mov", {}, "libx264", "yuv420p"),
    "plain.mkv": ("matroska", {}, "libx264", "yuv420p"),
    "plain.webm": ("webm", {}, "libvpx", "yuv420p"),
    "plain.avi": ("avi", {}, "mpeg4", "yuv420p"),
    "plain.ts": ("mpegts", {}, "libx264", "yuv420p"),
    "plain.m2ts": ("mpegts", {"mpegts_m2ts_mode": "1"}, "libx264", "yuv420p"),
    "plain.ogv": ("ogg", {}, "libvpx", "yuv420p"),
    "plain.gif": ("gif", {}, "gif", "rgb8"),
}
PACKETS = {"plain.ts": 188, "plain.m2ts": 192}
"""Formats with packets of a fixed size: a file that ends with a packet looks complete."""

MAGICS = [
    *(bytes(4) + kind for kind in (b"ftyp", b"moov", b"mdat", b"free", b"moof")),
    *(b"\0\0\0\1" + kind for kind in (b"mdat", b"skip")),  # a length of 64 bits
    b"\x1a\x45\xdf\xa3",
    b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67",
    b"RIFF",
    b"GIF87a",
    b"GIF89a",
    b"OggS",
    b"\x47",
    b"\0\0\0\0\x47",
]


class NonSeekableFile:
    """A file without seeking, like a network connection."""

    def __init__(self, file: BinaryIO) -> None:
        self.write = file.write


def encode_into(target: object, muxer: str, options: dict[str, str], codec: str, pix_fmt: str) -> None:
    """Twelve frames, a key frame every four."""
    with av.open(target, "w", format=muxer, container_options=options) as container:
        stream = container.add_stream(codec, rate=24, options={} if codec == "gif" else {"g": "4"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        for index in range(12):
            frame = av.VideoFrame.from_ndarray(noise(index, 64, 48), "rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = index, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of a complete file of each format."""
    folder = tmp_path_factory.mktemp("whole_files")
    for name, made in FORMATS.items():
        encode_into(str(folder / name), *made)
    return {name: (folder / name).read_bytes() for name in FORMATS}


def missing(folder: Path, data: bytes) -> int:
    path = folder / "file"
    path.write_bytes(data)
    return missing_bytes(path)


def stylized(clip: Path, options: ConvertOptions = ConvertOptions()) -> Result:
    return convert(str(clip), clip.with_name("out.mkv"), Identity(), options)


@pytest.mark.parametrize("name", FORMATS)
def test_complete_file_lacks_nothing(tmp_path: Path, whole_files: dict[str, bytes], name: str) -> None:
    (tmp_path / name).write_bytes(whole_files[name])
    assert len(frames_of(tmp_path / name)) == 12
    assert missing_bytes(tmp_path / name) == 0


@pytest.mark.parametrize("cut", [1, 100, 0.1], ids=["1 byte", "100 bytes", "a tenth"])
@pytest.mark.parametrize("name", FORMATS)
def test_truncated_file_lacks_something(tmp_path: Path, whole_files: dict[str, bytes], name: str, cut: float) -> None:
    whole = whole_files[name]
    count = int(cut * len(whole)) if cut < 1 else int(cut)
    count += count % PACKETS.get(name, count + 1) == 0 or (name, count) == ("plain.avi", 1)  # often left out, as it pads only
    assert missing(tmp_path, whole[:-count]) > 0


@pytest.mark.parametrize("name", ["plain.mkv", "plain.webm", "plain.avi"])
def test_all_missing_bytes_are_counted_if_the_header_has_the_length(
    tmp_path: Path, whole_files: dict[str, bytes], name: str
) -> None:
    for count in (2, 77, 1000, len(whole_files[name]) // 2):
        assert missing(tmp_path, whole_files[name][:-count]) == count


@pytest.mark.parametrize("name", PACKETS)
def test_truncation_between_packets_of_fixed_size_is_not_noticed(
    tmp_path: Path, whole_files: dict[str, bytes], name: str
) -> None:
    assert missing(tmp_path, whole_files[name][: -5 * PACKETS[name]]) == 0


def test_gif_truncated_after_an_apparent_trailer_lacks_something(tmp_path: Path, whole_files: dict[str, bytes]) -> None:
    whole = whole_files["plain.gif"]
    ends = [match.end() for match in re.finditer(b";", whole[1000:-1])][:20]
    assert len(ends) == 20
    assert [end for end in ends if not missing(tmp_path, whole[: 1000 + end])] == []


def test_live_recording_has_no_known_length(tmp_path: Path) -> None:
    path = tmp_path / "live.mkv"
    with path.open("wb") as file:
        encode_into(NonSeekableFile(file), *FORMATS["plain.mkv"])
    assert len(frames_of(path)) == 12
    assert missing_bytes(path) == 0
    assert missing(tmp_path, path.read_bytes()[:-100]) == 0


@pytest.mark.parametrize("name", ["plain.mp4", "faststart.mp4", "fragments.mp4", "plain.mov"])
@pytest.mark.parametrize("tail", [b"\0\0\1\0SEFH" + bytes(100) + b"SEFT", bytes(5000), b"SEFT"], ids=["phone", "zeros", "short"])
def test_other_data_after_the_last_box_is_ignored(tmp_path: Path, whole_files: dict[str, bytes], name: str, tail: bytes) -> None:
    """Some phones write their own data there."""
    assert missing(tmp_path, whole_files[name] + tail) == 0


@pytest.mark.parametrize("name", ["plain.mkv", "plain.avi", "plain.gif"])
def test_zeros_after_the_end_are_ignored(tmp_path: Path, whole_files: dict[str, bytes], name: str) -> None:
    assert missing(tmp_path, whole_files[name] + bytes(7)) == 0


def test_box_up_to_the_end_of_the_file_is_never_too_short(tmp_path: Path, whole_files: dict[str, bytes]) -> None:
    head = whole_files["fragments.mp4"].split(b"moof")[0][:-4]
    assert missing(tmp_path, head + b"\0\0\0\0mdat" + bytes(99)) == 0
    assert missing(tmp_path, head + b"\0\0\0\1mdat" + (1000).to_bytes(8, "big") + bytes(84)) == 900


@settings(derandomize=True, max_examples=150, deadline=None, database=None)
@given(magic=st.sampled_from([*MAGICS, b""]), rest=st.binary(max_size=2000))
def test_garbage_is_no_error(magic: bytes, rest: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert missing(Path(folder), magic + rest) >= 0


@settings(derandomize=True, max_examples=80, deadline=None, database=None)
@given(data=st.data())
def test_corrupted_file_is_no_error(whole_files: dict[str, bytes], data: st.DataObject) -> None:
    garbled = bytearray(whole_files[data.draw(st.sampled_from(list(FORMATS)))])
    for _ in range(data.draw(st.integers(1, 8))):
        garbled[data.draw(st.integers(0, min(200, len(garbled) - 1)))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        assert missing(Path(folder), bytes(garbled)) >= 0


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"not a video, but a sentence", bytes(2000)], ids=["empty", "a byte", "text", "zeros"]
)
def test_unknown_format_lacks_nothing(tmp_path: Path, data: bytes) -> None:
    assert missing(tmp_path, data) == 0


def test_single_missing_byte_is_reported_though_all_frames_are_there(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", audio=["eng"], image=moving_bar, container_options={"movflags": "+faststart"})
    whole = clip.read_bytes()
    assert stylized(clip).damage == []
    clip.write_bytes(whole[:-1])
    (tmp_path / "out.mkv").unlink()
    assert stylized(clip).damage == ["the input is cut off: the file is shorter than its own structure says"]
    assert len(frames_of(tmp_path / "out.mkv")) == 12


def test_missing_data_after_the_trimmed_part_is_ignored(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mkv", times=range(24))
    clip.write_bytes(clip.read_bytes()[:-50])
    assert stylized(clip, ConvertOptions(trim=Trim(0, 0.25))).damage == []


def test_other_data_after_the_last_box_is_no_damage(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4")
    clip.write_bytes(clip.read_bytes() + b"\0\0\1\0SEFH" + bytes(100) + b"SEFT")
    assert stylized(clip).damage == []
