"""ONNX Runtime sessions: on which provider they open, with which options, and what their failures mean.

`auto` takes CUDA where it opens and says so in one line where it should have and did not; `cuda` never becomes the CPU.
TensorRT builds an engine of its own, seconds to minutes each, for every set of weights and every size. A net of ours gets
other weights at every cut (`stylizers.norms`), so it is not for those: it is asked for models of other tools whose size is
fixed, which need one engine, kept in the user's cache folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import platformdirs

from vidstyle.core.errors import DeviceError, StyleError, VidstyleError
from vidstyle.core.hardware import has_nvidia
from vidstyle.stylizers.memory import first_line, is_out_of_memory, not_enough

log = logging.getLogger(__name__)

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"

_FATAL = 4  # ONNX Runtime's log level
_GPU_WORDS = ("cuda", "cudnn", "cublas", "tensorrt")
_INSTALL = "try pip install 'vidstyle[cuda]' or --device cpu"

Provider = str | tuple[str, dict[str, str]]


def open_session(
    model: bytes, path: Path, device: str, threads: int, graphs: bool = False, tensorrt: bool = False
) -> ort.InferenceSession:
    """A session for the serialised `model`, which came from `path`, on `device` (auto, cpu, cuda or cuda:N).

    `graphs`: one that can capture CUDA graphs, where all of the model runs on CUDA.
    Raises `StyleError` for a model that does not load anywhere, `DeviceError` for a device that is not to be had.
    """
    wanted = gpu_of(device)
    if wanted is None:
        return _opened(model, path, [CPU], threads)
    _preload()
    for providers in _choices(wanted, graphs, tensorrt and has_tensorrt()):
        try:
            session = ort.InferenceSession(model, _options(threads), providers=providers, enable_fallback=0)
        except Exception as error:  # onnxruntime's kinds derive from Exception alone
            if is_out_of_memory(error):
                raise not_enough(error) from error
            trouble = first_line(error)
            continue
        first = name_of(providers[0])
        if first == TENSORRT and not _builds_engine(session):
            _say_once("TensorRT is installed and cannot run the model; painting with CUDA alone")
            continue
        if session.get_providers()[0] == first:
            return session
        trouble = f"{first.removesuffix('ExecutionProvider')} did not load"
    on_cpu = _opened(model, path, [CPU], threads)  # raises where it is the model's fault
    if device != "auto":
        raise DeviceError(f"expected to run on {device}, ONNX Runtime got no CUDA ({trouble}); {_INSTALL}")
    _say_once(f"expected to paint on the GPU, ONNX Runtime got no CUDA ({trouble}); painting on the CPU instead")
    return on_cpu


def _choices(index: str, graphs: bool, tensorrt: bool) -> list[list[Provider]]:
    """Lists of providers, the best first."""
    lists: list[list[Provider]] = []
    if tensorrt:
        cached = platformdirs.user_cache_path("vidstyle") / "tensorrt"
        with contextlib.suppress(OSError):
            cached.mkdir(parents=True, exist_ok=True)
        options = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(cached), "trt_fp16_enable": "1"}
        lists.append([(TENSORRT, {"device_id": index, **options}), (CUDA, cuda_options(index)), CPU])
    if graphs:
        lists.append([(CUDA, {**cuda_options(index), "enable_cuda_graph": "1"}), CPU])
    return [*lists, [(CUDA, cuda_options(index)), CPU]]


def cuda_options(index: str) -> dict[str, str]:
    """Options of CUDA's provider for the GPU of that number."""
    # Searching would take seconds at each new size; powers of two would hold up to twice the memory that is needed.
    search = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
    return {"device_id": index, **search}


def _opened(model: bytes, path: Path, providers: list[Provider], threads: int) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(model, _sharing_memory(_options(threads)), providers=providers, enable_fallback=0)
    except Exception as error:
        if is_out_of_memory(error):
            raise not_enough(error) from error
        raise StyleError(f"ONNX Runtime cannot load {path}: {first_line(error)}") from error


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads
    # Spinning threads would take the cores from the decoder and the encoder.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _sharing_memory(options: ort.SessionOptions) -> ort.SessionOptions:
    """`options` of a session that takes its memory from what all sessions on the CPU share.

    A session of its own memory keeps all it ever used, and there are several: the one that measures, those of the last shot and
    of this one. Planning (`enable_mem_pattern`) takes more than what is in use at any time. In the order of the graph, which is
    not the default, what is measured of a layer is measured before the next one is there.
    """
    _share_memory()
    options.enable_mem_pattern = False
    options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    options.add_session_config_entry("session.use_env_allocators", "1")
    return options


