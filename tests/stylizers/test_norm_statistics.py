"""Norm statistics of a shot: the engines give the images that the network gives with the statistics of those images."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.helpers import identity_model
from tests.support.networks import STYLE, soft_image, stylize_in_torch
from vidstyle.core.frames import Pixels
from vidstyle.core.options import StyleOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.networks.examples_net import ExamplesTransformerNet
from vidstyle.networks.export import load_net
from vidstyle.networks.transformer_net import ARCHITECTURES
from vidstyle.stylizers import load_stylizer
from vidstyle.stylizers.resized import ResizedStylizer

IMAGES = [soft_image(61, 83, seed) // (seed + 1) for seed in range(3)]


each_backend = pytest.mark.parametrize("backend", ["onnx", "torch"])


def engine(backend: Any, architecture: str = "compact") -> Stylizer:
    return load_stylizer(StyleOptions(STYLE[architecture], device="cpu", backend=backend))


def difference(one: Pixels, other: Pixels) -> np.ndarray:
    return np.abs(one.astype(int) - other)


@each_backend
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_shot_of_one_image_is_stylized_with_its_own_statistics(styles: Path, architecture: str, backend: str) -> None:
    net, _ = load_net(styles / f"{STYLE[architecture]}.onnx")
    expected = stylize_in_torch(net.train(), IMAGES[2:])
    stylizer = engine(backend, architecture)
    stylized = stylizer.for_shot(IMAGES[2:]).stylize(IMAGES[2:])
    assert stylized.std() > 10, "a flat image proves nothing"
    assert difference(stylized, expected).mean() < 1
    assert difference(stylized, expected).max() <= 8
    assert difference(stylized, stylizer.stylize(IMAGES[2:])).mean() > 4, "the statistics make no difference"


def test_the_backends_agree_on_a_shot_of_several_images() -> None:
    first, second = (engine(backend).for_shot(iter(IMAGES)).stylize(IMAGES) for backend in ("onnx", "torch"))
    assert difference(first, second).mean() < 1
    assert difference(first, second).max() <= 8


@each_backend
def test_every_image_of_a_shot_influences_its_statistics(backend: str) -> None:
    stylizer = engine(backend)
    all_, first, last = (stylizer.for_shot(p).stylize(IMAGES[:1]) for p in (IMAGES, IMAGES[:1], IMAGES[2:]))
    assert difference(all_, first).mean() > 2
    assert difference(all_, last).mean() > 2


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_a_shot_does_not_change_the_stylizer_nor_the_next_shot(backend: str) -> None:
    stylizer = engine(backend)
    before, first = stylizer.stylize(IMAGES[:1]), stylizer.for_shot(IMAGES[:1]).stylize(IMAGES[:1])
    shot = stylizer.for_shot(IMAGES[2:])
    shot.stylize(IMAGES)
    assert (stylizer.stylize(IMAGES[:1]) == before).all()
    assert (stylizer.for_shot(IMAGES[:1]).stylize(IMAGES[:1]) == first).all()
    assert (shot.describe(), shot.concurrency) == (stylizer.describe(), stylizer.concurrency)


def never() -> Iterator[Pixels]:
    raise AssertionError("the images are not needed")
    yield


@pytest.mark.parametrize("suffix", [".onnx", ".pth"])
def test_a_model_of_another_tool_is_the_same_for_every_shot(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    if suffix == ".onnx":
        identity_model(path)
    else:
        torch.save(ExamplesTransformerNet(4).state_dict(), path)
    stylizer = load_stylizer(StyleOptions(str(path), device="cpu"))
    assert stylizer.for_shot(never()) is stylizer


class Measured(Stylizer):
    """Records the sizes of the images of its shots, and of those it stylizes."""

    concurrency = 3

    def __init__(self) -> None:
        self.measured, self.stylized = list[tuple[int, ...]](), list[tuple[int, ...]]()

    def for_shot(self, images: Iterable[Pixels]) -> Measured:
        self.measured += [p.shape for p in images]
        return self

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        self.stylized += [p.shape for p in images]
        return np.stack(images)


def test_statistics_are_measured_at_the_inference_height() -> None:
    inner = Measured()
    shot = ResizedStylizer(inner, 30).for_shot(IMAGES[:2])
    assert shot.stylize(IMAGES[:1]).shape == (1, 61, 83, 3)
    assert inner.measured == 2 * inner.stylized == 2 * [(30, 41, 3)]
    assert shot.concurrency == 3


@each_backend
def test_adapting_with_weight_1_is_a_new_shot_and_with_0_no_change(backend: str) -> None:
    stylizer = engine(backend)
    shot = stylizer.for_shot(IMAGES[:1])
    other = IMAGES[2]
    assert difference(shot.adapted(other, 1.0).stylize([other]), stylizer.for_shot([other]).stylize([other])).max() <= 1
    assert difference(shot.adapted(other, 0.0).stylize([other]), shot.stylize([other])).max() <= 1


def test_the_backends_agree_on_adapting_with_a_weight_in_between() -> None:
    onnx, torch_ = (engine(backend).for_shot(IMAGES[:1]).adapted(IMAGES[2], 0.3) for backend in ("onnx", "torch"))
    assert difference(onnx.stylize(IMAGES[1:2]), torch_.stylize(IMAGES[1:2])).max() <= 4


def test_a_model_of_another_tool_does_not_adapt(tmp_path: Path) -> None:
    stylizer = load_stylizer(StyleOptions(str(identity_model(tmp_path / "other.onnx")), device="cpu"))
    assert stylizer.adapted(IMAGES[0], 0.5) is stylizer


@pytest.mark.parametrize(
    ("backend", "architecture", "height"),
    [("onnx", "compact", 40), ("onnx", "full", None), ("torch", "compact", None), ("torch", "full", 40)],
)
def test_statistics_passed_to_another_stylizer_give_identical_images(backend: Any, architecture: str, height: int | None) -> None:
    """To the bit, because chunks of a shot are stylized by different processes."""
    options = StyleOptions(STYLE[architecture], device="cpu", backend=backend, height=height)
    shot = load_stylizer(options).for_shot(IMAGES[1:])
    statistics = pickle.loads(pickle.dumps(dict(shot.statistics())))
    assert statistics
    other = load_stylizer(options)
    before = other.stylize(IMAGES[:1])
    stylized = other.with_statistics(statistics).stylize(IMAGES)
    assert (stylized == shot.stylize(IMAGES)).all()
    assert difference(stylized[:1], before).mean() > 2, "the statistics make no difference"
    assert (other.stylize(IMAGES[:1]) == before).all(), "the other one has changed"


@pytest.mark.parametrize("kind", [".onnx", ".pth"])
@pytest.mark.parametrize("height", [None, 40])
def test_a_model_of_another_tool_has_no_statistics(tmp_path: Path, kind: str, height: int | None) -> None:
    path = tmp_path / f"model{kind}"
    if kind == ".onnx":
        identity_model(path)
    else:
        torch.save(ExamplesTransformerNet(4).state_dict(), path)
    stylizer = load_stylizer(StyleOptions(str(path), device="cpu", height=height))
    statistics = stylizer.for_shot(IMAGES).statistics()
    assert dict(statistics) == {}
    assert (stylizer.with_statistics(statistics).stylize(IMAGES) == stylizer.stylize(IMAGES)).all()
