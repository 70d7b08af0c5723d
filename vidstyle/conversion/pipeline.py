"""The pipeline: frames from a source are stylized, post-processed and written to a sink, each stage in separate threads."""

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
"""How many batches a stage may be ahead of the next one."""


@dataclass(frozen=True)
class PipelineOptions:
    """How frames are batched, divided into shots and post-processed."""

    batch_size: int = 1
    post_processors: Sequence[PostProcessor] = ()
    """Applied to every stylized frame, in this order."""
    metric: PostProcessor | None = None
    """Sees every finished frame; what it returns is ignored."""
    sample_shot: Callable[[Frame], Iterable[Pixels]] = lambda first: [first.pixels]
    """Gets the first frame of a shot; returns the images from which the stylizer is adapted to the shot."""
    begins_shot: Callable[[Frame], bool] | None = None
    """Whether a frame is the first of a shot; None: cuts are detected."""
    first_stylizer: Stylizer | None = None
    """The stylizer for the shot of the first frame, where an earlier run adapted it; None: it is adapted here."""
    frames_done: int = 0
    """So many frames at the beginning are read, but neither stylized nor written: an earlier run has written them."""
    lean: bool = False
    """As few frames in memory at once as possible: each stage is one frame ahead at most, and one frame is stylized at a time."""
    lockstep: bool = False
    """No frame is post-processed before the sink has written the one before it, so that the state of the post-processors
    always belongs to the sink's last frame."""


def run(
    source: Source,
    stylizer: Stylizer,
    sink: Sink,
    options: PipelineOptions = PipelineOptions(),
    on_frame: Callable[[int], None] = lambda count: None,
) -> int:
    """Stylize every frame of `source` and write it to `sink`; returns the number of frames, those done before included.

    Decoding, inference (on as many batches at once as the stylizer supports), post-processing and encoding run concurrently.
    Each is only a few batches ahead of the next, so memory use does not grow with the length of the video. At every cut the
    stylizer is adapted to the new shot. Where a frame's mask is 0 the frame stays as it was, whatever the post-processors did.

    `on_frame` is called with the running count. The sink is neither published nor closed. An error in any stage is raised
    here, after all threads have ended.
    """
    count = options.frames_done
    with closing(stylized_frames(source.frames(), stylizer, options, source.info.start_time)) as frames:
        for frame in frames:
            sink.write(frame)
            count += 1
            on_frame(count)
    return count


def stylized_frames(
    frames: Iterator[Frame],
    stylizer: Stylizer,
    options: PipelineOptions = PipelineOptions(),
    start_time: Fraction = Fraction(0),
) -> Generator[Frame, None, None]:
    """`frames`, stylized and post-processed, in order; see `run`. However this ends, its threads have ended and `frames` is
    closed.

    `start_time`: when the input begins, in seconds of its frames' clock.
    """
    concurrency, batch_size, ahead = (1, 1, 1) if options.lean else (stylizer.concurrency, options.batch_size, AHEAD)
    with ExitStack() as stack:
        executor = ThreadPoolExecutor(concurrency, "vidstyle-stylizer")
        stack.callback(executor.shutdown, cancel_futures=True)

        def prefetched(items: Iterator[T], depth: int) -> Iterator[T]:
            return stack.enter_context(closing(prefetch(items, depth)))

        decoded = prefetched(frames, ahead * batch_size)
        batches = shot_batches(decoded, batch_size, options.begins_shot)
        # Each item is a batch being stylized: as many as the stylizer works on at once, and some that wait for post-processing.
        submitted = _submitted(_with_stylizers(batches, stylizer, options), executor, start_time)
        stylized = prefetched(submitted, ahead + concurrency - 1)
        finished = _post_processed(stylized, options)
        has_work = bool(options.post_processors or options.metric)
        yield from prefetched(finished, ahead * batch_size) if has_work and not options.lockstep else finished


@dataclass(frozen=True)
class _Batch:
    """Frames of one shot, and the stylized images to come."""

    begins_shot: bool
    frames: list[Frame]
    stylized: Future[Pixels]


def _with_stylizers(
    batches: Iterator[tuple[bool, list[Frame]]], stylizer: Stylizer, options: PipelineOptions
) -> Iterator[tuple[bool, list[Frame], Stylizer]]:
    """The batches with the stylizer adapted to their shot, without the frames that are done."""
    first, current, adapted, done = None, None, options.first_stylizer, options.frames_done
    for begins_shot, batch in batches:
        if begins_shot:
            first, current, adapted = batch[0], adapted, None
        if done >= len(batch):
            done -= len(batch)
            continue
        if done:
            batch, begins_shot, done = batch[done:], False, 0
        if current is None:
            assert first is not None
            current, first = stylizer.for_shot(options.sample_shot(first)), None
        yield begins_shot, batch, current


def _submitted(
    batches: Iterator[tuple[bool, list[Frame], Stylizer]], executor: ThreadPoolExecutor, start_time: Fraction
) -> Iterator[_Batch]:
    """The batches, submitted to the executor, split where the stylizer changes with the time."""
    for begins_shot, batch, for_shot in batches:
        timed = [(for_shot.at(float(frame.pts * frame.time_base - start_time)), frame) for frame in batch]
        for _, group in groupby(timed, key=lambda pair: id(pair[0])):
            pairs = list(group)
            stylizer, frames = pairs[0][0], [frame for _, frame in pairs]
            yield _Batch(begins_shot, frames, executor.submit(stylizer.stylize, [frame.pixels for frame in frames]))
            begins_shot = False


def _post_processed(batches: Iterator[_Batch], options: PipelineOptions) -> Iterator[Frame]:
    for batch in batches:
        begins_shot = batch.begins_shot
        for frame, pixels in zip(batch.frames, batch.stylized.result(), strict=True):
            for post_processor in options.post_processors:
                pixels = post_processor.process(frame.pixels, pixels, begins_shot)
            if frame.mask is not None:
                pixels = masked(frame.pixels, pixels, frame.mask)
            if options.metric is not None:
                options.metric.process(frame.pixels, pixels, begins_shot)
            yield replace(frame, pixels=pixels)
            begins_shot = False
