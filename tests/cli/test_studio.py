"""`vidstyle paint` and `vidstyle keyframes` as a person runs them."""

from __future__ import annotations

import json
import logging
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
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
    listing,
    rgb_of,
    run_cli,
    times_of,
    write_clip,
)
from tests.support.textures import texture
from vidstyle.cli import run_command_line
from vidstyle.cli.reporters import LineReporter
from vidstyle.core.frames import Pixels
from vidstyle.studio.optimize.image_optimizer import ImageOptimizer

FAILED, USAGE, MODEL = 1, 2, 4
UNEVEN = [0, 1, 2, 3, 5, 6, 7, 8, 10, 12]
FEW_STEPS = ["--steps", 2, "--net-steps", 2]


def pan(index: int, width: int, height: int) -> Pixels:
    """A camera that pans over soft blobs."""
    return texture(height, 160, softness=4)[:, index : index + width]


def black(index: int, width: int, height: int) -> Pixels:
    return np.zeros((height, width, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`photo.png` of 64x48, the painting `sea.png`, and `mask.png`, of which the left half is white."""
    cv2.imwrite(str(tmp_path / "photo.png"), texture(48, 64, seed=1))
    cv2.imwrite(str(tmp_path / "sea.png"), texture(64, 80, seed=2, softness=1))
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :32] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    return tmp_path


Refuses = Callable[..., None]


@pytest.fixture(autouse=True)
def signals_and_log() -> Iterator[None]:
    """Are as they were, once the command line has run in this process."""
    handlers, signals = logging.root.handlers[:], [(n, signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)]
    yield
    logging.root.handlers[:] = handlers
    for number, handler in signals:
        signal.signal(number, handler)


@pytest.fixture
def refuses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refuses:
    """The command line in this process: where nothing is stylized, importing torch for each command would take longest."""

    def refuses(folder: Path, code: int, *args: object, says: str = "") -> None:
        """`vidstyle ARGS` says one sentence with `says` in it, and leaves `folder` as it was."""
        monkeypatch.chdir(folder)
        before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        names = listing(folder)
        assert run_command_line([*map(str, args), "-q"]) == code
        out, err = capsys.readouterr()
        assert len(err.splitlines()) == 1, err
        assert err.startswith("error: ")
        assert says in err
        assert out == ""
        assert listing(folder) == names
        assert all(p.read_bytes() == data for p, data in before.items())

    return refuses


def done_well(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    done = run_cli(*args, **options)
    assert done.returncode == 0, done.stderr
    return done


# An image


def test_a_image_is_stylized_beside_itself_and_not_twice(folder: Path, refuses: Refuses) -> None:
    before = listing(folder)
    done_well("paint", "photo.png", "--style", "sea.png", "--steps", 3, cwd=folder)
    assert listing(folder) == sorted([*before, "photo.sea.png"])
    photo, stylized = (cv2.imread(str(folder / name)).astype(int) for name in ("photo.png", "photo.sea.png"))
    assert stylized.shape == photo.shape
    assert np.abs(stylized - photo).mean() > 1
    refuses(folder, FAILED, "paint", "photo.png", "--style", "sea.png", "--steps", 3, says="--overwrite")
    again = ["--overwrite", "--mask", "mask.png", "--recipe", "gatys"]
    done_well("paint", "photo.png", "--style", "sea.png", "--steps", 3, *again, cwd=folder)
    masked = cv2.imread(str(folder / "photo.sea.png")).astype(int)
    assert (masked[:, 32:] == photo[:, 32:]).all()
    assert np.abs(masked[:, :32] - photo[:, :32]).mean() > 1


def test_painting_is_told_in_json(folder: Path) -> None:
    style = "sea.png:3,photo.png:1"
    done = done_well("paint", "photo.png", "--style", style, "--steps", 3, "--progress", "json", "-o", "out.jpg", cwd=folder)
    found = events(done.stderr)
    kinds = [event["event"] for event in found]
    assert set(kinds[:-2]) == {"stage"}
    assert kinds[-2:] == ["file_done", "exit"]
    assert {"stage": "painting out.jpg", "done": 1, "total": 3}.items() <= found[0].items()
    assert found[0]["seconds_left"] >= 0
    assert {"input": "photo.png", "output": "out.jpg", "status": "done", "frames": 1}.items() <= found[-2].items()
    assert found[-1] == {"v": 1, "event": "exit", "code": 0}
    assert cv2.imread(str(folder / "out.jpg")).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("facts", "line"),
    [(("painting keyframe 2 of 9", 30, 300, 90.4), "painting keyframe 2 of 9: 30 of 300, about 1:30 left"),
     (("fine-tuning the net", 1, 400, 7322.0), "fine-tuning the net: 1 of 400, about 2:02:02 left"),
     (("looking for cuts", 7, None, None), "looking for cuts: 7")],
)  # fmt: skip
def test_in_a_log_the_stages_are_lines(capsys: pytest.CaptureFixture[str], facts: tuple[Any, ...], line: str) -> None:
    lines = LineReporter()
    for _ in range(3):
        lines.stage(*facts)
    assert capsys.readouterr().err == f"{line}\n", "one in a while, not one a step"


@pytest.mark.parametrize(
    ("code", "args", "says"),
    [(USAGE, ["clip.mp4", "--style", "sea.png"], "vidstyle keyframes"),
     (FAILED, ["missing.png", "--style", "sea.png"], "missing.png"),
     (FAILED, ["photo.png", "--style", "missing.png"], "missing.png"),
     (MODEL, ["photo.png", "--style", "no-such-style"], "no-such-style"),
     (MODEL, ["photo.png", "--style", "tiny"], "give the painting's file"),
     (FAILED, ["photo.png", "--style", "sea.png", "--mask", "sea.png"], "64x48"),
     (FAILED, ["photo.png", "--style", "sea.png", "--mask", "night.png"], "white"),
     (FAILED, ["small.png", "--style", "sea.png"], "8x8"),
     (MODEL, ["photo.png", "--style", "sea.png", "--device", "gpu"], "gpu"),
     (FAILED, ["photo.png", "--style", "sea.png", "-o", "photo.png", "--overwrite"], "input itself")],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_paint_refuses_what_cannot_work(folder: Path, refuses: Refuses, code: int, args: list[str], says: str) -> None:
    cv2.imwrite(str(folder / "night.png"), np.zeros((48, 64), np.uint8))
    cv2.imwrite(str(folder / "small.png"), texture(8, 8))
    (folder / "clip.mp4").write_bytes(b"not looked at")
    refuses(folder, code, "paint", *args, says=says)


@pytest.mark.parametrize("option", ["--memory", "--stroke-scale", "--content-weight"])
def test_a_number_that_is_none_is_a_wrong_option(folder: Path, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    monkeypatch.chdir(folder)
    assert run_command_line(["paint", "photo.png", "--style", "sea.png", "--steps", "1", option, "nan"]) == USAGE
    assert not (folder / "photo.sea.png").exists()


def test_an_output_that_cannot_be_written_is_refused_before_painting(
    folder: Path, refuses: Refuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageOptimizer, "optimize", lambda *args: pytest.fail("stylized in vain"))
    refuses(folder, FAILED, "paint", "photo.png", "--style", "sea.png", "-o", "out.xyz", says=".xyz")


# A video


class Painted:
    """A clip, and what became of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clip, self.output, self.work = (folder / name for name in ("in.mp4", "in.sea.mp4", "in.sea.mp4.keyframes"))

    def run(self, *args: object, **options: Any) -> subprocess.CompletedProcess[str]:
        style = ["--style", "sea.png", *FEW_STEPS, "--keyframes", "0,4,9"]
        return run_cli("keyframes", "in.mp4", *style, *args, cwd=self.folder, **options)

    def times(self) -> dict[str, int]:
        """When each thing in the working folder was written, but for the preview."""
        paths = [p for p in self.work.rglob("*") if p.is_file() and p.name != "preview.jpg"]
        return {str(p.relative_to(self.work)): p.stat().st_mtime_ns for p in paths}


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Painted, subprocess.CompletedProcess[str]]:
    """A clip with audio and uneven times, stylized; not to be touched."""
    stylized = Painted(tmp_path_factory.mktemp("stylized"))
    cv2.imwrite(str(stylized.folder / "sea.png"), texture(64, 80, seed=2, softness=1))
    write_clip(stylized.clip, times=UNEVEN, audio=["eng"], image=pan)
    return stylized, stylized.run("--progress", "json", "--report")


@pytest.fixture
def again(first_run: tuple[Painted, object], tmp_path: Path) -> Painted:
    """A copy of it, to go on from."""
    shutil.copytree(first_run[0].folder, tmp_path / "again")
    return Painted(tmp_path / "again")


def test_a_video_keeps_its_frames_times_and_audio(first_run: tuple[Painted, Any]) -> None:
    stylized, done = first_run
    assert done.returncode == 0, done.stderr
    assert times_of(stylized.output) == times_of(stylized.clip)
    before, after = rgb_of(stylized.clip).astype(int), rgb_of(stylized.output).astype(int)
    assert before.shape == after.shape
    assert np.abs(before - after).mean() > 3
    (old,), (new,) = audio_of(stylized.clip), audio_of(stylized.output)
    assert [data for data, _ in old] == [data for data, _ in new]
    assert [float(time) for _, time in new] == pytest.approx([float(time) for _, time in old], abs=1e-3)


def test_keyframes_can_be_looked_at_in_the_working_folder(first_run: tuple[Painted, Any]) -> None:
    stylized, _ = first_run
    names = ["000000.png", "000004.png", "000009.png"]
    files = ["keyframes.json", "net.onnx", "preview.jpg", "state.json"]
    images = ["frames", *(f"frames/{n}" for n in names), "stylized", *(f"stylized/{n}" for n in names)]
    assert listing(stylized.work) == sorted([*files, *images])
    assert json.loads((stylized.work / "keyframes.json").read_text())["keyframes"] == [0, 4, 9]
    for number, name in zip((0, 4, 9), names, strict=True):
        filmed, keyframe = (
            cv2.imread(str(stylized.work / kind / name))[..., ::-1].astype(int) for kind in ("frames", "stylized")
        )
        assert np.abs(filmed - rgb_of(stylized.clip)[number]).mean() < 4
        assert np.abs(keyframe - rgb_of(stylized.output)[number]).mean() < 12, "it is what the video shows"
        assert np.abs(keyframe - filmed).mean() > 1


def test_the_stages_are_told_in_json_and_the_report_on_a_line(first_run: tuple[Painted, Any]) -> None:
    _, done = first_run
    found = events(done.stderr)
    kinds = [event["event"] for event in found]
    assert kinds[0] == "stage"
    assert found[0]["stage"] == "looking for cuts"
    assert any(re.fullmatch("painting keyframe [1-3] of 3", event.get("stage", "")) for event in found)
    assert kinds.index("start") > max(n for n, kind in enumerate(kinds) if kind == "stage")
    assert kinds[-2:] == ["file_done", "exit"]
    assert {"status": "done", "frames": len(UNEVEN)}.items() <= found[-2].items()
    assert set(found[-2]["report"]) == {"warping error", "warping error of the input"}
    assert re.fullmatch(r"in\.sea\.mp4: warping error [\d.e+-]+, warping error of the input [\d.e+-]+\n", done.stdout)


def test_an_output_that_exists_is_refused_before_any_work(again: Painted, refuses: Refuses) -> None:
    shutil.rmtree(again.work)
    refuses(again.folder, FAILED, "keyframes", "in.mp4", "--style", "sea.png", *FEW_STEPS, says="--overwrite")


def test_a_second_run_paints_nothing_again(again: Painted) -> None:
    before, old = again.times(), rgb_of(again.output)
    done = again.run("--overwrite")
    assert done.returncode == 0, done.stderr
    assert again.times() == before
    assert np.abs(rgb_of(again.output).astype(int) - old).max() <= 1


def test_a_retouched_keyframe_shows_in_the_video(again: Painted) -> None:
    cv2.imwrite(str(again.work / "stylized/000004.png"), np.full((48, 64, 3), (0, 0, 255), np.uint8))
    before = again.times()
    done = again.run("--overwrite")
    assert done.returncode == 0, done.stderr
    changed = {name for name, time in again.times().items() if before[name] != time}
    assert changed == {"stylized/000009.png", "net.onnx", "state.json"}
    red, green, _ = rgb_of(again.output)[4].astype(int).mean((0, 1))
    assert red > 200
    assert green < 60


def test_a_retouched_keyframe_of_another_size_is_refused(again: Painted) -> None:
    cv2.imwrite(str(again.work / "stylized/000004.png"), texture(24, 32))
    before = (again.work / "stylized/000004.png").read_bytes(), again.output.read_bytes()
    done = again.run("--overwrite", "-q")
    assert done.returncode == FAILED
    assert len(done.stderr.splitlines()) == 1
    assert all(word in done.stderr for word in ("000004.png", "64x48", "32x24"))
    assert ((again.work / "stylized/000004.png").read_bytes(), again.output.read_bytes()) == before


def test_the_net_alone_may_paint_the_video(again: Painted) -> None:
    before = again.times()
    done = again.run("--propagation", "net", "-o", "net.mp4", "--work", again.work.name, "--no-audio")
    assert done.returncode == 0, done.stderr
    assert again.times() == before, "what is there is used"
    assert times_of(again.folder / "net.mp4") == times_of(again.clip)
    assert audio_of(again.folder / "net.mp4") == []
    assert np.abs(rgb_of(again.folder / "net.mp4").astype(int) - rgb_of(again.output)).mean() > 3


def test_a_video_keeps_its_colours_and_all_that_the_mask_leaves_out(again: Painted) -> None:
    """Whoever stylizes it: here the net, which knows of neither."""
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :32] = 255
    cv2.imwrite(str(again.folder / "mask.png"), mask)
    done = again.run("--mask", "mask.png", "--preserve-color", "--propagation", "net", "-o", "masked.mp4", "--crf", 4)
    assert done.returncode == 0, done.stderr
    light, colours = [], []
    for one, other in zip(rgb_of(again.folder / "masked.mp4"), rgb_of(again.clip), strict=True):
        gap = np.abs(cv2.cvtColor(one, cv2.COLOR_RGB2YCrCb).astype(int) - cv2.cvtColor(other, cv2.COLOR_RGB2YCrCb))
        light.append(gap[..., 0].mean(0))
        colours.append(gap[..., 1:].mean())
    assert np.mean(light, 0)[36:].mean() < 2.5
    assert np.mean(light, 0)[:28].mean() > 5
    assert np.mean(colours) < 3


