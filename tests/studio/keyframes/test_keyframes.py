"""Keyframes: which are chosen, how they are stylized, and which are made again and when."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.textures import distance, negative, texture
from vidstyle.core.errors import DiskError, InputError, UsageError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import KeyframeOptions, PaintOptions, StyleOptions
from vidstyle.studio.keyframes import finetune
from vidstyle.studio.keyframes.plan import KeyframePlan, choose_keyframes
from vidstyle.studio.keyframes.stylize import KeyframeOptimization, fine_tuned_net
from vidstyle.studio.keyframes.work_folder import WorkFolder
from vidstyle.studio.style_images import StyleImage
from vidstyle.stylizers import load_stylizer

CLIP = [texture(60, 100, seed=1, softness=3)[6:54, 2 * n : 2 * n + 64] for n in range(10)]
QUICK = PaintOptions(recipe="gatys", steps=3)
THREE = KeyframeOptions(keyframes=(0, 4, 8), net_steps=2)
SEA = [StyleImage(texture(64, 64, seed=2, softness=1))]


class StopError(Exception):
    """Interrupts an optimization."""


def random_frames(count: int, height: int = 64, width: int = 80) -> list[Pixels]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def silent(what: str, done: int, total: int | None, seconds_left: float | None) -> None:
    pass


class Work:
    """Stylizes the clip in a working folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.opened = 0

    def frames(self) -> Iterator[Pixels]:
        self.opened += 1
        return iter(CLIP)

    def plan(self, options: KeyframeOptions = THREE) -> KeyframePlan:
        return choose_keyframes(WorkFolder(self.path), self.frames, "the clip", options, silent)

    def keyframes(
        self,
        paint: PaintOptions = QUICK,
        options: KeyframeOptions = THREE,
        report: Callable[..., None] = silent,
        style_images: Sequence[StyleImage] = SEA,
        mask: np.ndarray | None = None,
    ) -> KeyframeOptimization:
        plan = self.plan(options)
        return KeyframeOptimization(WorkFolder(self.path), plan, style_images, paint, report, mask)

    def stylized(self, number: int) -> Path:
        return self.path / "stylized" / f"{number:06}.png"

    def bytes_of(self, number: int) -> bytes:
        return self.stylized(number).read_bytes()

    def retouch(self, number: int, size: tuple[int, int] = (48, 64)) -> bytes:
        cv2.imwrite(str(self.stylized(number)), texture(*size, seed=30 + number))
        return self.bytes_of(number)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path / "work")


def test_folder_holds_original_and_stylized_keyframes(work: Work) -> None:
    plan = work.plan()
    assert (plan.frames, plan.shots, plan.keyframes) == (10, [0], [0, 4, 8])
    assert work.keyframes().run() == [0, 4, 8]
    for kind in ("frames", "stylized"):
        assert [p.name for p in sorted((work.path / kind).iterdir())] == ["000000.png", "000004.png", "000008.png"]
    for number in (0, 4, 8):
        frame, stylized = work.keyframes().load(number)
        assert (frame == CLIP[number]).all()
        assert stylized.shape == frame.shape
        assert distance(stylized, frame) > 1
    facts = json.loads((work.path / "keyframes.json").read_text())
    assert facts == {"frames": 10, "shots": [0], "keyframes": [0, 4, 8]}
    strip = cv2.imread(str(work.path / "preview.jpg"))
    assert strip is not None
    assert strip.shape[1] / strip.shape[0] == pytest.approx(3 * 64 / (2 * 48), rel=0.02), "three columns, two rows"


def test_second_run_reads_no_clip_and_stylizes_nothing(work: Work) -> None:
    work.keyframes().run()
    before, opened = [work.bytes_of(n) for n in (0, 4, 8)], work.opened
    assert work.keyframes().run() == []
    assert [work.bytes_of(n) for n in (0, 4, 8)] == before
    assert work.opened == opened


