"""Norm statistics of a shot: what the engines paint with them is what the net paints with the pictures' own."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.networks.test_networks import STYLE, paint_in_torch, soft_picture
from tests.support.helpers import identity_model
from vidstyle.core.frames import Pixels
from vidstyle.core.options import StyleOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.networks.export import load_net
from vidstyle.networks.transformer_net import ARCHITECTURES
from vidstyle.stylizers import load_stylizer
from vidstyle.stylizers.resized import Resized
from vidstyle.stylizers.torch import ExamplesTransformerNet

PICTURES = [soft_picture(61, 83, seed) // (seed + 1) for seed in range(3)]


each_backend = pytest.mark.parametrize("backend", ["onnx", "torch"])


def engine(backend: str, architecture: str = "compact") -> Stylizer:
    return load_stylizer(StyleOptions(STYLE[architecture], device="cpu", backend=backend))  # type: ignore[arg-type]


def difference(one: Pixels, other: Pixels) -> np.ndarray:
    return np.abs(one.astype(int) - other)


@each_backend
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_shot_of_one_picture_is_painted_with_its_own_statistics(styles: Path, architecture: str, backend: str) -> None:
    net, _ = load_net(styles / f"{STYLE[architecture]}.onnx")
    expected = paint_in_torch(net.train(), PICTURES[2:])
    stylizer = engine(backend, architecture)
    painted = stylizer.for_shot(PICTURES[2:]).stylize(PICTURES[2:])
    assert painted.std() > 10, "a flat picture proves nothing"
    assert difference(painted, expected).mean() < 1
    assert difference(painted, expected).max() <= 8
    assert difference(painted, stylizer.stylize(PICTURES[2:])).mean() > 4, "the statistics make no difference"


def test_the_backends_agree_on_a_shot_of_several_pictures() -> None:
    first, second = (engine(backend).for_shot(iter(PICTURES)).stylize(PICTURES) for backend in ("onnx", "torch"))
    assert difference(first, second).mean() < 1
    assert difference(first, second).max() <= 8


@each_backend
def test_every_picture_of_a_shot_has_a_say(backend: str) -> None:
    stylizer = engine(backend)
    all_, first, last = (stylizer.for_shot(p).stylize(PICTURES[:1]) for p in (PICTURES, PICTURES[:1], PICTURES[2:]))
    assert difference(all_, first).mean() > 2
    assert difference(all_, last).mean() > 2


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_a_shot_does_not_change_the_stylizer_nor_the_next_shot(backend: str) -> None:
    stylizer = engine(backend)
    before, first = stylizer.stylize(PICTURES[:1]), stylizer.for_shot(PICTURES[:1]).stylize(PICTURES[:1])
    shot = stylizer.for_shot(PICTURES[2:])
    shot.stylize(PICTURES)
    assert (stylizer.stylize(PICTURES[:1]) == before).all()
    assert (stylizer.for_shot(PICTURES[:1]).stylize(PICTURES[:1]) == first).all()
    assert (shot.describe(), shot.lanes) == (stylizer.describe(), stylizer.lanes)


def never() -> Iterator[Pixels]:
    raise AssertionError("the pictures are not needed")
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


class Measured:
    """Notes the sizes of the pictures it is measured on, and of those it paints."""

    lanes = 3

    def __init__(self) -> None:
        self.measured, self.painted = list[tuple[int, ...]](), list[tuple[int, ...]]()

    def at(self, seconds: float) -> Measured:
        return self

    def for_shot(self, pictures: Iterable[Pixels]) -> Measured:
        self.measured += [p.shape for p in pictures]
        return self

    def stylize(self, pictures: Sequence[Pixels]) -> Pixels:
        self.painted += [p.shape for p in pictures]
        return np.stack(pictures)

    def describe(self) -> str:
        return "measured"


def test_statistics_are_taken_at_the_height_at_which_the_net_works() -> None:
    inner = Measured()
    shot = Resized(inner, 30).for_shot(PICTURES[:2])
    assert shot.stylize(PICTURES[:1]).shape == (1, 61, 83, 3)
    assert inner.measured == 2 * inner.painted == 2 * [(30, 41, 3)]
    assert shot.lanes == 3


@each_backend
def test_adapting_wholly_is_a_new_shot_and_by_nothing_no_change(backend: str) -> None:
    stylizer = engine(backend)
    shot = stylizer.for_shot(PICTURES[:1])
    other = PICTURES[2]
    assert difference(shot.adapted(other, 1.0).stylize([other]), stylizer.for_shot([other]).stylize([other])).max() <= 1
    assert difference(shot.adapted(other, 0.0).stylize([other]), shot.stylize([other])).max() <= 1


def test_the_backends_agree_on_adapting_by_a_part() -> None:
    onnx, torch_ = (engine(backend).for_shot(PICTURES[:1]).adapted(PICTURES[2], 0.3) for backend in ("onnx", "torch"))
    assert difference(onnx.stylize(PICTURES[1:2]), torch_.stylize(PICTURES[1:2])).max() <= 4


def test_a_model_of_another_tool_does_not_adapt(tmp_path: Path) -> None:
    stylizer = load_stylizer(StyleOptions(str(identity_model(tmp_path / "other.onnx")), device="cpu"))
    assert stylizer.adapted(PICTURES[0], 0.5) is stylizer


@each_backend
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("height", [None, 40])
def test_what_one_learnt_of_a_shot_another_paints_it_with(backend: str, architecture: str, height: int | None) -> None:
    """To the bit: parts of a shot are painted by different processes."""
    options = StyleOptions(STYLE[architecture], device="cpu", backend=backend, height=height)  # type: ignore[arg-type]
    shot = load_stylizer(options).for_shot(PICTURES[1:])
    statistics = pickle.loads(pickle.dumps(dict(shot.statistics())))
    assert statistics
    other = load_stylizer(options)
    before = other.stylize(PICTURES[:1])
    painted = other.with_statistics(statistics).stylize(PICTURES)
    assert (painted == shot.stylize(PICTURES)).all()
    assert difference(painted[:1], before).mean() > 2, "the statistics make no difference"
    assert (other.stylize(PICTURES[:1]) == before).all(), "the other one has changed"


@pytest.mark.parametrize("kind", [".onnx", ".pth"])
@pytest.mark.parametrize("height", [None, 40])
def test_a_model_of_another_tool_has_nothing_to_learn(tmp_path: Path, kind: str, height: int | None) -> None:
    path = tmp_path / f"model{kind}"
    if kind == ".onnx":
        identity_model(path)
    else:
        torch.save(ExamplesTransformerNet(4).state_dict(), path)
    stylizer = load_stylizer(StyleOptions(str(path), device="cpu", height=height))
    statistics = stylizer.for_shot(PICTURES).statistics()
    assert dict(statistics) == {}
    assert (stylizer.with_statistics(statistics).stylize(PICTURES) == stylizer.stylize(PICTURES)).all()
