"""Many inputs: discovery, output paths, planning, claims, running, watching, and `Session`, which joins them.

`vidstyle.batch.Session` is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidstyle.batch.session import Session

__all__ = ["Session"]


def __getattr__(name: str) -> Any:
    if name != "Session":
        raise AttributeError(f"module 'vidstyle.batch' has no attribute '{name}'")
    from vidstyle.batch.session import Session

    return Session
