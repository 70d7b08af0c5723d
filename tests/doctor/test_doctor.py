"""`vidstyle doctor` on this machine, and with simulated problems."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest
from packaging.specifiers import SpecifierSet

from tests.support.helpers import hide_torch, identity_model, listing, run_cli
from tests.support.virtual_screen import virtual_screen
from vidstyle import doctor
from vidstyle.cli import run_command_line
from vidstyle.core.errors import DeviceError, OutputError
from vidstyle.core.hardware import has_nvidia
from vidstyle.doctor import conversion as conversion_module
from vidstyle.doctor import encoders as doctor_encoders
from vidstyle.doctor import examine, models, packages, peripherals
from vidstyle.doctor import gpu as gpu_module
from vidstyle.doctor import system as system_module
from vidstyle.doctor.checks import Check, Inspection
from vidstyle.live.devices import CameraDevice, Mode
from vidstyle.styles.catalog import add_style, all_styles, sha256

CONVERSION = Inspection("conversion", "vidstyle.doctor.conversion:conversion", 120)
CONVERSION_HERE = Inspection("conversion", "vidstyle.doctor.conversion:conversion")
STYLES = Inspection("styles", "vidstyle.doctor.models:styles", 120)
GIB = 1 << 30


def report(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *inspections: Inspection) -> tuple[int, Any]:
    """Exit code and JSON of `vidstyle doctor` with these inspections only."""
    monkeypatch.setattr(doctor, "INSPECTIONS", inspections)
    code = run_command_line(["doctor", "--json"])
    return code, json.loads(capsys.readouterr().out)


def only(rows: list[Check]) -> Check:
    [row] = rows
    return row


# On this machine


@pytest.fixture(scope="module")
def full_report(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[str]]:
    """The output of `vidstyle doctor --json`, and the files it left."""
    folder = tmp_path_factory.mktemp("report")
    for name in ("here", "temporary", "home"):
        (folder / name).mkdir()
    places = {"TMPDIR": str(folder / "temporary"), "HOME": str(folder / "home")}
    done = run_cli("doctor", "--json", cwd=folder / "here", env={**places, "VIDSTYLE_STYLES": os.environ["VIDSTYLE_STYLES"]})
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout), listing(folder)


def test_conversion_works_here_and_names_the_provider_that_ran(full_report: tuple[dict[str, Any], list[str]]) -> None:
    answer, _ = full_report
    assert (answer["v"], answer["ok"]) == (1, True)
    row = next(check for check in answer["checks"] if check["name"] == "conversion")
    assert row["state"] == "ok"
    assert "mosaic" in row["details"]
    assert row["details"].endswith("the whole network on CPU")


def test_every_row_has_a_name_a_state_and_details(full_report: tuple[dict[str, Any], list[str]]) -> None:
    for check in full_report[0]["checks"]:
        assert set(check) == {"name", "state", "details", "advice"}
        assert check["state"] in ("ok", "note")  # nothing is broken here
        assert check["name"]
        assert check["details"]
        assert check["advice"] is None or check["advice"]


def test_everything_is_checked(full_report: tuple[dict[str, Any], list[str]]) -> None:
    states = {check["name"]: check["state"] for check in full_report[0]["checks"]}
    expected = {"python", "processor", "memory", "disk", "vidstyle", "av", "numpy", "onnx", "opencv-python", "conflicts"}
    expected |= {"ffmpeg", "opencv", "onnx runtime", "gpu", "cuda", "torch", "virtual camera", "window", "windows and PyAV"}
    expected |= {"encoder libx264", "encoder gif", "encoder NVENC", "extra ray"} | {f"style {name}" for name in all_styles()}
    assert expected <= set(states)
    software = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "prores_ks", "ffv1", "gif")
    assert {states[f"encoder {name}"] for name in software} == {"ok"}


def test_no_files_are_left(full_report: tuple[dict[str, Any], list[str]]) -> None:
    assert full_report[1] == ["here", "home", "temporary"]


def test_the_table_has_a_line_for_each_row_and_its_advice_below(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_module, "disk", lambda: [Check("disk", "note", "0.1 GiB free", "make room")])
    rows = (Inspection("python", "vidstyle.doctor.system:python"), Inspection("disk", "vidstyle.doctor.system:disk"))
    monkeypatch.setattr(doctor, "INSPECTIONS", (*rows, CONVERSION))
    assert run_command_line(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok    python ")
    assert lines[1].split() == ["note", "disk", "0.1", "GiB", "free"]
    assert lines[2].strip() == "-> make room"
    assert lines[3].startswith("ok    conversion ")
    assert lines[4] == "videos can be stylized here"
    assert "\x1b" not in "".join(lines)  # colours only on a terminal


# Conversion


def test_a_failing_conversion_is_exit_code_4(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OutputError("expected an encoder, found none; install one")

    monkeypatch.setattr(conversion_module, "convert", fail)
    code, answer = report(capsys, monkeypatch, CONVERSION_HERE)
    assert (code, answer["ok"]) == (4, False)
    row = {"name": "conversion", "state": "bad", "details": "expected an encoder, found none", "advice": "install one"}
    assert answer["checks"] == [row]
    assert run_command_line(["doctor"]) == 4
    assert capsys.readouterr().out.splitlines()[-1].startswith("no video can be stylized here")


def test_an_output_equal_to_the_input_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_to_catalog(tmp_path, "mosaic", identity_model(tmp_path / "mosaic.onnx"))
    monkeypatch.setenv("VIDSTYLE_STYLES", str(tmp_path))
    row = only(conversion_module.conversion())
    assert (row.state, row.details) == ("bad", "expected a stylized video, got the original")


def test_profiling_is_undone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    original = ort.InferenceSession
    assert set(conversion_module.convert_trial_clip("cpu").nodes) == {"CPU"}
    assert ort.InferenceSession is original


# Styles


def add_to_catalog(folder: Path, name: str, model: Path, digest: str | None = None) -> None:
    """Add a user's style whose catalogue entry has the sha256 `digest`."""
    add_style(folder, name, {"file": model.name, "sha256": digest or sha256(model)})


