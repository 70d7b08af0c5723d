"""`vidstyle keyframes` on the command line."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.helpers import (
    audio_of,
    command,
    environment,
    events,
    frames_of,
    imread,
    listing,
    rgb_of,
    run_cli,
    times_of,
    write_clip,
)
from tests.support.optimization import FAILED, USAGE, Refuses, run_successfully
from tests.support.textures import texture
from vidstyle.core.frames import Pixels

UNEVEN = [0, 1, 2, 3, 5, 6, 7, 8, 10, 12]
FEW_STEPS = ["--steps", 2, "--net-steps", 2]


def pan(index: int, width: int, height: int) -> Pixels:
    """A camera that pans over soft blobs."""
    return texture(height, 160, softness=4)[:, index : index + width]


def black(index: int, width: int, height: int) -> Pixels:
    return np.zeros((height, width, 3), np.uint8)


class KeyframeRun:
    """A clip, its output and the working folder of its keyframes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clip, self.output, self.work = (folder / name for name in ("in.mp4", "in.sea.mp4", "in.sea.mp4.keyframes"))

    def run(self, *args: object, **options: Any) -> subprocess.CompletedProcess[str]:
        style = ["--style", "sea.png", *FEW_STEPS, "--keyframes", "0,4,9"]
        return run_cli("keyframes", "in.mp4", *style, *args, cwd=self.folder, **options)

    def times(self) -> dict[str, int]:
        """The modification time of each file in the working folder except the preview."""
        paths = [p for p in self.work.rglob("*") if p.is_file() and p.name != "preview.jpg"]
        return {str(p.relative_to(self.work)): p.stat().st_mtime_ns for p in paths}


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[KeyframeRun, subprocess.CompletedProcess[str]]:
    """A stylized clip with audio and uneven frame times; tests must not change it."""
    stylized = KeyframeRun(tmp_path_factory.mktemp("stylized"))
    cv2.imwrite(str(stylized.folder / "sea.png"), texture(64, 80, seed=2, softness=1))
    write_clip(stylized.clip, times=UNEVEN, audio=["eng"], image=pan)
    return stylized, stylized.run("--progress", "json", "--report")


@pytest.fixture
def again(first_run: tuple[KeyframeRun, object], tmp_path: Path) -> KeyframeRun:
    """A copy of it that a test may change."""
    shutil.copytree(first_run[0].folder, tmp_path / "again")
    return KeyframeRun(tmp_path / "again")


def test_a_video_keeps_its_frames_times_and_audio(first_run: tuple[KeyframeRun, Any]) -> None:
    stylized, done = first_run
    assert done.returncode == 0, done.stderr
    assert times_of(stylized.output) == times_of(stylized.clip)
    before, after = rgb_of(stylized.clip).astype(int), rgb_of(stylized.output).astype(int)
    assert before.shape == after.shape
    assert np.abs(before - after).mean() > 3
    (old,), (new,) = audio_of(stylized.clip), audio_of(stylized.output)
    assert [data for data, _ in old] == [data for data, _ in new]
    assert [float(time) for _, time in new] == pytest.approx([float(time) for _, time in old], abs=1e-3)


def test_working_folder_has_the_keyframes_as_images(first_run: tuple[KeyframeRun, Any]) -> None:
    stylized, _ = first_run
    names = ["000000.png", "000004.png", "000009.png"]
    files = ["keyframes.json", "net.onnx", "preview.jpg", "state.json"]
    images = ["frames", *(f"frames/{n}" for n in names), "stylized", *(f"stylized/{n}" for n in names)]
    assert listing(stylized.work) == sorted([*files, *images])
    assert json.loads((stylized.work / "keyframes.json").read_text())["keyframes"] == [0, 4, 9]
    for number, name in zip((0, 4, 9), names, strict=True):
        filmed, keyframe = (imread(stylized.work / kind / name)[..., ::-1].astype(int) for kind in ("frames", "stylized"))
        assert np.abs(filmed - rgb_of(stylized.clip)[number]).mean() < 4
        assert np.abs(keyframe - rgb_of(stylized.output)[number]).mean() < 12, "the video shows the keyframe"
        assert np.abs(keyframe - filmed).mean() > 1