@cache
def _share_memory() -> None:
    kind = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    by_need = 1  # else by powers of two
    ort.create_and_register_allocator(kind, ort.OrtArenaCfg(0, by_need, -1, -1))


def run_session(session: ort.InferenceSession, outputs: list[str] | None, name: str, batch: np.ndarray) -> list[np.ndarray]:
    """One run, all outputs where `outputs` is None; ONNX Runtime's exceptions become what `failure` makes of them."""
    try:
        return [np.asarray(output) for output in session.run(outputs, {name: batch}, run_options())]
    except Exception as error:  # onnxruntime's kinds derive from Exception alone
        raise failure(error, session, batch.shape) from error


def run_options() -> ort.RunOptions:
    """Options of a run that says nothing by itself: errors are raised, and said once, by us."""
    options = ort.RunOptions()
    options.log_severity_level = _FATAL
    return options


def failure(error: Exception, session: ort.InferenceSession, shape: tuple[int, ...]) -> VidstyleError:
    """What it means that a run on images of `shape` failed: too little memory, the GPU, or the model."""
    if isinstance(error, VidstyleError):
        return error
    if is_out_of_memory(error):
        return not_enough(error)
    what = first_line(error)
    if session.get_providers()[0] != CPU and any(word in str(error).lower() for word in _GPU_WORDS):
        return DeviceError(f"expected the GPU to go on painting, it failed ({what}); try again, or --device cpu")
    return StyleError(f"the model failed on images {shape}: {what}")


def place_of(session: ort.InferenceSession) -> str:
    """Where a session runs, for people."""
    names = {CPU: "CPU", CUDA: "CUDA", TENSORRT: "CUDA with TensorRT"}
    first: str = session.get_providers()[0]
    return names.get(first, first.removesuffix("ExecutionProvider"))


def gpu_of(device: str) -> str | None:
    """The number of the GPU that `device` means, None where it means the CPU; raises `DeviceError` where a GPU is
    asked for that cannot be there."""
    if device == "cpu":
        return None
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cuda") or (index and not index.isdigit()) or (kind == "auto" and index):
        raise DeviceError(f"expected auto, cpu, cuda or cuda:N as the device, got {device}")
    available = CUDA in ort.get_available_providers()
    if kind == "cuda" and not available:
        raise DeviceError(f"expected to run on {device}, this ONNX Runtime has no CUDA; {_INSTALL}")
    if kind == "cuda" and not has_nvidia():
        raise DeviceError(f"expected to run on {device}, found no NVIDIA driver; try --device cpu")
    return (index or "0") if available and has_nvidia() else None


@cache
def has_tensorrt() -> bool:
    """Whether TensorRT's libraries are there: ONNX Runtime lists its provider without them, and complains at length."""
    if TENSORRT not in ort.get_available_providers():
        return False
    with contextlib.suppress(ImportError):
        import tensorrt_libs  # type: ignore[import-not-found]  # noqa: F401  # the wheel's way of making them known
    libraries = ("nvinfer_10.dll", "nvonnxparser_10.dll") if os.name == "nt" else ("libnvinfer.so.10", "libnvonnxparser.so.10")
    try:
        for library in libraries:
            ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _builds_engine(session: ort.InferenceSession) -> bool:
    """Whether TensorRT opened and can make an engine of a model of fixed size, which it does at the first run."""
    given = session.get_inputs()[0]
    try:
        session.run(None, {given.name: np.zeros(given.shape, np.float32)}, run_options())
    except Exception as error:  # onnxruntime's kinds derive from Exception alone
        log.debug("TensorRT failed: %s", first_line(error))
        return False
    return bool(session.get_providers()[0] == TENSORRT)


@cache
def _preload() -> None:
    """CUDA's and cuDNN's libraries out of NVIDIA's wheels, where a system has none of its own."""
    ort.set_default_logger_severity(_FATAL)  # what does not load is told at length, before any session
    preload: Any = getattr(ort, "preload_dlls", None)
    if preload is None:
        return
    with contextlib.redirect_stdout(io.StringIO()) as said:  # which is for results
        preload()
    if said.getvalue():
        log.debug("%s", said.getvalue().strip())


def name_of(provider: Provider) -> str:
    """A provider's name, without its options."""
    return provider if isinstance(provider, str) else provider[0]


@cache
def _say_once(line: str) -> None:
    log.warning("%s", line)
