"""The details of the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import vidstyle
from tests.support.helpers import environment
from vidstyle.core import hardware
from vidstyle.core.hardware import gpu_details, has_nvidia, installed_version, machine_details, processor

INTEL = """processor\t: 0
model name\t: Some Processor 9000
flags\t\t: fpu sse4_2 avx avx2 avx512f avx512_vnni amx_int8

processor\t: 1
model name\t: Another one
flags\t\t: fpu
"""
ARM = """processor\t: 0
Features\t: fp asimd i8mm
CPU part\t: 0xd40
"""


@pytest.mark.parametrize(
    ("cpuinfo", "widest", "simd"),
    [
        (INTEL, "AVX-512", ["avx2", "avx512", "avx512_vnni", "amx_int8"]),
        (INTEL.replace("avx512", "no"), "AVX2", ["avx2", "amx_int8"]),
        (INTEL.replace("avx512", "no").replace("avx2", "no"), "no AVX2", ["amx_int8"]),
    ],
    ids=["avx512", "avx2", "old"],
)
def test_the_processor_has_a_name_and_instruction_sets(tmp_path: Path, cpuinfo: str, widest: str, simd: list[str]) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo)
    assert processor(path) == (f"Some Processor 9000, {widest}", simd)


def test_an_arm_processor_has_instruction_sets_but_no_name(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(ARM)
    name, simd = processor(path)
    assert simd == ["neon", "i8mm"]
    assert "AVX" not in name


def test_instruction_sets_are_unknown_without_cpuinfo(tmp_path: Path) -> None:
    name, simd = processor(tmp_path / "none")
    assert name
    assert simd is None


def test_versions_are_those_of_installed_packages() -> None:
    found = machine_details(2)
    assert found["cores"] == 2
    assert found["vidstyle"] == vidstyle.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert all(found[name] for name in ("av", "numpy", "onnxruntime", "opencv"))
    assert installed_version(("no-such-package-as-this", "numpy")) == found["numpy"]
    assert installed_version(("no-such-package-as-this",)) is None


def test_versions_are_found_without_heavy_imports() -> None:
    code = (
        "import sys; from vidstyle.core.hardware import machine_details; machine_details(1); "
        "print(*{'av', 'cv2', 'onnxruntime', 'torch'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.skipif(sys.platform == "win32", reason="the program is a shell script")
@pytest.mark.parametrize(
    ("script", "gpu"),
    [
        ("echo 'NVIDIA H100 80GB HBM3, 550.90.07'", {"name": "NVIDIA H100 80GB HBM3", "driver": "550.90.07"}),
        ("echo 'A, 1'; echo 'B, 1'", {"name": "A", "driver": "1"}),
        ("echo 'no driver' >&2; exit 9", None),
        ("true", None),
    ],
    ids=["one", "two", "no driver", "no output"],
)
def test_name_and_driver_of_the_gpu_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, gpu: dict[str, str] | None
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert gpu_details() == gpu


def test_without_nvidia_smi_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_details() is None
    assert machine_details(1)["gpu"] is None


@pytest.mark.skipif(sys.platform == "win32", reason="nvidia-smi is used there")
def test_a_driver_is_found_in_wsl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidstyle.core.hardware.NVIDIA_DRIVER", (tmp_path / "version", tmp_path / "libcuda.so.1"))
    assert not has_nvidia()
    (tmp_path / "libcuda.so.1").touch()
    assert has_nvidia()


@pytest.mark.parametrize(
    ("groups", "files", "limits"),
    [
        ("0::/a/b\n", {"memory.max": "max", "a/memory.max": "2000", "a/b/memory.max": "3000"}, [3000, 2000]),
        ("0::/\n", {"memory.max": "4000"}, [4000]),
        ("5:cpu:/c\n4:memory:/c\n0::/\n", {"memory/c/memory.limit_in_bytes": "5000"}, [5000]),
        ("0::/gone\n", {}, []),
        ("nonsense\n", {}, []),
    ],
    ids=["nested", "root", "version 1", "missing", "nonsense"],
)
def test_memory_is_limited_by_control_groups(tmp_path: Path, groups: str, files: dict[str, str], limits: list[int]) -> None:
    (tmp_path / "cgroup").write_text(groups)
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(f"{text}\n")
    assert hardware._cgroup_limits(tmp_path / "cgroup", tmp_path / "fs") == limits


def test_memory_of_the_process_may_be_limited(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (1 << 31, hard))
        assert (hardware.memory_bytes() or 0) <= 1 << 31
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
