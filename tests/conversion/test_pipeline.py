"""The pipeline: order, errors in every stage, early ends, no threads left over, bounded read-ahead."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from fractions import Fraction

import numpy as np
import pytest

from vidstyle.conversion.pipeline import AHEAD, PipelineOptions, run
from vidstyle.core.damage import Damage
from vidstyle.core.frames import Frame, Pixels, VideoInfo
from vidstyle.core.protocols import PostProcessor, Stylizer

REPEATS = range(50)
TICK = Fraction(1, 24)


class StageError(Exception):
    """Raised by a stage on purpose."""


class Numbers:
    """A source of tiny frames, each brighter than the one before by one level or, at `cuts`, by a hundred. It counts the frames
    read and records whether its generator was closed."""

    info = VideoInfo(2, 2)
    shift_seconds = Fraction(0)
    shift_seconds = Fraction(0)

    def __init__(self, count: int, fail_at: int | None = None, cuts: Sequence[int] = ()) -> None:
        self.count, self.fail_at, self.cuts, self.read, self.ended = count, fail_at, cuts, 0, False

    def frames(self) -> Iterator[Frame]:
        try:
            for index in range(self.count):
                if index == self.fail_at:
                    raise StageError("source")
                self.read = index + 1
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

    def damage_so_far(self) -> Damage:
        return {}

    def restore_damage(self, earlier: Damage) -> None:
        pass

    def close(self) -> None:
        pass


class PlusOne(Stylizer):
    """Makes images one level brighter; fails on the image `fail_at`."""

    def __init__(self, fail_at: int | None = None, wrong_count: bool = False) -> None:
        self.fail_at, self.wrong_count, self.sizes = fail_at, wrong_count, list[int]()

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        self.sizes.append(len(images))
        if any(int(p[0, 0, 0]) == self.fail_at for p in images):
            raise StageError("stylizer")
        stylized = np.stack(images) + np.uint8(1)
        return stylized[1:] if self.wrong_count else stylized


class Collector:
    """A sink that keeps its frames and fails at the frame `fail_at`."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at, self.frames = fail_at, list[Frame]()

    def write(self, frame: Frame) -> None:
        if len(self.frames) == self.fail_at:
            raise StageError("sink")
        self.frames.append(frame)

    def warnings(self) -> list[str]:
        return []

    def damage(self) -> list[str]:
        return []

    def publish(self) -> None:
        raise AssertionError("the pipeline does not publish")

    def close(self) -> None:
        raise AssertionError("the pipeline does not close the sink")


