"""Every error that vidstyle raises on purpose.

Each kind is a `VidstyleError` and also the fitting builtin, so callers may catch either. The message is one sentence that
says what was expected, what was found and, where there is one, the way out. `exit_code` is what the command line returns.
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
        # Workers send errors to the run: the message is all there is to them, however the kind is made.
        return _remade, (type(self), self.args)


def _remade(kind: type[VidstyleError], args: tuple[Any, ...]) -> VidstyleError:
    error = kind.__new__(kind, *args)
    error.args = args
    return error


class UsageError(VidstyleError, ValueError):
    """The request itself makes no sense: an option out of range, a URL without leave to use the network."""

    exit_code = EXIT_USAGE


class InputError(VidstyleError, OSError):
    """The input is missing, unreadable or holds no image."""


class OutputExistsError(VidstyleError, FileExistsError):
    """The output is there already and overwriting was not asked for."""


class OutputError(VidstyleError, OSError):
    """The output could not be encoded or did not survive verification."""


class DiskError(VidstyleError, OSError):
    """No space, no permission, or the device went away."""

    exit_code = EXIT_DISK


class StyleError(VidstyleError, ValueError):
    """Unknown style, or a model file that is not what it should be."""

    exit_code = EXIT_MODEL


class DeviceError(VidstyleError, RuntimeError):
    """The device or backend asked for is not to be had."""

    exit_code = EXIT_MODEL


class MissingExtraError(VidstyleError, ImportError):
    """A part of vidstyle that was not installed is needed."""

    exit_code = EXIT_MODEL

    def __init__(self, need: str, extra: str) -> None:
        super().__init__(f"{need} needs an extra that is not installed: pip install 'vidstyle[{extra}]'")


class TrainingError(VidstyleError, RuntimeError):
    """Training cannot start or go on; checkpoints written so far stay."""


class MemoryLimitError(VidstyleError, MemoryError):
    """Not enough memory, even in the smallest pieces."""
