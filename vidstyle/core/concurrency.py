"""Iterators that run in background threads.

For files, `prefetch` computes a few items ahead and then waits for its consumer. For live video, `Newest` does not wait: it drops
items that were not taken in time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")

_CHECK_SECONDS = 0.1


class _Failure:
    """An exception of the worker thread, to be raised in the consumer."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


def prefetch(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """Yield the items of `items`, which a thread computes up to `depth` items ahead.

    An exception in `items` is raised here, after the items before it. However this generator ends (exhausted, closed, or closed
    by an `ExitStack` because the consumer failed), the thread closes `items` and is joined.
    """
    ready: SimpleQueue[object] = SimpleQueue()
    slots = threading.Semaphore(depth)
    stop, finished = threading.Event(), threading.Event()

    def work() -> None:
        try:
            while True:
                slots.acquire()
                if stop.is_set():
                    break
                ready.put(next(items))
        except StopIteration:
            ready.put(_END)
        except BaseException as error:  # raised again in the consumer
            ready.put(_Failure(error))
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
            finished.set()

    thread = threading.Thread(target=work, name="vidstyle-prefetch", daemon=True)
    try:
        try:
            thread.start()
        except RuntimeError:  # the limit of threads is reached
            finished.set()
            raise
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            slots.release()
            yield item  # type: ignore[misc]  # the queue holds only T, _END and _Failure
    finally:
        stop.set()
        slots.release()
        finished.wait()  # before join, which fails if start was interrupted
        if thread.ident is not None:
            thread.join()


class Newest(Generic[T]):
    """Runs `items` in a background thread and keeps only the newest item."""

    def __init__(self, items: Generator[T, None, None], name: str) -> None:
        self._items = items
        self._state = threading.Condition()
        self._item: T | None = None
        self._error: BaseException | None = None
        self._stopped = False
        self.ended = False
        """Whether `items` has ended."""
        self._thread = threading.Thread(target=self._work, name=f"vidstyle-{name}", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            for item in self._items:
                with self._state:
                    self._item = item
                    self._state.notify_all()
                    if self._stopped:
                        break
        except BaseException as error:  # raised again by `take`
            self._error = error
        finally:
            self._items.close()
            with self._state:
                self.ended = True
                self._state.notify_all()

    def take(self, timeout: float) -> T | None:
        """The newest item if it has not been taken yet, else the next one; None after `timeout` seconds or at the end.

        An exception in `items` is raised here, once, after the item before it.
        """
        with self._state:
            self._state.wait_for(lambda: self._item is not None or self.ended, timeout)
            item, self._item = self._item, None
            if item is None and self._error is not None:
                error, self._error = self._error, None
                raise error
            return item

    def close(self, timeout: float = 5.0) -> bool:
        """Make the thread close `items` after the current item; returns whether it ended within `timeout` seconds.

        A thread that hangs in a driver is abandoned: it ends with the process, or when the driver returns.
        """
        with self._state:
            self._stopped = True
        self._thread.join(timeout)
        return not self._thread.is_alive()


def result_of(future: Future[T], check: Callable[[], None]) -> T:
    """The result of `future`; while it is not there, `check` is called several times a second and may raise."""
    while not wait([future], _CHECK_SECONDS).done:
        check()
    return future.result()


def background_executor() -> ThreadPoolExecutor:
    """An executor with one thread, for work that must not delay the frames."""
    return ThreadPoolExecutor(1, "vidstyle-background")
