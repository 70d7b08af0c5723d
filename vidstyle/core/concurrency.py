"""Threads between stages: `prefetch` runs a stage ahead and waits (files); `Newest` drops what nobody took in time (live)."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class _Failure:
    """An exception on its way from the worker to the consumer."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


def prefetch(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """Yield what `items` yields, computed up to `depth` ahead by a thread.

    An exception in `items` is raised here, after the items before it. However this generator ends (exhausted, closed, or
    the consumer failed and the `ExitStack` closes it), the thread is joined and `items` is closed, by the thread that ran it.
    """
    ready: SimpleQueue[object] = SimpleQueue()
    free = threading.Semaphore(depth)
    stop, finished = threading.Event(), threading.Event()

    def work() -> None:
        try:
            while True:
                free.acquire()
                if stop.is_set():
                    break
                ready.put(next(items))
        except StopIteration:
            ready.put(_END)
        except BaseException as error:  # carried over to the consumer, which raises it
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
        except RuntimeError:  # no more threads to be had
            finished.set()
            raise
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            free.release()
            yield item  # type: ignore[misc]  # only T, _END and _Failure travel in the queue
    finally:
        stop.set()
        free.release()
        finished.wait()  # before join, which fails if an interrupt came in the middle of start
        if thread.ident is not None:
            thread.join()


class Newest(Generic[T]):
    """Runs `items` in a thread of its own and keeps only what it yielded last."""

    def __init__(self, items: Generator[T, None, None], name: str) -> None:
        self._items = items
        self._state = threading.Condition()
        self._item: T | None = None
        self._error: BaseException | None = None
        self._stopped = False
        self.ended = False
        """Whether nothing more will come."""
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
        except BaseException as error:  # carried over to whoever takes
            self._error = error
        finally:
            self._items.close()
            with self._state:
                self.ended = True
                self._state.notify_all()

    def take(self, timeout: float) -> T | None:
        """The newest item that was not taken yet, as soon as there is one; None after `timeout` seconds or at the end.

        An exception in `items` is raised here, once, after the item before it.
        """
        with self._state:
            self._state.wait_for(lambda: self._item is not None or self.ended, timeout)
            item, self._item = self._item, None
            if item is None and self._error is not None:
                error, self._error = self._error, None
                raise error
            return item

    def close(self, patience: float = 5.0) -> bool:
        """Have `items` closed by its thread after the item in work; returns whether that was done within `patience` seconds.

        A thread that hangs in a driver is left behind: it dies with the process, or when the driver lets go.
        """
        with self._state:
            self._stopped = True
        self._thread.join(patience)
        return not self._thread.is_alive()


def background() -> ThreadPoolExecutor:
    """One thread for what must not hold up an image."""
    return ThreadPoolExecutor(1, "vidstyle-background")
