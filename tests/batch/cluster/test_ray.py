"""`--cluster`: workers of a real Ray cluster on this machine give the same output as processes, and are sent files they lack."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.cluster import (
    EVENLY,
    GROUPS,
    SIZE,
    WatchedPool,
    assert_divided,
    assert_reported_as,
    assert_stylized_as,
    convert_on,
    descendants,
    image_in_shots,
    kill_processes,
    options_of,
    run_job,
    wait_for_exit,
)
from tests.support.helpers import ROOT, environment, listing, write_clip
from tests.support.resumable import assert_same, content_of
from tests.support.runs import DONE, MODEL, STOPPED, finish, run_limited, start, wait_until
from tests.support.streams import mux
from vidstyle.batch.cluster.scheduler import open_worker_pool
from vidstyle.batch.cluster.worker import ConvertedFile, StylizedChunk
from vidstyle.batch.cluster.worker_pool import Task, WorkerPool
from vidstyle.core.errors import DeviceError
from vidstyle.core.options import ClusterOptions

ray = pytest.importorskip("ray")
ray_pool = pytest.importorskip("vidstyle.batch.cluster.ray_pool")

END_SECONDS = 10
"""How long processes of a cluster may outlive their run. Ray's agents would take half a minute and more."""

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")]


# --- the cluster and its workers


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of one node with two cores that has neither the styles of the tests nor their folder."""
    from ray.cluster_utils import Cluster

    here = Path.cwd()
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        patch.setenv("RAY_AUTH_MODE", "disabled")  # otherwise Ray writes a token into the home folder
        with pytest.MonkeyPatch.context() as elsewhere:
            elsewhere.setenv("PYTHONPATH", str(ROOT))
            elsewhere.delenv("VIDSTYLE_STYLES", raising=False)
            elsewhere.chdir("/")
            one = Cluster(initialize_head=True, head_node_args={**_node(2), "include_dashboard": False, "temp_dir": folder})
        assert Path.cwd() == here
        patch.setenv("RAY_ADDRESS", one.address)
        yield one
        started = [pid for pid in descendants(os.getpid()) if "ray" in _command_line(pid)]
        one.shutdown()
        wait_for_exit(started)


def _node(cores: int) -> dict[str, Any]:
    return {"num_cpus": cores, "object_store_memory": 100 << 20}


def _command_line(pid: int) -> str:
    """The command line of a process, empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def actors() -> list[int]:
    """The processes of vidstyle's workers on the cluster."""
    return [pid for pid in descendants(os.getpid()) if _command_line(pid).startswith("ray::_Actor")]


