"""vidstyle: turns videos into stylized videos.

    vidstyle.stylize("holiday.mp4", style="mosaic")        # a file
    vidstyle.Stylizer("mosaic")                            # a net to keep: images, frames, files
    vidstyle.read_frames(...), vidstyle.write_video(...)   # what is between them is yours

docs/python.md has examples. Importing this loads nothing heavy; the names below load what they need when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidstyle.api import Stylizer, styles, stylize
    from vidstyle.api.video_io import read_frames, write_video
    from vidstyle.conversion.convert import Result
    from vidstyle.core.errors import (
        DeviceError,
        DiskError,
        InputError,
        MissingExtraError,
        OutputError,
        OutputExistsError,
        StyleError,
        UsageError,
        VidstyleError,
    )
    from vidstyle.core.frames import Frame
    from vidstyle.core.options import ConvertOptions, EncodeOptions, StyleOptions, Trim
    from vidstyle.stylizers import load_stylizer

__version__ = "0.1.0"

_HOMES = {
    "Stylizer": "api",
    "styles": "api",
    "stylize": "api",
    "read_frames": "api.video_io",
    "write_video": "api.video_io",
    "Result": "conversion.convert",
    "DeviceError": "core.errors",
    "DiskError": "core.errors",
    "InputError": "core.errors",
    "MissingExtraError": "core.errors",
    "OutputError": "core.errors",
    "OutputExistsError": "core.errors",
    "StyleError": "core.errors",
    "UsageError": "core.errors",
    "VidstyleError": "core.errors",
    "Frame": "core.frames",
    "ConvertOptions": "core.options",
    "EncodeOptions": "core.options",
    "StyleOptions": "core.options",
    "Trim": "core.options",
    "load_stylizer": "stylizers",
}

__all__ = [
    "ConvertOptions",
    "DeviceError",
    "DiskError",
    "EncodeOptions",
    "Frame",
    "InputError",
    "MissingExtraError",
    "OutputError",
    "OutputExistsError",
    "Result",
    "StyleError",
    "StyleOptions",
    "Stylizer",
    "Trim",
    "UsageError",
    "VidstyleError",
    "__version__",
    "load_stylizer",
    "read_frames",
    "styles",
    "stylize",
    "write_video",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vidstyle' has no attribute '{name}'")
    return getattr(importlib.import_module(f"vidstyle.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
