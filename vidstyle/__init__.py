"""vidstyle: turns videos into stylized videos.

    vidstyle.stylize("holiday.mp4", style="mosaic")        # a file, or a folder
    vidstyle.Stylizer("mosaic")                            # a network to keep, for images, frames and files
    vidstyle.read_frames(...), vidstyle.write_video(...)   # frames out of a video and into one

See docs/python.md for examples. Importing the package loads nothing heavy: each name loads what it needs on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vidstyle.core.telemetry import turn_off_telemetry as _turn_off_telemetry

if TYPE_CHECKING:
    from vidstyle.api import Stylizer, stylize
    from vidstyle.api.video_io import read_frames, write_video
    from vidstyle.conversion.convert import Result
    from vidstyle.conversion.job import JobResult
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
    from vidstyle.styles.catalog import list_styles
    from vidstyle.stylizers import load_stylizer

_turn_off_telemetry()

__version__ = "0.1.0"

_MODULES = {
    "Stylizer": "api",
    "list_styles": "styles.catalog",
    "stylize": "api",
    "read_frames": "api.video_io",
    "write_video": "api.video_io",
    "Result": "conversion.convert",
    "JobResult": "conversion.job",
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
    "JobResult",
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
    "list_styles",
    "load_stylizer",
    "read_frames",
    "stylize",
    "write_video",
]


def __getattr__(name: str) -> Any:
    if name == "styles":  # a package, which can be called as the function of this name could
        return importlib.import_module("vidstyle.styles")
    if name not in _MODULES:
        raise AttributeError(f"module 'vidstyle' has no attribute '{name}'")
    return getattr(importlib.import_module(f"vidstyle.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
