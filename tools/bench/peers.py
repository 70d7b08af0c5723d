"""How other tools stylize a video, for comparison: the full TransformerNet, frame by frame, all in memory.

The network is untrained, because its speed does not depend on its weights. Each peer decodes the whole clip with OpenCV, then
stylizes frame by frame, then encodes with PyAV and the default settings of vidstyle.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from vidstyle.core.options import EncodeOptions
from vidstyle.networks.transformer_net import Residual, TransformerNet
from vidstyle.sinks.encoders import choose_encoder, encoder_options

StylizeImage = Callable[[np.ndarray], np.ndarray]
"""Stylizes an image (H, W, 3) uint8 BGR, as OpenCV decodes it."""

MEANS = (103.939, 116.779, 123.68)
"""Means of blue, green and red, which are subtracted and added as in OpenCV's sample."""

LABELS = {
    "onnxruntime": "full TransformerNet, ONNX Runtime",
    "onnxruntime_folded": "full TransformerNet, ONNX Runtime, norms folded",
    "torch_eager": "full TransformerNet, torch eager",
    "opencv_dnn": "full TransformerNet, OpenCV DNN",
}


@dataclass
class Peer:
    """Another tool. `stylize` is None if it does not work here, for the reason `trouble`."""

    stylize: StylizeImage | None
    trouble: str = ""
    rounds: dict[str, list[tuple[float, float, int]]] = field(default_factory=dict)
    """Size -> total seconds, seconds in the network, number of frames; a tuple per round."""

    def convert(self, clip: Path, output: Path, size: str) -> None:
        """Convert `clip` and record the time, after a frame to warm up: the first one is slow, and clips are short."""
        if self.stylize is None:
            return
        self.stylize(decoded(clip)[0][0])
        began = time.perf_counter()
        frames, rate = decoded(clip)
        net_began = time.perf_counter()
        stylized = [self.stylize(frame) for frame in frames]
        net = time.perf_counter() - net_began
        encode(stylized, output, rate)
        self.rounds.setdefault(size, []).append((time.perf_counter() - began, net, len(frames)))

    def result(self, size: str) -> dict[str, Any]:
        """The medians of a size; the reason if there are none."""
        if self.stylize is None:
            return {"trouble": self.trouble}
        rounds, count = self.rounds[size], self.rounds[size][0][2]
        seconds, net = (statistics.median(r[i] for r in rounds) for i in (0, 1))
        return {"frames": count, "rounds": len(rounds), "fps": round(count / seconds, 3), "net_ms": round(1000 * net / count, 2)}


def decoded(clip: Path) -> tuple[list[np.ndarray], Fraction]:
    """All frames of `clip`, in BGR, and its frame rate."""
    capture, frames = cv2.VideoCapture(str(clip)), []
    rate = Fraction(capture.get(cv2.CAP_PROP_FPS)).limit_denominator(1001)
    while True:
        read, frame = capture.read()
        if not read:
            break
        frames.append(frame)
    capture.release()
    return frames, rate


def encode(frames: list[np.ndarray], output: Path, rate: Fraction) -> None:
    """Encode BGR frames into a video, with the default encoder and settings of vidstyle."""
    encoder = choose_encoder(EncodeOptions(), ".mp4")
    with av.open(str(output), "w") as container:
        stream = container.add_stream(encoder.name, rate=rate, options=encoder_options(encoder, EncodeOptions()))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = encoder.formats[0]
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "bgr24")))
        container.mux(stream.encode(None))


def make_peers(folder: Path) -> dict[str, Peer]:
    """All peers, with the same weights; their models are written into `folder`."""
    torch.manual_seed(0)
    net = TransformerNet().eval()
    norms, folded = folder / "peer.onnx", folder / "peer-folded.onnx"
    onnx.save(plain_model(net, folded=False), norms)
    onnx.save(plain_model(net, folded=True), folded)
    return {
        "onnxruntime": Peer(in_onnxruntime(norms)),
        "onnxruntime_folded": Peer(in_onnxruntime(folded)),
        "torch_eager": Peer(in_torch(net)),
        "opencv_dnn": in_opencv(norms),
    }


