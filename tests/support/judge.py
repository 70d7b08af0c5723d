"""Checks of what vidstyle promises, made only from outside.

Whatever the input and the moment, a run ends with a documented exit code and without a traceback; a file has its final name
only if it is complete, which the ffmpeg of the system decides; nothing hidden is left; the input is unchanged.
"""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.runs import DAMAGE, DISK, DONE, FAILED, MODEL, PEAK_MIB, USAGE, RunResult


@dataclass(frozen=True)
class Violation:
    """A promise that was not kept: its kind, for counting, and a description."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


Snapshot = dict[str, tuple[int, bytes]]


def snapshot(folder: Path) -> Snapshot:
    """Every file below `folder`, including hidden ones: modification time and hash of the content."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            found[str(path.relative_to(folder))] = (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).digest())
    return found


def hidden(folder: Path) -> list[str]:
    """Hidden files and folders in `folder`."""
    return sorted(p.name for p in folder.iterdir() if p.name.startswith(".")) if folder.is_dir() else []


@dataclass(frozen=True)
class Decoded:
    """The main video of a file as the ffmpeg of the system decodes it."""

    code: int
    errors: str
    frames: list[tuple[int, str]] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return self.code == 0 and not self.errors and bool(self.frames)


_OF_AUDIO = re.compile(r"\[(aac|mp2|mp3|mp3float|opus|vorbis|pcm_\w+) @")


