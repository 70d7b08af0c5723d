"""Too little memory: fewer images at once, then tiles of images, and the same results."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from tests.support.helpers import identity_model
from tests.support.networks import soft_image
from vidstyle.core.errors import EXIT_FAILED, MemoryLimitError, is_out_of_memory
from vidstyle.core.options import StyleOptions
from vidstyle.stylizers import load_stylizer
from vidstyle.stylizers.memory import MemoryFitter, receptive_radius
from vidstyle.stylizers.onnx import CpuOnnxStylizer, load_onnx_stylizer
from vidstyle.stylizers.onnx_foreign import ForeignOnnxStylizer
from vidstyle.stylizers.torch import CpuTorchStylizer

ORT_MESSAGE = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. Status Message: "
    "bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal(size_t) Failed to allocate memory for requested buffer "
    "of size 939524096"
)


class TightSession:
    """A session that has no memory for more than `limit` pixels at once; it counts its failures."""

    def __init__(self, session: ort.InferenceSession, limit: int) -> None:
        self.session, self.limit, self.failures = session, limit, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def run(self, outputs: Any, inputs: dict[str, np.ndarray], options: Any = None) -> Any:
        batch = next(iter(inputs.values()))
        if batch.size / 3 > self.limit:
            self.failures += 1
            raise RuntimeError(ORT_MESSAGE)
        return self.session.run(outputs, inputs, options)


def on_cpu(style: str = "tiny") -> CpuOnnxStylizer:
    stylizer = load_stylizer(StyleOptions(style, device="cpu"))
    assert isinstance(stylizer, CpuOnnxStylizer)
    return stylizer


def tight(limit: int, style: str = "tiny") -> tuple[CpuOnnxStylizer, TightSession]:
    stylizer = on_cpu(style)
    session = TightSession(stylizer.session, limit)
    stylizer.session = session
    return stylizer, session


def padded(height: int, width: int) -> int:
    """Pixels of an image of that size once it is padded."""
    return (height + 64 + -(height + 64) % 8) * (width + 64 + -(width + 64) % 8)


@pytest.mark.parametrize("batch", [3, 4, 5, 8])
def test_batches_are_halved_and_no_frame_is_lost(batch: int) -> None:
    images = [soft_image(61, 83, seed) for seed in range(batch)]
    stylizer, session = tight(2 * padded(61, 83))
    assert (stylizer.stylize(images) == on_cpu().stylize(images)).all()
    assert session.failures


def test_a_batch_size_that_fits_is_remembered() -> None:
    images = [soft_image(61, 83, seed) for seed in range(4)]
    stylizer, session = tight(2 * padded(61, 83))
    stylizer.stylize(images)
    failures = session.failures
    stylizer.stylize(images)
    assert session.failures == failures


@pytest.mark.parametrize(("style", "height", "width"), [("tiny", 500, 330), ("tiny", 330, 611), ("slow", 330, 500)])
def test_tiles_of_an_image_join_without_a_seam(style: str, height: int, width: int) -> None:
    images = [soft_image(height, width, seed) for seed in range(2)]
    stylizer, session = tight(padded(height, width) * 3 // 4, style)
    stylized = stylizer.stylize(images)
    assert session.failures >= 2
    assert np.abs(stylized.astype(int) - on_cpu(style).stylize(images)).max() <= 1


def test_tiles_are_divided_again() -> None:
    images = [soft_image(700, 700)]
    stylizer, _ = tight(padded(700, 700) // 3)
    assert np.abs(stylizer.stylize(images).astype(int) - on_cpu().stylize(images)).max() <= 1


def test_a_new_shot_keeps_the_known_batch_sizes() -> None:
    images = [soft_image(61, 83, seed) for seed in range(4)]
    stylizer, _ = tight(2 * padded(61, 83))
    stylizer.stylize(images)
    shot = stylizer.for_shot(images)
    assert isinstance(shot, CpuOnnxStylizer)
    shot.session = session = TightSession(shot.session, 2 * padded(61, 83))
    shot.stylize(images)
    assert session.failures == 0


def test_lack_of_memory_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    stylizer, _ = tight(padded(330, 500) * 3 // 4)
    with caplog.at_level(logging.WARNING):
        for seed in range(3):
            stylizer.stylize([soft_image(330, 500, seed)] * 4)
    assert len(caplog.messages) == 1
    assert "memory" in caplog.messages[0]


def test_an_error_is_raised_where_not_even_tiles_fit() -> None:
    stylizer, _ = tight(100)
    with pytest.raises(MemoryLimitError, match=r"image of \d+x\d+.*--height") as raised:
        stylizer.stylize([soft_image(600, 600)] * 2)
    assert raised.value.exit_code == EXIT_FAILED
    assert "\n" not in str(raised.value)


def test_images_are_not_divided_for_models_that_use_the_whole_image(tmp_path: Path) -> None:
    model = identity_model(tmp_path / "m.onnx")
    stylizer = load_onnx_stylizer(model, "cpu")
    assert isinstance(stylizer, ForeignOnnxStylizer)
    stylizer.session = TightSession(stylizer.session, 2 * 600 * 600)
    images = [soft_image(600, 600, seed) for seed in range(4)]
    assert (stylizer.stylize(images) == np.stack(images)).all()
    stylizer.session.limit = 1
    with pytest.raises(MemoryLimitError):
        stylizer.stylize(images)


def test_statistics_are_measured_on_smaller_images_when_memory_is_short() -> None:
    images = [soft_image(300, 400, seed) for seed in range(2)]
    expected = on_cpu().for_shot(images).statistics()
    stylizer = on_cpu()
    at_once = stylizer.concurrency
    session, names = stylizer._measuring_session(at_once)
    stylizer._measuring_sessions[at_once] = TightSession(session, padded(300, 400) // 2), names
    found = stylizer.for_shot(images).statistics()
    assert found.keys() == expected.keys()
    assert any((found[name] != expected[name]).any() for name in found)
    assert all(np.isfinite(value).all() for value in found.values())


class TightNet(torch.nn.Module):
    """A network that has no memory for more than `limit` pixels at once."""

    def __init__(self, net: torch.nn.Module, limit: int) -> None:
        super().__init__()
        self.net, self.limit = net, limit

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.numel() / 3 > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        y: torch.Tensor = self.net(x)
        return y


def test_torch_stylizes_tiles_when_memory_is_short() -> None:
    stylizer = load_stylizer(StyleOptions("tiny", device="cpu", backend="torch"))
    assert isinstance(stylizer, CpuTorchStylizer)
    images = [soft_image(330, 500, seed) for seed in range(3)]
    expected = stylizer.stylize(images).astype(int)
    stylizer._plain = TightNet(stylizer._plain, padded(330, 500) * 3 // 4)
    assert np.abs(expected - stylizer.stylize(images)).max() <= 1
    assert stylizer._fitter.max_images(330 + 64 + 6, 500 + 64 + 4) == 0


@pytest.mark.parametrize("style", ["tiny", "slow"])
def test_the_receptive_radius_bounds_what_a_pixel_influences(styles: Path, style: str) -> None:
    radius = receptive_radius(onnx.load(styles / f"{style}.onnx"))
    assert radius is not None
    size = 2 * (radius + 40)
    images = np.full((2, size, size, 3), 128, np.uint8)
    images[1, size // 2, size // 2] = 255
    stylizer = on_cpu(style)
    stylized = np.concatenate([stylizer.stylize([image]) for image in images]).astype(int)
    changed = np.argwhere((stylized[0] != stylized[1]).any(-1))
    assert len(changed)
    assert np.abs(changed - size // 2).max() <= radius


def test_the_receptive_radius_of_a_global_operator_is_unknown(tmp_path: Path, styles: Path) -> None:
    model = onnx.load(styles / "tiny.onnx")
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "GlobalAveragePool"
    assert receptive_radius(model) is None


ERRORS = [
    MemoryError(),
    RuntimeError(ORT_MESSAGE),
    RuntimeError("CUDA failure 2: out of memory ; GPU=0 ; hostname=x ; expr=cudaMalloc((void**)&p, size);"),
    RuntimeError("CUDNN failure 4000: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"),
    RuntimeError("CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
]


@pytest.mark.parametrize("error", ERRORS, ids=range(len(ERRORS)))
def test_out_of_memory_errors_are_recognized(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("text", ["CUDA failure 700: an illegal memory access was encountered", "Invalid rank for input: image"])
def test_other_errors_are_not_out_of_memory(text: str) -> None:
    assert not is_out_of_memory(RuntimeError(text))


@pytest.mark.parametrize(("height", "width"), [(700, 300), (300, 700), (640, 640)])
def test_tiles_with_cropped_borders_join_without_a_seam(height: int, width: int) -> None:
    images = np.stack([soft_image(height, width, seed) for seed in range(2)])

    def stylize(batch: np.ndarray) -> np.ndarray:
        if batch.size / 3 > height * width * 0.4:
            raise MemoryLimitError("too little")
        return batch[:, 8:-8, 8:-8]

    assert (MemoryFitter(40, 8).stylize(images, stylize) == images[:, 8:-8, 8:-8]).all()


def test_two_threads_that_fail_at_once_halve_the_batch_once() -> None:
    fitter = MemoryFitter(None, 1)
    images = np.zeros((8, 4, 4, 3), np.uint8)
    inner = False

    def stylize(batch: np.ndarray) -> np.ndarray:
        nonlocal inner
        if len(batch) > 4:
            if not inner:
                inner = True
                fitter.stylize(images, stylize)  # meanwhile, in another thread
            raise MemoryLimitError("too little")
        return batch

    assert (fitter.stylize(images, stylize) == images).all()
    assert fitter.max_images(4, 4) == 4
