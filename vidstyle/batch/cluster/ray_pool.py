"""A worker pool on a Ray cluster. The only importer of ray [extra: ray]."""

from __future__ import annotations

import io
import logging
import os
import secrets
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from vidstyle import __version__
from vidstyle.batch.cluster.ray_guard import guarded_processes, set_variables, signal_handlers_kept
from vidstyle.batch.cluster.worker import Model, SharedFile, Worker
from vidstyle.batch.cluster.worker_pool import Progress, Task, TaskFailed, WorkerDied, run_task
from vidstyle.core.errors import DeviceError, MissingExtraError, expected
from vidstyle.core.files import is_url

try:
    import ray
    from ray.exceptions import RayActorError, RayError
except ImportError as error:
    raise MissingExtraError("--cluster", "ray") from error

log = logging.getLogger(__name__)

CORES = 4
"""Maximum for a worker without a GPU: more do not make a single network faster (see `stylizers.onnx`)."""
CORES_BESIDE_GPU = 4
"""Maximum for a worker with a GPU, for decoding and encoding."""

BLOCK = 8 << 20
"""Size in bytes of the blocks in which a file is sent to machines that do not have it."""

_WAIT_SECONDS = 1.0
_REQUEST_SECONDS = 10.0


class RayPool:
    """See `vidstyle.batch.cluster.worker_pool.WorkerPool`. `address` is `local` (start a cluster on this machine for this run),
    `auto` (the cluster that this machine belongs to) or the address of a cluster. `workers` None: as many as fit.

    Raises `DeviceError` if there is no such cluster, or no room for a single worker.
    """

    def __init__(self, models: Mapping[str, Model], address: str, workers: int | None = None, gpu: bool = True) -> None:
        with ExitStack() as stack:
            if not ray.is_initialized():
                stack.enter_context(_connection(address))
            self._resources, room = _resources(workers, gpu)
            self.workers = workers or room
            self._models = ray.put(dict(models))
            self._idle: list[Any] = []
            self._starting = dict(self._actor() for _ in range(self.workers))
            self._connection = stack.pop_all()
        self._number = 0
        self._busy: dict[int, tuple[Any, Any]] = {}
        self._progress_requests: dict[Any, int] = {}

    def _actor(self) -> tuple[Any, Any]:
        """A future that is ready as soon as the new worker has been started, and the worker: there may be no room for it yet,
        or never again after the loss of a machine."""
        # Two concurrent calls: one for the task, the other for its progress.
        kind: Any = ray.remote(_Actor)
        actor = kind.options(max_concurrency=2, **self._resources).remote(
            self._models, int(self._resources["num_cpus"]), __version__
        )
        return actor.progress.remote(), actor

    def start(self, task: Task) -> int | None:
        if self._starting:
            started, _ = ray.wait(list(self._starting), num_returns=len(self._starting), timeout=0)
            self._idle += [self._starting.pop(ref) for ref in started]
        if not self._idle:
            return None
        actor = self._idle.pop()
        self._number += 1
        self._busy[self._number] = actor, actor.run.remote(_with_absolute_paths(task))
        return self._number

    def results(self) -> list[tuple[int, Any]]:
        numbers = {ref: number for number, (_, ref) in self._busy.items()}
        if not numbers:
            return []
        ready, _ = ray.wait([*numbers, *self._progress_requests], num_returns=1, timeout=_WAIT_SECONDS)
        results: list[tuple[int, Any]] = []
        for ref in ready:
            number = numbers.get(ref) or self._progress_requests.pop(ref)
            result = _get(ref)
            if ref in numbers:
                self._release(number, died=isinstance(result, WorkerDied))
                results.append((number, result))
            elif number in self._busy and isinstance(result, Progress):
                results.append((number, result))
        if not ready:
            self._request_progress()
        return results

    def _release(self, number: int, died: bool) -> None:
        """A task has ended: its worker is idle again, or has to be replaced."""
        actor, _ = self._busy.pop(number)
        if died:
            ray.kill(actor)  # it may only be unreachable
            self._starting |= dict([self._actor()])
        else:
            self._idle.append(actor)

    def _request_progress(self) -> None:
        requested = set(self._progress_requests.values())
        self._progress_requests |= {
            actor.progress.remote(): number for number, (actor, _) in self._busy.items() if number not in requested
        }

    def share_file(self, path: str) -> SharedFile:
        with open(path, "rb") as file:
            blocks = []
            while data := file.read(BLOCK):
                blocks.append(ray.put(data))
            return _Blocks(blocks, file.tell())

    def close(self) -> None:
        actors = [actor for actor, _ in self._busy.values()] + self._idle + list(self._starting.values())
        self._busy, self._idle, self._starting, self._progress_requests = {}, [], {}, {}
        for actor in actors:
            ray.kill(actor)
        self._connection.close()


