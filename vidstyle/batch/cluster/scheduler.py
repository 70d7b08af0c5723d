"""Several workers on the jobs of one run: processes of this machine, or a Ray cluster [extra: ray].

Whole files are tasks; long videos are divided (`chunks.py`) into parts that are stylized apart (`worker.py`) and joined here
without encoding again. Only what is encoded travels.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from vidstyle.batch.claims import Admitted, admit
from vidstyle.batch.cluster.worker_pool import TaskCrashed, WorkerPool, TaskFailed, Frames, WorkerDied, WithLog
from vidstyle.batch.cluster.job_tasks import PlannedTask, Production
from vidstyle.batch.cluster.worker import Model, FileNotOnWorkerError, SharedFile, facts_of
from vidstyle.batch.runner import WAIT_SECONDS, foreseeing
from vidstyle.conversion.convert import Result
from vidstyle.conversion.job import Job, JobResult, Reporter
from vidstyle.core.concurrency import background
from vidstyle.core.errors import DeviceError, InputError, VidstyleError
from vidstyle.core.frames import VideoInfo
from vidstyle.core.hardware import usable_cores
from vidstyle.core.options import ClusterOptions, ConvertOptions
from vidstyle.media.container import reading
from vidstyle.styles.catalog import find_style
from vidstyle.styles.spec import styles_in

log = logging.getLogger(__name__)

TRIES = 3
"""A task whose worker died is given to another, so many times in all: it may be what kills them."""


def open_worker_pool(styles: Sequence[str], options: ConvertOptions, cluster: ClusterOptions) -> WorkerPool:
    """The workers that `cluster` asks for; to be closed.

    Raises `StyleError` for a style that is not there, `DeviceError` for a cluster that cannot be reached, `MissingExtraError`.
    """
    names = dict.fromkeys(name for style in styles for name in styles_in(style))
    models = {name: Model(path.name, path.read_bytes()) for name, path in ((n, find_style(n)) for n in names)}
    if cluster.address is not None:
        from vidstyle.batch.cluster.ray_pool import RayPool

        return RayPool(models, cluster.address, cluster.workers, gpu=options.style.device != "cpu")
    from vidstyle.batch.cluster.process_pool import ProcessPool

    workers = cluster.workers or 1
    return ProcessPool(models, workers, max(1, usable_cores() // workers))


def run_jobs(
    jobs: Sequence[Job],
    engine: WorkerPool,
    options: ConvertOptions,
    reporter: Reporter,
    chunk_seconds: float,
    check: Callable[[], None] = lambda: None,
) -> list[JobResult]:
    """As `folder.run_jobs`, by the workers of `engine`; videos much longer than `chunk_seconds` are divided. `check` is called
    about once a second, and may raise to end the work."""
    job_results: dict[Job, JobResult] = {}

    def settle(job_result: JobResult) -> None:
        job_results[job_result.job] = job_result
        reporter.done(job_result)

    reporter.expect(jobs)
    with ExitStack() as stack:
        stack.enter_context(foreseeing(jobs, reporter))
        office = _Office(engine, options, reporter, settle, chunk_seconds)
        stack.callback(office.close)
        try:
            office.work_off(jobs, check)
        except KeyboardInterrupt:
            log.warning("the finished parts are kept; the same command goes on from there")
            raise
    return [job_results[job] for job in jobs]


class _Office:
    """Gives out tasks, takes in answers, publishes aside."""

    def __init__(
        self,
        engine: WorkerPool,
        options: ConvertOptions,
        reporter: Reporter,
        settle: Callable[[JobResult], None],
        chunk_seconds: float,
    ) -> None:
        self._engine, self._options, self._reporter = engine, options, reporter
        self._settle, self._chunk_seconds = settle, chunk_seconds
        self._aside = background()
        self._desks: list[_Desk] = []
        self._out: dict[int, tuple[_Desk, _Ticket]] = {}
        self._noted = set[str]()

    def work_off(self, jobs: Sequence[Job], check: Callable[[], None]) -> None:
        """Do all jobs; those that other runs are at are waited for."""
        coming, elsewhere = deque(jobs), list[Job]()
        looked = time.monotonic()
        while coming or elsewhere or self._desks:
            check()
            if elsewhere and time.monotonic() - looked >= WAIT_SECONDS:
                coming.extend(elsewhere)
                elsewhere, looked = [], time.monotonic()
            while coming and self._is_hungry():
                check()
                job = coming.popleft()
                if not self._take_on(job):
                    elsewhere.append(job)
            self._give_out()
            if self._out:
                for number, said in self._engine.answers():
                    self._take_in(number, said)
            elif self._desks or elsewhere:
                if not self._desks:
                    self._reporter.stage("waiting for another run", len(jobs) - len(elsewhere), len(jobs), None)
                time.sleep(WAIT_SECONDS / 10)
            self._look_after_published()

    def _is_hungry(self) -> bool:
        """Whether more has to be begun so that no worker waits."""
        return sum(len(desk.waiting) for desk in self._desks) + len(self._out) <= self._engine.workers

    def _take_on(self, job: Job) -> bool:
        """Begin with a job; whether it is ours."""
        admitted = admit(job, self._options, shared=True)
        if isinstance(admitted, JobResult):
            self._settle(admitted)
        if not isinstance(admitted, Admitted):
            return admitted is not None
        try:
            desk = _Desk(admitted, self._chunk_seconds, self._reporter)
        except VidstyleError as error:  # the input has just gone
            admitted.close()
            self._settle(JobResult(job, error=error))
            return True
        self._desks.append(desk)
        self._advance(desk, desk.begin)
        return True

    def _give_out(self) -> None:
        for desk in self._desks:  # the first come first: their outputs are wanted first
            while desk.waiting:
                number = self._engine.start(desk.waiting[0].order.task)
                if number is None:
                    return
                self._out[number] = desk, desk.waiting.popleft()

    def _take_in(self, number: int, said: Any) -> None:
        desk, ticket = self._out[number]
        if isinstance(said, Frames):
            desk.tell(number, said.count)
            return
        del self._out[number]
        desk.tell(number, 0)
        if isinstance(said, WithLog):
            for level, text in said.notes:
                self._note(level, text)
            said = said.answer
        if isinstance(said, TaskCrashed):
            raise RuntimeError(f"a worker crashed at {desk.job.input}:\n{said.trace}")
        if desk not in self._desks or ticket.round != desk.round:
            return  # of a job that failed meanwhile, or takes another way
        if isinstance(said, WorkerDied):
            said = desk.again(ticket)
            if said is None:
                return
        if isinstance(said, TaskFailed):
            error = said.error
            if isinstance(error, FileNotOnWorkerError) and ticket.order.task.video.shared is None:
                self._advance(desk, lambda: desk.send_file(ticket, self._engine))
                return
            self._advance(desk, lambda: desk.fail(error))
        else:
            self._advance(desk, lambda: desk.receive(ticket, said))

    def _note(self, level: int, text: str) -> None:
        """What a worker logs, each word once: every worker says what there is to say of a model."""
        if text not in self._noted:
            self._noted.add(text)
            log.log(level, "%s", text)

    def _advance(self, desk: _Desk, step: Callable[[], None]) -> None:
        try:
            step()
        except VidstyleError as error:
            self._leave(desk, JobResult(desk.job, error=error))
            return
        if desk.publish is not None and desk.published is None:
            desk.published = self._aside.submit(desk.publish)

    def _look_after_published(self) -> None:
        for desk in [d for d in self._desks if d.published is not None and d.published.done()]:
            assert desk.published is not None
            try:
                job_result = JobResult(desk.job, desk.published.result())
            except VidstyleError as error:
                job_result = JobResult(desk.job, error=error)
            self._leave(desk, job_result)

    def _leave(self, desk: _Desk, job_result: JobResult) -> None:
        self._desks.remove(desk)
        desk.close()
        self._settle(job_result)

    def close(self) -> None:
        self._aside.shutdown()
        for desk in self._desks:
            desk.close()


class _Ticket:
    """An order on its way: its place among the others of the same step, and how often it was tried."""

    def __init__(self, order: PlannedTask, place: int, round: int) -> None:
        self.order, self.place, self.round, self.tries = order, place, round, 0


class _Desk:
    """One job: the orders of its present step, and what has come of them."""

    def __init__(self, admitted: Admitted, chunk_seconds: float, reporter: Reporter) -> None:
        self.job, self._reporter = admitted.job, reporter
        self._production = Production(admitted, chunk_seconds, self._start, self._frames)
        self._steps = self._production.steps()
        self._results: list[Any] = []
        self._left = self._done = self.round = 0
        self._started = False
        self._shared: SharedFile | None = None
        self._under_way: dict[int, int] = {}
        self.waiting: deque[_Ticket] = deque()
        self.publish: Callable[[], Result] | None = None
        self.published: Future[Result] | None = None

    def begin(self) -> None:
        """The first step's orders."""
        self._step(lambda: next(self._steps))

    def receive(self, ticket: _Ticket, result: Any) -> None:
        """One order is done; with the last one the next step begins."""
        self._results[ticket.place] = ticket.order.keep(result)
        self._left -= 1
        if not self._left:
            self._step(lambda: self._steps.send(self._results))

    def fail(self, error: VidstyleError) -> None:
        """One order failed: raises, unless the job knows another way."""
        self._step(lambda: self._steps.throw(error))

    def send_file(self, ticket: _Ticket, engine: WorkerPool) -> None:
        """An order's worker does not have the file: it gets it with the order."""
        if self._shared is None:
            if facts_of(self.job.input) != ticket.order.task.video.facts:
                raise InputError(f"another file has taken the place of {self.job.input}")
            with reading(self.job.input):
                self._shared = engine.share(self.job.input)
        task = ticket.order.task
        task = replace(task, video=replace(task.video, shared=self._shared))
        ticket.order = replace(ticket.order, task=task)
        self.waiting.appendleft(ticket)

    def again(self, ticket: _Ticket) -> TaskFailed | None:
        """An order's worker died: another one takes it."""
        ticket.tries += 1
        if ticket.tries == TRIES:
            return TaskFailed(DeviceError(f"{TRIES} workers died one after the other at {self.job.input}"))
        self.waiting.appendleft(ticket)
        return None

    def _step(self, take: Callable[[], list[PlannedTask]]) -> None:
        self.round += 1
        self.waiting.clear()
        orders: list[PlannedTask] = []
        try:
            orders = take()
            while not orders:
                orders = self._steps.send([])
        except StopIteration as stop:
            self.publish = stop.value
        self._results, self._left = [None] * len(orders), len(orders)
        self.waiting.extend(_Ticket(order, place, self.round) for place, order in enumerate(orders))

    def tell(self, number: int, count: int) -> None:
        """So many frames of a task are done, or it is over."""
        if not count:
            self._under_way.pop(number, None)
        elif self._started:
            self._under_way[number] = count
            self._reporter.frame(self.job, self._done + sum(self._under_way.values()))

    def _start(self, info: VideoInfo) -> None:
        self._started = True
        self._reporter.start(self.job, info)

    def _frames(self, count: int) -> None:
        self._done = count
        self._reporter.frame(self.job, count + sum(self._under_way.values()))

    def close(self) -> None:
        """Let go of the output."""
        self._steps.close()
        self._production.close()
