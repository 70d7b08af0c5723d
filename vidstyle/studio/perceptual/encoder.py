"""Features of a VGG-19, whose weights may come from any of several file formats.

Images are float RGB in [0, 1], shape (N, 3, H, W). Features are the ReLU outputs, shape (N, C, h, w), named `relu1_1` ...
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidstyle.core.errors import MissingExtraError, StyleError
from vidstyle.core.files import reason
from vidstyle.styles.catalog import sha256, shipped_folder

COMPACT_FILE = "encoder.safetensors"
COMPACT_WIDTHS = {
    "1_1": 16, "1_2": 16, "2_1": 32, "2_2": 32, "3_1": 64, "3_2": 64, "3_3": 64,
    "4_1": 128, "4_2": 128, "4_3": 128, "5_1": 128,
}  # fmt: skip
"""Channels of the compact encoder that ships: VGG-19 with fewer channels, without the last convolutions of blocks 3 and 4."""

VGG19_CONVS = ["1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "3_4", "4_1", "4_2", "4_3", "4_4", "5_1", "5_2", "5_3", "5_4"]
_TORCHVISION_POSITIONS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
_NORMALIZED_POSITIONS = (2, 5, 9, 12, 16, 19, 22, 25, 29, 32, 35, 38, 42, 45, 48, 51)

Weights = Mapping[str, Tensor]
Features = dict[str, Tensor]


class Encoder(nn.Module):
    """A VGG-19, evaluated up to the last layer that is needed. Frozen: gradients reach the image, never the weights.

    `stem` is an affine map of the colours (3x3 matrix and offset) as a 1x1 convolution; it holds the preprocessing of
    each weight file, so that all encoders take RGB in [0, 1].
    """

    def __init__(self, convs: Mapping[str, tuple[Tensor, Tensor]], stem: tuple[Tensor, Tensor], padding_mode: str) -> None:
        super().__init__()
        self.padding_mode = padding_mode
        self.stem = _conv(*stem)
        padding = 1 if padding_mode == "zeros" else 0
        self.convs = nn.ModuleDict({name: _conv(*pair, padding) for name, pair in convs.items()})
        self.requires_grad_(False)

    def forward(self, image: Tensor, layers: Iterable[str]) -> Features:
        """Features of `image` (N, 3, H, W) at `layers` such as `relu3_1`; raises `StyleError` for a layer that it lacks."""
        wanted = set(layers)
        missing = wanted - {f"relu{name}" for name in self.convs}
        if missing:
            raise StyleError(f"this encoder has no layer {', '.join(sorted(missing))}; it ends at relu{list(self.convs)[-1]}")
        features: Features = {}
        x = self.stem(image)
        for name, conv in self.convs.items():
            if name.endswith("_1") and name != "1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu_(conv(x if self.padding_mode == "zeros" else F.pad(x, (1, 1, 1, 1), mode=self.padding_mode)))
            if f"relu{name}" in wanted:
                features[f"relu{name}"] = x
                if len(features) == len(wanted):
                    break
        return features


def pyramid_features(encoder: Encoder, image: Tensor, layers: Iterable[str]) -> Features:
    """Features at `layers`; `relu3_1/4` is relu3_1 of the image at a quarter of its size (block means).

    Gram matrices of a small copy capture large shapes, at a fraction of the cost of deeper layers (Snelgrove 2017,
    "High-resolution multi-scale neural texture synthesis").
    """
    by_size: dict[int, list[str]] = {}
    for layer in layers:
        name, _, divisor = layer.partition("/")
        by_size.setdefault(int(divisor or 1), []).append(name)
    features: Features = {}
    for size, names in by_size.items():
        scaled = encoder(F.avg_pool2d(image, size) if size > 1 else image, names)
        features |= {name if size == 1 else f"{name}/{size}": scaled[name] for name in names}
    return features


def untrained_compact_encoder() -> Encoder:
    """The compact encoder before training: random convolutions (He et al. 2015), ImageNet's colour statistics."""
    convs, channels = {}, 3
    for name, width in COMPACT_WIDTHS.items():
        weight = nn.init.kaiming_normal_(torch.empty(width, channels, 3, 3))
        convs[name], channels = (weight, torch.zeros(width)), width
    return Encoder(convs, _imagenet_stem(), "reflect")


def _imagenet_stem() -> tuple[Tensor, Tensor]:
    std, mean = torch.tensor([0.229, 0.224, 0.225]), torch.tensor([0.485, 0.456, 0.406])
    return torch.diag(1 / std).reshape(3, 3, 1, 1), -mean / std


def _conv(weight: Tensor, bias: Tensor, padding: int = 0) -> nn.Conv2d:
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], padding=padding)
    conv.weight.data, conv.bias.data = weight.float().contiguous(), bias.float().contiguous()  # type: ignore[union-attr]
    return conv


