"""The Python API: one call, a stylizer that is kept, and frames out of videos and into them."""

from __future__ import annotations

import gc
import os
import pkgutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import av
import cv2
import numpy as np
import pytest

import vidstyle
from tests.support.helpers import audio_of, environment, frames_of, listing, moving_bar, rgb_of, times_of, write_clip
from vidstyle.api.validation import as_frames
from vidstyle.core.frames import Frame, Pixels
from vidstyle.core.options import ConvertOptions
from vidstyle.sources.images import read_image
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal import lookahead
from vidstyle.temporal.lookahead import LookAhead

UNEVEN = [0, 1, 2, 5, 6, 9, 10, 11, 15, 16, 17, 20]
"""Ticks at which frames are shown, at no constant rate."""


def fade_and_cut(index: int, width: int, height: int) -> Pixels:
    """An image that fades in from black, and from the 10th frame on another one."""
    image = moving_bar(index, width, height)
    return np.asarray(image * min(1.0, index / 9), np.uint8) if index < 10 else 255 - image[:, ::-1]


@pytest.fixture(scope="module")
def stylizer(styles: Path) -> vidstyle.Stylizer:
    return vidstyle.Stylizer("tiny", device="cpu")


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """A clip of two shots, the first of which begins black, with uneven times and audio."""
    return write_clip(tmp_path / "shots.mp4", times=UNEVEN, time_base=Fraction(1, 12), image=fade_and_cut, audio=["eng"])