def test_stages_are_json_events_and_the_report_is_one_line(first_run: tuple[KeyframeRun, Any]) -> None:
    _, done = first_run
    found = events(done.stderr)
    kinds = [event["event"] for event in found]
    assert kinds[0] == "stage"
    assert found[0]["stage"] == "looking for cuts"
    # Events of a stage are half a second apart at least, so a fast machine may skip the keyframes.
    later = "stylizing keyframe [1-3] of 3|fine-tuning the network"
    assert any(re.fullmatch(later, event.get("stage", "")) for event in found)
    assert kinds.index("start") > max(n for n, kind in enumerate(kinds) if kind == "stage")
    assert kinds[-2:] == ["file_done", "exit"]
    assert {"status": "done", "frames": len(UNEVEN)}.items() <= found[-2].items()
    assert set(found[-2]["report"]) == {"warping error", "warping error of the input"}
    assert re.fullmatch(r"in\.sea\.mp4: warping error [\d.e+-]+, warping error of the input [\d.e+-]+\n", done.stdout)


def test_existing_output_is_refused_before_any_work(again: KeyframeRun, refuses: Refuses) -> None:
    shutil.rmtree(again.work)
    refuses(again.folder, FAILED, "keyframes", "in.mp4", "--style", "sea.png", *FEW_STEPS, message="--overwrite")


def test_second_run_reuses_all_keyframes(again: KeyframeRun) -> None:
    before, old = again.times(), rgb_of(again.output)
    done = again.run("--overwrite")
    assert done.returncode == 0, done.stderr
    assert again.times() == before
    assert np.abs(rgb_of(again.output).astype(int) - old).max() <= 1


def test_a_retouched_keyframe_shows_in_the_video(again: KeyframeRun) -> None:
    cv2.imwrite(str(again.work / "stylized/000004.png"), np.full((48, 64, 3), (0, 0, 255), np.uint8))
    before = again.times()
    done = again.run("--overwrite")
    assert done.returncode == 0, done.stderr
    changed = {name for name, time in again.times().items() if before[name] != time}
    assert changed == {"stylized/000009.png", "net.onnx", "state.json"}
    red, green, _ = rgb_of(again.output)[4].astype(int).mean((0, 1))
    assert red > 200
    assert green < 60


def test_a_retouched_keyframe_of_another_size_is_refused(again: KeyframeRun) -> None:
    cv2.imwrite(str(again.work / "stylized/000004.png"), texture(24, 32))
    before = (again.work / "stylized/000004.png").read_bytes(), again.output.read_bytes()
    done = again.run("--overwrite", "-q")
    assert done.returncode == FAILED
    assert len(done.stderr.splitlines()) == 1
    assert all(word in done.stderr for word in ("000004.png", "64x48", "32x24"))
    assert ((again.work / "stylized/000004.png").read_bytes(), again.output.read_bytes()) == before


def test_network_alone_can_stylize_the_video(again: KeyframeRun) -> None:
    before = again.times()
    done = again.run("--propagation", "net", "-o", "net.mp4", "--work", again.work.name, "--no-audio")
    assert done.returncode == 0, done.stderr
    assert again.times() == before, "existing files are reused"
    assert times_of(again.folder / "net.mp4") == times_of(again.clip)
    assert audio_of(again.folder / "net.mp4") == []
    assert np.abs(rgb_of(again.folder / "net.mp4").astype(int) - rgb_of(again.output)).mean() > 3