class Halves:
    """A post-processor that halves every pixel, records its arguments and fails at the frame `fail_at`."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at, self.seen = fail_at, list[tuple[int, int, bool]]()

    def process(self, source: Pixels, stylized: Pixels, begins_shot: bool) -> Pixels:
        if len(self.seen) == self.fail_at:
            raise StageError("post_processor")
        self.seen.append((int(source[0, 0, 0]), int(stylized[0, 0, 0]), begins_shot))
        return stylized // 2


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
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


def test_source_without_frames_is_no_error() -> None:
    assert run(Numbers(0), PlusOne(), Collector()) == 0


def test_repeated_runs_leave_no_thread() -> None:
    for _ in REPEATS:
        run(Numbers(5), PlusOne(), Collector(), PipelineOptions(2))


@pytest.mark.parametrize("at", [0, 1, 7])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("post_processed", [False, True], ids=["plain", "post-processed"])
@pytest.mark.parametrize("stage", ["source", "stylizer", "sink"])
def test_error_in_any_stage_is_raised_and_ends_all_stages(stage: str, post_processed: bool, size: int, at: int) -> None:
    for _ in REPEATS:
        source = Numbers(1000, at if stage == "source" else None)
        stylizer = PlusOne(at if stage == "stylizer" else None)
        sink = Collector(at if stage == "sink" else None)
        post_processors: list[PostProcessor] = [Halves()] if post_processed else []
        with pytest.raises(StageError, match=stage):
            run(source, stylizer, sink, PipelineOptions(size, post_processors))
        assert source.ended, "the source's generator was left open"
        assert source.read <= at + 1 + size * ((3 if post_processed else 2) * AHEAD + 3)
        written = len(sink.frames)
        assert at - size <= written <= at if stage == "source" else written == (at if stage == "sink" else at // size * size)


@pytest.mark.parametrize("at", [0, 1, 7])
@pytest.mark.parametrize("size", [1, 3])
def test_error_in_a_post_processor_is_raised_and_ends_all_stages(size: int, at: int) -> None:
    for _ in REPEATS:
        source, sink = Numbers(1000), Collector()
        with pytest.raises(StageError, match="post_processor"):
            run(source, PlusOne(), sink, PipelineOptions(size, [Halves(at)]))
        assert source.ended
        assert source.read < 1000
        assert len(sink.frames) == at


def test_error_in_adapting_to_a_shot_is_raised_and_ends_all_stages() -> None:
    class Failing(PlusOne):
        def for_shot(self, images: Iterable[Pixels]) -> PlusOne:
            if next(iter(images))[0, 0, 0] > 100:
                raise StageError("shot")
            return self

    for _ in REPEATS:
        source, sink = Numbers(1000, cuts=[6]), Collector()
        with pytest.raises(StageError, match="shot"):
            run(source, Failing(), sink, PipelineOptions(3, [Halves()]))
        assert source.ended
        assert [frame.pts for frame in sink.frames] == list(range(6))


def test_batch_does_not_span_a_cut() -> None:
    sink, stylizer = Collector(), PlusOne()
    run(Numbers(12, cuts=[4, 7]), stylizer, sink, PipelineOptions(3))
    assert stylizer.sizes == [3, 1, 3, 3, 2]
    assert [frame.pts for frame in sink.frames] == list(range(12))


@pytest.mark.parametrize("size", [1, 3])
def test_each_shot_is_stylized_by_a_stylizer_adapted_to_it(size: int) -> None:
    class Adapting(PlusOne):
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

    stylizer, sink = Adapting(), Collector()
    options = PipelineOptions(size, sample_shot=lambda first: [first.pixels, first.pixels + np.uint8(1)])
    run(Numbers(9, cuts=[4, 7]), stylizer, sink, options)
    assert stylizer.shots == [[0, 1], [104, 105], [207, 208]]
    assert stylizer.sizes == [], "only stylizers adapted to a shot are used"
    added = [int(frame.pixels[0, 0, 0]) for frame in sink.frames]
    assert added == [10, 11, 12, 13, 124, 125, 126, 237, 238]


@pytest.mark.parametrize("size", [1, 3])
def test_post_processors_see_every_frame_in_order(size: int) -> None:
    first, second, sink, counts = Halves(), Halves(), Collector(), list[int]()
    run(Numbers(6, cuts=[4]), PlusOne(), sink, PipelineOptions(size, [first, second]), counts.append)
    levels, begins = [0, 1, 2, 3, 104, 105], [True, False, False, False, True, False]
    assert first.seen == [(n, n + 1, begin) for n, begin in zip(levels, begins, strict=True)]
    assert second.seen == [(n, (n + 1) // 2, begin) for n, begin in zip(levels, begins, strict=True)]
    assert [int(frame.pixels[0, 0, 0]) for frame in sink.frames] == [(n + 1) // 4 for n in levels]
    assert [frame.pts for frame in sink.frames] == list(range(6))
    assert counts == list(range(1, 7))


def test_stylizer_that_loses_an_image_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        run(Numbers(4), PlusOne(wrong_count=True), Collector(), PipelineOptions(2))


def test_interrupt_while_writing_ends_all_stages() -> None:
    class Interrupted(Collector):
        def write(self, frame: Frame) -> None:
            raise KeyboardInterrupt

    source = Numbers(1000)
    with pytest.raises(KeyboardInterrupt):
        run(source, PlusOne(), Interrupted())
    assert source.ended


def test_interrupt_while_a_thread_starts_ends_all_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C at the moment when the worker runs but its consumer does not: the source must not be closed while it is read."""
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
    assert source.read < 100_000


@pytest.mark.parametrize("post_processors", [[], [Halves()]], ids=["plain", "post-processed"])
@pytest.mark.parametrize("size", [1, 4])
def test_slow_sink_holds_the_source_back(size: int, post_processors: list[PostProcessor]) -> None:
    source = Numbers(1000)
    lead = list[int]()

    class Slow(Collector):
        def write(self, frame: Frame) -> None:
            super().write(frame)
            lead.append(source.read - len(self.frames))

    run(source, PlusOne(), Slow(), PipelineOptions(size, post_processors))
    assert len(lead) == 1000
    assert max(lead) <= size * ((3 if post_processors else 2) * AHEAD + 4)
