"""The two architectures, their ONNX files, and the engines that run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from tests.support.helpers import noise, rgb_of
from tests.support.networks import STYLE, soft_image, stylize_in_torch
from vidstyle.core.errors import StyleError
from vidstyle.core.options import StyleOptions
from vidstyle.networks.export import export_onnx, load_net
from vidstyle.networks.transformer_net import ARCHITECTURES
from vidstyle.stylizers import load_stylizer


@pytest.mark.parametrize(
    ("architecture", "height", "width", "count"),
    [("compact", 48, 64, 1), ("compact", 64, 48, 3), ("compact", 61, 83, 2), ("compact", 32, 32, 5), ("full", 61, 83, 2)],
)
def test_onnx_gives_the_same_images_as_torch(styles: Path, architecture: str, height: int, width: int, count: int) -> None:
    images = [soft_image(height, width, seed) for seed in range(count)]
    net, _ = load_net(styles / f"{STYLE[architecture]}.onnx")
    expected = stylize_in_torch(net.eval(), images).astype(int)
    got = load_stylizer(StyleOptions(STYLE[architecture], device="cpu")).stylize(images)
    assert got.dtype == np.uint8
    assert got.shape == (count, height, width, 3)
    assert got.std() > 10, "a flat image proves nothing"
    assert np.abs(got - expected).max() <= 1


@pytest.mark.parametrize("backend", ["onnx", "torch"])
@pytest.mark.parametrize(("height", "width"), [(5, 7), (1, 1), (16, 3), (17, 33), (100, 9)])
def test_any_size_works(backend: Any, height: int, width: int) -> None:
    image = soft_image(height, width)
    stylized = load_stylizer(StyleOptions("tiny", device="cpu", backend=backend)).stylize([image, image])
    assert stylized.shape == (2, height, width, 3)
    assert stylized.dtype == np.uint8
    assert (stylized[0] == stylized[1]).all()


def test_the_backends_agree_on_a_clip(clip: Path) -> None:
    frames = list(rgb_of(clip)[:6])
    first, second = (load_stylizer(StyleOptions("tiny", device="cpu", backend=b)).stylize(frames) for b in ("onnx", "torch"))
    assert np.abs(first.astype(int) - second).max() <= 1


def test_an_image_is_stylized_alike_alone_and_in_a_batch() -> None:
    stylizer = load_stylizer(StyleOptions("tiny", device="cpu"))
    images = [soft_image(40, 56, seed) for seed in range(4)]
    alone = np.concatenate([stylizer.stylize([p]) for p in images])
    assert np.abs(stylizer.stylize(images).astype(int) - alone).max() <= 1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_and_facts_come_back_from_the_file(tmp_path: Path, nets: dict[str, nn.Module], architecture: str) -> None:
    facts = {"name": "sea", "painter": "Bäcker", "commands": '["vidstyle train"]'}
    export_onnx(nets[architecture], architecture, tmp_path / "sea.onnx", facts)
    net, found = load_net(tmp_path / "sea.onnx")
    assert facts.items() <= found.items()
    assert found["architecture"] == architecture
    convs = {f"{n}.weight" for n, m in nets[architecture].named_modules() if isinstance(m, nn.Conv2d)}
    loaded = net.state_dict()
    for key, value in nets[architecture].state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(loaded[key], value.half().float() if key in convs else value), key
    assert all(p.requires_grad for p in net.parameters()), "weights to go on training from"


def test_exporting_leaves_one_file(tmp_path: Path, nets: dict[str, nn.Module]) -> None:
    export_onnx(nets["compact"], "compact", tmp_path / "sea.onnx", {})
    assert [p.name for p in tmp_path.iterdir()] == ["sea.onnx"]
    assert (tmp_path / "sea.onnx").stat().st_size < 700_000  # half precision


def test_weights_of_other_sizes_and_in_other_files_are_refused(tmp_path: Path, styles: Path) -> None:
    model = onnx.load(styles / "tiny.onnx")
    [weights] = [tensor for tensor in model.graph.initializer if tensor.name == "encode.0.0.weight"]
    weights.CopyFrom(onnx.numpy_helper.from_array(np.zeros((1, 2, 3, 4), np.float16), weights.name))
    onnx.save(model, tmp_path / "bad.onnx")
    with pytest.raises(StyleError, match=r"weights of a compact network, found others in .*bad\.onnx"):
        load_net(tmp_path / "bad.onnx")
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="bad.onnx")
    (tmp_path / "bad.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(StyleError, match="refers to others"):
        load_net(tmp_path / "bad.onnx")


@pytest.mark.parametrize("content", [b"", b"rubbish" * 100])
def test_a_file_that_is_no_style_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(StyleError, match=r"bad\.onnx"):
        load_net(tmp_path / "bad.onnx")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_only_cheap_operators_are_left_at_run_time(styles: Path, tmp_path: Path, architecture: str) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(styles / f"{STYLE[architecture]}.onnx", options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert not {"BatchNormalization", "InstanceNormalization", "Pad"} & set(kinds)
    convs = sum(isinstance(m, nn.Conv2d) for m in ARCHITECTURES[architecture]().modules())
    assert sum("Conv" in kind for kind in kinds) == convs


def multiply_adds(net: nn.Module, size: int = 64) -> float:
    """Per pixel of the image, counted at the convolutions."""
    total = 0

    def count(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        kernel = module.kernel_size[0] * module.kernel_size[1]
        total += output.numel() * module.in_channels // module.groups * kernel

    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        net.eval()(torch.zeros(1, 3, size, size))
    return total / size**2


def test_the_compact_net_is_much_cheaper() -> None:
    full, compact = (multiply_adds(ARCHITECTURES[name]()) for name in ("full", "compact"))
    assert full >= 12 * compact


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_models_take_and_return_bytes(styles: Path, architecture: str) -> None:
    session = ort.InferenceSession(styles / f"{STYLE[architecture]}.onnx", providers=["CPUExecutionProvider"])
    x, y = session.get_inputs()[0], session.get_outputs()[0]
    assert x.type == y.type == "tensor(uint8)"
    image = np.stack([noise(0, 64, 32)])
    assert session.run(None, {x.name: image})[0].shape == (1, 32, 64, 3)
