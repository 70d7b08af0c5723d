"""Models of other tools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from onnx import helper

from tests.support.helpers import identity_model, imread, listing, paint, rgb_of, run_cli, save_model
from tests.support.networks import RunsCode, soft_image
from vidstyle.core.errors import StyleError
from vidstyle.core.options import StyleOptions
from vidstyle.networks.examples_net import ExamplesTransformerNet
from vidstyle.stylizers import load_stylizer
from vidstyle.stylizers.verification import verify_model


def negative_model(path: Path) -> Path:
    constants = {"white": np.array(255, np.float32)}
    return save_model(path, [helper.make_node("Sub", ["white", "x"], ["y"])], constants)


def first_channel_off(path: Path) -> Path:
    constants = {"keep": np.array([0, 1, 1], np.float32).reshape(1, 3, 1, 1)}
    return save_model(path, [helper.make_node("Mul", ["x", "keep"], ["y"])], constants)


def test_a_float_model_of_any_size(tmp_path: Path) -> None:
    images = [soft_image(41, 53, seed) for seed in range(3)]
    stylized = load_stylizer(StyleOptions(str(negative_model(tmp_path / "negative.onnx")))).stylize(images)
    assert (stylized == 255 - np.stack(images)).all()


def test_values_out_of_range_are_clipped(tmp_path: Path) -> None:
    model = save_model(tmp_path / "m.onnx", [helper.make_node("Mul", ["x", "by"], ["y"])], {"by": np.array(3, np.float32)})
    image = soft_image(16, 16)
    assert (load_stylizer(StyleOptions(str(model))).stylize([image])[0] == np.minimum(3 * image.astype(int), 255)).all()


@pytest.mark.parametrize("shape", [(1, 3, 32, 48), ("n", 3, 32, 48)], ids=["one by one", "in batches"])
def test_images_are_scaled_to_a_fixed_model_size_and_back(clip: Path, shape: tuple[int | str, ...]) -> None:
    model = identity_model(clip.with_name("fixed.onnx"), shape)
    done = paint(clip, "--batch-size", 4, "-o", clip.with_name("out.mp4"), style=str(model))
    assert "48x32" in done.stderr
    before, after = rgb_of(clip), rgb_of(clip.with_name("out.mp4"))
    assert before.shape == after.shape
    assert 0 < np.abs(before.astype(int) - after).mean() < 20


@pytest.mark.parametrize(("order", "channel"), [("rgb", 0), ("bgr", 2)])
def test_the_channel_order_of_a_model_can_be_set(tmp_path: Path, order: str, channel: int) -> None:
    model = first_channel_off(tmp_path / "model.onnx")
    cv2.imwrite(str(tmp_path / "in.png"), cv2.cvtColor(np.full((16, 24, 3), 200, np.uint8), cv2.COLOR_RGB2BGR))
    paint(tmp_path / "in.png", "-o", tmp_path / "out.png", "--model-color", order, style=str(model))
    stylized = cv2.cvtColor(imread(tmp_path / "out.png"), cv2.COLOR_BGR2RGB)
    assert [int(v) for v in stylized.mean((0, 1))] == [0 if c == channel else 200 for c in range(3)]


def test_a_model_that_fails_on_an_image_is_an_error(clip: Path) -> None:
    model = save_model(
        clip.with_name("m.onnx"), [helper.make_node("Reshape", ["x", "to"], ["y"])], {"to": np.array([1, 3, 7, 7])}
    )
    done = run_cli("-q", clip, "--style", model)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert listing(clip.parent) == ["in.mp4", "m.onnx"]


@pytest.fixture
def examples(tmp_path: Path) -> tuple[ExamplesTransformerNet, Path]:
    """A net of pytorch/examples, saved as its training script does."""
    torch.manual_seed(6)
    net = ExamplesTransformerNet(4)
    path = tmp_path / "candy.pth"
    torch.save(net.state_dict(), path)
    return net, path


def test_a_model_of_pytorch_examples(clip: Path, examples: tuple[ExamplesTransformerNet, Path]) -> None:
    done = paint(clip, style=str(examples[1]))
    assert "torch on" in done.stderr
    before, after = rgb_of(clip), rgb_of(clip.with_name("in.candy.mp4"))
    assert before.shape == after.shape
    assert np.abs(before.astype(int) - after).mean() > 5


def test_a_pth_file_gives_the_networks_own_output(examples: tuple[ExamplesTransformerNet, Path]) -> None:
    net, path = examples
    image = soft_image(32, 40)
    with torch.no_grad():
        y = net.eval()(torch.from_numpy(image).permute(2, 0, 1)[None].float())[0].permute(1, 2, 0)
    expected = (y + 0.5).clamp(0, 255).byte().numpy().astype(int)
    assert np.abs(load_stylizer(StyleOptions(str(path), device="cpu")).stylize([image])[0] - expected).max() <= 1


def test_files_of_old_torch_versions_load(examples: tuple[ExamplesTransformerNet, Path]) -> None:
    net, path = examples
    torch.save(net.state_dict() | {"in1.running_mean": torch.zeros(4), "in1.running_var": torch.ones(4)}, path)
    assert load_stylizer(StyleOptions(str(path), device="cpu")).stylize([soft_image(16, 16)]).shape == (1, 16, 16, 3)


def test_code_in_a_model_is_not_run(clip: Path, tmp_path: Path) -> None:
    torch.save({"conv1.conv2d.weight": RunsCode(tmp_path / "pwned")}, tmp_path / "evil.pth")
    done = run_cli("-q", clip, "--style", tmp_path / "evil.pth")
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "pwned").exists()
    assert listing(clip.parent) == ["in.mp4"]


def other_weights(path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, path)


def incomplete_weights(path: Path) -> None:
    torch.save({"conv1.conv2d.weight": torch.zeros(4, 3, 9, 9)}, path)


def misshapen_weights(path: Path) -> None:
    torch.save({"conv1.conv2d.weight": torch.tensor(1.0)}, path)


@pytest.mark.parametrize(
    "make", [other_weights, incomplete_weights, misshapen_weights, lambda path: path.write_bytes(b"rubbish")]
)
def test_other_weights_are_refused(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "bad.pth")
    with pytest.raises(StyleError, match=r"bad\.pth"):
        verify_model(tmp_path / "bad.pth")


def test_torch_weights_do_not_run_in_onnx(examples: tuple[ExamplesTransformerNet, Path]) -> None:
    with pytest.raises(StyleError, match="onnx"):
        load_stylizer(StyleOptions(str(examples[1]), backend="onnx"))


def test_a_foreign_onnx_does_not_run_in_torch(tmp_path: Path) -> None:
    with pytest.raises(StyleError, match="vidstyle trained"):
        load_stylizer(StyleOptions(str(negative_model(tmp_path / "negative.onnx")), backend="torch", device="cpu"))