def test_keyframe_starts_from_the_previous_one(work: Work) -> None:
    """After a single step it still looks like the previous one, warped."""
    options = replace(QUICK, steps=1)
    plan = work.plan()
    work.stylized(0).parent.mkdir(exist_ok=True)
    cv2.imwrite(str(work.stylized(0)), cv2.cvtColor(negative(CLIP[0]), cv2.COLOR_RGB2BGR))
    keyframes = KeyframeOptimization(WorkFolder(work.path), plan, SEA, options, silent)
    keyframes.run()
    stylized = keyframes.load(4)[1]
    overlap = slice(8, 40), slice(8, 44)
    assert distance(stylized[overlap], negative(CLIP[4])[overlap]) < 15 < distance(stylized[overlap], CLIP[4][overlap])


def test_retouched_keyframe_is_kept_and_its_successors_are_stylized_again(work: Work) -> None:
    work.keyframes().run()
    first, last = work.bytes_of(0), work.bytes_of(8)
    retouched = work.retouch(4)
    assert work.keyframes().run() == [8]
    assert work.bytes_of(0) == first
    assert work.bytes_of(4) == retouched
    assert work.bytes_of(8) != last
    assert work.keyframes().run() == []


def test_deleted_keyframe_is_stylized_again_with_the_same_result(work: Work) -> None:
    work.keyframes().run()
    before = [work.bytes_of(n) for n in (0, 4, 8)]
    work.stylized(4).unlink()
    assert work.keyframes().run() == [4]
    assert [work.bytes_of(n) for n in (0, 4, 8)] == before


def test_deleted_retouched_keyframe_and_its_successors_are_stylized_again(work: Work) -> None:
    work.keyframes().run()
    before = [work.bytes_of(n) for n in (0, 4, 8)]
    work.retouch(4)
    work.keyframes().run()
    work.stylized(4).unlink()
    assert work.keyframes().run() == [4, 8]
    assert [work.bytes_of(n) for n in (0, 4, 8)] == before


@pytest.mark.parametrize(
    "change",
    [{"paint": replace(QUICK, steps=4)}, {"paint": replace(QUICK, preserve_color=True)}, {"style_images": [StyleImage(CLIP[3])]},
     {"mask": np.eye(48, 64, dtype=np.float32)}],
    ids=["steps", "colours", "style image", "mask"],
)  # fmt: skip
def test_changed_options_stylize_all_but_retouched_keyframes_again(work: Work, change: dict[str, Any]) -> None:
    work.keyframes().run()
    retouched = work.retouch(4)
    assert work.keyframes(**change).run() == [0, 8]
    assert work.bytes_of(4) == retouched
    assert work.keyframes(**change).run() == []


@pytest.mark.parametrize("change", [{"memory": 2.0}, {"device": "cpu"}], ids=str)
def test_device_and_memory_do_not_invalidate_keyframes(work: Work, change: dict[str, Any]) -> None:
    work.keyframes().run()
    assert work.keyframes(replace(QUICK, **change)).run() == []


@pytest.mark.parametrize("number", [0, 4, 8])
def test_retouched_keyframe_of_another_size_is_rejected_and_kept(work: Work, number: int) -> None:
    work.keyframes().run()
    work.retouch(number, size=(24, 32))
    before = [work.bytes_of(n) for n in (0, 4, 8)]
    with pytest.raises(InputError, match=rf"00000{number}\.png.*64x48.*32x24"):
        work.keyframes().run()
    assert [work.bytes_of(n) for n in (0, 4, 8)] == before


def test_remaining_keyframes_are_kept_when_others_change(work: Work) -> None:
    work.keyframes().run()
    first = work.bytes_of(0)
    fewer = replace(THREE, keyframes=(0, 8))
    assert work.keyframes(options=fewer).run() == [8], "its parent changed"
    assert work.bytes_of(0) == first


