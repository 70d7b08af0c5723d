"""The catalogue of styles: `catalog.json` beside the models lists the file, sha256, style image, painter and licence of each."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

from vidstyle.core.errors import StyleError
from vidstyle.core.files import reason, replaced

MODEL_SUFFIXES = {".onnx", ".pth", ".pt", ".model"}

_SUFFIXES = {*MODEL_SUFFIXES, ".jpg", ".jpeg", ".png", ".webp"}
"""The suffixes of a style's files."""

FACTS = ("title", "painter", "year", "licence", "architecture", "family")
"""Facts about a style in a catalogue, besides its files; networks with a common ancestor share a `family`."""


def shipped_folder() -> Path:
    """The folder of the models shipped with vidstyle: inside the installed package, or at the top of a source tree."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


def user_folder() -> Path:
    """The folder of the user's own styles; the environment variable VIDSTYLE_STYLES overrides it."""
    return Path(os.environ.get("VIDSTYLE_STYLES") or platformdirs.user_data_path("vidstyle") / "styles")


def read_catalog(folder: Path) -> dict[str, dict[str, Any]]:
    """Style name -> facts, from the catalogue in `folder`; empty if there is none. Raises `StyleError` for an invalid one."""
    path = folder / "catalog.json"
    try:
        if path.exists() and not path.is_file():  # reading a pipe could block forever
            raise ValueError("it is not a file")
        catalog = json.loads(path.read_text("utf-8"))
        styles = catalog.get("styles") if isinstance(catalog, dict) else None
        if not isinstance(styles, dict):
            raise ValueError("it has no object `styles`")
        for name, facts in styles.items():
            if not (isinstance(facts, dict) and isinstance(facts.get("exemplar") or {}, dict)):
                raise ValueError(f"the entry of style '{name}' or of its exemplar is not an object")
        return styles
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise StyleError(f"could not read the catalogue of styles {path} ({reason(error)})") from error


def all_styles() -> dict[str, tuple[Path, dict[str, Any]]]:
    """Style name -> (folder, facts). A user's style replaces a shipped one of the same name."""
    found = {}
    for folder in (shipped_folder(), user_folder()):
        found.update({name: (folder, facts) for name, facts in read_catalog(folder).items()})
    return found


def list_styles() -> dict[str, dict[str, str]]:
    """All styles, shipped and the user's own: name -> `title`, `painter`, `year` and `licence`."""
    keys = ("title", "painter", "year", "licence")
    return {name: {key: str(facts.get(key, "unknown")) for key in keys} for name, (_, facts) in sorted(all_styles().items())}


def known(facts: Mapping[str, Any], key: str) -> str | None:
    """One fact about a style; None if it is missing or unknown."""
    value = str(facts.get(key, ""))
    return None if value in ("", "unknown") else value


def find_style(name: str) -> Path:
    """The model file of a style, given by name or as a path. Raises `StyleError` if there is none or it was modified."""
    path = Path(name)
    if path.suffix.lower() in MODEL_SUFFIXES or os.sep in name:
        if not os.path.isfile(path):
            raise StyleError(f"no such model file: {name}")
        return path
    folder, facts = _entry(name)
    return _checked(name, "model", folder, facts)


def find_exemplar(name: str) -> Path:
    """The style image of a style, which `vidstyle paint` can use. Raises `StyleError` if it has none."""
    folder, facts = _entry(name)
    if not facts.get("exemplar"):
        raise StyleError(f"the style '{name}' has no style image; give an image file instead")
    return _checked(name, "exemplar", folder, facts["exemplar"])


def _entry(name: str) -> tuple[Path, dict[str, Any]]:
    styles = all_styles()
    if name not in styles:
        near = difflib.get_close_matches(name.lower(), styles, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(sorted(styles)) or 'none'}"
        raise StyleError(f"unknown style '{name}'; {hint}")
    return styles[name]


def _checked(name: str, what: str, folder: Path, facts: Mapping[str, Any]) -> Path:
    path = folder / str(facts.get("file", ""))
    if path.parent != folder or not os.path.isfile(path):
        raise StyleError(f"the {what} of style '{name}' is missing: {path}")
    if facts.get("sha256") != sha256(path):
        raise StyleError(f"the {what} of style '{name}' does not match the sha256 in its catalogue; install it again: {path}")
    return path


def shipped_models() -> list[Path]:
    """The model files shipped with vidstyle."""
    folder = shipped_folder()
    return [folder / str(facts["file"]) for _, facts in sorted(read_catalog(folder).items())]


def add_style(folder: Path, name: str, facts: Mapping[str, Any]) -> None:
    """Add a style, whose model is in `folder` already, to the catalogue there, or replace its entry."""
    _write_catalog(folder, {**read_catalog(folder), name: dict(facts)})


def remove_style(name: str) -> None:
    """Remove one of the user's styles: its entry, model and style image. Raises `StyleError` if there is none or it is shipped
    with vidstyle, `OSError` if the folder is not writable."""
    folder = user_folder()
    styles = read_catalog(folder)
    if name not in styles:
        _entry(name)
        raise StyleError(f"the style '{name}' is shipped with vidstyle; only your own styles can be removed")
    facts = styles.pop(name)
    _write_catalog(folder, styles)
    remove_unnamed(folder, facts)


def remove_unnamed(folder: Path, facts: Mapping[str, Any]) -> None:
    """Delete the files of a style that was removed from the catalogue of `folder`, except files that another style uses."""
    used = {file for others in read_catalog(folder).values() for file in _files(others)}
    for path in (folder / file for file in _files(facts) - used):
        if os.path.isfile(path):
            path.unlink(missing_ok=True)


def _files(facts: Mapping[str, Any]) -> set[str]:
    """The names of a style's files, without files in other folders, and without the catalogue."""
    names = {str(entry["file"]) for entry in (facts, facts.get("exemplar") or {}) if "file" in entry}
    return {name for name in names if Path(name).name == name and Path(name).suffix.lower() in _SUFFIXES}


def _write_catalog(folder: Path, styles: Mapping[str, Any]) -> None:
    catalog = {"styles": styles}
    with replaced(folder / "catalog.json") as temporary:
        temporary.write_text(json.dumps(catalog, indent=2, ensure_ascii=False) + "\n", "utf-8")


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
