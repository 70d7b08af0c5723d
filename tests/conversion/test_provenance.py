"""Outputs contain the fingerprint of what they were made from, and are otherwise unchanged."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from contextlib import closing
from dataclasses import fields, is_dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tests.support.helpers import moving_bar, rgb_of, run_cli, write_clip
from tests.support.streams import CHAPTERS, COVER, chapters_of, metadata_of, mux, streams_of
from vidstyle.conversion.provenance import fingerprint, read_fingerprint, stamp
from vidstyle.core.errors import InputError, StyleError
from vidstyle.core.frames import Frame
from vidstyle.core.options import ConvertOptions, EncodeOptions, StyleOptions, Trim
from vidstyle.sinks import OtherStreams, open_image_sink, open_video_sink
from vidstyle.sinks.images import STAMPED_SUFFIXES
from vidstyle.sinks.video import FORMATS
from vidstyle.sources import open_source

ONE, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 2
OPTIONS = ConvertOptions(style=StyleOptions(style="tiny"))
KNOWN = {"title": "Video", "artist": "Artist", "comment": "Word", "date": "2020", "genre": "Art"}
KINDS = {
    "plain": {},
    "known tags": KNOWN,
    "own tags": {**KNOWN, "com.example.key": "value"},
    "chapters": KNOWN,
    "cover": KNOWN,
}
STAMPED_VIDEOS = [".mp4", ".m4v", ".mov", ".mkv", ".webm"]


def video(folder: Path, kind: str) -> Path:
    """A short Matroska file."""
    clip = write_clip(folder / "video.mkv", times=range(6), audio=["eng"], options={"bf": "0"})
    attached = [COVER] if kind == "cover" else []
    chapters = CHAPTERS[:1] if kind == "chapters" else []
    return mux(folder / "in.mkv", [(clip, {})], metadata=KINDS[kind], chapters=chapters, attachments=attached)


def copied(clip: Path, name: str, made_from: str | None) -> tuple[Path, list[str]]:
    """The clip copied into a new file by a video sink, and the warnings."""
    output = clip.with_name(name)
    others = OtherStreams(str(clip), Fraction(0), ConvertOptions())
    text = stamp(made_from) if made_from is not None else None
    with (
        closing(open_source(str(clip))) as source,
        closing(open_video_sink(output, source.info, EncodeOptions(), others, stamp=text)) as sink,
    ):
        for frame in source.frames():
            sink.write(frame)
        sink.publish()
        return output, sink.warnings()


def boxes(path: Path) -> dict[str, int]:
    """How often each kind of metadata box is in an MP4 or MOV file."""
    data = path.read_bytes()
    return {name: data.count(name.encode("latin-1")) for name in ("hdlr", "keys", "mdir", "©nam", "©ART", "©cmt", "©day", "covr")}


# --- videos


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", STAMPED_VIDEOS)
def test_stamped_video_is_otherwise_the_same(tmp_path: Path, suffix: str, kind: str) -> None:
    clip = video(tmp_path, kind)
    plain, warnings_before = copied(clip, f"plain{suffix}", None)
    stamped, warnings_after = copied(clip, f"stamped{suffix}", ONE)
    assert (read_fingerprint(plain), read_fingerprint(stamped)) == (None, ONE)
    assert warnings_after == warnings_before
    assert metadata_of(stamped) == metadata_of(plain)
    assert chapters_of(stamped) == chapters_of(plain)
    assert bool(chapters_of(stamped)) == (kind == "chapters")
    assert streams_of(stamped) == streams_of(plain)
    assert np.array_equal(rgb_of(stamped), rgb_of(plain))
    if suffix in (".mp4", ".m4v", ".mov"):
        assert boxes(stamped) == boxes(plain)


def test_every_video_suffix_is_tested() -> None:
    assert {*STAMPED_VIDEOS, ".gif"} == set(FORMATS)


def test_gif_holds_no_stamp(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", times=range(6))
    (plain, _), (stamped, _) = copied(clip, "plain.gif", None), copied(clip, "stamped.gif", ONE)
    assert read_fingerprint(stamped) is None
    assert stamped.read_bytes() == plain.read_bytes()


@pytest.mark.parametrize("kind", ["known tags", "own tags", "cover"])
@pytest.mark.parametrize(("first", "second"), [(a, b) for a in (".mp4", ".mov", ".mkv") for b in (".mp4", ".mov", ".mkv")])
def test_stamp_of_a_stylized_input_is_not_copied(tmp_path: Path, first: str, second: str, kind: str) -> None:
    clip, _ = copied(video(tmp_path, kind), f"first{first}", ONE)
    assert read_fingerprint(clip) == ONE
    bare, _ = copied(video(tmp_path, kind), f"bare{first}", None)
    plain, warnings = copied(clip, f"plain{second}", None)
    assert read_fingerprint(plain) is None
    assert ONE.encode() not in plain.read_bytes()
    again, warnings_again = copied(clip, f"again{second}", OTHER)
    assert read_fingerprint(again) == OTHER
    assert ONE.encode() not in again.read_bytes()
    reference, warnings_of_bare = copied(bare, f"reference{second}", None)
    assert warnings == warnings_again == warnings_of_bare
    assert metadata_of(again) == metadata_of(plain) == metadata_of(reference)


needs_ffprobe = pytest.mark.skipif(not shutil.which("ffprobe"), reason="needs ffprobe")


@needs_ffprobe
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", STAMPED_VIDEOS)
def test_ffprobe_reads_the_same_tags(tmp_path: Path, suffix: str, kind: str) -> None:
    def seen(path: Path) -> Any:
        args = ["-v", "error", "-show_format", "-show_streams", "-show_chapters", "-of", "json", str(path)]
        facts = json.loads(subprocess.run(["ffprobe", *args], capture_output=True, check=True).stdout)
        own = ("filename", "size", "bit_rate")
        tags = {k: v for k, v in facts["format"].pop("tags").items() if k not in ("encoder", "ENCODER", "VIDSTYLE")}
        return {k: v for k, v in facts["format"].items() if k not in own}, tags, facts["streams"], facts["chapters"]

    clip = video(tmp_path, kind)
    (plain, _), (stamped, _) = copied(clip, f"plain{suffix}", None), copied(clip, f"stamped{suffix}", ONE)
    assert seen(stamped) == seen(plain)
    assert {key.lower() for key in seen(stamped)[1]} >= {key.lower() for key in KINDS[kind]}


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mkv", ".webm"])
def test_stamp_is_in_the_tags(tmp_path: Path, suffix: str) -> None:
    stamped, _ = copied(video(tmp_path, "known tags"), f"stamped{suffix}", ONE)
    with av.open(str(stamped)) as container:
        assert f"vidstyle 0.1.0 (fingerprint {ONE})" in container.metadata.values()


# --- images


def write_image(path: Path, made_from: str | None, transparent: bool = False) -> Path:
    pixels = moving_bar(0, 64, 48)
    alpha = np.ascontiguousarray(pixels[..., 0]) if transparent else None
    with closing(open_image_sink(path, stamp=stamp(made_from) if made_from is not None else None)) as sink:
        sink.write(Frame(pixels, 0, Fraction(1), alpha=alpha))
        sink.publish()
    return path


IMAGES = [(suffix, False) for suffix in (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".avif", ".PNG")]


@pytest.mark.parametrize(("suffix", "transparent"), [*IMAGES, (".png", True), (".webp", True)])
def test_stamped_image_is_otherwise_the_same(tmp_path: Path, suffix: str, transparent: bool) -> None:
    plain = write_image(tmp_path / f"plain{suffix}", None, transparent)
    stamped = write_image(tmp_path / f"stamped{suffix}", ONE, transparent)
    assert (read_fingerprint(plain), read_fingerprint(stamped)) == (None, ONE)
    for how in (cv2.IMREAD_UNCHANGED, cv2.IMREAD_COLOR, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION):
        before, after = cv2.imread(str(plain), how), cv2.imread(str(stamped), how)
        assert before is not None
        assert after is not None
        assert after.shape[:2] == (48, 64)
        assert np.array_equal(before, after)
    assert 0 < stamped.stat().st_size - plain.stat().st_size < 400


def test_every_stamped_image_suffix_is_tested() -> None:
    assert {suffix.lower() for suffix, _ in IMAGES} == STAMPED_SUFFIXES


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".tiff"])
def test_image_formats_without_metadata_are_unchanged(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    plain = write_image(tmp_path / f"plain{suffix}", None)
    stamped = write_image(tmp_path / f"stamped{suffix}", ONE)
    assert read_fingerprint(stamped) is None
    assert stamped.read_bytes() == plain.read_bytes()
    assert capfd.readouterr() == ("", "")


@needs_ffprobe
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_ffprobe_reads_the_stamp_of_an_image_as_software(tmp_path: Path, suffix: str) -> None:
    stamped = write_image(tmp_path / f"stamped{suffix}", ONE)
    args = ["-v", "error", "-show_frames", "-of", "json", str(stamped)]
    (frame,) = json.loads(subprocess.run(["ffprobe", *args], capture_output=True, check=True).stdout)["frames"]
    assert frame.get("tags", {}) in ({}, {"Software": stamp(ONE)})  # an older FFmpeg does not read EXIF of all formats
    assert (frame["width"], frame["height"]) == (64, 48)


def test_other_exif_is_no_stamp(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    text = b"A camera\0"
    entry = b"\x01\0\x31\x01\x02\0" + len(text).to_bytes(4, "little") + (26).to_bytes(4, "little")
    exif = np.frombuffer(b"II*\0\x08\0\0\0" + entry + bytes(4) + text, np.uint8)
    _, data = cv2.imencodeWithMetadata(".jpg", moving_bar(0, 64, 48), [cv2.IMAGE_METADATA_EXIF], [exif])
    path.write_bytes(data.tobytes())
    assert read_fingerprint(path) is None


# --- files without a fingerprint


@pytest.mark.parametrize("suffix", [*STAMPED_VIDEOS, ".gif", *sorted(STAMPED_SUFFIXES), ".txt", ""])
def test_foreign_files_have_no_fingerprint(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"file{suffix}"
    assert read_fingerprint(path) is None
    for content in (b"", b"\0", f"just text: {stamp(ONE)}".encode(), np.random.default_rng(0).bytes(5000)):
        path.write_bytes(content)
        assert read_fingerprint(path) is None
    path.unlink()
    path.mkdir()
    assert read_fingerprint(path) is None
    path.rmdir()
    os.mkfifo(path)  # opening it would block
    assert read_fingerprint(path) is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [*STAMPED_VIDEOS, *sorted(STAMPED_SUFFIXES)])
def test_truncated_output_is_no_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"stamped{suffix}"
    if suffix in STAMPED_VIDEOS:
        copied(video(tmp_path, "known tags"), path.name, ONE)
    else:
        write_image(path, ONE)
    whole = path.read_bytes()
    for length in range(1, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:length])
        assert read_fingerprint(path) in (None, ONE)
        path.write_bytes(whole[:length] + bytes(len(whole) - length))
        assert read_fingerprint(path) in (None, ONE)


# --- the fingerprint


IRRELEVANT = {
    "style.device",
    "style.backend",
    "batch_size",
    "memory",
    "report",
    "resume",
    "overwrite",
    "skip_existing",
    "allow_network",
}


def names(options: Any, prefix: str = "") -> list[str]:
    found = []
    for entry in fields(options):
        value = getattr(options, entry.name)
        found += names(value, f"{prefix}{entry.name}.") if is_dataclass(value) else [prefix + entry.name]
    return found


def changed(options: Any, name: str, value: Any) -> Any:
    """`options` with a new value for the option `name`, such as `a` or `a.b`."""
    outer, _, inner = name.partition(".")
    return replace(options, **{outer: changed(getattr(options, outer), inner, value) if inner else value})


def other(options: Any, name: str) -> Any:
    """A value of an option that is not its default."""
    for part in name.split("."):
        options = getattr(options, part)
    if name == "style.style":
        return "slow"
    if name == "mask":
        return __file__
    if isinstance(options, bool):
        return not options
    if name in ("style.height", "encode.quality", "trim.end", "memory"):
        return 50
    if isinstance(options, int | float):
        return options / 2 if name == "style.strength" else options + 1
    return "other"


@pytest.mark.parametrize("name", names(ConvertOptions()))
def test_fingerprint_depends_on_every_relevant_option(clip: Path, name: str) -> None:
    options = changed(OPTIONS, name, other(OPTIONS, name))
    assert options != OPTIONS
    same = fingerprint(str(clip), options) == fingerprint(str(clip), OPTIONS)
    assert same == (name in IRRELEVANT)


def test_different_options_have_different_fingerprints(clip: Path) -> None:
    variants = [
        OPTIONS,
        *(replace(OPTIONS, encode=EncodeOptions(crf=crf)) for crf in (18, 23)),
        replace(OPTIONS, encode=EncodeOptions(quality=18)),
        *(replace(OPTIONS, trim=Trim(*part)) for part in ((1.0,), (2.0,), (0.0, 1.0), (0.0, 2.0))),
        *(replace(OPTIONS, stabilize=amount) for amount in ("light", "strong")),
    ]
    assert len({fingerprint(str(clip), options) for options in variants}) == len(variants)


def test_equal_options_have_one_fingerprint(clip: Path) -> None:
    one, two = (replace(OPTIONS, trim=Trim(start)) for start in (5, 5.0))
    assert one == two
    assert fingerprint(str(clip), one) == fingerprint(str(clip), two)


def test_fingerprint_has_32_digits_and_can_be_read_again(clip: Path, tmp_path: Path) -> None:
    found = fingerprint(str(clip), OPTIONS)
    assert found is not None
    assert len(found) == 32
    assert int(found, 16) > 0
    assert read_fingerprint(write_image(tmp_path / "stamped.png", found)) == found


def test_fingerprint_is_stable_across_releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If this fails, all finished outputs of users would be taken for outputs made with other options."""
    (tmp_path / "in.mp4").write_bytes(bytes(range(256)))
    (tmp_path / "net.onnx").write_bytes(b"net")
    monkeypatch.setattr("vidstyle.conversion.provenance.__version__", "9.9")
    style = StyleOptions(style=str(tmp_path / "net.onnx"), height=720)
    options = ConvertOptions(style=style, encode=EncodeOptions(crf=20), trim=Trim(1.5, 3), audio=False)
    assert fingerprint(str(tmp_path / "in.mp4"), options) == "6341cfb9c6165b1f62902875814da741"


