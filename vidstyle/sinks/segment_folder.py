"""The hidden folder beside an output that holds its finished segments."""

from __future__ import annotations

import contextlib
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

from vidstyle.core.damage import Damage
from vidstyle.core.errors import OutputExistsError
from vidstyle.core.files import beside, replaced
from vidstyle.media.av_errors import DAMAGE_ERRORS
from vidstyle.media.container import open_media, writing

log = logging.getLogger(__name__)

_VERSION = 3
_UNREADABLE: tuple[type[Exception], ...] = (*DAMAGE_ERRORS, KeyError, TypeError, AttributeError)

State = Mapping[str, np.ndarray]
"""The state of a post-processor, see `vidstyle.core.protocols.StatefulPostProcessor`."""


def has_plan(output: Path) -> bool:
    """Whether the unfinished work on `output` has a plan, see `SegmentFolder.plan`."""
    try:
        return json.loads((_folder_path(output) / "manifest.json").read_text("utf-8"))["plan"] is not None
    except _UNREADABLE:
        return False


def _folder_path(output: Path) -> Path:
    return beside(output, ".", ".resume")


def _finished_path(output: Path) -> Path:
    """What the folder is called while it is removed."""
    return beside(output, ".", ".resume.done")


def remove_finished(output: Path, fingerprint: str | None) -> None:
    """Remove the segments of `output`, which is finished, if they were made for it: its stamp contains `fingerprint`."""
    path = _folder_path(output)
    with contextlib.suppress(*_UNREADABLE):
        if fingerprint is not None and fingerprint in json.loads((path / "manifest.json").read_text("utf-8"))["stamp"]:
            with filelock.FileLock(path / "lock", timeout=0):  # raises an OSError if another run is working there
                os.replace(path, _finished_path(output))
    shutil.rmtree(_finished_path(output), ignore_errors=True)


class SegmentFolder:
    """The hidden folder beside an output that holds its finished segments, locked by one process.

    `manifest.json` lists them and describes what they were made from (`fingerprint`) and the output (`stamp`); it is replaced as
    a whole, after the segment that it lists was written. Raises `OutputExistsError` if another process is using the folder.
    """

    def __init__(self, output: Path, fingerprint: Mapping[str, Any], stamp: str | None = None) -> None:
        self.path, self._finished_path = _folder_path(output), _finished_path(output)
        self._fingerprint, self._stamp = dict(fingerprint), stamp
        shutil.rmtree(self._finished_path, ignore_errors=True)  # left by a run that was killed while removing it
        with writing(output):
            self.path.mkdir(mode=0o700, exist_ok=True)
        self._lock = filelock.FileLock(self.path / "lock", thread_local=False)
        with writing(output):
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                raise OutputExistsError(f"another vidstyle process is working on {output}; nothing was changed") from None
        self.plan: Any = None
        """How the work is divided, as JSON; None if it is not."""
        self.segments: dict[int, dict[str, Any]] = self._read()
        """The finished segments by number, from 0."""

    def _read(self) -> dict[int, dict[str, Any]]:
        try:
            manifest = json.loads((self.path / "manifest.json").read_text("utf-8"))
            segments = {int(number): segment for number, segment in manifest["segments"].items()}
            matches = manifest["version"] == _VERSION and manifest["fingerprint"] == self._fingerprint
        except FileNotFoundError:
            return {}
        except _UNREADABLE:
            log.warning("the manifest of the interrupted run cannot be read; starting over")
            return {}
        if not matches:
            log.warning("the input, the style or an option has changed since the interrupted run; starting over")
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
            dict[str, int](segment["damage"])
        except _UNREADABLE:
            whole = False
        if not whole:
            log.warning("a segment of the interrupted run is damaged and is stylized again")
        return whole

    def segment_path(self, segment: Mapping[str, Any]) -> Path:
        """The file of a segment; always within this folder, whatever the manifest says."""
        return self.path / Path(str(segment["file"])).name

    def state(self, number: int) -> dict[str, np.ndarray] | None:
        """The state of the post-processor after segment `number`; None if it is lost."""
        try:
            with np.load(self._state_path(number), allow_pickle=False) as stored:
                return dict(stored)
        except (OSError, ValueError, KeyError, EOFError):
            return None

    def _state_path(self, number: int) -> Path:
        return self.path / f"{number:06}.npz"

    def damage(self) -> list[Damage]:
        """The damage of each finished segment."""
        return [segment["damage"] for segment in self.segments.values()]

    def add(self, number: int, path: Path, packets: list[tuple[int, int]], state: State, damage: Damage) -> None:
        """List a finished segment, with the damage that was found and the state of the post-processor after it. The state after
        the segment before is removed."""
        with path.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if state:
            with replaced(self._state_path(number)) as temporary, temporary.open("wb") as file:
                np.savez(file, **state)  # type: ignore[arg-type]
        self.segments[number] = {"file": path.name, "sha256": digest, "packets": packets, "damage": dict(damage)}
        self.write()
        self._state_path(number - 1).unlink(missing_ok=True)

    def keep_first(self, count: int) -> None:
        """Discard all but the first `count` segments."""
        if any(number >= count for number in self.segments):
            self.segments = {number: segment for number, segment in self.segments.items() if number < count}
            self.write()

    def write(self) -> None:
        """Write the manifest."""
        manifest = {
            **{"version": _VERSION, "fingerprint": self._fingerprint, "stamp": self._stamp},
            **{"plan": self.plan, "segments": self.segments},
        }
        with replaced(self.path / "manifest.json") as temporary:
            temporary.write_bytes(json.dumps(manifest).encode())

    def remove(self) -> None:
        """Remove the folder once all is done. It is renamed first, so that no other process finds it half removed."""
        try:
            os.replace(self.path, self._finished_path)
        except OSError:  # Windows, while the lock is open
            self.close()
            shutil.rmtree(self.path, ignore_errors=True)
        self.close()
        shutil.rmtree(self._finished_path, ignore_errors=True)

    def close(self) -> None:
        """Unlock the folder; one without a finished segment is removed."""
        if self._lock.is_locked and not self.segments:
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()
