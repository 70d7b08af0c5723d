"""All concurrency lives here.

`prefetch` runs one stage in a thread of its own and waits when it is too far ahead (files); `Newest` runs one and drops what
nobody took in time (live). `run` joins source, stylizer and sink.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby
from queue import SimpleQueue
from typing import Generic, TypeVar

from vidstyle.frames import Frame, Pixels
from vidstyle.mixing import masked
from vidstyle.stages import Finisher, Sink, Source, Stylizer
from vidstyle.temporal.shots import shot_batches

T = TypeVar("T")

AHEAD = 2
"""Batches that a stage may be ahead of the next one."""


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
    """One thread for what must not hold up a picture."""
    return ThreadPoolExecutor(1, "vidstyle-background")


def run(
    source: Source,
    stylizer: Stylizer,
    sink: Sink,
    batch_size: int = 1,
    on_frame: Callable[[int], None] = lambda count: None,
    shot_pictures: Callable[[Frame], Iterable[Pixels]] = lambda first: [first.pixels],
    finishers: Sequence[Finisher] = (),
    done: int = 0,
    in_step: bool = False,
    begins_shot: Callable[[Frame], bool] | None = None,
    under_way: Stylizer | None = None,
    meter: Finisher | None = None,
) -> int:
    """Take every frame of `source` through `stylizer` and `finishers` into `sink`; returns how many there were.

    The first `done` frames are only read, not painted and not written: they are there already. `in_step`: no frame is finished
    before the one before it was written, so that a finisher's memory belongs to the sink's last frame.
    `begins_shot` knows where the cuts are, which are looked for without it. `under_way`: the stylizer made for the shot to which
    the first frame belongs, where that has begun before. `meter` sees what comes of it all.

    Decoding, the net (on as many batches as it has lanes), finishing and encoding run side by side, each only a few batches
    ahead of the next, so memory does not grow with the length of the video. At every cut the stylizer is made ready for the
    new shot with `shot_pictures` of its first frame. Where a frame's mask is black it stays as it was, whatever the finishers
    did. `on_frame` is called with the running count. The sink is neither published nor closed. An error in any stage is raised
    here, after all threads have ended.
    """
    count = done
    painted = finished_frames(
        source.frames(),
        stylizer,
        batch_size,
        shot_pictures,
        finishers,
        done,
        in_step,
        begins_shot,
        under_way,
        source.info.zero,
        meter,
    )
    with closing(painted) as frames:
        for frame in frames:
            sink.write(frame)
            count += 1
            on_frame(count)
    return count


def finished_frames(
    frames: Iterator[Frame],
    stylizer: Stylizer,
    batch_size: int = 1,
    shot_pictures: Callable[[Frame], Iterable[Pixels]] = lambda first: [first.pixels],
    finishers: Sequence[Finisher] = (),
    done: int = 0,
    in_step: bool = False,
    begins_shot: Callable[[Frame], bool] | None = None,
    under_way: Stylizer | None = None,
    zero: Fraction = Fraction(0),
    meter: Finisher | None = None,
) -> Generator[Frame, None, None]:
    """`frames` painted and finished, in order; see `run`. However this ends, its threads have ended and `frames` is closed.

    `zero`: when the input begins, in seconds of its frames' clock.
    """
    with ExitStack() as stack:
        lanes = ThreadPoolExecutor(stylizer.lanes, "vidstyle-lane")
        stack.callback(lanes.shutdown, cancel_futures=True)

        def staged(items: Iterator[T], depth: int) -> Iterator[T]:
            return stack.enter_context(closing(prefetch(items, depth)))

        decoded = staged(frames, AHEAD * batch_size)
        batches = shot_batches(decoded, batch_size, begins_shot)
        # Each item is a batch being painted; as many are under way as there are lanes, and some wait to be finished.
        painting = _painting(batches, stylizer, shot_pictures, lanes, done, under_way, zero)
        painted = staged(painting, AHEAD + stylizer.lanes - 1)
        finished = _finished(painted, finishers, meter)
        yield from staged(finished, AHEAD * batch_size) if (finishers or meter) and not in_step else finished


@dataclass(frozen=True)
class _Batch:
    """Frames of one shot, and their paintings to come."""

    begins_shot: bool
    frames: list[Frame]
    painted: Future[Pixels]


def _painting(
    batches: Iterator[tuple[bool, list[Frame]]],
    stylizer: Stylizer,
    shot_pictures: Callable[[Frame], Iterable[Pixels]],
    lanes: ThreadPoolExecutor,
    done: int,
    under_way: Stylizer | None,
    zero: Fraction,
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
            current, first = stylizer.for_shot(shot_pictures(first)), None
        for stylizer_then, frames in _by_stylizer(current, batch, zero):
            yield _Batch(begins_shot, frames, lanes.submit(stylizer_then.stylize, [frame.pixels for frame in frames]))
            begins_shot = False


def _by_stylizer(stylizer: Stylizer, batch: Sequence[Frame], zero: Fraction) -> Iterator[tuple[Stylizer, list[Frame]]]:
    """The batch in as many parts as there are stylizers for the times of its frames."""
    timed = [(stylizer.at(float(frame.pts * frame.time_base - zero)), frame) for frame in batch]
    for _, part in groupby(timed, key=lambda pair: id(pair[0])):
        pairs = list(part)
        yield pairs[0][0], [frame for _, frame in pairs]


def _finished(batches: Iterator[_Batch], finishers: Sequence[Finisher], meter: Finisher | None) -> Iterator[Frame]:
    for batch in batches:
        begins_shot = batch.begins_shot
        for frame, pixels in zip(batch.frames, batch.painted.result(), strict=True):
            for finisher in finishers:
                pixels = finisher.finish(frame.pixels, pixels, begins_shot)
            if frame.mask is not None:
                pixels = masked(frame.pixels, pixels, frame.mask)
            if meter is not None:
                meter.finish(frame.pixels, pixels, begins_shot)
            yield replace(frame, pixels=pixels)
            begins_shot = False
