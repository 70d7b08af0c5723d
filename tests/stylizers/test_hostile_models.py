"""Hostile models: refused with one sentence, whatever they do to the engines, and with nothing left behind."""

from __future__ import annotations

import errno
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from tests.support.helpers import identity_model, listing, run_cli
from tests.support.hostile_models import MODELS, blocksize, scaled_by, slow, too_large, write_canary
from tests.support.networks import soft_image
from tests.support.runs import finish, start, wait_until
from tests.support.verifier import Verifier
from vidstyle.core.errors import EXIT_DONE, EXIT_MODEL, StyleError
from vidstyle.core.options import StyleOptions
from vidstyle.networks.examples_net import ExamplesTransformerNet
from vidstyle.stylizers import load_stylizer, verification
from vidstyle.stylizers.verification import verify_isolated, verify_model

set_hypothesis_home_dir(Path(tempfile.gettempdir(), "hypothesis"))  # no folder in the working tree


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file that models refer to; no model is known."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path / "models")
    write_canary(tmp_path / "models")
    return tmp_path / "models"


def children(process: int) -> list[str]:
    """The ids of the processes that a process started."""
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def written(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "bad.onnx"
    path.write_bytes(model.SerializePartialToString())
    return path


@pytest.mark.parametrize("name", MODELS)
def test_hostile_model_is_refused(folder: Path, styles: Path, name: str) -> None:
    make, words = MODELS[name]
    path = written(folder, make(onnx.load(styles / "tiny.onnx")))
    with pytest.raises(StyleError) as caught:
        verify_model(path)
    message = str(caught.value)
    assert words in message
    assert str(path) in message
    assert "\n" not in message
    assert caught.value.exit_code == EXIT_MODEL


CRASHES = "makes the engine crash"


@pytest.mark.parametrize("name", ["sparse initializer", "ours, block size 0", "a crash"])
def test_hostile_model_costs_nothing_on_the_command_line(folder: Path, styles: Path, clip: Path, name: str) -> None:
    make, words = MODELS.get(name, (blocksize(1 << 60), CRASHES))
    path = written(folder, make(onnx.load(styles / "tiny.onnx")))
    done = run_cli("-q", clip, "--style", path)
    assert done.returncode == EXIT_MODEL
    [line] = done.stderr.splitlines()
    assert words in line
    assert listing(clip.parent) == ["in.mp4"]


def test_model_that_takes_too_long_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "MAX_SECONDS", 1)
    with pytest.raises(StyleError, match="within 1 s, this one takes longer"):
        verify_isolated(written(folder, slow()))
    monkeypatch.setattr(verification, "MAX_WALL_SECONDS", 0.5)
    with pytest.raises(StyleError, match="takes longer"):
        verify_isolated(written(folder, slow()))
    assert not children(os.getpid())


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_DATA")
def test_model_that_takes_too_much_memory_is_refused(folder: Path) -> None:
    with pytest.raises(StyleError, match="4096 MiB of memory, this one needs more"):
        verify_isolated(written(folder, too_large()))


def test_lack_of_processes_is_not_blamed_on_the_model(folder: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start_no_process(*args: object, **options: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(verification, "start_module", start_no_process)
    done = run_cli("-q", clip, "--style", identity_model(folder / "mine.onnx"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "raise the limit" in done.stderr


def test_model_is_tried_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = identity_model(folder / "mine.onnx")
    tried = []
    monkeypatch.setattr(verification, "verify_isolated", lambda path, check: tried.append(path))
    for _ in range(2):
        load_stylizer(StyleOptions(str(path)))
    identity_model(path, ("n", 3, 32, 32))
    load_stylizer(StyleOptions(str(path)))
    for name in ("mosaic", "tiny"):
        load_stylizer(StyleOptions(name))
    assert tried == [path, path]


def test_refused_model_is_tried_again(folder: Path) -> None:
    path = written(folder, MODELS["loop"][0](onnx.ModelProto()))
    for _ in range(2):
        with pytest.raises(StyleError, match="Loop"):
            load_stylizer(StyleOptions(str(path)))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_adding_a_model_that_never_ends_can_be_interrupted(folder: Path) -> None:
    own = folder.parent / "own"
    process = start("styles", "add", written(folder, slow(steps=1000)), cwd=folder, env={"VIDSTYLE_STYLES": str(own)})
    wait_until(lambda: children(process.pid) != [], process, "the model is tried")
    [child] = children(process.pid)
    process.send_signal(signal.SIGINT)
    assert finish(process).code == 130
    assert listing(own) == []
    assert not Path(f"/proc/{child}").exists()


def bad_weights(folder: Path, kind: str) -> Path:
    """A `.pth` file that is not what it seems to be."""
    torch.manual_seed(6)
    path, state = folder / "bad.pth", ExamplesTransformerNet(4).state_dict()
    torch.save(state | {3: torch.zeros(1)} if kind == "number as a key" else state, path)
    data = path.read_bytes()
    if kind == "black":
        torch.save({name: torch.full_like(value, float("nan")) for name, value in state.items()}, path)
    elif kind == "half":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "zeros":
        path.write_bytes(bytes(4096))
    elif kind == "blank lines":
        path.write_bytes(b"\n\n\n")
    return path


@pytest.mark.parametrize("kind", ["empty", "half", "zeros", "blank lines", "number as a key", "black"])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_bad_weights_are_refused(folder: Path, kind: str) -> None:
    with pytest.raises(StyleError, match=r"bad\.pth") as caught:
        verify_model(bad_weights(folder, kind))
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    running = Verifier()
    yield running
    running.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_model_works_or_is_refused(folder: Path, styles: Path, verifier: Verifier, data: st.DataObject) -> None:
    content = bytearray((styles / "tiny.onnx").read_bytes())
    graph = len(content) - sum(len(t.raw_data) for t in onnx.load(styles / "tiny.onnx").graph.initializer)
    for _ in range(data.draw(st.integers(1, 4))):  # most damage is where the network is described
        at = data.draw(st.integers(0, min(graph, len(content)) - 1))
        content[at] = data.draw(st.integers(0, 255))
    (folder / "bad.onnx").write_bytes(content)
    code = verifier.code(folder / "bad.onnx")
    assert code in (EXIT_DONE, EXIT_MODEL) or code < 0  # a crash, which is reported as `CRASHES`


def test_output_of_another_size_is_scaled_back(folder: Path) -> None:
    image = soft_image(48, 66)
    for factor in (2.0, 0.5):
        path = written(folder, scaled_by(factor, factor))
        [stylized] = load_stylizer(StyleOptions(str(path))).stylize([image])
        assert stylized.shape == image.shape
        assert np.abs(stylized.astype(int) - image).mean() < 30
