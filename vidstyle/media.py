"""Opening media with PyAV, safely: only media formats, only local files unless the network was allowed, av's errors as ours."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from vidstyle.errors import DiskError, InputError, OutputError, UsageError, VidstyleError

# Formats that hold media themselves. Playlists (hls, dash, concat, image2) are absent: they name other files to open.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,wav,mp3,aac,flac,"
    "m4v,h264,hevc,ivf,obu,av1,nut,mxf,rm,dv,vob,yuv4mpegpipe,apng,webp_pipe,png_pipe,jpeg_pipe,swf,amr,caf,aiff,ac3,eac3"
)
_NETWORK_PROTOCOLS = "http,https,tcp,tls,udp,rtp,rtsp,rtmp,crypto"
_NETWORK_FORMATS = _FORMATS + ",rtsp,mpjpeg,mjpeg"
_NETWORK_TIMEOUT_SECONDS = 20.0
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_LEAVE = {errno.EACCES, errno.EPERM, errno.EROFS}


def is_url(spec: str) -> bool:
    """Whether `spec` is a URL rather than a path (a Windows drive letter is a path)."""
    scheme, separator, _ = spec.partition("://")
    return bool(separator) and len(scheme) > 1 and scheme.replace("+", "").isalnum()


def open_media(spec: str, allow_network: bool = False) -> InputContainer:
    """Open a file or URL for reading.

    Raises `InputError` if it is missing, not a regular file or no media, `UsageError` for a URL without `allow_network`.
    """
    if is_url(spec):
        if not allow_network:
            raise UsageError(f"expected a file, {spec} is a URL; give --allow-network to let vidstyle open it")
        options = {"protocol_whitelist": _NETWORK_PROTOCOLS, "format_whitelist": _NETWORK_FORMATS}
        with reading(spec):
            return av.open(spec, mode="r", options=options, timeout=_NETWORK_TIMEOUT_SECONDS)
    check_regular_file(Path(spec))
    # An explicit file: keeps a name with a colon from being read as a protocol.
    with reading(spec):
        return av.open(
            f"file:{spec}",
            mode="r",
            options={"protocol_whitelist": "file", "format_whitelist": _FORMATS},
            metadata_errors="replace",
        )


def check_regular_file(path: Path) -> None:
    """Raise `InputError` unless `path` is a readable, regular, non-empty file: a pipe could block for ever."""
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"expected a file, found none: {path} ({error.strerror})") from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"expected a regular file, found a {'folder' if path.is_dir() else 'device or pipe'}: {path}")
    if status.st_size == 0:
        raise InputError(f"expected a video or picture, found an empty file: {path}")
    if not os.access(path, os.R_OK):
        raise InputError(f"expected a readable file, permission denied: {path}")


def main_video(container: InputContainer) -> VideoStream | None:
    """The video proper: the largest stream that is not cover art."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    streams = [s for s in streams if s.codec_context is not None and s.width and s.height]
    default = [s for s in streams if s.disposition & Disposition.default]
    return max(default or streams, key=lambda s: s.width * s.height, default=None)


@contextmanager
def reading(spec: str) -> Iterator[None]:
    """Turn av's errors inside into one sentence about reading `spec`."""
    try:
        yield
    except VidstyleError:
        raise
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        raise InputError(f"expected a video or picture, could not read {spec} ({reason(error)})") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors inside into one sentence about writing `path`: `DiskError` for space and permission, else `OutputError`."""
    try:
        yield
    except VidstyleError:
        raise
    except (av.error.FFmpegError, OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        if number in _NO_SPACE:
            raise DiskError(f"no space left to write {path}") from error
        if number in _NO_LEAVE and not isinstance(error, av.error.FFmpegError):  # whose muxers mean other things by EPERM
            raise DiskError(f"no permission to write {path}") from error
        if number in (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOENT, errno.ENOTDIR):
            raise DiskError(f"could not write {path} ({reason(error)})") from error
        raise OutputError(f"could not encode {path} ({reason(error)})") from error


def reason(error: BaseException) -> str:
    """What `error` says, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]
