"""Short facts that are expensive to find out, remembered in the user's cache folder."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import platformdirs

from vidstyle.core.files import replaced


def remembered(file: str, key: str) -> str | None:
    """What was remembered in `file` under `key`, if anything."""
    try:
        found = json.loads(cache_file(file).read_text("utf-8")).get(key)
        return found if isinstance(found, str) else None
    except (OSError, ValueError, AttributeError):
        return None


def remember(file: str, key: str, value: str) -> None:
    """Remember `value`. If this fails, it is found out again next time."""
    path = cache_file(file)
    known: dict[str, str] = {}
    with suppress(OSError, ValueError, TypeError):
        known = dict(json.loads(path.read_text("utf-8")))
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as temporary:
            temporary.write_text(json.dumps({**known, key: value}, indent=1) + "\n", "utf-8")


def cache_file(file: str) -> Path:
    """The path of a file in the cache folder."""
    return platformdirs.user_cache_path("vidstyle") / file