@pytest.mark.parametrize(("name", "code"), [("mine", 0), ("mosaic", 4)])
def test_a_modified_model_is_bad_and_fails_if_it_is_the_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    add_to_catalog(tmp_path, name, identity_model(tmp_path / f"{name}.onnx"), digest="0" * 64)
    monkeypatch.setenv("VIDSTYLE_STYLES", str(tmp_path))
    exit_code, answer = report(capsys, monkeypatch, CONVERSION, STYLES)
    assert (exit_code, answer["ok"]) == (code, code == 0)
    rows = {check["name"]: check for check in answer["checks"]}
    assert rows[f"style {name}"]["state"] == "bad"
    assert "does not match the sha256 in its catalogue" in rows[f"style {name}"]["details"]
    assert rows[f"style {name}"]["advice"] == f"vidstyle styles remove {name}, or add it again"
    assert rows["style scream"]["state"] == "ok"


def test_a_style_that_needs_a_missing_extra_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old.pth").write_bytes(b"weights")
    add_to_catalog(tmp_path, "old", tmp_path / "old.pth")
    monkeypatch.setenv("VIDSTYLE_STYLES", str(tmp_path))
    hide_torch(tmp_path / "hidden", monkeypatch)
    row = next(row for row in models.styles() if row.name == "style old")
    assert row.state == "note"
    assert "pip install 'vidstyle[torch]'" in f"{row.details} {row.advice}"


# Failures of inspections


