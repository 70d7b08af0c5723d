"""A folder -> the videos and images in it that are to be stylized."""

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
"""Of folders in which `vidstyle keyframes` and `vidstyle train` work. All other such folders and files are hidden."""


@dataclass(frozen=True)
class FoundInput:
    """An input: path or URL; the subfolder of a folder in which it was found ("" for none); whether it was given by itself."""

    input: str
    folder: str = ""
    given: bool = False


@dataclass
class SearchResult:
    """What is to be stylized of a folder, and how much is not: `unwanted` by patterns, `outputs` of earlier runs."""

    files: list[FoundInput] = field(default_factory=list)
    unwanted: int = 0
    outputs: int = 0
    subfolders: int = 0
    """Those that were not looked into, for want of `Selection.recursive`."""


def find_inputs(
    folder: str,
    selection: Selection,
    labels: Collection[str],
    output_folder: Path | None,
    on_unreadable: Callable[[str, OSError], None],
) -> SearchResult:
    """The videos and images in `folder`, in the order of their paths, numbers in names by their value.

    Regular files only, and none that is hidden, lies in a working folder of ours or in `output_folder`, or was made by an earlier
    run: `a.LABEL.mp4`, with the label of one of the styles' `labels` or of several, is a painting where there is an `a.mp4` or
    the like. Linked folders are not looked into. Raises `OSError` if `folder` cannot be read; of a subfolder `on_unreadable` is
    told.
    """
    findings, media = SearchResult(), []
    closed = {os.path.normcase(os.path.realpath(output_folder))} if output_folder is not None else set()
    top = os.path.realpath(folder)
    stack = _listed(folder, "")
    while stack:
        relative, entry = stack.pop()
        if _is(entry, "file"):
            if Path(relative).suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES:
                media.append(PurePosixPath(relative))
        elif _is(entry, "folder"):
            ours = Path(relative).suffix in _WORK_SUFFIXES or os.path.normcase(os.path.join(top, relative)) in closed
            if ours or _matches(selection.exclude, relative, is_folder=True):
                continue
            if not selection.recursive:
                findings.subfolders += 1
                continue
            try:
                stack += _listed(entry.path, f"{relative}/")
            except OSError as error:
                on_unreadable(entry.path, error)
    stems = {path.stem for path in media}
    for path in media:
        original, _, label = path.stem.rpartition(".")
        if is_label(label, labels) and original in stems:
            findings.outputs += 1
        elif not _wanted(selection, str(path)):
            findings.unwanted += 1
        else:
            parent = "" if path.parent == PurePosixPath() else str(path.parent)
            findings.files.append(FoundInput(str(Path(folder, path)), parent))
    return findings


def _listed(folder: str, prefix: str) -> list[tuple[str, os.DirEntry[str]]]:
    """The entries of a folder and their paths relative to the top, last one first, as for a stack."""
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
    return [(prefix + entry.name, entry) for entry in sorted(shown, key=lambda entry: _natural(entry.name), reverse=True)]


def _natural(name: str) -> tuple[list[str | int], str]:
    """A key that puts `clip2` before `clip10`."""
    return [int(part) if n % 2 else part.casefold() for n, part in enumerate(re.split(r"(\d+)", name))], name


def _is(entry: os.DirEntry[str], kind: str) -> bool:
    """Whether an entry is a regular file, or a link to one, or a real `folder`; False for what is gone or a broken link."""
    try:
        return entry.is_file() if kind == "file" else entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _wanted(selection: Selection, relative: str) -> bool:
    if _matches(selection.exclude, relative):
        return False
    return not selection.include or _matches(selection.include, relative)


def _matches(patterns: Collection[str], relative: str, is_folder: bool = False) -> bool:
    """Whether one of the patterns fits the name, or the path where the pattern has a `/`; one that ends in `/` is for folders."""
    path = relative.casefold()
    name = path.rpartition("/")[2]
    for pattern in patterns:
        if pattern.endswith("/") and not is_folder:
            continue
        shape = pattern.rstrip("/").casefold()
        if fnmatchcase(path if "/" in shape else name, shape):
            return True
    return False