@dataclass(frozen=True)
class _Blocks:
    """A file in the object store of the cluster; each machine fetches only the blocks that it reads, once."""

    refs: list[Any]
    size: int

    def open(self) -> BinaryIO:
        return io.BufferedReader(_BlockReader(self), 1 << 16)


class _BlockReader(io.RawIOBase):
    def __init__(self, blocks: _Blocks) -> None:
        self._blocks, self._at = blocks, 0
        self._number, self._data = -1, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._blocks.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        number, begin = divmod(self._at, BLOCK)
        if number >= len(self._blocks.refs):
            return 0
        if number != self._number:
            self._number, self._data = number, ray.get(self._blocks.refs[number])
        data = self._data[begin : begin + len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class _Actor:
    """A worker that keeps its models from one task to the next."""

    def __init__(self, models: Mapping[str, Model], cores: int, version: str) -> None:
        if version != __version__:
            raise RuntimeError(f"expected vidstyle {version} as on the machine where the run was started, found {__version__}")
        self._worker = Worker(models, cores)
        self._frames = 0

    def run(self, task: Task) -> Any:
        self._frames = 0
        return run_task(self._worker, task, self._report)

    def _report(self, frames: int) -> None:
        self._frames = frames

    def progress(self) -> Progress:
        return Progress(self._frames)


@contextmanager
def _connection(address: str) -> Iterator[None]:
    """Connect to a cluster; `local` starts one, which ends with the block or with this process."""
    with ExitStack() as stack:
        variables: dict[str, str] = {}
        if address == "local":
            # Without a token of its own, Ray writes one into the user's home folder.
            variables = {"RAY_AUTH_TOKEN": secrets.token_hex(32), **stack.enter_context(guarded_processes())}
        stack.callback(ray.shutdown)
        with set_variables(variables), signal_handlers_kept():
            _connect(address)
        yield


def _connect(address: str) -> None:
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        _request(address)
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings(action="ignore"))  # it also raises what it warns of
            if address == "local":
                # Even without a dashboard Ray starts a process that looks a cloud's metadata up; if its port is taken, it does
                # not, and logs an error.
                taken = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
                options |= {"dashboard_port": taken.getsockname()[1], "logging_level": logging.CRITICAL}
                options["include_dashboard"] = False
            ray.init(address=address, **options)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DeviceError(f"could not reach a Ray cluster at {address} ({reason})") from error


def _request(address: str) -> None:
    """Raise `OSError` if nothing answers at an address that names a port; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _REQUEST_SECONDS).close()


def _resources(workers: int | None, gpu: bool) -> tuple[dict[str, float], int]:
    """The resources of one worker, and for how many workers the cluster has room."""
    everything: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    nodes = [node["Resources"] for node in everything if node["Alive"]]
    if gpu and any(node.get("GPU", 0) for node in nodes):
        each = {"num_gpus": 1, "num_cpus": float(min(CORES_BESIDE_GPU, *(n["CPU"] // n["GPU"] for n in nodes if n.get("GPU"))))}
        room = sum(int(min(n.get("GPU", 0), n.get("CPU", 0) // max(1, each["num_cpus"]))) for n in nodes)
    else:
        max_cores = max((int(n.get("CPU", 0)) for n in nodes), default=0)
        if workers is not None:
            cores = min(CORES, max_cores, sum(int(n.get("CPU", 0)) for n in nodes) // workers)
        else:  # at least two workers on each machine: one stylizes while the other begins or ends a chunk
            cores = min(CORES, max_cores // 2)
        each = {"num_cpus": float(max(1, cores))}
        room = sum(int(n.get("CPU", 0) // each["num_cpus"]) for n in nodes)
    if room < 1:
        raise DeviceError("the Ray cluster has no free core")
    return each, room


def _with_absolute_paths(task: Task) -> Task:
    """`task` with absolute paths, because workers run in another folder."""
    job = task.job
    input = job.input if is_url(job.input) else os.path.abspath(job.input)
    return replace(task, job=replace(job, input=input, output=os.path.abspath(job.output)))


def _get(ref: Any) -> Any:
    try:
        return ray.get(ref)
    except RayActorError as error:
        if getattr(error, "actor_init_failed", False):  # any other worker would fail too
            return TaskFailed(DeviceError(f"a worker could not be started on the cluster ({_last_line(error)})"))
        return WorkerDied()
    except RayError as error:
        return TaskFailed(expected(error))


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip() if str(error).strip() else type(error).__name__
