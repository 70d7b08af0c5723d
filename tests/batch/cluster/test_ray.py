"""`--cluster`: workers of a real Ray cluster on this machine paint what processes paint, and get what they need from afar."""

from __future__ import annotations

import io
import os
import pickle
import shutil
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

from tests.batch.cluster.test_cluster import (
    EVENLY,
    GROUPS,
    SIZE,
    Watched,
    assert_divided,
    assert_stylized_as,
    assert_told_as,
    descendants,
    kill,
    options_of,
    paint,
    paintings_in,
    shots,
    videos_in,
    wait_for_the_end_of,
    work_off,
)
from tests.support.faults import DONE, MODEL, assert_same, facts_of, finish, run_limited, start, wait_until
from tests.support.helpers import ROOT, environment, listing, write_clip
from tests.support.streams import mux
from vidstyle.batch.cluster.engine import Engine, Task
from vidstyle.batch.cluster.scheduler import open_engine
from vidstyle.batch.cluster.worker import Painted, Whole
from vidstyle.core.errors import DeviceError
from vidstyle.core.options import ClusterOptions

ray = pytest.importorskip("ray")
on_ray = pytest.importorskip("vidstyle.batch.cluster.on_ray")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


# --- a cluster, and who works on it


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of one node with two cores, which knows nothing of the tests: neither their styles nor their folder."""
    from ray.cluster_utils import Cluster

    here = Path.cwd()
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        patch.setenv("RAY_AUTH_MODE", "disabled")  # else a token is written into the home of whoever runs this
        with pytest.MonkeyPatch.context() as elsewhere:
            elsewhere.setenv("PYTHONPATH", str(ROOT))
            elsewhere.delenv("VIDSTYLE_STYLES", raising=False)
            elsewhere.chdir("/")
            one = Cluster(initialize_head=True, head_node_args={**_node(2), "include_dashboard": False, "temp_dir": folder})
        assert Path.cwd() == here
        patch.setenv("RAY_ADDRESS", one.address)
        yield one
        mine = [pid for pid in descendants(os.getpid()) if "ray" in _words(pid)]
        one.shutdown()
        wait_for_the_end_of(mine)


def _node(cores: int) -> dict[str, Any]:
    return {"num_cpus": cores, "object_store_memory": 100 << 20}


def _words(pid: int) -> str:
    """The command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def actors() -> list[int]:
    """The processes of vidstyle's workers on the cluster."""
    return [pid for pid in descendants(os.getpid()) if _words(pid).startswith("ray::_Actor")]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return videos_in(tmp_path_factory)


