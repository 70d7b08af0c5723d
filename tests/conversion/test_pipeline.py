"""The pipeline: order, errors from every stage, early ends; never a thread left, never far ahead."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from fractions import Fraction

import numpy as np
import pytest

from vidstyle.conversion.pipeline import AHEAD, PipelineOptions, run
from vidstyle.core.concurrency import prefetch
from vidstyle.core.frames import Frame, Pixels, VideoInfo
from vidstyle.core.protocols import PostProcessor

AGAIN = range(50)
TICK = Fraction(1, 24)


class TroubleError(Exception):
    """Raised by a stage on purpose."""


class Numbers:
    """A source of tiny frames, each a level lighter or, at `cuts`, a hundred; it counts how many it gave and knows whether
    its generator was closed."""

    info = VideoInfo(2, 2)
    shift_seconds = Fraction(0)

    def __init__(self, count: int, fail_at: int | None = None, cuts: Sequence[int] = ()) -> None:
        self.count, self.fail_at, self.cuts, self.given, self.ended = count, fail_at, cuts, 0, False

    def frames(self) -> Iterator[Frame]:
        try:
            for index in range(self.count):
                if index == self.fail_at:
                    raise TroubleError("source")
                self.given = index + 1
                level = (index + 100 * sum(cut <= index for cut in self.cuts)) % 250
                yield Frame(np.full((2, 2, 3), level, np.uint8), index, TICK)
        finally:
            self.ended = True

    def following(self, first: Frame, seconds: float) -> Generator[Pixels, None, None]:
        yield first.pixels

    def warnings(self) -> list[str]:
        return []

    def damage(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


class PlusOne:
    """Makes images one level lighter; fails on the image `fail_at`."""

    concurrency = 1

    def __init__(self, fail_at: int | None = None, wrong_count: bool = False) -> None:
        self.fail_at, self.wrong_count, self.sizes = fail_at, wrong_count, list[int]()

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        self.sizes.append(len(images))
        if any(int(p[0, 0, 0]) == self.fail_at for p in images):
            raise TroubleError("stylizer")
        stylized = np.stack(images) + np.uint8(1)
        return stylized[1:] if self.wrong_count else stylized

    def at(self, seconds: float) -> PlusOne:
        return self

    def for_shot(self, images: Iterable[Pixels]) -> PlusOne:
        return self

    def describe(self) -> str:
        return "plus one"


class Collector:
    """A sink that keeps what it gets and fails at the frame `fail_at`."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at, self.frames = fail_at, list[Frame]()

    def write(self, frame: Frame) -> None:
        if len(self.frames) == self.fail_at:
            raise TroubleError("sink")
        self.frames.append(frame)

    def warnings(self) -> list[str]:
        return []

    def publish(self) -> None:
        raise AssertionError("the pipeline does not publish")

    def close(self) -> None:
        raise AssertionError("the pipeline does not close the sink")


