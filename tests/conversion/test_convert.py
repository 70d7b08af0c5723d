"""Conversions in this process: what an interrupted one keeps for the next."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tests.support.helpers import frames_of, write_clip
from vidstyle.conversion.convert import Conversion
from vidstyle.core.frames import Pixels
from vidstyle.core.options import ConvertOptions
from vidstyle.core.protocols import Engine, Stylizer

GPU = Engine("tensorrt or torch", "cuda:0", "float16")


class Negative(Stylizer):
    """Inverts images and counts them; claims to run on `engine`."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.count = engine, 0

    @property
    def engine(self) -> Engine:
        return self._engine

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        self.count += len(images)
        return 255 - np.stack(images)


def stop_after(frames: int) -> Callable[[int], None]:
    def on_frame(count: int) -> None:
        if count == frames:
            raise KeyboardInterrupt

    return on_frame


@pytest.fixture
def resumed_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Engine, Engine], int]:
    """Interrupts a conversion of 60 frames with one engine after 50, resumes it with another and returns how many frames were
    stylized again. Segments have 24 frames."""
    monkeypatch.setattr("vidstyle.sinks.segments.SEGMENT_SECONDS", 1)
    clip, output = write_clip(tmp_path / "in.mp4", times=range(60)), tmp_path / "out.mp4"
    options = ConvertOptions(resume=True)

    def resumed_frames(first: Engine, second: Engine) -> int:
        with closing(Conversion(str(clip), output, Negative(first), options)) as conversion, pytest.raises(KeyboardInterrupt):
            conversion.run(stop_after(50))
        stylizer = Negative(second)
        with closing(Conversion(str(clip), output, stylizer, options)) as conversion:
            conversion.run()
            conversion.publish()
        assert len(frames_of(output)) == 60
        return stylizer.count

    return resumed_frames


@pytest.mark.parametrize("chosen", [Engine("torch", "cuda:0", "float16"), Engine("tensorrt", "cuda:1", "float16")], ids=str)
def test_segments_are_kept_when_the_choice_of_engine_is_remembered(
    resumed_frames: Callable[[Engine, Engine], int], caplog: pytest.LogCaptureFixture, chosen: Engine
) -> None:
    """On a GPU the first run tries several engines; the next one uses the fastest at once and describes itself differently."""
    assert Negative(GPU).describe() != Negative(chosen).describe()
    with caplog.at_level(logging.WARNING):
        assert resumed_frames(GPU, chosen) == 60 - 48
    assert [record.message for record in caplog.records if "changed" in record.message] == []


@pytest.mark.parametrize("other", [Engine("onnxruntime"), Engine("torch", "cuda:0", "float32")], ids=str)
def test_segments_of_another_device_or_precision_are_not_used(
    resumed_frames: Callable[[Engine, Engine], int], other: Engine
) -> None:
    assert resumed_frames(GPU, other) == 60
