"""Default names of outputs, and the fields of a name template."""

from __future__ import annotations

import os
from contextlib import closing
from functools import cache
from pathlib import Path, PurePosixPath

from vidstyle.core.errors import VidstyleError
from vidstyle.core.files import is_url, split_url
from vidstyle.sources import IMAGE_SUFFIXES, open_source

DEFAULT_TEMPLATE = "{stem}.{style}{ext}"
_KEPT_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv"} | IMAGE_SUFFIXES


def default_name(input: str, label: str) -> str:
    """`holiday.mp4` -> `holiday.mosaic.mp4`. The suffix of a container that cannot be written becomes `.mkv`. A GIF becomes an
    MP4, unless it is transparent, which MP4 does not support."""
    return DEFAULT_TEMPLATE.format_map(fields_of(input, "", label))


def fields_of(input: str, folder: str, label: str) -> dict[str, str]:
    """The values of the fields in a name template, for an input in the subfolder `folder` and the style `label`."""
    path = Path(PurePosixPath(split_url(input).path).name or "stream") if is_url(input) else Path(input)
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
    """Whether a video has an alpha channel; False if it cannot be read. `state` (size and time) invalidates the cache."""
    try:
        with closing(open_source(input)) as source:
            return source.info.alpha
    except VidstyleError:
        return False