class Halves:
    """A finisher that shows half of every painting, notes what it sees and fails at the frame `fail_at`."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at, self.seen = fail_at, list[tuple[int, int, bool]]()

    def process(self, source: Pixels, stylized: Pixels, begins_shot: bool) -> Pixels:
        if len(self.seen) == self.fail_at:
            raise TroubleError("post_processor")
        self.seen.append((int(source[0, 0, 0]), int(stylized[0, 0, 0]), begins_shot))
        return stylized // 2


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = set(threading.enumerate()) - before
    assert not left


@pytest.mark.parametrize("size", [1, 3, 4, 12, 50])
def test_all_frames_arrive_in_order(size: int) -> None:
    sink, stylizer, counts = Collector(), PlusOne(), list[int]()
    assert run(Numbers(12), stylizer, sink, PipelineOptions(size), counts.append) == 12
    assert [frame.pts for frame in sink.frames] == list(range(12))
    assert [int(frame.pixels[0, 0, 0]) for frame in sink.frames] == list(range(1, 13))
    assert counts == list(range(1, 13))
    assert stylizer.sizes == [min(size, 12 - begin) for begin in range(0, 12, size)]


def test_no_frames_are_no_error() -> None:
    assert run(Numbers(0), PlusOne(), Collector()) == 0


def test_success_many_times_leaves_no_thread() -> None:
    for _ in AGAIN:
        run(Numbers(5), PlusOne(), Collector(), PipelineOptions(2))


@pytest.mark.parametrize("at", [0, 1, 7])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("finished", [False, True], ids=["plain", "finished"])
@pytest.mark.parametrize("stage", ["source", "stylizer", "sink"])
def test_an_error_in_any_stage_comes_out_and_everything_ends(stage: str, finished: bool, size: int, at: int) -> None:
    for _ in AGAIN:
        source = Numbers(1000, at if stage == "source" else None)
        stylizer = PlusOne(at if stage == "stylizer" else None)
        sink = Collector(at if stage == "sink" else None)
        post_processors: list[PostProcessor] = [Halves()] if finished else []
        with pytest.raises(TroubleError, match=stage):
            run(source, stylizer, sink, PipelineOptions(size, post_processors))
        assert source.ended, "the source's generator was left open"
        assert source.given <= at + 1 + size * ((3 if finished else 2) * AHEAD + 3)
        written = len(sink.frames)
        assert at - size <= written <= at if stage == "source" else written == (at if stage == "sink" else at // size * size)


@pytest.mark.parametrize("at", [0, 1, 7])
@pytest.mark.parametrize("size", [1, 3])
def test_an_error_in_a_finisher_comes_out_and_everything_ends(size: int, at: int) -> None:
    for _ in AGAIN:
        source, sink = Numbers(1000), Collector()
        with pytest.raises(TroubleError, match="post_processor"):
            run(source, PlusOne(), sink, PipelineOptions(size, [Halves(at)]))
        assert source.ended
        assert source.given < 1000
        assert len(sink.frames) == at


def test_an_error_in_getting_ready_for_a_shot_comes_out_and_everything_ends() -> None:
    class Unready(PlusOne):
        def for_shot(self, images: Iterable[Pixels]) -> PlusOne:
            if next(iter(images))[0, 0, 0] > 100:
                raise TroubleError("shot")
            return self

    for _ in AGAIN:
        source, sink = Numbers(1000, cuts=[6]), Collector()
        with pytest.raises(TroubleError, match="shot"):
            run(source, Unready(), sink, PipelineOptions(3, [Halves()]))
        assert source.ended
        assert [frame.pts for frame in sink.frames] == list(range(6))


def test_a_batch_spans_no_cut() -> None:
    sink, stylizer = Collector(), PlusOne()
    run(Numbers(12, cuts=[4, 7]), stylizer, sink, PipelineOptions(3))
    assert stylizer.sizes == [3, 1, 3, 3, 2]
    assert [frame.pts for frame in sink.frames] == list(range(12))


@pytest.mark.parametrize("size", [1, 3])
def test_each_shot_is_stylized_by_a_stylizer_made_for_it_after_its_images(size: int) -> None:
    class ShotByShot(PlusOne):
        def __init__(self) -> None:
            super().__init__()
            self.shots = list[list[int]]()

        def for_shot(self, images: Iterable[Pixels]) -> PlusOne:
            self.shots.append([int(p[0, 0, 0]) for p in images])
            return Brighter(10 * len(self.shots))

    class Brighter(PlusOne):
        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

        def stylize(self, images: Sequence[Pixels]) -> Pixels:
            return np.stack(images) + np.uint8(self.by)

    stylizer, sink = ShotByShot(), Collector()
    options = PipelineOptions(size, sample_shot=lambda first: [first.pixels, first.pixels + np.uint8(1)])
    run(Numbers(9, cuts=[4, 7]), stylizer, sink, options)
    assert stylizer.shots == [[0, 1], [104, 105], [207, 208]]
    assert stylizer.sizes == [], "the stylizer for no shot in particular stylized nothing"
    added = [int(frame.pixels[0, 0, 0]) for frame in sink.frames]
    assert added == [10, 11, 12, 13, 124, 125, 126, 237, 238]


@pytest.mark.parametrize("size", [1, 3])
def test_finishers_see_every_frame_in_order_and_have_the_last_word(size: int) -> None:
    first, second, sink, counts = Halves(), Halves(), Collector(), list[int]()
    run(Numbers(6, cuts=[4]), PlusOne(), sink, PipelineOptions(size, [first, second]), counts.append)
    levels, begins = [0, 1, 2, 3, 104, 105], [True, False, False, False, True, False]
    assert first.seen == [(n, n + 1, begin) for n, begin in zip(levels, begins, strict=True)]
    assert second.seen == [(n, (n + 1) // 2, begin) for n, begin in zip(levels, begins, strict=True)]
    assert [int(frame.pixels[0, 0, 0]) for frame in sink.frames] == [(n + 1) // 4 for n in levels]
    assert [frame.pts for frame in sink.frames] == list(range(6))
    assert counts == list(range(1, 7))


def test_a_stylizer_that_loses_a_image_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        run(Numbers(4), PlusOne(wrong_count=True), Collector(), PipelineOptions(2))


def test_an_interrupt_while_writing_ends_everything() -> None:
    class Interrupted(Collector):
        def write(self, frame: Frame) -> None:
            raise KeyboardInterrupt

    source = Numbers(1000)
    with pytest.raises(KeyboardInterrupt):
        run(source, PlusOne(), Interrupted())
    assert source.ended


def test_an_interrupt_while_a_thread_starts_ends_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C at the one moment when the worker runs and its consumer does not: the source must not be closed under it."""
    start, started = threading.Thread.start, list[threading.Thread]()

    def start_then_interrupt(thread: threading.Thread) -> None:
        start(thread)
        started.append(thread)
        if len(started) == 1:
            raise KeyboardInterrupt

    source = Numbers(100_000)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_then_interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(source, PlusOne(), Collector())
    assert not any(thread.is_alive() for thread in started)
    assert source.given < 100_000


