"""Locks on open files, by which a run recognizes what a killed run has left: the system releases them however a process ends."""

from __future__ import annotations

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def can_lock() -> bool:
    """Whether this system has such locks."""
    return fcntl is not None


def try_lock(handle: int) -> bool:
    """Lock an open file for this process until it is closed; returns whether that worked."""
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held by another, or a file system without locks
        return False
    return fcntl is not None