def test_an_exception_is_a_row_and_the_other_inspections_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> list[Check]:
        raise ZeroDivisionError("no memory at all")

    monkeypatch.setattr(system_module, "memory", broken)
    memory, python = (Inspection(name, f"vidstyle.doctor.system:{name}") for name in ("memory", "python"))
    code, answer = report(capsys, monkeypatch, memory, python, CONVERSION)
    assert (code, answer["ok"]) == (0, True)
    first, second, _ = answer["checks"]
    assert (first["name"], first["state"], first["details"]) == ("memory", "bad", "ZeroDivisionError: no memory at all")
    assert (second["name"], second["state"]) == ("python", "ok")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_crash_and_a_hang_are_rows() -> None:
    late = Check("screen", "note", "it hangs, as expected")
    crash = Inspection("gpu", "os:abort", 60)
    hang = Inspection("camera", "signal:pause", 1)
    known = Inspection("screen", "signal:pause", 1, late)
    crashed, hanging, expected = examine([crash, hang, known])
    assert (crashed.name, crashed.state) == ("gpu", "bad")
    assert signal.SIGABRT.name in crashed.details
    assert (hanging.name, hanging.state) == ("camera", "bad")
    assert "no answer within 1 s" in hanging.details
    assert expected is late


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_closing_early_does_not_wait() -> None:
    here = Inspection("python", "vidstyle.doctor.system:python")
    rows = examine([here, Inspection("camera", "signal:pause", 10_000)])
    assert next(rows).name == "python"
    rows.close()  # kills the process that hangs


def test_a_library_that_cannot_be_loaded_is_a_row_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    from vidstyle.doctor.libraries import libraries

    monkeypatch.setitem(sys.modules, "av", None)
    rows = {row.name: row for row in libraries()}
    assert rows["ffmpeg"].state == "bad"
    assert "pip install" in (rows["ffmpeg"].advice or "")
    assert (rows["opencv"].state, rows["onnx runtime"].state) == ("ok", "ok")


# Packages


