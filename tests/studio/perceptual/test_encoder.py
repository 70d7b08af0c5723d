"""Encoders loaded from weight files of every known format."""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
import re
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.support.networks import RunsCode
from tests.support.perceptual import NAMES, NORMALIZED, TORCHVISION, State, random_convs, save_weights
from vidstyle.core.errors import MissingExtraError, StyleError
from vidstyle.studio.perceptual import encoder as perceptual
from vidstyle.studio.perceptual.encoder import (
    COMPACT_WIDTHS,
    find_encoder,
    load_encoder,
    pyramid_features,
    untrained_compact_encoder,
)

LAYERS = ["relu1_1", "relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu4_1"]


def plain_features(state: State, key: Callable[[str], str], x: Tensor, padding: str) -> State:
    """A plain VGG-19: pad, convolve, ReLU, and pool between the blocks."""
    features = {}
    for name in NAMES:
        if f"{key(name)}.weight" not in state:
            break
        if name in ("2_1", "3_1", "4_1", "5_1"):
            x = F.max_pool2d(x, 2, 2)
        x = F.relu(F.conv2d(F.pad(x, (1, 1, 1, 1), mode=padding), state[f"{key(name)}.weight"], state[f"{key(name)}.bias"]))
        features[f"relu{name}"] = x
    return features


def assert_same(features: State, expected: State, layers: list[str]) -> None:
    assert set(features) == set(layers)
    for layer in layers:
        assert expected[layer].abs().max() > 0
        torch.testing.assert_close(features[layer], expected[layer], rtol=1e-4, atol=1e-4)


def test_torchvision_weights(tmp_path: Path, image: Tensor) -> None:
    def key(name: str) -> str:
        return f"features.{TORCHVISION[name]}"

    state = random_convs(key) | {"classifier.0.weight": torch.zeros(2, 2), "classifier.0.bias": torch.zeros(2)}
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (image - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)
    assert_same(load_encoder(save_weights(tmp_path, state))(image, LAYERS), plain_features(state, key, x, "constant"), LAYERS)


def test_caffe_weights_take_bgr(tmp_path: Path, image: Tensor) -> None:
    state = random_convs("conv{}".format)
    x = image.flip(1) * 255 - torch.tensor([103.939, 116.779, 123.68]).reshape(3, 1, 1)
    assert_same(
        load_encoder(save_weights(tmp_path, state))(image, LAYERS), plain_features(state, "conv{}".format, x, "constant"), LAYERS
    )


def test_normalized_weights_use_their_own_preprocessing(tmp_path: Path, image: Tensor) -> None:
    def key(name: str) -> str:
        return str(NORMALIZED[name])

    state = random_convs(key) | {"0.weight": torch.randn(3, 3, 1, 1), "0.bias": torch.randn(3)}
    x = F.conv2d(image, state["0.weight"], state["0.bias"])
    assert_same(load_encoder(save_weights(tmp_path, state))(image, LAYERS), plain_features(state, key, x, "reflect"), LAYERS)


@pytest.mark.parametrize("wrapped", [False, True])
def test_distilled_weights(tmp_path: Path, image: Tensor, wrapped: bool) -> None:
    def key(name: str) -> str:
        return f"conv{name.replace('_', '')}"

    state = random_convs(key, NAMES[:9]) | {"conv0.weight": torch.randn(3, 3, 1, 1), "conv0.bias": torch.randn(3)}
    encoder = load_encoder(save_weights(tmp_path, {"model": state} if wrapped else state))
    x = F.conv2d(image, state["conv0.weight"], state["conv0.bias"])
    assert_same(encoder(image, LAYERS), plain_features(state, key, x, "reflect"), LAYERS)


def test_half_precision_weights_compute_in_single(tmp_path: Path, image: Tensor) -> None:
    state = {k: v.half() for k, v in random_convs("conv{}".format).items()}
    assert load_encoder(save_weights(tmp_path, state))(image, ["relu2_1"])["relu2_1"].dtype == torch.float32


