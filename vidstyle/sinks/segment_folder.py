"""The hidden folder beside an output that holds its finished segments."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from vidstyle.core.errors import OutputExistsError
from vidstyle.core.files import replaced
from vidstyle.media.av_errors import DAMAGE_ERRORS
from vidstyle.media.container import open_media, writing

log = logging.getLogger(__name__)

_VERSION = 2
_BROKEN = (*DAMAGE_ERRORS, KeyError, TypeError, AttributeError)

Memory = Mapping[str, np.ndarray]


def has_plan(output: Path) -> bool:
    """Whether the unfinished work on `output` was divided by a plan, see `SegmentFolder.plan`."""
    try:
        return json.loads((_work_path(output) / "manifest.json").read_text("utf-8"))["plan"] is not None
    except _BROKEN:
        return False


def _work_path(output: Path) -> Path:
    return output.with_name(f".{output.name}.resume")


class SegmentFolder:
    """The hidden folder beside an output that holds its finished segments, locked for one process.

    `manifest.json` tells what they were made from (`fingerprint`) and lists them; it is written whole or not at all, after the
    segment that it lists. Raises `OutputExistsError` where another process is at work in it.
    """

    def __init__(self, output: Path, fingerprint: Mapping[str, Any]) -> None:
        self.path = _work_path(output)
        self._leaving = output.with_name(f".{output.name}.resume.done")
        self._fingerprint = dict(fingerprint)
        shutil.rmtree(self._leaving, ignore_errors=True)  # of a run that was killed at its very end
        with writing(output):
            self.path.mkdir(mode=0o700, exist_ok=True)
        self._lock = filelock.FileLock(self.path / "lock", thread_local=False)
        with writing(output):
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                raise OutputExistsError(f"another vidstyle is at work on {output}; nothing was changed") from None
        self.plan: Any = None
        """How the work is divided, if that was written down; JSON."""
        self.segments: dict[int, dict[str, Any]] = self._read()
        """The finished segments by number, counted from 0."""

    def _read(self) -> dict[int, dict[str, Any]]:
        try:
            manifest = json.loads((self.path / "manifest.json").read_text("utf-8"))
            segments = {int(number): segment for number, segment in manifest["segments"].items()}
            same = manifest["version"] == _VERSION and manifest["fingerprint"] == self._fingerprint
        except FileNotFoundError:
            return {}
        except _BROKEN:
            log.warning("the notes of the interrupted run cannot be read; beginning anew")
            return {}
        if not same:
            log.warning("the input, the style or an option has changed since the interrupted run; beginning anew")
            return {}
        self.plan = manifest.get("plan")
        return {number: segment for number, segment in sorted(segments.items()) if self._is_whole(segment)}

    def _is_whole(self, segment: Mapping[str, Any]) -> bool:
        try:
            path = self.segment_path(segment)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            with open_media(str(path)) as container:
                count = sum(1 for packet in container.demux(video=0) if packet.size)
            whole = bool(digest == segment["sha256"] and count == len(segment["packets"]))
        except _BROKEN:
            whole = False
        if not whole:
            log.warning("a segment of the interrupted run is damaged and is done again")
        return whole

    def segment_path(self, segment: Mapping[str, Any]) -> Path:
        """The file of a segment; a name from the manifest cannot lead elsewhere."""
        return self.path / Path(str(segment["file"])).name

    def memory(self, number: int) -> dict[str, np.ndarray] | None:
        """What the finishers knew after segment `number`; None where that is lost."""
        try:
            with np.load(self._memory_path(number), allow_pickle=False) as stored:
                return dict(stored)
        except (OSError, ValueError, KeyError, EOFError):
            return None

    def _memory_path(self, number: int) -> Path:
        return self.path / f"{number:06}.npz"

    def add(self, number: int, path: Path, packets: list[tuple[int, int]], memory: Memory | None = None) -> None:
        """List a finished segment, with what the finishers know after it, which the one before no longer has to."""
        with path.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if memory:
            with replaced(self._memory_path(number)) as temporary, temporary.open("wb") as file:
                np.savez(file, **memory)  # type: ignore[arg-type]
        self.segments[number] = {"file": path.name, "sha256": digest, "packets": packets}
        self.write()
        self._memory_path(number - 1).unlink(missing_ok=True)

    def keep_first(self, count: int) -> None:
        """Begin anew behind the first `count` segments."""
        if any(number >= count for number in self.segments):
            self.segments = {number: segment for number, segment in self.segments.items() if number < count}
            self.write()

    def write(self) -> None:
        """Write the notes down."""
        manifest = {"version": _VERSION, "fingerprint": self._fingerprint, "plan": self.plan, "segments": self.segments}
        with replaced(self.path / "manifest.json") as temporary:
            temporary.write_bytes(json.dumps(manifest).encode())

    def remove(self) -> None:
        """All is done: the folder goes. It loses its name first, so that no other process finds it half gone."""
        try:
            os.replace(self.path, self._leaving)
        except OSError:  # Windows, while the lock is open
            self.close()
            shutil.rmtree(self.path, ignore_errors=True)
        self.close()
        shutil.rmtree(self._leaving, ignore_errors=True)

    def close(self) -> None:
        """Let another process have it; a folder without a finished segment is of little use to anybody."""
        if self._lock.is_locked and not self.segments:
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()
