"""What paints: `load_stylizer` finds the style and picks the engine."""

from __future__ import annotations

from pathlib import Path

from vidstyle.errors import StyleError, UsageError
from vidstyle.options import StyleOptions
from vidstyle.stages import Stylizer
from vidstyle.stylizers.catalog import find_style

TORCH_SUFFIXES = {".pth", ".pt", ".model"}


def load_stylizer(options: StyleOptions = StyleOptions(), lanes: int | None = None, cores: int | None = None) -> Stylizer:
    """The stylizer for a style's name or a model file; `lanes` None: as many as make the most frames a second on
    `cores`, None: on all there are.

    Raises `StyleError` for an unknown style or a bad model, `DeviceError` for a device that is not to be had,
    `MissingExtraError` where torch is needed and not installed.
    """
    path = find_style(options.style)
    if options.height is not None and options.height < 16:
        raise UsageError(f"expected an inference height of at least 16 pixels, got {options.height}")
    if path.suffix.lower() in TORCH_SUFFIXES and options.backend == "onnx":
        raise StyleError(f"expected an .onnx model for the backend onnx, got {path}")
    stylizer = _load(path, options, lanes, cores)
    if options.height is not None:
        from vidstyle.stylizers.resized import Resized

        return Resized(stylizer, options.height)
    return stylizer


def _load(path: Path, options: StyleOptions, lanes: int | None, cores: int | None) -> Stylizer:
    if options.backend == "torch" or path.suffix.lower() in TORCH_SUFFIXES:
        from vidstyle.stylizers.torch import load_torch_stylizer

        return load_torch_stylizer(path, options.device)
    from vidstyle.stylizers.onnx import OnnxStylizer

    return OnnxStylizer(path, options.device, options.model_color, lanes, cores)
