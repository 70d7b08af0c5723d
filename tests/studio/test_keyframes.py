"""Keyframes: where they are put, how they are carried over a clip, and what of them is made again, and when."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.temporal.test_flow import inner, texture, window
from vidstyle.core.errors import DiskError, InputError, UsageError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import KeyframeOptions, PaintOptions, StyleOptions
from vidstyle.studio.keyframes import finetune
from vidstyle.studio.keyframes.cuts import find_shots
from vidstyle.studio.keyframes.stylize import KeyframePainting, Plan, choose, fine_tuned_net
from vidstyle.studio.keyframes.work_folder import WorkFolder, fingerprint
from vidstyle.studio.style_images import Painting
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal.propagation import FEWEST, MOST, KeyframePicker, Propagation
from vidstyle.temporal.tracking import Sight, Tracker

CANVAS = texture(200, 240, seed=1, softness=6)
PAN = [window(CANVAS, 2 * n, 0) for n in range(13)]
"""A camera that pans by two pixels a frame."""
BLACK = np.zeros_like(PAN[0])


def random_frames(count: int, height: int = 64, width: int = 80) -> list[Pixels]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def distance(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(int) - other).mean())


# Where keyframes are put


def picked(frames: Sequence[Pixels], shots: Sequence[int] = (0,)) -> list[int]:
    picker = KeyframePicker()
    return [n for n, frame in enumerate(frames) if picker.is_keyframe(frame, n in shots)]


def test_a_still_clip_needs_its_first_frame_and_one_now_and_then() -> None:
    assert picked([PAN[0]] * MOST) == [0]
    assert picked([PAN[0]] * (2 * MOST + 1)) == [0, MOST, 2 * MOST]


def test_a_shot_begins_with_a_keyframe_however_soon() -> None:
    assert picked([PAN[0]] * 10 + [PAN[9]] * 10, shots=[0, 1, 10, 12]) == [0, 1, 10, 12]


def test_what_moves_faster_gets_more_keyframes() -> None:
    wide = texture(120, 320, seed=5, softness=6)
    counts = [len(picked([wide[:, speed * n : speed * n + 160] for n in range(33)])) for speed in (0, 1, 2, 4)]
    assert counts[0] == 1
    assert counts == sorted(set(counts))


def test_not_even_noise_gets_keyframes_close_together() -> None:
    assert picked(random_frames(13)) == list(range(0, 13, FEWEST))


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (15, 40)], ids=str)
def test_keyframes_of_tiny_images_are_picked(size: tuple[int, int]) -> None:
    assert picked([texture(*size)] * 10) == [0]
    assert picked([texture(*size) // 8, 255 - texture(*size) // 8] * 5) == [0, 5]


# An image found again


def coverage(now: Pixels, then: Pixels) -> float:
    return Tracker().track(Sight(now), Sight(then)).coverage


def test_a_image_is_found_again_in_itself_and_in_no_other() -> None:
    assert coverage(PAN[0], PAN[0]) > 0.99
    assert coverage(PAN[0], texture(120, 160, seed=9)) < 0.3


def test_what_left_the_image_is_not_found_again() -> None:
    assert 0.7 < coverage(PAN[12], PAN[0]) < 0.95 < coverage(PAN[1], PAN[0])


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (15, 40), (16, 16), (400, 30)], ids=str)
def test_images_of_any_size_are_found_again(size: tuple[int, int]) -> None:
    image, painting = texture(*size), texture(*size, seed=3)
    track = Tracker().track(Sight(image), Sight(image))
    moved, trust = track.carry(painting)
    assert track.coverage > 0.9
    assert trust.shape == size
    assert np.abs(moved - painting).mean() < 1


def test_a_painting_moves_with_its_scene() -> None:
    strokes = texture(200, 240, seed=7, softness=2)
    then, now = window(strokes, 0, 0), window(strokes, 12, 0)
    moved, trust = Tracker().track(Sight(PAN[6]), Sight(PAN[0])).carry(then)
    assert np.abs(inner(moved - now)).mean() < 3
    assert inner(trust).mean() > 0.9
    assert trust[:, -4:].mean() < 0.3, "what came into the image was not there before"


# Carried over the clip


def negative(image: Pixels) -> Pixels:
    return 255 - image


def carried(frames: Sequence[Pixels], keyframes: Sequence[int], shots: Sequence[int] = (0,)) -> list[Pixels]:
    """With keyframes stylized as negatives, and everything else by a stylizer that stylizes black."""
    propagation = Propagation(keyframes, shots, lambda n: (frames[n], negative(frames[n])))
    return [propagation.finish(frame, np.zeros_like(frame), n in shots) for n, frame in enumerate(frames)]


def test_keyframes_are_shown_exactly_as_they_were_stylized() -> None:
    shown = carried(PAN, [0, 6, 12])
    for number in (0, 6, 12):
        assert (shown[number] == negative(PAN[number])).all()


def test_frames_between_keyframes_are_stylized_as_they_are() -> None:
    for frame, shown in zip(PAN, carried(PAN, [0, 6, 12]), strict=True):
        assert shown.shape == frame.shape
        assert shown.dtype == np.uint8
        assert distance(inner(shown), inner(negative(frame))) < 5


def test_after_the_last_keyframe_what_is_new_is_left_to_the_stylizer() -> None:
    shown = carried(PAN, [0])
    assert distance(inner(shown[4]), inner(negative(PAN[4]))) < 5
    assert shown[12][20:-20, -10:].mean() < 40, "stylized black"
    assert shown[12][20:-20, 20:-40].mean() > 90


def test_between_two_keyframes_each_weighs_more_the_nearer_it_is() -> None:
    still = [PAN[0]] * 9
    paintings = {0: np.full_like(PAN[0], 80), 8: np.full_like(PAN[0], 160)}
    propagation = Propagation([0, 8], [0], lambda n: (still[n], paintings[n]))
    shades = [float(propagation.finish(frame, BLACK, n == 0).mean()) for n, frame in enumerate(still)]
    assert (shades[0], shades[-1]) == (80, 160)
    assert shades == sorted(set(shades)), "ever brighter"
    assert [240 - shade for shade in shades[::-1]] == pytest.approx(shades, abs=1)


def test_strokes_that_differ_do_not_fade_where_they_are_mixed() -> None:
    """Their plain mean has seven tenths of the contrast of each."""
    paintings = {n: texture(120, 160, seed=40 + n, softness=1) for n in (0, 8)}
    propagation = Propagation([0, 8], [0], lambda n: (PAN[0], paintings[n]))
    shown = [propagation.finish(PAN[0], BLACK, n == 0) for n in range(9)]
    contrast = [float(inner(image).std()) for image in shown]
    assert min(contrast) > 0.85 * max(contrast)


def test_nothing_is_carried_across_a_cut() -> None:
    """Though the image is the same on both sides."""
    frames = [PAN[0]] * 8
    shown = carried(frames, [0, 6], shots=[0, 3])
    assert all((shown[n] == negative(PAN[0])).all() for n in (0, 6))
    assert all(distance(shown[n], negative(PAN[0])) < 2 for n in (1, 2, 7))
    assert all((shown[n] == 0).all() for n in (3, 4, 5))


def test_the_keyframe_after_a_cut_does_not_show_before_it() -> None:
    paintings = {0: np.full_like(PAN[0], 200), 4: np.full_like(PAN[0], 50)}
    propagation = Propagation([0, 4], [0, 4], lambda n: (PAN[0], paintings[n]))
    shades = [float(propagation.finish(PAN[0], BLACK, n in (0, 4)).mean()) for n in range(8)]
    assert shades == pytest.approx([200] * 4 + [50] * 4, abs=1)


def test_before_the_first_keyframe_the_stylizers_painting_stays() -> None:
    shown = carried(PAN, [5, 9])
    assert all((shown[n] == 0).all() for n in range(5))
    assert (shown[5] == negative(PAN[5])).all()


def test_where_the_scene_is_another_the_stylizers_painting_shows() -> None:
    frames = [PAN[0].copy() for _ in range(3)]
    frames[1][:, :80] = negative(frames[1][:, :80]) // 4
    shown = carried(frames, [0, 2])[1]
    assert shown[:, :64].mean() < 40
    assert distance(shown[:, 96:], negative(PAN[0])[:, 96:]) < 3


@pytest.mark.parametrize("size", [(8, 8), (17, 33), (1, 1)], ids=str)
def test_paintings_of_any_size_are_carried(size: tuple[int, int]) -> None:
    for shown in carried([texture(*size)] * 5, [0, 4]):
        assert shown.shape == (*size, 3)
        assert distance(shown, negative(texture(*size))) < 3


# Cuts


def test_a_hard_cut_is_found_and_frames_are_counted() -> None:
    frames = [*PAN[:12], *[negative(texture(120, 160, seed=8)) // 2] * 12]
    assert find_shots(frames) == (24, [0, 12])


def test_a_pan_is_one_shot() -> None:
    assert find_shots(iter(PAN)) == (13, [0])


def test_shots_of_hardly_anything() -> None:
    assert find_shots([]) == (0, [])
    assert find_shots(PAN[:1]) == (1, [0])
    assert find_shots([texture(1, 1)] * 3) == (3, [0])


# The working folder


def test_what_things_were_made_from_survives_reopening(tmp_path: Path) -> None:
    first = WorkFolder(tmp_path / "a" / "work")
    first.save_image("stylized/000000.png", PAN[0], "red and blue")
    (first.path / "net.onnx").write_bytes(b"net")
    first.note("net.onnx", "keyframes", steps=7)
    again = WorkFolder(tmp_path / "a" / "work")
    assert again.made_from("stylized/000000.png") == "red and blue"
    assert again.made_from("net.onnx") == "keyframes"
    assert again.facts("net.onnx") == {"steps": 7}
    assert (again.load_image("stylized/000000.png", (120, 160)) == PAN[0]).all()
    assert not again.was_retouched("stylized/000000.png")
    assert not list(again.path.rglob("*.tmp"))


def test_what_is_not_there_was_made_from_nothing(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path)
    assert folder.made_from("stylized/000000.png") is None
    assert folder.facts("stylized/000000.png") == {}
    assert not folder.was_retouched("stylized/000000.png")
    folder.save_image("stylized/000000.png", PAN[0], "paint")
    (tmp_path / "stylized/000000.png").unlink()
    assert folder.made_from("stylized/000000.png") is None
    assert not folder.was_retouched("stylized/000000.png")


def test_a_file_altered_or_brought_by_somebody_was_retouched(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path)
    folder.save_image("stylized/000000.png", PAN[0], "paint")
    cv2.imwrite(str(tmp_path / "stylized/000000.png"), PAN[1])
    cv2.imwrite(str(tmp_path / "stylized/000008.png"), PAN[1])
    for opened in (folder, WorkFolder(tmp_path)):
        assert opened.was_retouched("stylized/000000.png")
        assert opened.was_retouched("stylized/000008.png")


@pytest.mark.parametrize(
    "text",
    ["", "no json", "[]", "{}", '{"format": 99, "made": {}}', '{"format": 1, "made": []}',
     '{"format": 1, "made": {"net.onnx": 3}}'],
)  # fmt: skip
def test_a_broken_state_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    (tmp_path / "net.onnx").touch()
    with pytest.raises(InputError, match=r"state\.json"):
        WorkFolder(tmp_path).made_from("net.onnx")
    assert (tmp_path / "state.json").read_text() == text


def test_a_image_of_another_size_is_refused_with_both_sizes(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path)
    folder.save_image("stylized/000000.png", PAN[0], "paint")
    with pytest.raises(InputError, match=r"000000\.png.*64x48.*160x120"):
        folder.load_image("stylized/000000.png", (48, 64))


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "000000.png").write_bytes(content)
    with pytest.raises(InputError, match=r"000000\.png"):
        WorkFolder(tmp_path).load_image("000000.png")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file")
    with pytest.raises(DiskError, match="work"):
        WorkFolder(tmp_path / "work").save_image("stylized/000000.png", PAN[0], "paint")


def test_a_fingerprint_tells_ingredients_apart() -> None:
    assert fingerprint("a", 1, [2]) == fingerprint("a", 1, [2])
    assert len({fingerprint("a", 1), fingerprint("a", 2), fingerprint("a1"), fingerprint(1, "a"), fingerprint("a", "1")}) == 5


# The whole of it, on a clip in memory

CLIP = [texture(60, 100, seed=1, softness=3)[6:54, 2 * n : 2 * n + 64] for n in range(10)]
QUICK = PaintOptions(recipe="gatys", steps=3)
THREE = KeyframeOptions(keyframes=(0, 4, 8), net_steps=2)
SEA = [Painting(texture(64, 64, seed=2, softness=1))]


class StopError(Exception):
    """Ends a painting in the middle."""


def silent(what: str, done: int, total: int | None, seconds_left: float | None) -> None:
    pass


class Work:
    """Painting the clip in a working folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.opened = 0

    def frames(self) -> Iterator[Pixels]:
        self.opened += 1
        return iter(CLIP)

    def plan(self, options: KeyframeOptions = THREE) -> Plan:
        return choose(WorkFolder(self.path), self.frames, "the clip", options, silent)

    def keyframes(
        self,
        paint: PaintOptions = QUICK,
        options: KeyframeOptions = THREE,
        report: Callable[..., None] = silent,
        paintings: Sequence[Painting] = SEA,
        mask: np.ndarray | None = None,
    ) -> KeyframePainting:
        plan = self.plan(options)
        return KeyframePainting(WorkFolder(self.path), plan, paintings, paint, report, mask)

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


