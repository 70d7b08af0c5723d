"""On a GPU: the same picture as on the CPU. Skipped without CUDA, which VIDSTYLE_REQUIRE_CUDA=1 turns into a failure."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import paint, run_cli
from test_networks import soft_picture

from vidstyle.errors import DeviceError
from vidstyle.options import StyleOptions
from vidstyle.stages import Stylizer
from vidstyle.stylizers import load_stylizer


def on_cuda(backend: str) -> Stylizer:
    """The style on CUDA; skips where there is none, or fails where it is required."""
    try:
        return load_stylizer(StyleOptions("tiny", device="cuda", backend=backend))  # type: ignore[arg-type]
    except DeviceError as error:
        if os.environ.get("VIDSTYLE_REQUIRE_CUDA") == "1":
            pytest.fail(f"VIDSTYLE_REQUIRE_CUDA=1, but {error}")
        pytest.skip(f"no CUDA: {error}")


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_cuda_paints_what_the_cpu_paints(backend: str) -> None:
    stylizer = on_cuda(backend)
    pictures = [soft_picture(61, 83, seed) for seed in range(3)]
    expected = load_stylizer(StyleOptions("tiny", device="cpu", backend=backend)).stylize(pictures)  # type: ignore[arg-type]
    assert np.abs(stylizer.stylize(pictures).astype(int) - expected).max() <= 3
    assert "cuda" in stylizer.describe().lower()


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_the_command_line_takes_cuda(clip: Path, backend: str) -> None:
    on_cuda(backend)
    done = paint(clip, "--device", "cuda:0", "--backend", backend)
    assert "cuda" in done.stderr.lower()


@pytest.mark.skipif(torch.cuda.is_available() or Path("/proc/driver/nvidia").exists(), reason="there is a GPU")
@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_without_cuda_it_is_an_error_and_no_silent_cpu_run(clip: Path, backend: str) -> None:
    done = run_cli("-q", clip, "--style", "tiny", "--device", "cuda", "--backend", backend)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert "--device cpu" in done.stderr
    assert not clip.with_name("in.tiny.mp4").exists()
