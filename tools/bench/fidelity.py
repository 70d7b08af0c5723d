"""Whether a stylized file keeps everything of its input, judged by the system's ffprobe and ffmpeg instead of PyAV.

    python -m tools.bench.fidelity [DIR_OR_FILE ...] [--generated] [--style udnie] [--json FILE] [--keep FOLDER] [-v]

Every clip is stylized by `vidstyle CLIP -o ...` in its own process, then input and output are compared: streams, tags,
chapters, frames and their times, shape, colours, and every copied packet. The result of a check is `same`, `differs: ...`, or
`named: ...` where vidstyle reported the difference in a warning. --generated also checks unusual clips that it generates.
The exit status is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

TIME_LIMIT_SECONDS = 120
MILLISECOND = Fraction(1, 1000)
JUMP_SECONDS = Fraction(1, 2)
DAMAGE, DONE = 3, 0
KEPT_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv"}
CHECKS = (
    "run",
    "streams",
    "tags",
    "dispositions",
    "chapters",
    "frames",
    "timestamps",
    "shape",
    "colour",
    "alpha",
    "packets",
    "av_offset",
    "decodes",
)
# These are set by the muxer or vidstyle, or would be wrong for the new file.
_OWN_TAGS = {"encoder", "encoding_tool", "vidstyle", "major_brand", "minor_version", "compatible_brands"}
_OWN_TAGS |= {"vendor_id", "alpha_mode"}
_OWN_PREFIXES = ("duration", "bps", "number_of_", "_statistics")
_UNKNOWN = {None, "unknown", "reserved", "unspecified"}
_COLOURS = ("color_range", "color_space", "color_transfer", "color_primaries")
_HDR = {"smpte2084", "arib-std-b67"}

Facts = dict[str, Any]


@dataclass(frozen=True)
class Packet:
    """One packet: its times in seconds, the hash of its bytes, and if it is a key frame and if players drop it."""

    pts: Fraction | None
    dts: Fraction | None
    duration: Fraction | None
    digest: str
    key: bool
    dropped: bool

    @property
    def time(self) -> Fraction | None:
        return self.dts if self.pts is None else self.pts


@dataclass(frozen=True)
class Frame:
    """One decoded frame of the main video."""

    time: Fraction | None
    duration: Fraction | None
    interlaced: bool


@dataclass
class Stream:
    """A stream as ffprobe reports it, and its packets."""

    path: Path
    facts: Facts
    number: int  # among those of its kind
    packets: list[Packet] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """`video`, `audio`, `subtitle`, `data`, `attachment`, or `cover`: an image that is stored as a video."""
        return "cover" if self.disposition("attached_pic") else str(self.facts.get("codec_type", "data"))

    @property
    def codec(self) -> str:
        return str(self.facts.get("codec_name", "unknown"))

    @property
    def index(self) -> int:
        return int(self.facts["index"])

    @property
    def tags(self) -> dict[str, str]:
        return dict(self.facts.get("tags", {}))

    @property
    def start(self) -> Fraction | None:
        return None if "start_pts" not in self.facts else self.facts["start_pts"] * Fraction(self.facts["time_base"])

    def disposition(self, name: str) -> bool:
        return bool(self.facts.get("disposition", {}).get(name))

    def __str__(self) -> str:
        return f"{self.kind} {self.number} ({self.codec})"


@dataclass
class Media:
    """A file as ffprobe sees it."""

    path: Path
    form: Facts
    streams: list[Stream]
    chapters: list[Facts]
    frames: list[Frame]
    main: Stream | None

    @property
    def family(self) -> str:
        """`mp4` also for MOV, `matroska` also for WebM: what one demuxer reads."""
        name = str(self.form["format_name"])
        return "mp4" if "mp4" in name.split(",") else name.split(",")[0]

    @property
    def others(self) -> list[Stream]:
        """All streams but the main video."""
        return [s for s in self.streams if s is not self.main]


# --- Asking ffprobe and ffmpeg


def ffprobe(path: Path, *arguments: str) -> Facts:
    """The output of ffprobe as JSON. Raises `CalledProcessError` for a file that is not media."""
    command = ["ffprobe", "-v", "error", *arguments, "-of", "json", f"file:{path}"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=TIME_LIMIT_SECONDS)
    found: Facts = json.loads(done.stdout.decode("utf-8", "replace"))
    return found


def ffmpeg(*arguments: object, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    """Run ffmpeg, which overwrites files and prints only errors."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, check=check, timeout=TIME_LIMIT_SECONDS)


def probe(path: Path) -> Media:
    """Everything that is compared of `path`."""
    found = ffprobe(path, "-show_format", "-show_streams", "-show_chapters", "-show_data_hash", "sha256")
    streams: list[Stream] = []
    numbers: Counter[str] = Counter()
    for facts in found.get("streams", []):
        stream = Stream(path, facts, 0)
        stream.number = numbers[stream.kind]
        numbers[stream.kind] += 1
        streams.append(stream)
    wanted = "packet=stream_index,pts,dts,duration,flags,data_hash"
    for facts in ffprobe(path, "-show_packets", "-show_data_hash", "sha256", "-show_entries", wanted).get("packets", []):
        stream = streams[facts["stream_index"]]
        stream.packets.append(_packet(facts, Fraction(stream.facts["time_base"])))
    main = main_video(streams)
    return Media(path, found["format"], streams, found.get("chapters", []), _frames(path, main) if main else [], main)


def main_video(streams: Sequence[Stream]) -> Stream | None:
    """The video that is stylized: the first that is not a cover image, or the one marked as default."""
    videos = [s for s in streams if s.kind == "video" and s.facts.get("width")]
    return next((s for s in videos if s.disposition("default")), videos[0] if videos else None)


def _packet(facts: Facts, base: Fraction) -> Packet:
    def seconds(key: str) -> Fraction | None:
        return facts[key] * base if key in facts else None

    flags = str(facts.get("flags", ""))
    return Packet(seconds("pts"), seconds("dts"), seconds("duration"), str(facts.get("data_hash")), "K" in flags, "D" in flags)


def _frames(path: Path, stream: Stream) -> list[Frame]:
    wanted = "frame=pts,best_effort_timestamp,pkt_duration,duration,interlaced_frame"
    arguments = ("-select_streams", str(stream.index), "-show_frames", "-show_entries", wanted)
    base = Fraction(stream.facts["time_base"])
    frames = []
    for facts in ffprobe(path, *arguments).get("frames", []):
        if facts.keys() <= {"side_data_list"}:
            continue
        # Those that come out after the last packet have no best effort, those of AVI no other.
        time, length = facts.get("pts", facts.get("best_effort_timestamp")), facts.get("duration", facts.get("pkt_duration"))
        frames.append(
            Frame(
                None if time is None else time * base,
                None if length is None else length * base,
                bool(facts.get("interlaced_frame")),
            )
        )
    return frames