def images(*brightness: int) -> Pixels:
    return np.stack(
        [np.full((32, 48, 3), level, np.uint8) // 2 + moving_bar(i, 48, 32) // 2 for i, level in enumerate(brightness)]
    )


def pixels_of(frames: Iterator[Frame]) -> Pixels:
    return np.stack([frame.pixels for frame in frames])


def is_open(path: Path) -> bool:
    """Whether this process has the file open."""
    gc.collect()
    found = []
    for handle in Path("/proc/self/fd").iterdir():
        try:
            found.append(os.readlink(handle))
        except OSError:  # the descriptor of the listing itself
            continue
    return str(path) in found


# --- one call


def test_options_take_effect(clip: Path) -> None:
    result = vidstyle.stylize(
        str(clip),
        clip.with_name("out.mkv"),
        style="tiny",
        height=32,
        device="cpu",
        end=np.float64(0.25),
        codec="ffv1",
        audio=False,
    )
    assert result.output == clip.with_name("out.mkv")
    assert result.frames == len(frames_of(result.output)) == 6
    assert audio_of(result.output) == []
    with av.open(str(result.output)) as container:
        assert container.streams.video[0].codec_context.name == "ffv1"


def test_progress_is_called_after_every_frame_in_the_callers_thread(clip: Path) -> None:
    calls = []
    vidstyle.stylize(clip, style="tiny", progress=lambda *count: calls.append((*count, threading.current_thread())))
    assert calls == [(n, 12, threading.current_thread()) for n in range(1, 13)]


def test_an_exception_from_progress_ends_the_work_and_leaves_nothing(clip: Path) -> None:
    def stop(done: int, expected: int | None) -> None:
        if done == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        vidstyle.stylize(clip, style="tiny", progress=stop)
    assert listing(clip.parent) == ["in.mp4"]


def test_existing_output_is_kept_without_overwrite(clip: Path) -> None:
    vidstyle.stylize(clip, style="tiny", end=0.1)
    with pytest.raises(vidstyle.OutputExistsError):
        vidstyle.stylize(clip, style="tiny")
    assert vidstyle.stylize(clip, style="tiny", overwrite=True).frames == 12


def test_outputs_of_the_library_are_finished_for_the_command_line(clip: Path) -> None:
    vidstyle.stylize(clip, style="tiny")
    done = subprocess.run(
        [sys.executable, "-m", "vidstyle", str(clip), "--style", "tiny"], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_stylizer_refuses_a_folder_and_names_the_alternative(clip: Path, stylizer: vidstyle.Stylizer) -> None:
    for convert in (stylizer.convert, lambda folder: next(stylizer.frames(folder))):
        with pytest.raises(vidstyle.UsageError, match=r"got a folder: .*clips; vidstyle\.stylize"):
            convert(clip.parent)


def test_an_unknown_option_is_a_type_error_that_suggests_one(clip: Path, stylizer: vidstyle.Stylizer) -> None:
    with pytest.raises(TypeError, match=r"^stylize\(\) got an unexpected keyword argument 'hieght'; did you mean 'height'\?$"):
        vidstyle.stylize(clip, hieght=3)
    with pytest.raises(TypeError, match="'qualty'; did you mean 'quality'"):
        vidstyle.write_video(clip.with_name("out.mp4"), [], qualty=3)
    with pytest.raises(TypeError, match="'device'"):  # the network is already loaded
        stylizer.convert(clip, device="cpu")
    assert listing(clip.parent) == ["in.mp4"]


@pytest.mark.parametrize(
    "options",
    [
        {"height": "480"},
        {"height": 12.5},
        {"height": True},
        {"height": 8},
        {"stabilize": "heavy"},
        {"stabilize": None},
        {"backend": 1},
        {"overwrite": 1},
        {"quality": 101},
        {"batch_size": 0},
        {"start": -1},
        {"start": float("nan")},
        {"start": 2, "end": 1},
        {"skip_existing": True},
        {"resume": "short"},
    ],
    ids=str,
)
def test_an_invalid_option_is_a_usage_error(clip: Path, options: dict[str, Any]) -> None:
    with pytest.raises(vidstyle.UsageError, match=r"^expected ") as raised:
        vidstyle.stylize(clip, style="tiny", **options)
    assert isinstance(raised.value, ValueError)
    assert listing(clip.parent) == ["in.mp4"]


def test_option_names_are_unique() -> None:
    def leaves(kind: type) -> list[str]:
        hints = get_type_hints(kind)
        names = [f.name for f in fields(kind)]
        return [n for name in names for n in (leaves(hints[name]) if is_dataclass(hints[name]) else [name])]

    names = leaves(ConvertOptions)
    assert len(names) == len({*names})


def test_the_styles_are_listed() -> None:
    assert vidstyle.list_styles()["tiny"] == {"title": "Tiny", "painter": "Nobody", "year": "unknown", "licence": "CC0"}
    assert "mosaic" in vidstyle.list_styles()
    styles: Any = vidstyle.styles
    assert styles() == vidstyle.list_styles()  # its name until 0.1


def test_public_names_are_no_modules_whatever_was_imported() -> None:
    modules = {module.name for module in pkgutil.iter_modules(vidstyle.__path__)}
    assert not modules & {*vidstyle.__all__}
    assert not [name for name in vidstyle.__all__ if isinstance(getattr(vidstyle, name), ModuleType)]
    assert {*vidstyle.__all__} <= {*dir(vidstyle)}


# --- folders and several inputs


def test_a_folder_gives_a_result_for_each_file(clip: Path) -> None:
    (clip.parent / "sub").mkdir()
    write_clip(clip.parent / "sub" / "b.mp4", times=range(4))
    calls = []
    results = vidstyle.stylize(clip.parent, style="tiny", recursive=True, progress=lambda *count: calls.append(count))
    assert [result.job.input for result in results] == [str(clip), str(clip.parent / "sub" / "b.mp4")]
    assert [result.result.output.name for result in results] == ["in.tiny.mp4", "b.tiny.mp4"]
    assert calls == [*((n, 12) for n in range(1, 13)), *((n, 4) for n in range(1, 5))]
    again = vidstyle.stylize(clip.parent, style="tiny", recursive=True)
    assert [(result.result, result.skipped) for result in again] == [(None, "is finished already")] * 2


def test_a_bad_file_does_not_stop_the_others(clip: Path) -> None:
    (clip.parent / "broken.mp4").write_text("no video")
    [broken, good] = vidstyle.stylize([clip.parent / "broken.mp4", str(clip)], clip.parent / "out", style="tiny")
    assert isinstance(broken, vidstyle.JobResult)
    assert isinstance(broken.error, vidstyle.InputError)
    assert broken.result is None
    assert good.error is None
    assert good.result is not None
    assert good.result.output == clip.parent / "out" / "in.tiny.mp4"


def test_patterns_select_the_files_of_a_folder(clip: Path) -> None:
    write_clip(clip.parent / "b.mkv", times=range(4))
    [result] = vidstyle.stylize(clip.parent, "{stem}-new{ext}", style="tiny", include=["*.mkv"], exclude=("in*",))
    assert result.result.output == clip.parent / "b-new.mkv"
    with pytest.raises(vidstyle.UsageError, match=r"expected a list of strings for include, got '\*\.mkv'"):
        vidstyle.stylize(clip.parent, style="tiny", include="*.mkv")


def test_one_input_in_a_list_gives_a_list(clip: Path) -> None:
    [result] = vidstyle.stylize([clip], style="tiny", end=0.1)
    assert result.result is not None
    [result] = vidstyle.stylize([clip], style="tiny", skip_existing=True)
    assert result.skipped


def test_errors_that_concern_all_inputs_are_raised(clip: Path) -> None:
    with pytest.raises(vidstyle.InputError, match=r"no such file or folder: none\.mp4"):
        vidstyle.stylize([clip, "none.mp4"], style="tiny")
    with pytest.raises(vidstyle.StyleError, match="nobody"):
        vidstyle.stylize(clip.parent, style="nobody")
    with pytest.raises(vidstyle.UsageError, match="no input"):
        vidstyle.stylize([], style="tiny")
    with pytest.raises(vidstyle.InputError, match="besides 1"):
        vidstyle.stylize(clip.parent, style="tiny", exclude=["*"])
    assert listing(clip.parent) == ["in.mp4"]


def test_an_exception_from_progress_ends_all_work(clip: Path) -> None:
    write_clip(clip.parent / "b.mp4", times=range(4))

    def stop(done: int, expected: int | None) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        vidstyle.stylize(clip.parent, style="tiny", progress=stop)
    assert listing(clip.parent) == ["b.mp4", "in.mp4"]


# --- a stylizer that is kept


def test_an_image_is_stylized_as_by_the_command_line(tmp_path: Path, stylizer: vidstyle.Stylizer) -> None:
    image = moving_bar(3, 75, 50)
    cv2.imwrite(str(tmp_path / "photo.png"), image[..., ::-1])
    stylized = stylizer(image)
    assert stylized.shape == image.shape
    assert stylized.dtype == np.uint8
    result = stylizer.convert(tmp_path / "photo.png")
    assert result.output == tmp_path / "photo.tiny.png"
    assert (read_image(result.output) == stylized).all()


def test_frames_of_a_shot_share_statistics(stylizer: vidstyle.Stylizer) -> None:
    shot = images(20, 120, 250)
    stylized = stylizer(shot)
    assert stylized.shape == shot.shape
    expected = load_stylizer(vidstyle.StyleOptions("tiny", device="cpu")).for_shot(list(shot))
    assert (stylized == np.stack([expected.stylize([image])[0] for image in shot])).all()
    assert (stylized[0] != stylizer(shot[0])).any()
    assert stylizer(np.stack([shot[0]] * 20)).shape == (20, 32, 48, 3)


def test_any_view_of_an_array_is_accepted(stylizer: vidstyle.Stylizer) -> None:
    image = moving_bar(3, 64, 48)
    view = image[::-1, 8::2]
    assert (stylizer(view) == stylizer(view.copy())).all()
    assert stylizer(image[:1, :1]).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (np.zeros((8, 8, 3), np.float32), r"float32 \(8, 8, 3\)"),
        (np.zeros((8, 8), np.uint8), r"uint8 \(8, 8\)"),
        (np.zeros((8, 8, 4), np.uint8), r"uint8 \(8, 8, 4\)"),
        (np.zeros((0, 8, 8, 3), np.uint8), r"uint8 \(0, 8, 8, 3\)"),
        (np.zeros((1, 1, 8, 8, 3), np.uint8), r"uint8 \(1, 1, 8, 8, 3\)"),
        ([[[0, 0, 0]]], "a list"),
        ("photo.jpg", "a str"),
    ],
)
def test_the_error_for_a_wrong_array_describes_it(stylizer: vidstyle.Stylizer, value: Any, got: str) -> None:
    with pytest.raises(vidstyle.UsageError, match=rf"uint8 RGB \(H, W, 3\) or \(N, H, W, 3\), got {got}$"):
        stylizer(value)


