"""A real GPU gives the same images as the CPU. Skipped without CUDA, unless VIDSTYLE_REQUIRE_CUDA=1 makes that a failure."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.helpers import paint, run_cli, write_clip
from tests.support.networks import soft_image
from vidstyle.core.errors import DeviceError
from vidstyle.core.options import StyleOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.sources.video import VideoSource
from vidstyle.stylizers import load_stylizer

pytestmark = pytest.mark.gpu


def on_cuda(backend: Any) -> Stylizer:
    """A stylizer on CUDA; skips the test without CUDA, or fails it where CUDA is required."""
    try:
        return load_stylizer(StyleOptions("tiny", device="cuda", backend=backend))
    except DeviceError as error:
        if os.environ.get("VIDSTYLE_REQUIRE_CUDA") == "1":
            pytest.fail(f"VIDSTYLE_REQUIRE_CUDA=1, but {error}")
        pytest.skip(f"no CUDA: {error}")


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_cuda_gives_the_same_images_as_the_cpu(backend: Any) -> None:
    stylizer = on_cuda(backend)
    images = [soft_image(61, 83, seed) for seed in range(3)]
    expected = load_stylizer(StyleOptions("tiny", device="cpu", backend=backend)).stylize(images)
    assert np.abs(stylizer.stylize(images).astype(int) - expected).max() <= 3
    assert stylizer.engine.device == "cuda:0"


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_results_stay_the_same_over_many_batches_of_different_sizes(backend: Any) -> None:
    """Buffers are reused, graphs captured, and batches filled up."""
    stylizer = on_cuda(backend)
    images = [soft_image(61, 83, seed) for seed in range(4)]
    expected = load_stylizer(StyleOptions("tiny", device="cpu", backend=backend)).stylize(images)
    with ThreadPoolExecutor(stylizer.concurrency) as executor:
        for count, stylized in executor.map(lambda n: (n, stylizer.stylize(images[:n])), [4, 4, 4, 4, 1, 3, 4, 2] * 3):
            assert np.abs(stylized.astype(int) - expected[:count]).max() <= 3


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_shots_keep_their_own_statistics(backend: Any) -> None:
    stylizer = on_cuda(backend)
    on_cpu = load_stylizer(StyleOptions("tiny", device="cpu", backend=backend))
    image = soft_image(61, 83)
    shots = [[image], [255 - image]]
    expected = [on_cpu.for_shot(shot).stylize([image]).astype(int) for shot in shots]
    made = [stylizer.for_shot(shot) for shot in shots]
    for wanted in [0, 1, 0, 0, 0, 1, 1, 1, 1]:
        assert np.abs(made[wanted].stylize([image]) - expected[wanted]).max() <= 4


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_both_engines_stylize_tiles_when_memory_is_short(backend: Any) -> None:
    stylizer = on_cuda(backend)
    images = [soft_image(400, 600, seed) for seed in range(3)]
    expected = stylizer.stylize(images).astype(int)
    stylizer._fitter._max_images[400, 600] = 0  # type: ignore[attr-defined]  # as if not even one fitted
    assert np.abs(stylizer.stylize(images) - expected).max() <= 3


def test_auto_selects_an_engine_on_the_gpu() -> None:
    on_cuda("onnx")
    stylizer = load_stylizer(StyleOptions("tiny", device="cuda"))
    expected = load_stylizer(StyleOptions("tiny", device="cpu")).stylize([soft_image(61, 83)])
    assert np.abs(stylizer.stylize([soft_image(61, 83)]).astype(int) - expected).max() <= 3
    assert stylizer.engine.device == "cuda:0"


def test_the_gpu_decodes_the_same_images(tmp_path: Path) -> None:
    on_cuda("onnx")
    clip = write_clip(tmp_path / "in.mp4")
    frames = []
    for gpu in (None, "0"):
        with closing(VideoSource(str(clip), gpu=gpu)) as source:
            frames.append([(frame.pts, frame.duration, frame.pixels.tobytes()) for frame in source.frames()])
            if gpu is not None and source._decoder._on_gpu is None:
                pytest.skip("this GPU cannot decode video")
    assert frames[0] == frames[1]


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_the_command_line_runs_on_cuda(clip: Path, backend: str) -> None:
    on_cuda(backend)
    done = paint(clip, "--device", "cuda:0", "--backend", backend)
    assert "cuda" in done.stderr.lower()


@pytest.mark.skipif(torch.cuda.is_available() or Path("/proc/driver/nvidia").exists(), reason="there is a GPU")
@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_device_cuda_without_a_gpu_is_an_error(clip: Path, backend: str) -> None:
    done = run_cli("-q", clip, "--style", "tiny", "--device", "cuda", "--backend", backend)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert "--device cpu" in done.stderr
    assert not clip.with_name("in.tiny.mp4").exists()