def test_copied_moved_or_touched_video_has_the_same_fingerprint(clip: Path, tmp_path: Path) -> None:
    before = fingerprint(str(clip), OPTIONS)
    assert fingerprint(str(shutil.copyfile(clip, tmp_path / "other.mkv")), OPTIONS) == before
    os.utime(clip, (1, 1))
    assert fingerprint(str(clip), OPTIONS) == before
    assert fingerprint(str(clip.rename(tmp_path / "moved.mp4")), OPTIONS) == before


MIB = 2**20


@pytest.mark.parametrize(
    ("size", "sampled", "not_sampled"),
    [
        (1, [0], []),
        (3 * MIB, [0, MIB, 2 * MIB, 3 * MIB - 1, 1_500_000], []),
        (9 * MIB, [0, MIB - 1, 4 * MIB, 5 * MIB - 1, 8 * MIB, 9 * MIB - 1], [2 * MIB, 7 * MIB]),
    ],
)
def test_changed_byte_in_a_sample_changes_the_fingerprint(
    tmp_path: Path, size: int, sampled: list[int], not_sampled: list[int]
) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(bytes(size))
    before = fingerprint(str(path), OPTIONS)
    for at in [*sampled, *not_sampled]:
        with path.open("r+b") as file:
            file.seek(at)
            file.write(b"\1")
        assert (fingerprint(str(path), OPTIONS) == before) == (at in not_sampled)
        with path.open("r+b") as file:
            file.seek(at)
            file.write(b"\0")
    path.write_bytes(bytes(size + 1))
    assert fingerprint(str(path), OPTIONS) != before


