"""ONNX Runtime sessions: execution providers, options, and the mapping of errors.

`auto` uses CUDA if it can, and logs one warning if there is a GPU that it cannot use; `cuda` never falls back to the CPU.
TensorRT builds an engine, which takes seconds to minutes, for every set of weights and every size. Models that vidstyle trained
get different weights at every cut (`stylizers.norm_statistics`), so TensorRT is only used for models of other tools with a
fixed size. They need a single engine, which is stored in the user's cache folder.
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

from vidstyle.core.cancellation import cancellable
from vidstyle.core.errors import DeviceError, StyleError, is_out_of_memory
from vidstyle.core.files import reason
from vidstyle.core.hardware import has_nvidia
from vidstyle.core.protocols import Engine
from vidstyle.stylizers.memory import inference_error, memory_limit_error

log = logging.getLogger(__name__)

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"

_FATAL = 4  # ONNX Runtime's log level
_INSTALL = "try pip install 'vidstyle[cuda]' or --device cpu"

Provider = str | tuple[str, dict[str, str]]


def open_session(
    model: bytes, path: Path, device: str, threads: int, graphs: bool = False, tensorrt: bool = False
) -> ort.InferenceSession:
    """A session for the serialized `model`, which came from `path`, on `device` (auto, cpu, cuda or cuda:N).

    `graphs`: capture CUDA graphs if all of the model runs on CUDA.
    Raises `StyleError` for a model that does not load on any device, `DeviceError` for an unavailable device.
    """
    wanted = gpu_index(device)
    if wanted is None:
        return _opened(model, path, [CPU], threads)
    _preload()
    for providers in _provider_lists(wanted, graphs, tensorrt and has_tensorrt()):
        try:
            session = ort.InferenceSession(model, _options(threads), providers=providers, enable_fallback=0)
        except Exception as error:  # ONNX Runtime's exceptions derive from Exception only
            if is_out_of_memory(error):
                raise memory_limit_error(error) from error
            problem = reason(error)
            continue
        first = name_of(providers[0])
        if first == TENSORRT and not _builds_engine(session):
            _warn_once("TensorRT is installed but cannot run the model; using CUDA alone")
            continue
        if session.get_providers()[0] == first:
            return session
        problem = f"{first.removesuffix('ExecutionProvider')} did not load"
    on_cpu = _opened(model, path, [CPU], threads)  # raises if the model is the problem
    if device != "auto":
        raise DeviceError(f"expected to run on {device}, but ONNX Runtime could not use CUDA ({problem}); {_INSTALL}")
    _warn_once(f"expected to run on the GPU, but ONNX Runtime could not use CUDA ({problem}); using the CPU instead")
    return on_cpu


def _provider_lists(index: str, graphs: bool, tensorrt: bool) -> list[list[Provider]]:
    """Lists of providers to try, the best first."""
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
    """Options of the CUDA provider for the GPU with that index."""
    # EXHAUSTIVE takes seconds at each new size. kNextPowerOfTwo allocates up to twice the memory that is needed.
    search = {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
    return {"device_id": index, **search}


def _opened(model: bytes, path: Path, providers: list[Provider], threads: int) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(model, _with_shared_arena(_options(threads)), providers=providers, enable_fallback=0)
    except Exception as error:
        if is_out_of_memory(error):
            raise memory_limit_error(error) from error
        raise StyleError(f"ONNX Runtime cannot load {path}: {reason(error)}") from error


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    # Otherwise ONNX Runtime guesses the format from bytes that a model can choose, and then what `read_model` refuses is back.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.intra_op_num_threads = threads
    # Spinning threads would take the cores from the decoder and the encoder.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _with_shared_arena(options: ort.SessionOptions) -> ort.SessionOptions:
    """`options` changed so that the session allocates from an arena that all sessions on the CPU share.

    A session with its own arena never frees memory, and there are several sessions: one that measures statistics, and one each
    for the previous and the current shot. Memory patterns allocate more than is ever in use at once. The priority-based order
    follows the graph here: the statistics of a layer are measured before the output of the next layer is allocated.
    """
    _register_shared_arena()
    options.enable_mem_pattern = False
    options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    options.add_session_config_entry("session.use_env_allocators", "1")
    return options


@cache
def _register_shared_arena() -> None:
    kind = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    same_as_requested = 1  # arena_extend_strategy
    ort.create_and_register_allocator(kind, ort.OrtArenaCfg(0, same_as_requested, -1, -1))


def run_session(session: ort.InferenceSession, outputs: list[str] | None, name: str, batch: np.ndarray) -> list[np.ndarray]:
    """Run the session once, with all outputs if `outputs` is None. Exceptions are mapped by `memory.inference_error`."""
    options = run_options()

    def terminate() -> None:
        options.terminate = True

    try:
        with cancellable(terminate):
            return [np.asarray(output) for output in session.run(outputs, {name: batch}, options)]
    except Exception as error:  # ONNX Runtime's exceptions derive from Exception only
        raise inference_error(error, batch.shape, runs_on_gpu(session)) from error


def run_options() -> ort.RunOptions:
    """Options of a run that logs nothing, because errors are raised."""
    options = ort.RunOptions()
    options.log_severity_level = _FATAL
    return options


def runs_on_gpu(session: ort.InferenceSession) -> bool:
    """Whether the session's first provider is not the CPU's."""
    return bool(session.get_providers()[0] != CPU)


def engine_of(session: ort.InferenceSession, precision: str) -> Engine:
    """The engine of a session whose network computes in `precision` (TensorRT: in half precision)."""
    first: str = session.get_providers()[0]
    if first == CPU:
        return Engine("onnxruntime", "cpu", precision)
    device = f"cuda:{session.get_provider_options().get(first, {}).get('device_id', '0')}"
    return Engine("tensorrt", device, "float16") if first == TENSORRT else Engine("onnxruntime", device, precision)


def gpu_index(device: str) -> str | None:
    """The index of the GPU that `device` means, None for the CPU; raises `DeviceError` for a GPU that cannot be used."""
    if device == "cpu":
        return None
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cuda") or (index and not index.isdigit()) or (kind == "auto" and index):
        raise DeviceError(f"expected auto, cpu, cuda or cuda:N as the device, got {device}")
    available = CUDA in ort.get_available_providers()
    if kind == "cuda" and not available:
        raise DeviceError(f"expected to run on {device}, but this ONNX Runtime has no CUDA support; {_INSTALL}")
    if kind == "cuda" and not has_nvidia():
        raise DeviceError(f"expected to run on {device}, but found no NVIDIA driver; try --device cpu")
    return (index or "0") if available and has_nvidia() else None


@cache
def has_tensorrt() -> bool:
    """Whether TensorRT's libraries are installed: ONNX Runtime lists its provider without them, and logs many errors."""
    if TENSORRT not in ort.get_available_providers():
        return False
    with contextlib.suppress(ImportError):
        import tensorrt_libs  # type: ignore[import-not-found]  # noqa: F401  # importing the wheel loads them
    libraries = ("nvinfer_10.dll", "nvonnxparser_10.dll") if os.name == "nt" else ("libnvinfer.so.10", "libnvonnxparser.so.10")
    try:
        for library in libraries:
            ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _builds_engine(session: ort.InferenceSession) -> bool:
    """Whether TensorRT can build an engine for a model of fixed size, which it does in the first run."""
    image = session.get_inputs()[0]
    try:
        session.run(None, {image.name: np.zeros(image.shape, np.float32)}, run_options())
    except Exception as error:  # ONNX Runtime's exceptions derive from Exception only
        log.debug("TensorRT failed: %s", reason(error))
        return False
    return bool(session.get_providers()[0] == TENSORRT)


@cache
def _preload() -> None:
    """Load the libraries of CUDA and cuDNN from NVIDIA's wheels if the system has none."""
    ort.set_default_logger_severity(_FATAL)  # it logs every library that does not load, before any session
    preload: Any = getattr(ort, "preload_dlls", None)
    if preload is None:
        return
    with contextlib.redirect_stdout(io.StringIO()) as output:  # stdout is for results
        preload()
    if output.getvalue():
        log.debug("%s", output.getvalue().strip())


def name_of(provider: Provider) -> str:
    """A provider's name, without its options."""
    return provider if isinstance(provider, str) else provider[0]


@cache
def _warn_once(line: str) -> None:
    log.warning("%s", line)
