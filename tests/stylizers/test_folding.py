"""Networks folded into plain convolutions: the same images, and no operators that are slow in ONNX Runtime."""

from __future__ import annotations

import platform
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from vidstyle.core.frames import Pixels
from vidstyle.core.model_file import read_model
from vidstyle.stylizers.folding import folded
from vidstyle.stylizers.onnx import CpuOnnxStylizer, load_onnx_stylizer
from vidstyle.stylizers.padding import pad_to_multiple

MODELS = Path(__file__).resolve().parents[2] / "models"
STYLES = sorted(MODELS.glob("*.onnx"))
MARGIN, MULTIPLE = 32, 8
HEIGHT, WIDTH = 90, 123
BLOCKED = "com.microsoft.nchwc"
"""The domain of ONNX Runtime's operators in its blocked layout."""


@pytest.fixture(scope="module")
def image() -> Pixels:
    photo = cv2.imread(str(MODELS / "scream.jpg"))
    assert photo is not None
    return np.ascontiguousarray(photo[50 : 50 + HEIGHT, 60 : 60 + WIDTH, ::-1], np.uint8)


def run(model: onnx.ModelProto, batch: Pixels) -> Pixels:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": batch})[0])


def difference(a: Pixels, b: Pixels) -> int:
    return int(np.abs(a.astype(int) - b).max())


@pytest.mark.parametrize("path", STYLES, ids=lambda p: p.stem)
def test_the_folded_graph_gives_the_same_images_as_the_file(path: Path, image: Pixels) -> None:
    model, batch = read_model(path), pad_to_multiple([image, image[::-1]], MARGIN, MULTIPLE)
    as_it_is = run(model, batch)
    assert difference(run(folded(model), batch), as_it_is) <= 1
    assert np.abs(run(folded(model, half=True), batch).astype(int) - as_it_is).mean() < 0.5
    assert difference(as_it_is[0], batch[0]) > 60, "nothing was stylized"


@pytest.mark.parametrize("path", STYLES, ids=lambda p: p.stem)
def test_cropping_early_makes_no_difference(path: Path, image: Pixels) -> None:
    model, batch = read_model(path), pad_to_multiple([image], MARGIN, MULTIPLE)
    whole, cut = run(folded(model), batch), run(folded(model, margin=MARGIN), batch)
    less = (whole.shape[1] - cut.shape[1]) // 2
    assert less > MARGIN // 2
    inner, left = MARGIN, MARGIN - less
    wanted = whole[:, inner : inner + HEIGHT, inner : inner + WIDTH]
    assert np.array_equal(cut[:, left : left + HEIGHT, left : left + WIDTH], wanted)


def test_statistics_of_a_shot_are_folded_like_those_of_the_file(image: Pixels) -> None:
    stylizer = load_onnx_stylizer(STYLES[0], "cpu").for_shot([255 - image])
    assert isinstance(stylizer, CpuOnnxStylizer)
    batch = pad_to_multiple([image], MARGIN, MULTIPLE)
    inside = np.s_[:, MARGIN : MARGIN + HEIGHT, MARGIN : MARGIN + WIDTH]
    assert difference(run(stylizer._model.proto, batch)[inside], stylizer.stylize([image])) <= 1
    assert difference(stylizer.stylize([image]), load_onnx_stylizer(STYLES[0], "cpu").stylize([image])) > 1


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="the blocked layout is x86's")
@pytest.mark.parametrize("path", STYLES, ids=lambda p: p.stem)
def test_the_optimized_graph_stays_in_the_blocked_layout(path: Path, tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "runs.onnx")
    ort.InferenceSession(folded(read_model(path), margin=MARGIN).SerializeToString(), options, providers=["CPUExecutionProvider"])
    runs = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "runs.onnx"))
    kinds = Counter((node.domain, node.op_type) for node in runs.graph.node)
    names = {kind for _, kind in kinds}
    assert not names & {"Pad", "InstanceNormalization", "BatchNormalization", "Relu", "Clip", "Mul", "Sub", "FusedConv"}, kinds
    assert kinds[BLOCKED, "Conv"] == 17
    assert kinds["", "Conv"] == 0
    # In and out of the layout once for the pixels, once for the cut.
    assert kinds[BLOCKED, "ReorderOutput"] <= 2
    assert kinds[BLOCKED, "ReorderInput"] <= 1
    makers = {name: node for node in runs.graph.node for name in node.output}
    (shuffle,) = (node for node in runs.graph.node if node.op_type == "DepthToSpace")
    cast = makers[shuffle.input[0]]
    assert (cast.op_type, cast.attribute[0].i) == ("Cast", onnx.TensorProto.UINT8), "shuffles floats, four times the memory"
