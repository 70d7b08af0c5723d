"""Folders that files arrive in: each is offered once it is there whole."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing

from vidstyle.core.errors import MissingExtraError
from vidstyle.core.files import reason

log = logging.getLogger(__name__)

SETTLE_SECONDS = 2.0
"""A file that has kept its size and time for so long is taken to be whole."""

LOOK_SECONDS = 1.0
"""However much happens in the folders, they are looked through no more often."""

LOOK_SHARE = 0.1
"""Looking through them takes no more than this share of the time, however large they are."""

RESCAN_SECONDS = 10.0
"""They are looked through so often though nothing is heard: of what others write to a network share no system tells."""

_TICK_SECONDS = 0.25

Changes = Generator[bool, None, None]
"""Whether something has changed since the last time, several times a second."""

_State = tuple[int, int]


def arriving(
    folders: Sequence[str],
    find: Callable[[], Iterable[str]],
    recursive: bool = False,
    check: Callable[[], None] = lambda: None,
    settle_seconds: float = SETTLE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    changes: Changes | None = None,
) -> Generator[list[str], None, None]:
    """Batches of files in `folders`, of those that `find` lists, for ever: first what is there already, then what arrives.

    A file is in a batch when it is not empty and has stopped changing, and again if it is changed or replaced later. `check` is
    called several times a second, and may raise to end the waiting. Signals should be held back and told by it: of what their
    handlers raise watchfiles makes a plain KeyboardInterrupt.

    `changes` tells when `find` may list something else; without it the system does. Raises `MissingExtraError` at once.
    """
    if changes is None:
        changes = _changes(folders, recursive)
    return _settled(find, check, settle_seconds, clock, changes)


def _settled(
    find: Callable[[], Iterable[str]],
    check: Callable[[], None],
    settle_seconds: float,
    clock: Callable[[], float],
    changes: Changes,
) -> Generator[list[str], None, None]:
    offered: dict[str, _State] = {}
    waiting: dict[str, tuple[_State, float]] = {}
    changed, looked, pause = True, -RESCAN_SECONDS, LOOK_SECONDS
    with closing(changes):
        for change in changes:
            check()
            now, changed = clock(), changed or change
            if now - looked < (pause if changed or waiting else RESCAN_SECONDS):
                continue
            changed, looked = False, now
            # What has vanished is no longer waited for, but stays in `offered`: a share may come back just as it was.
            before, waiting, batch = waiting, {}, []
            for path in find():
                state = _state(path)
                if state is None or offered.get(path) == state:
                    continue
                last, since = before.get(path, (None, now))
                waiting[path] = state, since if state == last else now
                if now - waiting[path][1] >= settle_seconds:
                    del waiting[path]
                    offered[path] = state
                    batch.append(path)
            pause = max(LOOK_SECONDS, (clock() - now) / LOOK_SHARE)
            if batch:
                yield batch


def _state(path: str) -> _State | None:
    """What changes when a file does; None for one that is empty or gone."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if status.st_size else None


def _changes(folders: Sequence[str], recursive: bool) -> Changes:
    """What the system tells of changes; where it cannot (too many folders, a name that is not UTF-8), that time passes."""
    try:
        from watchfiles import watch
    except ModuleNotFoundError as error:
        if error.name != "watchfiles":
            raise
        raise MissingExtraError("--watch", "watch") from error

    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of every change
    tick = round(_TICK_SECONDS * 1000)

    def listen() -> Changes:
        while True:
            try:
                for heard in watch(
                    *folders, watch_filter=None, debounce=tick, rust_timeout=tick, yield_on_timeout=True, recursive=recursive,
                    ignore_permission_denied=True,
                ):  # fmt: skip
                    yield bool(heard)
            except RuntimeError:  # watchfiles' own: by each change of a name that is not UTF-8 it is ended
                yield True
                time.sleep(_TICK_SECONDS)
            except (OSError, UnicodeEncodeError) as error:
                log.warning(
                    "cannot be told of changes (%s); the folders are looked through every %g s", reason(error), RESCAN_SECONDS
                )
                break
        while True:
            time.sleep(_TICK_SECONDS)
            yield False

    return listen()
