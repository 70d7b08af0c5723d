"""Opens media safely with PyAV: only media formats, and only local files unless the network is allowed. Maps PyAV's errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import av
import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from vidstyle.core import files
from vidstyle.core.errors import InputError, MemoryLimitError, UsageError, VidstyleError
from vidstyle.core.file_identity import FileIdentity, identity_of
from vidstyle.core.files import FORMATS, NETWORK_FORMATS, NETWORK_PROTOCOLS, check_regular_file, is_url, reason, write_error
from vidstyle.media.av_errors import DAMAGE_ERRORS

_NETWORK_TIMEOUT_SECONDS = 20.0
_REMOTE_BUFFER = 1 << 20


_remote_files: dict[str, Callable[[], BinaryIO]] = {}


@contextmanager
def read_through(input: str, open_file: Callable[[], BinaryIO]) -> Iterator[None]:
    """Within the block, the file `input`, which is on another machine, is read through file objects that `open_file` returns."""
    _remote_files[input] = open_file
    try:
        yield
    finally:
        del _remote_files[input]


def remote_file(input: str) -> BinaryIO | None:
    """The file to read instead of the path `input`, see `read_through`; None to read the path."""
    return _remote_files[input]() if input in _remote_files else None


def local_files(*inputs: str | None) -> tuple[FileIdentity, ...]:
    """The identities of those inputs that are files of this machine; None stands for no input. Raises `InputError`."""
    return tuple(identity_of(Path(i)) for i in inputs if i is not None and not is_url(i) and i not in _remote_files)


def open_media(input: str, allow_network: bool = False, options: Mapping[str, str] | None = None) -> InputContainer:
    """Open a file or URL for reading, with `options` of the demuxer.

    Raises `InputError` if it is missing, not a regular file or not media, `UsageError` for a URL without `allow_network`.
    """
    if is_url(input):
        if not allow_network:
            raise UsageError(f"{input} is a URL; use --allow-network to open it")
        safe = {"protocol_whitelist": NETWORK_PROTOCOLS, "format_whitelist": NETWORK_FORMATS}
        with reading(input):
            return av.open(input, mode="r", options={**(options or {}), **safe}, timeout=_NETWORK_TIMEOUT_SECONDS)
    local = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    if (file := remote_file(input)) is not None:
        with reading(input):
            return av.open(
                file,
                mode="r",
                options={**(options or {}), **local},
                metadata_errors="replace",
                buffer_size=_REMOTE_BUFFER,
            )
    check_regular_file(Path(input))
    # The explicit `file:` ensures that a name with a colon is not taken for a protocol.
    with reading(input):
        return av.open(
            f"file:{input}",
            mode="r",
            options={**(options or {}), **local},
            metadata_errors="replace",
        )


def main_video(container: InputContainer) -> VideoStream | None:
    """The largest video stream that is not cover art, preferably a default one; None if there is none."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    streams = [s for s in streams if s.codec_context is not None and s.width and s.height]
    default = [s for s in streams if s.disposition & Disposition.default]
    return max(default or streams, key=lambda s: s.width * s.height, default=None)


@contextmanager
def reading(input: str) -> Iterator[None]:
    """Turn PyAV's errors in the block into an `InputError` about `input`, or a `MemoryLimitError`."""
    try:
        yield
    except VidstyleError:
        raise
    except MemoryError as error:
        raise MemoryLimitError(f"not enough memory to read {input}") from error
    except DAMAGE_ERRORS as error:
        raise InputError(f"could not read {input} as a video or image ({reason(error)})") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Like `files.writing`, also for FFmpeg's errors, whose EPERM does not mean a lack of permission."""
    with files.writing(path):
        try:
            yield
        except VidstyleError:
            raise
        except MemoryError as error:
            raise MemoryLimitError(f"not enough memory to write {path}") from error
        except av.error.FFmpegError as error:
            raise write_error(path, error, means_permission=False) from error
