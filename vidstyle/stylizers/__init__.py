"""What stylizes: `load_stylizer` finds the styles, mixes them and picks the engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vidstyle.core.errors import StyleError
from vidstyle.core.options import StyleOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.styles.catalog import find_style
from vidstyle.styles.spec import Blend, parse_style

if TYPE_CHECKING:
    from vidstyle.stylizers.blend_networks import Net


def load_stylizer(
    options: StyleOptions = StyleOptions(),
    concurrency: int | None = None,
    cores: int | None = None,
    find: Callable[[str], Path] = find_style,
) -> Stylizer:
    """The stylizer that `options` ask for; `concurrency` None: as many as make the most frames a second on `cores`, None: on all
    there are. `find` knows the styles' files.

    Raises `StyleError` for an unknown style or a bad model, `DeviceError` for a device that is not to be had,
    `MissingExtraError` where torch is needed and not installed, `UsageError` for a choice out of range.
    """
    changes = parse_style(options.style)
    stylizers = [_blend(change.blend, options, concurrency, cores, find) for change in changes]
    if len(changes) == 1:
        return stylizers[0]
    from vidstyle.stylizers.timeline import Timed

    return Timed(stylizers, [change.seconds for change in changes], options.fade)


def _blend(
    blend: Blend, options: StyleOptions, concurrency: int | None, cores: int | None, find: Callable[[str], Path]
) -> Stylizer:
    """A blend with all that the options ask for."""
    from vidstyle.stylizers.blend_networks import nets_of

    nets = nets_of([(find(name), share) for name, share in blend])
    stylizers = [_load(net, options, concurrency, cores) for net in nets]
    stylizer = stylizers[0]
    if len(nets) > 1:
        from vidstyle.stylizers.blends import Blended

        stylizer = Blended(stylizers, [net.share for net in nets])
    if options.height is not None or options.stroke_scale != 1:
        from vidstyle.stylizers.resized import Resized

        stylizer = Resized(stylizer, options.height, options.stroke_scale)
    if options.strength < 1:
        from vidstyle.stylizers.blends import Faint

        stylizer = Faint(stylizer, options.strength)
    return stylizer


def _load(net: Net, options: StyleOptions, concurrency: int | None, cores: int | None) -> Stylizer:
    if net.model is None and options.backend == "onnx":
        raise StyleError(f"expected an .onnx model for the backend onnx, got {net.path}")

    def in_torch(device: str) -> Stylizer:
        from vidstyle.stylizers.torch import load_torch_stylizer

        return load_torch_stylizer(net.path, device, net.model, concurrency, cores)

    def in_onnx(device: str) -> Stylizer:
        from vidstyle.stylizers.onnx import OnnxStylizer

        return OnnxStylizer(net.path, device, options.model_color, concurrency, cores, net.model)

    if options.backend == "torch" or net.model is None:
        return in_torch(options.device)
    if options.backend == "auto" and options.device != "cpu":
        from vidstyle.stylizers.engine_selection import architecture_of, fastest, may_choose

        if may_choose(net.model):
            return fastest({"onnx": in_onnx, "torch": in_torch}, options.device, architecture_of(net.model))
    return in_onnx(options.device)
