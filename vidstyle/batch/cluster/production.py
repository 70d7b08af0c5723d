"""One job on its way through the workers: looked at, looked through, divided, stylized, joined."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from vidstyle.batch.claims import Admitted
from vidstyle.batch.cluster.chunks import LEAD, Chunk, Stretch, Survey, boundaries, divide, fit_together, windows
from vidstyle.batch.cluster.engine import Task
from vidstyle.batch.cluster.worker import DividedError, Film, Painted, Statistics, Whole, facts_of
from vidstyle.conversion import provenance
from vidstyle.conversion.convert import Result, work_fingerprint
from vidstyle.core.files import is_url, writing
from vidstyle.core.frames import VideoInfo
from vidstyle.sinks import companion_of, open_segmented_file
from vidstyle.sinks.publish import Unpublished
from vidstyle.sinks.segment_folder import holds_plan
from vidstyle.sinks.segments import EncodedSegment, SegmentedFile
from vidstyle.sources import is_image

log = logging.getLogger(__name__)

_LONG = 1.5
"""Videos of so many times a chunk's length are divided."""


@dataclass(frozen=True)
class Order:
    """A task of a job. `keep` is called with its result as soon as it is there, and gives what is to be remembered of it."""

    task: Task
    keep: Callable[[Any], Any] = lambda result: result


Steps = Generator[list[Order], list[Any], Callable[[], Result]]
"""Yields orders that may be done in any order, is sent their results, and returns what is left to do without a worker."""