def test_threads_may_share_a_stylizer(stylizer: vidstyle.Stylizer) -> None:
    levels = range(10, 250, 20)
    expected = [stylizer(images(level)[0]) for level in levels]
    fresh = vidstyle.Stylizer("tiny", device="cpu")
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            stylized = pool.map(lambda level: fresh(images(level)[0]), levels)
            assert all((a == b).all() for a, b in zip(expected, stylized, strict=True))


def test_several_files_with_one_stylizer(clip: Path, stylizer: vidstyle.Stylizer) -> None:
    calls = []
    for end in (0.25, None):
        stylizer.convert(clip, end=end, overwrite=True, progress=lambda *count: calls.append(count))
    assert calls[-1] == (12, 12)
    assert times_of(clip.with_name("in.tiny.mp4")) == times_of(clip)


# --- frames


@pytest.mark.parametrize("stabilize", ["off", "light"])
def test_stylized_frames_are_those_of_a_converted_file(shots: Path, stylizer: vidstyle.Stylizer, stabilize: Any) -> None:
    """Pixels, times, cuts and statistics agree, for a file and for frames that a caller makes."""
    lossless = {"codec": "ffv1", "pix_fmt": "bgr0", "stabilize": stabilize}
    result = stylizer.convert(shots, shots.with_name("out.mkv"), **lossless)
    stylized = list(stylizer.frames(shots, stabilize=stabilize))
    assert (pixels_of(iter(stylized)) == rgb_of(result.output)).all()
    assert [frame.pts * frame.time_base for frame in stylized] == times_of(shots)
    mine = list(stylizer.frames(vidstyle.read_frames(shots), stabilize=stabilize, batch_size=3))
    assert [frame.pts for frame in mine] == [frame.pts for frame in stylized]
    assert np.abs(pixels_of(iter(mine)).astype(int) - pixels_of(iter(stylized))).max() <= 4


