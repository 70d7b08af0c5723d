"""All errors that vidstyle raises on purpose.

Each is a `VidstyleError` and also the corresponding built-in exception, so callers may catch either. The message is one sentence:
what is wrong, what was found and, if there is one, the remedy. `exit_code` is what the command line returns.
"""

from __future__ import annotations

from typing import Any

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_DAMAGE = 3
EXIT_MODEL = 4
EXIT_DISK = 5


class VidstyleError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = EXIT_FAILED

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
)
"""Messages of ONNX Runtime, torch, CUDA, cuDNN and cuBLAS, in lower case."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` means that the machine or the GPU has too little memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return any(sign in text for sign in _OUT_OF_MEMORY)
