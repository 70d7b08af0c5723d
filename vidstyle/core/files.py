"""Files and URLs: checks, atomic writing, error messages. Does not need PyAV, which the live window must not import."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from vidstyle.core.errors import NO_SPACE, DiskError, InputError, OutputError, UsageError, VidstyleError

# Formats that contain media. Playlists (hls, dash, concat, image2) are excluded because they open other files.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,wav,mp3,aac,flac,"
    "m4v,h264,hevc,ivf,obu,av1,nut,mxf,rm,dv,vob,yuv4mpegpipe,apng,webp_pipe,png_pipe,jpeg_pipe,swf,amr,caf,aiff,ac3,eac3"
)
NETWORK_PROTOCOLS = "http,https,tcp,tls,udp,rtp,rtsp,rtmp,crypto"
NETWORK_FORMATS = FORMATS + ",rtsp,mpjpeg,mjpeg"

MAX_NAME_BYTES = 255
"""The limit of most file systems."""

_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}


def is_url(input: str) -> bool:
    """Whether `input` is a URL rather than a path (a Windows drive letter is a path)."""
    scheme, separator, _ = input.partition("://")
    return bool(separator) and len(scheme) > 1 and scheme.replace("+", "").isalnum()


def split_url(url: str) -> SplitResult:
    """The parts of a URL; raises `UsageError` if it is not one."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise UsageError(f"expected a URL such as https://example.org/video.mp4, got {url} ({error})") from None


def check_regular_file(path: Path) -> None:
    """Raise `InputError` unless `path` is a readable, regular, non-empty file: reading a pipe could block forever."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: no file can have this name
        raise InputError(f"could not open {path} ({reason(error)})") from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"expected a regular file, found a {'folder' if path.is_dir() else 'device or pipe'}: {path}")
    if status.st_size == 0:
        raise InputError(f"expected a video or image, found an empty file: {path}")
    if not os.access(path, os.R_OK):
        raise InputError(f"no permission to read {path}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors in the block into one-sentence errors about writing `path` (see `write_error`)."""
    try:
        yield
    except VidstyleError:
        raise
    except (OSError, ValueError) as error:
        raise write_error(path, error) from error


def beside(path: Path, before: str, after: str) -> Path:
    """The path beside `path` whose name has `before` and `after` around it; a name that would be too long becomes its digest."""
    name = path.name
    if len(os.fsencode(before + name + after)) > MAX_NAME_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return path.with_name(before + name + after)


def resolved(path: str | os.PathLike[str]) -> str:
    """A path that is equal for all names of a file; raises `InputError` if there is none, as without a current folder."""
    try:
        return os.path.normcase(os.path.realpath(path))
    except (OSError, ValueError) as error:
        raise InputError(f"could not resolve the path {os.fspath(path)} ({reason(error)})") from None


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """The path of a temporary file beside `path` to write to. When the block ends it is flushed to the disk and replaces `path`
    atomically; after an error `path` is unchanged and the temporary file is removed.

    Raises plain `OSError`; use it inside `writing` to get errors for users.
    """
    temporary = beside(path, ".", f".{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def fsync(path: Path) -> None:
    """Flush a file or folder to the disk; raises `OSError`."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder that can be written but not read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.EACCES):  # not supported for folders on some file systems
            raise
    finally:
        os.close(handle)


def write_error(path: Path, error: BaseException, means_permission: bool = True) -> VidstyleError:
    """A `DiskError` for problems with the disk, else an `OutputError`. `means_permission`: EPERM means a lack of permission."""
    number = getattr(error, "errno", None)
    if number in NO_SPACE:
        return DiskError(f"no space left to write {path}")
    if number in _NO_PERMISSION and means_permission:
        return DiskError(f"no permission to write {path}")
    if number in (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOENT, errno.ENOTDIR):
        return DiskError(f"could not write {path} ({reason(error)})")
    if number == errno.ENAMETOOLONG:
        return OutputError(f"the name is too long for the file system, choose a shorter one: {path}")
    return OutputError(f"could not encode {path} ({reason(error)})")


def reason(error: BaseException) -> str:
    """The message of `error`, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]
