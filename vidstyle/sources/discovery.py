"""Finds the videos and images in a folder that are to be stylized."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from vidstyle.core.options import Selection
from vidstyle.sources import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from vidstyle.styles.spec import is_label

_WORK_SUFFIXES = {".keyframes", ".training"}
"""Suffixes of the work folders of `vidstyle keyframes` and `vidstyle train`. All other work folders and files are hidden."""


@dataclass(frozen=True)
class FoundInput:
    """An input to stylize."""

    input: str
    """Path or URL."""
    folder: str = ""
    """The subfolder in which it was found, relative to the searched folder; empty if in that folder itself."""
    explicit: bool = False
    """Whether it was named itself, and not found in a folder."""


@dataclass
class SearchResult:
    """The files of a folder that are to be stylized, and how many are not."""

    files: list[FoundInput] = field(default_factory=list)
    excluded: int = 0
    """Files that `Selection.include` and `exclude` leave out."""
    outputs: int = 0
    """Outputs of earlier runs."""
    subfolders: int = 0
    """Subfolders that were skipped because `Selection.recursive` is false."""


def find_inputs(
    folder: str,
    selection: Selection,
    labels: Collection[str],
    output_folder: Path | None,
    on_unreadable: Callable[[str, OSError], None],
) -> SearchResult:
    """The videos and images in `folder`, in the order of their paths, numbers in names by their value.

    Only regular files; none that is hidden, in a work folder or `output_folder`, or the output of an earlier run: `a.LABEL.mp4`
    with one of the styles' `labels`, or several, is an output if there is an `a` with any suffix. Links to folders are not
    followed. Raises `OSError` if `folder` cannot be read; for an unreadable subfolder `on_unreadable` is called instead.
    """
    result, media = SearchResult(), []
    skipped = {os.path.normcase(os.path.realpath(output_folder))} if output_folder is not None else set()
    top = os.path.realpath(folder)
    stack = _listed(folder, "")
    while stack:
        relative, entry = stack.pop()
        if _is(entry, "file"):
            if Path(relative).suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES:
                media.append(PurePosixPath(relative))
        elif _is(entry, "folder"):
            is_skipped = Path(relative).suffix in _WORK_SUFFIXES or os.path.normcase(os.path.join(top, relative)) in skipped
            if is_skipped or _matches(selection.exclude, relative, is_folder=True):
                continue
            if not selection.recursive:
                result.subfolders += 1
                continue
            try:
                stack += _listed(entry.path, f"{relative}/")
            except OSError as error:
                on_unreadable(entry.path, error)
    stems = {path.stem for path in media}
    for path in media:
        original, _, label = path.stem.rpartition(".")
        if is_label(label, labels) and original in stems:
            result.outputs += 1
        elif not _selected(selection, str(path)):
            result.excluded += 1
        else:
            parent = "" if path.parent == PurePosixPath() else str(path.parent)
            result.files.append(FoundInput(str(Path(folder, path)), parent))
    return result


def _listed(folder: str, prefix: str) -> list[tuple[str, os.DirEntry[str]]]:
    """The entries of a folder with their paths relative to the searched folder, in reverse order, as for a stack."""
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
    return [(prefix + entry.name, entry) for entry in sorted(shown, key=lambda entry: _natural(entry.name), reverse=True)]


def _natural(name: str) -> tuple[list[str | int], str]:
    """A sort key that puts `clip2` before `clip10`."""
    return [int(part) if n % 2 else part.casefold() for n, part in enumerate(re.split(r"(\d+)", name))], name


def _is(entry: os.DirEntry[str], kind: str) -> bool:
    """Whether an entry is a `file` (or a link to one) or a `folder` (no link); False if it is gone or a broken link."""
    try:
        return entry.is_file() if kind == "file" else entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _selected(selection: Selection, relative: str) -> bool:
    if _matches(selection.exclude, relative):
        return False
    return not selection.include or _matches(selection.include, relative)


def _matches(patterns: Collection[str], relative: str, is_folder: bool = False) -> bool:
    """Whether a pattern matches the name, or the path if it contains a `/`; a pattern that ends in `/` only matches folders."""
    path = relative.casefold()
    name = path.rpartition("/")[2]
    for pattern in patterns:
        if pattern.endswith("/") and not is_folder:
            continue
        shape = pattern.rstrip("/").casefold()
        if fnmatchcase(path if "/" in shape else name, shape):
            return True
    return False