def _lines(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    text = done.stdout.decode("utf-8", "replace")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def payload_hashes(stream: Stream) -> list[str]:
    """The hashes of an AAC stream's packets without the headers that MPEG-TS puts before each."""
    arguments = ("-i", f"file:{stream.path}", "-map", f"0:{stream.index}", "-c", "copy", "-bsf", "aac_adtstoasc")
    return [line.split(",")[5].strip() for line in _lines(ffmpeg(*arguments, "-f", "framehash", "-", check=False))]


def bytes_hash(stream: Stream) -> str:
    """The hash of all bytes of a stream, however they are split into packets."""
    arguments = ("-i", f"file:{stream.path}", "-map", f"0:{stream.index}", "-c", "copy", "-f", "streamhash", "-")
    return "".join(line.split("=")[-1] for line in _lines(ffmpeg(*arguments, check=False)))


def decoded_hash(stream: Stream) -> str:
    """The hash of everything decoded from a stream."""
    arguments = ("-i", f"file:{stream.path}", "-map", f"0:{stream.index}", "-fps_mode", "passthrough", "-f", "streamhash", "-")
    return "".join(line.split("=")[-1] for line in _lines(ffmpeg(*arguments, check=False)))


def has_alpha(stream: Stream) -> bool:
    """Whether any pixel of a stream is not opaque."""
    decoder = ("-c:v", "libvpx-vp9") if stream.codec == "vp9" else ("-c:v", "libvpx") if stream.codec == "vp8" else ()
    tagged = {k.lower(): v for k, v in stream.tags.items()}.get("alpha_mode") == "1"
    if not tagged and not re.match(r"yuva|rgba|bgra|argb|abgr|gbrap|ya|pal8", str(stream.facts.get("pix_fmt"))):
        return False
    arguments = ("-i", f"file:{stream.path}", "-map", f"0:{stream.index}", "-vf", "format=yuva444p,alphaextract")
    raw = ffmpeg(*decoder, *arguments, "-pix_fmt", "gray", "-f", "rawvideo", "-", check=False).stdout
    return any(byte < 250 for byte in raw)


def small_image(stream: Stream) -> np.ndarray:
    """The first frame in display orientation, 16x16, grey, normalized."""
    arguments = ("-i", f"file:{stream.path}", "-map", f"0:{stream.index}", "-frames:v", 1, "-vf", "scale=16:16,format=gray")
    raw = ffmpeg(*arguments, "-f", "rawvideo", "-").stdout
    grey = np.frombuffer(raw[:256], np.uint8).reshape(16, 16).astype(float)
    return np.asarray((grey - grey.mean()) / (grey.std() + 1e-9))


# --- Comparing: each function gives its differences, a short sentence each


def _text(seconds: Fraction | None) -> str:
    return "no time" if seconds is None else f"{float(seconds):.6f}".rstrip("0").rstrip(".") + " s"


def _far(one: Fraction | None, other: Fraction | None, allowed: Fraction) -> bool:
    if one is None or other is None:
        return one is not other
    return abs(one - other) > allowed


def allowed_error(after: Media) -> Fraction:
    """MP4 and MOV keep every time exactly, Matroska to the millisecond."""
    return MILLISECOND if after.family == "matroska" else Fraction(0)


def moved(before: Media, after: Media) -> Fraction:
    """How much later everything in the output is. Only in a new container may it start at another time: at zero."""
    if before.family == after.family or not before.frames or not after.frames:
        return Fraction(0)
    old, new = before.frames[0].time, after.frames[0].time
    if old is None or new is None or abs(new - old) <= MILLISECOND:
        return Fraction(0)
    audible = [s for s in before.streams if s.kind in ("video", "audio")]
    starts = [*(s.start for s in audible), *(_span(s)[0] for s in audible)]
    known = [s for s in starts if s is not None]
    return -min(known) if known and abs(new - old + min(known)) <= MILLISECOND else Fraction(0)


def pairs(before: Media, after: Media) -> tuple[list[tuple[Stream, Stream]], list[Stream], list[Stream]]:
    """Matching input and output streams by kind and order, missing streams, and additional ones."""
    found, missing = [], []
    rest = list(after.others)
    for stream in before.others:
        same_kind = [s for s in rest if s.kind == stream.kind]
        left = sum(s.kind == stream.kind and s.number >= stream.number for s in before.others)
        # Where some are missing, the next is this one's only if it looks like it.
        if same_kind and (len(same_kind) >= left or _alike(stream, same_kind[0])):
            rest.remove(same_kind[0])
            found.append((stream, same_kind[0]))
        else:
            missing.append(stream)
    if before.main and after.main:
        found.insert(0, (before.main, after.main))
    return found, missing, rest


def _alike(one: Stream, other: Stream) -> bool:
    if one.codec != other.codec:
        return False
    if one.packets and other.packets:
        return one.packets[0].digest == other.packets[0].digest
    return one.facts.get("extradata_hash") == other.facts.get("extradata_hash")


def drop_run_ups(before: Media, after: Media) -> list[str]:
    """Remove audio that is decoded but never played, as with MP4's edit lists at the start, from `before` if the container of
    the output cannot express it; returns notes."""
    notes = []
    for one, other in pairs(before, after)[0] if before.family != after.family else ():
        silent = next((i for i, p in enumerate(one.packets) if not p.dropped), 0)
        if silent and len(other.packets) == len(one.packets) - silent:
            del one.packets[:silent]
            notes.append(f"{one}: {silent} packets that are never played ignored")
    return notes


def check_streams(before: Media, after: Media, warnings: str) -> tuple[list[str], list[str]]:
    """Differences of the streams' number, order and codecs, and those of them that the run reported."""
    found, missing, extra = pairs(before, after)
    differs: list[str] = []
    named: list[str] = []
    if before.main and not after.main:
        differs.append("there is no video")
    for stream in missing:
        (named if _names(stream, warnings) else differs).append(f"{stream} is missing")
    for one, other in found:
        if one is before.main or one.codec == other.codec:
            continue
        (named if _names(one, warnings) else differs).append(f"{one} became {other.codec}")
    for stream in extra:
        if not _is_chapter_track(stream, after):
            differs.append(f"{stream} is not in the input")
    return differs, named


def _is_chapter_track(stream: Stream, media: Media) -> bool:
    return bool(media.chapters) and stream.kind == "data" and stream.facts.get("codec_tag_string") == "text"


def _names(stream: Stream, warnings: str) -> bool:
    """Whether a warning mentions this stream, or its kind."""
    patterns = {"cover": "cover|image|video stream", "audio": "audio", "data": "data|timecode", "attachment": "attach|font"}
    return re.search(rf"{patterns.get(stream.kind, stream.kind)}|{re.escape(stream.codec)}", warnings, re.IGNORECASE) is not None


def check_tags(before: Media, after: Media) -> list[str]:
    """Differences of the file's tags and each stream's."""
    loose = before.family != after.family
    found = _tag_differences("the file", before.form.get("tags", {}), after.form.get("tags", {}), loose)
    for one, other in pairs(before, after)[0]:
        tags = dict(one.tags)
        if after.family == "matroska" and loose:  # dates the file only
            tags.pop("creation_time", None)
        if "timecode" in tags and one.kind == "data":  # the muxer makes that track, and names it
            tags.pop("handler_name", None)
        found += _tag_differences(str(one), tags, other.tags, loose)
    return found


def _tag_differences(what: str, old: dict[str, str], new: dict[str, str], loose: bool) -> list[str]:
    one, other = _own_left_out(old, loose), _own_left_out(new, loose)
    found = [f"{what} lacks the tag {key}={value[:40]}" for key, value in one.items() if key not in other]
    found += [
        f"{what} has {key}={other[key][:40]} instead of {value[:40]}"
        for key, value in one.items()
        if key in other and other[key] != value
    ]
    own = other.keys() - one.keys() - {"handler_name"}  # a MOV muxer gives every track one
    return found + [f"{what} has the tag {key}={other[key][:40]} of its own" for key in sorted(own)]


def _own_left_out(tags: dict[str, str], loose: bool) -> dict[str, str]:
    kept = {}
    for key, value in tags.items():
        low = key.lower()
        if low in _OWN_TAGS or low.startswith(_OWN_PREFIXES) or (low == "language" and value == "und"):
            continue
        kept[low if loose else key] = value
    return kept


def check_dispositions(before: Media, after: Media) -> list[str]:
    """Differences of default, forced, comment and the like."""
    known = {s.kind for s in before.streams if s.disposition("default")}
    found = []
    for one, other in pairs(before, after)[0]:
        old, new = ({k for k, v in s.facts.get("disposition", {}).items() if v} for s in (one, other))
        if before.family != after.family and one.kind not in known:  # the old container may not know of defaults
            new -= {"default"}
        if old != new:
            found.append(f"{one} is {'+'.join(sorted(new)) or 'nothing'} instead of {'+'.join(sorted(old)) or 'nothing'}")
    return found


def check_chapters(before: Media, after: Media) -> list[str]:
    """Differences of the chapters' times and titles."""
    if len(before.chapters) != len(after.chapters):
        return [f"{len(after.chapters)} chapters instead of {len(before.chapters)}"]
    shift, allowed = moved(before, after), allowed_error(after)
    found = []
    for number, (old, new) in enumerate(zip(before.chapters, after.chapters, strict=True)):
        for key in ("start", "end"):
            one, other = (c[key] * Fraction(c["time_base"]) for c in (old, new))
            if abs(one + shift - other) > allowed:
                found.append(f"chapter {number} {key}s at {_text(other)} instead of {_text(one + shift)}")
        found += _tag_differences(f"chapter {number}", old.get("tags", {}), new.get("tags", {}), before.family != after.family)
    return found


def check_frames(before: Media, after: Media) -> list[str]:
    """Differences of the number of frames of the main video."""
    if len(before.frames) != len(after.frames):
        return [f"{len(after.frames)} frames instead of {len(before.frames)}"]
    return []


def joins(times: Sequence[Fraction | None]) -> list[int]:
    """Where times jump back, as where two files were joined."""
    return [i for i in range(1, len(times)) if _jumps(times[i - 1], times[i])]


def _jumps(one: Fraction | None, other: Fraction | None) -> bool:
    return one is not None and other is not None and other < one - JUMP_SECONDS


def check_timestamps(before: Media, after: Media) -> list[str]:
    """Differences of the time of each frame, and of the duration of the last."""
    old, new = ([f.time for f in media.frames] for media in (before, after))
    if joins(old):
        return _check_joined_times(old, new, moved(before, after), max(2 * allowed_error(after), MILLISECOND))
    shift = moved(before, after)
    if before.main and before.main.packets[0].pts is None and old[0] is not None and new and new[0] is not None:
        shift = new[0] - old[0]  # AVI has no times of frames: only their intervals count
    found = _time_differences("frame", old, new, shift, allowed_error(after))
    if before.frames and after.frames and len(old) == len(new):
        one, other = before.frames[-1].duration, after.frames[-1].duration
        if one is not None and other is not None and _far(one, other, allowed_error(after)):
            found.append(f"the last frame lasts {_text(other)} instead of {_text(one)}")
    return found


def _time_differences(
    what: str, old: Sequence[Fraction | None], new: Sequence[Fraction | None], shift: Fraction, allowed: Fraction
) -> list[str]:
    wrong = [
        (number, one, other)
        for number, (one, other) in enumerate(zip(old, new, strict=False))
        if one is not None and _far(one + shift, other, allowed)
    ]
    if not wrong:
        return []
    number, one, other = wrong[0]
    more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return [f"{what} {number} is at {_text(other)} instead of {_text(one + shift)}{more}"]


def _check_joined_times(
    old: Sequence[Fraction | None], new: Sequence[Fraction | None], shift: Fraction, allowed: Fraction
) -> list[str]:
    """Where times of the input jump back, those of the output continue; the intervals between frames stay."""
    back = next((i for i in range(1, len(new)) if _goes_back(new[i - 1], new[i])), None)
    if back is not None:
        return [f"frame {back} is at {_text(new[back])}, not after {_text(new[back - 1])}"]
    found = []
    for number, (begin, end) in enumerate(pairwise([0, *joins(old), len(old)])):
        by = shift if number == 0 or old[begin] is None or begin >= len(new) else new[begin] - old[begin]  # type: ignore[operator]
        found += _time_differences(f"part {number}'s frame", old[begin:end], new[begin:end], by, allowed)
    return found


def _goes_back(one: Fraction | None, other: Fraction | None) -> bool:
    return one is None or other is None or other <= one


def check_shape(before: Media, after: Media) -> list[str]:
    """Differences of size, pixel shape and orientation."""
    one, other = before.main, after.main
    if one is None or other is None:
        return []
    old, new = matrix_of(one), matrix_of(other)
    width, height = one.facts["width"], one.facts["height"]
    aspect = _aspect(one)
    baked = old != new and new == (1, 0, 0, 1)
    if baked and old[0] == 0:
        width, height, aspect = height, width, 1 / aspect
    found = []
    if not (width <= other.facts["width"] <= width + width % 2 and height <= other.facts["height"] <= height + height % 2):
        found.append(f"{other.facts['width']}x{other.facts['height']} instead of {width}x{height}")
    if _aspect(other) != aspect:
        found.append(f"pixels of {_aspect(other)} instead of {aspect}")
    if old != new and not baked:
        found.append(f"turned by the matrix {new} instead of {old}")
    if baked and (turned := shown_turned(one, other)):
        found.append(turned)
    if other.facts.get("field_order", "unknown") not in ("progressive", "unknown") or any(f.interlaced for f in after.frames):
        found.append(f"not progressive: {other.facts.get('field_order')}")
    return found


def _aspect(stream: Stream) -> Fraction:
    above, below = (int(n) for n in stream.facts.get("sample_aspect_ratio", "1:1").split(":"))
    return Fraction(above, below) if above and below else Fraction(1)


def matrix_of(stream: Stream) -> tuple[float, ...]:
    """The 2x2 part of the display matrix; (1, 0, 0, 1) where there is none."""
    for data in stream.facts.get("side_data_list", []):
        if "displaymatrix" in data:
            rows = [line.split(":")[1].split() for line in data["displaymatrix"].strip().splitlines()]
            return tuple(int(n) / 65536 for row in rows[:2] for n in row[:2])
    return (1, 0, 0, 1)


def shown_turned(one: Stream, other: Stream) -> str:
    """Whether a player would show the output turned or mirrored, by the similarity of the images."""
    old, new = small_image(one), small_image(other)
    ways = {f"{90 * n} degrees{' and mirrored' if m else ''}": np.rot90(new.T if m else new, n) for n in range(4) for m in (0, 1)}
    likeness = {way: float((old * image).mean()) for way, image in ways.items()}
    best = max(likeness, key=lambda way: likeness[way])
    return f"shown turned by {best}" if likeness[best] > likeness["0 degrees"] + 0.1 else ""


def check_colour(before: Media, after: Media, keep_hdr: bool) -> list[str]:
    """Differences of the colour tags: what is known is kept, unknown tags are set, HDR becomes BT.709."""
    one, other = before.main, after.main
    if one is None or other is None:
        return []
    hdr = one.facts.get("color_transfer") in _HDR and not keep_hdr
    found = []
    for key in _COLOURS:
        old, new = one.facts.get(key), other.facts.get(key)
        if hdr and key != "color_range":
            old = "bt709"
        if new in _UNKNOWN:
            found.append(f"{key} is not set")
        elif old not in _UNKNOWN and old != new and not (key in ("color_space", "color_range") and _is_rgb(one)):
            found.append(f"{key} {new} instead of {old}")
    return found


def _is_rgb(stream: Stream) -> bool:
    return re.match(r"rgb|bgr|gbr|argb|abgr|pal8|0rgb|x2rgb", str(stream.facts.get("pix_fmt"))) is not None


def check_alpha(before: Media, after: Media, warnings: str) -> str:
    if not before.main or not after.main or not has_alpha(before.main):
        return "n/a"
    if has_alpha(after.main):
        return "same"
    reported = re.search("alpha|transparen", warnings, re.IGNORECASE)
    return "named: transparency is lost" if reported else "differs: transparency is lost"


def check_packets(before: Media, after: Media) -> tuple[list[str], list[str]]:
    """Differences of the copied packets, and notes on what is the same in another form."""
    differs, notes = [], []
    for one, other in pairs(before, after)[0]:
        if one is before.main:
            continue
        found, note = _compare_packets(one, other, before, after)
        differs += [f"{one}: {text}" for text in found]
        notes += [f"{one}: {note}"] if note else []
    return differs, notes


def _compare_packets(one: Stream, other: Stream, before: Media, after: Media) -> tuple[list[str], str]:
    if one.kind == "attachment":
        same = one.facts.get("extradata_hash") == other.facts.get("extradata_hash")
        return ([] if same else ["the attached file's bytes differ"]), ""
    if one.codec != other.codec:
        return _compare_length(one, other, moved(before, after)), f"became {other.codec}"
    old, new = ([p.digest for p in s.packets] for s in (one, other))
    if one.kind == "cover":
        return ([] if old == new else ["the image's bytes differ"]), ""
    if old == new:
        return _compare_times(one, other, before, after), ""
    note = _same_otherwise(one, other)
    if not note:
        return [_packets_differ(old, new)], ""
    if len(old) == len(new):
        return _compare_times(one, other, before, after), note
    return _compare_length(one, other, moved(before, after)), note


def _packets_differ(old: list[str], new: list[str]) -> str:
    if len(old) != len(new):
        gone = sum((Counter(old) - Counter(new)).values())
        return f"{len(new)} packets instead of {len(old)}, {gone} of the input's missing"
    wrong = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
    return f"the bytes of packet {wrong[0]} differ, and of {len(wrong) - 1} more"


def _same_otherwise(one: Stream, other: Stream) -> str:
    """Why two streams are the same although their packets differ; empty if they are not."""
    if one.codec == "aac" and payload_hashes(one) == payload_hashes(other) != []:
        return "the same without ADTS headers"
    if one.kind == "audio" and bytes_hash(one) == bytes_hash(other) != "":
        return "the same bytes, cut into other packets"
    if one.kind == "video" and decoded_hash(one) == decoded_hash(other) != "":
        return "decoded to the same images"
    return ""


def _compare_length(one: Stream, other: Stream, shift: Fraction) -> list[str]:
    """Differences of start and end of a stream in other packets, within an audio frame."""
    (begin, end), (new_begin, new_end) = _span(one), _span(other)
    # Decoders and encoders hold audio back, about a frame each.
    frame = 2 * max([p.duration or Fraction(0) for p in (*one.packets, *other.packets)], default=Fraction(0)) + MILLISECOND
    found = []
    if _far(None if begin is None else begin + shift, new_begin, frame):
        found.append(f"begins at {_text(new_begin)} instead of {_text(begin)}")
    if _far(None if end is None else end + shift, new_end, frame):
        found.append(f"ends at {_text(new_end)} instead of {_text(end)}")
    return found


def _span(stream: Stream) -> tuple[Fraction | None, Fraction | None]:
    timed = [(p.time, p.time + (p.duration or 0)) for p in stream.packets if p.time is not None]
    return (min(t[0] for t in timed), max(t[1] for t in timed)) if timed else (None, None)


def _compare_times(one: Stream, other: Stream, before: Media, after: Media) -> list[str]:
    shift, allowed = moved(before, after), allowed_error(after)
    old, new = one.packets, other.packets
    if joins([p.time for p in old]):
        return _compare_joined(one, other, before, after)
    found = _time_differences("packet", [p.time for p in old], [p.time for p in new], shift, allowed)
    if before.family == after.family == "mp4":
        found += _time_differences("the decoding of packet", [p.dts for p in old], [p.dts for p in new], shift, allowed)
    lengths = [
        (i, old[i].duration, new[i].duration) for i in range(min(len(old), len(new))) if not _lasts_as_long(old, new, i, after)
    ]
    if b"moof" in one.path.read_bytes():  # ffprobe guesses how long packets of fragments last
        lengths = []
    if lengths:
        number, was, is_now = lengths[0]
        more = f", and {len(lengths) - 1} more do" if len(lengths) > 1 else ""
        found.append(f"packet {number} lasts {_text(is_now)} instead of {_text(was)}{more}")
    flags = [i for i, (a, b) in enumerate(zip(old, new, strict=False)) if _flags(a, before, after) != _flags(b, before, after)]
    if flags:
        found.append(f"the flags of packet {flags[0]} differ, and of {len(flags) - 1} more")
    return found


def _lasts_as_long(old: Sequence[Packet], new: Sequence[Packet], i: int, after: Media) -> bool:
    """MP4 lets every packet last until the next, and cuts the last by the file's clock instead of the stream's; Matroska does
    not store the duration of the last audio.
    """
    one, other = old[i].duration, new[i].duration
    if not one or not other or not _far(one, other, allowed_error(after)):
        return True
    if i + 1 < len(new):
        return after.family == "mp4" and new[i].dts is not None and new[i + 1].dts == new[i].dts + other  # type: ignore[operator]
    if after.family == "mp4":
        return abs(one - other) <= MILLISECOND
    return other <= max(p.duration or Fraction(0) for p in old) + MILLISECOND


def _flags(packet: Packet, before: Media, after: Media) -> tuple[bool, bool]:
    """Whether packets that players drop because of an edit list are missing in another container."""
    return packet.key, packet.dropped and before.family == after.family


def _compare_joined(one: Stream, other: Stream, before: Media, after: Media) -> list[str]:
    """After every join, audio and images must have moved by the same time."""
    audio, images = ([p.time for p in s.packets] for s in (one, other))
    shifts = _shifts(audio, images)
    shown = _shifts([f.time for f in before.frames], [f.time for f in after.frames])
    frame = max((f.duration or Fraction(0) for f in after.frames), default=Fraction(0)) + MILLISECOND
    if len(shifts) != len(shown):
        return [f"{len(shifts)} parts, the video has {len(shown)}"]
    return [
        f"part {number}: {_text(abs(a - b))} {'late' if a > b else 'early'} against the video"
        for number, (a, b) in enumerate(zip(shifts, shown, strict=True))
        if abs(a - b) > frame
    ]


def _shifts(old: Sequence[Fraction | None], new: Sequence[Fraction | None]) -> list[Fraction]:
    """For every part between joins, how much later its end is."""
    ends = [*(j - 1 for j in joins(old)), len(old) - 1]
    return [(new[i] or Fraction(0)) - (old[i] or Fraction(0)) for i in ends if i < len(new)]


def check_offsets(before: Media, after: Media) -> list[str]:
    """Differences of the streams' starts against that of the video."""
    if before.main is None or before.main.packets[0].pts is None or not before.frames or not after.frames:
        return []
    old_start, new_start = before.frames[0].time, after.frames[0].time
    found = []
    for one, other in pairs(before, after)[0]:
        begins = [_span(s)[0] if one.codec == other.codec else s.start for s in (one, other)]
        if one.kind not in ("audio", "video") or one is before.main or None in (*begins, old_start, new_start):
            continue
        old, new = begins[0] - old_start, begins[1] - new_start  # type: ignore[operator]
        allowed = _offset_error(one, other, after)
        if abs(old - new) > allowed:
            found.append(f"{one} begins {_text(new)} after the video instead of {_text(old)}")
    return found


def _offset_error(one: Stream, other: Stream, after: Media) -> Fraction:
    """Two times are rounded in Matroska; audio that was encoded again may start within a frame."""
    if one.codec != other.codec:
        return 2 * max((p.duration or Fraction(0) for p in (*one.packets, *other.packets)), default=Fraction(0)) + MILLISECOND
    return 2 * MILLISECOND if after.family == "matroska" else MILLISECOND


def check_decodes(before: Media, after: Media) -> str:
    """Whether ffmpeg decodes the output without errors; copied damage is that of the input."""
    noise = _noise(after)
    if not noise:
        return "same"
    return "same (ffmpeg complains about the input too)" if _noise(before) else f"differs: ffmpeg reports {noise[:160]}"


def _noise(media: Media) -> str:
    # In the input's own time base, or frames of variable rate would fall on one another.
    form = ("-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-")
    done = ffmpeg("-xerror", "-i", f"file:{media.path}", "-map", "0:v?", "-map", "0:a?", *form, check=False)
    return " ".join(done.stderr.decode("utf-8", "replace").split()) or (f"status {done.returncode}" if done.returncode else "")


def verdict(differs: Sequence[str], named: Sequence[str] = ()) -> str:
    """The differences as one text."""
    if differs:
        return "differs: " + "; ".join([*differs, *named])
    return "named: " + "; ".join(named) if named else "same"


def _with_notes(text: str, notes: Sequence[str]) -> str:
    return f"{text} ({'; '.join(notes)})" if notes else text


def compare(
    before: Media, after: Media, warnings: Sequence[str] = (), *, damaged: bool = False, keep_hdr: bool = False
) -> dict[str, str]:
    """All checks of an output against its input. If `damaged` (exit code 3), frames may be missing."""
    reported = "\n".join(warnings)
    run_ups = drop_run_ups(before, after)
    differs, notes = check_packets(before, after)
    notes += run_ups
    checks = {
        "streams": verdict(*check_streams(before, after, reported)),
        "tags": verdict(check_tags(before, after)),
        "dispositions": verdict(check_dispositions(before, after)),
        "chapters": verdict(check_chapters(before, after)) if before.chapters or after.chapters else "n/a",
        "frames": verdict(check_frames(before, after)),
        "timestamps": verdict(check_timestamps(before, after)),
        "shape": verdict(check_shape(before, after)),
        "colour": verdict(check_colour(before, after, keep_hdr)),
        "alpha": check_alpha(before, after, reported),
        "packets": _with_notes(verdict(differs), notes) if before.others else "n/a",
        "av_offset": verdict(check_offsets(before, after)) if before.others else "n/a",
        "decodes": check_decodes(before, after),
    }
    for key in ("frames", "timestamps"):
        if damaged and checks[key].startswith("differs") and _noise(before):
            checks[key] = checks[key].replace("differs", "named", 1)
    if joins([f.time for f in before.frames]) and checks["timestamps"] == "same":
        checks["timestamps"] = (
            "named: times jump back" if re.search("time", reported) else "differs: no warning of times that jump back"
        )
    if shift := moved(before, after):
        checks["timestamps"] += f" (all {_text(abs(shift))} {'later' if shift > 0 else 'earlier'})"
    return checks


# --- Running vidstyle


def output_name(clip: Path) -> str:
    """The name of the output, with the default suffix."""
    suffix = clip.suffix.lower()
    return f"{clip.stem}.stylized" + (clip.suffix if suffix in KEPT_SUFFIXES else ".mp4" if suffix == ".gif" else ".mkv")


def check_clip(clip: Path, folder: Path, style: str) -> Facts:
    """Stylize `clip` into the empty `folder` and compare the output."""
    output = folder / output_name(clip)
    command = [sys.executable, "-m", "vidstyle", str(clip.resolve()), "-o", str(output), "--style", style, "--progress", "json"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=TIME_LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        return _failed(clip, None, f"no end after {TIME_LIMIT_SECONDS} s")
    events, other_lines = _events(done.stderr)
    warnings = [str(e["message"]) for e in events if e.get("event") == "warning"]
    left = sorted(p.name for p in folder.rglob("*") if p != output)
    wrong = [f"stderr has {other_lines[-1][:160]}"] if other_lines else []
    wrong += [f"files left: {', '.join(left)}"] if left else []
    if done.returncode not in (DONE, DAMAGE):
        return _refused(clip, output, done.returncode, events, warnings, wrong)
    if not output.exists():
        return _failed(clip, done.returncode, "no output")
    before, after = probe(clip), probe(output)
    checks = {"run": verdict(wrong), **compare(before, after, warnings, damaged=done.returncode == DAMAGE)}
    return {
        "name": clip.name,
        "exit_code": done.returncode,
        "container": after.family if output.suffix.lower() != ".mov" else "mov",
        "streams": _summary(before),
        "video_frames": len(before.frames),
        "checks": checks,
        "warnings": [_without_paths(w, clip, output) for w in warnings],
    }


def _events(stderr: str) -> tuple[list[Facts], list[str]]:
    """The JSON events of a run, and all other lines."""
    events, other_lines = [], []
    for line in stderr.splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            other_lines.append(line)
    return events, other_lines


def _summary(media: Media) -> str:
    kinds = Counter(s.kind for s in media.streams)
    return " + ".join(f"{n} {kind}" if n > 1 else kind for kind, n in kinds.items())


def _without_paths(text: str, clip: Path, output: Path) -> str:
    return text.replace(str(clip.resolve()), clip.name).replace(str(output), output.name)


def _failed(clip: Path, code: int | None, why: str) -> Facts:
    return {"name": clip.name, "exit_code": code, "checks": {"run": f"differs: {why}"}, "warnings": []}


def _refused(clip: Path, output: Path, code: int, events: list[Facts], warnings: list[str], wrong: list[str]) -> Facts:
    """A refusal is correct only without a video, and if it leaves no files."""
    reason = next((str(e["error"]) for e in events if e.get("error")), warnings[-1] if warnings else "no reason")
    reason = _without_paths(reason, clip, output)
    if output.exists():
        wrong.append("there is an output although the run failed")
    try:
        frames = len(probe(clip).frames)
    except subprocess.CalledProcessError:
        frames = 0
    if frames:
        wrong.append(f"refused, though ffprobe decodes {frames} frames: {reason}")
    checks = {"run": verdict(wrong) if wrong else "refused"}
    return {"name": clip.name, "exit_code": code, "refused": reason, "checks": checks, "warnings": warnings}


def clips_of(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths`, and those in its folders."""
    return [p for path in paths for p in (sorted(path.iterdir()) if path.is_dir() else [path]) if p.is_file()]


# --- Awkward clips

_V = "-f lavfi -i testsrc2=size=96x64:rate=12:duration=1"
_A = "-f lavfi -i sine=frequency=300:duration=1"
_A2 = "-f lavfi -i sine=frequency=500:duration=1"
_H264 = "-c:v libx264 -preset veryfast -pix_fmt yuv420p"
_VFR = "-vf settb=1/90000,setpts=(N*N/200+N/30)/TB -fps_mode passthrough -enc_time_base 1:90000"
_BT709 = "-colorspace bt709 -color_primaries bt709 -color_trc bt709"

# Name -> arguments of ffmpeg before the name. The files they read are written by `_ingredients`.
_BY_FFMPEG = {
    "languages.mp4": f"{_V} {_A} {_A2} -i subs.srt -i chapters.txt -map 0:v -map 1:a -map 2:a -map 3:s -map_metadata 4 {_H264} "
    "-c:a aac -c:s mov_text -metadata:s:a:0 language=eng -metadata:s:a:1 language=fra -metadata:s:a:1 handler_name=Kommentar "
    "-metadata:s:s:0 language=deu -disposition:a:0 default -disposition:a:1 comment -metadata creation_time=2020-02-03T04:05:06Z "
    "-metadata artist=Someone -metadata comment=Hello",
    "languages.mkv": f"{_V} {_A} {_A2} -i subs.srt -i subs.ass -i chapters.txt -map 0:v -map 1:a -map 2:a -map 3:s -map 4:s "
    f"-map_metadata 5 {_H264} -c:a:0 aac -c:a:1 libopus -c:s:0 srt -c:s:1 ass -metadata:s:a:0 language=eng -metadata:s:a:1 "
    "language=jpn -metadata:s:a:1 title=Commentary -metadata:s:s:0 language=ger -metadata:s:s:1 title=Signs -disposition:a:0 0 "
    "-disposition:a:1 default+comment -disposition:s:1 forced -attach font.ttf -metadata:s:t mimetype=font/ttf "
    "-metadata:s:t filename=font.ttf -metadata creation_time=2020-02-03T04:05:06Z -metadata ARTIST=Someone",
    "webvtt.mkv": f"{_V} -i subs.vtt -map 0 -map 1 {_H264} -c:s webvtt",
    "webvtt.webm": f"{_V} -i subs.vtt -map 0 -map 1 -c:v libvpx-vp9 -deadline realtime -c:s webvtt -metadata:s:s:0 language=eng",
    "cover.mp4": f"{_V} {_A} -i cover.png -map 0 -map 1 -map 2 {_H264} -c:a aac -c:v:1 png -disposition:v:1 attached_pic",
    "cover.m4v": f"{_V} {_A} -i cover.jpg -map 0 -map 1 -map 2 {_H264} -c:a aac -c:v:1 copy -disposition:v:1 attached_pic",
    "cover.mkv": f"{_V} {_A} {_H264} -c:a aac -attach cover.jpg -metadata:s:t mimetype=image/jpeg -metadata:s:t "
    "filename=cover.jpg",
    "vfr.mp4": f"{_V} {_VFR} {_H264} -video_track_timescale 90000",
    "vfr.mkv": f"{_V} {_VFR} {_H264}",
    "late-video.mp4": f"-itsoffset 0.3 {_V} {_A} -fps_mode passthrough {_H264} -c:a aac",
    "late-video.mkv": f"-itsoffset 0.3 {_V} {_A} -fps_mode passthrough {_H264} -c:a aac",
    "late-audio.mp4": f"{_V} -itsoffset 0.25 {_A} -map 0 -map 1 {_H264} -c:a aac",
    "late-audio.mkv": f"{_V} -itsoffset 0.25 {_A} -map 0 -map 1 {_H264} -c:a libmp3lame",
    "early-audio.mov": "-i audio.mka -itsoffset 0.137 -i bframes.mp4 -map 1:v -map 0:a -c copy",
    "bframes.mkv": f"{_V} {_H264} -preset medium -bf 3 -g 6",
    "edit-list.mp4": "-ss 0.4 -i whole.mp4 -c copy",
    "edit-list.mov": "-ss 0.55 -i whole.mp4 -c copy",
    "fragmented.mp4": f"{_V} {_A} {_H264} -c:a aac -movflags frag_keyframe+empty_moov",
    "sar.mp4": f"{_V} -vf setsar=4/3 {_H264}",
    "sar.mkv": f"{_V} -vf setsar=16/11 {_H264}",
    "odd.webm": f"{_V} {_A} -vf scale=97:65 -c:v libvpx-vp9 -deadline realtime -c:a libopus",
    "odd.mkv": f"{_V} -vf scale=97:65 -c:v ffv1 -pix_fmt yuv444p",
    "vp8.webm": f"{_V} {_A} -c:v libvpx -c:a libvorbis",
    "interlaced.ts": f"{_V} {_A} -vf interlace -c:v mpeg2video -flags +ildct+ilme -c:a mp2",
    "interlaced.mp4": f"{_V} -vf interlace {_H264} -flags +ildct+ilme -x264-params tff=1",
    "interlaced-bff.mkv": f"{_V} -vf interlace=scan=bff {_H264} -flags +ildct+ilme -x264-params bff=1",
    "10-bit.mp4": f"{_V} -c:v libx264 -preset veryfast -pix_fmt yuv420p10le",
    "444.mkv": f"{_V} -c:v libx264 -preset veryfast -pix_fmt yuv444p",
    "full-range.mp4": f"{_V} -vf scale=out_range=pc {_H264} -color_range pc {_BT709}",
    "bt709.mp4": f"{_V} {_H264} -color_range tv {_BT709}",
    "bt601.mov": f"{_V} {_H264} -color_range tv -colorspace smpte170m -color_primaries smpte170m -color_trc smpte170m",
    "bt601-625.mkv": f"{_V} {_H264} -color_range tv -colorspace bt470bg -color_primaries bt470bg -color_trc gamma28",
    "bt2020.mkv": f"{_V} -c:v libx264 -preset veryfast -pix_fmt yuv420p10le -color_range tv -colorspace bt2020nc "
    "-color_primaries bt2020 -color_trc bt2020-10",
    "srgb.mp4": f"{_V} {_H264} -color_range tv -colorspace bt709 -color_primaries bt709 -color_trc iec61966-2-1",
    "alpha.webm": f"{_V} -vf format=yuva420p,colorchannelmixer=aa=0.5 -c:v libvpx-vp9 -deadline realtime -auto-alt-ref 0",
    "alpha-prores.mov": f"{_V} {_A} -vf format=yuva444p10le,colorchannelmixer=aa=0.5 -c:v prores_ks -profile:v 4444 "
    "-c:a pcm_s16le",
    "alpha-qtrle.mov": f"{_V} -vf format=argb,colorchannelmixer=aa=0.5 -c:v qtrle",
    "alpha-png.mov": f"{_V} -vf format=rgba,colorchannelmixer=aa=0.5 -c:v png",
    "alpha-ffv1.mkv": f"{_V} -vf format=bgra,colorchannelmixer=aa=0.5 -c:v ffv1",
    "hdr10.mp4": f"{_V} -c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -tag:v hvc1 -x265-params log-level=error:hdr10=1:"
    "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:range=limited:max-cll=1000,400:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)",
    "hdr10.mkv": "-i hdr10.mp4 -c copy",
    "hlg.mov": f"{_V} -c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -tag:v hvc1 -x265-params "
    "log-level=error:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc:range=limited",
    "surround.mp4": f"{_V} {_A} {_H264} -c:a aac -ac 6",
    "surround.mkv": f"{_V} {_A} {_H264} -c:a ac3 -ac 6",
    "eac3.mp4": f"{_V} {_A} {_H264} -c:a eac3 -ac 2",
    "pcm.mov": f"{_V} {_A} {_A2} -map 0 -map 1 -map 2 {_H264} -c:a:0 pcm_s16le -c:a:1 pcm_s24le -metadata:s:a:1 language=fra",
    "pcm.mkv": f"{_V} {_A} {_H264} -c:a pcm_s24le",
    "alac.m4v": f"{_V} {_A} {_H264} -c:a alac",
    "codecs.mp4": f"{_V} {_A} -map 0 -map 1 -map 1 -map 1 -map 1 {_H264} -c:a:0 flac -c:a:1 libopus -c:a:2 libmp3lame -c:a:3 ac3 "
    "-strict -2",
    "codecs.mkv": f"{_V} {_A} -map 0 -map 1 -map 1 -map 1 -map 1 {_H264} -c:a:0 flac -c:a:1 libopus -c:a:2 libmp3lame "
    "-c:a:3 libvorbis",
    "truehd-dts.mkv": f"{_V} {_A} -map 0 -map 1 -map 1 {_H264} -ar 48000 -c:a:0 truehd -c:a:1 dca -strict -2",
    "av1.mp4": f"{_V} {_A} -c:v libaom-av1 -cpu-used 8 -c:a libopus",
    "vp9.mp4": f"{_V} -c:v libvpx-vp9 -deadline realtime -color_range tv -colorspace bt709",
    "chapters.mov": f"{_V} {_A} -i chapters.txt -map 0 -map 1 -map_metadata 2 {_H264} -c:a aac",
    "chapters.webm": f"{_V} {_A} -i chapters.txt -map 0 -map 1 -map_metadata 2 -c:v libvpx -c:a libopus",
    "live.mkv": f"{_V} {_A} {_H264} -c:a aac -f matroska -live 1",
    "raw.h264": f"{_V} {_H264} -f h264",
    "mjpeg.mov": f"{_V} {_A} -c:v mjpeg -pix_fmt yuvj422p -c:a pcm_u8",
    "turned-and-wide.mp4": "-i turned.mp4 -c copy",
    "audio-first.mp4": f"{_A} {_V} -map 0 -map 1 {_H264} -c:a aac",
    "mp3.avi": f"{_V} {_A} -c:v mpeg4 -c:a libmp3lame",
    "pcm-b.avi": f"{_V} {_A} -c:v libxvid -bf 2 -c:a pcm_s16le -metadata title=Title",
    "mjpeg.avi": f"{_V} -c:v mjpeg -pix_fmt yuvj420p",
    "wm.wmv": f"{_V} {_A} -c:v wmv2 -c:a wmav2 -metadata title=Title",
    "aac.ts": f"{_V} {_A} {_A2} -map 0 -map 1 -map 2 {_H264} -c:a aac -metadata:s:a:0 language=eng -metadata:s:a:1 language=fra "
    "-metadata service_name=Channel",
    "blu-ray.m2ts": f"{_V} {_A} {_H264} -c:a ac3 -mpegts_m2ts_mode 1",
    "aac.flv": f"{_V} {_A} {_H264} -c:a aac -ar 44100",
    "aac.3gp": f"{_V} {_A} -c:v mpeg4 -c:a aac -s 128x96",
    "vorbis.ogv": f"{_V} {_A} -c:v libtheora -c:a libvorbis -metadata title=Title",
    "mp2.mpg": f"{_V} {_A} -c:v mpeg2video -r 25 -c:a mp2 -f vob",
    "mxf.mxf": f"{_V} {_A} -c:v mpeg2video -r 25 -c:a pcm_s16le -ar 48000",
    "timecode.mov": f"{_V} {_A} {_H264} -c:a aac -timecode 01:02:03:04",
    "timecode.mp4": f"{_V} {_A} {_H264} -c:a aac -timecode 01:02:03:04",
    "two-videos.mkv": f"{_V} {_V} -map 0 -map 1 {_H264} -c:v:1 mpeg4 -metadata:s:v:0 title=Main -metadata:s:v:1 title=Angle",
    "two-videos.mp4": f"{_V} {_V} -map 0 -map 1 {_H264} -vf negate",
    "animation.gif": f"{_V} -r 10",
    "ntsc.mov": "-f lavfi -i testsrc2=size=96x64:rate=30000/1001:duration=1 "
    f"-f lavfi -i sine=frequency=300:duration=1:sample_rate=48000 {_H264} -c:a aac -metadata title=Title "
    "-metadata:s:v language=spa",
    "custom-tags.mp4": f"{_V} {_H264} -movflags use_metadata_tags -metadata com.example.key=Value -metadata title=Title "
    "-metadata:s:v creation_time=2019-01-02T03:04:05Z",
    "itunes-tags.mp4": f"{_V} {_H264} -metadata genre=Art -metadata date=2020 -metadata album=Album -metadata track=3/9 "
    "-metadata composer=Me -metadata copyright=Mine -metadata description=Long",
    "one-frame.mp4": f"{_V} {_H264} -frames:v 1",
    "no-audio.mkv": f"{_V} {_H264}",
}

_SUBTITLES = ((0.1, 0.4, "First line"), (0.5, 0.95, "Zweite Zeile, ünïcode"))


def generate(folder: Path, only: Sequence[str] = ()) -> list[Path]:
    """Write unusual clips (only those in `only`, if any) and return them; those that fail are reported and skipped."""
    parts = folder / "parts"
    parts.mkdir()
    _ingredients(parts)
    makers: dict[str, Callable[[Path], None]] = {
        **{name: _ffmpeg_maker(arguments, parts) for name, arguments in _BY_FFMPEG.items()},
        **_by_pyav(parts),
    }
    made = []
    for name in only or makers:
        path = folder / name
        try:
            makers[name](path)
            made.append(path)
        except (subprocess.CalledProcessError, OSError, ValueError, RuntimeError) as error:
            message = error.stderr.decode() if isinstance(error, subprocess.CalledProcessError) else str(error)
            print(f"could not generate {name}: {message.strip().splitlines()[-1] if message.strip() else error}", file=sys.stderr)
    return made


def _ffmpeg_maker(arguments: str, parts: Path) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        ffmpeg(*shlex.split(arguments), path.resolve(), cwd=parts)

    return make


def _ingredients(parts: Path) -> None:
    """Write the parts that the clips are made of."""
    clock = "{:02d}:{:02d}:{:06.3f}".format
    times = [(clock(0, 0, a), clock(0, 0, b), text) for a, b, text in _SUBTITLES]
    (parts / "subs.srt").write_text(
        "".join(f"{n}\n{a} --> {b}\n{text}\n\n".replace(".", ",", 2) for n, (a, b, text) in enumerate(times, 1)), "utf-8"
    )
    (parts / "subs.vtt").write_text(
        "WEBVTT\n\n" + "".join(f"cue-{n}\n{a} --> {b} line:0\n{t}\n\n" for n, (a, b, t) in enumerate(times)), "utf-8"
    )
    (parts / "chapters.txt").write_text(
        ";FFMETADATA1\ntitle=A title\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=333\ntitle=One\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=333\nEND=1000\ntitle=Zwei, ünïcode\n",
        "utf-8",
    )
    (parts / "font.ttf").write_bytes(bytes(range(256)) * 8)
    ffmpeg("-i", "subs.srt", "subs.ass", cwd=parts)
    for name in ("cover.png", "cover.jpg"):
        ffmpeg(*shlex.split("-f lavfi -i testsrc2=size=32x32 -frames:v 1 -update 1"), name, cwd=parts)
    ffmpeg(*shlex.split(f"{_A} -c:a aac audio.mka"), cwd=parts)
    ffmpeg(*shlex.split(f"{_V} {_A} {_H264} -g 12 -bf 2 -preset medium -c:a aac whole.mp4"), cwd=parts)
    ffmpeg(*shlex.split(f"{_V} {_H264} -preset medium -bf 3 -g 6 bframes.mp4"), cwd=parts)
    ffmpeg(*shlex.split(_BY_FFMPEG["hdr10.mp4"]), "hdr10.mp4", cwd=parts)
    ffmpeg(*shlex.split(f"{_V} {_A} -vf setsar=4/3 {_H264} -c:a aac wide.mp4"), cwd=parts)
    remux(parts / "wide.mp4", parts / "turned.mp4", matrix=list(orientations())[2])
    # One bright corner, so that all orientations differ.
    corner = "color=size=96x64:rate=12:duration=0.5,geq=lum='if(lt(X,32)*lt(Y,32),235,if(lt(Y,32),120,30))':cb=128:cr=128"
    ffmpeg(*shlex.split(f'-f lavfi -i "{corner}" {_H264} corner.mp4'), cwd=parts)


def _by_pyav(parts: Path) -> dict[str, Callable[[Path], None]]:
    """The clips that ffmpeg cannot make."""
    makers: dict[str, Callable[[Path], None]] = {}
    for number, matrix in enumerate(orientations()):
        suffix = ".mov" if number % 2 else ".mp4"
        makers[f"turned-{number}{suffix}"] = partial(remux, parts / "corner.mp4", matrix=matrix)
        if number in (1, 2, 4, 7):
            makers[f"turned-{number}.mkv"] = partial(remux, parts / "corner.mp4", matrix=matrix)
    makers["joined.ts"] = lambda path: _join(parts, path)
    makers["two-sizes.ts"] = lambda path: _two_sizes(parts, path)
    makers["amr.3gp"] = lambda path: _amr(parts, path)
    makers["klv.ts"] = lambda path: _with_data(parts, path, "klv")
    makers["id3.ts"] = lambda path: _with_data(parts, path, "timed_id3")
    return makers


def orientations() -> Iterator[tuple[int, ...]]:
    """The display matrices of the eight ways to turn and mirror an image, the first of which does nothing."""
    one = 1 << 16
    for a, b in ((one, 0), (0, one), (-one, 0), (0, -one)):
        for mirrored in (1, -1):
            yield (a, b, 0, -b * mirrored, a * mirrored, 0, 0, 0, 1 << 30)


def remux(
    source: Path,
    path: Path,
    matrix: tuple[int, ...] | None = None,
    change: Callable[[Any], Any] = lambda packet: packet,
    keep: Callable[[Any], bool] = lambda stream: True,
) -> None:
    """Copy the streams selected by `keep`, and chapters; `change` returns each packet as it is written, or None to drop it."""
    import av

    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        new.metadata.update(old.metadata)
        copies = {}
        for stream in old.streams:
            if stream.type == "data" or not keep(stream):  # the track of chapters writes itself
                continue
            if stream.type == "attachment":
                attached: Any = stream
                new.add_attachment(attached.name, attached.mimetype, attached.data)
                continue
            copy: Any = new.add_stream_from_template(stream)
            copies[stream.index] = copy
            copy.metadata.update(stream.metadata)
            copy.disposition = stream.disposition
            if matrix and stream.type == "video":
                copy.set_display_matrix(matrix)
        if old.chapters():
            new.set_chapters(old.chapters())
        for packet in old.demux():
            if packet.size and packet.stream.index in copies and change(packet) is not None:
                packet.stream = copies[packet.stream.index]
                new.mux(packet)


def _join(parts: Path, path: Path) -> None:
    one = parts / "one.ts"
    ffmpeg(*shlex.split(f"{_V} {_A} {_H264} -c:a aac"), one)
    path.write_bytes(one.read_bytes() * 2)


def _two_sizes(parts: Path, path: Path) -> None:
    parts_of_it = [parts / "small.ts", parts / "large.ts"]
    for part, size, offset in zip(parts_of_it, ("96x64", "128x96"), (0, 1), strict=True):
        ffmpeg(*shlex.split(f"{_V} -vf scale={size.replace('x', ':')} {_H264} -bf 0 -output_ts_offset {offset}"), part)
    path.write_bytes(b"".join(part.read_bytes() for part in parts_of_it))


def _amr(parts: Path, path: Path) -> None:
    import av

    wave = 8000 * np.sin(np.arange(8000) * 2 * np.pi * 300 / 8000)
    with av.open(str(parts / "bframes.mp4")) as old, av.open(str(path), "w") as new:
        video = new.add_stream_from_template(old.streams.video[0])
        audio: Any = new.add_stream("libopencore_amrnb", rate=8000)
        audio.layout = "mono"
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = video
                new.mux(packet)
        for begin in range(0, 8000, 160):
            frame = av.AudioFrame.from_ndarray(wave[None, begin : begin + 160].astype(np.int16), "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, begin, Fraction(1, 8000)
            new.mux(audio.encode(frame))
        new.mux(audio.encode(None))


def _with_data(parts: Path, path: Path, codec: str) -> None:
    import av

    with av.open(str(parts / "whole.mp4")) as old, av.open(str(path), "w") as new:
        copies = {s.index: new.add_stream_from_template(s) for s in old.streams}
        data = new.add_data_stream(codec)
        data.time_base = Fraction(1, 90000)
        for number, packet in enumerate(p for p in old.demux() if p.size):
            if packet.stream.type == "video":
                extra = av.Packet(b"\x06\x0e\x2b\x34" * 4 + bytes([number]))
                extra.stream, extra.pts, extra.dts = data, packet.dts, packet.dts
                extra.time_base = packet.time_base
                new.mux(extra)
            packet.stream = copies[packet.stream.index]
            new.mux(packet)


# --- Reporting


def result_of(clip: Facts) -> str:
    """`kept`, `named`, `refused` or `differs`: the worst of a clip's checks."""
    found = {value.split(":")[0].split(" ")[0] for value in clip["checks"].values()}
    return next((r for r in ("differs", "refused", "named") if r in found), "kept")


def _short(clip: Facts, *keys: str) -> str:
    found = [clip["checks"].get(key, "") for key in keys]
    return next((w for w in ("differs", "named", "same") if any(v.startswith(w) for v in found)), "")


def table(clips: Sequence[Facts]) -> list[list[str]]:
    """A row for each clip, for `markdown` and the terminal."""
    return [
        [
            clip["name"],
            result_of(clip),
            clip.get("streams", ""),
            str(clip.get("video_frames", "")),
            _short(clip, "timestamps", "frames", "av_offset"),
            _short(clip, "packets"),
            _short(clip, "tags", "dispositions", "chapters"),
        ]
        for clip in clips
    ]


def markdown(results: Facts) -> str:
    """The table of the results, with a row per clip."""
    head = ["clip", "result", "streams", "frames", "timestamps", "packets", "tags"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * 3 + " ---: |" + " --- |" * 3]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in table(results["clips"]))])


def print_result(clip: Facts, verbose: bool) -> None:
    """Print the row of a clip, and below it the differences (or, if verbose, all checks)."""
    row = table([clip])[0]
    print(f"{row[0]:34} {row[1]:8} {clip['exit_code']!s:>4} {row[3]:>4}  {row[2]}", flush=True)
    if "refused" in clip:
        print(f"    {clip['refused']}")
    for key, value in clip["checks"].items():
        if verbose or value.startswith("differs"):
            print(f"    {key}: {value}")
    for warning in clip["warnings"] if verbose else ():
        print(f"    warning: {warning}")


def check_all(clips: Sequence[Path], work: Path, style: str, verbose: bool) -> list[Facts]:
    """Check each clip in its own folder below `work`."""
    found = []
    for number, clip in enumerate(clips):
        folder = work / f"{number:03}-{clip.stem}"
        folder.mkdir(parents=True)
        try:
            facts = check_clip(clip, folder, style)
        except Exception as error:  # a clip that cannot be compared must not end the run
            traceback.print_exc()
            facts = _failed(clip, None, f"the comparison failed: {error}")
        print_result(facts, verbose)
        found.append(facts)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path, metavar="DIR_OR_FILE")
    parser.add_argument("--generated", action="store_true", help="also check generated unusual clips")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="generate only these clips")
    parser.add_argument("--style", default="udnie")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--keep", type=Path, help="keep generated clips and outputs in this new folder")
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    if not (args.clips or args.generated or args.only):
        parser.error("nothing to check: give clips, folders or --generated")
    if not (shutil.which("ffprobe") and shutil.which("ffmpeg")):
        parser.error("ffprobe and ffmpeg are needed")
    with tempfile.TemporaryDirectory() as temporary:
        work = args.keep or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        clips = clips_of(args.clips)
        if args.generated or args.only:
            (work / "generated").mkdir()
            clips += generate(work / "generated", args.only)
        found = check_all(clips, work / "stylized", args.style, args.verbose)
    counts = Counter(result_of(clip) for clip in found)
    print(", ".join(f"{n} {what}" for what, n in sorted(counts.items())))
    if args.json:
        _write(args.json, found)
    return 1 if counts["differs"] else 0


def _write(path: Path, clips: Sequence[Facts]) -> None:
    from vidstyle.core.hardware import machine_details

    version = subprocess.run(["ffprobe", "-version"], capture_output=True, text=True, check=True).stdout
    arguments = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    command = shlex.join(["python", "-m", "tools.bench.fidelity", *arguments])
    about = {**machine_details(len(os.sched_getaffinity(0))), "ffprobe": version.split()[2]}
    path.write_text(json.dumps({"command": command, "machine": about, "clips": list(clips)}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