def find_encoder(name: str) -> Encoder:
    """`compact`: the one that ships; `vgg19`: torchvision's, downloaded once (548 MB) and verified; otherwise a weight file.

    Raises `StyleError` if it cannot be loaded, `MissingExtraError` without torchvision.
    """
    if name == "vgg19":
        return _torchvision_vgg19()
    return load_encoder(shipped_folder() / COMPACT_FILE if name == "compact" else Path(name))


def encoder_digest(name: str) -> str:
    """Identifies an encoder: `vgg19`, or the SHA-256 of its file. Raises `StyleError` if there is no such file."""
    if name == "vgg19":
        return name
    path = shipped_folder() / COMPACT_FILE if name == "compact" else Path(name)
    if not os.path.isfile(path):
        raise StyleError(f"no such file of encoder weights: {path}")
    return sha256(path)


def _torchvision_vgg19() -> Encoder:
    try:
        from torchvision.models import VGG19_Weights
    except Exception as error:  # its wheels for another build of torch fail with a RuntimeError or an OSError
        raise MissingExtraError("the encoder vgg19", "torch") from error
    url = VGG19_Weights.IMAGENET1K_V1.url
    try:
        # The file's name holds the first digits of its sha256, which `check_hash` compares before the file gets its name.
        state = torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, progress=False, weights_only=True)
    except Exception as error:  # network, disk, hash or pickle: each has exceptions of its own
        raise StyleError(f"could not download VGG-19 from {url}: {reason(error)}; --encoder also takes a file") from error
    return _from_weights(state, url)


def load_encoder(path: Path) -> Encoder:
    """An `Encoder` from a weight file, whose format is recognized by its keys.

    Known formats: the compact encoder (safetensors), torchvision's `vgg19` state dict, Caffe's VGG-19 (`conv1_1.weight`, BGR
    0..255), AdaIN's normalized VGG-19 (keys are positions, 1x1 preprocessing first), Collaborative Distillation's small VGG-19
    (`conv11.weight`, CVPR 2020). Raises `StyleError` for anything else. Files are read with `weights_only=True`: code in them
    is never run.
    """
    try:
        state: Any = (
            safetensors.torch.load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except FileNotFoundError:
        raise StyleError(f"no such file of encoder weights: {path}") from None
    except Exception as error:  # torch.load raises many kinds of exceptions for a broken or unsafe file
        raise StyleError(
            f"expected an encoder's weights (.safetensors, or .pth of tensors), could not read {path}: {reason(error)}"
        ) from error
    return _from_weights(state, path)


def _from_weights(state: Any, origin: object) -> Encoder:
    if isinstance(state, Mapping) and isinstance(state.get("model"), Mapping):
        state = state["model"]
    if isinstance(state, Mapping):
        for keys, stem, padding_mode in _formats(state):
            if all(f"{key}.weight" in state and f"{key}.bias" in state for key in keys.values()):
                return Encoder({n: (state[f"{k}.weight"], state[f"{k}.bias"]) for n, k in keys.items()}, stem, padding_mode)
    raise StyleError(
        f"expected a VGG-19 encoder (compact, torchvision, Caffe, normalized or distilled keys), got other weights: {origin}"
    )


def _formats(state: Weights) -> Iterable[tuple[dict[str, str], tuple[Tensor, Tensor], str]]:
    """(layer name -> key prefix, stem, padding mode) of every format that the keys of `state` may be of."""
    if "conv1_1.weight" in state:
        means = torch.tensor([103.939, 116.779, 123.68])
        stem = torch.eye(3).flip(0).mul(255.0).reshape(3, 3, 1, 1), -means  # RGB in [0, 1] -> BGR 0..255, minus the means
        yield {n: f"conv{n}" for n in VGG19_CONVS if f"conv{n}.weight" in state}, stem, "zeros"
    if "features.0.weight" in state:
        yield {n: f"features.{i}" for n, i in zip(VGG19_CONVS, _TORCHVISION_POSITIONS, strict=True)}, _imagenet_stem(), "zeros"
    if "stem.weight" in state:
        yield {n: f"convs.{n}" for n in COMPACT_WIDTHS}, (state["stem.weight"], state["stem.bias"]), "reflect"
    if "conv11.weight" in state and "conv0.weight" in state:
        names = [n for n in VGG19_CONVS if f"conv{n.replace('_', '')}.weight" in state]
        yield {n: f"conv{n.replace('_', '')}" for n in names}, (state["conv0.weight"], state["conv0.bias"]), "reflect"
    if "16.weight" in state and "0.weight" in state:
        yield (
            {n: str(i) for n, i in zip(VGG19_CONVS, _NORMALIZED_POSITIONS, strict=True) if f"{i}.weight" in state},
            (state["0.weight"], state["0.bias"]),
            "reflect",
        )
