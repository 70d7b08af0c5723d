"""Output files that appear under their final name only once they are complete."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from vidstyle.core.errors import DiskError, OutputExistsError
from vidstyle.core.files import fsync, writing
from vidstyle.core.locks import can_lock, try_lock

_STEM_BYTES = 200
"""How much of a long name is used for the hidden file, whose name must not exceed 255 bytes on most file systems."""


def check_free(target: Path, overwrite: bool) -> None:
    """Raise `OutputExistsError` if `target` exists and must not be replaced, `DiskError` if its folder is not writable."""
    with writing(target), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        target.lstat()  # raises for a name that is too long or that no file can have
    if os.path.isdir(target):
        raise OutputExistsError(f"the output {target} is a folder; choose a file name")
    if os.path.exists(target) and not os.path.isfile(target):
        raise OutputExistsError(f"the output {target} is a device or pipe; choose another name with -o")
    if os.path.lexists(target) and not overwrite:
        raise OutputExistsError(f"{target} exists; give --overwrite to replace it, or another name with -o")
    if not os.path.isdir(target.parent):
        raise DiskError(f"no such folder for the output: {target.parent}")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise DiskError(f"no permission to write into {target.parent}")


def check_not_read(output: Path, reads: Iterable[tuple[str, str | os.PathLike[str] | None]]) -> None:
    """Raise `OutputExistsError` if `output` is one of the files that are read to make it, under whatever name. `reads`: what each
    is called in the message, and its path; None, URLs and missing files do not count."""
    if not os.path.exists(output):
        return
    for what, path in reads:
        if path is not None and os.path.exists(path) and os.path.samefile(path, output):
            raise OutputExistsError(f"the output is the {what} itself: {output}; choose another name for it")


class UnpublishedFile:
    """A hidden, uniquely named file beside `target`; `publish` gives it that name, `discard` removes it.

    It is locked as long as this process runs; files of killed processes are not, and are removed.
    """

    def __init__(self, target: Path, overwrite: bool) -> None:
        check_free(target, overwrite)
        self.target, self._overwrite = target, overwrite
        prefix, suffix = _affixes(target)
        with writing(target):
            _remove_abandoned(target.parent, prefix, suffix)
            while True:
                self._handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=target.parent)
                self.path = Path(name)
                try_lock(self._handle)
                if os.path.lexists(name):
                    break
                os.close(self._handle)  # another run removed it as abandoned before it was locked

    def publish(self) -> None:
        """Flush to the disk, then take the final name: creating a link fails if the name exists by now."""
        with writing(self.target):
            os.chmod(self.path, 0o666 & ~_umask())
            fsync(self.path)
            if self._overwrite:
                os.replace(self.path, self.target)
            else:
                self._link()
            fsync(self.target.parent)

    def _link(self) -> None:
        try:
            os.link(self.path, self.target)
        except FileExistsError:
            raise OutputExistsError(f"{self.target} was created meanwhile; it was not changed, nothing was written") from None
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            if os.path.lexists(self.target):  # a file system without hard links: check, then rename
                raise OutputExistsError(f"{self.target} was created meanwhile; it was not changed") from None
            os.rename(self.path, self.target)

    def discard(self) -> None:
        """Remove the hidden file; does nothing after `publish`."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def remove_hidden_link(target: Path) -> None:
    """Remove the hidden file that is still linked to `target`, if the run that published it was killed at that moment."""
    with contextlib.suppress(OSError):
        if target.stat().st_nlink > 1:  # otherwise the folder, which may be large, is not read
            _remove_abandoned(target.parent, *_affixes(target))


def _affixes(target: Path) -> tuple[str, str]:
    """The beginning and the end of the hidden file's name."""
    stem = os.fsencode(target.stem)[:_STEM_BYTES].decode("utf-8", "ignore")
    return f".{stem}.", f".part{target.suffix}"


def _remove_abandoned(folder: Path, prefix: str, suffix: str) -> None:
    """Remove hidden files of this target that no running process has locked."""
    if not can_lock():  # they cannot be recognized, so they stay
        return
    names = re.compile(re.escape(prefix) + r"[a-z0-9_]{8}" + re.escape(suffix))
    for path in [Path(entry.path) for entry in os.scandir(folder) if names.fullmatch(entry.name)]:
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                if try_lock(handle):
                    path.unlink()
            finally:
                os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