def test_preserved_colours_and_masked_areas_are_those_of_the_video(again: KeyframeRun) -> None:
    """With the propagation `net` too, whose network knows of neither."""
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :32] = 255
    cv2.imwrite(str(again.folder / "mask.png"), mask)
    done = again.run("--mask", "mask.png", "--preserve-color", "--propagation", "net", "-o", "masked.mp4", "--crf", 4)
    assert done.returncode == 0, done.stderr
    luminance, colours = [], []
    for one, other in zip(rgb_of(again.folder / "masked.mp4"), rgb_of(again.clip), strict=True):
        gap = np.abs(cv2.cvtColor(one, cv2.COLOR_RGB2YCrCb).astype(int) - cv2.cvtColor(other, cv2.COLOR_RGB2YCrCb))
        luminance.append(gap[..., 0].mean(0))
        colours.append(gap[..., 1:].mean())
    assert np.mean(luminance, 0)[36:].mean() < 2.5
    assert np.mean(luminance, 0)[:28].mean() > 5
    assert np.mean(colours) < 3


@pytest.mark.parametrize(
    ("code", "args", "message"),
    [(USAGE, ["in.mp4", "--keyframes", "0,999"], "999"), (USAGE, ["in.mp4", "--keyframes", "abc"], "abc"),
     (USAGE, ["photo.png"], "vidstyle paint"), (USAGE, ["."], "one video file"),
     (USAGE, ["http://host/in.mp4"], "one video file"), (FAILED, ["missing.mp4"], "missing.mp4"),
     (USAGE, ["in.mp4", "-o", "out.xyz"], ".xyz"), (FAILED, ["in.mp4", "--start", "60"], "60 s"),
     (FAILED, ["in.mp4", "--mask", "sea.png"], "64x48"),
     (USAGE, ["in.mp4", "--codec", "mpeg1"], "mpeg1")],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_invalid_arguments_are_refused(folder: Path, refuses: Refuses, code: int, args: Sequence[str], message: str) -> None:
    write_clip(folder / "in.mp4", times=range(4))
    refuses(folder, code, "keyframes", *args, "--style", "sea.png", *FEW_STEPS, message=message)


def test_a_clip_of_one_frame_is_stylized(folder: Path) -> None:
    write_clip(folder / "one.mp4", times=range(1))
    done = run_successfully("keyframes", "one.mp4", "--style", "sea.png", *FEW_STEPS, "--report", cwd=folder)
    assert len(frames_of(folder / "one.sea.mp4")) == 1
    assert "too few frames" in done.stdout


def test_a_black_clip_is_stylized(folder: Path) -> None:
    write_clip(folder / "black.mkv", times=range(6), image=black)
    run_successfully("keyframes", "black.mkv", "--style", "sea.png", *FEW_STEPS, "--every", 4, "--preserve-color", cwd=folder)
    assert len(frames_of(folder / "black.sea.mkv")) == 6
    assert [p.name for p in sorted((folder / "black.sea.mkv.keyframes/stylized").iterdir())] == ["000000.png", "000004.png"]


def test_interrupted_run_keeps_finished_keyframes_and_continues(folder: Path) -> None:
    write_clip(folder / "in.mp4", times=range(6), image=pan)
    args = ["keyframes", "in.mp4", "--style", "sea.png", "--recipe", "gatys", "--steps", 40, "--net-steps", 1, "--every", 1]
    process = subprocess.Popen(
        command(*args, "--progress", "json"),
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # the test runner may ignore it
    )
    try:
        assert process.stderr is not None
        stages = (json.loads(line).get("stage", "") for line in process.stderr)
        assert any(re.match("stylizing keyframe [2-6] ", stage) for stage in stages), "ended too soon"
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert "in.sea.mp4.keyframes" in rest, "the message names the working folder"
    assert not (folder / "in.sea.mp4").exists()
    stylized = folder / "in.sea.mp4.keyframes" / "stylized"
    before = {p: p.stat().st_mtime_ns for p in stylized.iterdir()}
    assert 1 <= len(before) < 6
    run_successfully(*args, cwd=folder)
    assert len(list(stylized.iterdir())) == 6
    assert all(p.stat().st_mtime_ns == time for p, time in before.items())
    assert len(frames_of(folder / "in.sea.mp4")) == 6