@pytest.fixture(scope="module")
def by_processes(video: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of two processes for a video: H.264, in chunks of a second."""
    output = tmp_path_factory.mktemp("processes") / "out.mp4"
    with closing(open_worker_pool(["tiny"], options_of(), ClusterOptions(2))) as pool:
        convert_on(pool, video("plain"), output, options_of(codec=None))
    return output


# --- the command line; before the tests that occupy the cluster with workers of their own


def test_unreachable_address_is_reported_in_one_sentence(video: Any, tmp_path: Path) -> None:
    shutil.copy(video("plain"), tmp_path / "in.mp4")
    for address in ("ray://127.0.0.1:1", "127.0.0.1:1"):
        job_result = run_limited("in.mp4", "--style", "tiny", "--cluster", address, "-q", cwd=tmp_path)
        assert job_result.code == MODEL, job_result
        assert job_result.stderr.startswith("error: ")
        assert len(job_result.stderr.splitlines()) == 1, job_result.stderr
        assert address in job_result.stderr
    assert listing(tmp_path) == ["in.mp4"]


def test_missing_ray_is_reported_with_the_name_of_the_extra(video: Any) -> None:
    code = """
import sys
sys.modules["ray"] = None  # as if it were not installed
from vidstyle.cli import run_command_line
print(run_command_line(["-q", *sys.argv[1:]]))
"""
    arguments = (str(video("plain")), "--style", "tiny", "--cluster", "local")
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=environment(), capture_output=True, text=True)
    assert done.stdout == f"{MODEL}\n", done.stderr
    assert "pip install 'vidstyle[ray]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("address", ["local", "auto"])
def test_cluster_writes_the_same_file_as_processes(
    cluster: Any, video: Any, by_processes: Path, tmp_path: Path, address: str
) -> None:
    shutil.copy(video("plain"), tmp_path / "in.mp4")
    arguments = ("in.mp4", "-o", "out.mp4", "--style", "tiny", "--cluster", address, "--workers", "2", "--chunk", "1", "-q")
    process = start(*arguments, cwd=tmp_path)
    pids = []
    if address == "local":  # a cluster of its own, although there is one
        wait_until(
            lambda: any("raylet" in _command_line(pid) for pid in descendants(process.pid)), process, "a cluster of its own"
        )
        pids = descendants(process.pid)
    job_result = finish(process)
    wait_for_exit(pids)
    assert job_result.code == DONE, job_result
    assert job_result.stderr == ""
    assert (tmp_path / "out.mp4").read_bytes() == by_processes.read_bytes()
    assert listing(tmp_path) == ["in.mp4", "out.mp4"]


def test_killed_run_leaves_no_workers_and_is_resumed_by_processes(cluster: Any, tmp_path: Path) -> None:
    clip: dict[str, Any] = {
        "times": range(72),
        "time_base": Fraction(1, 2),
        "options": {"g": "12"},
        "image": image_in_shots(17, 45),
        "audio": ["eng"],
    }
    write_clip(tmp_path / "in.mp4", **clip)
    arguments = ("in.mp4", "-o", "out.mp4", "--style", "tiny", "--height", "160", "--chunk", "6", "--workers", "2")
    work = tmp_path / ".out.mp4.resume"
    process = start(*arguments, "--cluster", "auto", cwd=tmp_path)
    wait_until(lambda: len(list(work.glob("*.nut"))) >= 2, process, "finished chunks")
    pids = actors()
    assert len(pids) == 2
    before = sorted(work.glob("*.nut"))
    process.kill()
    finish(process)
    wait_for_exit(pids)
    assert before
    assert not (tmp_path / "out.mp4").exists()
    job_result = run_limited(*arguments, "-v", cwd=tmp_path)
    assert job_result.code == DONE, job_result
    assert "starting over" not in job_result.stderr
    resumed = content_of(tmp_path / "out.mp4")
    assert run_limited(*arguments, "--overwrite", cwd=tmp_path).code == DONE
    assert_same(tmp_path / "out.mp4", resumed)
    assert listing(tmp_path) == ["in.mp4", "out.mp4"]


def start_on_a_cluster_of_its_own(folder: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """A run that has finished a chunk, and the processes of the cluster that it started."""
    write_clip(folder / "in.mp4", times=range(720), time_base=Fraction(1, 20), options={"g": "20"})
    arguments = ("in.mp4", "-o", "out.mp4", "--style", "tiny", "--height", "160", "--chunk", "2", "--workers", "2")
    process = start(*arguments, "--cluster", "local", cwd=folder)
    wait_until(lambda: any((folder / ".out.mp4.resume").glob("*.nut")), process, "a finished chunk")
    pids = descendants(process.pid)
    assert any("raylet" in _command_line(pid) for pid in pids)
    return process, pids


def test_terminated_run_ends_its_cluster_and_says_how_to_resume(tmp_path: Path) -> None:
    """Ray has a handler of its own, which would print a native stack trace."""
    process, pids = start_on_a_cluster_of_its_own(tmp_path)
    process.send_signal(signal.SIGTERM)
    job_result = finish(process)
    wait_for_exit(pids, END_SECONDS)
    assert job_result.code == STOPPED[signal.SIGTERM], job_result
    assert "run the same command again to resume" in job_result.stderr
    assert "SIGTERM" not in job_result.stderr
    assert "Traceback" not in job_result.stderr


def test_killed_run_ends_its_cluster(tmp_path: Path) -> None:
    process, pids = start_on_a_cluster_of_its_own(tmp_path)
    process.kill()
    finish(process)
    wait_for_exit(pids, END_SECONDS)


# --- in this process, which shows what is sent


class RecordingPool(WatchedPool):
    """A pool that keeps all results and the names of all shared files."""

    def __init__(self, pool: WorkerPool, on_start: Callable[[Task], object] = lambda task: None) -> None:
        super().__init__(pool, on_start, self._record)
        self.received: list[Any] = []
        self.shared: list[str] = []

    def _record(self, task: Task, result: Any) -> Any:
        self.received.append(result)
        return result

    def share_file(self, path: str) -> Any:
        self.shared.append(path)
        return super().share_file(path)


@pytest.fixture(scope="module")
def pool(cluster: Any) -> Iterator[WorkerPool]:
    """Two workers on the cluster."""
    with closing(open_worker_pool(["tiny"], options_of(), ClusterOptions(2, "auto"))) as pool:
        yield pool


def test_only_encoded_data_is_sent(pool: WorkerPool, video: Any, converted_whole: Any, tmp_path: Path) -> None:
    output, options = tmp_path / "out.mkv", options_of()
    expected, whole = converted_whole("plain", options)
    watched = RecordingPool(pool)
    result = convert_on(watched, video("plain"), output, options_of(codec="h264"))
    assert watched.shared == [], "the workers have the same files"
    assert_divided(watched, 6)
    width, height = SIZE
    chunks = [result for result in watched.received if isinstance(result, StylizedChunk)]
    assert sum(chunk.frames for chunk in chunks) == expected.frames
    for chunk in chunks:
        assert len(pickle.dumps(chunk)) < chunk.frames * width * height * 3 / 4
        with av.open(io.BytesIO(chunk.segment.data), "r") as container:
            assert sum(1 for _ in container.decode(video=0)) == chunk.frames
    others = [result for result in watched.received if not isinstance(result, StylizedChunk)]
    assert sum(len(pickle.dumps(result)) for result in others) < result.frames * width * height * 3 / 10
    output.unlink()
    assert_reported_as(convert_on(pool, video("plain"), output, options), expected)
    assert_stylized_as(output, whole)


def test_relative_paths_work_for_workers_in_another_folder(
    pool: WorkerPool, video: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(video("short"), tmp_path / "in.mp4")
    monkeypatch.chdir(tmp_path)
    watched = RecordingPool(pool)
    convert_on(watched, "in.mp4", Path("out.mkv"), options_of())
    assert watched.shared == []
    assert [result.data for result in watched.received if isinstance(result, ConvertedFile)] == [None], (
        "the worker wrote the output to its place"
    )
    assert listing(tmp_path) == ["in.mp4", "out.mkv"]


def test_task_of_a_killed_worker_is_repeated(pool: WorkerPool, video: Any, converted_whole: Any, tmp_path: Path) -> None:
    left = [2]

    def on_start(task: Task) -> None:
        if task.method == "stylize_chunk" and left:
            left.pop()
            kill_processes(actors())

    output, options = tmp_path / "out.mkv", options_of()
    expected, whole = converted_whole("plain", options)
    result = convert_on(RecordingPool(pool, on_start), video("plain"), output, options)
    assert not left
    assert_stylized_as(output, whole)
    assert_reported_as(result, expected)
    assert listing(tmp_path) == ["out.mkv"]


@pytest.fixture
def elsewhere(video: Any) -> Iterator[Callable[[Path], str]]:
    """Gives a path that leads to a file only in this process, so that the workers lack it like a file of another machine."""
    opened: list[int] = []

    def path(file: Path) -> str:
        opened.append(os.open(file, os.O_RDONLY))
        return f"/proc/self/fd/{opened[-1]}"

    yield path
    for descriptor in opened:
        os.close(descriptor)


@pytest.mark.parametrize("name", ["plain", "rich", "broadcast", "cut off", "image"])
def test_file_that_workers_do_not_have_is_sent_to_them(
    pool: WorkerPool, video: Any, converted_whole: Any, elsewhere: Any, tmp_path: Path, name: str
) -> None:
    options = options_of()
    suffix = ".png" if name == "image" else ".mkv"
    expected, whole = converted_whole(name, options, suffix)
    input = video(name)
    if name == "image":  # an image is recognized by its suffix
        here = elsewhere(input.parent)
        input = f"{here}/{input.name}"
    else:
        input = elsewhere(input)
    watched, output = RecordingPool(pool), tmp_path / f"out{suffix}"
    result = convert_on(watched, input, output, options)
    assert watched.shared == [input]
    assert ("convert_whole" in watched.methods) == (name not in ("plain", "rich"))
    assert_reported_as(result, expected)
    if name == "image":
        assert output.read_bytes() == whole.read_bytes()
    else:
        assert_stylized_as(output, whole)
    assert listing(tmp_path) == [output.name]


def test_video_that_begins_after_the_first_block_is_read(pool: WorkerPool, elsewhere: Any, tmp_path: Path) -> None:
    plain = write_clip(tmp_path / "plain.mkv", **EVENLY, options={**GROUPS, "bf": "0"})
    attached = ("large.bin", "application/x-truetype-font", os.urandom(2 * ray_pool.BLOCK + 1000))
    large = mux(tmp_path / "in.mkv", [(plain, {})], attachments=[attached])  # which Matroska stores before the frames
    watched = RecordingPool(pool)
    first = convert_on(pool, plain, tmp_path / "first.mp4", options_of(codec=None))
    second = convert_on(watched, elsewhere(large), tmp_path / "second.mp4", options_of(codec=None))
    assert len(watched.shared) == 1
    assert_divided(watched, 6)
    assert second.frames == first.frames
    assert content_of(tmp_path / "second.mp4").frames == content_of(tmp_path / "first.mp4").frames


def test_long_undivided_video_is_sent_without_segments(pool: WorkerPool, elsewhere: Any, tmp_path: Path) -> None:
    """Long enough for segments, which are not kept for a file that the worker cannot recognize later."""
    clip = write_clip(tmp_path / "in.ts", times=range(40), time_base=Fraction(1))
    watched = RecordingPool(pool)
    result = convert_on(watched, elsewhere(clip), tmp_path / "out.mkv", options_of())
    assert watched.shared
    assert result.frames == 40
    assert listing(tmp_path) == ["in.ts", "out.mkv"]


def test_long_undivided_video_with_a_style_that_workers_lack(pool: WorkerPool, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.ts", times=range(40), time_base=Fraction(1))
    assert convert_on(pool, clip, tmp_path / "out.mkv", options_of()).frames == 40
    assert listing(tmp_path) == ["in.ts", "out.mkv"]


# --- other clusters


def test_run_continues_when_a_machine_with_a_worker_is_lost(
    cluster: Any, pool: WorkerPool, video: Any, converted_whole: Any, tmp_path: Path
) -> None:
    """There is no room for a replacement; the remaining workers do the work."""
    pool.close()
    node = cluster.add_node(**_node(1))
    before = set(actors())
    options, output, lost = options_of(), tmp_path / "out.mkv", list[Any]()

    def on_start(task: Task) -> None:
        if task.method == "stylize_chunk" and not lost and len(set(actors()) - before) == 3:
            lost.append(node)
            cluster.remove_node(node, allow_graceful=False)

    _, whole = converted_whole("plain", options)
    with closing(open_worker_pool(["tiny"], options, ClusterOptions(3, "auto"))) as pool:
        convert_on(WatchedPool(pool, on_start), video("plain"), output, options)
    assert lost
    assert_stylized_as(output, whole)


def test_cluster_with_another_version_is_reported(
    cluster: Any, video: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_pool, "__version__", "0.0.1")
    with closing(open_worker_pool(["tiny"], options_of(), ClusterOptions(1, "auto"))) as pool:
        job_result = run_job(pool, video("plain"), tmp_path / "out.mkv", options_of())
    assert isinstance(job_result.error, DeviceError)
    assert "0.0.1" in str(job_result.error)
    assert listing(tmp_path) == []


def test_cluster_without_room_for_a_worker_is_reported(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 0.0}}, {"Alive": False, "Resources": {"CPU": 8.0}}]
    )
    with pytest.raises(DeviceError, match="free core"):
        open_worker_pool(["tiny"], options_of(), ClusterOptions(1, "auto"))
    assert not ray.is_initialized()


# --- reading from blocks


@given(
    data=st.binary(max_size=70),
    steps=st.lists(st.tuples(st.sampled_from([io.SEEK_SET, io.SEEK_CUR, io.SEEK_END]), st.integers(-80, 80), st.integers(0, 40))),
)
@settings(deadline=None)
def test_blocks_are_read_and_sought_like_the_file(data: bytes, steps: list[tuple[int, int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_pool, "BLOCK", 16)
        patch.setattr(ray_pool, "ray", SimpleNamespace(get=lambda ref: ref))
        blocks = ray_pool._Blocks([data[at : at + 16] for at in range(0, len(data), 16)], len(data))
        there, here = blocks.open(), io.BytesIO(data)
        for whence, offset, count in steps:
            base = {io.SEEK_SET: 0, io.SEEK_CUR: here.tell(), io.SEEK_END: len(data)}[whence]
            if base + offset >= 0:  # no position before the beginning
                assert there.seek(offset, whence) == here.seek(base + offset)
            assert there.read(count) == here.read(count)
            assert there.tell() == here.tell()
        assert there.seek(0) == 0
        assert there.read() == data
