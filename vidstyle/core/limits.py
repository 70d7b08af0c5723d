"""What the system must allow before any work begins. Libraries notice a lack of it too late, or take it for something else."""

from __future__ import annotations

import os
import threading

from vidstyle.core.errors import InputError, LimitError
from vidstyle.core.files import reason
from vidstyle.core.hardware import usable_cores

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_MIB = 1 << 20
_MIN_DATA, _MIN_ADDRESSES = 300 * _MIB, 1400 * _MIB
"""Memory and address space with which the libraries can be loaded and a tiny video can be stylized."""

_OTHER_THREADS = 8
"""The threads of a conversion besides those of libraries, which start up to two for each core."""


def check_limits() -> None:
    """Raise `LimitError` if this process may use too little memory or too few threads, `InputError` if its folder was deleted."""
    try:
        os.getcwd()
    except OSError as error:
        raise InputError(f"the current folder is gone, change to one that exists ({reason(error)})") from None
    _check_memory()
    _check_threads(2 * usable_cores() + _OTHER_THREADS)


def _check_memory() -> None:
    """Some libraries crash when memory ends while they are loaded."""
    if resource is None:
        return
    for kind, option, least in ((resource.RLIMIT_DATA, "-d", _MIN_DATA), (resource.RLIMIT_AS, "-v", _MIN_ADDRESSES)):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY and limit < least:
            raise LimitError(
                f"expected a memory limit of at least {least // _MIB} MiB for this process, got {limit // _MIB}; "
                f"raise it (ulimit {option})"
            )


def _check_threads(count: int) -> None:
    """FFmpeg takes a lack of threads for a damaged video, OpenBLAS ends the process as if by Ctrl-C."""
    end = threading.Event()
    threads = [threading.Thread(target=end.wait, daemon=True) for _ in range(count)]
    try:
        for thread in threads:
            thread.start()
    except (RuntimeError, MemoryError):
        raise LimitError(
            f"expected to start {count} threads, but the system allows fewer; raise the limit of processes (ulimit -u)"
        ) from None
    finally:
        end.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
