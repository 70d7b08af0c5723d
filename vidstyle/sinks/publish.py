"""A file that appears under its name whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from vidstyle.errors import DiskError, OutputExistsError
from vidstyle.files import writing


def check_free(target: Path, overwrite: bool) -> None:
    """Raise `OutputExistsError` if `target` is there and must stay, `DiskError` if its folder cannot be written to."""
    if target.is_dir():
        raise OutputExistsError(f"expected a file name for the output, {target} is a folder")
    if os.path.lexists(target) and not overwrite:
        raise OutputExistsError(f"{target} exists; give --overwrite to replace it, or another name with -o")
    if not target.parent.is_dir():
        raise DiskError(f"expected a folder for the output, found none: {target.parent}")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise DiskError(f"no permission to write into {target.parent}")


class Unpublished:
    """A hidden, uniquely named file beside `target`; `publish` gives it the name, `discard` removes it."""

    def __init__(self, target: Path, overwrite: bool) -> None:
        check_free(target, overwrite)
        self.target, self._overwrite = target, overwrite
        with writing(target):
            handle, name = tempfile.mkstemp(prefix=f".{target.stem[:80]}.", suffix=f".part{target.suffix}", dir=target.parent)
        os.close(handle)
        self.path = Path(name)

    def publish(self) -> None:
        """Flush to the disk, then take the final name: a link refuses an existing name, whatever happened meanwhile."""
        with writing(self.target):
            os.chmod(self.path, 0o666 & ~_umask())
            _fsync(self.path)
            if self._overwrite:
                os.replace(self.path, self.target)
            else:
                self._link()
            _fsync(self.target.parent)

    def _link(self) -> None:
        try:
            os.link(self.path, self.target)
        except FileExistsError:
            raise OutputExistsError(f"{self.target} appeared meanwhile; it was left as it is, nothing was written") from None
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            if os.path.lexists(self.target):  # a file system without links: check, then rename
                raise OutputExistsError(f"{self.target} appeared meanwhile; it was left as it is") from None
            os.rename(self.path, self.target)

    def discard(self) -> None:
        """Remove the hidden file; harmless after `publish`."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _fsync(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder that may be written but not read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.EACCES):  # folders on some file systems
            raise
    finally:
        os.close(handle)
