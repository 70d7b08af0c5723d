"""Temporary folders that do not stay behind: those of killed runs are removed by the next one."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from vidstyle.core.errors import DiskError
from vidstyle.core.files import reason
from vidstyle.core.locks import can_lock, try_lock

_PREFIX = "vidstyle-"
_LOCK = ".vidstyle-lock"
"""A file in the folder that is locked as long as the process runs. It also shows that the folder was made here."""


class TemporaryFolder:
    """A new folder among the temporary files, which only this user can read; to be closed. Raises `DiskError`."""

    def __init__(self) -> None:
        try:
            root = Path(tempfile.gettempdir())
            _remove_abandoned(root)
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self._lock = _locked_file(self.path)
        except OSError as error:
            raise DiskError(f"could not create a temporary folder ({reason(error)})") from error

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder. Closing twice is harmless."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _locked_file(folder: Path) -> int:
    """An open, locked file in `folder`, which gets its name when it is locked."""
    new = folder / f"{_LOCK}-new"
    handle = os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try_lock(handle)
    os.rename(new, folder / _LOCK)
    return handle


def _remove_abandoned(root: Path) -> None:
    """Remove the folders of this user that no running process has locked."""
    if not can_lock():  # they cannot be recognized, so they stay
        return
    for entry in os.scandir(root):
        with contextlib.suppress(OSError):
            if entry.name.startswith(_PREFIX) and entry.stat(follow_symlinks=False).st_uid == os.getuid():
                handle = os.open(Path(entry.path, _LOCK), os.O_RDWR | os.O_NOFOLLOW)
                try:
                    if try_lock(handle):
                        shutil.rmtree(entry.path, ignore_errors=True)
                finally:
                    os.close(handle)
