"""What an output is called unless `-o` says otherwise."""

from __future__ import annotations

import os
from contextlib import closing
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from vidstyle.core.errors import VidstyleError
from vidstyle.core.files import is_url
from vidstyle.sources import IMAGE_SUFFIXES, open_source

DEFAULT_TEMPLATE = "{stem}.{style}{ext}"
_KEPT_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv"} | IMAGE_SUFFIXES


def default_name(input: str, label: str) -> str:
    """`holiday.mp4` -> `holiday.mosaic.mp4`. A container that cannot be written becomes one that can; so does a GIF, unless it
    has transparent parts, which MP4 cannot hold."""
    return DEFAULT_TEMPLATE.format_map(fields_of(input, "", label))


def fields_of(input: str, folder: str, label: str) -> dict[str, str]:
    path = Path(PurePosixPath(urlsplit(input).path).name or "stream") if is_url(input) else Path(input)
    suffix = path.suffix.lower()
    kept = path.suffix if suffix in _KEPT_SUFFIXES else ".mkv"
    if suffix == ".gif":
        kept = ".gif" if not is_url(input) and _is_transparent(input, _state(input)) else ".mp4"
    return {"stem": path.stem, "ext": kept, "name": path.name, "style": label, "folder": folder}


def _state(input: str) -> tuple[int, int] | None:
    try:
        status = os.stat(input)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


@cache
def _is_transparent(input: str, state: tuple[int, int] | None) -> bool:
    """Whether the first image of a file (as it is in `state`) has transparent parts; False where it cannot be read."""
    try:
        with closing(open_source(input)) as source:
            return source.info.alpha
    except VidstyleError:
        return False
