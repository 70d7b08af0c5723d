"""The styles: data, not classes. `catalog.json` beside the models names each file, its sha256, its painting and licence."""

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
from vidstyle.core.files import replaced

MODEL_SUFFIXES = {".onnx", ".pth", ".pt", ".model"}

FACTS = ("title", "painter", "year", "licence", "architecture", "family")
"""What a catalogue may say of a style, besides its files; nets with a common ancestor share a `family`."""


def shipped_folder() -> Path:
    """The models that came with vidstyle: inside the package when installed, at the top of a source tree."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


def user_folder() -> Path:
    """Where `vidstyle train` puts styles; the environment variable VIDSTYLE_STYLES names another folder."""
    return Path(os.environ.get("VIDSTYLE_STYLES") or platformdirs.user_data_path("vidstyle") / "styles")


def read_catalog(folder: Path) -> dict[str, dict[str, Any]]:
    """Style name -> facts, of one folder; empty where there is no catalogue. Raises `StyleError` for a broken one."""
    path = folder / "catalog.json"
    try:
        catalog = json.loads(path.read_text("utf-8"))
        return {name: dict(facts) for name, facts in catalog["styles"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StyleError(f"expected a catalogue of styles, could not read {path} ({error})") from error


def all_styles() -> dict[str, tuple[Path, dict[str, Any]]]:
    """Style name -> (folder, facts). A user's style goes before a shipped one of the same name."""
    found = {}
    for folder in (shipped_folder(), user_folder()):
        found.update({name: (folder, facts) for name, facts in read_catalog(folder).items()})
    return found


def list_styles() -> dict[str, dict[str, str]]:
    """All styles, shipped and installed ones: name -> `title`, `painter`, `year` and `licence`."""
    keys = ("title", "painter", "year", "licence")
    return {name: {key: str(facts.get(key, "unknown")) for key in keys} for name, (_, facts) in sorted(all_styles().items())}


def known(facts: Mapping[str, Any], key: str) -> str | None:
    """One of a style's facts; None where the catalogue does not know it."""
    value = str(facts.get(key, ""))
    return None if value in ("", "unknown") else value


def find_style(name: str) -> Path:
    """The model file of a style's name, or of a path. Raises `StyleError` if there is none or it was altered."""
    path = Path(name)
    if path.suffix.lower() in MODEL_SUFFIXES or os.sep in name:
        if not path.is_file():
            raise StyleError(f"expected a style model, found no file: {name}")
        return path
    folder, facts = _entry(name)
    return _checked(name, "model", folder, facts)


def find_exemplar(name: str) -> Path:
    """The image of a style's name, from which images can be stylized. Raises `StyleError` if there is none."""
    folder, facts = _entry(name)
    if "exemplar" not in facts:
        raise StyleError(f"the style '{name}' has no image to paint from; give the painting's file instead")
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
    if path.parent != folder or not path.is_file():
        raise StyleError(f"expected the {what} of style '{name}', found no file: {path}")
    if facts.get("sha256") != sha256(path):
        raise StyleError(f"the {what} of style '{name}' is not the file that its catalogue names; install it anew: {path}")
    return path


def shipped_models() -> list[Path]:
    """The model files that came with vidstyle."""
    folder = shipped_folder()
    return [folder / str(facts["file"]) for _, facts in sorted(read_catalog(folder).items())]


def add_style(folder: Path, name: str, facts: Mapping[str, Any]) -> None:
    """Enter a style in the catalogue of `folder` (its model is there already), or replace its entry."""
    _write_catalog(folder, {**read_catalog(folder), name: dict(facts)})


def remove_style(name: str) -> None:
    """Remove one's own style: its entry, its model, its exemplar. Raises `StyleError` if there is none or it was shipped,
    `OSError` where the folder cannot be written to."""
    folder = user_folder()
    styles = read_catalog(folder)
    if name not in styles:
        _entry(name)
        raise StyleError(f"the style '{name}' came with vidstyle and stays; only your own can be removed")
    facts = styles.pop(name)
    _write_catalog(folder, styles)
    remove_unnamed(folder, facts)


def remove_unnamed(folder: Path, facts: Mapping[str, Any]) -> None:
    """Remove the files of a style that was in the catalogue of `folder`, but for those that another style names."""
    named = {file for others in read_catalog(folder).values() for file in _files(others)}
    for file in _files(facts) - named:
        (folder / file).unlink(missing_ok=True)


def _files(facts: Mapping[str, Any]) -> set[str]:
    """Names of a style's files, those in other folders left out."""
    names = {str(part["file"]) for part in (facts, facts.get("exemplar") or {}) if "file" in part}
    return {name for name in names if Path(name).name == name}


def _write_catalog(folder: Path, styles: Mapping[str, Any]) -> None:
    catalog = {"styles": styles}
    with replaced(folder / "catalog.json") as temporary:
        temporary.write_text(json.dumps(catalog, indent=2, ensure_ascii=False) + "\n", "utf-8")


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
