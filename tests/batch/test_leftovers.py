"""What killed runs left is removed by the next one, what is the user's own is not, and unreadable folders are reported."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.folder_runs import convert_folder, fill, hidden_in, output_stems, results
from tests.support.helpers import listing, run_cli
from tests.support.runs import DAMAGE, DONE
from vidstyle.batch.claims import FINISHED, claim_path
from vidstyle.sinks.segment_folder import SegmentFolder


@pytest.mark.parametrize("content", [b"mine", b""], ids=["file", "folder"])
def test_users_own_file_with_the_name_of_a_claim_is_kept(tmp_path: Path, content: bytes) -> None:
    folder = fill(tmp_path / "in", "a b")
    own = folder / ".a.tiny.mp4.claim"
    if content:
        own.write_bytes(content)
    else:
        own.mkdir()
    results(convert_folder(folder))
    assert output_stems(folder) == ["a", "b"]
    assert hidden_in(folder) == [own.name]
    assert not content or own.read_bytes() == content
    assert claim_path(folder / "a.tiny.mp4") != own


def test_hidden_link_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    """A run that is killed after the output got its name, and before the hidden file lost its own."""
    folder = fill(tmp_path / "in", "a b")
    results(convert_folder(folder))
    hidden, other = folder / ".a.tiny.12345678.part.mp4", folder / ".a.tiny.mine.part.mp4"
    os.link(folder / "a.tiny.mp4", hidden)
    other.touch()
    assert [job_result.skipped for job_result in convert_folder(folder)] == [FINISHED] * 2
    assert hidden_in(folder) == [other.name]
    assert output_stems(folder) == ["a", "b"]


@pytest.fixture
def killed_while_removing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end when their output is published, and leave its segments."""
    monkeypatch.setattr(SegmentFolder, "remove", lambda self: self.close())


@pytest.mark.usefixtures("killed_while_removing")
def test_segments_of_a_finished_output_are_removed(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a")
    results(convert_folder(folder, resume=True))
    assert hidden_in(folder)
    convert_folder(folder)
    assert hidden_in(folder) == []


@pytest.mark.usefixtures("killed_while_removing")
def test_segments_for_another_output_of_that_name_are_kept(tmp_path: Path) -> None:
    """Of a run with --overwrite and other options, which is to be resumed."""
    folder = fill(tmp_path / "in", "a")
    results(convert_folder(folder, resume=True))
    manifest = folder / ".a.tiny.mp4.resume" / "manifest.json"
    stored = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**stored, "stamp": "vidstyle 1 (fingerprint 0123)"}))
    before = listing(folder)
    convert_folder(folder)
    assert listing(folder) == before


def test_unreadable_subfolder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(tmp_path / "in", "a")
    fill(folder / "locked", "b")
    scandir = os.scandir

    def refuse(path: Any = ".") -> Iterator[Any]:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("vidstyle.sources.discovery.os.scandir", refuse)
    for options, output in (["--dry-run"], []), (["-q"], ["a"]), ([], ["a"]):
        done = run_cli(folder, "--recursive", "--style", "tiny", *options)
        assert done.returncode == DAMAGE, done.stderr
        assert f"the files in {folder / 'locked'} were left out" in done.stderr
        assert output_stems(folder) == output
    assert run_cli(folder, "--style", "tiny").returncode == DONE
