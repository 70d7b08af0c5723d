"""Ends native work whose result nobody waits for any more: a run of a network on large images takes many seconds.

Threads register what they are about to do, and a signal handler may cancel it all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _State:
    def __init__(self) -> None:
        self.stop: type[BaseException] | None = None
        self.running: set[Callable[[], None]] = set()


_state = _State()


@contextmanager
def cancellable(cancel: Callable[[], None]) -> Iterator[None]:
    """Work that ends with an exception soon after a call of `cancel`, which any thread may make; `cancel_all` replaces it."""
    _state.running.add(cancel)
    try:
        if _state.stop is not None:
            raise _state.stop
        yield
    except Exception:
        if _state.stop is not None:
            raise _state.stop from None
        raise
    finally:
        _state.running.discard(cancel)


def cancel_all(stop: type[BaseException]) -> None:
    """Cancel the work that is being done, and all that begins before `allow_again`: it raises `stop`, in its thread.

    May be called in a signal handler.
    """
    _state.stop = stop
    for cancel in list(_state.running):
        cancel()


def allow_again() -> None:
    """End the effect of `cancel_all`."""
    _state.stop = None