@pytest.fixture(scope="module")
def in_one_piece(video: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    return paintings_in(tmp_path_factory, video)


@pytest.fixture(scope="module")
def by_processes(video: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes make of a video: H.264, in parts of a second."""
    output = tmp_path_factory.mktemp("processes") / "out.mp4"
    with closing(open_engine(["tiny"], options_of(), ClusterOptions(2))) as engine:
        paint(engine, video("plain"), output, options_of(codec=None))
    return output


# --- the command line; before the tests that hold workers of the cluster themselves, which leave no room for others


def test_an_address_where_nobody_is_is_told_in_a_sentence(video: Any, tmp_path: Path) -> None:
    shutil.copy(video("plain"), tmp_path / "in.mp4")
    for address in ("ray://127.0.0.1:1", "127.0.0.1:1"):
        job_result = run_limited("in.mp4", "--style", "tiny", "--cluster", address, "-q", cwd=tmp_path)
        assert job_result.code == MODEL, job_result
        assert job_result.stderr.startswith("error: ")
        assert len(job_result.stderr.splitlines()) == 1, job_result.stderr
        assert address in job_result.stderr
    assert listing(tmp_path) == ["in.mp4"]


def test_without_ray_an_error_names_the_extra(video: Any) -> None:
    code = """
import sys
sys.modules["ray"] = None  # as if it were not installed
from vidstyle.cli import run_command_line
print(run_command_line(["-q", *sys.argv[1:]]))
"""
    given = (str(video("plain")), "--style", "tiny", "--cluster", "local")
    done = subprocess.run([sys.executable, "-c", code, *given], env=environment(), capture_output=True, text=True)
    assert done.stdout == f"{MODEL}\n", done.stderr
    assert "pip install 'vidstyle[ray]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("address", ["local", "auto"])
def test_a_cluster_makes_the_file_that_processes_make(
    cluster: Any, video: Any, by_processes: Path, tmp_path: Path, address: str
) -> None:
    shutil.copy(video("plain"), tmp_path / "in.mp4")
    given = ("in.mp4", "-o", "out.mp4", "--style", "tiny", "--cluster", address, "--workers", "2", "--chunk", "1", "-q")
    process = start(*given, cwd=tmp_path)
    theirs = []
    if address == "local":  # a cluster of its own, though there is one
        wait_until(lambda: any("raylet" in _words(pid) for pid in descendants(process.pid)), process, "a cluster of its own")
        theirs = descendants(process.pid)
    job_result = finish(process)
    wait_for_the_end_of(theirs)
    assert job_result.code == DONE, job_result
    assert job_result.stderr == ""
    assert (tmp_path / "out.mp4").read_bytes() == by_processes.read_bytes()
    assert listing(tmp_path) == ["in.mp4", "out.mp4"]


def test_a_killed_run_leaves_no_workers_and_processes_can_go_on(cluster: Any, tmp_path: Path) -> None:
    clip = {"times": range(72), "time_base": Fraction(1, 2), "options": {"g": "12"}, "image": shots(17, 45), "audio": ["eng"]}
    write_clip(tmp_path / "in.mp4", **clip)
    given = ("in.mp4", "-o", "out.mp4", "--style", "tiny", "--height", "160", "--chunk", "6", "--workers", "2")
    work = tmp_path / ".out.mp4.resume"
    process = start(*given, "--cluster", "auto", cwd=tmp_path)
    wait_until(lambda: len(list(work.glob("*.nut"))) >= 2, process, "finished parts")
    theirs = actors()
    assert len(theirs) == 2
    before = sorted(work.glob("*.nut"))
    process.kill()
    finish(process)
    wait_for_the_end_of(theirs)
    assert before
    assert not (tmp_path / "out.mp4").exists()
    job_result = run_limited(*given, "-v", cwd=tmp_path)
    assert job_result.code == DONE, job_result
    assert "anew" not in job_result.stderr
    resumed = facts_of(tmp_path / "out.mp4")
    assert run_limited(*given, "--overwrite", cwd=tmp_path).code == DONE
    assert_same(tmp_path / "out.mp4", resumed)
    assert listing(tmp_path) == ["in.mp4", "out.mp4"]


# --- in this process, where it can be seen what is sent


class Seen(Watched):
    """An engine whose answers and files are looked at."""

    def __init__(self, engine: Engine, started: Callable[[Task], object] = lambda task: None) -> None:
        super().__init__(engine, started, self._see)
        self.answered: list[Any] = []
        self.shared: list[str] = []

    def _see(self, task: Task, said: Any) -> Any:
        self.answered.append(said)
        return said

    def share(self, path: str) -> Any:
        self.shared.append(path)
        return super().share(path)


@pytest.fixture(scope="module")
def crew(cluster: Any) -> Iterator[Engine]:
    """Two workers on the cluster."""
    with closing(open_engine(["tiny"], options_of(), ClusterOptions(2, "auto"))) as engine:
        yield engine


def test_only_what_is_encoded_travels(crew: Engine, video: Any, in_one_piece: Any, tmp_path: Path) -> None:
    output, options = tmp_path / "out.mkv", options_of()
    expected, whole = in_one_piece("plain", options)
    engine = Seen(crew)
    result = paint(engine, video("plain"), output, options_of(codec="h264"))
    assert engine.shared == [], "the workers see the same files"
    assert_divided(engine, 6)
    width, height = SIZE
    parts = [said for said in engine.answered if isinstance(said, Painted)]
    assert sum(part.frames for part in parts) == expected.frames
    for part in parts:
        assert len(pickle.dumps(part)) < part.frames * width * height * 3 / 4
        with av.open(io.BytesIO(part.segment.data)) as container:
            assert sum(1 for _ in container.decode(video=0)) == part.frames
    others = [said for said in engine.answered if not isinstance(said, Painted)]
    assert sum(len(pickle.dumps(said)) for said in others) < result.frames * width * height * 3 / 10
    output.unlink()
    assert_told_as(paint(crew, video("plain"), output, options), expected)
    assert_stylized_as(output, whole)


def test_paths_are_the_same_for_workers_in_another_folder(
    crew: Engine, video: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(video("short"), tmp_path / "in.mp4")
    monkeypatch.chdir(tmp_path)
    engine = Seen(crew)
    paint(engine, "in.mp4", Path("out.mkv"), options_of())
    assert engine.shared == []
    assert [said.data for said in engine.answered if isinstance(said, Whole)] == [None], "it was written in its place"
    assert listing(tmp_path) == ["in.mp4", "out.mkv"]


@pytest.mark.parametrize("when", ["look_through", "paint"])
def test_what_a_worker_was_at_when_it_died_is_done_again(
    crew: Engine, video: Any, in_one_piece: Any, tmp_path: Path, when: str
) -> None:
    left = [2]

    def started(task: Task) -> None:
        if task.method == when and left:
            left.pop()
            kill(actors())

    output, options = tmp_path / "out.mkv", options_of()
    expected, whole = in_one_piece("plain", options)
    result = paint(Seen(crew, started), video("plain"), output, options)
    assert not left
    assert_stylized_as(output, whole)
    assert_told_as(result, expected)
    assert listing(tmp_path) == ["out.mkv"]


@pytest.fixture
def elsewhere(video: Any) -> Iterator[Callable[[Path], str]]:
    """Gives a path that means the file to this process alone: to the workers it is as a file on another machine."""
    opened: list[int] = []

    def path(file: Path) -> str:
        opened.append(os.open(file, os.O_RDONLY))
        return f"/proc/self/fd/{opened[-1]}"

    yield path
    for descriptor in opened:
        os.close(descriptor)


@pytest.mark.parametrize("name", ["plain", "rich", "broadcast", "cut off", "image"])
def test_a_file_that_the_workers_do_not_have_is_sent_to_them(
    crew: Engine, video: Any, in_one_piece: Any, elsewhere: Any, tmp_path: Path, name: str
) -> None:
    options = options_of()
    suffix = ".png" if name == "image" else ".mkv"
    expected, whole = in_one_piece(name, options, suffix)
    input = video(name)
    if name == "image":  # which is known by its name
        here = elsewhere(input.parent)
        input = f"{here}/{input.name}"
    else:
        input = elsewhere(input)
    engine, output = Seen(crew), tmp_path / f"out{suffix}"
    result = paint(engine, input, output, options)
    assert engine.shared == [input]
    assert ("whole" in engine.methods) == (name not in ("plain", "rich"))
    assert_told_as(result, expected)
    if name == "image":
        assert output.read_bytes() == whole.read_bytes()
    else:
        assert_stylized_as(output, whole)
    assert listing(tmp_path) == [output.name]


def test_a_video_that_lies_behind_the_first_block_is_found_there(crew: Engine, elsewhere: Any, tmp_path: Path) -> None:
    plain = write_clip(tmp_path / "plain.mkv", **EVENLY, options={**GROUPS, "bf": "0"})
    attached = ("large.bin", "application/x-truetype-font", os.urandom(2 * on_ray.BLOCK + 1000))
    large = mux(tmp_path / "in.mkv", [(plain, {})], attachments=[attached])  # which Matroska has before the images
    engine = Seen(crew)
    first = paint(crew, plain, tmp_path / "first.mp4", options_of(codec=None))
    second = paint(engine, elsewhere(large), tmp_path / "second.mp4", options_of(codec=None))
    assert len(engine.shared) == 1
    assert_divided(engine, 6)
    assert second.frames == first.frames
    assert facts_of(tmp_path / "second.mp4").frames == facts_of(tmp_path / "first.mp4").frames


def test_a_long_video_in_one_piece_from_elsewhere(crew: Engine, elsewhere: Any, tmp_path: Path) -> None:
    """Long enough for segments, which are not kept of a file that the worker cannot tell from others."""
    clip = write_clip(tmp_path / "in.ts", times=range(40), time_base=Fraction(1))
    engine = Seen(crew)
    result = paint(engine, elsewhere(clip), tmp_path / "out.mkv", options_of())
    assert engine.shared
    assert result.frames == 40
    assert listing(tmp_path) == ["in.ts", "out.mkv"]


def test_a_long_video_in_one_piece_whose_style_is_not_installed_there(crew: Engine, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.ts", times=range(40), time_base=Fraction(1))
    assert paint(crew, clip, tmp_path / "out.mkv", options_of()).frames == 40
    assert listing(tmp_path) == ["in.ts", "out.mkv"]


# --- other clusters than this one


def test_workers_that_are_lost_with_their_machine(
    cluster: Any, crew: Engine, video: Any, in_one_piece: Any, tmp_path: Path
) -> None:
    """There is no room for others in their place; those that are left do the work."""
    crew.close()
    node = cluster.add_node(**_node(1))
    before = set(actors())
    options, output, lost = options_of(), tmp_path / "out.mkv", []

    def started(task: Task) -> None:
        if task.method == "paint" and not lost and len(set(actors()) - before) == 3:
            lost.append(node)
            cluster.remove_node(node, allow_graceful=False)

    _, whole = in_one_piece("plain", options)
    with closing(open_engine(["tiny"], options, ClusterOptions(3, "auto"))) as engine:
        paint(Watched(engine, started), video("plain"), output, options)
    assert lost
    assert_stylized_as(output, whole)


def test_a_cluster_of_another_version_is_told(cluster: Any, video: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "__version__", "0.0.1")
    with closing(open_engine(["tiny"], options_of(), ClusterOptions(1, "auto"))) as engine:
        job_result = work_off(engine, video("plain"), tmp_path / "out.mkv", options_of())
    assert isinstance(job_result.error, DeviceError)
    assert "0.0.1" in str(job_result.error)
    assert listing(tmp_path) == []


def test_a_cluster_without_room_for_a_worker_is_told(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 0.0}}, {"Alive": False, "Resources": {"CPU": 8.0}}]
    )
    with pytest.raises(DeviceError, match="free core"):
        open_engine(["tiny"], options_of(), ClusterOptions(1, "auto"))
    assert not ray.is_initialized()


# --- reading from blocks


@given(
    data=st.binary(max_size=70),
    steps=st.lists(st.tuples(st.sampled_from([io.SEEK_SET, io.SEEK_CUR, io.SEEK_END]), st.integers(-80, 80), st.integers(0, 40))),
)
@settings(deadline=None)
def test_blocks_are_read_and_sought_in_as_the_file(data: bytes, steps: list[tuple[int, int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(on_ray, "BLOCK", 16)
        patch.setattr(on_ray, "ray", SimpleNamespace(get=lambda ref: ref))
        blocks = on_ray._Blocks([data[at : at + 16] for at in range(0, len(data), 16)], len(data))
        there, here = blocks.open(), io.BytesIO(data)
        for whence, offset, count in steps:
            base = {io.SEEK_SET: 0, io.SEEK_CUR: here.tell(), io.SEEK_END: len(data)}[whence]
            if base + offset >= 0:  # before the beginning there is nothing
                assert there.seek(offset, whence) == here.seek(base + offset)
            assert there.read(count) == here.read(count)
            assert there.tell() == here.tell()
        assert there.seek(0) == 0
        assert there.read() == data