@pytest.mark.parametrize(
    ("code", "args", "says"),
    [(USAGE, ["in.mp4", "--keyframes", "0,999"], "999"), (USAGE, ["in.mp4", "--keyframes", "abc"], "abc"),
     (USAGE, ["photo.png"], "vidstyle paint"), (USAGE, ["."], "one video file"),
     (USAGE, ["http://host/in.mp4"], "one video file"), (FAILED, ["missing.mp4"], "missing.mp4"),
     (USAGE, ["in.mp4", "-o", "out.xyz"], ".xyz"), (FAILED, ["in.mp4", "--start", "60"], "60 s"),
     (FAILED, ["in.mp4", "--mask", "sea.png"], "64x48"),
     (USAGE, ["in.mp4", "--codec", "mpeg1"], "mpeg1")],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_keyframes_refuses_what_cannot_work(folder: Path, refuses: Refuses, code: int, args: Sequence[str], says: str) -> None:
    write_clip(folder / "in.mp4", times=range(4))
    refuses(folder, code, "keyframes", *args, "--style", "sea.png", *FEW_STEPS, says=says)


def test_a_clip_of_one_frame_is_stylized(folder: Path) -> None:
    write_clip(folder / "one.mp4", times=range(1))
    done = done_well("keyframes", "one.mp4", "--style", "sea.png", *FEW_STEPS, "--report", cwd=folder)
    assert len(frames_of(folder / "one.sea.mp4")) == 1
    assert "too few frames" in done.stdout


def test_a_black_clip_is_stylized(folder: Path) -> None:
    write_clip(folder / "black.mkv", times=range(6), image=black)
    done_well("keyframes", "black.mkv", "--style", "sea.png", *FEW_STEPS, "--every", 4, "--preserve-color", cwd=folder)
    assert len(frames_of(folder / "black.sea.mkv")) == 6
    assert [p.name for p in sorted((folder / "black.sea.mkv.keyframes/stylized").iterdir())] == ["000000.png", "000004.png"]


def test_interrupted_it_keeps_what_is_stylized_and_goes_on_from_there(folder: Path) -> None:
    write_clip(folder / "in.mp4", times=range(6), image=pan)
    args = ["keyframes", "in.mp4", "--style", "sea.png", "--recipe", "gatys", "--steps", 40, "--net-steps", 1, "--every", 1]
    process = subprocess.Popen(
        command(*args, "--progress", "json"),
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # whoever runs the tests may ignore it
    )
    try:
        assert process.stderr is not None
        facts = (json.loads(line).get("stage", "") for line in process.stderr)
        assert any(re.match("painting keyframe [2-6] ", stage) for stage in facts), "ended too soon"
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert "in.sea.mp4.keyframes" in rest, "it says where to find what is stylized"
    assert not (folder / "in.sea.mp4").exists()
    stylized = folder / "in.sea.mp4.keyframes" / "stylized"
    before = {p: p.stat().st_mtime_ns for p in stylized.iterdir()}
    assert 1 <= len(before) < 6
    done_well(*args, cwd=folder)
    assert len(list(stylized.iterdir())) == 6
    assert all(p.stat().st_mtime_ns == time for p, time in before.items())
    assert len(frames_of(folder / "in.sea.mp4")) == 6
