"""All concurrency lives here.

`prefetch` runs one stage in a thread of its own and waits when it is too far ahead (files); `Newest` runs one and drops what
nobody took in time (live). `run` joins source, stylizer and sink.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby
from typing import TypeVar

from vidstyle.core.compositing import masked
from vidstyle.core.concurrency import prefetch
from vidstyle.core.frames import Frame, Pixels
from vidstyle.core.protocols import PostProcessor, Sink, Source, Stylizer
from vidstyle.temporal.shots import shot_batches

T = TypeVar("T")

AHEAD = 2
"""Batches that a stage may be ahead of the next one."""


def run(
    source: Source,
    stylizer: Stylizer,
    sink: Sink,
    batch_size: int = 1,
    on_frame: Callable[[int], None] = lambda count: None,
    shot_frames: Callable[[Frame], Iterable[Pixels]] = lambda first: [first.pixels],
    post_processors: Sequence[PostProcessor] = (),
    done: int = 0,
    in_step: bool = False,
    begins_shot: Callable[[Frame], bool] | None = None,
    under_way: Stylizer | None = None,
    metric: PostProcessor | None = None,
) -> int:
    """Take every frame of `source` through `stylizer` and `post_processors` into `sink`; returns how many there were.

    The first `done` frames are only read, not stylized and not written: they are there already. `in_step`: no frame is finished
    before the one before it was written, so that a finisher's memory belongs to the sink's last frame.
    `begins_shot` knows where the cuts are, which are looked for without it. `under_way`: the stylizer made for the shot to which
    the first frame belongs, where that has begun before. `metric` sees what comes of it all.

    Decoding, the net (on as many batches as it has lanes), finishing and encoding run side by side, each only a few batches
    ahead of the next, so memory does not grow with the length of the video. At every cut the stylizer is made ready for the
    new shot with `shot_frames` of its first frame. Where a frame's mask is black it stays as it was, whatever the finishers
    did. `on_frame` is called with the running count. The sink is neither published nor closed. An error in any stage is raised
    here, after all threads have ended.
    """
    count = done
    stylized = finished_frames(
        source.frames(),
        stylizer,
        batch_size,
        shot_frames,
        post_processors,
        done,
        in_step,
        begins_shot,
        under_way,
        source.info.start_time,
        metric,
    )
    with closing(stylized) as frames:
        for frame in frames:
            sink.write(frame)
            count += 1
            on_frame(count)
    return count


def finished_frames(
    frames: Iterator[Frame],
    stylizer: Stylizer,
    batch_size: int = 1,
    shot_frames: Callable[[Frame], Iterable[Pixels]] = lambda first: [first.pixels],
    post_processors: Sequence[PostProcessor] = (),
    done: int = 0,
    in_step: bool = False,
    begins_shot: Callable[[Frame], bool] | None = None,
    under_way: Stylizer | None = None,
    start_time: Fraction = Fraction(0),
    metric: PostProcessor | None = None,
) -> Generator[Frame, None, None]:
    """`frames` stylized and finished, in order; see `run`. However this ends, its threads have ended and `frames` is closed.

    `start_time`: when the input begins, in seconds of its frames' clock.
    """
    with ExitStack() as stack:
        executor = ThreadPoolExecutor(stylizer.concurrency, "vidstyle-stylizer")
        stack.callback(executor.shutdown, cancel_futures=True)

        def staged(items: Iterator[T], depth: int) -> Iterator[T]:
            return stack.enter_context(closing(prefetch(items, depth)))

        decoded = staged(frames, AHEAD * batch_size)
        batches = shot_batches(decoded, batch_size, begins_shot)
        # Each item is a batch being stylized; as many are under way as there are lanes, and some wait to be finished.
        painting = _painting(batches, stylizer, shot_frames, executor, done, under_way, start_time)
        stylized = staged(painting, AHEAD + stylizer.concurrency - 1)
        finished = _finished(stylized, post_processors, metric)
        yield from staged(finished, AHEAD * batch_size) if (post_processors or metric) and not in_step else finished


@dataclass(frozen=True)
class _Batch:
    """Frames of one shot, and their paintings to come."""

    begins_shot: bool
    frames: list[Frame]
    stylized: Future[Pixels]


def _painting(
    batches: Iterator[tuple[bool, list[Frame]]],
    stylizer: Stylizer,
    shot_frames: Callable[[Frame], Iterable[Pixels]],
    executor: ThreadPoolExecutor,
    done: int,
    under_way: Stylizer | None,
    start_time: Fraction,
) -> Iterator[_Batch]:
    first, current = None, None
    for begins_shot, batch in batches:
        if begins_shot:
            first, current, under_way = batch[0], under_way, None
        if done >= len(batch):
            done -= len(batch)
            continue
        if done:
            batch, begins_shot, done = batch[done:], False, 0
        if current is None:
            assert first is not None
            current, first = stylizer.for_shot(shot_frames(first)), None
        for stylizer_then, frames in _by_stylizer(current, batch, start_time):
            yield _Batch(begins_shot, frames, executor.submit(stylizer_then.stylize, [frame.pixels for frame in frames]))
            begins_shot = False


def _by_stylizer(stylizer: Stylizer, batch: Sequence[Frame], start_time: Fraction) -> Iterator[tuple[Stylizer, list[Frame]]]:
    """The batch in as many parts as there are stylizers for the times of its frames."""
    timed = [(stylizer.at(float(frame.pts * frame.time_base - start_time)), frame) for frame in batch]
    for _, part in groupby(timed, key=lambda pair: id(pair[0])):
        pairs = list(part)
        yield pairs[0][0], [frame for _, frame in pairs]


def _finished(
    batches: Iterator[_Batch], post_processors: Sequence[PostProcessor], metric: PostProcessor | None
) -> Iterator[Frame]:
    for batch in batches:
        begins_shot = batch.begins_shot
        for frame, pixels in zip(batch.frames, batch.stylized.result(), strict=True):
            for post_processor in post_processors:
                pixels = post_processor.finish(frame.pixels, pixels, begins_shot)
            if frame.mask is not None:
                pixels = masked(frame.pixels, pixels, frame.mask)
            if metric is not None:
                metric.finish(frame.pixels, pixels, begins_shot)
            yield replace(frame, pixels=pixels)
            begins_shot = False
