"""What every implementation of `vidstyle.core.protocols.Stylizer` promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.helpers import identity_model
from tests.support.networks import soft_image
from vidstyle.core.frames import Pixels
from vidstyle.core.options import StyleOptions
from vidstyle.core.protocols import Stylizer
from vidstyle.networks.examples_net import ExamplesTransformerNet
from vidstyle.stylizers import load_stylizer
from vidstyle.stylizers.engine_selection import SelectingStylizer, Selection

IMAGES = [soft_image(33, 45, seed) // (seed + 1) for seed in range(3)]


class Plain(Stylizer):
    """The least that a stylizer must define."""

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        return np.stack(images)


def loaded(style: str = "tiny", **options: Any) -> Stylizer:
    return load_stylizer(StyleOptions(style, device="cpu", **options))


def foreign_onnx(folder: Path) -> Stylizer:
    return loaded(str(identity_model(folder / "identity.onnx")))


def examples_net(folder: Path) -> Stylizer:
    torch.manual_seed(6)
    torch.save(ExamplesTransformerNet(4).state_dict(), folder / "candy.pth")
    return loaded(str(folder / "candy.pth"))


def selecting(folder: Path) -> Stylizer:
    return SelectingStylizer({backend: loaded(backend=backend) for backend in ("onnx", "torch")}, Selection())


IMPLEMENTATIONS: dict[str, Callable[[Path], Stylizer]] = {
    "defaults of the base class": lambda folder: Plain(),
    "onnx": lambda folder: loaded(backend="onnx"),
    "torch": lambda folder: loaded(backend="torch"),
    "foreign onnx": foreign_onnx,
    "pytorch examples": examples_net,
    "blend": lambda folder: loaded(f"tiny:0.6,{identity_model(folder / 'identity.onnx')}:0.4"),
    "strength": lambda folder: loaded(strength=0.5),
    "resized": lambda folder: loaded(height=24, stroke_scale=0.5),
    "timeline": lambda folder: loaded(f"0:tiny,5:{identity_model(folder / 'identity.onnx')}"),
    "engine selection": selecting,
}


@pytest.fixture(params=list(IMPLEMENTATIONS.values()), ids=list(IMPLEMENTATIONS))
def stylizer(request: pytest.FixtureRequest, tmp_path: Path) -> Stylizer:
    implementation: Stylizer = request.param(tmp_path)
    return implementation


def difference(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.abs(first.astype(int) - second).max())


def test_images_are_stylized_independently_of_each_other(stylizer: Stylizer) -> None:
    batch = stylizer.stylize(IMAGES)
    assert batch.shape == (3, 33, 45, 3)
    assert batch.dtype == np.uint8
    assert difference(np.concatenate([stylizer.stylize([image]) for image in IMAGES]), batch) <= 1


def test_as_many_threads_as_its_concurrency_may_call(stylizer: Stylizer) -> None:
    expected = stylizer.stylize(IMAGES)
    assert stylizer.concurrency >= 1
    with ThreadPoolExecutor(stylizer.concurrency) as executor:
        for stylized in executor.map(lambda n: stylizer.stylize(IMAGES), range(4)):
            assert difference(stylized, expected) <= 1


def test_engine_and_concurrency_hold_for_every_shot(stylizer: Stylizer) -> None:
    before = stylizer.engine
    shot = stylizer.for_shot(iter(IMAGES[1:]))
    assert shot.concurrency == stylizer.concurrency
    shot.at(0.0).stylize(IMAGES)
    for engine in (stylizer.engine, shot.engine):
        assert (engine.device, engine.precision) == (before.device, before.precision) == ("cpu", "float32")
    assert str(stylizer.engine) in stylizer.describe()


def test_statistics_make_another_stylizer_stylize_alike(stylizer: Stylizer) -> None:
    before = stylizer.stylize(IMAGES)
    shot = stylizer.for_shot(IMAGES[2:])
    passed_on = stylizer.with_statistics(shot.statistics())
    assert difference(passed_on.stylize(IMAGES), shot.stylize(IMAGES)) <= 1
    assert difference(shot.adapted(IMAGES[0], 0.0).stylize(IMAGES), shot.stylize(IMAGES)) <= 1
    assert difference(stylizer.stylize(IMAGES), before) <= 1, "the shot changed the stylizer that it was made from"
