"""Frames -> stylized frames: `load_stylizer` finds the styles, loads their networks, and combines them as the options require."""

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
    from vidstyle.stylizers.blend_networks import Network


def load_stylizer(
    options: StyleOptions = StyleOptions(),
    concurrency: int | None = None,
    cores: int | None = None,
    find: Callable[[str], Path] = find_style,
    check: Callable[[], None] = lambda: None,
) -> Stylizer:
    """The stylizer for `options`. `concurrency`: how many threads will call it; None: as many as give the highest
    throughput on `cores` (None: all usable ones). `find` looks up the styles' model files; one that belongs to no style in a
    catalogue is verified when it is first used, which takes a second or two (`check` is called regularly, to interrupt).

    Raises `StyleError` for an unknown style or a bad model, `DeviceError` for an unavailable device, `MissingExtraError` if
    torch is needed but not installed.
    """
    from vidstyle.stylizers.verification import verify_before_use

    def find_verified(name: str) -> Path:
        path = find(name)
        verify_before_use(path, check)
        return path

    changes = parse_style(options.style)
    stylizers = [_load_blend(change.blend, options, concurrency, cores, find_verified) for change in changes]
    if len(changes) == 1:
        return stylizers[0]
    from vidstyle.stylizers.timeline import TimelineStylizer

    return TimelineStylizer(stylizers, [change.seconds for change in changes], options.fade)


def _load_blend(
    blend: Blend, options: StyleOptions, concurrency: int | None, cores: int | None, find: Callable[[str], Path]
) -> Stylizer:
    """The stylizer of a blend, with height, stroke scale and strength."""
    from vidstyle.stylizers.blend_networks import networks_of

    networks = networks_of([(find(name), weight) for name, weight in blend])
    stylizers = [load_network(network, options, concurrency, cores) for network in networks]
    stylizer = stylizers[0]
    if len(networks) > 1:
        from vidstyle.stylizers.blends import BlendedStylizer

        stylizer = BlendedStylizer(stylizers, [network.weight for network in networks])
    if options.height is not None or options.stroke_scale != 1:
        from vidstyle.stylizers.resized import ResizedStylizer

        stylizer = ResizedStylizer(stylizer, options.height, options.stroke_scale)
    if options.strength < 1:
        from vidstyle.stylizers.blends import StrengthStylizer

        stylizer = StrengthStylizer(stylizer, options.strength)
    return stylizer


def load_network(network: Network, options: StyleOptions, concurrency: int | None, cores: int | None) -> Stylizer:
    """The stylizer for one network, which is trusted to be harmless; arguments and errors as for `load_stylizer`."""
    path, model = network.path, network.model
    if model is None and options.backend == "onnx":
        raise StyleError(f"expected an .onnx model for the backend onnx, got {path}")

    def in_torch(device: str) -> Stylizer:
        from vidstyle.stylizers.torch import load_torch_stylizer

        return load_torch_stylizer(path, device, model, concurrency, cores)

    def in_onnx(device: str) -> Stylizer:
        from vidstyle.stylizers.onnx import load_onnx_stylizer

        return load_onnx_stylizer(path, device, model, concurrency, cores, options.model_color)

    if options.backend == "torch" or model is None:
        return in_torch(options.device)
    if options.backend == "auto" and options.device != "cpu":
        from vidstyle.stylizers.engine_selection import architecture_of, may_choose, select_engine

        if may_choose(model):
            return select_engine({"onnx": in_onnx, "torch": in_torch}, options.device, architecture_of(model))
    return in_onnx(options.device)