def test_keyframes_lie_in_the_folder_as_filmed_and_as_stylized(work: Work) -> None:
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


def test_a_second_run_opens_no_clip_and_paints_nothing(work: Work) -> None:
    work.keyframes().run()
    before, opened = [work.bytes_of(n) for n in (0, 4, 8)], work.opened
    assert work.keyframes().run() == []
    assert [work.bytes_of(n) for n in (0, 4, 8)] == before
    assert work.opened == opened


def test_a_keyframe_is_stylized_from_the_one_before(work: Work) -> None:
    """With hardly a step to go, it looks as that one does, moved along."""
    options = replace(QUICK, steps=1)
    plan = work.plan()
    work.stylized(0).parent.mkdir(exist_ok=True)
    cv2.imwrite(str(work.stylized(0)), cv2.cvtColor(negative(CLIP[0]), cv2.COLOR_RGB2BGR))
    keyframes = KeyframePainting(WorkFolder(work.path), plan, SEA, options, silent)
    keyframes.run()
    stylized = keyframes.load(4)[1]
    overlap = slice(8, 40), slice(8, 44)
    assert distance(stylized[overlap], negative(CLIP[4])[overlap]) < 15 < distance(stylized[overlap], CLIP[4][overlap])


def test_a_retouched_keyframe_stays_and_what_was_stylized_from_it_is_stylized_again(work: Work) -> None:
    work.keyframes().run()
    first, last = work.bytes_of(0), work.bytes_of(8)
    retouched = work.retouch(4)
    assert work.keyframes().run() == [8]
    assert work.bytes_of(0) == first
    assert work.bytes_of(4) == retouched
    assert work.bytes_of(8) != last
    assert work.keyframes().run() == []