def decode(path: Path) -> Decoded:
    """Decode the video with the ffmpeg of the system, which is another program than the one in PyAV's wheel."""
    arguments = ["-v", "error", "-nostdin", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-"]
    done = subprocess.run(["ffmpeg", *arguments], capture_output=True, text=True, errors="replace", timeout=120, check=False)
    rows = [line.split(",") for line in done.stdout.splitlines() if line and not line.startswith("#")]
    # Audio is copied with its damage, and ffmpeg decodes some of it although only the video is mapped.
    errors = [line for line in done.stderr.splitlines() if line.strip() and not _OF_AUDIO.match(line)]
    return Decoded(done.returncode, "\n".join(errors), [(int(row[2]), row[-1].strip()) for row in rows])


def audio_packets(path: Path) -> int:
    """The number of audio packets that the ffprobe of the system counts in a file, in streams whose codec it knows."""
    arguments = [
        "-v",
        "quiet",
        "-select_streams",
        "a",
        "-count_packets",
        "-show_entries",
        "stream=codec_name,nb_read_packets",
        "-of",
        "json",
    ]
    done = subprocess.run(["ffprobe", *arguments, str(path)], capture_output=True, text=True, timeout=120, check=False)
    streams = json.loads(done.stdout or "{}").get("streams", [])
    return sum(int(stream.get("nb_read_packets", 0)) for stream in streams if stream.get("codec_name", "unknown") != "unknown")


def violations(
    run_result: RunResult,
    folder: Path,
    before: Snapshot,
    *,
    codes: Sequence[int] = (DONE, FAILED, DAMAGE),
    source: Path | None = None,
    truncated: bool = False,
    original_frames: int | None = None,
    may_replace: str | None = None,
    late: bool = False,
) -> list[Violation]:
    """The promises that a run in `folder`, which contained `before`, did not keep.

    `codes` are the valid exit codes. `source` is the input, if its damage is to be compared with the output: a run that ends
    with 0 has lost nothing. `truncated`: the input is known to be incomplete, so 0 is invalid. `original_frames`: the number of
    frames before the damage. `may_replace`: an old output that success may replace. `late`: the run was stopped so near its end
    that it may have published its (complete) output.
    """
    found = ending_violations(run_result, codes)
    after = snapshot(folder)
    for name, file in before.items():
        if after.get(name) != file and not (name == may_replace and (run_result.code in (DONE, DAMAGE) or late)):
            found.append(Violation("file changed", f"{name} {'changed' if name in after else 'was removed'}"))
    new = sorted(set(after) - set(before))
    left = [name for name in new if any(part.startswith(".") for part in Path(name).parts)]
    if left:
        found.append(Violation("hidden left", ", ".join(left)))
    shown = [name for name in new if name not in left]
    if may_replace is not None and may_replace in after and after[may_replace] != before.get(may_replace):
        shown = sorted({*shown, may_replace})
    if run_result.code in (DONE, DAMAGE):
        if len(shown) != 1:
            found.append(Violation("no output", f"code {run_result.code}, new files: {shown}"))
        else:
            found += _compare(run_result, folder / shown[0], source, truncated, original_frames)
    elif shown and run_result.code not in (None, -signal.SIGKILL) and not late:
        found.append(Violation("output of a failure", f"code {run_result.code}, new files: {shown}"))
    else:  # a hang, SIGKILL, or a signal near the end
        for name in shown:
            decoded = decode(folder / name)
            if not decoded.whole:
                found.append(Violation("not whole", f"{name}: {decoded.errors[:300]}"))
    return found


def ending_violations(run_result: RunResult, codes: Sequence[int], peak_mib: float = PEAK_MIB) -> list[Violation]:
    """The promises about the end of a run that were not kept: exit code, messages and memory."""
    found = []
    tail = run_result.stderr.partition("Extension modules:")[0].strip()[-800:]  # without what ends a stack trace
    if run_result.code is None:
        found.append(Violation("hang", run_result.stderr.partition("Extension modules:")[0].strip()[-3000:]))
    elif run_result.code < 0 and run_result.code not in codes:
        found.append(Violation("crash", f"signal {-run_result.code}: {tail}"))
    elif run_result.code not in codes:
        found.append(Violation("exit code", f"{run_result.code}, expected one of {list(codes)}: {tail}"))
    if "Traceback" in run_result.stderr:
        found.append(Violation("traceback", tail))
    if run_result.code in (FAILED, USAGE, DAMAGE, MODEL, DISK) and not run_result.stderr.strip():
        found.append(Violation("no message", f"code {run_result.code} and nothing on stderr"))
    if "-q" in run_result.args and "Traceback" not in run_result.stderr:
        lines = [line for line in run_result.stderr.splitlines() if line]  # an empty line after the terminal's ^C is fine
        extra = [line for line in lines if not line.startswith(("error: ", "warning: ", "interrupted"))]
        if extra or (run_result.code == DONE and lines):
            found.append(Violation("extra output", "\n".join(lines)[:500]))
    if run_result.peak_mib > peak_mib:
        found.append(Violation("memory", f"{run_result.peak_mib:.0f} MiB"))
    return found


def _compare(
    run_result: RunResult, output: Path, source: Path | None, truncated: bool, original_frames: int | None
) -> Iterator[Violation]:
    """Compare an output and its input, both decoded by ffmpeg."""
    decoded = decode(output)
    frames = len(decoded.frames)
    if not decoded.whole:
        yield Violation("not whole", f"{output.name}: {frames} frames, ffmpeg reports: {decoded.errors[:300]}")
    if run_result.code == DAMAGE and source is not None:
        expected = len(decode(source).frames)
        if frames < 0.75 * expected - 4:
            yield Violation("frames lost", f"{frames} frames, ffmpeg decodes {expected}")
    if run_result.code != DONE:
        return
    if truncated:
        yield Violation("false success", f"a truncated input, code 0, {frames} frames of {original_frames}")
    elif source is not None:
        expected = len(decode(source).frames)
        # More frames than ffmpeg decodes are fine if there are all of them.
        if frames < expected or expected < frames < (original_frames or 0):
            yield Violation("false success", f"{frames} frames; ffmpeg decodes {expected} of the input's {original_frames}")
        expected, found = audio_packets(source), audio_packets(output)
        if found < expected:
            yield Violation("false success", f"{found} packets of audio; the input has {expected}")


def check(run_result: RunResult, folder: Path, before: Snapshot, **expectations: Any) -> None:
    """Assert that `violations` finds none."""
    found = violations(run_result, folder, before, **expectations)
    assert not found, "\n".join([f"vidstyle {' '.join(run_result.args)}", *map(str, found)])