def with_package(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, version: str) -> None:
    """Simulate that another package is installed."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(folder)


def without_package(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    original = metadata.version

    def version(name: str) -> str:
        if name in names:
            raise metadata.PackageNotFoundError(name)
        return original(name)

    monkeypatch.setattr(metadata, "version", version)


@pytest.mark.parametrize("other", ["opencv-python-headless", "opencv-contrib-python"])
def test_two_opencv_packages_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    with_package(monkeypatch, tmp_path, other, "5.0.0")
    row = only(packages.conflicts())
    assert (row.name, row.state) == ("conflicts", "note")
    assert row.details == f"opencv-python and {other} overwrite one another's files"
    assert row.advice == f"pip uninstall {other}, then pip install --force-reinstall --no-deps opencv-python"


def test_two_onnx_runtimes_are_reported_and_the_one_for_gpus_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_package(monkeypatch, tmp_path, "onnxruntime", "1.20.0")
    with_package(monkeypatch, tmp_path, "onnxruntime-gpu", "1.20.0")
    row = only(packages.conflicts())
    assert "onnxruntime-gpu and onnxruntime overwrite" in row.details
    assert "pip uninstall onnxruntime," in (row.advice or "")


def test_a_version_out_of_range_is_reported_with_the_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_package(monkeypatch, tmp_path, "av", "19.0.1")
    row = next(row for row in packages.packages() if row.name == "av")
    versions = next(line for line in metadata.requires("vidstyle") or () if line.startswith("av")).removeprefix("av")
    assert (row.state, row.details) == ("note", f"19.0.1, expected {versions}")
    assert row.advice == f"pip install 'av{versions}'"


def test_a_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    without_package(monkeypatch, "filelock")
    row = next(row for row in packages.packages() if row.name == "filelock")
    assert row.state == "note"
    assert (row.advice or "").startswith("pip install 'filelock")


def test_a_missing_extra_is_reported_with_purpose_and_command(monkeypatch: pytest.MonkeyPatch) -> None:
    without_package(monkeypatch, "aiortc", "ray")
    rows = {row.name: row for row in packages.extras()}
    assert rows["extra web"] == Check("extra web", "note", "not installed: aiortc, for live --web", "pip install 'vidstyle[web]'")
    assert rows["extra ray"].advice == "pip install 'vidstyle[ray]'"
    assert rows["extra watch"].state == "ok"


@pytest.mark.parametrize(
    ("version", "versions", "is_within"),
    [
        ("18.1.0", "<19,>=18.1", True),
        ("18.1", ">=18.1.0", True),
        ("18.0.9", "<19,>=18.1", False),
        ("19.0.0rc1", "<19,>=18.1", False),
        ("5.0.0.93", ">=5", True),
        ("2.14.1+cu130", ">=2.6", True),
        ("10.0", ">=9", True),
        ("1.0", "", True),
    ],
)
def test_versions_are_compared_as_pip_does(version: str, versions: str, is_within: bool) -> None:
    assert packages.within(version, SpecifierSet(versions)) is is_within


# Processor, memory, disk


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  8388608 kB\nMemAvailable: 6291456 kB\n")
    (tmp_path / "cgroup").write_text("0::/box/inner\n")
    inner = tmp_path / "groups" / "box" / "inner"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text(f"{GIB}\n")
    monkeypatch.setattr(system_module, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(system_module, "_GROUP", tmp_path / "cgroup")
    monkeypatch.setattr(system_module, "_GROUPS", tmp_path / "groups")
    row = only(system_module.memory())
    assert (row.state, row.details) == ("note", "8.0 GiB, 6.0 GiB free; limited to 1.0 GiB")
    (inner.parent / "memory.max").write_text(f"{4 * GIB}\n")
    assert only(system_module.memory()).state == "ok"


def test_the_processor_is_listed_with_its_instruction_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(system_module, "_CPUINFO", path)
    path.write_text("processor\t: 0\nmodel name\t: Fast One\nflags\t\t: fpu sse2 avx avx2\n")
    row = only(system_module.processor())
    assert (row.state, row.details.startswith("Fast One, "), row.details.endswith(", avx2")) == ("ok", True, True)
    path.write_text("processor\t: 0\nmodel name\t: Old One\nflags\t\t: fpu sse2\n")
    assert "no AVX2" in only(system_module.processor()).details
    path.write_text("processor\t: 0\nmodel name\t: Tiled One\nflags\t\t: fpu sse2 avx avx2 amx_bf16\n")
    assert "--backend torch" in (only(system_module.processor()).advice or "")


def test_a_full_disk_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(".")._replace(free=GIB // 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert [(row.name, row.state) for row in system_module.disk()] == [("disk", "note"), ("temporary folder", "note")]


# NVIDIA GPUs


@pytest.mark.skipif(has_nvidia(), reason="this machine has a GPU")
def test_a_missing_gpu_is_reported() -> None:
    for row in (only(gpu_module.gpu()), only(gpu_module.cuda())):
        assert row.state == "note"
        assert "no NVIDIA driver" in row.details


def test_an_onnx_runtime_without_cuda_is_reported_if_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_module, "has_nvidia", lambda: True)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    row = only(gpu_module.cuda())
    assert (row.state, row.details) == ("note", "this ONNX Runtime was built without CUDA")
    assert "onnxruntime-gpu" in (row.advice or "")


def test_a_cuda_failure_names_the_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: str) -> None:
        raise DeviceError(f"expected to run on {device}, ONNX Runtime got no CUDA; try --device cpu")

    monkeypatch.setattr(gpu_module, "has_nvidia", lambda: True)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(conversion_module, "convert_trial_clip", fail)
    monkeypatch.setattr(gpu_module, "_missing_library", lambda folder: "libcudnn.so.9: cannot open shared object file")
    row = only(gpu_module.cuda())
    assert (row.state, "libcudnn.so.9" in row.details) == ("note", True)
    assert "pip install 'vidstyle[cuda]'" in (row.advice or "")
    monkeypatch.setattr(gpu_module, "_missing_library", lambda folder: None)
    assert only(gpu_module.cuda()).advice == "try --device cpu"


@pytest.mark.parametrize(("nodes", "state"), [({"CUDA": 9, "CPU": 1}, "ok"), ({"CPU": 10}, "note")])
def test_cuda_is_ok_only_if_it_ran_nodes(monkeypatch: pytest.MonkeyPatch, nodes: dict[str, int], state: str) -> None:
    monkeypatch.setattr(gpu_module, "has_nvidia", lambda: True)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(
        conversion_module,
        "convert_trial_clip",
        lambda device: conversion_module.TrialConversion(900.0, Counter(nodes)),
    )
    row = only(gpu_module.cuda())
    assert row.state == state
    assert ("90% of the network on CUDA, 10% of" in row.details) is (state == "ok")


@pytest.mark.skipif(sys.platform == "win32", reason="the tool is a shell script")
@pytest.mark.parametrize(
    ("script", "state", "details"),
    [
        ("echo 'NVIDIA H200, 143771 MiB, 570.1'", "ok", "NVIDIA H200, 143771 MiB, 570.1"),
        ("echo 'driver mismatch'; exit 9", "note", "nvidia-smi finds no GPU: driver mismatch"),
    ],
)
def test_gpus_are_listed_by_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, state: str, details: str
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(gpu_module, "has_nvidia", lambda: True)
    row = only(gpu_module.gpu())
    assert (row.state, row.details) == (state, details)


# Encoders, cameras, windows


def test_hardware_encoders_are_listed_with_missing_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, frames: Any, *, codec: str, pix_fmt: str, **options: Any) -> None:
        if codec not in ("h264_qsv", "hevc_qsv") or pix_fmt == "p010le":
            raise DeviceError("expected a hardware encoder, none works here")

    monkeypatch.setattr(doctor_encoders, "write_video", write)
    rows = {row.name: row for row in doctor_encoders.hardware()}
    works = rows["encoder QuickSync"]
    assert works.state == "ok"
    assert works.details.startswith("h264 nv12, hevc nv12; not hevc p010le, av1 nv12")
    assert rows["encoder NVENC"].state == "note"
    assert "h264_nvenc" in rows["encoder NVENC"].details
    assert {row.state for row in doctor_encoders.software()} == {"note"}


def test_cameras_are_listed_with_their_best_mode_or_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = (Mode(640, 480, 60.0, "YUYV"), Mode(1920, 1080, 30.0, "MJPG"), Mode(1920, 1080, 5.0, "YUYV"))
    taken = CameraDevice(2, "/dev/video2", "Microscope", note="permission denied: add yourself to the group video")
    found = [CameraDevice(0, "/dev/video0", "Webcam", modes), taken]
    monkeypatch.setattr(peripherals, "list_cameras", lambda: found)
    assert peripherals.cameras() == [
        Check("camera 0", "ok", "Webcam, /dev/video0, up to 1920x1080 at 30 fps"),
        Check("camera 2", "note", "Microscope, /dev/video2: permission denied", "add yourself to the group video"),
    ]
    monkeypatch.setattr(peripherals, "list_cameras", list)
    assert only(peripherals.cameras()).state == "note"


SCREENS = [row for row in doctor.INSPECTIONS if row.target.startswith("vidstyle.doctor.screens:")]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a screen")
def test_without_a_screen_the_advice_is_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    window, order = examine(SCREENS)
    assert (window.name, window.state, order.state) == ("window", "note", "note")
    assert "DISPLAY is not set" in window.details
    assert "--web" in (window.advice or "")


@pytest.fixture
def screen() -> Iterator[str]:
    if shutil.which("Xvfb") is None:
        pytest.skip("needs Xvfb")
    with virtual_screen(400, 300) as name:
        yield name


def test_a_window_is_opened_and_the_order_of_imports_is_checked(monkeypatch: pytest.MonkeyPatch, screen: str) -> None:
    monkeypatch.setenv("DISPLAY", screen)
    window, order = examine(SCREENS)
    assert (window.name, window.state) == ("window", "ok")
    assert order.name == "windows and PyAV"
    # Whether it hangs depends on the system; neither is reported as a failure.
    assert order.state == "ok" or "hang" in order.details