def test_a_shot_that_begins_black_is_stylized_by_the_statistics_of_later_frames(stylizer: vidstyle.Stylizer) -> None:
    """For frames that can be read only once, too."""
    shot = [fade_and_cut(i, 64, 48) for i in range(10)]
    of_black = load_stylizer(vidstyle.StyleOptions("tiny", device="cpu")).for_shot(shot[:1]).stylize(shot)
    of_all = stylizer(np.stack(shot))
    stylized = pixels_of(stylizer.frames(iter(shot)))

    def distance(other: Pixels) -> float:
        return float(np.abs(stylized.astype(int) - other).mean())

    assert distance(of_all) < 2 < distance(of_black)


def test_a_time_range_of_a_file(shots: Path, stylizer: vidstyle.Stylizer) -> None:
    part = list(stylizer.frames(shots, start=0.5, end=1))
    assert [float(frame.pts * frame.time_base) for frame in part] == pytest.approx([0, 0.25, 1 / 3, 5 / 12])


def test_a_still_image_is_one_frame(tmp_path: Path, stylizer: vidstyle.Stylizer) -> None:
    image = moving_bar(3, 40, 30)
    cv2.imwrite(str(tmp_path / "photo.png"), image[..., ::-1])
    [frame], [stylized] = vidstyle.read_frames(tmp_path / "photo.png"), stylizer.frames(tmp_path / "photo.png")
    assert (frame.pixels == image).all()
    assert (stylized.pixels == stylizer(image)).all()


def test_arrays_get_one_second_each_or_a_frame_rate(stylizer: vidstyle.Stylizer) -> None:
    shot = images(50, 60, 70)
    assert [frame.pts * frame.time_base for frame in stylizer.frames(shot)] == [0, 1, 2]
    rate = Fraction(30000, 1001)
    for frame_rate in (rate, 30000 / 1001):
        assert [frame.pts * frame.time_base for frame in stylizer.frames(shot, frame_rate=frame_rate)] == [0, 1 / rate, 2 / rate]
    assert list(stylizer.frames([])) == []