@pytest.mark.parametrize("post_processors", [[], [Halves()]], ids=["plain", "finished"])
@pytest.mark.parametrize("size", [1, 4])
def test_a_slow_sink_holds_the_source_back(size: int, post_processors: list[PostProcessor]) -> None:
    source = Numbers(1000)
    lead = list[int]()

    class Slow(Collector):
        def write(self, frame: Frame) -> None:
            super().write(frame)
            lead.append(source.given - len(self.frames))

    run(source, PlusOne(), Slow(), PipelineOptions(size, post_processors))
    assert len(lead) == 1000
    assert max(lead) <= size * ((3 if post_processors else 2) * AHEAD + 4)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_prefetch_is_never_more_than_depth_ahead(depth: int) -> None:
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
            # The producer is bounded by the tokens it was given: `depth`, and one for every item taken.
            assert count <= depth + taken + 1
    assert count == 20


def test_prefetch_works_ahead_of_its_consumer() -> None:
    third = threading.Event()

    def produce() -> Iterator[int]:
        yield 0
        yield 1
        third.set()
        yield 2

    with closing(prefetch(produce(), 2)) as items:
        assert next(items) == 0
        assert third.wait(10), "the producer did not go on while the consumer was busy"


def test_prefetch_runs_in_another_thread() -> None:
    def produce() -> Iterator[str]:
        yield threading.current_thread().name

    assert list(prefetch(produce(), 2)) != [threading.current_thread().name]


def test_items_before_an_error_come_first() -> None:
    def produce() -> Iterator[int]:
        yield from range(3)
        raise TroubleError("late")

    items = prefetch(produce(), 5)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(TroubleError, match="late"):
        next(items)


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_closing_early_closes_the_source_in_its_own_thread(taken: int) -> None:
    for _ in AGAIN:
        began, closed = list[int](), list[int]()

        def produce(began: list[int] = began, closed: list[int] = closed) -> Iterator[int]:
            try:
                began.append(threading.get_ident())
                while True:
                    yield 0
            finally:
                closed.append(threading.get_ident())

        items = prefetch(produce(), 2)
        for _ in range(taken):
            next(items)
        items.close()
        items.close()
        assert closed == began


def test_a_plain_iterator_will_do() -> None:
    assert list(prefetch(iter([1, 2, 3]), 1)) == [1, 2, 3]