def test_a_keyframe_deleted_is_stylized_again_as_it_was(work: Work) -> None:
    work.keyframes().run()
    before = [work.bytes_of(n) for n in (0, 4, 8)]
    work.stylized(4).unlink()
    assert work.keyframes().run() == [4]
    assert [work.bytes_of(n) for n in (0, 4, 8)] == before


def test_a_retouched_keyframe_deleted_is_stylized_again_and_what_came_of_it_too(work: Work) -> None:
    work.keyframes().run()
    before = [work.bytes_of(n) for n in (0, 4, 8)]
    work.retouch(4)
    work.keyframes().run()
    work.stylized(4).unlink()
    assert work.keyframes().run() == [4, 8]
    assert [work.bytes_of(n) for n in (0, 4, 8)] == before


@pytest.mark.parametrize(
    "change",
    [{"paint": replace(QUICK, steps=4)}, {"paint": replace(QUICK, preserve_color=True)}, {"paintings": [Painting(CLIP[3])]},
     {"mask": np.eye(48, 64, dtype=np.float32)}],
    ids=["steps", "colours", "painting", "mask"],
)  # fmt: skip
def test_other_options_paint_all_but_the_retouched_again(work: Work, change: dict[str, object]) -> None:
    work.keyframes().run()
    retouched = work.retouch(4)
    assert work.keyframes(**change).run() == [0, 8]  # type: ignore[arg-type]
    assert work.bytes_of(4) == retouched
    assert work.keyframes(**change).run() == []  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"memory": 2.0}, {"device": "cpu"}], ids=str)
