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
    """A promise that was not kept: its kind, for counting, and what was seen."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


Snapshot = dict[str, tuple[int, bytes]]


def snapshot(folder: Path) -> Snapshot:
    """Every file below `folder`, hidden ones too: when it was written and what is in it."""
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
    """What Debian's ffmpeg makes of a file's main video."""

    code: int
    said: str
    frames: list[tuple[int, str]] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return self.code == 0 and not self.said and bool(self.frames)


_OF_AUDIO = re.compile(r"\[(aac|mp2|mp3|mp3float|opus|vorbis|pcm_\w+) @")


def decode(path: Path) -> Decoded:
    """Decode the video with the ffmpeg of the system, which is another program than the one in PyAV's wheel."""
    given = ["-v", "error", "-nostdin", "-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-"]
    done = subprocess.run(["ffmpeg", *given], capture_output=True, text=True, errors="replace", timeout=120, check=False)
    rows = [line.split(",") for line in done.stdout.splitlines() if line and not line.startswith("#")]
    # Audio is copied as it is, its damage too, and ffmpeg tries it even where it is not asked for.
    said = [line for line in done.stderr.splitlines() if line.strip() and not _OF_AUDIO.match(line)]
    return Decoded(done.returncode, "\n".join(said), [(int(row[2]), row[-1].strip()) for row in rows])


def audio_packets(path: Path) -> int:
    """How many packets of audio the ffprobe of the system finds in a file."""
    given = ["-v", "quiet", "-select_streams", "a", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "json"]
    done = subprocess.run(["ffprobe", *given, str(path)], capture_output=True, text=True, timeout=120, check=False)
    streams = json.loads(done.stdout or "{}").get("streams", [])
    return sum(int(stream.get("nb_read_packets", 0)) for stream in streams)


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
    """The promises not kept by a run in `folder`, which held `before` when it began.

    `codes` are those that make sense. `source` is the input, if its damage is to be weighed against the output: a run
    that ends with 0 has lost nothing. `truncated`: it is known to be incomplete, 0 is out of the question.
    `original_frames`: how many there were before the damage. `may_replace`: an old output that success may replace.
    `late`: the run was stopped so near its end that it may have published its output; whole, as ever.
    """
    found = _ending(run_result, codes)
    after = snapshot(folder)
    for name, facts in before.items():
        if after.get(name) != facts and not (name == may_replace and (run_result.code in (DONE, DAMAGE) or late)):
            found.append(Violation("file touched", f"{name} {'changed' if name in after else 'is gone'}"))
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
            found += _weigh(run_result, folder / shown[0], source, truncated, original_frames)
    elif shown and run_result.code not in (None, -signal.SIGKILL) and not late:
        found.append(Violation("output of a failure", f"code {run_result.code}, new files: {shown}"))
    else:  # a hang, kill -9 or a signal too late
        for name in shown:
            decoded = decode(folder / name)
            if not decoded.whole:
                found.append(Violation("not whole", f"{name}: {decoded.said[:300]}"))
    return found


def _ending(run_result: RunResult, codes: Sequence[int]) -> list[Violation]:
    found = []
    tail = run_result.stderr.strip()[-800:]
    if run_result.code is None:
        found.append(Violation("hang", tail))
    elif run_result.code < 0 and run_result.code not in codes:
        found.append(Violation("crash", f"signal {-run_result.code}: {tail}"))
    elif run_result.code not in codes:
        found.append(Violation("exit code", f"{run_result.code}, expected one of {list(codes)}: {tail}"))
    if "Traceback" in run_result.stderr:
        found.append(Violation("traceback", tail))
    if run_result.code in (FAILED, USAGE, DAMAGE, MODEL, DISK) and not run_result.stderr.strip():
        found.append(Violation("no word", f"code {run_result.code} and nothing on stderr"))
    if "-q" in run_result.args and "Traceback" not in run_result.stderr:
        lines = [line for line in run_result.stderr.splitlines() if line]  # a line of its own after the terminal's ^C is fine
        noise = [line for line in lines if not line.startswith(("error: ", "warning: ", "interrupted"))]
        if noise or (run_result.code == DONE and lines):
            found.append(Violation("noise", "\n".join(lines)[:500]))
    if run_result.peak_mib > PEAK_MIB:
        found.append(Violation("memory", f"{run_result.peak_mib:.0f} MiB"))
    return found


def _weigh(
    run_result: RunResult, output: Path, source: Path | None, truncated: bool, original_frames: int | None
) -> Iterator[Violation]:
    """An output against what ffmpeg makes of it and of its input."""
    decoded = decode(output)
    frames = len(decoded.frames)
    if not decoded.whole:
        yield Violation("not whole", f"{output.name}: {frames} frames, ffmpeg says: {decoded.said[:300]}")
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
        # A decoder that saves more than ffmpeg's is no fault, if it saves all.
        if frames < expected or expected < frames < (original_frames or 0):
            yield Violation("false success", f"{frames} frames; ffmpeg decodes {expected} of the input's {original_frames}")
        heard, kept = audio_packets(source), audio_packets(output)
        if kept < heard:
            yield Violation("false success", f"{kept} packets of audio; the input has {heard}")


def check(run_result: RunResult, folder: Path, before: Snapshot, **weighed: Any) -> None:
    """Assert that `violations` finds none."""
    found = violations(run_result, folder, before, **weighed)
    assert not found, "\n".join([f"vidstyle {' '.join(run_result.args)}", *map(str, found)])
