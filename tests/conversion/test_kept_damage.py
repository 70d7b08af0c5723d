"""Damage that an interrupted run found is counted by the run that resumes it; a lack of memory is no damage."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error
import pytest

from tests.support.folder_runs import Inverting
from tests.support.helpers import run_cli, write_clip
from tests.support.runs import FAILED
from vidstyle.conversion.convert import Conversion
from vidstyle.core.damage import at_least, descriptions, total
from vidstyle.core.options import ConvertOptions
from vidstyle.sinks.segment_folder import SegmentFolder
from vidstyle.sources import decoding

CORRUPT = "{} frames are damaged and were stylized as far as they could be repaired"


def interrupt_at(frame: int) -> Callable[[int], None]:
    def on_frame(count: int) -> None:
        if count == frame:
            raise KeyboardInterrupt

    return on_frame


def test_damage_found_before_an_interruption_is_reported(tmp_path: Path) -> None:
    """FFmpeg does not report a concealed frame every time that it is decoded by several threads: the second run finds none."""
    clip = write_clip(tmp_path / "in.mkv", times=range(50), time_base=Fraction(1, 2))
    options = ConvertOptions(resume=True)
    with closing(Conversion(str(clip), tmp_path / "out.mkv", Inverting(), options)) as conversion:
        source: Any = conversion._source
        source._decoder.corrupt = 2
        with pytest.raises(KeyboardInterrupt):
            conversion.run(interrupt_at(25))
    with closing(Conversion(str(clip), tmp_path / "out.mkv", Inverting(), options)) as conversion:
        conversion.run()
        assert conversion.publish().damage == [CORRUPT.format(2)]


def test_segments_from_workers_keep_their_damage(tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    for damage in ({CORRUPT: 1}, {CORRUPT: 2, "cut off": 1}):
        folder = SegmentFolder(output, {})
        number = len(folder.segments)
        path = write_clip(folder.path / f"{number:06}.mkv")
        folder.add(number, path, [(pts, 1) for pts in range(12)], {}, damage)
        folder.close()
    folder = SegmentFolder(output, {})
    assert descriptions(total(folder.damage())) == [CORRUPT.format(3), "cut off"]
    folder.close()


def test_damage_that_both_runs_found_counts_once() -> None:
    assert at_least({"{} a": 2, "{} b": 0}, {"{} a": 1, "{} b": 1, "{} c": 3}) == {"{} a": 2, "{} b": 1, "{} c": 3}


class _OutOfMemory:
    """A decoder that has too little memory after some frames."""

    def __init__(self, decoder: Any) -> None:
        self._decoder, self._packets = decoder, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._decoder, name)

    def decode(self, packet: Any) -> Any:
        self._packets += 1
        if self._packets > 8:
            raise av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory")
        return self._decoder.decode(packet)


def test_lack_of_memory_is_not_blamed_on_the_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "in.mkv", options={"bf": "0"})
    decoder_of = decoding._decoder_of
    monkeypatch.setattr(decoding, "_decoder_of", lambda *args: _OutOfMemory(decoder_of(*args)))
    done = run_cli(clip, "-o", tmp_path / "out.mkv", "--style", "tiny")
    assert done.returncode == FAILED
    assert f"error: not enough memory to read {clip}" in done.stderr
    assert "as a video" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [clip.name]