class Production:
    """The job's steps. `on_start` gets the input's facts, `on_frames` the number of frames done once and for all.

    `chunk_seconds` is about how long the parts of a divided video are. To be closed.
    """

    def __init__(
        self,
        admitted: Admitted,
        chunk_seconds: float,
        on_start: Callable[[VideoInfo], None],
        on_frames: Callable[[int], None],
    ) -> None:
        job, options = admitted.job, admitted.options
        self.job, self._options, self._admitted = job, options, admitted
        self._seconds, self._on_start, self._on_frames = chunk_seconds, on_start, on_frames
        options = replace(options, resume=options.resume or "long")
        if options.mask is not None:  # a worker may be in another folder
            options = replace(options, mask=os.path.abspath(options.mask))
        self._video = Film(job.input, str(job.output), options, admitted.fingerprint, facts_of(job.input))
        self._file: SegmentedFile | None = None
        self._began = time.monotonic()
        self._started = False
        self._done = 0

    def steps(self) -> Steps:
        """Everything that is to be done."""
        job, options = self.job, self._options
        if is_image(job.input) or is_url(job.input):
            return (yield from self._whole())
        is_whole = options.report or job.output.suffix.lower() == ".gif"
        (survey,) = yield [self._order("survey", math.inf if is_whole else _LONG * self._seconds)]
        self._start(survey.info)
        chunks = (yield from self._divided(survey)) if len(survey.keyframes) > 1 else []
        if not chunks:
            return (yield from self._whole())
        try:
            return (yield from self._stylized(_brief(survey), chunks))
        except DividedError:
            log.warning("%s does not read the same in parts: it is stylized in one piece", job.input)
            self._forget()
            return (yield from self._whole())

    def _start(self, info: VideoInfo) -> None:
        if not self._started:
            self._started = True
            self._on_start(info)

    def _order(self, method: str, *arguments: Any, keep: Callable[[Any], Any] = lambda result: result) -> Order:
        return Order(Task(method, self._video, arguments), keep)

    def _whole(self) -> Steps:
        (whole,) = yield [self._order("whole")]
        assert isinstance(whole, Whole)
        self._start(whole.info)
        self._on_frames(whole.result.frames)

        def publish() -> Result:
            if whole.data is not None:
                file = Unpublished(self.job.output, self._options.overwrite)
                try:
                    with writing(self.job.output):
                        file.path.write_bytes(whole.data)
                    file.publish()
                finally:
                    file.discard()
            return replace(whole.result, output=self.job.output)

        return publish

    def _open(self, survey: Survey) -> SegmentedFile:
        job, options = self.job, self._options
        notes = {**work_fingerprint(job.input, options), "chunks": self._seconds}
        stamp = provenance.stamp(self._admitted.fingerprint) if self._admitted.fingerprint is not None else None
        companion = companion_of(job.input, survey.shift_seconds, options)
        return open_segmented_file(job.output, survey.info, options, notes, companion, stamp)

    def _divided(self, survey: Survey) -> Generator[list[Order], list[Any], list[Chunk]]:
        """The parts of the video, as an interrupted run left them, or as looking through it tells; none where it is to be
        stylized in one piece."""
        if holds_plan(self.job.output):  # else there may be work of a run in one piece, for another one to go on from
            self._file = self._open(survey)
            try:
                chunks = [Chunk.restored(stored) for stored in self._file.folder.plan or []]
            except (KeyError, TypeError):
                log.warning("the notes of the interrupted run cannot be read; beginning anew")
                self._file.folder.keep_first(0)
            else:
                if chunks:
                    return chunks
        return (yield from self._looked_through(survey))

    def _looked_through(self, survey: Survey) -> Generator[list[Order], list[Any], list[Chunk]]:
        ticks = round(self._seconds / survey.info.time_base)
        bounds = boundaries(survey.keyframes, ticks, survey.last)
        stretches: list[Stretch] = yield [
            self._order("look_through", _brief(survey), window) for window in (windows(bounds) if bounds else [])
        ]
        if not stretches or not fit_together(stretches):
            log.info("%s does not read the same in parts: it is stylized in one piece", self.job.input)
            self._forget()
            return []
        chunks = divide(stretches, survey, ticks, LEAD if self._options.stabilize != "off" else 0)
        self._file = self._file or self._open(survey)
        self._file.folder.plan = [chunk.stored() for chunk in chunks]
        self._file.folder.write()
        return chunks

    def _stylized(self, survey: Survey, chunks: list[Chunk]) -> Steps:
        assert self._file is not None
        file = self._file
        finished = file.folder.segments
        self._count(sum(len(segment["packets"]) for segment in finished.values()))
        left = [chunk for chunk in chunks if chunk.number not in finished]
        firsts = sorted({chunk.under_way for chunk in left if chunk.under_way is not None})
        learnt = yield [self._order("learn", survey, first) for first in firsts]
        statistics: dict[int | None, Statistics | None] = dict(zip(firsts, learnt, strict=True))
        stylized: list[Painted] = yield [
            self._order("paint", survey, chunk, statistics.get(chunk.under_way), keep=partial(self._keep, chunk.number))
            for chunk in left
        ]
        warnings = list(dict.fromkeys(text for part in stylized for text in part.warnings))
        damage = list(dict.fromkeys(text for part in stylized for text in part.damage))

        def publish() -> Result:
            file.publish(len(chunks))
            seconds = time.monotonic() - self._began
            return Result(self.job.output, self._done, seconds, warnings + file.warnings(), damage + file.damage())

        return publish

    def _keep(self, number: int, part: Painted) -> Painted:
        """A part is on the disk as soon as it is stylized, whatever becomes of the rest; in memory it stays no longer."""
        assert self._file is not None
        self._file.add(number, part.segment)
        self._count(part.frames)
        return replace(part, segment=EncodedSegment(b"", []))

    def _count(self, frames: int) -> None:
        self._done += frames
        self._on_frames(self._done)

    def _forget(self) -> None:
        if self._file is not None:
            self._file.folder.plan = None
            self._file.folder.keep_first(0)
            self._file.close()
            self._file = None
            self._count(-self._done)

    def close(self) -> None:
        """Let go of the output; finished parts are kept."""
        if self._file is not None:
            self._file.close()
        self._admitted.close()


def _brief(survey: Survey) -> Survey:
    """For the workers, who are not to be sent thousands of keyframes with every part."""
    return replace(survey, keyframes=[])
