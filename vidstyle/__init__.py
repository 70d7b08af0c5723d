"""vidstyle: turns videos into moving paintings.

Importing this loads neither torch nor cv2; the names below load what they need when they are first used.

    vidstyle.stylize("in.mp4", style="mosaic")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidstyle.convert import Result, convert
    from vidstyle.errors import VidstyleError
    from vidstyle.folder import stylize
    from vidstyle.options import ConvertOptions, EncodeOptions, StyleOptions, Trim
    from vidstyle.stylizers import load_stylizer

__version__ = "0.1.0"

_HOMES = {
    "stylize": "folder",
    "Result": "convert",
    "convert": "convert",
    "VidstyleError": "errors",
    "ConvertOptions": "options",
    "EncodeOptions": "options",
    "StyleOptions": "options",
    "Trim": "options",
    "load_stylizer": "stylizers",
}

__all__ = [
    "ConvertOptions",
    "EncodeOptions",
    "Result",
    "StyleOptions",
    "Trim",
    "VidstyleError",
    "__version__",
    "convert",
    "load_stylizer",
    "stylize",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vidstyle' has no attribute '{name}'")
    return getattr(importlib.import_module(f"vidstyle.{_HOMES[name]}"), name)