def test_where_it_is_stylized_makes_no_difference(work: Work, change: dict[str, object]) -> None:
    work.keyframes().run()
    assert work.keyframes(replace(QUICK, **change)).run() == []  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [0, 4, 8])
def test_a_retouched_keyframe_of_another_size_is_refused_and_left_as_it_is(work: Work, number: int) -> None:
    work.keyframes().run()
    work.retouch(number, size=(24, 32))
    before = [work.bytes_of(n) for n in (0, 4, 8)]
    with pytest.raises(InputError, match=rf"00000{number}\.png.*64x48.*32x24"):
        work.keyframes().run()
    assert [work.bytes_of(n) for n in (0, 4, 8)] == before


def test_other_keyframes_leave_the_ones_that_stay(work: Work) -> None:
    work.keyframes().run()
    first = work.bytes_of(0)
    fewer = replace(THREE, keyframes=(0, 8))
    assert work.keyframes(options=fewer).run() == [8], "it is stylized from another one now"
    assert work.bytes_of(0) == first


def test_a_keyframe_after_a_cut_is_stylized_on_its_own(tmp_path: Path) -> None:
    frames = [CLIP[0]] * 8 + [negative(texture(48, 64, seed=8)) // 2] * 8
    options, retouched = KeyframeOptions(keyframes=(0, 4, 8, 12), net_steps=2), tmp_path / "stylized" / "000004.png"
    plan = choose(WorkFolder(tmp_path), lambda: iter(frames), "cut", options, silent)
    assert plan.shots == [0, 8]
    assert [plan.parent(n) for n in plan.keyframes] == [None, 0, None, 8]
    assert KeyframePainting(WorkFolder(tmp_path), plan, SEA, QUICK, silent).run() == [0, 4, 8, 12]
    cv2.imwrite(str(retouched), CLIP[9])
    assert KeyframePainting(WorkFolder(tmp_path), plan, SEA, QUICK, silent).run() == []


def test_an_interrupted_painting_goes_on_with_what_is_finished(work: Work) -> None:
    def interrupt(what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        if what.startswith("painting keyframe 3") and done == 2:
            raise StopError

    with pytest.raises(StopError):
        work.keyframes(report=interrupt).run()
    before = [work.bytes_of(n) for n in (0, 4)]
    assert not work.stylized(8).exists()
    assert work.keyframes().run() == [8]
    assert [work.bytes_of(n) for n in (0, 4)] == before


def test_it_tells_how_far_it_is(work: Work) -> None:
    told = list[tuple[str, int, int | None, float | None]]()
    folder = WorkFolder(work.path)
    plan = choose(folder, work.frames, "the clip", THREE, lambda *facts: told.append(facts))
    keyframes = KeyframePainting(folder, plan, SEA, QUICK, lambda *facts: told.append(facts))
    keyframes.run()
    assert {what for what, *_ in told[:20]} == {"looking for cuts", "choosing keyframes"}
    assert [facts[:3] for facts in told[10:20]] == [("choosing keyframes", n, 10) for n in range(1, 11)]
    assert [facts[:3] for facts in told[20:]] == [
        (f"painting keyframe {k} of 3", step, 3) for k in (1, 2, 3) for step in (1, 2, 3)
    ]
    assert all(left is not None and left >= 0 for *_, left in told[20:])
    assert told[-1][3] == 0, "nothing is left in the end"


@pytest.mark.parametrize(("numbers", "named"), [((0, 10), "10"), ((0, 4, 999), "999"), ((-1,), "-1")])
def test_keyframes_that_the_clip_does_not_have_are_named(work: Work, numbers: tuple[int, ...], named: str) -> None:
    with pytest.raises(UsageError, match=rf"0 to 9.*{named}"):
        work.plan(KeyframeOptions(keyframes=numbers))
    assert not work.path.exists(), "nothing is left behind"


def test_keyframes_at_even_distances_begin_anew_at_every_cut(tmp_path: Path) -> None:
    frames = [CLIP[0]] * 8 + [negative(texture(48, 64, seed=8)) // 2] * 8
    plan = choose(WorkFolder(tmp_path), lambda: iter(frames), "cut", KeyframeOptions(every=3), silent)
    assert plan.keyframes == [0, 3, 6, 8, 11, 14]


def test_keyframes_are_put_where_the_motion_asks_for_them(tmp_path: Path) -> None:
    frames = random_frames(9)
    plan = choose(WorkFolder(tmp_path / "noise"), lambda: iter(frames), "noise", KeyframeOptions(), silent)
    assert plan.keyframes[:2] == [0, 4]
    plan = choose(WorkFolder(tmp_path / "still"), lambda: iter([CLIP[0]] * 9), "still", KeyframeOptions(), silent)
    assert plan.keyframes == [0]


def test_a_clip_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frames"):
        choose(WorkFolder(tmp_path), lambda: iter([]), "nothing", KeyframeOptions(), silent)


def test_another_clip_is_planned_anew(work: Work) -> None:
    work.keyframes().run()
    frames = [negative(frame) for frame in CLIP]
    plan = choose(WorkFolder(work.path), lambda: iter(frames), "another", THREE, silent)
    keyframes = KeyframePainting(WorkFolder(work.path), plan, SEA, QUICK, silent)
    assert keyframes.run() == [0, 4, 8]
    assert (keyframes.load(4)[0] == frames[4]).all()


# The net that stylizes between


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
def test_a_net_is_trained_once_and_again_when_a_keyframe_was_retouched(work: Work) -> None:
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
def test_a_training_that_was_interrupted_goes_on_from_its_checkpoint(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "CHECKPOINT_EVERY", 2)
    options, told = replace(THREE, net_steps=5), list[int]()

    def interrupt(what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        if done == 3:
            raise StopError

    with pytest.raises(StopError):
        trained(work, options, interrupt)
    assert not (work.path / "net.onnx").exists()
    trained(work, options, lambda what, done, total, left: told.append(done))
    assert told == [3, 4, 5]


@pytest.mark.usefixtures("small_crops")
def test_a_checkpoint_of_other_keyframes_is_not_gone_on_from(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, "CHECKPOINT_EVERY", 1)
    options, told = replace(THREE, net_steps=3), list[int]()

    def interrupt(what: str, done: int, total: int | None, seconds_left: float | None) -> None:
        if done == 2:
            raise StopError

    with pytest.raises(StopError):
        trained(work, options, interrupt)
    work.retouch(8)
    trained(work, options, lambda what, done, total, left: told.append(done))
    assert told == [1, 2, 3]


@pytest.mark.usefixtures("small_crops")
def test_the_net_comes_to_paint_as_the_keyframes_are_stylized(work: Work) -> None:
    """Negatives, which no shipped style stylizes."""
    work.keyframes().run()
    for number in (0, 4, 8):
        cv2.imwrite(str(work.stylized(number)), cv2.cvtColor(negative(CLIP[number]), cv2.COLOR_RGB2BGR))
    gaps = []
    for steps in (1, 60):
        net = trained(work, replace(THREE, net_steps=steps))
        gaps.append(distance(stylized_by(net, CLIP[2]), negative(CLIP[2])))
    assert gaps[1] < 0.8 * gaps[0]


def test_a_run_killed_between_note_and_file_leaves_no_retouching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = WorkFolder(tmp_path)
    folder.save_image("stylized/000000.png", PAN[0], "one")
    write = WorkFolder._write
    killed = lambda self, path, data: write(self, path, data) if path.name == "state.json" else None  # noqa: E731
    monkeypatch.setattr(WorkFolder, "_write", killed)
    folder.save_image("stylized/000000.png", PAN[1], "another")
    monkeypatch.undo()
    again = WorkFolder(tmp_path)
    assert not again.was_retouched("stylized/000000.png")
    assert again.made_from("stylized/000000.png") is None
