"""Watches folders for new files and yields each once it is complete."""

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
"""A file whose size and modification time have not changed for this long is taken to be complete."""

MIN_SCAN_INTERVAL_SECONDS = 1.0
"""The folders are scanned no more often than this, however much happens in them."""

MAX_SCAN_FRACTION = 0.1
"""Scanning takes at most this fraction of the time, however large the folders are."""

RESCAN_SECONDS = 10.0
"""The folders are scanned this often even without a notification: there is none for what others write to a network share."""

_TICK_SECONDS = 0.25

Changes = Generator[bool, None, None]
"""Yields, several times a second, whether something has changed since the last time."""

_State = tuple[int, int]


def watch_folders(
    folders: Sequence[str],
    find: Callable[[], Iterable[str]],
    recursive: bool = False,
    check: Callable[[], None] = lambda: None,
    settle_seconds: float = SETTLE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    changes: Changes | None = None,
) -> Generator[list[str], None, None]:
    """Yield batches of files in `folders`, of those that `find` lists, endlessly: first the existing files, then new ones.

    A file is yielded when it is not empty and has stopped changing, and again if it is changed or replaced later. `check` is
    called several times a second and may raise to end the watching.

    `changes` notifies of changes in the folders; by default the operating system does. Raises `MissingExtraError` at once.
    """
    if changes is None:
        changes = _changes(folders, recursive)
    return _complete_files(find, check, settle_seconds, clock, changes)


def _complete_files(
    find: Callable[[], Iterable[str]],
    check: Callable[[], None],
    settle_seconds: float,
    clock: Callable[[], float],
    changes: Changes,
) -> Generator[list[str], None, None]:
    yielded: dict[str, _State] = {}
    waiting: dict[str, tuple[_State, float]] = {}
    changed, last_scan, interval = True, -RESCAN_SECONDS, MIN_SCAN_INTERVAL_SECONDS
    with closing(changes):
        for change in changes:
            check()
            now, changed = clock(), changed or change
            if now - last_scan < (interval if changed or waiting else RESCAN_SECONDS):
                continue
            changed, last_scan = False, now
            # Files that have vanished stay in `yielded`: a network share may come back just as it was.
            before, waiting, batch = waiting, {}, []
            for path in find():
                state = _state(path)
                if state is None or yielded.get(path) == state:
                    continue
                last, since = before.get(path, (None, now))
                waiting[path] = state, since if state == last else now
                if now - waiting[path][1] >= settle_seconds:
                    del waiting[path]
                    yielded[path] = state
                    batch.append(path)
            interval = max(MIN_SCAN_INTERVAL_SECONDS, (clock() - now) / MAX_SCAN_FRACTION)
            if batch:
                yield batch


def _state(path: str) -> _State | None:
    """Size and modification time of a file; None for one that is empty or gone."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if status.st_size else None


def _changes(folders: Sequence[str], recursive: bool) -> Changes:
    """Notifications of the operating system; where it has none (too many folders, a name that is not UTF-8) only ticks."""
    try:
        from watchfiles import watch
    except ModuleNotFoundError as error:
        if error.name != "watchfiles":
            raise
        raise MissingExtraError("--watch", "watch") from error

    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it logs every change
    tick = round(_TICK_SECONDS * 1000)

    def listen() -> Changes:
        while True:
            try:
                for changes in watch(
                    *folders, watch_filter=None, debounce=tick, rust_timeout=tick, yield_on_timeout=True, recursive=recursive,
                    ignore_permission_denied=True,
                ):  # fmt: skip
                    yield bool(changes)
            except RuntimeError:  # raised by watchfiles at each change of a name that is not UTF-8
                yield True
                time.sleep(_TICK_SECONDS)
            except (OSError, UnicodeEncodeError) as error:
                log.warning("could not watch for changes (%s); scanning the folders every %g s", reason(error), RESCAN_SECONDS)
                break
        while True:
            time.sleep(_TICK_SECONDS)
            yield False

    return listen()
