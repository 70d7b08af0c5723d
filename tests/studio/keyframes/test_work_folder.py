"""The working folder of keyframes and its state."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from tests.support.textures import texture, window
from vidstyle.core.errors import DiskError, InputError
from vidstyle.studio.keyframes.work_folder import WorkFolder, fingerprint

CANVAS = texture(200, 240, seed=1, softness=6)
PAN = [window(CANVAS, 2 * n, 0) for n in range(13)]
"""A camera that pans by two pixels per frame."""


def test_state_survives_reopening(tmp_path: Path) -> None:
    first = WorkFolder(tmp_path / "a" / "work")
    first.save_image("stylized/000000.png", PAN[0], "red and blue")
    (first.path / "net.onnx").write_bytes(b"net")
    first.record("net.onnx", "keyframes", steps=7)
    again = WorkFolder(tmp_path / "a" / "work")
    assert again.made_from("stylized/000000.png") == "red and blue"
    assert again.made_from("net.onnx") == "keyframes"
    assert again.facts("net.onnx") == {"steps": 7}
    assert (again.load_image("stylized/000000.png", (120, 160)) == PAN[0]).all()
    assert not again.was_retouched("stylized/000000.png")
    assert not list(again.path.rglob("*.tmp"))


def test_folder_of_an_earlier_version_is_accepted(tmp_path: Path) -> None:
    """Stylized keyframes were in `painted/`."""
    WorkFolder(tmp_path).save_image("stylized/000000.png", PAN[0], "options")
    (tmp_path / "stylized").rename(tmp_path / "painted")
    state = tmp_path / "state.json"
    state.write_text(state.read_text().replace("stylized/", "painted/"))
    folder = WorkFolder(tmp_path)
    assert folder.made_from("stylized/000000.png") == "options"
    assert not folder.was_retouched("stylized/000000.png")


def test_missing_file_has_no_fingerprint(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path)
    assert folder.made_from("stylized/000000.png") is None
    assert folder.facts("stylized/000000.png") == {}
    assert not folder.was_retouched("stylized/000000.png")
    folder.save_image("stylized/000000.png", PAN[0], "paint")
    (tmp_path / "stylized/000000.png").unlink()
    assert folder.made_from("stylized/000000.png") is None
    assert not folder.was_retouched("stylized/000000.png")


def test_changed_or_added_file_counts_as_retouched(tmp_path: Path) -> None:
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
def test_corrupt_state_is_named_in_the_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    (tmp_path / "net.onnx").touch()
    with pytest.raises(InputError, match=r"state\.json"):
        WorkFolder(tmp_path).made_from("net.onnx")
    assert (tmp_path / "state.json").read_text() == text


def test_image_of_another_size_is_rejected_with_both_sizes(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path)
    folder.save_image("stylized/000000.png", PAN[0], "paint")
    with pytest.raises(InputError, match=r"000000\.png.*64x48.*160x120"):
        folder.load_image("stylized/000000.png", (48, 64))


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_unreadable_image_is_named_in_the_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "000000.png").write_bytes(content)
    with pytest.raises(InputError, match=r"000000\.png"):
        WorkFolder(tmp_path).load_image("000000.png")


def test_folder_that_cannot_be_created_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file")
    with pytest.raises(DiskError, match="work"):
        WorkFolder(tmp_path / "work").save_image("stylized/000000.png", PAN[0], "paint")


def test_fingerprint_distinguishes_sources() -> None:
    assert fingerprint("a", 1, [2]) == fingerprint("a", 1, [2])
    assert len({fingerprint("a", 1), fingerprint("a", 2), fingerprint("a1"), fingerprint(1, "a"), fingerprint("a", "1")}) == 5


def test_run_killed_between_state_and_file_does_not_count_as_retouching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = WorkFolder(tmp_path)
    folder.save_image("stylized/000000.png", PAN[0], "one")
    write = WorkFolder._write

    def killed(self: WorkFolder, path: Path, data: bytes) -> None:
        if path.name == "state.json":
            write(self, path, data)

    monkeypatch.setattr(WorkFolder, "_write", killed)
    folder.save_image("stylized/000000.png", PAN[1], "another")
    monkeypatch.undo()
    again = WorkFolder(tmp_path)
    assert not again.was_retouched("stylized/000000.png")
    assert again.made_from("stylized/000000.png") is None
