"""torch on the processor: half the precision where that is fast, and only its own threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vidstyle.core.frames import Pixels
from vidstyle.stylizers.onnx import load_onnx_stylizer
from vidstyle.stylizers.torch import load_torch_stylizer

MODELS = Path(__file__).resolve().parents[2] / "models"


@pytest.fixture(scope="module")
def image() -> Pixels:
    given = cv2.imread(str(MODELS / "scream.jpg"))
    return np.ascontiguousarray(given[40:136, 60:188, ::-1])


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("style", ["udnie", "mosaic", "ink"])
def test_bfloat16_does_not_show(style: str, image: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    path = MODELS / f"{style}.onnx"
    expected = load_onnx_stylizer(path, "cpu").for_shot([image]).stylize([image])
    monkeypatch.setattr("vidstyle.stylizers.torch_cpu.has_tiles", lambda: True)
    stylizer = load_torch_stylizer(path, "cpu").for_shot([image])
    assert stylizer.describe() == "torch on CPU (bfloat16)"
    off = np.abs(stylizer.stylize([image]).astype(int) - expected)
    assert 0 < off.mean() < 0.75
    assert np.percentile(off, 99.9) <= 8


def test_without_tiles_it_paints_what_onnx_runtime_does(image: Pixels) -> None:
    path = MODELS / "udnie.onnx"
    stylizer = load_torch_stylizer(path, "cpu", concurrency=2, cores=2)
    assert stylizer.describe() == "torch on CPU (float32)"
    assert stylizer.concurrency == 2
    assert np.abs(stylizer.stylize([image]).astype(int) - load_onnx_stylizer(path, "cpu").stylize([image])).max() <= 1


@pytest.mark.usefixtures("two_threads")
def test_threads_of_others_stay_as_many(image: Pixels) -> None:
    load_torch_stylizer(MODELS / "udnie.onnx", "cpu", concurrency=2, cores=2).stylize([image])
    told = [torch.get_num_threads()]
    other = threading.Thread(target=lambda: told.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert told == [2, 2]