def save_compact(folder: Path) -> tuple[perceptual.Encoder, Path]:
    """A compact encoder and its file, in half precision like the one that ships."""
    torch.manual_seed(11)
    encoder = untrained_compact_encoder()
    path = folder / "encoder.safetensors"
    safetensors.torch.save_file({k: v.half().contiguous() for k, v in encoder.state_dict().items()}, path)
    return encoder, path


def test_compact_encoder_is_loaded_from_its_file(tmp_path: Path, image: Tensor) -> None:
    encoder, path = save_compact(tmp_path)
    loaded, layers = load_encoder(path), [f"relu{name}" for name in COMPACT_WIDTHS]
    features, expected = loaded(image, layers), encoder(image, layers)
    assert [features[layer].shape[1] for layer in layers] == list(COMPACT_WIDTHS.values())
    for layer in layers:
        assert features[layer].dtype == torch.float32
        assert (features[layer] - expected[layer]).norm() < 0.01 * expected[layer].norm()


def test_compact_encoder_is_found_beside_the_styles(tmp_path: Path, image: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual, "shipped_folder", lambda: tmp_path)
    with pytest.raises(StyleError, match=r"no such file.*encoder\.safetensors"):
        find_encoder("compact")
    _, path = save_compact(tmp_path)
    by_name, by_path = (find_encoder(name)(image, ["relu5_1"])["relu5_1"] for name in ("compact", str(path)))
    assert torch.equal(by_name, by_path)


@pytest.mark.parametrize("content", [b"", b"rubbish" * 50, b"\xff" * 16])
def test_corrupt_compact_encoder_is_rejected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "encoder.safetensors").write_bytes(content)
    with pytest.raises(StyleError, match=r"encoder\.safetensors"):
        load_encoder(tmp_path / "encoder.safetensors")


def test_other_safetensors_are_rejected(tmp_path: Path) -> None:
    _, path = save_compact(tmp_path)
    state = safetensors.torch.load_file(path)
    del state["convs.4_1.bias"]
    safetensors.torch.save_file(state, path)
    with pytest.raises(StyleError, match=r"encoder\.safetensors"):
        load_encoder(path)


def test_layers_of_smaller_images(tmp_path: Path, image: Tensor) -> None:
    encoder = load_encoder(save_weights(tmp_path, random_convs("conv{}".format)))
    features = pyramid_features(encoder, image, ["relu1_1", "relu3_1", "relu3_1/2", "relu1_1/4"])
    half, quarter = (image.unflatten(2, (-1, n)).unflatten(4, (-1, n)).mean((3, 5)) for n in (2, 4))
    whole = encoder(image, ["relu1_1", "relu3_1"])
    smaller = {"relu3_1/2": encoder(half, ["relu3_1"])["relu3_1"], "relu1_1/4": encoder(quarter, ["relu1_1"])["relu1_1"]}
    assert_same(features, whole | smaller, ["relu1_1", "relu3_1", "relu3_1/2", "relu1_1/4"])


# VGG-19 from torchvision's server, which a local server replaces

Serve = Callable[[str, bytes], str]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Puts a file on a local server and makes torchvision's URL of VGG-19 point to it; torch's own folder is empty."""
    folder = tmp_path / "server"
    folder.mkdir()
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *args: None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def put(name: str, content: bytes) -> str:
        (folder / name).write_bytes(content)
        url = f"http://127.0.0.1:{server.server_port}/{name}"
        models: Any = ModuleType("torchvision.models")
        models.VGG19_Weights = SimpleNamespace(IMAGENET1K_V1=SimpleNamespace(url=url))
        monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
        monkeypatch.setitem(sys.modules, "torchvision.models", models)
        return url

    yield put
    server.shutdown()
    thread.join()
    server.server_close()


def torchvision_file() -> tuple[State, bytes]:
    """Weights with torchvision's keys, and the bytes of their file."""
    state = random_convs(lambda name: f"features.{TORCHVISION[name]}")
    file = io.BytesIO()
    torch.save(state, file)
    return state, file.getvalue()


