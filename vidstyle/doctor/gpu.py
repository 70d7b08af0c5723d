"""NVIDIA GPUs: the driver, and whether ONNX Runtime and torch run on them."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from vidstyle.core.errors import VidstyleError
from vidstyle.core.hardware import has_nvidia
from vidstyle.doctor.checks import Check, check_of_error

_QUERY = ("--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
_SMI_SECONDS = 10
_INSTALL = "pip install 'vidstyle[cuda]' installs the CUDA libraries"
_GPU_RUNTIME = "pip uninstall onnxruntime, then pip install --force-reinstall onnxruntime-gpu"


def gpu() -> list[Check]:
    """NVIDIA GPUs as listed by nvidia-smi."""
    if not has_nvidia():
        return [Check("gpu", "note", "no NVIDIA driver is loaded: everything is stylized on the CPU")]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return [Check("gpu", "ok", "the NVIDIA driver is loaded; nvidia-smi was not found")]
    done = subprocess.run([tool, *_QUERY], capture_output=True, text=True, timeout=_SMI_SECONDS)
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    if done.returncode or not lines:
        why = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[0]
        return [Check("gpu", "note", f"nvidia-smi finds no GPU: {why}", "reinstall the NVIDIA driver, or restart")]
    return [Check("gpu", "ok", "; ".join(lines))]


def cuda() -> list[Check]:
    """Whether ONNX Runtime actually runs networks on the first GPU."""
    import onnxruntime as ort

    from vidstyle.doctor.conversion import convert_trial_clip

    available = ort.get_available_providers()
    if "CUDAExecutionProvider" not in available:
        return [Check("cuda", "note", "this ONNX Runtime was built without CUDA", _GPU_RUNTIME if has_nvidia() else None)]
    if not has_nvidia():
        return [Check("cuda", "note", "not tried: no NVIDIA driver is loaded")]
    try:
        trial = convert_trial_clip("cuda")
    except VidstyleError as error:
        row = check_of_error("cuda", "note", error)
        missing = _missing_library(Path(ort.__file__).parent / "capi")
        return [Check("cuda", "note", row.details + (f" ({missing})" if missing else ""), _INSTALL if missing else row.advice)]
    if not trial.nodes["CUDA"]:
        return [Check("cuda", "note", f"CUDA is available but ran nothing: {trial}", _INSTALL)]
    return [Check("cuda", "ok", str(trial))]


def _missing_library(folder: Path) -> str | None:
    """Why the CUDA provider of ONNX Runtime cannot be loaded; None if it can, or is built in another way."""
    if sys.platform != "linux":
        return None
    try:
        for name in ("libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so"):
            ctypes.CDLL(str(folder / name), ctypes.RTLD_GLOBAL | os.RTLD_NOW)
    except OSError as error:
        return str(error)
    return None


def torch() -> list[Check]:
    """What torch runs on; no row if it is not installed, because the row of the extra reports that."""
    if importlib.util.find_spec("torch") is None:
        return []
    import torch

    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU"
        if has_nvidia():
            advice = "install a torch whose CUDA version fits the driver: https://pytorch.org/get-started"
            return [Check("torch", "note", f"{torch.__version__}, {built}, finds no GPU", advice)]
        return [Check("torch", "ok", f"{torch.__version__}, {built}, runs on the CPU")]
    product = torch.ones(64, 64, device="cuda") @ torch.ones(64, 64, device="cuda")
    if float(product.cpu().sum()) != 64.0**3:
        return [Check("torch", "bad", f"{torch.__version__} gives wrong results on {torch.cuda.get_device_name()}")]
    return [Check("torch", "ok", f"{torch.__version__}, CUDA {torch.version.cuda} on {torch.cuda.get_device_name()}")]
