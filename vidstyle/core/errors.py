"""All errors that vidstyle raises on purpose.

Each is a `VidstyleError` and also the corresponding built-in exception, so callers may catch either. The message is one sentence:
what is wrong, what was found and, if there is one, the remedy. `exit_code` is what the command line returns.
"""

from __future__ import annotations

import errno
import traceback
from typing import Any

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_DAMAGE = 3
EXIT_MODEL = 4
EXIT_DISK = 5

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class VidstyleError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = EXIT_FAILED

    def __str__(self) -> str:
        # A name may contain bytes that are not UTF-8, and printing the message must not fail for them.
        return super().__str__().encode("utf-8", "backslashreplace").decode()

    def __reduce__(self) -> tuple[Any, ...]:
        # Worker processes send errors by pickle. Only the message is needed, whatever arguments __init__ takes.
        return _unpickled, (type(self), self.args)


def _unpickled(kind: type[VidstyleError], args: tuple[Any, ...]) -> VidstyleError:
    error = kind.__new__(kind, *args)
    error.args = args
    return error


class UsageError(VidstyleError, ValueError):
    """The request is invalid: an option out of range, a URL without permission to use the network."""

    exit_code = EXIT_USAGE


class InputError(VidstyleError, OSError):
    """The input is missing, unreadable or contains no image."""


class InputChangedError(InputError):
    """Another file has taken the place of an input, or it was written to, since it was first opened."""


class OutputExistsError(VidstyleError, FileExistsError):
    """The output exists already and must not be overwritten."""


class OutputError(VidstyleError, OSError):
    """The output could not be encoded or failed verification."""


class DiskError(VidstyleError, OSError):
    """No space left, no permission, or the device was disconnected."""

    exit_code = EXIT_DISK


class StyleError(VidstyleError, ValueError):
    """Unknown style, or an invalid model file."""

    exit_code = EXIT_MODEL


class DeviceError(VidstyleError, RuntimeError):
    """The requested device or backend is not available."""

    exit_code = EXIT_MODEL


class MissingExtraError(VidstyleError, ImportError):
    """An optional dependency that is not installed is needed."""

    exit_code = EXIT_MODEL

    def __init__(self, need: str, extra: str) -> None:
        super().__init__(f"{need} needs an extra that is not installed: pip install 'vidstyle[{extra}]'")


class TrainingError(VidstyleError, RuntimeError):
    """Training cannot start or continue; the checkpoints written so far are kept."""


class MemoryLimitError(VidstyleError, MemoryError):
    """Not enough memory, even for the smallest tiles."""


class LimitError(VidstyleError, RuntimeError):
    """A limit of the system on what a process may have, such as threads, does not allow the work."""


class UnexpectedError(VidstyleError, RuntimeError):
    """An exception that nobody foresaw; `traceback` is its traceback, for a report of it."""

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (*self.args, self.traceback)


def expected(error: Exception) -> VidstyleError:
    """`error` as the kind of error that it is: itself, if it was raised on purpose."""
    if isinstance(error, VidstyleError):
        return error
    reason = next(iter(str(error).splitlines()), "") or "without a message"
    if is_out_of_memory(error):
        return MemoryLimitError(f"not enough memory ({reason}); close other programs, or raise the limit of this process")
    if "can't start new thread" in reason or isinstance(error, BlockingIOError):  # which a new process raises
        return LimitError("expected more threads or processes than the system lets this one start; raise the limit (ulimit -u)")
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return DiskError(f"no space left on the disk ({reason})")
    sentence = f"unexpected {type(error).__name__} ({reason}); please report it, with what VIDSTYLE_DEBUG=1 prints"
    return UnexpectedError(sentence, "".join(traceback.format_exception(error)))


_OUT_OF_MEMORY = (
    "out of memory",
    "out_of_memory",
    "failed to allocate memory",
    "failed to allocate output",
    "status_alloc_failed",
    "host_allocation_failed",
    "bad_alloc",
    "bad allocation",
    "can't allocate memory",
    "not enough memory",
    "insufficient memory",
    "cannot allocate memory",
    "failed to map segment",
)
"""Messages of ONNX Runtime, torch, OpenCV, CUDA, cuDNN, cuBLAS and the system, in lower case."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` means that the machine or the GPU has too little memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return any(sign in text for sign in _OUT_OF_MEMORY)
