"""The code for GPUs, on a machine without one: providers, buffers and GPUs are simulated."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from tests.support.helpers import environment, identity_model
from tests.support.networks import soft_image
from vidstyle.core.errors import EXIT_MODEL, DeviceError, StyleError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import StyleOptions
from vidstyle.core.protocols import Engine, Stylizer
from vidstyle.core.user_cache import cache_file
from vidstyle.networks.device import find_device
from vidstyle.networks.fusion import fused
from vidstyle.stylizers import load_stylizer, sessions, torch_cuda
from vidstyle.stylizers.engine_selection import SelectingStylizer, Selection, select_engine
from vidstyle.stylizers.onnx import CpuOnnxStylizer, GpuOnnxStylizer
from vidstyle.stylizers.torch import CpuTorchStylizer, GpuTorchStylizer
from vidstyle.stylizers.torch_cuda import CudaNetwork

ROOT = Path(__file__).parents[2]
IMAGES = [soft_image(61, 83, seed) for seed in range(4)]
Real = ort.InferenceSession


class Gpu:
    """A GPU simulated by the CPU: which providers are available, which of them open, and what fails when."""

    def __init__(self) -> None:
        self.providers = [sessions.TENSORRT, sessions.CUDA, sessions.CPU]
        self.opens = {sessions.CUDA, sessions.CPU}
        self.raises: set[str] = set()
        self.most_pixels = 10**9
        self.fails_at: int | None = None
        self.opened: list[list[Any]] = []
        self.runs: list[tuple[tuple[int, ...], str]] = []
        self.tensorrt_runs = self.captures = True

    def session(self, model: bytes, options: Any, providers: list[Any], enable_fallback: int = 1) -> SimulatedSession:
        assert enable_fallback == 0, "ONNX Runtime would print"
        self.opened.append(providers)
        if sessions.name_of(providers[0]) in self.raises:
            raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected")
        return SimulatedSession(self, Real(model, options, providers=[sessions.CPU]), providers)


class SimulatedSession:
    """A session on the simulated GPU. It runs on the CPU, and records the shape and graph of every bound run."""

    def __init__(self, gpu: Gpu, session: ort.InferenceSession, providers: list[Any]) -> None:
        self.gpu, self.session = gpu, session
        self.names = [name for name in map(sessions.name_of, providers) if name in gpu.opens]
        self.options = {sessions.name_of(p): {} if isinstance(p, str) else p[1] for p in providers}
        self._sess = session._sess

    def get_providers(self) -> list[str]:
        return self.names

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        return self.options

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def run(self, outputs: Any, inputs: dict[str, np.ndarray], options: Any = None) -> Any:
        if self.names[0] == sessions.TENSORRT and not self.gpu.tensorrt_runs:
            raise RuntimeError("TensorRT EP failed to create engine from network.")
        return self.session.run(outputs, inputs, options)

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        shape = tuple(binding._bound_inputs["image"].shape())
        gpu = self.gpu
        if len(gpu.runs) == gpu.fails_at:
            gpu.fails_at = None
            raise RuntimeError("CUDA failure 719: unspecified launch failure ; GPU=0")
        if np.prod(shape[:3]) > gpu.most_pixels:
            raise RuntimeError("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 9")
        graph = options.get_run_config_entry("gpu_graph_id") if self.has_graphs() else ""
        if graph not in ("", "-1") and not gpu.captures:
            raise RuntimeError("CUDA failure 900: operation not permitted when stream is capturing")
        gpu.runs.append((shape, graph))
        self.session.run_with_iobinding(binding, options)

    def has_graphs(self) -> bool:
        return bool(self.options[sessions.CUDA].get("enable_cuda_graph") == "1")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Gpu]:
    """A GPU that ONNX Runtime can use and torch cannot."""
    simulated = Gpu()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(ort, "InferenceSession", simulated.session)
    monkeypatch.setattr(ort, "get_available_providers", lambda: simulated.providers)
    make, bring = ort.OrtValue.ortvalue_from_shape_and_type, ort.OrtValue.numpy
    monkeypatch.setattr(ort.OrtValue, "ortvalue_from_shape_and_type", lambda shape, kind, *place: make(shape, kind))
    monkeypatch.setattr(ort.OrtValue, "numpy", lambda value: bring(value).copy())
    for module in ("core.hardware", "stylizers.sessions"):
        monkeypatch.setattr(f"vidstyle.{module}.has_nvidia", lambda: True)
    monkeypatch.setattr(sessions, "_preload", lambda: None)
    monkeypatch.setattr(sessions, "has_tensorrt", lambda: False)
    sessions._warn_once.cache_clear()
    yield simulated
    sessions._warn_once.cache_clear()


def on_gpu(device: str = "cuda", style: str = "tiny") -> GpuOnnxStylizer:
    stylizer = load_stylizer(StyleOptions(style, device=device, backend="onnx"))
    assert isinstance(stylizer, GpuOnnxStylizer)
    return stylizer


def on_cpu(style: str = "tiny") -> CpuOnnxStylizer:
    stylizer = load_stylizer(StyleOptions(style, device="cpu"))
    assert isinstance(stylizer, CpuOnnxStylizer)
    return stylizer


def differ(first: np.ndarray, second: np.ndarray) -> int:
    assert first.shape == second.shape
    return int(np.abs(first.astype(int) - second).max())


# --- ONNX Runtime: providers and buffers


@pytest.mark.parametrize("style", ["tiny", "slow"])
def test_the_gpu_network_gives_the_same_images_as_the_cpu(gpu: Gpu, style: str) -> None:
    stylizer = on_gpu(style=style)
    assert differ(stylizer.stylize(IMAGES), on_cpu(style).stylize(IMAGES)) <= 2
    assert gpu.runs
    assert stylizer.engine == Engine("onnxruntime", "cuda:0", "float16")


def test_the_session_has_the_fast_cuda_options(gpu: Gpu) -> None:
    on_gpu("cuda:1")
    name, options = gpu.opened[0][0]
    assert name == sessions.CUDA
    assert options["device_id"] == "1"
    assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    assert options["enable_cuda_graph"] == "1"


def test_a_new_shot_changes_the_weights_without_opening_a_session(gpu: Gpu) -> None:
    shots = [IMAGES, [255 - image for image in IMAGES]]
    stylizer = on_gpu()
    first = stylizer.for_shot(shots[0])
    opened = len(gpu.opened)
    second = stylizer.for_shot(shots[1])
    expected = [on_cpu().for_shot(shot).stylize(IMAGES) for shot in shots]
    assert differ(expected[0], expected[1]) > 5, "the statistics make no difference"
    for shot, wanted in [(first, 0), (second, 1), (first, 0)]:
        assert differ(shot.stylize(IMAGES), expected[wanted]) <= 2
    passed_on = stylizer.with_statistics(second.statistics())
    assert differ(passed_on.stylize(IMAGES), expected[1]) <= 2
    assert all(providers == [sessions.CPU] for providers in gpu.opened[opened:])


def test_shots_stylized_by_two_threads_keep_their_own_weights(gpu: Gpu) -> None:
    stylizer = on_gpu()
    shots = [stylizer.for_shot([image]) for image in (IMAGES[0], 255 - IMAGES[0])]
    expected = [shot.stylize(IMAGES[:1]) for shot in shots]
    with ThreadPoolExecutor(stylizer.concurrency) as executor:
        stylized = list(executor.map(lambda n: shots[n % 2].stylize(IMAGES[:1]), range(40)))
    assert stylizer.concurrency == 2
    assert all((image == expected[n % 2]).all() for n, image in enumerate(stylized))


def test_batches_keep_their_shape(gpu: Gpu) -> None:
    stylizer = on_gpu()
    expected = on_cpu().stylize(IMAGES)
    for count in (4, 3, 1, 4):
        assert differ(stylizer.stylize(IMAGES[:count]), expected[:count]) <= 2
    assert len({shape for shape, _ in gpu.runs}) == 1


def test_graphs_are_captured_for_repeated_shapes_only(gpu: Gpu) -> None:
    stylizer = on_gpu()
    for _ in range(4):
        stylizer.stylize(IMAGES)
    stylizer.stylize([soft_image(40, 40)])
    graphs = [graph for _, graph in gpu.runs]
    assert graphs == ["-1", "-1", "1", "1", "-1"]


def test_a_failed_capture_loses_no_frame_and_is_not_repeated(gpu: Gpu) -> None:
    stylizer = on_gpu()
    gpu.captures = False
    for _ in range(6):
        assert differ(stylizer.stylize(IMAGES), on_cpu().stylize(IMAGES)) <= 2
    assert [graph for _, graph in gpu.runs] == ["-1"] * 6


def test_no_graphs_are_captured_where_the_session_cannot(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(model: bytes, options: Any, providers: list[Any], enable_fallback: int = 1) -> SimulatedSession:
        if not isinstance(providers[0], str) and "enable_cuda_graph" in providers[0][1]:
            raise RuntimeError("This session cannot use the graph capture feature")
        return gpu.session(model, options, providers, enable_fallback)

    monkeypatch.setattr(ort, "InferenceSession", refusing)
    stylizer = on_gpu()
    for _ in range(4):
        assert differ(stylizer.stylize(IMAGES), on_cpu().stylize(IMAGES)) <= 2
    assert {graph for _, graph in gpu.runs} == {""}


@pytest.mark.parametrize("how", ["silently", "with an error"])
def test_auto_falls_back_to_the_cpu_with_one_warning(
    gpu: Gpu, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], how: str
) -> None:
    if how == "silently":
        gpu.opens = {sessions.CPU}
    else:
        gpu.raises = {sessions.CUDA}
    with caplog.at_level(logging.WARNING):
        stylizer = load_stylizer(StyleOptions("tiny", backend="onnx")).for_shot(IMAGES)
        assert (stylizer.stylize(IMAGES) == on_cpu().for_shot(IMAGES).stylize(IMAGES)).all()
    assert stylizer.engine == Engine("onnxruntime", "cpu", "float32")
    assert len(caplog.messages) == 1
    assert "CPU" in caplog.messages[0]
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("how", ["silently", "with an error"])
def test_device_cuda_never_falls_back_to_the_cpu(gpu: Gpu, how: str) -> None:
    if how == "silently":
        gpu.opens = {sessions.CPU}
    else:
        gpu.raises = {sessions.CUDA}
    with pytest.raises(DeviceError, match="--device cpu") as raised:
        on_gpu("cuda")
    assert raised.value.exit_code == EXIT_MODEL
    assert "\n" not in str(raised.value)


def test_a_bad_model_is_not_reported_as_a_gpu_problem(gpu: Gpu, tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    model = identity_model(path)
    path.write_bytes(model.read_bytes().replace(b"Identity", b"Identitx"))
    with pytest.raises(StyleError):
        load_stylizer(StyleOptions(str(path), device="cuda", backend="onnx"))


def test_a_foreign_graph_with_vidstyle_metadata_is_refused(gpu: Gpu, tmp_path: Path) -> None:
    model = onnx.load(identity_model(tmp_path / "claims.onnx"))
    onnx.helper.set_model_props(model, {"vidstyle.margin": "32", "vidstyle.multiple": "8", "vidstyle.architecture": "compact"})
    onnx.save(model, tmp_path / "claims.onnx")
    for device in ("cuda", "auto"):
        with pytest.raises(StyleError, match=r"claims\.onnx"):
            load_stylizer(StyleOptions(str(tmp_path / "claims.onnx"), device=device, backend="onnx"))


@pytest.mark.parametrize("device", ["cuda:x", "gpu", "auto:1", "cuda:-1"])
def test_an_unknown_device_is_refused(gpu: Gpu, device: str) -> None:
    with pytest.raises(DeviceError, match="expected auto, cpu, cuda or cuda:N"):
        on_gpu(device)


def test_a_gpu_failure_is_an_error_of_one_sentence(gpu: Gpu) -> None:
    stylizer = on_gpu()
    gpu.fails_at = 1
    stylizer.stylize(IMAGES)
    with pytest.raises(DeviceError, match=r"unspecified launch failure.*--device cpu") as raised:
        stylizer.stylize(IMAGES)
    assert "\n" not in str(raised.value)
    assert differ(stylizer.stylize(IMAGES), on_cpu().stylize(IMAGES)) <= 2, "a new session is opened"


@pytest.mark.parametrize(("capacity", "max_images"), [(2.5, 2), (0.75, 0)], ids=["batches", "tiles"])
def test_too_little_memory_on_the_gpu_loses_no_frame(gpu: Gpu, capacity: float, max_images: int) -> None:
    images = [soft_image(330, 500, seed) for seed in range(5)]
    expected = on_cpu().stylize(images)
    stylizer = on_gpu()
    gpu.most_pixels = int(capacity * (330 + 64 + 6) * (500 + 64 + 4))
    assert differ(stylizer.stylize(images), expected) <= 2
    assert stylizer._fitter.max_images(330, 500) == max_images
    assert differ(stylizer.stylize(images[:2]), expected[:2]) <= 2


# --- TensorRT


@pytest.fixture
def tensorrt(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> Gpu:
    gpu.opens.add(sessions.TENSORRT)
    monkeypatch.setattr(sessions, "has_tensorrt", lambda: True)
    return gpu


def test_tensorrt_runs_models_of_fixed_size_and_caches_engines(tensorrt: Gpu, tmp_path: Path) -> None:
    model = identity_model(tmp_path / "fixed.onnx", (1, 3, 32, 48))
    stylizer = load_stylizer(StyleOptions(str(model), device="cuda", backend="onnx"))
    assert stylizer.engine == Engine("tensorrt", "cuda:0", "float16")
    options = tensorrt.opened[0][0][1]
    assert options["trt_engine_cache_enable"] == options["trt_fp16_enable"] == "1"
    assert Path(options["trt_engine_cache_path"]).is_dir()
    assert stylizer.stylize(IMAGES).shape == (4, 61, 83, 3)


def test_tensorrt_is_not_used_for_models_of_variable_size(tensorrt: Gpu, tmp_path: Path) -> None:
    on_gpu()
    load_stylizer(StyleOptions(str(identity_model(tmp_path / "any.onnx")), device="cuda", backend="onnx"))
    assert all(sessions.name_of(providers[0]) != sessions.TENSORRT for providers in tensorrt.opened)


def test_cuda_is_used_where_tensorrt_fails(tensorrt: Gpu, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tensorrt.tensorrt_runs = False
    model = identity_model(tmp_path / "fixed.onnx", (1, 3, 32, 48))
    with caplog.at_level(logging.WARNING, "vidstyle.stylizers.sessions"):
        stylizer = load_stylizer(StyleOptions(str(model), device="cuda", backend="onnx"))
    assert stylizer.engine == Engine("onnxruntime", "cuda:0", "float32")
    assert len([message for message in caplog.messages if "TensorRT" in message]) == 1


# --- which engine


class TimedStylizer(Stylizer):
    """A stylizer that takes `seconds` of the simulated clock for a batch, and whose images are all `level`."""

    def __init__(self, clock: list[float], name: str, seconds: float, level: int, failure: Exception | None = None) -> None:
        self.clock, self.name, self.seconds, self.level, self.failure = clock, name, seconds, level, failure
        self.stylized = 0

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        if self.failure is not None:
            raise self.failure
        self.stylized += len(images)
        self.clock[0] += self.seconds
        return np.full_like(np.stack(images), self.level)

    def for_shot(self, images: Iterable[Pixels]) -> TimedStylizer:
        list(images)
        return self

    @property
    def engine(self) -> Engine:
        return Engine(self.name, "cuda:0", "float16")

    def statistics(self) -> Mapping[str, np.ndarray]:
        return {self.name: np.zeros(1)}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[float]:
    """The clock of `engine_selection`, and an empty cache folder."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return now


