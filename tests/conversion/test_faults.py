"""Damaged files, full disks, deleted folders and killed runs: an output is either complete or does not exist."""

from __future__ import annotations

import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from tests.support.faults import (
    CONTAINERS,
    FRAMES,
    Case,
    Verdict,
    block_case,
    clip_bytes,
    flipped_case,
    judge,
    spliced_case,
    truncated_case,
    whole_case,
)
from tests.support.helpers import listing, noise, write_clip
from tests.support.judge import check, decode, hidden, snapshot
from tests.support.runs import (
    DAMAGE,
    DISK,
    DONE,
    FAILED,
    STOPPED,
    USAGE,
    CommandRunner,
    CommandRunners,
    finish,
    has_mapped,
    run_limited,
    start,
    wait_until,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs limits and signals as on Linux"),
    pytest.mark.skipif(not (shutil.which("ffprobe") and shutil.which("ffmpeg")), reason="needs ffprobe and ffmpeg as judges"),
]

set_hypothesis_home_dir(Path(tempfile.gettempdir(), "hypothesis"))  # no folder in the working tree

SAME_EVERYWHERE = settings(
    derandomize=True, max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def workers(styles: Path) -> Iterator[CommandRunners]:
    """Two processes that convert damaged files."""
    pool = CommandRunners(2)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def worker(styles: Path) -> Iterator[CommandRunner]:
    """One such process."""
    one = CommandRunner()
    yield one
    one.close()


def judged(workers: CommandRunners, folder: Path, cases: list[Case]) -> list[Verdict]:
    """Convert all cases; nothing that is promised may be violated."""
    verdicts = list(workers.map(lambda worker, case: judge(worker, folder, case, "--style", "tiny"), cases))
    broken = [f"{v.case.container}, {v.case.damage}: {problem}" for v in verdicts for problem in v.violations]
    assert not broken, "\n".join(broken)
    return verdicts


@pytest.mark.parametrize("container", CONTAINERS)
def test_truncated_file_is_never_a_success(workers: CommandRunners, tmp_path: Path, container: str) -> None:
    cases = [truncated_case(container, percent) for percent in range(5, 100, 5)]
    whole, *cut = judged(workers, tmp_path, [whole_case(container), *cases])
    assert whole.run_result.code == DONE
    # All but an MP4 with its index at the end can be stylized as far as they are readable.
    assert {v.run_result.code for v in cut[9:]} == ({FAILED} if container == "mp4" else {DAMAGE})


@SAME_EVERYWHERE
@given(
    container=st.sampled_from(list(CONTAINERS)),
    region=st.sampled_from(["body", "header", "index"]),
    seed=st.integers(0, 9999),
    count=st.sampled_from([1, 3, 10, 50]),
)
def test_flipped_bits(worker: CommandRunner, container: str, region: str, seed: int, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        verdict = judge(worker, Path(folder), flipped_case(container, region, seed, count), "--style", "tiny")
    assert not verdict.violations, verdict.run_result


@pytest.mark.parametrize(("table", "track"), [(b"stco", 1), (b"stsz", 1), (b"stco", 0)])
def test_damaged_index_is_reported(worker: CommandRunner, tmp_path: Path, table: bytes, track: int) -> None:
    """FFmpeg's demuxer ends there as if the file were complete. Damage to the audio's index costs no frame of the video."""
    data = bytearray(clip_bytes("mp4"))
    position = -1
    for _ in range(track + 1):
        position = data.index(table, position + 1)
    count = {b"stco": 8, b"stsz": 12}[table]
    entries = int.from_bytes(data[position + count : position + count + 4], "big")
    data[position + count + 4 + entries // 2 * 4] ^= 0x40
    (tmp_path / "in.mp4").write_bytes(data)
    done = worker.run("in.mp4", "--style", "tiny", "-o", "out.mp4", cwd=tmp_path)
    assert done.code == DAMAGE, done.stderr
    if track:
        assert "its index does not list all of it" in done.stderr
        assert len(decode(tmp_path / "out.mp4").frames) == FRAMES


@pytest.mark.parametrize("kind", ["zeroed", "duplicated"])
def test_lost_or_duplicated_block(workers: CommandRunners, tmp_path: Path, kind: str) -> None:
    judged(workers, tmp_path, [block_case(c, kind, seed, size) for c in CONTAINERS for seed, size in ((1, 16), (2, 1024))])


def test_two_files_concatenated(workers: CommandRunners, tmp_path: Path) -> None:
    judged(workers, tmp_path, [spliced_case(name, name, seed) for name in CONTAINERS for seed in (1, 2)])


def test_runner_distinguishes_hang_and_crash_from_error(tmp_path: Path) -> None:
    """The test suite itself must detect hangs and crashes to report them."""
    worker = CommandRunner()
    try:
        (tmp_path / "in.mp4").write_bytes(whole_case("mp4").data)
        assert worker.run("in.mp4", "--style", "tiny", cwd=tmp_path, seconds=0.001).code is None
        assert worker.run("in.mp4", "--style", "tiny", cwd=tmp_path).code == DONE
        assert worker.run("in.mp4", "--style", "tiny", "--crf", "30", cwd=tmp_path).code == FAILED
    finally:
        worker.close()


# --- disks


@pytest.fixture(scope="module")
def heavy_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip that does not compress, with audio."""
    folder = tmp_path_factory.mktemp("heavy")
    return write_clip(folder / "in.mp4", times=range(24), size=(160, 120), audio=["eng"], image=noise)


@pytest.fixture(scope="module")
def whole_sizes(heavy_clip: Path) -> dict[str, int]:
    """The sizes of the stylized clip."""
    sizes = {}
    for suffix in ("mp4", "mkv"):
        output = heavy_clip.with_name(f"whole.{suffix}")
        assert run_limited(heavy_clip, "-o", output, "--style", "tiny", cwd=heavy_clip.parent).code == DONE
        sizes[suffix] = output.stat().st_size
    return sizes


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.999])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_full_disk_keeps_the_old_output(
    tmp_path: Path, heavy_clip: Path, whole_sizes: dict[str, int], suffix: str, part: float
) -> None:
    (tmp_path / f"out.{suffix}").write_text("precious")
    before = snapshot(tmp_path)
    limit = int(whole_sizes[suffix] * part)
    args = (heavy_clip, "-o", f"out.{suffix}", "--overwrite", "--style", "tiny", "-q")
    check(run_limited(*args, cwd=tmp_path, file_size=limit), tmp_path, before, codes=(DISK,))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_really_full_disk(tmp_path: Path, heavy_clip: Path, whole_sizes: dict[str, int], suffix: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    size = f"size={whole_sizes[suffix] // 2}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("needs permission to mount a small disk in memory")
    try:
        (disk / f"out.{suffix}").write_text("precious")
        before = snapshot(disk)
        run_result = run_limited(heavy_clip, "-o", disk / f"out.{suffix}", "--overwrite", "--style", "tiny", "-q", cwd=tmp_path)
        check(run_result, disk, before, codes=(DISK,))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(tmp_path: Path, heavy_clip: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    run_result = run_limited(heavy_clip, "-o", locked / "out.mp4", "--style", "tiny", "-q", cwd=tmp_path)
    check(run_result, locked, {}, codes=(DISK,))


@pytest.fixture(scope="module")
def lengthy_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip that takes some seconds in the style `slow`."""
    folder = tmp_path_factory.mktemp("lengthy")
    return write_clip(folder / "in.mp4", times=range(60), size=(96, 64), audio=["eng"], image=noise)


SLOWLY = ("--style", "slow", "--crf", "1", "-q")
"""Options for the lengthy clip: much data is written, from the beginning on."""


@pytest.fixture(scope="module")
def whole_size(lengthy_clip: Path) -> int:
    """The size of the stylized lengthy clip."""
    output = lengthy_clip.with_name("whole.mp4")
    assert run_limited(lengthy_clip, "-o", output, *SLOWLY, cwd=lengthy_clip.parent).code == DONE
    return output.stat().st_size


@pytest.mark.parametrize("again", [False, True], ids=["deleted", "deleted and created again"])
def test_output_folder_deleted_during_the_run(tmp_path: Path, lengthy_clip: Path, whole_size: int, again: bool) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    process = start(lengthy_clip, "-o", folder / "out.mp4", *SLOWLY, cwd=tmp_path)
    wait_until(lambda: _size(folder) > whole_size // 4, process, "a hidden file with images in it")
    shutil.rmtree(folder)
    if again:
        folder.mkdir()
    check(finish(process), tmp_path, {}, codes=(FAILED, DISK))
    assert listing(tmp_path) == (["out"] if again else [])


@pytest.mark.parametrize("device", ["/dev/full", "/dev/null"])
@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)], ids=["", "overwrite"])
def test_device_is_refused_as_output(tmp_path: Path, heavy_clip: Path, device: str, overwrite: tuple[str, ...]) -> None:
    before = os.stat(device)
    run_result = run_limited(heavy_clip, "-o", device, *overwrite, "--style", "tiny", "-q", cwd=tmp_path)
    check(run_result, tmp_path, {}, codes=(FAILED, USAGE))
    after = os.stat(device)
    assert stat.S_ISCHR(after.st_mode)
    assert (after.st_ino, after.st_rdev) == (before.st_ino, before.st_rdev)


def _make_null_device(path: Path) -> None:
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("needs permission to create a device")


@pytest.mark.parametrize("make", [_make_null_device, os.mkfifo], ids=["device", "pipe"])
def test_device_named_like_a_video_is_not_replaced(tmp_path: Path, heavy_clip: Path, make: Callable[[Path], None]) -> None:
    output = tmp_path / "out.mp4"
    make(output)
    kind = stat.S_IFMT(output.stat().st_mode)
    run_result = run_limited(heavy_clip, "-o", output, "--overwrite", "--style", "tiny", "-q", cwd=tmp_path)
    check(run_result, tmp_path, {}, codes=(FAILED, USAGE))
    assert stat.S_IFMT(output.stat().st_mode) == kind
    assert listing(tmp_path) == ["out.mp4"]


# --- several runs, and runs that are stopped


@pytest.mark.parametrize("overwrite", [False, True], ids=["", "overwrite"])
def test_two_runs_with_one_output(tmp_path: Path, lengthy_clip: Path, overwrite: bool) -> None:
    clip = shutil.copy(lengthy_clip, tmp_path)
    if overwrite:
        (tmp_path / "in.slow.mp4").write_text("old")
    before = snapshot(tmp_path)
    args = (clip, *SLOWLY, *(["--overwrite"] if overwrite else []))
    first = start(*args, cwd=tmp_path)
    # A file that is not empty is locked too: one that is not could rightly be removed as abandoned.
    wait_until(lambda: any((tmp_path / name).stat().st_size for name in hidden(tmp_path)), first, "the first run's hidden file")
    first.send_signal(signal.SIGSTOP)  # so that the second one starts before this one ends
    ours = hidden(tmp_path)
    second = start(*args, cwd=tmp_path)
    try:
        wait_until(lambda: second.poll() is not None or set(hidden(tmp_path)) > set(ours), second, "the second run's hidden file")
        assert set(hidden(tmp_path)) >= set(ours), "the second run removed the file that the first one is writing"
    finally:
        first.send_signal(signal.SIGCONT)
    run_results = [finish(first), finish(second)]
    assert sorted(o.code or 0 for o in run_results) in ([[0, 1], [0, 0]] if overwrite else [[0, 1]]), run_results
    for run_result in run_results:
        if run_result.code == FAILED:
            assert run_result.stderr.startswith("error: "), run_result
            assert len(run_result.stderr.splitlines()) == 1, run_result
        else:
            check(run_result, tmp_path, before, codes=(DONE,), may_replace="in.slow.mp4")
    assert len(decode(tmp_path / "in.slow.mp4").frames) == 60
    assert listing(tmp_path) == ["in.mp4", "in.slow.mp4"]


def _size(folder: Path) -> int:
    """The size of the largest hidden file."""
    sizes = [0]
    for name in hidden(folder):
        try:
            sizes.append((folder / name).stat().st_size)
        except OSError:
            continue
    return max(sizes)


Moment = Callable[[subprocess.Popen[str], Path, int], bool]
"""Whether the moment has come; gets the process, its folder and the size of the complete output."""

STARTING: dict[str, Moment] = {
    "importing": lambda process, folder, whole: has_mapped(process, "libavcodec"),
    "loading": lambda process, folder, whole: has_mapped(process, "onnxruntime_pybind"),
}
WRITING: dict[str, Moment] = {"begun": lambda process, folder, whole: bool(hidden(folder))} | {
    f"{percent} % written": lambda process, folder, whole, percent=percent: _size(folder) >= percent * whole // 100
    for percent in sorted(random.Random(20).sample(range(10, 55), 2))
}
ENDING: dict[str, Moment] = {
    # This moment may be missed; then the output has to be complete.
    "all written": lambda process, folder, whole: process.poll() is not None or _size(folder) >= 0.99 * whole
}
MOMENTS = STARTING | WRITING | ENDING


@pytest.fixture(params=[False, True], ids=["", "overwrite"])
def prepared(request: pytest.FixtureRequest, tmp_path: Path, lengthy_clip: Path) -> tuple[Path, list[object]]:
    """A folder with the clip and possibly an old output that may be replaced, and the command."""
    shutil.copy(lengthy_clip, tmp_path / "in.mp4")
    args: list[object] = ["in.mp4", *SLOWLY]
    if request.param:
        (tmp_path / "in.slow.mp4").write_text("old")
        args.append("--overwrite")
    return tmp_path, args


@pytest.mark.parametrize("number", STOPPED, ids=lambda number: number.name)
@pytest.mark.parametrize("moment", MOMENTS)
def test_stopped_run_leaves_everything_unchanged(
    prepared: tuple[Path, list[object]], whole_size: int, number: signal.Signals, moment: str
) -> None:
    folder, args = prepared
    before = snapshot(folder)
    process = start(*args, cwd=folder)
    wait_until(lambda: MOMENTS[moment](process, folder, whole_size), process, moment)
    process.send_signal(number)
    codes = (STOPPED[number], *([DONE] if moment in ENDING else []))
    check(finish(process), folder, before, codes=codes, may_replace="in.slow.mp4", late=moment in ENDING)


@pytest.mark.parametrize("moment", [*WRITING, *ENDING])
def test_leftovers_of_a_killed_run_are_removed_by_the_next(
    prepared: tuple[Path, list[object]], whole_size: int, moment: str
) -> None:
    folder, args = prepared
    before = snapshot(folder)
    process = start(*args, cwd=folder)
    wait_until(lambda: MOMENTS[moment](process, folder, whole_size), process, moment)
    process.kill()
    killed = finish(process)
    output = folder / "in.slow.mp4"
    published = output.exists() and output.read_bytes() != b"old"
    assert moment in ENDING or (killed.code == -signal.SIGKILL and not published)
    if published:  # its work was done
        assert decode(output).whole, "an incomplete file has the final name"
        output.unlink()
        before.pop(output.name, None)
    # Hidden files of other programs, some with names similar to those of vidstyle.
    for name in (".in.slow.mp4.swp", ".in.slow.notes", ".in.slow.other.mp4"):
        (folder / name).write_text("foreign")
    theirs = {name: facts for name, facts in snapshot(folder).items() if name.endswith((".swp", ".notes", ".other.mp4"))}
    check(run_limited(*args, cwd=folder), folder, before | theirs, codes=(DONE,), may_replace=output.name)
    assert hidden(folder) == sorted(theirs)
    assert len(decode(output).frames) == 60
