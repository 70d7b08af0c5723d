"""Styles with random weights in a catalogue of their own, so that no test needs a trained model."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.helpers import write_clip
from tests.support.related_styles import write_relatives
from vidstyle.networks.export import export_onnx
from vidstyle.networks.transformer_net import ARCHITECTURES
from vidstyle.styles.catalog import add_style, sha256

# With images this small, more threads only wait for each other, especially on a busy machine.
torch.set_num_threads(1)


def lively_net(architecture: str) -> torch.nn.Module:
    """A network with random weights and matching norm statistics, so that its images are not flat."""
    torch.manual_seed(3)
    net = ARCHITECTURES[architecture]()
    for module in net.modules():
        if isinstance(module, torch.nn.InstanceNorm2d):
            module.momentum = 1.0
            torch.nn.init.normal_(module.weight, 1.0, 0.2)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
    net.train()
    with torch.no_grad():
        net(torch.rand(1, 3, 64, 64))
    return net.eval()


@pytest.fixture(scope="session", autouse=True)
def _tracebacks() -> Iterator[None]:
    """Unexpected errors show their tracebacks: no test takes one for an error on purpose."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDSTYLE_DEBUG", "1")
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_amx() -> Iterator[None]:
    """torch computes in float32 on every CPU, so that results can be compared; `test_torch_cpu.py` tests bfloat16."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vidstyle.stylizers.torch_cpu.has_amx", lambda: False)
        yield


@pytest.fixture(scope="session")
def nets() -> dict[str, torch.nn.Module]:
    """Architecture -> a network."""
    return {architecture: lively_net(architecture) for architecture in ARCHITECTURES}


@pytest.fixture(scope="session", autouse=True)
def styles(tmp_path_factory: pytest.TempPathFactory, nets: dict[str, torch.nn.Module]) -> Iterator[Path]:
    """A catalogue, set by VIDSTYLE_STYLES, with the styles `tiny` (compact) and `slow` (full)."""
    folder = tmp_path_factory.mktemp("styles")
    for name, architecture in (("tiny", "compact"), ("slow", "full")):
        path = folder / f"{name}.onnx"
        facts = {"title": name.title(), "painter": "Nobody", "licence": "CC0"}
        export_onnx(nets[architecture], architecture, path, {"name": name, **facts})
        add_style(folder, name, {"file": path.name, "sha256": sha256(path), **facts})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDSTYLE_STYLES", str(folder))
        yield folder


@pytest.fixture(scope="module")
def relatives(tmp_path_factory: pytest.TempPathFactory, nets: dict[str, torch.nn.Module]) -> Iterator[None]:
    """The user's own styles are those of `related_styles.py`."""
    folder = tmp_path_factory.mktemp("relatives")
    write_relatives(folder, nets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDSTYLE_STYLES", str(folder))
        yield


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """Restore the log level, which command lines run in this process change."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Half a second of video with audio, `in.mp4`, alone in its folder."""
    folder = tmp_path / "clips"
    folder.mkdir()
    return write_clip(folder / "in.mp4", audio=["eng"])