def engines(clock: list[float], onnx: float, torch_: float) -> dict[str, TimedStylizer]:
    return {"onnx": TimedStylizer(clock, "onnx", onnx, 1), "torch": TimedStylizer(clock, "torch", torch_, 2)}


@pytest.mark.parametrize(("seconds", "faster"), [((1.0, 3.0), "onnx"), ((3.0, 1.0), "torch")])
def test_the_faster_engine_is_used_from_the_first_batch_on(clock: list[float], seconds: tuple[float, float], faster: str) -> None:
    simulated = engines(clock, *seconds)
    stylizer = SelectingStylizer(simulated, Selection())
    before = stylizer.engine
    assert before == Engine("onnx or torch", "cuda:0", "float16")
    first = stylizer.for_shot(IMAGES).stylize(IMAGES)
    assert (first == simulated[faster].level).all()
    assert first.shape == (4, 61, 83, 3)
    slower = next(engine for name, engine in simulated.items() if name != faster)
    count = slower.stylized
    second = stylizer.for_shot(IMAGES)
    assert (second.stylize(IMAGES) == simulated[faster].level).all()
    assert slower.stylized == count
    assert stylizer.engine == second.engine == Engine(faster, before.device, before.precision)


def test_an_engine_that_fails_while_it_is_measured_is_not_used(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    simulated = engines(clock, 1.0, 2.0)
    simulated["onnx"].failure = DeviceError("it broke")
    stylizer = SelectingStylizer(simulated, Selection())
    assert (stylizer.stylize(IMAGES) == 2).all()
    assert "it broke" in caplog.text


def test_an_error_is_raised_when_all_engines_fail(clock: list[float]) -> None:
    simulated = engines(clock, 1.0, 2.0)
    for engine in simulated.values():
        engine.failure = DeviceError(f"{engine.name} broke")
    with pytest.raises(DeviceError, match="onnx broke"):
        SelectingStylizer(simulated, Selection()).stylize(IMAGES)


def loaders(
    simulated: dict[str, TimedStylizer], loaded: list[str], missing: Sequence[str] = ()
) -> dict[str, Callable[[str], TimedStylizer]]:
    def loader_of(name: str) -> Callable[[str], TimedStylizer]:
        def load(device: str) -> TimedStylizer:
            loaded.append(f"{name} {device}")
            if name in missing and device != "auto":
                raise DeviceError(f"no CUDA in {name}; try --device cpu")
            return simulated[name]

        return load

    return {name: loader_of(name) for name in simulated}


def test_the_selection_is_remembered_and_the_other_engine_is_not_loaded(clock: list[float]) -> None:
    loaded: list[str] = []
    simulated = engines(clock, 3.0, 1.0)
    select_engine(loaders(simulated, loaded), "auto", "compact").stylize(IMAGES)
    assert loaded == ["onnx cuda", "torch cuda"]
    loaded.clear()
    assert select_engine(loaders(simulated, loaded), "cuda", "compact").engine.name == "torch"
    assert loaded == ["torch cuda"]
    loaded.clear()
    select_engine(loaders(simulated, loaded), "cuda", "full")
    assert loaded == ["onnx cuda", "torch cuda"], "another architecture"


def test_a_remembered_engine_that_is_missing_is_replaced(clock: list[float]) -> None:
    loaded: list[str] = []
    simulated = engines(clock, 3.0, 1.0)
    select_engine(loaders(simulated, loaded), "auto", "compact").stylize(IMAGES)
    assert select_engine(loaders(simulated, loaded, missing=["torch"]), "cuda", "compact").engine.name == "onnx"


def test_a_broken_file_of_selections_is_ignored(clock: list[float], tmp_path: Path) -> None:
    simulated = engines(clock, 3.0, 1.0)
    for content in (b"rubbish", b"[1]", b'{"x": 3}'):
        cache_file("engines.json").parent.mkdir(parents=True, exist_ok=True)
        cache_file("engines.json").write_bytes(content)
        assert (select_engine(loaders(simulated, []), "auto", "compact").stylize(IMAGES) == 2).all()


def test_the_only_engine_with_cuda_is_selected(clock: list[float]) -> None:
    simulated = engines(clock, 1.0, 3.0)
    assert select_engine(loaders(simulated, [], missing=["onnx"]), "auto", "compact") is simulated["torch"]


def test_without_cuda_auto_uses_the_cpu_and_cuda_is_an_error(clock: list[float]) -> None:
    simulated, loaded = engines(clock, 1.0, 3.0), list[str]()
    assert select_engine(loaders(simulated, loaded, missing=["onnx", "torch"]), "auto", "compact") is simulated["onnx"]
    assert loaded[-1] == "onnx auto"
    with pytest.raises(DeviceError, match="no CUDA in onnx"):
        select_engine(loaders(simulated, [], missing=["onnx", "torch"]), "cuda:1", "compact")


def test_auto_gives_the_same_images_on_a_machine_with_a_gpu(gpu: Gpu) -> None:
    stylizer = load_stylizer(StyleOptions("tiny"))
    assert stylizer.engine == Engine("onnxruntime", "cuda:0", "float16")  # this torch finds no GPU
    assert differ(stylizer.stylize(IMAGES), on_cpu().stylize(IMAGES)) <= 2


# --- torch


@pytest.fixture
def in_torch() -> CpuTorchStylizer:
    stylizer = load_stylizer(StyleOptions("tiny", device="cpu", backend="torch"))
    assert isinstance(stylizer, CpuTorchStylizer)
    return stylizer


def as_on_gpu(stylizer: CpuTorchStylizer, half: bool) -> GpuTorchStylizer:
    """The stylizer of a GPU, run by the CPU."""
    return GpuTorchStylizer(stylizer._net, torch.device("cpu"), None, half)


@pytest.mark.parametrize("half", [False, True])
def test_torch_gives_the_same_images_on_a_gpu(in_torch: CpuTorchStylizer, half: bool) -> None:
    expected = in_torch.stylize(IMAGES)
    stylizer = as_on_gpu(in_torch, half)
    assert differ(stylizer.stylize(IMAGES), expected) <= (2 if half else 1)
    assert differ(stylizer.stylize(IMAGES[:2]), expected[:2]) <= 2, "filled up to four"


def test_norms_are_fused_in_torch(in_torch: CpuTorchStylizer) -> None:
    kinds = {type(module) for module in fused(in_torch._net, torch.device("cpu"), torch.float32).modules()}
    assert torch.nn.InstanceNorm2d not in kinds


def test_torch_changes_the_weights_with_the_shot(in_torch: CpuTorchStylizer) -> None:
    shots = [IMAGES, [255 - image for image in IMAGES]]
    expected = [in_torch.for_shot(shot).stylize(IMAGES) for shot in shots]
    stylizer = as_on_gpu(in_torch, half=False)
    made = [stylizer.for_shot(shot) for shot in shots]
    assert made[0]._network is made[1]._network  # type: ignore[attr-defined]
    for wanted in (0, 1, 0):
        assert differ(made[wanted].stylize(IMAGES), expected[wanted]) <= 1
    assert differ(stylizer.with_statistics(made[1].statistics()).stylize(IMAGES), expected[1]) <= 1


def test_torch_runs_uncompiled_where_the_compiler_fails(
    in_torch: CpuTorchStylizer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*args: Any, **options: Any) -> Any:
        raise RuntimeError("Failed to find C compiler.\nand much more")

    expected = in_torch.stylize(IMAGES)
    monkeypatch.setattr(torch_cuda, "COMPILE_AFTER", 5)
    monkeypatch.setattr(torch, "compile", failing)
    stylizer = as_on_gpu(in_torch, half=False)
    assert stylizer._network is not None
    stylizer._network._compiles = True
    for _ in range(3):
        assert differ(stylizer.stylize(IMAGES), expected) <= 1
    assert [message for message in caplog.messages if "compile" in message] == [
        "torch cannot compile the network (Failed to find C compiler.); it runs uncompiled"
    ]


class SimulatedStream:
    """A stream of the simulated GPU, where everything is done immediately."""

    def wait_stream(self, other: SimulatedStream) -> None:
        assert isinstance(other, SimulatedStream)

    def synchronize(self) -> None:
        pass


class SimulatedGraph:
    """A captured graph that stylizes its buffers again."""

    replays = 0
    again: Callable[[], object]
    """Set at capture."""

    def replay(self) -> None:
        SimulatedGraph.replays += 1
        with torch.inference_mode():
            self.again()


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """torch's streams and graphs simulated by the CPU; a message in the list makes captures fail."""
    failure: list[str] = []

    @contextmanager
    def capturing(graph: SimulatedGraph, **options: Any) -> Iterator[None]:
        assert options["capture_error_mode"] == "thread_local"
        assert isinstance(options["stream"], SimulatedStream)
        if failure:
            raise RuntimeError(failure[0])
        again = CudaNetwork._stylize_slot

        def recorded(net: CudaNetwork, slot: torch_cuda._Slot) -> None:
            graph.again = lambda: again(net, slot)  # capturing does not run anything

        with monkeypatch.context() as patch:
            patch.setattr(CudaNetwork, "_stylize_slot", recorded)
            yield

    monkeypatch.setattr(torch_cuda, "_stream_of", lambda device: SimulatedStream())
    monkeypatch.setattr(torch_cuda, "_on", lambda stream: nullcontext())
    monkeypatch.setattr(torch_cuda, "find_spec", lambda name: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", SimulatedGraph)
    monkeypatch.setattr(torch.cuda, "graph", capturing)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimulatedStream())
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    SimulatedGraph.replays = 0
    return failure


def test_torch_replays_captured_graphs_for_every_shot(in_torch: CpuTorchStylizer, streams: list[str]) -> None:
    shots = [IMAGES, [255 - image for image in IMAGES]]
    expected = [in_torch.for_shot(shot).stylize(IMAGES) for shot in shots]
    stylizer = as_on_gpu(in_torch, half=False)
    made = [stylizer.for_shot(shot) for shot in shots]
    for wanted in [0, 0, 0, 1, 0, 1]:
        assert differ(made[wanted].stylize(IMAGES), expected[wanted]) <= 1
    assert SimulatedGraph.replays == 4
    assert differ(made[1].stylize(IMAGES[::-1]), expected[1][::-1]) <= 1


def test_torch_runs_without_graphs_where_capturing_fails(in_torch: CpuTorchStylizer, streams: list[str]) -> None:
    expected = in_torch.stylize(IMAGES)
    stylizer = as_on_gpu(in_torch, half=False)
    streams.append("CUDA error: operation not permitted when stream is capturing")
    for _ in range(5):
        assert differ(stylizer.stylize(IMAGES), expected) <= 1
    assert SimulatedGraph.replays == 0


def test_torch_stylizes_fewer_images_where_memory_for_a_graph_is_short(in_torch: CpuTorchStylizer, streams: list[str]) -> None:
    expected = in_torch.stylize(IMAGES)
    stylizer = as_on_gpu(in_torch, half=False)
    for _ in range(2):
        stylizer.stylize(IMAGES)
    streams.append("CUDA out of memory. Tried to allocate 2.00 GiB")
    assert differ(stylizer.stylize(IMAGES), expected) <= 1
    assert stylizer._fitter.max_images(128, 152) == 2


def test_a_gpu_failure_in_torch_is_an_error_of_one_sentence(in_torch: CpuTorchStylizer, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ...")

    monkeypatch.setattr(in_torch._plain, "forward", failing)
    with pytest.raises(DeviceError, match=r"illegal memory access.*--device cpu") as raised:
        in_torch.stylize(IMAGES)
    assert "\n" not in str(raised.value)


def test_a_gpu_index_out_of_range_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("cuda:1").index == 1
    with pytest.raises(DeviceError, match=r"cuda:2.*2 GPUs"):
        find_device("cuda:2")


# --- the benchmark


@pytest.mark.slow
def test_the_gpu_benchmark_runs_on_a_cpu(tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "tools.bench.gpu", "--small", "--device", "cpu", "--output", str(output)]
    subprocess.run(command, check=True, capture_output=True, text=True, env=environment(), timeout=200)
    found = json.loads(output.read_text("utf-8"))
    assert found["net"]
    assert found["end to end"]
    errors = {name: value for part in ("net", "end to end", "codec", "peer") for name, value in found[part].items()}
    assert not [value for value in errors.values() if isinstance(value, str)]
