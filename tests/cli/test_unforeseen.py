"""What nobody foresaw, and a system that allows too little: one sentence, an exit code, and nothing left behind."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.helpers import command, environment, events, listing, run_cli, run_process, write_clip

FAILED, DAMAGE = 1, 3


def broken(*args: object) -> None:
    raise ZeroDivisionError("a fault\nin two lines")


SENTENCE = "error: unexpected ZeroDivisionError (a fault); please report it, with what VIDSTYLE_DEBUG=1 prints"


@pytest.mark.parametrize(
    ("args", "where"),
    [
        (["in.mp4", "--style", "tiny"], "vidstyle.batch.planner.Planner.plan"),
        (["in.mp4", "--style", "tiny"], "vidstyle.conversion.convert.Conversion.run"),
        (["in.mp4", "--style", "tiny"], "vidstyle.conversion.convert.Conversion.publish"),
        (["in.mp4", "--style", "tiny", "--dry-run"], "vidstyle.batch.session.Session._describe"),
        (["styles"], "vidstyle.styles.catalog.all_styles"),
        (["train", "in.mp4", "--name", "x", "--photos", "."], "vidstyle.studio.training.train.train_style"),
        (["paint", "in.png", "--style", "mosaic"], "vidstyle.studio.optimize.paint.optimize_image_file"),
        (["keyframes", "in.mp4", "--style", "mosaic"], "vidstyle.studio.keyframes.render.stylize_with_keyframes"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_unexpected_exception_is_one_sentence(clip: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], where: str) -> None:
    monkeypatch.setattr(where, broken)
    monkeypatch.delenv("VIDSTYLE_DEBUG")
    done = run_cli(*args, cwd=clip.parent)
    assert (done.returncode, done.stdout) == (FAILED, "")
    assert done.stderr.splitlines()[-1] == SENTENCE
    assert "Traceback" not in done.stderr
    assert listing(clip.parent) == ["in.mp4"]
    debugged = run_cli(*args, cwd=clip.parent, env={"VIDSTYLE_DEBUG": "1"})
    assert debugged.stderr.splitlines()[-1] == SENTENCE
    assert "Traceback (most recent call last):" in debugged.stderr


@pytest.mark.parametrize("workers", [[], ["--workers", "1"]], ids=["here", "by a worker"])
def test_unexpected_exception_costs_only_its_file(clip: Path, monkeypatch: pytest.MonkeyPatch, workers: list[str]) -> None:
    write_clip(clip.with_name("other.mp4"))
    monkeypatch.delenv("VIDSTYLE_DEBUG")
    if workers:
        monkeypatch.setattr("vidstyle.batch.cluster.job_state.JobState.begin", _broken_for("in.mp4", "job"))
    else:
        monkeypatch.setattr("vidstyle.conversion.convert.Conversion.publish", _broken_for("in.mp4", "_input"))
    done = run_cli(".", "--style", "tiny", "--progress", "json", *workers, cwd=clip.parent)
    assert done.returncode == DAMAGE, done.stderr
    ended = {event["input"]: event for event in events(done.stderr) if event["event"] == "file_done"}
    assert (ended["in.mp4"]["status"], ended["other.mp4"]["status"]) == ("failed", "done")
    assert f"error: {ended['in.mp4']['error']}" == SENTENCE
    assert listing(clip.parent) == ["in.mp4", "other.mp4", "other.tiny.mp4"]


def _broken_for(input: str, attribute: str) -> Callable[..., object]:
    """A method that is broken for one input."""
    from vidstyle.batch.cluster.job_state import JobState
    from vidstyle.conversion.convert import Conversion

    original: Callable[..., object] = JobState.begin if attribute == "job" else Conversion.publish

    def method(self: object) -> object:
        if input in str(getattr(self, attribute)):
            broken()
        return original(self)

    return method


# Limits of the system


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
@pytest.mark.parametrize(
    ("limit", "megabytes", "sentence"),
    [
        (resource.RLIMIT_DATA, 40, "at least 300 MiB for this process, got 40; raise it (ulimit -d)"),
        (resource.RLIMIT_DATA, 180, "at least 300 MiB for this process, got 180; raise it (ulimit -d)"),
        (resource.RLIMIT_AS, 1200, "at least 1400 MiB for this process, got 1200; raise it (ulimit -v)"),
    ],
)
def test_too_little_memory_to_start(clip: Path, limit: int, megabytes: int, sentence: str) -> None:
    size = megabytes << 20
    done = run_process("in.mp4", "--style", "tiny", cwd=clip.parent, preexec_fn=lambda: resource.setrlimit(limit, (size, size)))
    assert done.returncode == FAILED
    assert done.stderr == f"error: expected a memory limit of {sentence}\n"
    assert listing(clip.parent) == ["in.mp4"]


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs another user, who has no processes")
@pytest.mark.parametrize("count", [3, 6, 10])
def test_too_few_threads(clip: Path, count: int) -> None:
    for path in (clip, *clip.parents[:3]):
        path.chmod(0o777)
    may_read = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    limited = ["setpriv", "--reuid=54321", "--clear-groups", *may_read, "prlimit", f"--nproc={count}"]
    done = subprocess.run(
        [*limited, *command("in.mp4", "--style", "tiny")], cwd=clip.parent, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == FAILED
    assert done.stderr.startswith("error: expected to start ")
    assert len(done.stderr.splitlines()) == 1
    assert listing(clip.parent) == ["in.mp4"]


@pytest.mark.parametrize(
    "args", [["/in.mp4"], ["in.mp4", "-o", "out.mp4"], ["styles"], ["train", "a", "--name", "x"]], ids=" ".join
)
def test_current_folder_is_gone(tmp_path: Path, args: list[str]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = run_process(*args, cwd=gone, preexec_fn=gone.rmdir)
    assert done.returncode == FAILED
    assert done.stderr == "error: the current folder is gone, change to one that exists (No such file or directory)\n"


# Names


@pytest.mark.parametrize("length", [247, 255])
def test_names_as_long_as_the_file_system_allows(clip: Path, length: int) -> None:
    long = clip.rename(clip.with_name("n" * (length - 4) + ".mp4"))
    output = "o" * (length - 4) + ".mp4"
    for options in (["-o", output], ["-o", output, "--overwrite", "--resume"], ["--dry-run", "-o", f"2{output[2:]}"]):
        done = run_cli(long.name, "--style", "tiny", *options, cwd=clip.parent)
        assert done.returncode == 0, done.stderr
    assert listing(clip.parent) == sorted([long.name, output])


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["{}.mp4"], 1),
        (["in.mp4", "-o", "{}.mp4"], 1),
        (["in.mp4", "-o", "{}.mp4", "--resume"], 1),
        (["in.mp4", "-o", "{}.mp4", "--dry-run"], 1),
        (["in.mp4", "-o", "{}/"], 5),
        (["in.mp4", "--style", "{}.onnx"], 4),
        (["in.mp4", "--mask", "{}.png"], 1),
        (["--list", "{}"], 1),
        (["keyframes", "{}.mp4", "--style", "mosaic"], 1),
        (["keyframes", "in.mp4", "--style", "mosaic", "-o", "{}.mp4"], 1),
        (["keyframes", "in.mp4", "--style", "mosaic", "--encoder", "{}"], 4),
        (["paint", "{}.png", "--style", "mosaic"], 1),
        (["paint", "in.mp4.png", "--style", "{}.png"], 1),
        (["styles", "add", "{}.onnx"], 4),
        (["styles", "--sheet", "{}.png", "--image", "in.mp4"], 1),
        (["train", "{}.png", "--name", "x", "--photos", "."], 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_name_that_is_too_long(clip: Path, args: list[str], code: int) -> None:
    done = run_cli(*(arg.format("x" * 260) for arg in args), cwd=clip.parent)
    assert done.returncode == code, done.stderr
    [error] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "unexpected" not in error
    assert listing(clip.parent) == ["in.mp4"]