def test_model_is_identified_by_its_content(clip: Path, tmp_path: Path, styles: Path) -> None:
    def with_model(path: Path) -> str | None:
        return fingerprint(str(clip), replace(OPTIONS, style=StyleOptions(style=str(path))))

    model = Path(shutil.copyfile(styles / "tiny.onnx", tmp_path / "copy.onnx"))
    assert with_model(model) == fingerprint(str(clip), OPTIONS)
    model.write_bytes(model.read_bytes() + b"\0")
    changed_model = with_model(model)
    assert changed_model != fingerprint(str(clip), OPTIONS)
    assert with_model(Path(shutil.copyfile(model, tmp_path / "again.onnx"))) == changed_model


def test_model_is_hashed_once_for_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = list[Path]()

    def digest(path: Path) -> str:
        reads.append(path)
        return "digest"

    monkeypatch.setattr("vidstyle.conversion.provenance.sha256", digest)
    model = tmp_path / "net.onnx"
    model.write_bytes(b"net")
    for number in range(5):
        (tmp_path / f"{number}.mp4").write_bytes(b"video")
        assert fingerprint(str(tmp_path / f"{number}.mp4"), ConvertOptions(style=StyleOptions(style=str(model))))
    assert reads == [model]


def test_url_has_no_fingerprint() -> None:
    assert fingerprint("https://example.com/video.mp4", OPTIONS) is None


def test_unreadable_input_or_unknown_style_is_an_error(tmp_path: Path, clip: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for input in (tmp_path / "missing.mp4", tmp_path, tmp_path / "pipe.mp4"):
        with pytest.raises(InputError, match=re.escape(str(input))):
            fingerprint(str(input), OPTIONS)
    with pytest.raises(StyleError, match="unknown style"):
        fingerprint(str(clip), ConvertOptions(style=StyleOptions(style="unknown")))


@pytest.mark.parametrize("suffix", [".bmp", ".tif"])
def test_existing_output_that_cannot_hold_a_stamp_is_kept_without_failure(tmp_path: Path, suffix: str) -> None:
    cv2.imwrite(str(tmp_path / f"in{suffix}"), moving_bar(0, 64, 48))
    assert run_cli(tmp_path / f"in{suffix}", "--style", "tiny").returncode == 0
    before = (tmp_path / f"in.tiny{suffix}").read_bytes()
    again = run_cli(tmp_path / f"in{suffix}", "--style", "tiny")
    assert again.returncode == 0
    assert "cannot record" in again.stderr
    assert (tmp_path / f"in.tiny{suffix}").read_bytes() == before
