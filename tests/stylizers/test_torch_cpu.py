"""torch on a CPU: bfloat16 where that is fast, and threads of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vidstyle.core.frames import Pixels
from vidstyle.core.protocols import Engine
from vidstyle.stylizers.onnx import load_onnx_stylizer
from vidstyle.stylizers.torch import load_torch_stylizer

MODELS = Path(__file__).resolve().parents[2] / "models"


@pytest.fixture(scope="module")
def image() -> Pixels:
    photo = cv2.imread(str(MODELS / "scream.jpg"))
    assert photo is not None
    return np.ascontiguousarray(photo[40:136, 60:188, ::-1], np.uint8)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("style", ["udnie", "mosaic", "ink"])
def test_bfloat16_gives_nearly_the_same_images(style: str, image: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    path = MODELS / f"{style}.onnx"
    expected = load_onnx_stylizer(path, "cpu").for_shot([image]).stylize([image])
    monkeypatch.setattr("vidstyle.stylizers.torch_cpu.has_amx", lambda: True)
    stylizer = load_torch_stylizer(path, "cpu").for_shot([image])
    assert stylizer.engine == Engine("torch", "cpu", "bfloat16")
    off = np.abs(stylizer.stylize([image]).astype(int) - expected)
    assert 0 < off.mean() < 0.75
    assert np.percentile(off, 99.9) <= 8


def test_float32_gives_the_same_images_as_onnx_runtime(image: Pixels) -> None:
    path = MODELS / "udnie.onnx"
    stylizer = load_torch_stylizer(path, "cpu", concurrency=2, cores=2)
    assert stylizer.engine == Engine("torch", "cpu", "float32")
    assert stylizer.describe() == "torch on CPU (float32)"
    assert stylizer.concurrency == 2
    assert np.abs(stylizer.stylize([image]).astype(int) - load_onnx_stylizer(path, "cpu").stylize([image])).max() <= 1


@pytest.mark.usefixtures("two_threads")
def test_the_thread_count_of_other_threads_is_unchanged(image: Pixels) -> None:
    load_torch_stylizer(MODELS / "udnie.onnx", "cpu", concurrency=2, cores=2).stylize([image])
    counts = [torch.get_num_threads()]
    other = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert counts == [2, 2]