def kept(tmp_path: Path) -> list[str]:
    """The names of downloaded files."""
    return [path.name for path in (tmp_path / "torch").rglob("*") if path.is_file()]


def test_vgg19_is_downloaded_once_and_verified(tmp_path: Path, serve: Serve, image: Tensor) -> None:
    state, content = torchvision_file()
    name = f"vgg19-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    serve(name, content)
    features = find_encoder("vgg19")(image, LAYERS)
    assert kept(tmp_path) == [name]
    torch.save(state, tmp_path / "encoder.pth")
    assert_same(features, load_encoder(tmp_path / "encoder.pth")(image, LAYERS), LAYERS)
    (tmp_path / "server" / name).unlink()
    assert_same(find_encoder("vgg19")(image, LAYERS), features, LAYERS)


def test_vgg19_with_a_wrong_hash_is_rejected_and_deleted(tmp_path: Path, serve: Serve) -> None:
    url = serve("vgg19-00000000.pth", torchvision_file()[1])
    with pytest.raises(StyleError, match=re.escape(url)):
        find_encoder("vgg19")
    assert kept(tmp_path) == []


def test_vgg19_without_its_server_is_an_error(tmp_path: Path, serve: Serve) -> None:
    url = serve("vgg19-00000000.pth", b"")
    (tmp_path / "server" / "vgg19-00000000.pth").unlink()
    with pytest.raises(StyleError, match=f"{re.escape(url)}.*--encoder also takes a file"):
        find_encoder("vgg19")
    assert kept(tmp_path) == []


def test_vgg19_without_torchvision_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(MissingExtraError, match=r"vidstyle\[torch\]"):
        find_encoder("vgg19")


def test_torchvision_names_its_file_after_the_hash() -> None:
    try:
        from torchvision.models import VGG19_Weights
    except Exception as error:  # its wheels for another build of torch fail with various exceptions
        pytest.skip(f"torchvision does not load: {error}")
    assert re.search(r"/vgg19-[0-9a-f]{8}\.pth$", VGG19_Weights.IMAGENET1K_V1.url)


def test_missing_layer_is_named_in_the_error(tmp_path: Path, image: Tensor) -> None:
    encoder = load_encoder(save_weights(tmp_path, random_convs("conv{}".format, NAMES[:3])))
    with pytest.raises(StyleError, match=r"relu4_1.*relu2_1"):
        encoder(image, ["relu1_1", "relu4_1"])


def test_gradients_reach_the_image_but_not_the_weights(tmp_path: Path, image: Tensor) -> None:
    encoder = load_encoder(save_weights(tmp_path, random_convs("conv{}".format)))
    image.requires_grad_()
    encoder(image, ["relu3_1"])["relu3_1"].sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert all(p.grad is None for p in encoder.parameters())


@pytest.mark.parametrize(
    "state", [{}, {"weight": torch.zeros(3)}, [torch.zeros(3)], {"features.0.weight": torch.zeros(4, 3, 3, 3)}]
)
def test_other_weights_are_rejected(tmp_path: Path, state: object) -> None:
    with pytest.raises(StyleError, match=r"encoder\.pth"):
        load_encoder(save_weights(tmp_path, state))


@pytest.mark.parametrize("content", [b"", b"rubbish" * 50])
def test_file_that_holds_no_weights_is_rejected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "encoder.pth").write_bytes(content)
    with pytest.raises(StyleError, match=r"encoder\.pth"):
        load_encoder(tmp_path / "encoder.pth")


def test_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StyleError, match="no such file"):
        load_encoder(tmp_path / "encoder.pth")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("how", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))], ids=["torch", "pickle"])
def test_code_in_a_weight_file_is_not_run(tmp_path: Path, how: Callable[[object, Path], None]) -> None:
    how({"conv1_1.weight": RunsCode(tmp_path / "pwned")}, tmp_path / "encoder.pth")
    with pytest.raises(StyleError, match="of tensors"):
        load_encoder(tmp_path / "encoder.pth")
    assert not (tmp_path / "pwned").exists()
