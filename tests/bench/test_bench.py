"""`vidstyle bench` and `tools/bench/speed.py`: results are real, and no files are left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from tests.support.helpers import command, environment, frames_of, listing, run_cli, write_audio, write_clip
from tools.bench import peers
from tools.bench import speed as bench
from tools.docs import speed_plots as bench_plots
from tools.docs.speed_table import speed_table
from vidstyle.bench.clips import MAX_CLIP_BYTES, fitting_seconds, make_clip, pans, scaled
from vidstyle.bench.energy import measure_energy
from vidstyle.bench.options import parse_size
from vidstyle.bench.process import peak_memory_mib
from vidstyle.bench.stages import STAGES, PrecomputedStylizer, gpu_index
from vidstyle.core.errors import UsageError
from vidstyle.core.hardware import machine_details
from vidstyle.core.protocols import Engine

FAILED, USAGE, MODEL, DISK = 1, 2, 4, 5
QUICK = ("--style", "tiny", "--device", "cpu", "--seconds", "0.2", "--rounds", "1")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """The folder for temporary files."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def files_in(scratch: Path) -> list[str]:
    """The files there, except one that every import of ONNX Runtime leaves."""
    return [name for name in listing(scratch) if name != ".ses"]


def run_bench(scratch: Path, *args: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `vidstyle bench ARGS`, and check that it leaves no temporary file behind."""
    done = run_cli("bench", *QUICK, *args, env={"TMPDIR": str(scratch)})
    assert done.returncode == code, done.stderr
    assert files_in(scratch) == []
    return done


def check_result(found: dict[str, Any], frames: int) -> None:
    """Check that everything was measured, and that results agree with each other."""
    assert found["frames"] == frames
    assert {*found["stages"]} == {*STAGES}
    for times in found["stages"].values():
        assert times["wall"] > 0
        assert times["fps"] == pytest.approx(frames / times["wall"], rel=0.05)
    assert found["fps"] == found["stages"]["total"]["fps"]
    assert found["real_time"] == pytest.approx(found["fps"] / found["frame_rate"], rel=0.01)
    walls = {stage: found["stages"][stage]["wall"] for stage in ("without_net", "total")}
    assert found["headroom"] == pytest.approx(walls["without_net"] / walls["total"], rel=0.05)
    assert found["seconds_to_first_frame"] > 0
    assert found["peak_memory_mib"] is None or found["peak_memory_mib"] > 10


def test_generated_clips_give_a_table_and_json(tmp_path: Path, scratch: Path) -> None:
    done = run_bench(scratch, "--size", "64x48", "--size", "96x64", "--json", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert list(found["sizes"]) == ["64x48", "96x64"]
    for result in found["sizes"].values():
        check_result(result, frames=5)
        assert result["frame_rate"] == 25
    assert (found["style"], found["rounds"], found["batch_size"]) == ("tiny", 1, 1)
    assert found["command"].startswith("vidstyle bench --style tiny")
    assert found["machine"]["cores"] > 0
    assert found["seconds_to_help"] > 0
    lines = done.stdout.splitlines()
    assert "tiny, ONNX Runtime on CPU" in lines[0]
    stages = [line for line in lines if "decode" in line]
    assert [line.split()[0] for line in stages[:2]] == ["64x48", "96x64"]
    totals = [line.split() for line in lines if line.startswith("64x48") and "decode" not in line]
    assert totals[0][1] == f"{found['sizes']['64x48']['fps']:.1f}"


def test_a_clip_is_measured_as_it_is(clip: Path, scratch: Path) -> None:
    done = run_bench(scratch, clip, "--json", "-", "--batch-size", 2)
    found = json.loads(done.stdout)
    assert list(found["sizes"]) == ["64x48"]
    assert found["sizes"]["64x48"]["frame_rate"] == 24
    check_result(found["sizes"]["64x48"], frames=5)
    assert listing(clip.parent) == ["in.mp4"]


def test_a_clip_is_scaled_and_repeated(clip: Path, scratch: Path) -> None:
    done = run_bench(scratch, clip, "--size", "96x32", "--seconds", 1, "--json", "-")
    found = json.loads(done.stdout)
    assert list(found["sizes"]) == ["96x32"]
    check_result(found["sizes"]["96x32"], frames=25)


def test_json_is_not_overwritten_unless_asked(tmp_path: Path, scratch: Path) -> None:
    target = tmp_path / "found.json"
    target.write_text("mine")
    done = run_bench(scratch, "--size", "64x48", "--json", target, code=FAILED)
    assert "--overwrite" in done.stderr
    assert "round" not in done.stderr, "expected an error before anything is measured"
    assert target.read_text() == "mine"
    run_bench(scratch, "--size", "64x48", "--json", target, "--overwrite")
    assert json.loads(target.read_text())["style"] == "tiny"


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["missing.mp4"], FAILED, "missing.mp4"),
        (["photo.png"], FAILED, "expected a video"),
        (["talk.m4a"], FAILED, "expected a video stream"),
        (["--style", "missing"], MODEL, "unknown style 'missing'"),
        (["--device", "cuda:x"], MODEL, "cuda"),
        (["--size", "640"], USAGE, "expected a size such as 640x360"),
        (["--size", "63x48"], USAGE, "even"),
        (["--size", "16x16"], USAGE, "from 32"),
        (["--seconds", "nan"], USAGE, "nan"),
        (["--rounds", "0"], USAGE, "rounds"),
        (["--json", "nowhere/found.json"], DISK, "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_invalid_arguments_are_one_sentence(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], code: int, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.png", np.zeros((48, 64, 3), np.uint8))
    write_audio(tmp_path / "talk.m4a")
    done = run_bench(scratch, *args, code=code)
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_missing_cuda_is_an_error(scratch: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers() and Path("/proc/driver/nvidia/version").exists():
        pytest.skip("there is CUDA")
    done = run_bench(scratch, "--device", "cuda", code=MODEL)
    assert "expected to run on cuda" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_it_and_leaves_no_files(tmp_path: Path, scratch: Path, number: int, code: int) -> None:
    process = subprocess.Popen(
        command("bench", "--style", "tiny", "--size", "64x48", "--rounds", 10_000, "--json", tmp_path / "found.json"),
        env=environment(TMPDIR=str(scratch)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # the process that runs the tests may ignore it
    )
    try:
        assert process.stderr is not None
        assert any(line.startswith("round 2") for line in process.stderr)
        assert files_in(scratch), "expected temporary files while it measures"
        process.send_signal(number)
        _, rest = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    assert "Traceback" not in rest
    assert files_in(scratch) == []
    assert not (tmp_path / "found.json").exists()


def test_pans_move_and_have_the_size() -> None:
    first, second = islice(pans((96, 64)), 2)
    assert first.shape == second.shape == (64, 96, 3)
    assert first.std() > 20, "expected an image with texture"
    assert not np.array_equal(first, second)


def test_a_video_is_repeated_back_and_forth(tmp_path: Path) -> None:
    def brighter(index: int, width: int, height: int) -> np.ndarray:
        return np.full((height, width, 3), 60 * index, np.uint8)

    clip = write_clip(tmp_path / "in.mp4", image=brighter, times=range(3))
    levels = [round(float(image.mean()) / 60) for image in islice(scaled(str(clip), (96, 64)), 8)]
    assert levels == [0, 1, 2, 2, 1, 0, 0, 1]


def test_a_generated_clip_has_the_requested_length(tmp_path: Path) -> None:
    clip = make_clip(tmp_path, (64, 48), 0.4)
    frames = frames_of(Path(clip.input))
    assert [(f.width, f.height) for f in frames] == [(64, 48)] * 10
    assert (clip.name, clip.rate) == ("64x48", Fraction(25))


def test_clips_are_limited_to_the_memory() -> None:
    assert fitting_seconds((640, 360), Fraction(25), 4) == 4
    seconds = fitting_seconds((3840, 2160), Fraction(25), 60)
    assert seconds * 25 * 6 * 3840 * 2160 == pytest.approx(MAX_CLIP_BYTES, rel=0.05)
    assert fitting_seconds((20_000, 20_000), Fraction(25), 60) == 1 / 25


def test_precomputed_images_are_returned_in_order() -> None:
    images = [np.full((2, 2, 3), n, np.uint8) for n in range(4)]
    stylizer, frame = PrecomputedStylizer(images), np.zeros((2, 2, 3), np.uint8)
    batches = [stylizer.stylize([frame] * count) for count in (1, 2, 1)]
    assert [batch.shape for batch in batches] == [(1, 2, 2, 3), (2, 2, 2, 3), (1, 2, 2, 3)]
    assert [int(image[0, 0, 0]) for batch in batches for image in batch] == [0, 1, 2, 3]


@pytest.mark.parametrize("text", ["", "640", "640x", "640x360x2", "-640x360", "641x360", "30x30", "640x99999", "²x360"])
def test_an_invalid_size_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="expected a size"):
        parse_size(text)


def test_peak_memory_is_known_or_none() -> None:
    peak = peak_memory_mib()
    assert peak is None or 10 < peak < 1e6


class OnCuda(PrecomputedStylizer):
    """A stylizer that runs on a GPU."""

    device = "cuda:0"

    @property
    def engine(self) -> Engine:
        return Engine("onnxruntime", self.device)


def test_the_power_is_that_of_the_gpu_that_stylizes() -> None:
    assert gpu_index(PrecomputedStylizer([])) is None
    stylizer = OnCuda([])
    assert gpu_index(stylizer) == 0
    stylizer.device = "cuda:3"
    assert gpu_index(stylizer) == 3


@pytest.fixture
def rapl(tmp_path: Path) -> Path:
    """The energy counters of two processors, and of a part of one, as in Linux."""
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        folder = tmp_path / "powercap" / name
        folder.mkdir(parents=True)
        (folder / "energy_uj").write_text("9000000\n")
        (folder / "max_energy_range_uj").write_text("9999999\n")
    return tmp_path / "powercap"


def test_energy_of_processors_is_added_even_if_a_counter_wraps(rapl: Path) -> None:
    with measure_energy(rapl=rapl) as joules:
        (rapl / "intel-rapl:0" / "energy_uj").write_text("9500000\n")
        (rapl / "intel-rapl:1" / "energy_uj").write_text("1000000\n")
        (rapl / "intel-rapl:0:0" / "energy_uj").write_text("9400000\n")
    assert joules.cpu == pytest.approx(0.5 + 2)
    assert joules.gpu is None


def test_unreported_energy_is_none(tmp_path: Path, rapl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (rapl / "intel-rapl:1" / "energy_uj").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    for folder in (rapl, tmp_path / "none"):
        with measure_energy(gpu=0, rapl=folder) as joules:
            pass
        assert (joules.cpu, joules.gpu) == (None, None)


@pytest.mark.skipif(sys.platform == "win32", reason="the program is a shell script")
def test_energy_of_a_gpu_is_its_power_over_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = tmp_path / "arguments"
    program = tmp_path / "nvidia-smi"
    program.write_text(
        f"#!/bin/sh\necho 100.0; echo '[N/A]'; echo 200.0; echo \"$@\" > {arguments}.new; mv {arguments}.new {arguments}\n"
        "exec sleep 60\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    outer = time.perf_counter()
    with measure_energy(gpu=1, rapl=tmp_path) as joules:
        inner = time.perf_counter()
        while not arguments.exists() and time.perf_counter() - inner < 60:
            pass
        seconds = time.perf_counter() - inner
    assert joules.gpu is not None
    assert seconds <= joules.gpu / 150 <= time.perf_counter() - outer
    assert "--id=1" in arguments.read_text()


def test_the_exponent_of_a_power_law_is_found() -> None:
    assert bench.exponent((x, 3 * x**1.5) for x in (10, 20, 400)) == pytest.approx(1.5)
    assert bench.exponent((x, 5 + x) for x in (10, 20, 400)) < 1


@pytest.fixture
def measured() -> dict[str, Any]:
    """Invented results, as `tools/bench/speed.py` writes them."""
    spent = {stage: {"wall": 2.0, "cpu": 3.0, "fps": 50.0} for stage in STAGES}
    ours = {
        "frames": 100,
        "stages": spent,
        "net_ms": 12.3,
        "fps": 60.0,
        "real_time": 2.4,
        "headroom": 0.29,
        "total_wall_over_cpu_time_per_core": 1.02,
        "seconds_to_first_frame": 0.77,
        "peak_memory_mib": 301.0,
    }
    peer = {"label": "full TransformerNet, torch eager", "64x48": {"net_ms": 500.0, "fps": 2.0, "ours_faster_by": 30.0}}
    broken = {"label": "full TransformerNet, OpenCV DNN", "64x48": {"trouble": "unknown layer"}}
    run = {"pixels": 3072, "fps": 60.0, "frames": 100, "seconds": 1.7, "peak_memory_mib": 301.0}
    larger = run | {"pixels": 12_288, "fps": 15.0, "frames": 400, "seconds": 6.7, "peak_memory_mib": 444.0}
    return {
        "command": "python -m tools.bench.speed --peers",
        "machine": machine_details(2),
        "style": "mosaic",
        "rounds": 3,
        "seconds_to_help": 0.09,
        "sizes": {"64x48": ours},
        "peers": {"torch_eager": peer, "opencv_dnn": broken},
        "sweep": {
            "sizes": {"64x48": run, "128x96": larger},
            "lengths": {"4 s": run, "16 s": larger},
            "exponent_pixels": 0.98,
            "exponent_frames": 1.01,
        },
    }


def test_plots_show_all_results(measured: dict[str, Any]) -> None:
    drawn = bench_plots.plots(measured)
    assert {*drawn} == {"bench_stages.svg", "bench_sizes.svg", "bench_lengths.svg"}
    texts = {name: [e.text for e in ElementTree.fromstring(svg).iter() if e.text] for name, svg in drawn.items()}
    assert {"vidstyle", "torch eager"} <= {*texts["bench_sizes.svg"]}
    assert "OpenCV DNN" not in texts["bench_sizes.svg"]
    assert any("0.98" in text for text in texts["bench_sizes.svg"])
    assert any("1.01" in text for text in texts["bench_lengths.svg"])
    assert {"64x48", "net 30.0 ms"} <= {*texts["bench_stages.svg"]}
    points = ElementTree.fromstring(drawn["bench_sizes.svg"]).findall("{http://www.w3.org/2000/svg}circle")
    assert len(points) == 3
    small, large = (float(p.get("cy", 0)) for p in points[:2])
    assert small < large, "expected a higher rate to be higher up"


def test_without_a_sweep_only_stages_are_plotted(measured: dict[str, Any]) -> None:
    del measured["sweep"], measured["peers"]
    assert {*bench_plots.plots(measured)} == {"bench_stages.svg"}


def test_the_table_shows_all_results(measured: dict[str, Any]) -> None:
    text = speed_table(measured)
    assert "| vidstyle, mosaic | 12.3 | 60.0 |  |" in text
    assert "| full TransformerNet, torch eager | 500.0 | 2.00 | 30.0x |" in text
    assert "does not run" in text
    assert "| 64x48 | 2.40x | 0.29 | 0.77 s | 301 MiB | 1.02 |" in text
    assert "time grows with pixels to the power of 0.98" in text
    assert "444 MiB (128x96)" in text
    del measured["sweep"]
    assert "power" not in speed_table(measured)


def test_an_older_sweep_is_kept(tmp_path: Path, measured: dict[str, Any]) -> None:
    path = tmp_path / "results" / "bench.json"
    bench.write(path, dict(measured))
    later = {key: value for key, value in measured.items() if key not in ("sweep", "peers")} | {"rounds": 5}
    bench.write(path, later)
    found = json.loads(path.read_text())
    assert found["rounds"] == 5
    assert "peers" not in found, "they were measured in other rounds"
    assert found["sweep"] == measured["sweep"]


def test_peers_give_the_same_image_and_convert_clips(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", times=range(3))
    image = frames_of(clip)[0].to_ndarray(format="bgr24")
    peer_by_name = peers.make_peers(tmp_path)
    assert {*peer_by_name} == {*peers.LABELS} == {*bench_plots.PEERS}
    torch_peer, onnx_peer = peer_by_name["torch_eager"], peer_by_name["onnxruntime"]
    assert torch_peer.stylize is not None
    assert onnx_peer.stylize is not None
    by_torch = torch_peer.stylize(image)
    assert by_torch.std() > 5
    assert np.abs(by_torch.astype(int) - onnx_peer.stylize(image)).max() <= 2
    for name, peer in peer_by_name.items():
        output = tmp_path / f"{name}.mp4"
        peer.convert(clip, output, "64x48")
        found = peer.result("64x48")
        if peer.stylize is None:
            assert found["trouble"]
            continue
        assert len(frames_of(output)) == found["frames"] == 3
        assert found["net_ms"] > 0
        compared = bench.compared(found, {"fps": 10 * found["fps"], "net_ms": found["net_ms"] / 4})
        assert (compared["ours_faster_by"], compared["our_net_faster_by"]) == (10, 4)