def test_keyframe_after_a_cut_is_independent(tmp_path: Path) -> None:
    frames = [CLIP[0]] * 8 + [negative(texture(48, 64, seed=8)) // 2] * 8
    options, retouched = KeyframeOptions(keyframes=(0, 4, 8, 12), net_steps=2), tmp_path / "stylized" / "000004.png"
    plan = choose_keyframes(WorkFolder(tmp_path), lambda: iter(frames), "cut", options, silent)
    assert plan.shots == [0, 8]
    assert [plan.parent(n) for n in plan.keyframes] == [None, 0, None, 8]
    assert KeyframeOptimization(WorkFolder(tmp_path), plan, SEA, QUICK, silent).run() == [0, 4, 8, 12]
    cv2.imwrite(str(retouched), CLIP[9])
    assert KeyframeOptimization(WorkFolder(tmp_path), plan, SEA, QUICK, silent).run() == []


def test_interrupted_run_keeps_finished_keyframes(work: Work) -> None:
    def interrupt(what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        if what.startswith("stylizing keyframe 3") and done == 2:
            raise StopError

    with pytest.raises(StopError):
        work.keyframes(report=interrupt).run()
    before = [work.bytes_of(n) for n in (0, 4)]
    assert not work.stylized(8).exists()
    assert work.keyframes().run() == [8]
    assert [work.bytes_of(n) for n in (0, 4)] == before


def test_progress_is_reported(work: Work) -> None:
    reported = list[tuple[str, int, int | None, float | None]]()
    folder = WorkFolder(work.path)
    plan = choose_keyframes(folder, work.frames, "the clip", THREE, lambda *facts: reported.append(facts))
    keyframes = KeyframeOptimization(folder, plan, SEA, QUICK, lambda *facts: reported.append(facts))
    keyframes.run()
    assert {what for what, *_ in reported[:20]} == {"looking for cuts", "choosing keyframes"}
    assert [facts[:3] for facts in reported[10:20]] == [("choosing keyframes", n, 10) for n in range(1, 11)]
    assert [facts[:3] for facts in reported[20:]] == [
        (f"stylizing keyframe {k} of 3", step, 3) for k in (1, 2, 3) for step in (1, 2, 3)
    ]
    assert all(left is not None and left >= 0 for *_, left in reported[20:])
    assert reported[-1][3] == 0, "no time is left at the end"


@pytest.mark.parametrize(("numbers", "named"), [((0, 10), "10"), ((0, 4, 999), "999"), ((-1,), "-1")])
def test_keyframes_beyond_the_clip_are_named_in_the_error(work: Work, numbers: tuple[int, ...], named: str) -> None:
    with pytest.raises(UsageError, match=rf"0 to 9.*{named}"):
        work.plan(KeyframeOptions(keyframes=numbers))
    assert not work.path.exists(), "nothing is left behind"


def test_regular_keyframes_restart_at_every_cut(tmp_path: Path) -> None:
    frames = [CLIP[0]] * 8 + [negative(texture(48, 64, seed=8)) // 2] * 8
    plan = choose_keyframes(WorkFolder(tmp_path), lambda: iter(frames), "cut", KeyframeOptions(every=3), silent)
    assert plan.keyframes == [0, 3, 6, 8, 11, 14]


def test_keyframes_follow_the_motion(tmp_path: Path) -> None:
    frames = random_frames(9)
    plan = choose_keyframes(WorkFolder(tmp_path / "noise"), lambda: iter(frames), "noise", KeyframeOptions(), silent)
    assert plan.keyframes[:2] == [0, 4]
    plan = choose_keyframes(WorkFolder(tmp_path / "still"), lambda: iter([CLIP[0]] * 9), "still", KeyframeOptions(), silent)
    assert plan.keyframes == [0]


def test_clip_without_frames_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frames"):
        choose_keyframes(WorkFolder(tmp_path), lambda: iter([]), "nothing", KeyframeOptions(), silent)


def test_another_clip_gets_a_new_plan(work: Work) -> None:
    work.keyframes().run()
    frames = [negative(frame) for frame in CLIP]
    plan = choose_keyframes(WorkFolder(work.path), lambda: iter(frames), "another", THREE, silent)
    keyframes = KeyframeOptimization(WorkFolder(work.path), plan, SEA, QUICK, silent)
    assert keyframes.run() == [0, 4, 8]
    assert (keyframes.load(4)[0] == frames[4]).all()


# The net for the frames between


@pytest.fixture
def small_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "CROP", 32)
    monkeypatch.setattr(finetune, "BATCH", 1)


def trained(work: Work, options: KeyframeOptions = THREE, report: Callable[..., None] = silent) -> Path:
    keyframes = work.keyframes()
    keyframes.run()
    plan = work.plan()
    return fine_tuned_net(WorkFolder(work.path), plan, keyframes, options, report)


def stylized_by(net: Path, image: Pixels) -> Pixels:
    return np.asarray(load_stylizer(StyleOptions(style=str(net), device="cpu")).stylize([image])[0])


@pytest.mark.usefixtures("small_crops")
def test_net_is_trained_once_and_again_after_retouching(work: Work) -> None:
    net = trained(work)
    assert net == work.path / "net.onnx"
    assert not (work.path / "net.pt").exists(), "no checkpoint is left"
    assert stylized_by(net, CLIP[2]).shape == (48, 64, 3)
    before = net.stat().st_mtime_ns
    trained(work)
    assert net.stat().st_mtime_ns == before
    work.retouch(8)
    trained(work)
    assert net.stat().st_mtime_ns > before


@pytest.mark.usefixtures("small_crops")
def test_interrupted_fine_tuning_resumes_from_its_checkpoint(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "CHECKPOINT_EVERY", 2)
    options, reported = replace(THREE, net_steps=5), list[int]()

    def interrupt(what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        if done == 3:
            raise StopError

    with pytest.raises(StopError):
        trained(work, options, interrupt)
    assert not (work.path / "net.onnx").exists()
    trained(work, options, lambda what, done, total, left: reported.append(done))
    assert reported == [3, 4, 5]


@pytest.mark.usefixtures("small_crops")
def test_checkpoint_of_other_keyframes_is_not_used(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "CHECKPOINT_EVERY", 1)
    options, reported = replace(THREE, net_steps=3), list[int]()

    def interrupt(what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        if done == 2:
            raise StopError

    with pytest.raises(StopError):
        trained(work, options, interrupt)
    work.retouch(8)
    trained(work, options, lambda what, done, total, left: reported.append(done))
    assert reported == [1, 2, 3]


@pytest.mark.usefixtures("small_crops")
def test_net_learns_the_style_of_the_keyframes(work: Work) -> None:
    """The keyframes are negatives, which no shipped style produces."""
    work.keyframes().run()
    for number in (0, 4, 8):
        cv2.imwrite(str(work.stylized(number)), cv2.cvtColor(negative(CLIP[number]), cv2.COLOR_RGB2BGR))
    gaps = []
    for steps in (1, 30):
        net = trained(work, replace(THREE, net_steps=steps))
        gaps.append(distance(stylized_by(net, CLIP[2]), negative(CLIP[2])))
    assert gaps[1] < 0.8 * gaps[0]


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("name", ["net.pt", "net.onnx"])
def test_full_disk_while_fine_tuning_is_one_sentence(work: Work, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    import resource

    keyframes = work.keyframes()
    keyframes.run()
    monkeypatch.setattr(finetune, "CHECKPOINT_EVERY", 1 if name == "net.pt" else 1000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # Python ignores SIGXFSZ
    try:
        with pytest.raises(DiskError, match=f"no space left to write .*{name}"):
            fine_tuned_net(WorkFolder(work.path), work.plan(), keyframes, THREE, silent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [path.name for path in work.path.iterdir() if path.name.startswith(".")]
