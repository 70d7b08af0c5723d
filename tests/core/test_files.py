"""Files that are replaced as a whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.helpers import listing
from vidstyle.core.errors import DiskError
from vidstyle.core.files import replaced, writing


def test_replaced_file_has_the_new_content(tmp_path: Path) -> None:
    for content in ("first", "second"):
        with replaced(tmp_path / "file") as temporary:
            assert temporary.parent == tmp_path
            temporary.write_text(content)
        assert (tmp_path / "file").read_text() == content
    assert listing(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_error_keeps_the_old_content_and_leaves_no_temporary_file(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "file").write_text("old")
    with contextlib.suppress(type(error)), replaced(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise error
    assert (tmp_path / "file").read_text() == "old"
    assert listing(tmp_path) == ["file"]


def test_content_is_flushed_before_the_file_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def recorded(name: str) -> Callable[..., None]:
        function = getattr(os, name)

        def call(*arguments: object) -> None:
            calls.append(name)
            function(*arguments)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, recorded(name))
    with replaced(tmp_path / "file") as temporary:
        temporary.write_text("content")
    assert calls == ["fsync", "replace", "fsync"]


def test_missing_folder_is_a_disk_error_inside_writing(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "file"
    with pytest.raises(DiskError, match="could not write"), writing(path), replaced(path) as temporary:
        temporary.write_text("content")
