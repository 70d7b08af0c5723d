"""Standard streams that are closed, full or no longer read: messages that nobody can read never cost the work, results that
cannot be written are an error."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

from vidstyle.core.errors import DiskError
from vidstyle.core.files import reason

EXIT_READER_GONE = 141
"""As of a program that ends by SIGPIPE."""


class ReaderGoneError(Exception):
    """Nobody reads stdout any more, as after `| head -1`."""


def guard_standard_streams() -> None:
    """Make `sys.stderr` drop what it cannot write, and `sys.stdout` raise `DiskError` or `ReaderGoneError` for it, once.

    Streams that were closed before the start are opened, on nothing: otherwise the next file to be opened would take their place,
    and what libraries print would be written into it.
    """
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number
    sys.stdout = _guarded(sys.stdout, _Results)
    sys.stderr = _guarded(sys.stderr, _Messages)


def _guarded(stream: TextIO | None, kind: type[_Messages]) -> TextIO:
    buffer: Any = getattr(stream, "buffer", None)
    raw = kind(getattr(buffer, "raw", buffer))  # unbuffered streams have no other `raw`
    encoding, errors = (stream.encoding, stream.errors) if stream is not None else ("utf-8", "backslashreplace")
    line_buffering = kind is _Messages or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=line_buffering)


class _Messages(io.RawIOBase):
    """Writes to a raw stream (None: to nothing) as long as that works."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._raw is not None and bool(self._raw.isatty())

    def fileno(self) -> int:
        if self._raw is None:
            raise io.UnsupportedOperation("fileno")
        return int(self._raw.fileno())

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if self._raw is None:
            return size
        try:
            written: int | None = self._raw.write(data)
        except OSError as error:
            self._raw = None
            self._fail(error)
            return size
        return size if written is None else written  # None: it would block

    def _fail(self, error: OSError) -> None:
        """Called at the first error, and not again: what is still buffered is dropped."""


class _Results(_Messages):
    """Results, whose loss is an error."""

    def __init__(self, raw: Any) -> None:
        super().__init__(raw)
        self._closed = raw is None

    def write(self, data: Any) -> int:
        if self._closed:
            self._closed = False
            raise DiskError("could not write to stdout (it is closed)")
        return super().write(data)

    def _fail(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            raise ReaderGoneError from error
        raise DiskError(f"could not write to stdout ({reason(error)})") from error
