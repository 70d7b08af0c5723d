"""Which file a path leads to: whether an input is still what it was, and whether an output would replace something."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vidstyle.core.errors import InputChangedError, InputError
from vidstyle.core.files import reason


@dataclass(frozen=True)
class FileIdentity:
    """The file that a path led to, and its state. It is compared whenever the path is opened again, because another file may
    have taken its place, or a program may be writing to it."""

    path: Path
    device: int
    inode: int
    bytes: int
    modified_ns: int

    def is_copy_of(self, other: FileIdentity) -> bool:
        """Whether size and time are equal, which is all that copies on two machines have in common."""
        return (self.bytes, self.modified_ns) == (other.bytes, other.modified_ns)

    def check(self) -> None:
        """Raise `InputChangedError` if the path leads to another file by now, or the file was written to. A file that is gone
        is no error here: what has opened it can read it to the end."""
        try:
            now = identity_of(self.path)
        except InputError:
            return
        if now != self:
            raise InputChangedError(
                f"expected {self.path} to stay as it was, but it was replaced or written to during the run; "
                "run again when it no longer changes"
            )


def identity_of(path: Path) -> FileIdentity:
    """The identity of the file at `path`; raises `InputError` if there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise InputError(f"could not open {path} ({reason(error)})") from None
    return FileIdentity(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def check_unchanged(files: Iterable[FileIdentity]) -> None:
    """Raise `InputChangedError` if one of the files is not what it was."""
    for file in files:
        file.check()