def test_a_buffer_may_be_reused(stylizer: vidstyle.Stylizer) -> None:
    shot, buffer = images(50, 100, 150, 200), np.empty((32, 48, 3), np.uint8)

    def reused() -> Iterator[Pixels]:
        for image in shot:
            buffer[:] = image
            yield buffer

    assert (pixels_of(stylizer.frames(reused())) == pixels_of(stylizer.frames(shot))).all()


def test_wrong_frames_and_options_are_usage_errors(clip: Path, stylizer: vidstyle.Stylizer) -> None:
    shot = images(50, 60)
    with pytest.raises(vidstyle.UsageError, match=r"one size, \(32, 48, 3\) as the first, got \(16, 48, 3\) in frame 2"):
        list(stylizer.frames([*shot, shot[0, :16]]))
    with pytest.raises(vidstyle.UsageError, match=r"expected frame 1 .* got a NoneType"):
        list(stylizer.frames([shot[0], None]))  # type: ignore[list-item]
    for call in (
        lambda: stylizer.frames(shot, start=1),
        lambda: stylizer.frames(clip, frame_rate=25),
        lambda: stylizer.frames(shot, frame_rate=0),
        lambda: stylizer.frames(shot, frame_rate="25"),  # type: ignore[arg-type]
        lambda: stylizer.frames(clip, stabilize="heavy"),
        lambda: vidstyle.read_frames(clip, start=-1),
    ):
        with pytest.raises(vidstyle.UsageError, match="expected"):
            call()


def test_an_error_in_the_callers_generator_is_passed_on(stylizer: vidstyle.Stylizer) -> None:
    def failing() -> Iterator[Pixels]:
        yield images(50)[0]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(stylizer.frames(failing()))


@pytest.mark.parametrize("end", ["exhausted", "closed", "dropped", "failed"])
def test_files_are_closed_and_threads_end_however_a_generator_ends(clip: Path, stylizer: vidstyle.Stylizer, end: str) -> None:
    def failing(frames: Iterator[Frame]) -> Iterator[Frame]:
        for index, frame in enumerate(frames):
            if index == 5:
                raise ZeroDivisionError
            yield frame

    def mine() -> Iterator[Frame]:
        yield from vidstyle.read_frames(clip)

    before = threading.active_count()
    for frames in (vidstyle.read_frames(clip), stylizer.frames(clip, stabilize="light"), stylizer.frames(mine())):
        if end == "exhausted":
            assert len(list(frames)) == 12
        elif end == "failed":
            with pytest.raises(ZeroDivisionError):
                vidstyle.write_video(clip.with_name("out.mp4"), failing(frames))
        else:
            next(frames)
            if end == "closed":
                frames.close()
    del frames
    assert not is_open(clip)
    assert threading.active_count() == before
    assert listing(clip.parent) == ["in.mp4"]


def test_a_missing_file_is_an_error_at_the_first_frame(tmp_path: Path, stylizer: vidstyle.Stylizer) -> None:
    for frames in (vidstyle.read_frames(tmp_path / "none.mp4"), stylizer.frames(tmp_path / "none.mp4")):
        with pytest.raises(vidstyle.InputError, match=r"none\.mp4"):
            next(frames)


