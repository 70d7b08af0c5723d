"""The tasks that one job consists of, step by step: survey, scan, measure shots, stylize chunks, and join them."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vidstyle.batch.claims import ClaimedJob
from vidstyle.batch.cluster.chunks import (
    WARM_UP_FRAMES,
    Chunk,
    ScanResult,
    Survey,
    chunk_boundaries,
    divide,
    scans_agree,
    windows_between,
)
from vidstyle.batch.cluster.worker import ChunkMismatchError, ConvertedFile, Statistics, StylizedChunk, WorkerJob
from vidstyle.batch.cluster.worker_pool import Task
from vidstyle.conversion import provenance
from vidstyle.conversion.convert import Result, resume_key
from vidstyle.core.damage import descriptions, total
from vidstyle.core.errors import VidstyleError
from vidstyle.core.file_identity import check_unchanged
from vidstyle.core.files import is_url, writing
from vidstyle.core.frames import VideoInfo
from vidstyle.sinks import OtherStreams, open_segmented_file
from vidstyle.sinks.publish import UnpublishedFile
from vidstyle.sinks.segment_folder import has_plan
from vidstyle.sinks.segments import EncodedSegment, SegmentedFile
from vidstyle.sources import is_image

log = logging.getLogger(__name__)

_MIN_CHUNKS = 1.5
"""Only videos that are at least this many times as long as a chunk are divided."""


class JobTasks:
    """The tasks of one job. `tasks` are those of the current step, in any order; the result of each goes to `take_result`, and
    the last one begins the next step. After the last step there are no tasks, and `publish` is set.

    `on_start` is called with the input's properties, `on_frames` with the number of frames that are finished. Videos much longer
    than `chunk_seconds` are divided into chunks of about that length. To be closed.
    """

    def __init__(
        self,
        claimed: ClaimedJob,
        chunk_seconds: float,
        on_start: Callable[[VideoInfo], None],
        on_frames: Callable[[int], None],
    ) -> None:
        job, options = claimed.job, claimed.options
        self.job, self._options, self._claimed = job, options, claimed
        self._chunk_seconds, self._on_start, self._on_frames = chunk_seconds, on_start, on_frames
        options = replace(options, resume=options.resume or "long")
        if options.mask is not None:  # a worker may run in another folder
            options = replace(options, mask=os.path.abspath(options.mask))
        file = None if is_url(job.input) else next(iter(claimed.files), None)
        self._worker_job = WorkerJob(job.input, str(job.output), options, claimed.fingerprint, file)
        self._began = time.monotonic()
        self._started = False
        self._frames_done = 0
        self._file: SegmentedFile | None = None
        self._survey: Survey | None = None
        self._chunks: list[Chunk] = []
        self._shot_starts: list[int] = []
        self.step = 0
        """Counts the steps; results of tasks of an earlier step are of no use."""
        self.tasks: list[Task] = []
        self.publish: Callable[[], Result] | None = None
        """Finishes the job without a worker; set when all tasks are done."""
        self._results: list[Any] = []
        self._missing = 0
        self._finish_step: Callable[[list[Any]], None] = self._finish_survey

    def begin(self) -> None:
        """Begin the first step."""
        if is_image(self.job.input) or is_url(self.job.input):
            self._convert_whole()
            return
        is_divisible = not self._options.report and self.job.output.suffix.lower() != ".gif"
        shortest = _MIN_CHUNKS * self._chunk_seconds if is_divisible else math.inf
        self._begin_step([self._task("survey", shortest)], self._finish_survey)

    def take_result(self, index: int, result: Any) -> None:
        """The result of `tasks[index]`. A chunk is written to the disk at once and not kept in memory."""
        if isinstance(result, StylizedChunk):
            result = self._keep_chunk(self.tasks[index].arguments[1], result)
        self._results[index] = result
        self._missing -= 1
        if not self._missing:
            self._finish_step(self._results)

    def fail(self, error: VidstyleError) -> None:
        """A task failed with `error`: convert in one piece if the video turned out not to be divisible, else raise `error`."""
        check_unchanged(self._claimed.files)
        if not (isinstance(error, ChunkMismatchError) and self._chunks):
            raise error
        log.warning("%s does not decode to the same frames in chunks; it is stylized in one piece", self.job.input)
        self._discard_chunks()
        self._convert_whole()

    def close(self) -> None:
        """Release the output; finished chunks are kept."""
        if self._file is not None:
            self._file.close()
        self._claimed.close()

    def _task(self, method: str, *arguments: Any) -> Task:
        return Task(method, self._worker_job, arguments)

    def _begin_step(self, tasks: list[Task], finish: Callable[[list[Any]], None]) -> None:
        self.step += 1
        self.tasks, self._finish_step = tasks, finish
        self._results, self._missing = [None] * len(tasks), len(tasks)
        if not tasks:
            finish([])

    def _end(self, publish: Callable[[], Result]) -> None:
        self.step += 1
        self.tasks, self.publish = [], publish

    def _report_start(self, info: VideoInfo) -> None:
        if not self._started:
            self._started = True
            self._on_start(info)

    # In one piece

    def _convert_whole(self) -> None:
        self._begin_step([self._task("convert_whole")], self._finish_whole)

    def _finish_whole(self, results: list[Any]) -> None:
        (converted,) = results
        assert isinstance(converted, ConvertedFile)
        self._report_start(converted.info)
        self._on_frames(converted.result.frames)
        self._end(lambda: self._publish_whole(converted))

    def _publish_whole(self, converted: ConvertedFile) -> Result:
        if converted.data is not None:
            check_unchanged(self._claimed.files)
            file = UnpublishedFile(self.job.output, self._options.overwrite)
            try:
                with writing(self.job.output):
                    file.path.write_bytes(converted.data)
                file.publish()
            finally:
                file.discard()
        return replace(converted.result, output=self.job.output)

    # In chunks

    def _finish_survey(self, results: list[Any]) -> None:
        (survey,) = results
        self._report_start(survey.info)
        # The tasks need no keyframes, of which a video may have thousands.
        self._survey = replace(survey, keyframes=[])
        if len(survey.keyframes) < 2:
            self._convert_whole()
            return
        self._chunks = self._stored_chunks()
        if self._chunks:
            self._measure_shots()
            return
        ticks = round(self._chunk_seconds / survey.info.time_base)
        boundaries = chunk_boundaries(survey.keyframes, ticks, survey.last)
        windows = windows_between(boundaries) if boundaries else []
        scans = [self._task("scan", self._survey, window) for window in windows]
        self._begin_step(scans, lambda scans: self._finish_scan(survey, ticks, scans))

    def _stored_chunks(self) -> list[Chunk]:
        """The chunks of an interrupted run, if there was one."""
        if not has_plan(self.job.output):  # an unfinished conversion in one piece is for another one to resume
            return []
        self._file = self._open_file()
        try:
            return [Chunk.from_json(stored) for stored in self._file.folder.plan or []]
        except (KeyError, TypeError):
            log.warning("the manifest of the interrupted run cannot be read; starting over")
            self._file.folder.keep_first(0)
            return []

    def _open_file(self) -> SegmentedFile:
        assert self._survey is not None
        job, options = self.job, self._options
        key = {**resume_key(job.input, options), "chunks": self._chunk_seconds}
        stamp = provenance.stamp(self._claimed.fingerprint) if self._claimed.fingerprint is not None else None
        others = OtherStreams(job.input, self._survey.shift_seconds, options, self._claimed.files)
        return open_segmented_file(job.output, self._survey.info, options, key, others, stamp)

    def _finish_scan(self, survey: Survey, ticks: int, scans: list[ScanResult]) -> None:
        if not scans or not scans_agree(scans):
            log.info("%s does not decode to the same frames in chunks; it is stylized in one piece", self.job.input)
            self._discard_chunks()
            self._convert_whole()
            return
        self._chunks = divide(scans, survey, ticks, WARM_UP_FRAMES if self._options.stabilize != "off" else 0)
        self._file = self._file or self._open_file()
        self._file.folder.plan = [chunk.to_json() for chunk in self._chunks]
        self._file.folder.write()
        self._measure_shots()

    def _measure_shots(self) -> None:
        """Shots that begin before a chunk are measured first, so that the chunk is stylized as the rest of its shot."""
        assert self._file is not None
        finished = self._file.folder.segments
        self._count(sum(len(segment["packets"]) for segment in finished.values()))
        starts = {chunk.earlier_shot_start for chunk in self._unfinished_chunks()}
        self._shot_starts = sorted(start for start in starts if start is not None)
        tasks = [self._task("shot_statistics", self._survey, start) for start in self._shot_starts]
        self._begin_step(tasks, self._stylize_chunks)

    def _unfinished_chunks(self) -> list[Chunk]:
        assert self._file is not None
        return [chunk for chunk in self._chunks if chunk.number not in self._file.folder.segments]

    def _stylize_chunks(self, results: list[Any]) -> None:
        statistics: dict[int | None, Statistics] = dict(zip(self._shot_starts, results, strict=True))
        tasks = [
            self._task("stylize_chunk", self._survey, chunk, statistics.get(chunk.earlier_shot_start))
            for chunk in self._unfinished_chunks()
        ]
        self._begin_step(tasks, lambda chunks: self._end(lambda: self._publish_chunks(chunks)))

    def _publish_chunks(self, stylized: list[StylizedChunk]) -> Result:
        assert self._file is not None
        warnings = list(dict.fromkeys(text for chunk in stylized for text in chunk.warnings))
        damage = descriptions(total(self._file.folder.damage()))
        self._file.publish(len(self._chunks))
        seconds = time.monotonic() - self._began
        warnings, damage = warnings + self._file.warnings(), damage + self._file.damage()
        return Result(self.job.output, self._frames_done, seconds, warnings, damage)

    def _keep_chunk(self, chunk: Chunk, stylized: StylizedChunk) -> StylizedChunk:
        assert self._file is not None
        self._file.add(chunk.number, stylized.segment, stylized.damage)
        self._count(stylized.frames)
        return replace(stylized, segment=EncodedSegment(b"", []))

    def _count(self, frames: int) -> None:
        self._frames_done += frames
        self._on_frames(self._frames_done)

    def _discard_chunks(self) -> None:
        self._chunks = []
        if self._file is not None:
            self._file.folder.plan = None
            self._file.folder.keep_first(0)
            self._file.close()
            self._file = None
            self._count(-self._frames_done)