def in_torch(net: nn.Module, device: torch.device = torch.device("cpu")) -> StylizeImage:
    """PyTorch as in pytorch/examples."""
    net.to(device)
    for module in net.modules():
        if isinstance(module, nn.InstanceNorm2d):
            module.train()  # statistics of the frame itself
            module.track_running_stats, module.running_mean, module.running_var = False, None, None

    @torch.no_grad()
    def stylize(frame: np.ndarray) -> np.ndarray:
        rgb = np.ascontiguousarray(frame[..., ::-1])
        x = torch.from_numpy(rgb).to(device).permute(2, 0, 1).unsqueeze(0).float().div(255)
        y = net(x)[0].mul(255).clamp(0, 255)
        return np.asarray(y.permute(1, 2, 0).to(torch.uint8).cpu().numpy()[..., ::-1])

    return stylize


def in_onnxruntime(model: Path) -> StylizeImage:
    """ONNX Runtime with default settings."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])

    def stylize(frame: np.ndarray) -> np.ndarray:
        x = np.ascontiguousarray(frame[None, ..., ::-1].transpose(0, 3, 1, 2), np.float32)
        (y,) = session.run(None, {"x": x})
        return np.asarray(np.clip(y[0], 0, 255).transpose(1, 2, 0).astype(np.uint8)[..., ::-1])

    return stylize


def in_opencv(model: Path) -> Peer:
    """OpenCV's DNN module as in its fast neural style sample."""
    try:
        net = cv2.dnn.readNetFromONNX(str(model))

        def stylize(frame: np.ndarray) -> np.ndarray:
            height, width = frame.shape[:2]
            net.setInput(cv2.dnn.blobFromImage(frame, 1.0, (width, height), MEANS, swapRB=False, crop=False))
            y = net.forward().reshape(3, height, width) + np.array(MEANS, np.float32)[:, None, None]
            return np.asarray(np.clip(y, 0, 255).transpose(1, 2, 0).astype(np.uint8))

        stylize(np.zeros((64, 64, 3), np.uint8))
    except cv2.error as error:
        return Peer(None, str(error).strip().splitlines()[0])
    return Peer(stylize)


def plain_model(net: TransformerNet, folded: bool) -> onnx.ModelProto:
    """The network as usually exported: float (N, 3, H, W) in 0..255 to the same, with instance norms, or with `folded` norms.

    ONNX Runtime merges folded norms into the convolutions.
    """
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(array: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(array, f"c{len(constants)}"))
        return constants[-1].name

    def op(kind: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [f"t{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def add(module: nn.Module, x: str) -> str:
        if isinstance(module, nn.Sequential):
            for layer in module:
                x = add(layer, x)
            return x
        if isinstance(module, Residual):
            return op("Add", x, add(module.body, x))
        if isinstance(module, nn.Conv2d):
            scale = (1 / 255 if module.in_channels == 3 else 1) * (255 if module.out_channels == 3 else 1)
            weights = [constant(module.weight.detach().numpy() * np.float32(scale))]
            if module.bias is not None:
                weights.append(constant(module.bias.detach().numpy() * np.float32(255)))
            shape = {"kernel_shape": module.kernel_size, "strides": module.stride, "pads": module.padding * 2}
            return op("Conv", x, *weights, **shape)
        if isinstance(module, nn.InstanceNorm2d):
            names = ["weight", "bias", *(["running_mean", "running_var"] if folded else [])]
            kind = "BatchNormalization" if folded else "InstanceNormalization"
            return op(kind, x, *(constant(getattr(module, name).detach().numpy()) for name in names), epsilon=module.eps)
        if isinstance(module, nn.Upsample):
            resize = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            return op("Resize", x, "", constant(np.array([1, 1, 2, 2], np.float32)), **resize)
        assert isinstance(module, nn.ReLU)
        return op("Relu", x)

    y = "x"
    for block in (net.encode, net.body, net.decode, net.paint):
        y = add(block, y)
    nodes[-1].output[0] = "y"
    value = helper.make_tensor_value_info
    shape: list[int | str] = [1, 3, "h", "w"]
    graph = helper.make_graph(
        nodes, "peer", [value("x", TensorProto.FLOAT, shape)], [value("y", TensorProto.FLOAT, shape)], constants
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