def test_damage_is_logged(clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    long = write_clip(clip.with_name("long.mkv"), times=range(48))
    data = long.read_bytes()
    long.write_bytes(data[: len(data) // 2])
    assert 0 < len(list(vidstyle.read_frames(long))) < 48
    assert "cut off" in caplog.text
    assert "long.mkv" in caplog.text


def test_reading_ahead_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    shot, read = images(*range(0, 200, 2)), list[int]()

    def mine() -> Iterator[Pixels]:
        for index, image in enumerate(shot):
            read.append(index)
            yield image

    ahead = LookAhead(as_frames(mine(), None), history=3)
    frames = ahead.frames()
    first = next(frames)
    assert len(read) == lookahead.MAX_FRAMES + 1
    assert len(ahead.following(first)) == lookahead.MAX_FRAMES + 1
    kept = list(islice(frames, 3))[-1]
    assert len(ahead.following(first)) == lookahead.MAX_FRAMES + 4  # recent enough to be remembered
    next(frames)
    assert [p.tobytes() for p in ahead.following(first)] == [first.pixels.tobytes()]
    assert (ahead.following(kept)[1] == shot[4]).all()
    frames.close()
    monkeypatch.setattr(lookahead, "MAX_BYTES", 5 * shot[0].nbytes)
    read.clear()
    next(LookAhead(as_frames(mine(), None), history=3).frames())
    assert len(read) == 6


# --- from files, into files


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_frames_are_in_display_orientation(tmp_path: Path, stylizer: vidstyle.Stylizer, rotation: int) -> None:
    clip = write_clip(tmp_path / "phone.mp4", rotation=rotation, aspect=Fraction(4, 3))
    capture = cv2.VideoCapture(str(clip))  # rotates images itself
    shown = [cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB) for _ in range(12)]
    capture.release()
    read = list(vidstyle.read_frames(clip))
    assert read[0].pixels.shape == ((48, 64, 3) if rotation == 180 else (64, 48, 3))
    assert max(np.abs(frame.pixels.astype(int) - other).mean() for frame, other in zip(read, shown, strict=True)) < 8
    assert next(stylizer.frames(clip)).pixels.shape == read[0].pixels.shape
    result = vidstyle.write_video(tmp_path / "out.mp4", read, like=clip)
    assert np.abs(pixels_of(vidstyle.read_frames(result.output)).astype(int) - pixels_of(iter(read))).mean() < 8
    with av.open(str(result.output)) as container:
        aspect = container.streams.video[0].sample_aspect_ratio
    assert aspect == (Fraction(4, 3) if rotation == 180 else Fraction(3, 4))


def test_a_video_like_another_has_its_times_audio_and_metadata(tmp_path: Path) -> None:
    chapter = {"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}}
    clip = write_clip(
        tmp_path / "in.mkv",
        times=UNEVEN,
        time_base=Fraction(1, 12),
        audio=["eng", "deu"],
        metadata={"title": "Holiday"},
        chapters=[chapter],
    )
    inverted = (replace(frame, pixels=255 - frame.pixels) for frame in vidstyle.read_frames(clip))
    result = vidstyle.write_video(tmp_path / "out.mkv", inverted, like=clip)
    assert result.frames == 12
    assert times_of(result.output) == times_of(clip)
    assert audio_of(result.output) == audio_of(clip)
    assert np.abs(rgb_of(result.output).astype(int) - (255 - rgb_of(clip).astype(int))).mean() < 8
    with av.open(str(result.output)) as container:
        assert container.metadata["title"] == "Holiday"
        assert [c["metadata"]["title"] for c in container.chapters()] == ["One"]


def test_a_time_range_of_a_video_gets_the_same_range_of_audio(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", times=range(48), audio=["eng"])
    part: dict[str, Any] = {"start": 0.5, "end": 1.0}
    result = vidstyle.write_video(tmp_path / "out.mp4", vidstyle.read_frames(clip, **part), like=clip, **part)
    assert times_of(result.output) == [Fraction(i, 24) for i in range(12)]
    [audio], [whole] = audio_of(result.output), audio_of(clip)
    assert float(sum(1024 for _ in audio) / 44100) == pytest.approx(0.5, abs=0.03)
    assert audio[2][0] in [data for data, _ in whole[20:26]]
    silent = vidstyle.write_video(tmp_path / "silent.mp4", vidstyle.read_frames(clip), like=clip, audio=False)
    assert audio_of(silent.output) == []


def test_arrays_need_a_frame_rate_which_also_applies_to_frames(tmp_path: Path) -> None:
    shot = images(50, 100, 150)
    with pytest.raises(vidstyle.UsageError, match="expected a frame_rate for arrays"):
        vidstyle.write_video(tmp_path / "out.mp4", shot)
    rate = Fraction(30000, 1001)
    vidstyle.write_video(tmp_path / "out.mp4", shot, frame_rate=rate, quality=100)
    assert times_of(tmp_path / "out.mp4") == [0, 1 / rate, 2 / rate]
    assert np.abs(rgb_of(tmp_path / "out.mp4").astype(int) - shot).mean() < 8
    frames = vidstyle.read_frames(tmp_path / "out.mp4")
    vidstyle.write_video(tmp_path / "slow.mp4", frames, frame_rate=12.5)
    assert times_of(tmp_path / "slow.mp4") == [0, Fraction(2, 25), Fraction(4, 25)]


def test_new_times_begin_where_those_of_like_begin(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mkv", times=range(6, 18), audio=["eng"])
    begin = times_of(clip)[0]
    assert begin > 0
    arrays = (frame.pixels for frame in vidstyle.read_frames(clip))
    result = vidstyle.write_video(tmp_path / "out.mkv", arrays, like=clip, frame_rate=24)
    assert [float(t) for t in times_of(result.output)] == pytest.approx([float(begin) + i / 24 for i in range(12)], abs=0.001)
    assert audio_of(result.output) == audio_of(clip)


def test_opacity_is_kept(tmp_path: Path, stylizer: vidstyle.Stylizer) -> None:
    alpha = np.zeros((32, 48), np.uint8)
    alpha[8:24] = 255
    frames = [Frame(image, i, Fraction(1, 24), 1, alpha) for i, image in enumerate(images(50, 60, 70))]
    vidstyle.write_video(tmp_path / "out.mkv", stylizer.frames(frames), codec="ffv1")
    read = [frame.alpha for frame in vidstyle.read_frames(tmp_path / "out.mkv")]
    assert all(found is not None and (found == alpha).all() for found in read)
    with pytest.raises(vidstyle.UsageError, match="alpha"):
        vidstyle.write_video(tmp_path / "two.mkv", [frames[0], replace(frames[1], alpha=None)], codec="ffv1")


def failing_frames() -> Iterator[Pixels]:
    yield images(50)[0]
    raise ZeroDivisionError


def unordered_frames() -> list[Frame]:
    return [Frame(images(50)[0], pts, Fraction(1, 24)) for pts in (0, 2, 2)]


@pytest.mark.parametrize(
    ("frames", "options", "error", "message"),
    [
        (failing_frames, {"frame_rate": 24}, ZeroDivisionError, "^$"),
        (unordered_frames, {}, vidstyle.UsageError, "order of time, got frame 2"),
        (list, {}, vidstyle.UsageError, "expected frames to write, got none"),
        (unordered_frames, {"like": "none.mp4"}, vidstyle.InputError, "none.mp4"),
        (unordered_frames, {"like": "photo.png"}, vidstyle.UsageError, "a video"),
        (unordered_frames, {"quality": 101}, vidstyle.UsageError, "quality"),
        (unordered_frames, {"codec": "prores"}, vidstyle.UsageError, "prores"),
    ],
)
def test_a_failed_write_leaves_nothing(
    tmp_path: Path, frames: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    (tmp_path / "photo.png").touch()
    if "like" in options:
        options = {**options, "like": tmp_path / options["like"]}
    with pytest.raises(error, match=message):
        vidstyle.write_video(tmp_path / "out.mp4", frames(), **options)
    assert listing(tmp_path) == ["photo.png"]


def test_an_existing_video_is_replaced_only_with_overwrite(clip: Path) -> None:
    frames = vidstyle.read_frames(clip)
    next(frames)
    with pytest.raises(vidstyle.OutputExistsError):
        vidstyle.write_video(clip, frames)
    assert next(frames, None) is None  # closed
    with pytest.raises(vidstyle.OutputExistsError, match="itself"):
        vidstyle.write_video(clip, vidstyle.read_frames(clip), like=clip, overwrite=True)
    out = clip.with_name("out.mp4")
    out.write_bytes(b"old")
    assert vidstyle.write_video(out, vidstyle.read_frames(clip), overwrite=True).frames == len(frames_of(out)) == 12


def test_stylizers_can_be_chained(clip: Path, stylizer: vidstyle.Stylizer) -> None:
    twice = stylizer.frames(stylizer.frames(clip))
    result = vidstyle.write_video(clip.with_name("twice.mp4"), twice, like=clip)
    assert times_of(result.output) == times_of(clip)
