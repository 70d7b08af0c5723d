"""Temporary folders are removed, by the next run if theirs was killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.helpers import environment, listing
from vidstyle.core.errors import DiskError
from vidstyle.core.temporary_folder import TemporaryFolder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs file locks that end with the process")

KILLED = """
import os, signal
from vidstyle.core.temporary_folder import TemporaryFolder
(TemporaryFolder().path / "large").write_bytes(bytes(1000))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_folder_is_removed(temporary: Path) -> None:
    with TemporaryFolder() as folder:
        assert folder.parent == temporary
        (folder / "file").touch()
    assert listing(temporary) == []


def test_folder_of_a_killed_process_is_removed_by_the_next(temporary: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED], env=environment(TMPDIR=str(temporary)), check=False)
    assert any(name.endswith("/large") for name in listing(temporary))
    with TemporaryFolder() as running, TemporaryFolder() as folder:
        assert sorted(temporary.iterdir()) == sorted([running, folder])


def test_folders_that_were_not_made_here_are_kept(temporary: Path) -> None:
    (temporary / "vidstyle-12345678").mkdir()
    (temporary / "vidstyle-notes.txt").touch()
    before = listing(temporary)
    TemporaryFolder().close()
    assert listing(temporary) == before


def test_missing_place_is_reported(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "missing"))
    with pytest.raises(DiskError, match="could not create a temporary folder"):
        TemporaryFolder()
