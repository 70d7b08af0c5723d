"""Iterators that run in threads of their own: order, read-ahead, errors, closing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from vidstyle.core.concurrency import prefetch

REPEATS = range(50)


class ProducerError(Exception):
    """Raised by an iterator on purpose."""


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_prefetch_is_at_most_depth_items_ahead(depth: int) -> None:
    made = threading.Semaphore(0)
    count = 0

    def produce() -> Iterator[int]:
        nonlocal count
        for index in range(20):
            count = index + 1
            made.release()
            yield index

    with closing(prefetch(produce(), depth)) as items:
        for taken in range(20):
            assert next(items) == taken
            # The producer has `depth` slots, and one more for every item taken.
            assert count <= depth + taken + 1
    assert count == 20


def test_prefetch_runs_ahead_of_its_consumer() -> None:
    third = threading.Event()

    def produce() -> Iterator[int]:
        yield 0
        yield 1
        third.set()
        yield 2

    with closing(prefetch(produce(), 2)) as items:
        assert next(items) == 0
        assert third.wait(10), "the producer did not continue while the consumer was busy"


def test_prefetch_runs_in_another_thread() -> None:
    def produce() -> Iterator[str]:
        yield threading.current_thread().name

    assert list(prefetch(produce(), 2)) != [threading.current_thread().name]


def test_error_comes_after_the_items_before_it() -> None:
    def produce() -> Iterator[int]:
        yield from range(3)
        raise ProducerError("late")

    items = prefetch(produce(), 5)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ProducerError, match="late"):
        next(items)


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_closing_early_closes_the_iterator_in_its_own_thread(taken: int) -> None:
    for _ in REPEATS:
        started, closed = list[int](), list[int]()

        def produce(started: list[int] = started, closed: list[int] = closed) -> Iterator[int]:
            try:
                started.append(threading.get_ident())
                while True:
                    yield 0
            finally:
                closed.append(threading.get_ident())

        items = prefetch(produce(), 2)
        for _ in range(taken):
            next(items)
        items.close()
        items.close()
        assert closed == started


def test_plain_iterator_is_accepted() -> None:
    assert list(prefetch(iter([1, 2, 3]), 1)) == [1, 2, 3]
