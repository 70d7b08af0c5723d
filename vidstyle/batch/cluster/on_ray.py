"""Workers on a Ray cluster. The only importer of ray [extra: ray]."""

from __future__ import annotations

import io
import logging
import os
import socket
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from vidstyle import __version__
from vidstyle.batch.cluster.engine import Crashed, Failed, Frames, Lost, Task, answer
from vidstyle.batch.cluster.worker import Model, SharedFile, Worker
from vidstyle.core.errors import DeviceError, MissingExtraError
from vidstyle.core.files import is_url

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told that somebody stylizes
try:
    import ray
    from ray.exceptions import RayActorError, RayError
except ImportError as error:
    raise MissingExtraError("--cluster", "ray") from error

log = logging.getLogger(__name__)

CORES = 4
"""Of a worker without a GPU, at most: more do not make one net faster (see `stylizers.onnx`)."""
CORES_BESIDE_GPU = 4
"""Of a worker with a GPU, for decoding and encoding."""

BLOCK = 8 << 20
"""Bytes of the pieces in which a file is sent to machines that do not have it."""

_PATIENCE_SECONDS = 1.0
_KNOCK_SECONDS = 10.0


class RayWorkers:
    """See `vidstyle.batch.cluster.engine.Engine`. `address`: `local` (a cluster of this machine, for this run), `auto` (the one that
    this machine belongs to) or where one is. `workers` None: as many as the cluster has room for.

    Raises `DeviceError` where there is no such cluster, or no room for a single worker.
    """

    def __init__(self, models: Mapping[str, Model], address: str, workers: int | None = None, gpu: bool = True) -> None:
        self._connected = not ray.is_initialized()
        if self._connected:
            _connect(address)
        try:
            self._resources, room = _room(workers, gpu)
            self.workers = workers or room
            self._models = ray.put(dict(models))
            self._free: list[Any] = []
            self._coming = dict(self._actor() for _ in range(self.workers))
        except BaseException:
            if self._connected:
                ray.shutdown()
            raise
        self._number = 0
        self._busy: dict[int, tuple[Any, Any]] = {}
        self._asked: dict[Any, int] = {}

    def _actor(self) -> tuple[Any, Any]:
        """A new worker, and before it what is there as soon as it has been started: there may be no room for it yet, or after
        the loss of a machine never again."""
        # Two calls at once: one works, the other tells how far it is.
        kind: Any = ray.remote(_Actor)
        actor = kind.options(max_concurrency=2, **self._resources).remote(
            self._models, int(self._resources["num_cpus"]), __version__
        )
        return actor.frames.remote(), actor

    def start(self, task: Task) -> int | None:
        if self._coming:
            come, _ = ray.wait(list(self._coming), num_returns=len(self._coming), timeout=0)
            self._free += [self._coming.pop(ref) for ref in come]
        if not self._free:
            return None
        actor = self._free.pop()
        self._number += 1
        self._busy[self._number] = actor, actor.do.remote(_absolute(task))
        return self._number

    def answers(self) -> list[tuple[int, Any]]:
        working = {ref: number for number, (_, ref) in self._busy.items()}
        if not working:
            return []
        ready, _ = ray.wait([*working, *self._asked], num_returns=1, timeout=_PATIENCE_SECONDS)
        found: list[tuple[int, Any]] = []
        for ref in ready:
            number = working.get(ref) or self._asked.pop(ref)
            said = _got(ref)
            if ref in working:
                actor, _ = self._busy.pop(number)
                if isinstance(said, Lost):
                    ray.kill(actor)  # it may be out of reach only
                    self._coming |= dict([self._actor()])
                else:
                    self._free.append(actor)
                found.append((number, said))
            elif number in self._busy and isinstance(said, Frames):
                found.append((number, said))
        if not ready:
            asked = set(self._asked.values())
            self._asked |= {actor.frames.remote(): n for n, (actor, _) in self._busy.items() if n not in asked}
        return found

    def share(self, path: str) -> SharedFile:
        with open(path, "rb") as file:
            blocks = []
            while data := file.read(BLOCK):
                blocks.append(ray.put(data))
            return _Blocks(blocks, file.tell())

    def close(self) -> None:
        actors = [actor for actor, _ in self._busy.values()] + self._free + list(self._coming.values())
        self._busy, self._free, self._coming, self._asked = {}, [], {}, {}
        for actor in actors:
            ray.kill(actor)
        if self._connected:
            ray.shutdown()


@dataclass(frozen=True)
class _Blocks:
    """A file in the cluster's memory, in pieces: each machine fetches those that it reads, once."""

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
    """A worker that keeps its nets from one task to the next."""

    def __init__(self, models: Mapping[str, Model], cores: int, version: str) -> None:
        if version != __version__:
            raise RuntimeError(f"expected vidstyle {version} as where the run was started, found {__version__}")
        self._worker = Worker(models, cores)
        self._count = 0

    def do(self, task: Task) -> Any:
        self._count = 0
        return answer(self._worker, task, self._tell)

    def _tell(self, count: int) -> None:
        self._count = count

    def frames(self) -> Frames:
        return Frames(self._count)


def _connect(address: str) -> None:
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        _knock(address)
        with warnings.catch_warnings(action="ignore"):  # what it warns of it raises too
            if address == "local":
                quiet["include_dashboard"] = False  # which belongs to whoever starts a cluster
            ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DeviceError(f"expected a Ray cluster at {address}, could not reach one ({reason})") from error


def _knock(address: str) -> None:
    """Raise `OSError` where nobody is at an address that names a port: Ray asks for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK_SECONDS).close()


def _room(workers: int | None, gpu: bool) -> tuple[dict[str, float], int]:
    """What a worker asks the cluster for, and how many of them have room."""
    everything: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    nodes = [node["Resources"] for node in everything if node["Alive"]]
    if gpu and any(node.get("GPU", 0) for node in nodes):
        each = {"num_gpus": 1, "num_cpus": float(min(CORES_BESIDE_GPU, *(n["CPU"] // n["GPU"] for n in nodes if n.get("GPU"))))}
        room = sum(int(min(n.get("GPU", 0), n.get("CPU", 0) // max(1, each["num_cpus"]))) for n in nodes)
    else:
        most = max((int(n.get("CPU", 0)) for n in nodes), default=0)
        if workers is not None:
            cores = min(CORES, most, sum(int(n.get("CPU", 0)) for n in nodes) // workers)
        else:  # two on a machine at least: one stylizes while the other begins or ends a part
            cores = min(CORES, most // 2)
        each = {"num_cpus": float(max(1, cores))}
        room = sum(int(n.get("CPU", 0) // each["num_cpus"]) for n in nodes)
    if room < 1:
        raise DeviceError("expected a Ray cluster with a free core, found none")
    return each, room


def _absolute(task: Task) -> Task:
    """`task`, whose paths lead to the same files from the workers' current folder, which is another."""
    video = task.video
    input = video.input if is_url(video.input) else os.path.abspath(video.input)
    return replace(task, video=replace(video, input=input, output=os.path.abspath(video.output)))


def _got(ref: Any) -> Any:
    try:
        return ray.get(ref)
    except RayActorError as error:
        if getattr(error, "actor_init_failed", False):  # so would any other
            return Failed(DeviceError(f"a worker could not be started on the cluster ({_last_line(error)})"))
        return Lost()
    except RayError as error:
        return Crashed(str(error))


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip() if str(error).strip() else type(error).__name__
