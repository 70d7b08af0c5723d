"""NaN and infinity, in weights, statistics or images, are an error in every engine and never published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from tests.support.helpers import listing, run_cli, save_model, write_clip
from tests.support.networks import soft_image
from vidstyle.core.errors import EXIT_MODEL, StyleError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import StyleOptions
from vidstyle.networks.examples_net import ExamplesTransformerNet
from vidstyle.networks.export import load_net
from vidstyle.stylizers import load_network
from vidstyle.stylizers.blend_networks import networks_of
from vidstyle.stylizers.onnx import load_onnx_stylizer
from vidstyle.stylizers.onnx_gpu import weights_of
from vidstyle.stylizers.torch import GpuTorchStylizer, load_torch_stylizer

IMAGE = soft_image(64, 96)
Change = Callable[[np.ndarray], None]


def nan_for_black(path: Path) -> Path:
    """A model of another tool whose output is the image as bright as possible: 0 / 0 for a black one."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=1, axes=[1, 2, 3]),
        helper.make_node("Div", ["x", "most"], ["fraction"]),
        helper.make_node("Mul", ["fraction", "white"], ["y"]),
    ]
    return save_model(path, nodes, {"white": np.array(255, np.float32)})


def blackout(index: int, width: int, height: int) -> Pixels:
    return soft_image(height, width) * (index < 8)


def test_a_model_whose_output_is_not_a_number_is_refused(tmp_path: Path) -> None:
    model, clip = (
        nan_for_black(tmp_path / "m.onnx"),
        write_clip(tmp_path / "in.mkv", image=blackout, codec="ffv1", pix_fmt="bgr0"),
    )
    before = listing(tmp_path)
    done = run_cli(clip, "--style", model, "-o", tmp_path / "out.mkv", "--batch-size", 4)
    assert done.returncode == EXIT_MODEL
    [line] = [line for line in done.stderr.splitlines() if "error" in line]
    assert "got NaN or infinity" in line
    assert "Warning" not in done.stderr
    assert listing(tmp_path) == before


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_such_pixel_is_enough(tmp_path: Path, value: float) -> None:
    constant = np.zeros((1, 3, 64, 96), np.float32)
    constant[0, 1, 20, 30] = value
    path = save_model(tmp_path / "m.onnx", [helper.make_node("Add", ["x", "by"], ["y"])], {"by": constant})
    with pytest.raises(StyleError, match="finite images"):
        load_onnx_stylizer(path, "cpu").stylize([IMAGE])


def changed(styles: Path, path: Path, name: str, value: float) -> Path:
    """The style `tiny` with one value in its tensor `name` replaced."""
    model = onnx.load(styles / "tiny.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == name:
            array = numpy_helper.to_array(tensor).copy()
            array.flat[0] = value
            tensor.CopyFrom(numpy_helper.from_array(array, name))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("load", [lambda path: load_onnx_stylizer(path, "cpu"), lambda path: load_torch_stylizer(path, "cpu")])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("encode.0.0.weight", np.nan),
        ("encode.0.0.weight", np.inf),
        ("encode.0.1.running_var", -1.0),
        ("encode.0.1.running_mean", np.nan),
        ("paint.0.bias", -np.inf),
    ],
)
def test_a_trained_model_with_such_weights_is_refused(
    styles: Path, tmp_path: Path, load: Callable[[Path], object], name: str, value: float
) -> None:
    with pytest.raises(StyleError, match="finite weights"):
        load(changed(styles, tmp_path / "m.onnx", name, value))


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_statistics_that_overflow_are_refused(styles: Path, tmp_path: Path, backend: Any) -> None:
    path = changed(styles, tmp_path / "m.onnx", "encode.0.1.weight", 3e38)
    [network] = networks_of([(path, 1.0)])
    with pytest.raises(StyleError, match="got NaN or infinity"):
        load_network(network, StyleOptions(device="cpu", backend=backend), 1, 1).for_shot([IMAGE])


def test_weights_that_overflow_in_half_precision_are_refused(styles: Path, tmp_path: Path) -> None:
    path = changed(styles, tmp_path / "m.onnx", "encode.0.1.weight", 1e9)
    with pytest.raises(StyleError, match="finite weights"):
        weights_of(onnx.load(path))
    net, _ = load_net(path)
    with pytest.raises(StyleError, match="finite weights"):
        GpuTorchStylizer(net, torch.device("cpu"), None)


def test_images_that_overflow_in_half_precision_are_refused(styles: Path) -> None:
    net, _ = load_net(styles / "tiny.onnx")
    with torch.no_grad():
        net.get_parameter("paint.0.weight").mul_(30000)
    stylizer = GpuTorchStylizer(net, torch.device("cpu"), None)
    with pytest.raises(StyleError, match="finite images"):
        stylizer.stylize([IMAGE])


def test_a_torch_file_with_such_weights_is_refused(tmp_path: Path) -> None:
    net = ExamplesTransformerNet(4)
    with torch.no_grad():
        net.get_parameter("deconv3.conv2d.bias")[0] = float("nan")
    torch.save(net.state_dict(), tmp_path / "m.pth")
    with pytest.raises(StyleError, match="finite images"):
        load_torch_stylizer(tmp_path / "m.pth", "cpu").stylize([IMAGE])
